//! Every function, callable in this process.
use std::sync::LazyLock;

use shared::files::Files;
use shared::{Endpoint, Schedule};

/// What the tests sign Clerk's webhooks with.
pub const WEBHOOK_SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM=";

/// What the tests sign the time of a form with.
pub const FORM_SECRET: &str = "the secret of the tests' forms";

/// Where the public forms live.
pub const FORM_URL: &str = "https://forms.norvalt.test";

/// Every route, by name.
pub static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let mut all: Vec<Endpoint> = registry::endpoints().copied().collect();
    all.sort_by_key(|endpoint| endpoint.route.name);
    all
});

/// Every function that answers with files.
pub static FILES: LazyLock<Vec<&'static Files>> = LazyLock::new(|| registry::files().collect());

/// Every function that runs by the clock.
pub static SCHEDULES: LazyLock<Vec<&'static Schedule>> = LazyLock::new(|| registry::schedules().collect());

/// The function that only a deployment calls.
pub const DEPLOYMENT: &str = "migrate-database";

pub fn endpoint(function: &str) -> &'static Endpoint {
    ENDPOINTS.iter().find(|endpoint| endpoint.route.name == function).unwrap()
}
