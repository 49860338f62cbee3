//! Thirty-nine tokens that must not be believed, and the way of one that is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Empty;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::clock::{Clock, SharedClock, Timestamp};
use crate::context::{Claim, CorrelationId, Effect, Fingerprint};
use crate::header::{IDEMPOTENCY_KEY, VESTIBULE_IDENTITY, X_CORRELATION_ID};
use crate::principal::Principal;

#[test]
fn none_of_the_thirty_nine_is_believed() {
    let tokens = [
        algorithms(),
        headers(),
        claims_of_time(),
        claims_of_parties(),
        shapes(),
    ];
    let verifier = Verifier::new([secret(), Secret::ed25519_public(PUBLIC).unwrap()]);
    let mut refused = 0;
    for (name, token, want) in tokens.into_iter().flatten() {
        assert_eq!(verify(&verifier, &token), Err(want), "{name}");
        refused += 1;
    }
    // The last two are refused before there is a token: a verifier without keys knows
    // none, and an empty secret is no secret.
    let good = token(&header(), &payload());
    assert_eq!(verify(&Verifier::new([]), &good), Err(Refused::Header));
    assert!(Secret::new("").is_err());
    assert_eq!(refused + 2, 39);
    // What all of them were made of is believed.
    verify(&verifier, &good).unwrap();
}

type Row = (String, String, Refused);

/// 13: `none` in five spellings, signed and not; a public key used as an HMAC secret.
fn algorithms() -> Vec<Row> {
    let mut rows = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let mut header = header();
        header["alg"] = json!(alg);
        let signed = token(&header, &payload());
        let unsigned = signed[..=signed.rfind('.').unwrap()].to_owned();
        rows.push((format!("alg {alg:?}, signed"), signed, Refused::Header));
        rows.push((format!("alg {alg:?}, unsigned"), unsigned, Refused::Header));
    }
    let ed25519 = Secret::ed25519_public(PUBLIC).unwrap();
    let mut confused = header();
    confused["kid"] = json!(ed25519.id());
    for (alg, want) in [("HS256", Refused::Header), ("EdDSA", Refused::Signature)] {
        confused["alg"] = json!(alg);
        let token = signed_with(PUBLIC.as_bytes(), &confused, &payload());
        rows.push((format!("{alg}, signed with the public key"), token, want));
    }
    let token = signed_with(PUBLIC.as_bytes(), &header(), &payload());
    rows.push(("HMAC by the public key".into(), token, Refused::Signature));
    rows
}

/// 7: headers that would have a verifier look its key up elsewhere.
fn headers() -> Vec<Row> {
    [
        ("kid", json!("0123456789abcdef")),
        ("kid", json!("../../dev/null")),
        ("jku", json!("https://attacker.example/keys")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("x5u", json!("https://attacker.example/chain")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["b64"])),
    ]
    .map(|(field, value)| {
        let mut header = header();
        header[field] = value;
        let name = format!("{field} in the header");
        (name, token(&header, &payload()), Refused::Header)
    })
    .into()
}

/// 10: it is not their time, or not a time at all.
fn claims_of_time() -> Vec<Row> {
    let now = NOW.as_unix_seconds();
    [
        ("exp", Value::Null, Refused::Claims),
        ("exp", json!("soon"), Refused::Claims),
        ("exp", json!(-1), Refused::Claims),
        ("exp", json!(1e300), Refused::Claims),
        ("exp", json!(now as f64 + 10.5), Refused::Claims),
        ("exp", json!(now - 61), Refused::Expired),
        ("exp", json!(now - 59), Refused::Expired),
        ("exp", json!(u64::MAX), Refused::TooLong),
        ("nbf", json!(now + 60), Refused::Early),
        ("nbf", json!("zz"), Refused::Claims),
    ]
    .map(|(claim, value, want)| {
        let name = format!("{claim} {value}");
        (name, token(&header(), &changed(claim, value)), want)
    })
    .into()
}

/// 4: they come from somebody else, or are for somebody else.
fn claims_of_parties() -> Vec<Row> {
    [
        ("aud", Value::Null, Refused::Claims),
        ("aud", json!("another"), Refused::Audience),
        ("iss", Value::Null, Refused::Claims),
        ("iss", json!("another"), Refused::Issuer),
    ]
    .map(|(claim, value, want)| {
        let name = format!("{claim} {value}");
        (name, token(&header(), &changed(claim, value)), want)
    })
    .into()
}

/// 3: they are not what they seem, or more than anybody should read.
fn shapes() -> Vec<Row> {
    let good = token(&header(), &payload());
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(changed("acc", json!("acc_2")));
    let swapped = [parts[0], &other, parts[2]].join(".");
    let twice = payload().replacen('{', "{\"acc\":\"acc_2\",", 1);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    [
        ("a swapped payload", swapped, Refused::Signature),
        ("a claim twice", token(&header(), &twice), Refused::Claims),
        ("JSON 100,000 deep", token(&header(), &deep), Refused::Shape),
    ]
    .map(|(name, token, want)| (name.to_owned(), token, want))
    .into()
}

#[test]
fn nothing_else_that_is_no_assertion_is_believed() {
    let verifier = Verifier::new([secret()]);
    let good = token(&header(), &payload());
    let (shallow, huge) = ("[".repeat(2000), "a".repeat(5_000_000));
    for (name, token, want) in [
        ("nothing", String::new(), Refused::Shape),
        ("one part", "a".into(), Refused::Shape),
        ("two parts", "a.b".into(), Refused::Shape),
        ("four parts", format!("{good}.a"), Refused::Shape),
        ("5 MB", format!("{good}{huge}"), Refused::Shape),
        (
            "a cut signature",
            good[..good.len() - 1].into(),
            Refused::Signature,
        ),
        ("a padded signature", format!("{good}="), Refused::Signature),
        ("a space before", format!(" {good}"), Refused::Header),
        ("an array", token(&header(), "[]"), Refused::Claims),
        ("no JSON", token(&header(), "\u{fc}"), Refused::Claims),
        (
            "JSON 2,000 deep",
            token(&header(), &shallow),
            Refused::Claims,
        ),
        (
            "an array of audiences",
            with("aud", json!(["upstream"])),
            Refused::Claims,
        ),
        (
            "a bad correlation id",
            with("cid", json!("a b")),
            Refused::Claims,
        ),
        (
            "a line break in it",
            with("cid", json!("a\nb")),
            Refused::Claims,
        ),
        ("half a claim", with("lse", json!(1)), Refused::Claims),
        (
            "another method",
            with("htm", json!("GET")),
            Refused::OtherRequest,
        ),
        (
            "another path",
            with("htu", json!("/v1/other")),
            Refused::OtherRequest,
        ),
        (
            "another query",
            with("htu", json!("/v1/charges?a=2")),
            Refused::OtherRequest,
        ),
    ] {
        assert_eq!(verify(&verifier, &token), Err(want), "{name}");
    }
}

#[test]
fn every_changed_character_is_refused() {
    let (verifier, good) = (Verifier::from(secret()), token(&header(), &payload()));
    for at in 0..good.len() {
        for symbol in ["A", "z", "-", ".", "=", " "] {
            let mut token = good.clone();
            token.replace_range(at..=at, symbol);
            let passes = verify(&verifier, &token).is_ok();
            assert_eq!(passes, token == good, "{symbol:?} at {at}");
        }
    }
}

#[test]
fn both_clocks_may_differ_by_the_leeway() {
    let (signer, verifier) = (Signer::new(secret()), Verifier::new([secret()]));
    let token = signer
        .sign(&asserted(), &Method::POST, &uri(), NOW)
        .unwrap();
    for (seconds, want) in [
        (-6, Some(Refused::Early)),
        (-5, None),
        (0, None),
        (34, None),
        (35, Some(Refused::Expired)),
    ] {
        let now = NOW.as_unix_seconds().checked_add_signed(seconds).unwrap();
        let now = Timestamp::from_unix_seconds(now);
        let got = verifier.verify(token.as_bytes(), &Method::POST, &uri(), now);
        assert_eq!(got.err(), want, "{seconds} s");
    }
}

#[test]
fn what_is_asserted_arrives_under_either_kind_of_key_and_during_a_rotation() {
    let private = || Secret::ed25519_private(PRIVATE).unwrap();
    let public = || Secret::ed25519_public(PUBLIC).unwrap();
    let other = || Secret::new([9; 32]).unwrap();
    for (name, signing, verifying) in [
        ("shared", secret(), vec![secret()]),
        ("new first", secret(), vec![secret(), other()]),
        ("old first", secret(), vec![other(), secret()]),
        ("Ed25519", private(), vec![public()]),
        ("both kinds", private(), vec![secret(), public()]),
    ] {
        let token = Signer::new(signing).sign(&asserted(), &Method::POST, &uri(), NOW);
        let token = token.unwrap();
        let got = verify(&Verifier::new(verifying), token.to_str().unwrap()).unwrap();
        let mut want = asserted();
        want.claim.as_mut().unwrap().token = 0;
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn audience_and_issuer_are_options_of_both_sides() {
    let signer = Signer::new(secret()).issuer("edge").audience("messaging");
    let token = signer
        .sign(&asserted(), &Method::POST, &uri(), NOW)
        .unwrap();
    let verifier = || Verifier::new([secret()]);
    for (verifier, want) in [
        (verifier().issuer("edge").audience("messaging"), None),
        (verifier().issuer("edge"), Some(Refused::Audience)),
        (verifier().audience("messaging"), Some(Refused::Issuer)),
    ] {
        let got = verify(&verifier, token.to_str().unwrap());
        assert_eq!(got.err(), want, "{verifier:?}");
    }
}

#[test]
fn a_long_query_is_bound_by_its_digest() {
    let (signer, verifier) = (Signer::new(secret()), Verifier::new([secret()]));
    let long = |end: &str| -> Uri { format!("/v1?{}{end}", "a".repeat(9000)).parse().unwrap() };
    let token = signer
        .sign(&asserted(), &Method::GET, &long("b"), NOW)
        .unwrap();
    let verify = |uri| verifier.verify(token.as_bytes(), &Method::GET, &uri, NOW);
    assert!(verify(long("b")).is_ok());
    assert_eq!(verify(long("c")), Err(Refused::OtherRequest));
}

#[test]
fn the_largest_record_of_a_key_file_fits_and_more_is_refused() {
    let agents = |count| Asserted {
        principal: Principal::builder("a".repeat(64), "k".repeat(64))
            .family("f".repeat(64))
            .environment("e".repeat(64))
            .scopes(vec!["s".repeat(61); 32])
            .agents(vec!["g".repeat(61); count])
            .build(),
        correlation_id: CorrelationId::parse(&"c".repeat(128).parse().unwrap()).unwrap(),
        claim: Some(Claim {
            idempotency_key: Bytes::from(vec![b'"'; 255]),
            ..claim()
        }),
    };
    let uri: Uri = format!("/{}", "u".repeat(255)).parse().unwrap();
    let sign = |asserted| Signer::new(secret()).sign(&asserted, &Method::POST, &uri, NOW);
    assert!(sign(agents(32)).is_ok());
    assert!(matches!(sign(agents(64)), Err(SignError::TooLong(_))));
}

#[tokio::test]
async fn the_assertion_takes_the_place_of_the_credentials() {
    let seen = forwarded(keyed_request()).await;
    assert!(!seen.contains_key(AUTHORIZATION));
    assert_eq!(seen[X_CORRELATION_ID], "req_1");
    assert_eq!(seen[IDEMPOTENCY_KEY], "key-1");
    let token = seen[VESTIBULE_IDENTITY].to_str().unwrap();
    assert!(verify(&Verifier::new([secret()]), token).is_ok());
}

#[tokio::test]
async fn a_public_request_carries_no_assertion_of_ours_or_of_anybody() {
    let mut request = Request::new(Empty::new());
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic theirs"));
    headers.insert(VESTIBULE_IDENTITY, HeaderValue::from_static("forged"));
    request.extensions_mut().insert(asserted().correlation_id);
    let seen = forwarded(request).await;
    assert!(!seen.contains_key(VESTIBULE_IDENTITY));
    assert_eq!(seen[AUTHORIZATION], "Basic theirs");
    assert_eq!(seen[X_CORRELATION_ID], "req_1");
}

#[tokio::test]
async fn a_request_that_nobody_can_vouch_for_is_never_sent() {
    let public = Signer::new(Secret::ed25519_public(PUBLIC).unwrap());
    let service = AssertLayer::new(public, clock()).layer(service_fn(unreachable));
    let response = service.oneshot(keyed_request()).await.unwrap();
    assert_eq!(response.status(), 500);
    let effect = response.extensions().get::<Effect>();
    assert_eq!(effect, Some(&Effect::Impossible));
}

#[tokio::test]
async fn what_was_asserted_is_in_the_extensions_behind() {
    let trust = TrustLayer::new(Verifier::new([secret()]), clock()).required();
    let service = trust.layer(service_fn(|request: Request<Empty<Bytes>>| async move {
        assert!(!request.headers().contains_key(VESTIBULE_IDENTITY));
        let extensions = request.extensions();
        assert_eq!(extensions.get(), Some(&asserted().principal));
        assert_eq!(extensions.get(), Some(&asserted().correlation_id));
        let claim: &Claim = extensions.get().unwrap();
        assert_eq!(
            claim.idempotency_key,
            asserted().claim.unwrap().idempotency_key
        );
        assert_eq!(claim.time_left(NOW), Duration::from_secs(10));
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let service = AssertLayer::new(Signer::new(secret()), clock()).layer(service);
    assert_eq!(
        service.oneshot(keyed_request()).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn a_refused_assertion_is_503_and_never_401() {
    let good = token(&header(), &payload());
    for (name, required, tokens, want) in [
        ("good", false, vec![good.as_str()], 200),
        ("forged", false, vec!["a.b.c"], 503),
        ("twice", false, vec![&good, &good], 503),
        ("absent", false, vec![], 200),
        ("absent, required", true, vec![], 503),
    ] {
        let mut trust = TrustLayer::new(Verifier::new([secret()]), clock());
        if required {
            trust = trust.required();
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri();
        *request.method_mut() = Method::POST;
        for token in tokens {
            let token = HeaderValue::from_str(token).unwrap();
            request.headers_mut().append(VESTIBULE_IDENTITY, token);
        }
        let response = trust
            .layer(service_fn(empty))
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), want, "{name}");
    }
}

#[test]
fn debug_shows_neither_secret_nor_token() {
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    let canary = || Secret::new(b"canary-canary-canary-canary-canary").unwrap();
    let signer = Signer::new(canary());
    let token = signer
        .sign(&asserted(), &Method::POST, &uri(), NOW)
        .unwrap();
    let assert = AssertLayer::new(signer, clock()).layer(());
    let trust = TrustLayer::new(Verifier::new([canary()]), clock()).layer(());
    is_shared(&assert);
    is_shared(&trust);
    let shown = format!("{assert:?} {trust:?} {token:?} {:?}", canary());
    assert!(
        !shown.contains("canary") && !shown.contains("eyJ"),
        "{shown}"
    );
}

// === helpers ===

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// The published pair of RFC 8410 §10.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----";

const SECRET: &[u8] = b"a secret of 32 bytes or more, as shared";

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

fn uri() -> Uri {
    Uri::from_static("/v1/charges?a=1")
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "HS256", "kid": secret().id() })
}

fn payload() -> String {
    changed("jti", json!("1"))
}

/// Good claims but for one; null takes it out.
fn changed(claim: &str, value: Value) -> String {
    let now = NOW.as_unix_seconds();
    let mut claims = json!({
        "iss": "vestibule", "aud": "upstream", "nbf": now, "exp": now + 30, "jti": "1",
        "kid": "key_1", "fam": "fam_1", "acc": "acc_1", "env": "live", "scp": ["a:b"],
        "cid": "req_1", "htm": "POST", "htu": "/v1/charges?a=1",
    });
    claims[claim] = value;
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims.to_string()
}

fn with(claim: &str, value: Value) -> String {
    token(&header(), &changed(claim, value))
}

fn token(header: &Value, payload: &str) -> String {
    signed_with(SECRET, header, payload)
}

/// A token made by hand, so that it may say what the crate would not write.
fn signed_with(secret: &[u8], header: &Value, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(&header.to_string()), encode(payload));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verify(verifier: &Verifier, token: &str) -> Result<Asserted, Refused> {
    verifier.verify(token.as_bytes(), &Method::POST, &uri(), NOW)
}

fn claim() -> Claim {
    let (key, fingerprint) = (
        Bytes::from_static(b"key-1"),
        Fingerprint::from_bytes([7; 32]),
    );
    Claim::new(key, fingerprint, NOW + Duration::from_secs(10), 42)
}

fn asserted() -> Asserted {
    Asserted {
        principal: Principal::builder("acc_1", "key_1")
            .family("fam_1")
            .scopes(["a:b", "c:d"])
            .agents(["agent-1"])
            .build(),
        correlation_id: CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap(),
        claim: Some(claim()),
    }
}

fn keyed_request() -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri();
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("key-1"));
    asserted().enter(request.extensions_mut());
    request
}

/// The headers that reach an upstream behind [`Assert`].
async fn forwarded(request: Request<Empty<Bytes>>) -> HeaderMap {
    let service = service_fn(|request: Request<Empty<Bytes>>| async move {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    });
    let service = AssertLayer::new(Signer::new(secret()), clock()).layer(service);
    let response = service.oneshot(request).await.unwrap();
    response.headers().clone()
}

async fn empty(_: Request<Empty<Bytes>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

async fn unreachable(_: Request<Empty<Bytes>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    panic!("the request was sent")
}

fn clock() -> SharedClock {
    Arc::new(Still)
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
