//! A stand-in for Clerk: one RSA key, a JWKS endpoint, session tokens with Clerk's claims, and a Backend API.
//!
//! The key is generated here and never leaves the machine, so the tokens are worth nothing elsewhere.
pub mod backend;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use backend::Backend;

use crate::http;

/// The key's file in the directory given to [`Clerk::load_or_create`].
const KEY_FILE: &str = "clerk-key.pem";

/// How long a session token lives, in seconds, as Clerk's do.
pub const TOKEN_SECONDS: i64 = 60;

/// A Clerk instance with one signing key.
pub struct Clerk {
    pair: KeyPair,
    signer: EncodingKey,
    jwk: Jwk,
    kid: String,
    answer: Mutex<Answer>,
    requests: AtomicUsize,
    backend: Arc<Backend>,
}

/// The answers of the JWKS endpoint.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This instance's key.
    OwnKey,
    /// A status and a body.
    Fixed(u16, String),
    /// A redirect to another URL.
    Redirect(String),
    /// Nothing: the connection stays open.
    Silence,
}

/// The claims of a session token.
#[derive(Clone, Debug)]
pub struct SessionToken<'a> {
    /// `iss`, the instance's Frontend API URL.
    pub issuer: &'a str,
    /// `azp`, the origin of the front end.
    pub authorized_party: &'a str,
    /// `sub`, starting `user_`.
    pub user_id: &'a str,
    /// `sid`, starting `sess_`.
    pub session_id: &'a str,
    /// `o`, the active organization.
    pub organization: Option<ActiveOrganization<'a>>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp` - `iat`, in seconds; Clerk's is [`TOKEN_SECONDS`].
    pub lifetime: i64,
}

/// The active organization of a session token.
#[derive(Clone, Debug)]
pub struct ActiveOrganization<'a> {
    /// `o.id`, starting `org_`.
    pub id: &'a str,
    /// `o.rol`, without the prefix `org:`.
    pub role: &'a str,
    /// `o.slg`.
    pub slug: &'a str,
}

impl SessionToken<'_> {
    /// The claims of a version 2 session token.
    #[must_use]
    pub fn claims(&self) -> Value {
        let iat = self.issued_at.as_second();
        let mut claims = json!({
            "azp": self.authorized_party,
            "exp": iat + self.lifetime,
            "fva": [0, -1],
            "iat": iat,
            "iss": self.issuer,
            "jti": uuid::Uuid::new_v4().simple().to_string(),
            "nbf": iat - 10,
            "sid": self.session_id,
            "sts": "active",
            "sub": self.user_id,
            "v": 2,
        });
        if let (Some(o), Some(claims)) = (&self.organization, claims.as_object_mut()) {
            claims.insert("o".to_owned(), json!({ "id": o.id, "rol": o.role, "slg": o.slug }));
        }
        claims
    }
}

impl Clerk {
    /// Makes an instance with a new RSA key of 2048 bits.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn generate() -> Result<Self> {
        Self::with_key(KeyPair::generate_for(&PKCS_RSA_SHA256).context("generate an RSA key")?)
    }

    /// Reads the instance's key from a directory or, the first time, generates it and keeps it there (mode
    /// 0600), so that tokens outlive a restart.
    ///
    /// # Errors
    /// When the key can be neither read nor written.
    pub fn load_or_create(dir: &Path) -> Result<Self> {
        let path = dir.join(KEY_FILE);
        let pem = match fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_key_file(dir, &path)?,
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let pair = KeyPair::from_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256)
            .with_context(|| format!("read the RSA key in {}", path.display()))?;
        Self::with_key(pair)
    }

    fn with_key(pair: KeyPair) -> Result<Self> {
        let signer = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())?;
        crypto::sign(b"", &signer, Algorithm::RS256).context("sign with the RSA key")?;
        let mut jwk = Jwk::from_encoding_key(&signer, Algorithm::RS256)?;
        let kid = format!("ins_{}", jwk.thumbprint(ThumbprintHash::SHA256)?);
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let (answer, requests, backend) = (Mutex::new(Answer::OwnKey), AtomicUsize::new(0), Arc::default());
        Ok(Self { pair, signer, jwk, kid, answer, requests, backend })
    }

    /// The name of the key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key in PEM form.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The key set, as `/.well-known/jwks.json` shows it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    /// The header of a session token.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": self.kid, "typ": "JWT" })
    }

    /// Signs a session token.
    #[must_use]
    pub fn session_token(&self, token: &SessionToken<'_>) -> String {
        self.sign(&self.header(), &token.claims())
    }

    /// Signs any header and claims with RS256, even if the header names another algorithm.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs any two texts, JSON or not.
    #[must_use]
    #[expect(clippy::expect_used, reason = "with_key has seen the key sign")]
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.signer, Algorithm::RS256).expect("a good key");
        format!("{message}.{signature}")
    }

    /// Sets the JWKS endpoint's answer from now on.
    pub fn set_answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// How many requests the JWKS endpoint has had.
    #[must_use]
    pub fn jwks_requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Answers `GET /.well-known/jwks.json` and the Backend API until the listener fails.
    ///
    /// # Errors
    /// When the listener accepts no more connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        http::serve(listener, move |request, _| {
            let (clerk, (request, _)) = (Arc::clone(&self), request.into_parts());
            async move {
                match (&request.method, request.uri.path()) {
                    (&Method::GET, "/.well-known/jwks.json") => clerk.key_set().await,
                    _ => clerk.backend.reply(&request),
                }
            }
        })
        .await
    }

    async fn key_set(&self) -> Response<Full<Bytes>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Answer::OwnKey => http::json(StatusCode::OK, self.jwks().to_string()),
            Answer::Fixed(status, body) => http::json(http::status(status), body),
            Answer::Redirect(url) => {
                let mut redirect = http::json(StatusCode::FOUND, String::new());
                redirect.headers_mut().extend(HeaderValue::try_from(url).ok().map(|url| (LOCATION, url)));
                redirect
            }
            Answer::Silence => std::future::pending().await,
        }
    }
}

fn create_key_file(dir: &Path, path: &Path) -> Result<String> {
    let pem = KeyPair::generate_for(&PKCS_RSA_SHA256).context("generate an RSA key")?.serialize_pem();
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(pem.as_bytes()))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(pem)
}
