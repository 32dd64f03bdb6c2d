//! One request for the issuer's key set, and the keys in it that may sign a session token.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::error::{ConfigError, KeysError};
use crate::outbound;

/// For the whole request, from the name look-up to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest key set read, in bytes; Clerk's has about 1 kB.
const MAX_JWKS_BYTES: usize = 64 * 1024;

/// Keys by their `kid`.
pub(super) type Keys = HashMap<String, Arc<DecodingKey>>;

/// Where the keys are, and the client to get them with.
pub(super) struct Endpoint {
    url: Url,
    client: Client,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Endpoint {
    /// Accepts `https:` URLs, and `http:` ones of this machine.
    pub(super) fn new(address: &str) -> Result<Self, ConfigError> {
        let url = outbound::url(address).ok_or_else(|| ConfigError::JwksUrl(address.to_owned()))?;
        // Requests are minutes apart, and a frozen sandbox wakes with dead connections: none is kept.
        let client = outbound::client(FETCH_TIMEOUT).pool_max_idle_per_host(0).build();
        Ok(Self { url, client: client.map_err(ConfigError::HttpClient)? })
    }

    /// Gets the key set.
    pub(super) async fn fetch(&self) -> Result<Keys, KeysError> {
        let response = self.client.get(self.url.clone()).send().await?;
        if response.status() != StatusCode::OK {
            return Err(KeysError::Status(response.status().as_u16()));
        }
        let body =
            outbound::body(response, MAX_JWKS_BYTES).await?.ok_or(KeysError::TooLarge(MAX_JWKS_BYTES))?;
        let KeySet { keys } = serde_json::from_slice(&body)?;
        let keys: Keys = keys.into_iter().filter_map(signing_key).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(keys) }
    }
}

/// The key, if it is an RSA key for RS256 signatures. Others may be in the set for other purposes.
fn signing_key(jwk: Value) -> Option<(String, Arc<DecodingKey>)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let common = &jwk.common;
    let is_rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let is_rs256 = common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::RS256);
    if !(is_rsa && signs && verifies && is_rs256) {
        return None;
    }
    let kid = common.key_id.clone()?;
    Some((kid, Arc::new(DecodingKey::from_jwk(&jwk).ok()?)))
}
