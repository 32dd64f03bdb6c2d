//! What is refused, with the reason that goes to the log.
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::json;
use shared::auth::Rejection::{self, *};

use super::*;

#[tokio::test]
async fn by_the_header_without_asking_for_keys() {
    let rows: [(&str, Edit, Rejection); 33] = [
        ("alg none", |t| t.header["alg"] = json!("none"), Algorithm),
        ("alg None", |t| t.header["alg"] = json!("None"), Algorithm),
        ("alg rs256", |t| t.header["alg"] = json!("rs256"), Algorithm),
        ("alg Rs256", |t| t.header["alg"] = json!("Rs256"), Algorithm),
        ("alg RS256 and a space", |t| t.header["alg"] = json!("RS256 "), Algorithm),
        ("alg RS384", |t| t.header["alg"] = json!("RS384"), Algorithm),
        ("alg RS512", |t| t.header["alg"] = json!("RS512"), Algorithm),
        ("alg PS256", |t| t.header["alg"] = json!("PS256"), Algorithm),
        ("alg ES256", |t| t.header["alg"] = json!("ES256"), Algorithm),
        ("alg EdDSA", |t| t.header["alg"] = json!("EdDSA"), Algorithm),
        ("alg HS256", |t| t.header["alg"] = json!("HS256"), Algorithm),
        ("alg empty", |t| t.header["alg"] = json!(""), Algorithm),
        ("alg missing", |t| t.remove_header("alg"), Malformed),
        ("alg null", |t| t.header["alg"] = json!(null), Malformed),
        ("alg a list", |t| t.header["alg"] = json!(["RS256"]), Malformed),
        ("typ at+jwt, OAuth", |t| t.header["typ"] = json!("at+jwt"), TokenType),
        ("typ application/at+jwt, OAuth", |t| t.header["typ"] = json!("application/at+jwt"), TokenType),
        ("typ AT+JWT", |t| t.header["typ"] = json!("AT+JWT"), TokenType),
        ("typ jwt", |t| t.header["typ"] = json!("jwt"), TokenType),
        ("typ empty", |t| t.header["typ"] = json!(""), TokenType),
        ("typ null", |t| t.header["typ"] = json!(null), Malformed),
        ("cat of a JWT template", |t| t.header["cat"] = json!("cl_B7d4PD222AAA"), TokenType),
        ("cat of a machine token", |t| t.header["cat"] = json!("cl_B7d4PD333AAA"), TokenType),
        ("cat empty", |t| t.header["cat"] = json!(""), TokenType),
        ("cat in other case", |t| t.header["cat"] = json!("CL_B7D4PD111AAA"), TokenType),
        ("cat a number", |t| t.header["cat"] = json!(1), Malformed),
        ("cat null", |t| t.header["cat"] = json!(null), Malformed),
        ("crit", |t| t.header["crit"] = json!(["b64"]), Malformed),
        ("kid a number", |t| t.header["kid"] = json!(1), Malformed),
        ("kid missing", |t| t.remove_header("kid"), UnknownKey),
        ("client_id, OAuth", |t| t.claims["client_id"] = json!("client_1"), TokenType),
        ("client_id null", |t| t.claims["client_id"] = json!(null), TokenType),
        ("a header of 10 kB", |t| t.header["x"] = json!("x".repeat(10_000)), Malformed),
    ];
    let bench = Bench::new().await;
    let mut got = Vec::new();
    for (row, edit, reason) in rows {
        got.push((row, bench.refused(&bench.token(edit)).await, Outcome::Rejected(reason)));
    }
    assert_rows(got);
    assert_eq!(bench.clerk.jwks_requests(), 0);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

#[tokio::test]
async fn by_its_shape_without_asking_for_keys() {
    let bench = Bench::new().await;
    let good = bench.token(|_| ());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    // RSA-2048 signatures end in four bits of the last character and two that must be zero.
    let last = good.chars().last().unwrap();
    let spare_bits = format!("{}{}", &good[..good.len() - 1], char::from(last as u8 + 1));
    let rows = [
        ("one segment", header.to_owned()),
        ("two segments", format!("{header}.{claims}")),
        ("four segments", format!("{good}.{signature}")),
        ("a dot more in front", format!(".{good}")),
        ("a dot more in the middle", format!("{header}..{claims}.{signature}")),
        ("a dot more behind", format!("{good}.")),
        ("only dots", "..".to_owned()),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("no signature", format!("{header}.{claims}.")),
        ("padding behind", format!("{good}==")),
        ("padding in the header", format!("{header}=.{claims}.{signature}")),
        ("spare bits in the signature", spare_bits),
        ("a newline behind", format!("{good}\n")),
        ("a newline inside", format!("{header}.\n{claims}.{signature}")),
        ("a space inside", format!("{header}. {claims}.{signature}")),
        ("standard base64", format!("{header}.{claims}.+/{}", &signature[2..])),
        ("not ASCII", format!("{header}.{claims}.ü{signature}")),
        (
            "JSON serialization",
            format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#),
        ),
        ("8 kB and more", format!("{good}{}", "A".repeat(8 * 1024))),
    ];
    let mut got = Vec::new();
    for (row, token) in &rows {
        got.push((*row, bench.refused(token).await, Outcome::Rejected(Malformed)));
    }
    assert_rows(got);
    assert_eq!(bench.clerk.jwks_requests(), 0);
    assert_eq!(bench.outcome(&good).await, Outcome::Accepted);
}

#[tokio::test]
async fn json_that_is_not_what_it_seems() {
    let bench = Bench::new().await;
    let Token { header, claims } = untouched(&bench.clerk, NOW);
    let (header, claims) = (header.to_string(), claims.to_string());
    let header_rows = [
        ("header: alg twice", r#""alg":"RS256""#, r#""alg":"none","alg":"RS256""#),
        ("header: typ twice", r#""typ":"JWT""#, r#""typ":"at+jwt","typ":"JWT""#),
        ("header: cat twice", r#""cat":"#, r#""cat":"cl_B7d4PD222AAA","cat":"#),
        ("header: kid twice", r#""kid":"#, r#""kid":"ins_x","kid":"#),
        ("header: an escaped twin", r#""alg":"RS256""#, r#""\u0061lg":"none","alg":"RS256""#),
        ("header: more behind", "}", "}{}"),
        ("header: cut off", "}", ""),
    ];
    let claims_rows = [
        ("claims: sub twice", r#""sub":"#, r#""sub":"user_admin","sub":"#),
        ("claims: exp twice", r#""exp":"#, r#""exp":1,"exp":"#),
        ("claims: azp twice", r#""azp":"#, r#""azp":"https://evil.test","azp":"#),
        ("claims: organization twice", r#""o":"#, r#""o":{"id":"org_bergen"},"o":"#),
        ("claims: organization id twice", r#""id":"#, r#""id":"org_bergen","id":"#),
        (
            "claims: organization as a list",
            r#""o":{"id":"org_oslo","rol":"admin","slg":"tesla-oslo"}"#,
            r#""o":["org_oslo",null,null]"#,
        ),
        ("claims: exp over u64", r#""exp":1795000060"#, r#""exp":18446744073709551616"#),
        ("claims: exp over f64", r#""exp":1795000060"#, r#""exp":1e400"#),
        ("claims: exp minus zero", r#""exp":1795000060"#, r#""exp":-0"#),
        ("claims: exp with an exponent", r#""exp":1795000060"#, r#""exp":1795000060e0"#),
        ("claims: more behind", r#""v":2}"#, r#""v":2} x"#),
    ];
    let mut got = Vec::new();
    for (row, from, to) in header_rows {
        assert!(header.contains(from), "{row}: {header}");
        let token = bench.clerk.sign_text(&header.replacen(from, to, 1), &claims);
        got.push((row, bench.refused(&token).await, Outcome::Rejected(Malformed)));
    }
    for (row, from, to) in claims_rows {
        assert!(claims.contains(from), "{row}: {claims}");
        let token = bench.clerk.sign_text(&header, &claims.replacen(from, to, 1));
        got.push((row, bench.refused(&token).await, Outcome::Rejected(Malformed)));
    }
    for (row, header, claims) in [
        ("header: a list", r#"["RS256","JWT"]"#, &*claims),
        ("header: text", r#""RS256""#, &claims),
        ("header: null", "null", &claims),
        ("claims: a list", &header, "[]"),
        ("claims: text", &header, r#""foo""#),
        ("claims: not JSON", &header, "foo"),
        ("claims: empty object", &header, "{}"),
        ("claims: deeply nested", &header, &format!(r#"{{"x":{}1{}}}"#, "[".repeat(500), "]".repeat(500))),
    ] {
        let token = bench.clerk.sign_text(header, claims);
        got.push((row, bench.refused(&token).await, Outcome::Rejected(Malformed)));
    }
    assert_rows(got);
    assert_eq!(bench.outcome(&bench.clerk.sign_text(&header, &claims)).await, Outcome::Accepted);
}

#[tokio::test]
async fn by_its_signature() {
    let bench = Bench::new().await;
    let other = Clerk::generate().unwrap();
    let good = bench.token(|_| ());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let later = bench.token(|t| t.claims["exp"] = json!(NOW + 61));
    let later_claims = later.split('.').nth(1).unwrap();

    let mut forged = untouched(&bench.clerk, NOW);
    let plain_forgery = other.sign(&forged.header, &forged.claims);
    forged.header["jwk"] = other.jwks()["keys"][0].clone();
    let jwk_forgery = other.sign(&forged.header, &forged.claims);

    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let rows = [
        ("another key under our kid", plain_forgery, Signature),
        ("another key that comes along as jwk", jwk_forgery, Signature),
        ("another key under its own kid", sign(&other, NOW, |_| ()), UnknownKey),
        ("other claims", format!("{header}.{later_claims}.{signature}"), Signature),
        ("a changed signature", format!("{message}.{flipped}{}", &signature[1..]), Signature),
        ("a short signature", format!("{message}.{}", &signature[..340]), Signature),
        ("a long signature", format!("{message}.{}AAAA", &signature[..340]), Signature),
        ("one byte of signature", format!("{message}.AA"), Signature),
        ("a signature of zeros", format!("{message}.{}", "A".repeat(342)), Signature),
    ];
    let mut got = Vec::new();
    for (row, token, reason) in &rows {
        got.push((*row, bench.refused(token).await, Outcome::Rejected(*reason)));
    }
    assert_rows(got);
    assert_eq!(bench.outcome(&good).await, Outcome::Accepted);
}

/// The public key is public: nobody may use it as the secret of a symmetric signature.
#[tokio::test]
async fn the_public_key_is_no_secret() {
    let bench = Bench::new().await;
    let symmetric = bench.token(|t| t.header["alg"] = json!("HS256"));
    let hidden = bench.token(|_| ());
    let secrets = [
        bench.clerk.public_pem(),
        bench.clerk.public_pem().trim().to_owned(),
        bench.clerk.jwks().to_string(),
    ];
    for secret in secrets {
        for (token, reason) in [(&symmetric, Rejection::Algorithm), (&hidden, Signature)] {
            let (message, _) = token.rsplit_once('.').unwrap();
            let key = EncodingKey::from_secret(secret.as_bytes());
            let signature = crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
            let forged = format!("{message}.{signature}");
            assert_eq!(bench.refused(&forged).await, Outcome::Rejected(reason));
        }
    }
    assert_eq!(bench.good().await, Outcome::Accepted);
}

#[tokio::test]
async fn by_its_claims() {
    let rows: [(&str, Edit, Rejection); 64] = [
        ("iss of another instance", |t| t.claims["iss"] = json!("https://clerk.other.test"), Issuer),
        ("iss with a final slash", |t| t.claims["iss"] = json!("https://clerk.norvalt.test/"), Issuer),
        ("iss as a prefix", |t| t.claims["iss"] = json!("https://clerk.norvalt.test.evil.test"), Issuer),
        ("iss in other case", |t| t.claims["iss"] = json!("https://CLERK.norvalt.test"), Issuer),
        ("iss missing", |t| t.remove("iss"), Issuer),
        ("iss null", |t| t.claims["iss"] = json!(null), Malformed),
        ("iss a list", |t| t.claims["iss"] = json!([ISSUER]), Malformed),
        ("sub of a machine", |t| t.claims["sub"] = json!("mch_1"), Subject),
        ("sub only the prefix", |t| t.claims["sub"] = json!("user_"), Subject),
        ("sub empty", |t| t.claims["sub"] = json!(""), Subject),
        ("sub with a NUL", |t| t.claims["sub"] = json!("user_a\0"), Subject),
        ("sub with a quote", |t| t.claims["sub"] = json!("user_a'"), Subject),
        ("sub too long", |t| t.claims["sub"] = json!(format!("user_{}", "a".repeat(124))), Subject),
        ("sub missing", |t| t.remove("sub"), Subject),
        ("sub a number", |t| t.claims["sub"] = json!(1), Malformed),
        ("sid missing, as in template tokens", |t| t.remove("sid"), Session),
        ("sid empty", |t| t.claims["sid"] = json!(""), Session),
        ("sid of another kind", |t| t.claims["sid"] = json!("sia_1"), Session),
        ("sid only the prefix", |t| t.claims["sid"] = json!("sess_"), Session),
        ("sid null", |t| t.claims["sid"] = json!(null), Malformed),
        ("azp of another site", |t| t.claims["azp"] = json!("https://evil.test"), AuthorizedParty),
        ("azp of a subdomain", |t| t.claims["azp"] = json!("https://a.app.norvalt.test"), AuthorizedParty),
        ("azp with a path", |t| t.claims["azp"] = json!("https://app.norvalt.test/"), AuthorizedParty),
        ("azp over http", |t| t.claims["azp"] = json!("http://app.norvalt.test"), AuthorizedParty),
        ("azp empty", |t| t.claims["azp"] = json!(""), AuthorizedParty),
        ("azp the word null", |t| t.claims["azp"] = json!("null"), AuthorizedParty),
        ("azp missing", |t| t.remove("azp"), AuthorizedParty),
        ("azp null", |t| t.claims["azp"] = json!(null), Malformed),
        ("azp a list", |t| t.claims["azp"] = json!([APP]), Malformed),
        ("exp passed", |t| t.claims["exp"] = json!(NOW - 5), Expired),
        ("exp zero", |t| t.claims["exp"] = json!(0), Expired),
        ("exp missing", |t| t.remove("exp"), Malformed),
        ("exp text", |t| t.claims["exp"] = json!("x"), Malformed),
        ("exp a number in text", |t| t.claims["exp"] = json!("1795000060"), Malformed),
        ("exp a fraction", |t| t.claims["exp"] = json!(1_795_000_060.5), Malformed),
        ("exp a whole fraction", |t| t.claims["exp"] = json!(1_795_000_060.0), Malformed),
        ("exp negative", |t| t.claims["exp"] = json!(-1), Malformed),
        ("exp null", |t| t.claims["exp"] = json!(null), Malformed),
        ("exp true", |t| t.claims["exp"] = json!(true), Malformed),
        ("exp a list", |t| t.claims["exp"] = json!([1_795_000_060]), Malformed),
        ("exp i64::MAX", |t| t.claims["exp"] = json!(i64::MAX), Malformed),
        ("exp over i64", |t| t.claims["exp"] = json!(u64::MAX), Malformed),
        ("exp in milliseconds", |t| t.claims["exp"] = json!(1_795_000_060_000_u64), Malformed),
        ("nbf to come", |t| t.claims["nbf"] = json!(NOW + 6), NotActiveYet),
        ("nbf a number in text", |t| t.claims["nbf"] = json!("9999999999"), Malformed),
        ("nbf a fraction", |t| t.claims["nbf"] = json!(1.5), Malformed),
        ("nbf negative", |t| t.claims["nbf"] = json!(-1), Malformed),
        ("nbf null", |t| t.claims["nbf"] = json!(null), Malformed),
        ("nbf over i64", |t| t.claims["nbf"] = json!(u64::MAX), Malformed),
        ("iat to come", |t| t.claims["iat"] = json!(NOW + 6), IssuedInFuture),
        ("iat missing", |t| t.remove("iat"), Malformed),
        ("iat text", |t| t.claims["iat"] = json!("1795000000"), Malformed),
        ("iat a fraction", |t| t.claims["iat"] = json!(1_795_000_000.5), Malformed),
        ("iat negative", |t| t.claims["iat"] = json!(-1), Malformed),
        ("iat null", |t| t.claims["iat"] = json!(null), Malformed),
        ("sts pending", |t| t.claims["sts"] = json!("pending"), Status),
        ("sts unknown", |t| t.claims["sts"] = json!("Active"), Status),
        ("sts null", |t| t.claims["sts"] = json!(null), Malformed),
        ("o.id without the prefix", |t| t.claims["o"]["id"] = json!("oslo"), Organization),
        ("o.id missing", |t| t.claims["o"] = json!({"rol": "admin"}), Organization),
        ("o.rol a list", |t| t.claims["o"]["rol"] = json!(["admin"]), Malformed),
        (
            "org_id without the prefix",
            |t| {
                t.version_1();
                t.claims["org_id"] = json!("oslo");
            },
            Organization,
        ),
        ("act without a sub", |t| t.claims["act"] = json!({"sid": "sess_2"}), Malformed),
        ("act with an empty sub", |t| t.claims["act"] = json!({"sub": ""}), Malformed),
    ];
    let bench = Bench::new().await;
    assert_eq!(bench.good().await, Outcome::Accepted);
    let mut got = Vec::new();
    for (row, edit, reason) in rows {
        got.push((row, bench.refused(&bench.token(edit)).await, Outcome::Rejected(reason)));
    }
    assert_rows(got);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

/// Tokens of one instance share one key, so these are well signed.
#[tokio::test]
async fn other_tokens_of_the_same_instance() {
    let rows: [(&str, Edit, Rejection); 4] = [
        (
            "an OAuth access token",
            |t| {
                t.header = json!({"alg": "RS256", "kid": t.header["kid"], "typ": "at+jwt"});
                t.claims["client_id"] = json!("client_1");
                t.claims["scope"] = json!("profile email");
            },
            TokenType,
        ),
        (
            "the same, posing as JWT",
            |t| {
                t.claims["client_id"] = json!("client_1");
                t.claims["scope"] = json!("profile email");
            },
            TokenType,
        ),
        (
            "a template token without its category",
            |t| {
                t.remove_header("cat");
                t.remove("sid");
            },
            Session,
        ),
        (
            "a machine token without its category",
            |t| {
                t.remove_header("cat");
                t.claims["sub"] = json!("mch_1");
                t.remove("sid");
            },
            Subject,
        ),
    ];
    let bench = Bench::new().await;
    let mut got = Vec::new();
    for (row, edit, reason) in rows {
        got.push((row, bench.refused(&bench.token(edit)).await, Outcome::Rejected(reason)));
    }
    assert_rows(got);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

/// Only a good signature makes the claims worth a reason, or the reason would be an oracle.
#[tokio::test]
async fn the_signature_is_checked_before_the_claims() {
    let bench = Bench::new().await;
    let other = Clerk::generate().unwrap();
    let edits: [Edit; 4] = [
        |t| t.claims["exp"] = json!(0),
        |t| t.claims["iss"] = json!("https://evil.test"),
        |t| t.remove("azp"),
        |t| t.claims["nbf"] = json!("x"),
    ];
    for edit in edits {
        let mut token = untouched(&bench.clerk, NOW);
        edit(&mut token);
        let forged = other.sign(&token.header, &token.claims);
        assert_eq!(bench.refused(&forged).await, Outcome::Rejected(Signature));
    }
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_the_token_or_the_keys() {
    let bench = Bench::new().await;
    let edits: [Edit; 4] = [
        |t| t.header["kid"] = json!("ins_secret"),
        |t| t.header["alg"] = json!("secret"),
        |t| t.claims["azp"] = json!("https://secret.test"),
        |t| t.claims["exp"] = json!("secret"),
    ];
    for edit in edits {
        let error = bench.verify(&bench.token(edit)).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("secret") && !told.contains(bench.clerk.kid()), "{told}");
    }
}

/// A positive control: what is counted as zero above is one for a token that is accepted.
#[tokio::test]
async fn an_accepted_token_reaches_for_the_database() {
    let bench = Bench::new().await;
    let request = event("get-lead").by(&bench.token(|_| ())).request();
    let response = bench.function.respond(request, get_lead::handle).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(bench.connections.load(Ordering::SeqCst) > 0);
}
