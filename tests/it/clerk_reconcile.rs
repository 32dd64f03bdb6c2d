//! The scheduled reconciliation: how what Clerk's Backend API says and our rows do not is found and repaired.
mod api;
mod cleaning;
mod differences;
mod history;

use clerk_reconcile::Report;
use jiff::Timestamp;
use serde_json::json;

use crate::support::clerk::reconciliation::Reconciliation;

/// Milliseconds since 1970, now.
fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn what_is_as_clerk_says_is_left_as_it_is() {
    let bench = Reconciliation::seeded().await;
    let before = bench.dump().await;
    let (report, differences) = bench.try_run(json!({ "dry_run": false })).await.unwrap();
    assert_eq!(differences, []);
    let expected = Report { organizations: 2, users: 4, memberships: 6, ..Report::default() };
    assert_eq!(report, expected);
    assert_eq!(bench.dump().await, before);
}
