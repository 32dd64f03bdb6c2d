//! The time to verify a token when the key is there.
use std::time::Instant;

use anyhow::{Result, anyhow};
use dev::state::ORIGIN;
use shared::auth::{ClerkConfig, KeySource, Verifier};
use shared::clock::Clock;

use crate::bench::Bench;
use crate::report::{Goal, Row, Section};
use crate::statistics::Summary;

/// Microseconds.
const GOAL: f64 = 60.0;
/// Verifications that are timed together, because reading the clock takes time, too.
const TOGETHER: u32 = 50;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let keys = KeySource::Jwks(format!("{}/.well-known/jwks.json", bench.issuer));
    let config =
        ClerkConfig { issuer: bench.issuer.clone(), keys, authorized_parties: vec![ORIGIN.to_owned()] };
    let verifier = Verifier::new(config, Clock::system())?;
    verifier.warm().await;
    let headers: Vec<String> = bench.callers.tokens().map(|token| format!("Bearer {token}")).collect();
    let mut microseconds = Vec::new();
    for group in 0..bench.effort.requests as usize {
        let started = Instant::now();
        for number in 0..TOGETHER as usize {
            let header = &headers[(group + number) % headers.len()];
            verifier
                .verify(Some(header))
                .await
                .map_err(|error| anyhow!("a good token is refused: {error}"))?;
        }
        microseconds.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(TOGETHER));
    }
    let rows = vec![Row::new(
        "token verification with a warm key",
        Goal::AtMost(GOAL),
        "µs",
        Summary::of(&microseconds),
    )];
    let text = format!(
        "The verifier of the functions, called in process: {} times {TOGETHER} tokens, shape, RS256 signature and claims.\n",
        microseconds.len()
    );
    Ok(Section { title: "Token verification", rows, text, ..Section::default() })
}
