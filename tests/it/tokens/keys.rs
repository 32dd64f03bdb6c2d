//! Where the keys come from, how often they are asked for, and what an outage does.
use std::time::Duration;

use dev::clerk::Answer;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;

const UNKNOWN: Outcome = Outcome::Rejected(Rejection::UnknownKey);
const BAD_SIGNATURE: Outcome = Outcome::Rejected(Rejection::Signature);
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A key set with the other instance's key under this one's name.
fn renamed(other: &Clerk, kid: &str) -> Answer {
    let mut jwks = other.jwks();
    jwks["keys"][0]["kid"] = json!(kid);
    Answer::Fixed(200, jwks.to_string())
}

/// Verifies 50 tokens at the same time.
async fn fifty_at_once(bench: &Bench) -> Vec<Outcome> {
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let (verifier, header) = (Arc::clone(&bench.verifier), format!("Bearer {}", bench.token(|_| ())));
        all.spawn(async move { outcome(&verifier.verify(Some(&header)).await) });
    }
    all.join_all().await
}

#[tokio::test]
async fn they_are_asked_for_once_and_kept_a_quarter_of_an_hour() {
    let bench = Bench::new().await;
    bench.verifier.warm().await;
    assert_eq!(bench.clerk.jwks_requests(), 1);
    for (seconds, requests) in [(0, 1), (15 * MINUTE - 1, 1), (1, 2), (1, 2)] {
        bench.time.advance(seconds);
        assert_eq!(bench.good().await, Outcome::Accepted);
        assert_eq!(bench.clerk.jwks_requests(), requests, "{seconds} s later");
    }
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let bench = Bench::new().await;
    assert_eq!(fifty_at_once(&bench).await, [Outcome::Accepted; 50]);
    assert_eq!(bench.clerk.jwks_requests(), 1);

    bench.time.advance(15 * MINUTE);
    assert_eq!(fifty_at_once(&bench).await, [Outcome::Accepted; 50]);
    assert_eq!(bench.clerk.jwks_requests(), 2);
}

#[tokio::test]
async fn many_at_once_ask_once_in_an_outage_too() {
    let bench = Bench::new().await;
    bench.clerk.set_answer(Answer::Fixed(500, String::new()));
    assert_eq!(fifty_at_once(&bench).await, [Outcome::KeysUnavailable; 50]);
    assert_eq!(bench.clerk.jwks_requests(), 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_once_per_cool_down() {
    let bench = Bench::new().await;
    bench.verifier.warm().await;
    for (seconds, requests) in [(0, 1), (29, 1), (1, 2), (29, 2), (1, 3)] {
        bench.time.advance(seconds);
        for number in 0..20 {
            let mut token = untouched(&bench.clerk, NOW);
            token.header["kid"] = json!(format!("ins_{number}"));
            let token = bench.clerk.sign(&token.header, &token.claims);
            assert_eq!(bench.outcome(&token).await, UNKNOWN);
        }
        assert_eq!(bench.good().await, Outcome::Accepted);
        assert_eq!(bench.clerk.jwks_requests(), requests, "{seconds} s later");
    }
}

#[tokio::test]
async fn a_flood_of_bad_signatures_asks_once_per_cool_down() {
    let bench = Bench::new().await;
    let other = Clerk::generate().unwrap();
    let token = untouched(&bench.clerk, NOW);
    let forged = other.sign(&token.header, &token.claims);
    bench.verifier.warm().await;
    for (seconds, requests) in [(0, 1), (29, 1), (1, 2), (29, 2), (1, 3)] {
        bench.time.advance(seconds);
        for _ in 0..20 {
            assert_eq!(bench.outcome(&forged).await, BAD_SIGNATURE);
        }
        assert_eq!(bench.clerk.jwks_requests(), requests, "{seconds} s later");
    }
}

#[tokio::test]
async fn a_new_key_is_picked_up_after_the_cool_down() {
    let bench = Bench::new().await;
    let next = Clerk::generate().unwrap();
    let token = |now| sign(&next, now, |_| ());
    assert_eq!(bench.outcome(&token(NOW)).await, UNKNOWN);
    bench.clerk.set_answer(Answer::Fixed(200, next.jwks().to_string()));
    assert_eq!(bench.outcome(&token(NOW)).await, UNKNOWN);
    bench.time.advance(30);
    assert_eq!(bench.outcome(&token(NOW + 30)).await, Outcome::Accepted);
    // What the issuer has withdrawn is gone.
    assert_eq!(bench.good().await, UNKNOWN);
}

#[tokio::test]
async fn a_key_replaced_under_its_name_is_picked_up_after_the_cool_down() {
    let bench = Bench::new().await;
    let next = Clerk::generate().unwrap();
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.clerk.set_answer(renamed(&next, bench.clerk.kid()));
    let Token { header, claims } = untouched(&bench.clerk, NOW);
    let token = next.sign(&header, &claims);
    assert_eq!(bench.outcome(&token).await, BAD_SIGNATURE);
    bench.time.advance(30);
    assert_eq!(bench.outcome(&token).await, Outcome::Accepted);
    assert_eq!(bench.good().await, BAD_SIGNATURE);
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_once_the_cache_is_old() {
    let bench = Bench::new().await;
    let next = Clerk::generate().unwrap();
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.clerk.set_answer(Answer::Fixed(200, next.jwks().to_string()));
    bench.time.advance(15 * MINUTE - 1);
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.time.advance(1);
    assert_eq!(bench.good().await, UNKNOWN);
}

#[tokio::test]
async fn an_outage_without_keys_is_not_the_tokens_fault() {
    let bench = Bench::new().await;
    bench.clerk.set_answer(Answer::Fixed(500, String::new()));
    bench.verifier.warm().await;
    for (seconds, requests) in [(0, 1), (1, 1), (1, 2), (1, 2), (1, 3)] {
        bench.time.advance(seconds);
        assert_eq!(bench.good().await, Outcome::KeysUnavailable);
        assert_eq!(bench.clerk.jwks_requests(), requests, "{seconds} s later");
    }
    bench.clerk.set_answer(Answer::OwnKey);
    bench.time.advance(2);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

#[tokio::test]
async fn an_outage_is_survived_on_old_keys_for_six_hours() {
    let bench = Bench::new().await;
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.clerk.set_answer(Answer::Fixed(503, String::new()));
    bench.time.advance(HOUR);
    for (seconds, requests) in [(0, 2), (29, 2), (1, 3), (29, 3), (1, 4)] {
        bench.time.advance(seconds);
        assert_eq!(bench.good().await, Outcome::Accepted);
        assert_eq!(bench.clerk.jwks_requests(), requests, "{seconds} s later");
    }
    bench.time.set(NOW + 6 * HOUR - 1);
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.time.advance(1);
    assert_eq!(bench.good().await, Outcome::KeysUnavailable);
    bench.clerk.set_answer(Answer::OwnKey);
    bench.time.advance(2);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

#[tokio::test]
async fn an_unknown_key_in_an_outage_may_be_a_new_one() {
    let bench = Bench::new().await;
    let next = Clerk::generate().unwrap();
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.clerk.set_answer(Answer::Fixed(500, String::new()));
    bench.time.advance(30);
    assert_eq!(bench.outcome(&sign(&next, NOW + 30, |_| ())).await, Outcome::KeysUnavailable);
    assert_eq!(bench.good().await, Outcome::Accepted);
    // A bad signature stays one: the key that it names is known.
    let Token { header, claims } = untouched(&bench.clerk, NOW + 30);
    assert_eq!(bench.outcome(&next.sign(&header, &claims)).await, BAD_SIGNATURE);
}

#[tokio::test]
async fn answers_that_are_no_key_set() {
    let good = Arc::new(Clerk::generate().unwrap());
    let elsewhere = serve(&good).await;
    let key = |member: &str, value: serde_json::Value| {
        let mut jwks = good.jwks();
        jwks["keys"][0][member] = value;
        Answer::Fixed(200, jwks.to_string())
    };
    let huge = json!({"keys": good.jwks()["keys"], "x": "x".repeat(64 * 1024)});
    let rows = [
        ("status 500", Answer::Fixed(500, good.jwks().to_string()), "jwk-remote-failed-to-load"),
        ("status 404", Answer::Fixed(404, good.jwks().to_string()), "jwk-remote-failed-to-load"),
        ("status 204", Answer::Fixed(204, String::new()), "jwk-remote-failed-to-load"),
        ("a redirect to good keys", Answer::Redirect(elsewhere), "jwk-remote-failed-to-load"),
        ("larger than 64 kB", Answer::Fixed(200, huge.to_string()), "jwk-remote-invalid"),
        ("empty", Answer::Fixed(200, String::new()), "jwk-remote-invalid"),
        ("HTML", Answer::Fixed(200, "<html>".into()), "jwk-remote-invalid"),
        ("no member keys", Answer::Fixed(200, "{}".into()), "jwk-remote-invalid"),
        ("no keys", Answer::Fixed(200, r#"{"keys":[]}"#.into()), "jwk-remote-missing"),
        ("a key for encryption", key("use", json!("enc")), "jwk-remote-missing"),
        ("a key for other operations", key("key_ops", json!(["encrypt"])), "jwk-remote-missing"),
        ("a key for RS512", key("alg", json!("RS512")), "jwk-remote-missing"),
        ("a symmetric key", key("kty", json!("oct")), "jwk-remote-missing"),
        ("a key without a name", key("kid", json!(null)), "jwk-remote-missing"),
        ("a key that is no base64url", key("n", json!("*")), "jwk-remote-missing"),
    ];
    let time = Time::new();
    let header = format!("Bearer {}", sign(&good, NOW, |_| ()));
    let endpoint = Arc::new(Clerk::generate().unwrap());
    let url = serve(&endpoint).await;
    for (row, answer, code) in rows {
        endpoint.set_answer(answer);
        let verifier = verifier(KeySource::Jwks(url.clone()), &time);
        match verifier.verify(Some(&header)).await {
            Err(TokenError::KeysUnavailable(error)) => assert_eq!(error.code(), code, "{row}"),
            other => panic!("{row}: {other:?}"),
        }
        // The positive control: the same verifier, after the pause, from a good answer.
        endpoint.set_answer(Answer::Fixed(200, good.jwks().to_string()));
        time.advance(2);
        assert_eq!(outcome(&verifier.verify(Some(&header)).await), Outcome::Accepted, "{row}");
    }
    assert_eq!(good.jwks_requests(), 0);
}

#[tokio::test]
async fn unusable_keys_beside_a_good_one_do_no_harm() {
    let bench = Bench::new().await;
    let own = bench.clerk.jwks()["keys"][0].clone();
    let keys = json!([
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "ec"},
        {"kty": "oct", "k": "AAAA", "kid": bench.clerk.kid()},
        {"kty": "AKP", "pub": "AA", "kid": "post-quantum"},
        "text",
        own,
    ]);
    bench.clerk.set_answer(Answer::Fixed(200, json!({ "keys": keys }).to_string()));
    assert_eq!(bench.good().await, Outcome::Accepted);
    for kid in ["ec", "post-quantum"] {
        let mut token = untouched(&bench.clerk, NOW);
        token.header["kid"] = json!(kid);
        assert_eq!(bench.outcome(&bench.clerk.sign(&token.header, &token.claims)).await, UNKNOWN);
    }
}

#[tokio::test]
async fn nobody_at_the_address() {
    let time = Time::new();
    let clerk = Clerk::generate().unwrap();
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let verifier = verifier(KeySource::Jwks(format!("http://{closed}/jwks.json")), &time);
    let header = format!("Bearer {}", sign(&clerk, NOW, |_| ()));
    assert_eq!(outcome(&verifier.verify(Some(&header)).await), Outcome::KeysUnavailable);
}

/// The runtime's clock is paused: it runs ahead to the time limit as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_given_up_once_for_all() {
    let start = tokio::time::Instant::now();
    let clock = Clock::from_fn(move || {
        Timestamp::from_second(NOW + i64::try_from(start.elapsed().as_secs()).unwrap()).unwrap()
    });
    let mut bench = Bench::new().await;
    let keys = KeySource::Jwks(serve(&bench.clerk).await);
    bench.verifier = Arc::new(Verifier::new(config(keys), clock).unwrap());
    bench.clerk.set_answer(Answer::Silence);
    let outcomes = tokio::time::timeout(Duration::from_secs(5), fifty_at_once(&bench)).await;
    assert_eq!(outcomes.expect("one time limit for all"), [Outcome::KeysUnavailable; 50]);
}

#[tokio::test]
async fn an_abandoned_request_counts_and_does_not_block() {
    let bench = Bench::new().await;
    bench.clerk.set_answer(Answer::Silence);
    let abandoned = tokio::time::timeout(Duration::ZERO, bench.good()).await;
    assert!(abandoned.is_err());
    bench.clerk.set_answer(Answer::OwnKey);
    assert_eq!(bench.good().await, Outcome::KeysUnavailable);
    bench.time.advance(2);
    assert_eq!(bench.good().await, Outcome::Accepted);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_keep_keys_for_longer() {
    let bench = Bench::new().await;
    assert_eq!(bench.good().await, Outcome::Accepted);
    bench.time.set(NOW - HOUR);
    assert_eq!(bench.good().await, Outcome::Accepted);
    assert_eq!(bench.clerk.jwks_requests(), 2);
}
