//! Every kind of difference: the first run reports and repairs it, and the second finds none; and what a run leaves alone.
use dev::clerk::backend::{Backend, Directory, organization, user};
use dev::people::{FOUNDED_MS, KARI, NINA, OLA, TESLA_OSLO, VW_BERGEN};
use serde_json::json;

use super::now;
use crate::support::clerk::delivery;
use crate::support::clerk::reconciliation::Reconciliation;
use crate::support::{World, event, session_token, token, until};

/// Clerk has changed, and no message about it came.
async fn everything_differs() -> Reconciliation {
    let bench = Reconciliation::seeded().await;
    let later = now();
    bench.backend.edit(|clerk| {
        // A dealership and a person that we do not know, a new member of theirs and of another.
        clerk.organizations.push(organization("org_ny_bil", "Ny Bil", Some("ny-bil"), later));
        clerk.users.push(user("user_ny", "Åse", Some("Ny"), "aase@nybil.example", later));
        clerk.join("orgmem_ny", "org_ny_bil", "user_ny", Some("org:admin"), later);
        clerk.join("orgmem_ny_2", "org_vw_bergen", "user_ny", None, later);
        // New names, a new address.
        clerk.organizations[1]["name"] = json!("VW Bergen Sør");
        clerk.organizations[1]["slug"] = json!("vw-bergen-sor");
        clerk.organizations[1]["updated_at"] = json!(later);
        clerk.users[0]["last_name"] = json!("Berg");
        clerk.users[0]["email_addresses"][1]["email_address"] = json!("kari.berg@teslaoslo.example");
        clerk.users[0]["updated_at"] = json!(later);
        // Another role, and an end.
        clerk.memberships[1]["role"] = json!("org:member");
        clerk.memberships[1]["updated_at"] = json!(later);
        clerk.delete("orgmem_vw_bergen_nina");
        // A person who is gone.
        clerk.delete(dev::people::PER.clerk_user_id);
    });
    // Dealership and members that only tokens know, of which Clerk knows one.
    bench
        .sql(
            "insert into dealerships (clerk_org_id, name) values ('org_gone', 'Gone');
             insert into users (clerk_user_id) values ('user_stub');
             insert into memberships (dealership_id, user_id, role, role_at, confirmed_at)
             select d.id, u.id, 'sales_rep', to_timestamp(0), now() from dealerships d, users u
              where (clerk_org_id, clerk_user_id) in (('org_gone', 'user_kari_nordmann'), ('org_vw_bergen', 'user_kari_nordmann'),
                                                      ('org_tesla_oslo', 'user_stub'))",
        )
        .await;
    bench.backend.edit(|clerk| {
        clerk.users.push(user("user_stub", "Stig", None, "stig@teslaoslo.example", FOUNDED_MS));
        clerk.join("orgmem_stub", "org_tesla_oslo", "user_stub", Some("org:manager"), FOUNDED_MS);
    });
    bench
}

#[tokio::test]
async fn each_kind_of_difference_is_told_repaired_and_gone() {
    let bench = everything_differs().await;
    let before = bench.dump().await;
    let would = bench.dry_run().await;
    assert_eq!(bench.dump().await, before, "a dry run writes nothing");
    let did = bench.run().await;
    assert_eq!(would, did, "a dry run reports what a run does");
    insta::with_settings!({ filters => vec![(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]")] }, {
        insta::assert_snapshot!(did);
    });
    assert_eq!(bench.run().await, "", "a second run finds nothing");
}

#[tokio::test]
async fn what_is_repaired_counts_for_the_next_request() {
    let bench = everything_differs().await;
    bench.run().await;
    let list = |token: String| bench.world.send(event("list-leads").by(&token));
    assert_eq!(list(token(&VW_BERGEN, &NINA, "member")).await.expect(403).code(), "member_removed");
    assert_eq!(
        list(token(&VW_BERGEN, &dev::people::PER, "admin")).await.expect(403).code(),
        "member_removed"
    );
    list(token(&TESLA_OSLO, &KARI, "admin")).await.expect(200);
    let gone = dev::clerk::ActiveOrganization { id: "org_gone", role: "admin", slug: "gone" };
    let gone = session_token(KARI.clerk_user_id, Some(gone), jiff::Timestamp::now());
    assert_eq!(list(gone).await.expect(403).code(), "dealership_suspended");
    // A demotion without an event.
    let role = "select role from memberships where dealership_id = $1 and user_id = $2";
    assert_eq!(bench.world.row(role, &[&TESLA_OSLO.id, &OLA.id]).await.get::<_, &str>(0), "sales_rep");
}

/// As on the first day of a deployment.
#[tokio::test]
async fn an_empty_database_gets_every_member() {
    let bench = Reconciliation::new(World::empty().await, Backend::default()).await;
    let would = bench.dry_run().await;
    assert_eq!(bench.run().await, would);
    assert_eq!(bench.run().await, "");
    assert_eq!(bench.world.count("select count(*) from memberships where removed_at is null").await, 6);
}

#[tokio::test]
async fn a_list_that_passes_over_somebody_removes_nobody() {
    let bench = Reconciliation::seeded().await;
    for hidden in ["org_vw_bergen", "user_kari_nordmann", "orgmem_tesla_oslo_nina"] {
        bench.backend.hide(hidden);
    }
    let before = bench.dump().await;
    assert_eq!(bench.run().await, "");
    assert_eq!(bench.dump().await, before);
    let asked = bench.backend.asked();
    let asked_for = |target: &str| asked.iter().any(|asked| asked.target == target);
    assert!(asked_for("/v1/organizations/org_vw_bergen") && asked_for("/v1/users/user_kari_nordmann"));
    assert!(asked_for("/v1/organizations/org_tesla_oslo/memberships?user_id=user_nina_lie"), "{asked:#?}");
}

#[tokio::test]
async fn what_a_list_skips_is_repaired_all_the_same() {
    let bench = Reconciliation::seeded().await;
    bench.backend.hide(KARI.clerk_user_id);
    bench.backend.edit(|clerk| {
        clerk.users[0]["first_name"] = json!("Karianne");
        clerk.users[0]["updated_at"] = json!(now());
    });
    assert_eq!(bench.run().await, "user  user_kari_nordmann  first_name: Kari -> Karianne\n");
}

#[tokio::test]
async fn who_has_just_been_vouched_for_is_not_removed() {
    let mut bench = Reconciliation::seeded().await;
    bench.backend.edit(|clerk| {
        clerk.delete("orgmem_tesla_oslo_nina");
        clerk.delete(dev::people::PER.clerk_user_id);
        clerk.delete(VW_BERGEN.clerk_org_id);
    });
    bench.sql("update memberships set created_at = now() - interval '1 day', clerk_version = 1").await;
    bench.sql("update memberships set confirmed_at = now() where clerk_membership_id = 'orgmem_tesla_oslo_nina'").await;
    // The seed is as old as the template that it was copied from.
    bench.sql("update users set created_at = now(); update dealerships set created_at = now()").await;
    bench.ahead = jiff::SignedDuration::from_mins(9);
    let before = bench.dump().await;
    let report = bench.run().await;
    assert_eq!(report.lines().count(), 3, "{report}");
    assert!(report.lines().all(|line| line.contains("left alone: not at Clerk")), "{report}");
    assert_eq!(bench.dump().await, before);
    bench.ahead = jiff::SignedDuration::from_mins(11);
    let report = bench.run().await;
    assert!(!report.contains("left alone") && report.contains("deleted: - -> yes"), "{report}");
}

#[tokio::test]
async fn what_a_webhook_brought_after_clerks_answer_stays() {
    let bench = Reconciliation::seeded().await;
    bench.sql(&format!("update users set first_name = 'Newer', clerk_version = {}", FOUNDED_MS + 1)).await;
    bench.sql(&format!("update dealerships set name = 'Newer', clerk_version = {}", FOUNDED_MS + 1)).await;
    let before = bench.dump().await;
    let report = bench.run().await;
    assert_eq!(
        report
            .lines()
            .filter(|line| line.ends_with("left alone: our last event is newer than Clerk's answer"))
            .count(),
        6
    );
    assert_eq!(bench.dump().await, before);
}

#[tokio::test]
async fn what_clerk_has_deleted_once_never_comes_back() {
    let bench = Reconciliation::seeded().await;
    bench.sql("insert into clerk_tombstones values ('orgmem_tesla_oslo_nina', now())").await;
    bench
        .sql("update memberships set removed_at = now() where clerk_membership_id = 'orgmem_tesla_oslo_nina'")
        .await;
    let report = bench.run().await;
    assert_eq!(
        report,
        "membership  org_tesla_oslo user_nina_lie  left alone: our last event is newer than Clerk's answer\n"
    );
    assert_eq!(bench.run().await, report);
}

#[tokio::test]
async fn an_answer_that_lacks_what_we_need_changes_nothing() {
    let bench = Reconciliation::seeded().await;
    bench.backend.edit(|clerk| {
        clerk.users[0]["updated_at"] = json!("yesterday");
        clerk.organizations[0].as_object_mut().unwrap().remove("updated_at");
        clerk.memberships[5]["id"] = json!("not-a-membership");
    });
    let before = bench.dump().await;
    let report = bench.run().await;
    assert_eq!(report.matches("left alone: Clerk's answer lacks a field").count(), 3, "{report}");
    assert_eq!(bench.dump().await, before);
}

#[tokio::test]
async fn one_organization_alone_is_brought_to_what_clerk_says() {
    let bench = everything_differs().await;
    let others = "select count(*) from dealerships where name = 'Gone' and deleted_at is null";
    for named in ["vw-bergen-sor", "org_vw_bergen"] {
        let request = |dry_run| json!({ "dry_run": dry_run, "organization_id": named });
        let would = bench.report(request(true)).await;
        assert_eq!(bench.report(request(false)).await, would);
        assert_eq!(would.is_empty(), named == "org_vw_bergen", "{would}");
        assert!(!would.contains("org_tesla_oslo") && !would.contains("org_ny_bil"), "{would}");
    }
    assert_eq!(bench.world.count(others).await, 1);
    let gone = bench.report(json!({ "dry_run": false, "organization_id": "org_gone" })).await;
    assert_eq!(gone, "organization  org_gone  deleted: - -> yes\n");
}

#[tokio::test]
async fn a_character_that_the_database_cannot_hold_stops_no_run() {
    let bench = Reconciliation::seeded().await;
    bench.backend.edit(|clerk| {
        clerk.users[0]["first_name"] = json!("Ka\0ri");
        clerk.users[0]["updated_at"] = json!(now());
    });
    assert_eq!(bench.run().await, "user  user_kari_nordmann  first_name: Kari -> Ka\u{fffd}ri\n");
    assert_eq!(bench.run().await, "");
}

/// Webhooks of the same people come while runs go on. None waits for ever, and in the end the rows are as Clerk has them.
#[tokio::test]
async fn a_run_beside_webhooks_of_the_same_people_does_no_harm() {
    let bench = Reconciliation::new(World::seeded().await.with_concurrency(4), Backend::default()).await;
    let webhooks = async {
        for round in 0..20 {
            let at = now();
            let role = ["org:admin", "org:member", "org:manager"][round % 3];
            bench.backend.edit(|clerk| {
                clerk.memberships[2]["role"] = json!(role);
                clerk.memberships[2]["updated_at"] = json!(at);
                clerk.users[3]["first_name"] = json!(format!("Nina{round}"));
                clerk.users[3]["updated_at"] = json!(at);
            });
            let mut data = Directory::seeded().memberships[2].clone();
            data["role"] = json!(role);
            // Every third message never comes.
            if round % 3 != 0 {
                let message =
                    json!({ "type": "organizationMembership.updated", "timestamp": at, "data": data });
                let id = format!("msg_{round}");
                let sent = bench.world.send(delivery(&id, event("clerk-webhook").json(message))).await;
                sent.expect(200);
            }
        }
    };
    let runs = async {
        for _ in 0..5 {
            bench.run().await;
        }
    };
    tokio::join!(webhooks, runs);
    bench.run().await;
    assert_eq!(bench.run().await, "");
    let role = "select role from memberships where dealership_id = $1 and user_id = $2";
    assert_eq!(bench.world.row(role, &[&TESLA_OSLO.id, &NINA.id]).await.get::<_, &str>(0), "sales_rep");
}

#[tokio::test]
async fn the_end_of_a_membership_says_nothing_about_its_dealership() {
    let bench = Reconciliation::seeded().await;
    bench.backend.edit(|clerk| clerk.delete("orgmem_vw_bergen_nina"));
    assert_eq!(bench.run().await, "membership  org_vw_bergen user_nina_lie  removed: - -> yes\n");
    let dealership =
        "select concat_ws(' ', name, slug, clerk_version, embedded_version) from dealerships where id = $1";
    let row = bench.world.row(dealership, &[&VW_BERGEN.id]).await;
    assert_eq!(row.get::<_, &str>(0), "VW Bergen vw-bergen 0 0");
}

/// The run cannot read yet what a removal under way will write, so it waits for the removal, as a webhook does.
#[tokio::test]
async fn a_run_waits_for_a_webhook_about_the_same_person() {
    let bench = Reconciliation::seeded().await;
    bench.backend.edit(|clerk| {
        clerk.delete("orgmem_tesla_oslo_nina");
        clerk.join("orgmem_2", "org_tesla_oslo", "user_nina_lie", Some("org:admin"), now());
    });
    let (mut owner, watcher) = (bench.world.owner().await, bench.world.owner().await);
    let removal = owner.transaction().await.unwrap();
    removal.execute("select scope.lock_clerk_id($1)", &[&NINA.clerk_user_id]).await.unwrap();
    removal.batch_execute("insert into clerk_tombstones values ('orgmem_2', now())").await.unwrap();
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                    and database = (select oid from pg_database where datname = current_database())";
    let done = std::sync::atomic::AtomicBool::new(false);
    let run = async {
        bench.run().await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let removed = async {
        let waiting = async || watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0;
        let is_done = || done.load(std::sync::atomic::Ordering::SeqCst);
        until("the run waits or is over", async || is_done() || waiting().await).await;
        removal.commit().await.unwrap();
    };
    tokio::join!(run, removed);
    let joined = "select count(*) from memberships where clerk_membership_id = 'orgmem_2'";
    assert_eq!(bench.world.count(joined).await, 0, "it was over before it was applied");
}

/// Rows from before it was stored. It decides which member was first where Clerk names no role.
#[tokio::test]
async fn when_somebody_joined_is_filled_in() {
    let bench = Reconciliation::seeded().await;
    bench.sql("update memberships set joined_version = null where clerk_membership_id = 'orgmem_tesla_oslo_kari'").await;
    let report = bench.run().await;
    assert_eq!(
        report,
        "membership  org_tesla_oslo user_kari_nordmann  joined: - -> 2026-09-21T06:00:00.000Z\n"
    );
    assert_eq!(bench.run().await, "");
}
