//! What a run removes at its end: dealerships deleted long ago, and old messages.
use serde_json::json;

use crate::support::clerk::reconciliation::Reconciliation;
use crate::support::event;

/// One dealership whose grace period is over and one whose is not, an old message and one that is not.
async fn bench() -> Reconciliation {
    let mut bench = Reconciliation::seeded().await;
    bench.ahead = jiff::SignedDuration::ZERO;
    bench
        .sql(
            "insert into dealerships (clerk_org_id, name, deleted_at)
             values ('org_old', 'Old', now() - interval '30 days 1 minute'), ('org_recent', 'Recent', now() - interval '29 days 23 hours');
             insert into leads (dealership_id, source, first_name)
             select id, 'api', 'Kunde' from dealerships, generate_series(1, 2500) where clerk_org_id in ('org_old', 'org_recent');
             insert into webhook_inbox (provider, message_id, received_at)
             select 'clerk', 'msg_old_' || i, now() - interval '90 days 1 minute' from generate_series(1, 7000) i;
             insert into webhook_inbox (provider, message_id, received_at) values ('clerk', 'msg_recent', now() - interval '89 days 23 hours')",
        )
        .await;
    bench
}

#[tokio::test]
async fn what_is_over_is_removed_and_nothing_else() {
    let bench = bench().await;
    let (report, differences) = bench.try_run(event("clerk-reconcile").value().clone()).await.unwrap();
    assert_eq!(differences, []);
    assert_eq!((report.purged_dealerships, report.purged_leads, report.forgotten_messages), (1, 2500, 7000));
    let left = "select string_agg(clerk_org_id, ' ' order by clerk_org_id) from dealerships";
    assert_eq!(bench.world.row(left, &[]).await.get::<_, &str>(0), "org_recent org_tesla_oslo org_vw_bergen");
    assert_eq!(bench.world.count("select count(*) from leads").await, 2520);
    assert_eq!(
        bench.world.row("select string_agg(message_id, ' ') from webhook_inbox", &[]).await.get::<_, &str>(0),
        "msg_recent"
    );
    assert_eq!(
        bench.world.count("select count(*) from clerk_tombstones where clerk_id = 'org_old'").await,
        1
    );
}

#[tokio::test]
async fn a_dry_run_and_a_run_over_one_organization_remove_nothing() {
    let bench = bench().await;
    let before = bench.dump().await;
    for event in [json!({ "dry_run": true }), json!({ "dry_run": false, "organization_id": "org_vw_bergen" })]
    {
        bench.try_run(event).await.unwrap();
        assert_eq!(bench.dump().await, before);
    }
}
