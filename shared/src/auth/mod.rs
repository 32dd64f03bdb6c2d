//! Who is calling: Clerk session tokens, and what a role may do.
//!
//! | module | holds |
//! |---|---|
//! | `token` | shape and header, before any key is looked up |
//! | `jwks`, `fetch` | the issuer's keys: their cache, and the request for them |
//! | `claims` | what a token must say after its signature was verified |
//! | `custom_permissions` | a dealership's own permissions in the token, for display |
//! | `permissions` | roles and the permission table |
//! | `error` | why a token is refused |
//!
//! The checks follow Clerk's manual JWT verification guide and its back-end SDK, and are stricter where those
//! leave a choice: the issuer is pinned, `azp` is required, only RS256 is taken. Nothing of a token is logged.
mod claims;
mod custom_permissions;
mod error;
mod fetch;
mod jwks;
mod permissions;
mod token;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};

pub use error::{ConfigError, KeysError, Rejection, TokenError};
pub use permissions::{Permission, Role};

use crate::clock::Clock;
use claims::Expected;
use jwks::Jwks;
use token::UnverifiedToken;

/// Which tokens are accepted.
#[derive(Clone, Debug)]
pub struct ClerkConfig {
    /// The instance's Frontend API URL, compared with `iss` character by character.
    pub issuer: String,
    /// Where the keys come from.
    pub keys: KeySource,
    /// The origins of our front ends, such as `https://app.example.com`, compared with `azp`. Never empty.
    pub authorized_parties: Vec<String>,
}

/// Where the issuer's public keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The URL of the key set, `{issuer}/.well-known/jwks.json`: `https:`, or `http:` on this machine.
    Jwks(String),
    /// The RSA public key in PEM form (at least 2048 bits): no network, and no rotation either.
    Pem(String),
}

/// The verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`, starting `user_`.
    pub user_id: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: i64,
    /// The active organization: the only source of the tenant. `None` is a user who has chosen no dealership.
    pub organization: Option<Organization>,
    /// `act.sub`: the person who impersonates the user, for the log. Clerk accepts any text for it.
    pub actor: Option<String>,
}

/// The caller's active Clerk organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Starting `org_`.
    pub id: String,
    /// For display only: slugs may be switched off, and another organization may take one over.
    pub slug: Option<String>,
    /// The role in the organization when the token was issued, up to a minute ago; the lowest if it names none.
    pub role: Role,
    /// The dealership's own permissions at Clerk, such as `org:teams:read`: for display, they grant nothing.
    pub custom_permissions: Vec<String>,
    /// Whether the token names a role, by [`Role::is_named`]. If not, the database's role counts.
    pub names_role: bool,
}

/// Verifies Clerk session tokens; one per process, shared by concurrent requests.
pub struct Verifier {
    expected: Expected,
    keys: Keys,
    clock: Clock,
}

enum Keys {
    Jwks(Box<Jwks>),
    Pem(DecodingKey),
}

impl Verifier {
    /// Checks the configuration; no request is made yet.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that could accept tokens of others, or none.
    pub fn new(config: ClerkConfig, clock: Clock) -> Result<Self, ConfigError> {
        let ClerkConfig { issuer, keys, authorized_parties } = config;
        if issuer.trim().is_empty() {
            return Err(ConfigError::NoIssuer);
        }
        if authorized_parties.is_empty() {
            return Err(ConfigError::NoAuthorizedParties);
        }
        if let Some(party) = authorized_parties.iter().find(|party| !is_origin(party)) {
            return Err(ConfigError::NotAnOrigin(party.clone()));
        }
        let keys = match keys {
            KeySource::Jwks(url) => Keys::Jwks(Box::new(Jwks::new(&url, clock.clone())?)),
            KeySource::Pem(pem) => Keys::Pem(public_key(&pem).map_err(ConfigError::PublicKey)?),
        };
        Ok(Self { expected: Expected { issuer, authorized_parties }, keys, clock })
    }

    /// Loads the keys before the first request. A failure is only logged: the first request tries again.
    pub async fn warm(&self) {
        if let Keys::Jwks(jwks) = &self.keys {
            jwks.refresh().await;
        }
    }

    /// Verifies the value of an `Authorization` header.
    ///
    /// Shape and header are checked first, without a key; then the signature, then the claims. The network is used only
    /// when the keys are missing, older than 15 minutes, or do not fit the token.
    ///
    /// # Errors
    /// [`TokenError`] for no token, a refused token, or no keys to verify it with.
    pub async fn verify(&self, authorization: Option<&str>) -> Result<Claims, TokenError> {
        let token = UnverifiedToken::parse(token::bearer(authorization)?)?;
        let payload = self.verified_payload(&token).await?;
        Ok(claims::check(payload, &self.expected, self.clock.now().as_second())?)
    }

    async fn verified_payload<'t>(&self, token: &'t UnverifiedToken<'_>) -> Result<&'t [u8], TokenError> {
        let jwks = match &self.keys {
            Keys::Jwks(jwks) => jwks,
            Keys::Pem(key) => return Ok(token.verified_payload(key)?),
        };
        let kid = token.kid.as_deref().ok_or(Rejection::UnknownKey)?;
        if let Ok(payload) = token.verified_payload(&*jwks.key(kid).await?) {
            return Ok(payload);
        }
        // The issuer may have replaced the key under the same `kid`.
        Ok(token.verified_payload(&*jwks.key_after_refresh(kid).await?)?)
    }
}

/// Whether the text is `scheme://host[:port]`, as a browser writes an origin.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map(|(_, host)| host).unwrap_or_default();
    !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ',']) && !text.contains(char::is_whitespace)
}

/// Reads an RSA public key; a private key, a certificate or another kind of key is refused.
fn public_key(pem: &str) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    let key = DecodingKey::from_rsa_pem(pem.trim().as_bytes())?;
    DecodingKey::from_jwk(&Jwk::from_decoding_key(&key, Some(Algorithm::RS256))?)
}
