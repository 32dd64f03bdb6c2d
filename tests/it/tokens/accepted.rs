//! What is accepted, and what is read from it.
use dev::clerk::Clerk;
use serde_json::json;
use shared::auth::{Claims, Organization, Role};

use super::*;

#[tokio::test]
async fn a_version_2_token_tells_user_session_organization_and_role() {
    let bench = Bench::new().await;
    let claims = bench.verify(&bench.token(|_| ())).await.unwrap();
    let organization = Organization {
        id: "org_oslo".into(),
        slug: Some("tesla-oslo".into()),
        role: Role::Admin,
        custom_permissions: Vec::new(),
        names_role: true,
    };
    assert_eq!(
        claims,
        Claims { user_id: "user_kari".into(), issued_at: NOW, organization: Some(organization), actor: None }
    );
}

/// What is edited, and the id and role that are found.
type OrganizationRow = (&'static str, Edit, Option<(&'static str, Role)>);

#[tokio::test]
async fn organization_and_role_in_both_versions() {
    let bench = Bench::new().await;
    let rows: [OrganizationRow; 15] = [
        ("v2, admin", |_| (), Some(("org_oslo", Role::Admin))),
        ("v2, manager", |t| t.claims["o"]["rol"] = json!("manager"), Some(("org_oslo", Role::Manager))),
        ("v2, prefixed", |t| t.claims["o"]["rol"] = json!("org:manager"), Some(("org_oslo", Role::Manager))),
        ("v2, member", |t| t.claims["o"]["rol"] = json!("member"), Some(("org_oslo", Role::SalesRep))),
        ("v2, only an id", |t| t.claims["o"] = json!({"id": "org_2"}), Some(("org_2", Role::SalesRep))),
        (
            "v2, permissions too",
            |t| {
                t.claims["o"]["per"] = json!("manage,read");
                t.claims["o"]["fpm"] = json!("3,2");
                t.claims["fea"] = json!("o:dashboard,o:teams");
            },
            Some(("org_oslo", Role::Admin)),
        ),
        ("v2, no organization", |t| t.remove("o"), None),
        ("v2, null organization", |t| t.claims["o"] = json!(null), None),
        (
            "v2, the old claims are not read",
            |t| {
                t.remove("o");
                t.claims["org_id"] = json!("org_old");
                t.claims["org_role"] = json!("org:admin");
            },
            None,
        ),
        (
            "v1, admin",
            |t| {
                t.version_1();
                t.claims["org_id"] = json!("org_old");
                t.claims["org_role"] = json!("org:admin");
            },
            Some(("org_old", Role::Admin)),
        ),
        (
            "v1, all four claims",
            |t| {
                t.version_1();
                t.claims["org_id"] = json!("org_old");
                t.claims["org_slug"] = json!("old");
                t.claims["org_role"] = json!("org:manager");
                t.claims["org_permissions"] = json!(["org:feature:read"]);
            },
            Some(("org_old", Role::Manager)),
        ),
        (
            "v1, legacy role",
            |t| {
                t.version_1();
                t.claims["org_id"] = json!("org_old");
                t.claims["org_role"] = json!("basic_member");
            },
            Some(("org_old", Role::SalesRep)),
        ),
        ("v1, no organization", Token::version_1, None),
        ("v1, the new claim is not read", |t| t.remove("v"), None),
        ("a v that is no 2 is version 1", |t| t.claims["v"] = json!("2"), None),
    ];
    for (row, edit, expected) in rows {
        let claims = bench.verify(&bench.token(edit)).await.expect(row);
        let found =
            claims.organization.as_ref().map(|organization| (organization.id.as_str(), organization.role));
        assert_eq!(found, expected, "{row}");
    }
}

#[tokio::test]
async fn the_actor_of_an_impersonation_is_told() {
    let bench = Bench::new().await;
    let token =
        bench.token(|t| t.claims["act"] = json!({"iss": ISSUER, "sid": "sess_2", "sub": "user_support"}));
    assert_eq!(bench.verify(&token).await.unwrap().actor.as_deref(), Some("user_support"));
}

#[tokio::test]
async fn variations_that_are_accepted() {
    let bench = Bench::new().await;
    let rows: [(&str, Edit); 18] = [
        ("untouched", |_| ()),
        ("no typ", |t| t.remove_header("typ")),
        ("no cat", |t| t.remove_header("cat")),
        ("cat: the second session category", |t| t.header["cat"] = json!("cl_I7d4PD111III")),
        ("an unknown header member", |t| t.header["oiat"] = json!(1)),
        ("a jku is not followed", |t| t.header["jku"] = json!("http://127.0.0.1:1/jwks.json")),
        ("an x5u is not followed", |t| t.header["x5u"] = json!("http://127.0.0.1:1/cert.pem")),
        ("a jwk is not used", |t| t.header["jwk"] = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ("an x5c is not used", |t| t.header["x5c"] = json!(["AQAB"])),
        ("the other authorized party", |t| t.claims["azp"] = json!("http://localhost:5173")),
        ("an audience", |t| t.claims["aud"] = json!("https://api.norvalt.test")),
        ("an unknown claim", |t| t.claims["pla"] = json!("o:pro")),
        ("no sts", |t| t.remove("sts")),
        ("no nbf", |t| t.remove("nbf")),
        ("no fva", |t| t.remove("fva")),
        ("a null act", |t| t.claims["act"] = json!(null)),
        ("a real user id", |t| t.claims["sub"] = json!("user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr")),
        ("5 kB of custom claims", |t| t.claims["custom"] = json!("x".repeat(5_000))),
    ];
    let mut got = Vec::new();
    for (row, edit) in rows {
        got.push((row, bench.outcome(&bench.token(edit)).await, Outcome::Accepted));
    }
    assert_rows(got);
    assert_eq!(bench.clerk.jwks_requests(), 1);
}

#[tokio::test]
async fn the_bearer_scheme() {
    let bench = Bench::new().await;
    let token = bench.token(|_| ());
    let malformed = Outcome::Rejected(Rejection::Malformed);
    let rows = [
        ("Bearer {}", Outcome::Accepted),
        ("bearer {}", Outcome::Accepted),
        ("BEARER   {}", Outcome::Accepted),
        ("", Outcome::Missing),
        ("Bearer", Outcome::Missing),
        ("Bearer ", Outcome::Missing),
        ("{}", Outcome::Missing),
        ("Basic {}", Outcome::Missing),
        ("Bearer\t{}", Outcome::Missing),
        (" Bearer {}", Outcome::Missing),
        ("Bearer {} ", malformed),
        ("Bearer {}\n", malformed),
        ("Bearer {}, Bearer {}", malformed),
        ("Bearer Bearer {}", malformed),
        ("Bearer \"{}\"", malformed),
    ];
    assert_eq!(outcome(&bench.verifier.verify(None).await), Outcome::Missing);
    let mut got = Vec::new();
    for (header, expected) in rows {
        let result = bench.verifier.verify(Some(&header.replace("{}", &token))).await;
        got.push((header, outcome(&result), expected));
    }
    assert_rows(got);
}

#[tokio::test]
async fn times_are_taken_with_five_seconds_of_skew() {
    let bench = Bench::new().await;
    let token = bench.token(|_| ()); // nbf NOW - 10, iat NOW, exp NOW + 60
    let nbf_after_iat = bench.token(|t| t.claims["nbf"] = json!(NOW + 20));
    let rows = [
        ("iat - 6", &token, NOW - 6, Outcome::Rejected(Rejection::IssuedInFuture)),
        ("iat - 5", &token, NOW - 5, Outcome::Accepted),
        ("iat", &token, NOW, Outcome::Accepted),
        ("exp - 1", &token, NOW + 59, Outcome::Accepted),
        ("exp", &token, NOW + 60, Outcome::Accepted),
        ("exp + 1", &token, NOW + 61, Outcome::Accepted),
        ("exp + 4", &token, NOW + 64, Outcome::Accepted),
        ("exp + 5", &token, NOW + 65, Outcome::Rejected(Rejection::Expired)),
        ("exp + 6", &token, NOW + 66, Outcome::Rejected(Rejection::Expired)),
        ("exp + a year", &token, NOW + 31_536_000, Outcome::Rejected(Rejection::Expired)),
        ("nbf - 6", &nbf_after_iat, NOW + 14, Outcome::Rejected(Rejection::NotActiveYet)),
        ("nbf - 5", &nbf_after_iat, NOW + 15, Outcome::Accepted),
    ];
    let mut got = Vec::new();
    for (row, token, now, expected) in rows {
        bench.time.set(now);
        got.push((row, bench.outcome(token).await, expected));
    }
    assert_rows(got);
}

#[tokio::test]
async fn a_pem_key_needs_no_network() {
    let (clerk, other, time) = (Clerk::generate().unwrap(), Clerk::generate().unwrap(), Time::new());
    let verifier = verifier(KeySource::Pem(clerk.public_pem()), &time);
    verifier.warm().await;
    let rows = [
        ("its token", sign(&clerk, NOW, |_| ()), Outcome::Accepted),
        (
            "the kid does not matter",
            sign(&clerk, NOW, |t| t.header["kid"] = json!("ins_x")),
            Outcome::Accepted,
        ),
        ("no kid", sign(&clerk, NOW, |t| t.remove_header("kid")), Outcome::Accepted),
        ("another key's", sign(&other, NOW, |_| ()), Outcome::Rejected(Rejection::Signature)),
        (
            "typ is checked",
            sign(&clerk, NOW, |t| t.header["typ"] = json!("at+jwt")),
            Outcome::Rejected(Rejection::TokenType),
        ),
        ("expired", sign(&clerk, NOW - 65, |_| ()), Outcome::Rejected(Rejection::Expired)),
    ];
    let mut got = Vec::new();
    for (row, token, expected) in &rows {
        got.push((*row, outcome(&verifier.verify(Some(&format!("Bearer {token}"))).await), *expected));
    }
    assert_rows(got);
}
