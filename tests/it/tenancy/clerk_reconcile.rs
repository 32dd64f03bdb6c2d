//! The scheduled reconciliation: it finds where our rows differ from Clerk's Backend API, and repairs them.
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
async fn rows_that_are_as_clerk_has_them_are_left_alone() {
    let bench = Reconciliation::seeded().await;
    let before = bench.dump().await;
    let (report, differences) = bench.try_run(json!({ "dry_run": false })).await.unwrap();
    assert_eq!(differences, []);
    let expected = Report { organizations: 2, users: 4, memberships: 6, ..Report::default() };
    assert_eq!(report, expected);
    assert_eq!(bench.dump().await, before);
}
