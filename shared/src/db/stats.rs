//! Database statistics of one request, for its log line.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// The dealership, the number of flushes and the time waited. The scope writes them without a lock.
#[derive(Default)]
pub(crate) struct DbStats {
    dealership: OnceLock<Uuid>,
    flushes: AtomicU64,
    waited_us: AtomicU64,
}

/// Measures one wait. Dropping it ends the wait, be it by an answer, an error or a deadline.
pub(super) struct Waiting<'a> {
    stats: &'a DbStats,
    since: Instant,
}

impl DbStats {
    /// The dealership, once a statement has entered one.
    pub(crate) fn dealership(&self) -> Option<&Uuid> {
        self.dealership.get()
    }

    pub(super) fn enter(&self, dealership: Uuid) {
        let _ = self.dealership.set(dealership);
    }

    /// Starts a wait for a connection. The flushes that open one are not counted.
    pub(super) fn connect(&self) -> Waiting<'_> {
        Waiting { stats: self, since: Instant::now() }
    }

    /// Counts one flush and starts the wait for its answers.
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
        self.stats.waited_us.fetch_add(waited, Relaxed);
    }
}
