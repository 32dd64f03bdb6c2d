//! A verifier that could not tell good tokens from bad does not start; and the stand-in's own promises.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dev::clerk::Clerk;
use shared::auth::ConfigError;

use super::*;

fn build(edit: impl FnOnce(&mut ClerkConfig)) -> Result<Verifier, ConfigError> {
    let mut config = config(KeySource::Jwks("https://clerk.norvalt.test/.well-known/jwks.json".to_owned()));
    edit(&mut config);
    Verifier::new(config, Time::new().clock())
}

#[test]
fn a_verifier_is_shared_between_requests() {
    fn shared<T: Send + Sync>(_: T) {}
    shared(build(|_| ()).unwrap());
}

#[test]
fn the_issuer_is_needed() {
    for issuer in ["", " "] {
        assert!(matches!(build(|c| c.issuer = issuer.into()), Err(ConfigError::NoIssuer)), "{issuer:?}");
    }
}

#[test]
fn authorized_parties_are_needed_and_are_origins() {
    assert!(matches!(build(|c| c.authorized_parties.clear()), Err(ConfigError::NoAuthorizedParties)));
    for party in [
        "",
        "*",
        "null",
        "app.norvalt.test",
        "https://",
        "https://a.test/",
        "https://a.test/x",
        "https://*.a.test",
    ] {
        let built = build(|c| c.authorized_parties.push(party.into()));
        assert!(matches!(built, Err(ConfigError::NotAnOrigin(_))), "{party:?}");
    }
    for party in ["https://a.test", "http://localhost:3000", "capacitor://localhost"] {
        assert!(build(|c| c.authorized_parties.push(party.into())).is_ok(), "{party:?}");
    }
}

#[test]
fn keys_come_over_tls_or_from_this_machine() {
    for url in [
        "",
        "clerk.norvalt.test",
        "ftp://a.test/jwks",
        "http://a.test/jwks",
        "http://10.0.0.1/jwks",
        "file:///jwks",
    ] {
        let built = build(|c| c.keys = KeySource::Jwks(url.into()));
        assert!(matches!(built, Err(ConfigError::JwksUrl(_))), "{url:?}");
    }
    for url in
        ["https://a.test/jwks", "http://localhost:1/jwks", "http://127.0.0.1:1/jwks", "http://[::1]:1/jwks"]
    {
        assert!(build(|c| c.keys = KeySource::Jwks(url.into())).is_ok(), "{url:?}");
    }
}

#[test]
fn the_pem_is_an_rsa_public_key() {
    let clerk = Clerk::generate().unwrap();
    let pem = clerk.public_pem();
    assert!(build(|c| c.keys = KeySource::Pem(pem.clone())).is_ok());
    assert!(build(|c| c.keys = KeySource::Pem(format!("\n{pem}\n"))).is_ok());
    let elliptic = rcgen::KeyPair::generate().unwrap();
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let rows = [
        ("empty", String::new()),
        ("text", "a key".to_owned()),
        ("cut off", pem[..pem.len() / 2].to_owned()),
        ("an elliptic curve key", elliptic.public_key_pem()),
        ("a private key", private),
    ];
    for (row, pem) in rows {
        let built = build(|c| c.keys = KeySource::Pem(pem));
        assert!(matches!(built, Err(ConfigError::PublicKey(_))), "{row}");
    }
}

#[test]
fn the_stand_in_keeps_its_key() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clerk-{}", std::process::id()));
    let first = Clerk::load_or_create(&dir).unwrap();
    let second = Clerk::load_or_create(&dir).unwrap();
    assert_eq!(first.kid(), second.kid());
    assert_eq!(first.public_pem(), second.public_pem());
    for entry in fs::read_dir(&dir).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::remove_dir_all(dir).unwrap();
}
