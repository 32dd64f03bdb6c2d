//! What a request wants of the database: whose rows, how many network flushes, how long it waited for them.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Filled by the scope while it works, and read for the request's line in the log; nobody waits for a lock.
#[derive(Default)]
pub(crate) struct Visit {
    dealership: OnceLock<Uuid>,
    flushes: AtomicU64,
    waited_us: AtomicU64,
}

/// A time of waiting, which ends when this is dropped: with the answer, an error or a deadline.
pub(super) struct Waiting<'a> {
    visit: &'a Visit,
    since: Instant,
}

impl Visit {
    /// The dealership, once a statement has entered one.
    pub(crate) fn dealership(&self) -> Option<&Uuid> {
        self.dealership.get()
    }

    pub(super) fn enter(&self, dealership: Uuid) {
        let _ = self.dealership.set(dealership);
    }

    /// A wait for a connection; opening one has flushes of its own, which are not the statements'.
    pub(super) fn connect(&self) -> Waiting<'_> {
        Waiting { visit: self, since: Instant::now() }
    }

    /// A wait for the answers to statements that leave together.
    pub(super) fn flush(&self) -> Waiting<'_> {
        self.flushes.fetch_add(1, Relaxed);
        self.connect()
    }

    /// The flushes and the time waited since the last call.
    pub(crate) fn take(&self) -> (u64, Duration) {
        (self.flushes.swap(0, Relaxed), Duration::from_micros(self.waited_us.swap(0, Relaxed)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.visit.waited_us.fetch_add(waited, Relaxed);
    }
}
