//! Why a token is not accepted, and why a verifier cannot start.
use std::sync::Arc;

use thiserror::Error;

/// Why a request has no verified caller.
#[derive(Debug, Error)]
pub enum TokenError {
    /// No `Authorization: Bearer` token was sent: 401.
    #[error("no bearer token was sent")]
    Missing,
    /// The token was refused: 401, the same answer whatever the reason, which is for the log only.
    #[error("the token was refused ({code}): {0}", code = .0.code())]
    Rejected(#[from] Rejection),
    /// The issuer's keys are not available, so the token cannot be verified: 503, never 401.
    #[error("Clerk's keys are unavailable ({})", .0.code())]
    KeysUnavailable(#[source] Arc<KeysError>),
}

/// What is wrong with a refused token. It contains nothing of the token, so it is safe to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Too long, not three base64url segments, not JSON objects, or a member of the wrong type.
    #[error("it is malformed")]
    Malformed,
    /// `alg` is not `RS256`.
    #[error("its algorithm is not RS256")]
    Algorithm,
    /// Another kind of token of the same instance: OAuth, JWT template, machine to machine.
    #[error("it is not a session token")]
    TokenType,
    /// `kid` is missing or names no key of the issuer.
    #[error("its key is not one of the issuer's")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is invalid")]
    Signature,
    /// `iss` is not the configured issuer.
    #[error("its issuer is another one")]
    Issuer,
    /// `sub` is not a user.
    #[error("its subject is not a user")]
    Subject,
    /// `sid` is missing or not a session.
    #[error("it belongs to no session")]
    Session,
    /// `azp` is missing or not one of the configured origins.
    #[error("its authorized party is missing or unknown")]
    AuthorizedParty,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("it is not valid yet")]
    NotActiveYet,
    /// `iat` is still to come.
    #[error("it was issued in the future")]
    IssuedInFuture,
    /// `sts` is `pending` or an unknown status: the user is not fully signed in.
    #[error("its session is not active")]
    Status,
    /// An organization is named without a usable id.
    #[error("its organization has no valid id")]
    Organization,
}

impl Rejection {
    /// A stable code for logs and metrics, the one that Clerk's own back-end SDK uses for the reason.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token-invalid",
            Self::Algorithm => "token-invalid-algorithm",
            Self::TokenType => "token-type-mismatch",
            Self::UnknownKey => "jwk-kid-mismatch",
            Self::Signature => "token-invalid-signature",
            Self::AuthorizedParty => "token-invalid-authorized-parties",
            Self::Expired => "token-expired",
            Self::NotActiveYet => "token-not-active-yet",
            Self::IssuedInFuture => "token-iat-in-the-future",
            Self::Issuer | Self::Subject | Self::Session | Self::Status | Self::Organization => {
                "token-verification-failed"
            }
        }
    }
}

/// Why the issuer's keys are not available.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The issuer could not be reached, or did not answer in time.
    #[error("the request for the keys failed")]
    Request(#[from] reqwest::Error),
    /// An answer other than 200; redirects are not followed.
    #[error("the request for the keys was answered with status {0}")]
    Status(u16),
    /// The answer is larger than any key set.
    #[error("the key set is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not a key set.
    #[error("the key set is not valid")]
    Invalid(#[from] serde_json::Error),
    /// The key set has no RSA signing key.
    #[error("the key set has no RSA signing key")]
    Empty,
    /// No request for the keys has ended yet.
    #[error("the keys have not been loaded")]
    NotLoaded,
}

impl KeysError {
    /// A stable code for logs and metrics, the one that Clerk's own back-end SDK uses for the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::Status(_) => "jwk-remote-failed-to-load",
            Self::TooLarge(_) | Self::Invalid(_) => "jwk-remote-invalid",
            Self::Empty => "jwk-remote-missing",
            Self::NotLoaded => "jwk-failed-to-resolve",
        }
    }
}

/// Why a verifier cannot be built: a mistake in the configuration, found at start-up.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Without an issuer, tokens of every Clerk instance would have to be accepted.
    #[error("the Clerk issuer is empty")]
    NoIssuer,
    /// Without authorized parties, tokens made for any web site would have to be accepted.
    #[error("the list of authorized parties is empty")]
    NoAuthorizedParties,
    /// An authorized party that no `azp` can equal.
    #[error(
        "authorized party {0:?} is not an origin such as https://app.example.com (no path, no final slash)"
    )]
    NotAnOrigin(String),
    /// Not an RSA public key in PEM form.
    #[error("the Clerk public key is not an RSA public key in PEM form")]
    PublicKey(#[source] jsonwebtoken::errors::Error),
    /// Not a URL, or one that anybody on the way could answer.
    #[error("the JWKS address {0:?} is not an https:// URL (http:// is for this machine only)")]
    JwksUrl(String),
    /// The HTTP client that fetches the keys cannot be built.
    #[error("the HTTP client for Clerk's keys cannot be built")]
    HttpClient(#[source] reqwest::Error),
}
