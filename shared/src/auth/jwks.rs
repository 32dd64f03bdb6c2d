//! The issuer's keys, kept between requests.
//!
//! A forged token can name any key, so the requests for keys are bounded: one per cool-down in the whole process, shared
//! by all requests that wait for it. During an outage the last good keys are used for some hours.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;

use super::error::{ConfigError, KeysError, Rejection, TokenError};
use super::fetch::{Endpoint, Keys};
use crate::chain::chain;
use crate::clock::Clock;

/// How long keys are used before they are fetched again. Clerk's SDKs take from 5 minutes to 1 hour.
const KEYS_FRESH_FOR: SignedDuration = SignedDuration::from_mins(15);

/// How old keys may become while they cannot be refreshed.
const KEYS_USABLE_FOR: SignedDuration = SignedDuration::from_hours(6);

/// The shortest time between two requests for keys, whichever keys the tokens name.
const COOL_DOWN: SignedDuration = SignedDuration::from_secs(30);

/// The same while there are no usable keys, when every request is a 503.
const COOL_DOWN_WITHOUT_KEYS: SignedDuration = SignedDuration::from_secs(2);

/// The key cache of one issuer.
pub(super) struct Jwks {
    endpoint: Endpoint,
    clock: Clock,
    state: Mutex<State>,
    /// Held while a request for keys is under way.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Keys,
    /// When `keys` were fetched.
    fetched_at: Option<Timestamp>,
    /// When the last request ended, or began if it is still under way.
    attempted_at: Option<Timestamp>,
    /// Why the last request failed.
    failure: Option<Arc<KeysError>>,
}

impl Jwks {
    pub(super) fn new(url: &str, clock: Clock) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::new(url)?;
        Ok(Self { endpoint, clock, state: Mutex::default(), refreshing: tokio::sync::Mutex::default() })
    }

    /// Finds a key. Asks the issuer when the cache is old or does not have the key.
    pub(super) async fn key(&self, kid: &str) -> Result<Arc<DecodingKey>, TokenError> {
        if let Some(key) = self.fresh_key(kid) {
            return Ok(key);
        }
        self.key_after_refresh(kid).await
    }

    /// Finds a key after asking the issuer again, unless the cool-down forbids it.
    pub(super) async fn key_after_refresh(&self, kid: &str) -> Result<Arc<DecodingKey>, TokenError> {
        self.refresh().await;
        self.state().usable_key(kid, self.clock.now())
    }

    /// Asks the issuer for its keys, once for all callers that wait. A failure is logged and remembered.
    pub(super) async fn refresh(&self) {
        let _one_at_a_time = self.refreshing.lock().await;
        if !self.state().begin_refresh(self.clock.now()) {
            return;
        }
        let result = self.endpoint.fetch().await;
        if let Err(error) = &result {
            tracing::warn!(code = error.code(), error = chain(error), "Clerk's keys could not be loaded");
        }
        self.state().end_refresh(result, self.clock.now());
    }

    fn fresh_key(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        let state = self.state();
        within(state.fetched_at, KEYS_FRESH_FOR, self.clock.now()).then(|| state.keys.get(kid).cloned())?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_usable(&self, now: Timestamp) -> bool {
        within(self.fetched_at, KEYS_USABLE_FOR, now)
    }

    /// Whether a request may be made now. A request that is abandoned counts as failed.
    fn begin_refresh(&mut self, now: Timestamp) -> bool {
        let pause = if self.is_usable(now) { COOL_DOWN } else { COOL_DOWN_WITHOUT_KEYS };
        if within(self.attempted_at, pause, now) {
            return false;
        }
        self.attempted_at = Some(now);
        self.failure = Some(Arc::new(KeysError::NotLoaded));
        true
    }

    fn end_refresh(&mut self, result: Result<Keys, KeysError>, now: Timestamp) {
        self.attempted_at = Some(now);
        match result {
            Ok(keys) => *self = Self { keys, fetched_at: Some(now), attempted_at: Some(now), failure: None },
            Err(error) => self.failure = Some(Arc::new(error)),
        }
    }

    /// A missing key refuses the token only if the issuer was reached. The error does not list the known keys.
    fn usable_key(&self, kid: &str, now: Timestamp) -> Result<Arc<DecodingKey>, TokenError> {
        let usable = self.is_usable(now);
        match (self.keys.get(kid), &self.failure) {
            (Some(key), _) if usable => Ok(Arc::clone(key)),
            (_, Some(failure)) => Err(TokenError::KeysUnavailable(Arc::clone(failure))),
            (_, None) if usable => Err(Rejection::UnknownKey.into()),
            (_, None) => Err(TokenError::KeysUnavailable(Arc::new(KeysError::NotLoaded))),
        }
    }
}

/// Whether less than `limit` has passed since `then`; false if the clock was set back since.
fn within(then: Option<Timestamp>, limit: SignedDuration, now: Timestamp) -> bool {
    then.is_some_and(|then| {
        let age = now.duration_since(then);
        !age.is_negative() && age < limit
    })
}
