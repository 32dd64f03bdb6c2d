//! A closed loop of requests: each client sends the next request as soon as it has its answer.
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::statistics::{ms, quantile};

/// The latencies of one round.
#[derive(Debug)]
pub(crate) struct Load {
    latencies: Vec<f64>,
    elapsed: Duration,
}

impl Load {
    /// Requests in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// How many were answered.
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// In milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// Lets each client send one request after the other until the time is up. The first error ends the whole load.
pub(crate) async fn closed_loop<C>(
    clients: impl IntoIterator<Item = C>,
    lasting: Duration,
    ask: impl AsyncFn(&mut C, u64) -> Result<Duration>,
) -> Result<Load> {
    let started = Instant::now();
    let loops = clients.into_iter().zip(0u64..).map(async |(mut client, place)| {
        // Each client goes through the callers at a place of its own.
        let (mut number, mut latencies) = (place * 1_000_003, Vec::new());
        while started.elapsed() < lasting {
            latencies.push(ms(ask(&mut client, number).await?));
            number += 1;
        }
        Ok::<_, anyhow::Error>(latencies)
    });
    let latencies = try_join_all(loops).await?.concat();
    Ok(Load { latencies, elapsed: started.elapsed() })
}
