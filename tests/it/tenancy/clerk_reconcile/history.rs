//! Any history at Clerk, with any of its messages lost: after one reconciliation the rows are those of a model of Clerk.
use std::sync::atomic::{AtomicUsize, Ordering};

use dev::clerk::backend::{Backend, organization};
use dev::people::FOUNDED_MS;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::support::clerk::history::{Entry, entries, play, rows};
use crate::support::clerk::model::Clerk;
use crate::support::clerk::reconciliation::Reconciliation;
use crate::support::{World, cases};

/// Histories, unless `PROPTEST_CASES` says otherwise.
const HISTORIES: u32 = 40;
/// Each history has ids of its own.
static NEXT: AtomicUsize = AtomicUsize::new(0);

#[test]
fn after_one_run_the_rows_are_what_clerk_says_whichever_messages_never_came() {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let bench =
        runtime.block_on(async { Reconciliation::new(World::empty().await, Backend::default()).await });
    let owner = runtime.block_on(bench.world.owner());
    let start = (Timestamp::now() - SignedDuration::from_mins(60)).as_millisecond();
    let property = async |entries: Vec<Entry>| {
        let forget = "truncate clerk_tombstones, webhook_inbox, dealerships, users cascade;
                      insert into dealerships (clerk_org_id, name, slug) values ('org_known', 'Known', 'known')";
        owner.batch_execute(forget).await.unwrap();
        let mut clerk = Clerk::new(format!("r{}", NEXT.fetch_add(1, Ordering::SeqCst)), start);
        play(&bench.world, &mut clerk, &entries, 1).await?;
        let mut directory = clerk.directory();
        directory.organizations.push(organization("org_known", "Known", Some("known"), FOUNDED_MS));
        bench.backend.edit(|there| *there = directory);

        let would = bench.dry_run().await;
        prop_assert_eq!(bench.run().await, would);
        let (mut got, mut expected) = (rows(&owner, &clerk).await, clerk.rows_as_announced());
        // A deleted row says no more than that; if no message about it came, there may be no row.
        for id in clerk.deleted_ids() {
            if let Some(row) = got.remove(&id) {
                prop_assert!(row.ends_with("deleted"), "{id}: {row}");
            }
            expected.remove(&id);
            for rows in [&mut got, &mut expected] {
                rows.retain(|key, _| !key.split(' ').any(|part| part == id && id.starts_with("org_")));
            }
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(bench.run().await, "");
        Ok(())
    };
    TestRunner::new(cases(HISTORIES))
        .run(&entries(0..3), |entries| runtime.block_on(property(entries)))
        .unwrap();
}
