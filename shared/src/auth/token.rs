//! A token before its signature is verified: its shape and its header, checked without a key.
//!
//! The rules are those of Clerk's manual verification guide and of RFC 8725. Every token of a Clerk instance
//! is signed by one key, so the header must also distinguish a session token from OAuth, template and machine tokens.
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::{Rejection, TokenError};

/// The longest token that is read, in bytes. Clerk keeps its own below the 4 kB of a cookie.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The `cat` values of Clerk's back-end SDK (marked internal there) that a session token may carry.
const SESSION_CATEGORIES: [&str; 2] = ["cl_B7d4PD111AAA", "cl_I7d4PD111III"];

/// Takes the token from an `Authorization: Bearer` header; cookies are not read.
pub(super) fn bearer(authorization: Option<&str>) -> Result<&str, TokenError> {
    let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).ok_or(TokenError::Missing)?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(TokenError::Missing);
    }
    Ok(token)
}

/// A well-formed session token whose signature has not been verified yet.
pub(super) struct UnverifiedToken<'a> {
    message: &'a str,
    signature: &'a str,
    payload: Vec<u8>,
    /// The key that it names.
    pub(super) kid: Option<String>,
}

/// The header members that are read. A token's own keys (`jwk`, `jku`, `x5u`, `x5c`) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    cat: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

/// The payload's member that shows the kind of token.
#[derive(Deserialize)]
struct Kind {
    #[serde(default, deserialize_with = "present")]
    client_id: Option<IgnoredAny>,
}

impl<'a> UnverifiedToken<'a> {
    /// Splits and decodes a token. Refuses one that does not have the form of a session token.
    pub(super) fn parse(token: &'a str) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Rejection::Malformed)?;
        let [header, payload, _] = [decode(header)?, decode(payload)?, decode(signature)?];
        let header: Header = object(&header)?;
        let kind: Kind = object(&payload)?;
        header.check()?;
        if kind.client_id.is_some() {
            return Err(Rejection::TokenType); // an OAuth access token
        }
        Ok(Self { message, signature, payload, kid: header.kid })
    }

    /// The payload, if the RS256 signature (2048 to 8192 bits) is valid.
    pub(super) fn verified_payload(&self, key: &DecodingKey) -> Result<&[u8], Rejection> {
        match crypto::verify(self.signature, self.message.as_bytes(), key, Algorithm::RS256) {
            Ok(true) => Ok(&self.payload),
            Ok(false) | Err(_) => Err(Rejection::Signature),
        }
    }
}

impl Header {
    fn check(&self) -> Result<(), Rejection> {
        if self.alg != "RS256" {
            return Err(Rejection::Algorithm);
        }
        // OAuth access tokens are `at+jwt`.
        if self.typ.as_deref().is_some_and(|typ| typ != "JWT") {
            return Err(Rejection::TokenType);
        }
        if self.cat.as_deref().is_some_and(|cat| !SESSION_CATEGORIES.contains(&cat)) {
            return Err(Rejection::TokenType);
        }
        // RFC 7515, 4.1.11: an extension that is critical and not understood refuses the token.
        if self.crit.is_some() {
            return Err(Rejection::Malformed);
        }
        Ok(())
    }
}

/// Decodes strict base64url: no padding, no other characters, no bits left over. Refuses an empty segment.
fn decode(segment: &str) -> Result<Vec<u8>, Rejection> {
    match URL_SAFE_NO_PAD.decode(segment) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Rejection::Malformed),
    }
}

/// Parses a JSON object. Refuses one with a repeated member that `T` reads, or a member of the wrong type.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Rejection> {
    match serde_json::from_slice::<Object<T>>(json) {
        Ok(Object(value)) => Ok(value),
        Err(_) => Err(Rejection::Malformed),
    }
}

/// Reads an optional member, which must be of its type if it is there: `null` does not count as absent.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A struct read from a JSON object only. serde would also accept an array of the members in order.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
