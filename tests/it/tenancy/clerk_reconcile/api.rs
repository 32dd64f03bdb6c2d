//! The requests to Clerk: page by page, with retries, with the right key, and to the right instance.
use std::time::Duration;

use clerk_reconcile::Config;
use dev::clerk::backend::{Fault, INSTANCE_ID, user};
use serde_json::json;

use super::now;
use crate::support::clerk::reconciliation::Reconciliation;
use crate::support::event;

#[tokio::test]
async fn every_page_of_every_list_is_read() {
    let bench = Reconciliation::seeded().await;
    bench.backend.limit_pages(2);
    let at = now();
    bench.backend.edit(|clerk| {
        for number in 0..7 {
            let id = format!("user_{number}");
            clerk.users.push(user(&id, "Ny", None, "ny@example.com", at + number));
            clerk.join(&format!("orgmem_{number}"), "org_vw_bergen", &id, Some("org:member"), at + number);
        }
    });
    let (report, differences) = bench.try_run(json!({ "dry_run": false })).await.unwrap();
    assert_eq!((report.organizations, report.users, report.memberships), (2, 11, 13));
    assert_eq!(differences.len(), 14);
    let asked: Vec<String> = bench.backend.asked().into_iter().map(|asked| asked.target).collect();
    for target in [
        "/v1/organizations?limit=500&order_by=%2Bcreated_at&offset=2",
        "/v1/organization_memberships?limit=500&order_by=%2Bcreated_at&offset=12",
        "/v1/users?limit=500&order_by=%2Bcreated_at&starting_after=user_6",
    ] {
        assert!(asked.iter().any(|asked| asked == target), "{target} is not among {asked:#?}");
    }
    assert_eq!(bench.run().await, "");
}

#[tokio::test]
async fn a_busy_or_broken_api_is_asked_again_when_it_wants() {
    let bench = Reconciliation::seeded().await;
    bench.backend.fail([Fault::TooMany(1), Fault::Status(500), Fault::TooMany(0)]);
    assert_eq!(bench.run().await, "");
    let asked = bench.backend.asked();
    assert!(asked[..4].iter().all(|asked| asked.target == "/v1/instance"), "{asked:#?}");
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1), "Retry-After: 1");
    assert!(asked[2].at - asked[1].at >= Duration::from_millis(500), "a pause of our own");
    assert_eq!(asked[4].target, "/v1/organizations?limit=500&order_by=%2Bcreated_at&offset=0");
}

#[tokio::test]
async fn an_api_that_stays_busy_fails_the_run() {
    let bench = Reconciliation::seeded().await;
    bench.backend.fail([Fault::TooMany(0); 100]);
    assert_eq!(
        bench.try_run(json!({ "dry_run": false })).await.unwrap_err(),
        "Clerk's rate limit is reached"
    );
    assert_eq!(bench.backend.asked().len(), 6);
}

#[tokio::test]
async fn a_failure_midway_leaves_what_was_done_and_the_next_run_goes_on() {
    let bench = Reconciliation::seeded().await;
    bench.sql("update dealerships set name = 'Old'; update users set first_name = 'Old'").await;
    // The instance, whether it is ours, the two pages of organizations; and then no people.
    bench.backend.fail([Fault::None, Fault::None, Fault::None, Fault::None, Fault::Status(422)]);
    let failure = bench.try_run(json!({ "dry_run": false })).await.unwrap_err();
    assert_eq!(failure, "Clerk answers /v1/users with status 422");
    let old = "select (select count(*) from dealerships where name = 'Old') * 10 + (select count(*) from users where first_name = 'Old')";
    assert_eq!(bench.world.count(old).await, 4);
    assert_eq!(bench.run().await.lines().count(), 4);
    assert_eq!(bench.world.count(old).await, 0);
}

#[tokio::test]
async fn a_wrong_key_is_an_error_at_once() {
    let bench = Reconciliation::seeded().await.set("CLERK_SECRET_KEY", "sk_test_of_somebody_else");
    let before = bench.dump().await;
    let failure = bench.try_run(json!({ "dry_run": false })).await.unwrap_err();
    assert_eq!(failure, "Clerk refuses CLERK_SECRET_KEY for /v1/instance (status 401)");
    assert_eq!(bench.backend.asked().len(), 1);
    assert_eq!(bench.dump().await, before);
}

#[tokio::test]
async fn the_key_is_sent_over_https_alone() {
    for address in ["http://api.clerk.com", "ftp://127.0.0.1", "127.0.0.1", "mailto:a@b.example"] {
        let bench = Reconciliation::seeded().await.set("CLERK_API_URL", address);
        let refused = Config::read(bench.job().await.settings()).await.err().unwrap().to_string();
        assert!(refused.starts_with("CLERK_API_URL cannot be used: not an https:// URL"), "{refused}");
    }
    let bench = Reconciliation::seeded().await.set("CLERK_SECRET_KEY", "sk_test_\n");
    assert!(Config::read(bench.job().await.settings()).await.is_ok(), "a line end was pasted along");
    let bench = bench.set("CLERK_SECRET_KEY", "sk_test_\nsecret");
    let refused = Config::read(bench.job().await.settings()).await.err().unwrap().to_string();
    assert_eq!(refused, "CLERK_SECRET_KEY cannot be used: no key has such characters");
}

#[tokio::test]
async fn another_instance_stops_the_run_before_the_first_change() {
    let other = Reconciliation::seeded().await.set("CLERK_INSTANCE_ID", "ins_other");
    other.sql("update dealerships set name = 'Old'").await;
    let before = other.dump().await;
    for event in
        [json!({ "dry_run": false }), json!({ "dry_run": false, "organization_id": "org_tesla_oslo" })]
    {
        let failure = other.try_run(event).await.unwrap_err();
        assert!(
            failure.contains(INSTANCE_ID) && failure.contains("CLERK_INSTANCE_ID is ins_other"),
            "{failure}"
        );
    }
    assert_eq!(other.dump().await, before);
    let same = Reconciliation::seeded().await.set("CLERK_INSTANCE_ID", INSTANCE_ID);
    assert_eq!(same.run().await, "");
}

#[tokio::test]
async fn a_clerk_that_knows_none_of_our_dealerships_stops_the_run_before_the_first_change() {
    let bench = Reconciliation::seeded().await;
    bench.sql("update dealerships set clerk_org_id = clerk_org_id || '_of_another'").await;
    let before = bench.dump().await;
    let one = json!({ "dry_run": false, "organization_id": "org_tesla_oslo_of_another" });
    for event in [json!({ "dry_run": false }), json!({ "dry_run": true }), one] {
        let failure = bench.try_run(event).await.unwrap_err();
        assert!(failure.contains("is CLERK_SECRET_KEY of this instance?"), "{failure}");
    }
    assert_eq!(bench.dump().await, before);
}

#[tokio::test]
async fn an_organization_that_is_neither_clerks_nor_an_id_is_an_error() {
    let bench = Reconciliation::seeded().await;
    let failure =
        bench.try_run(json!({ "dry_run": false, "organization_id": "audi-molde" })).await.unwrap_err();
    assert!(failure.starts_with("Clerk has no organization audi-molde"), "{failure}");
}

#[tokio::test]
async fn a_mistyped_event_writes_nothing_and_sends_no_request() {
    let bench = Reconciliation::seeded().await;
    let mistyped = event("clerk-reconcile/mistyped").value().clone();
    for event in [mistyped, json!({}), json!(null), json!({ "dry_run": "no" })] {
        let failure = bench.try_run(event).await.unwrap_err();
        assert!(failure.starts_with("the event is not valid: "), "{failure}");
    }
    assert_eq!(bench.backend.asked().len(), 0);
}
