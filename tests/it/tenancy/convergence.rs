//! Any history at Clerk, its messages in any order, repeated, and between any session tokens: once each has arrived, the
//! rows are those of a model of Clerk.
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::support::clerk::history::{Entry, entries, play, rows};
use crate::support::clerk::model::Clerk;
use crate::support::{World, cases};

/// Histories, unless `PROPTEST_CASES` says otherwise.
const HISTORIES: u32 = 60;
/// Numbers the histories, which share a database: each has ids of its own.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Tries histories with so many arrivals at once.
fn check(at_once: usize) {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::empty()).with_concurrency(at_once);
    let owner = runtime.block_on(world.owner());
    // A step takes 5 s at most, and no token may be from the future.
    let start = (Timestamp::now() - SignedDuration::from_mins(60)).as_millisecond();
    let property = async |entries: Vec<Entry>| {
        let prefix = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
        let mut clerk = Clerk::new(prefix, start);
        play(&world, &mut clerk, &entries, at_once).await?;
        prop_assert_eq!(rows(&owner, &clerk).await, clerk.rows());
        Ok(())
    };
    TestRunner::new(cases(HISTORIES))
        .run(&entries(1..4), |entries| runtime.block_on(property(entries)))
        .unwrap();
}

#[test]
fn once_every_message_has_arrived_the_rows_are_what_clerk_says() {
    check(1);
}

#[test]
fn also_when_they_arrive_at_the_same_instant() {
    check(6);
}
