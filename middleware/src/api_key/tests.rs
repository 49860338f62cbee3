//! The layer: what passes, what is refused and with which words.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use tower::{Layer as _, Service as _, ServiceBuilder, ServiceExt as _};

use super::*;
use crate::clock::{Clock, SharedClock, Timestamp};
use crate::error::{ApiError, Code, StoreError};
use crate::principal::Principal;
use crate::route::{Policy, RouteMatch};

#[tokio::test]
async fn a_good_key_becomes_a_principal_and_goes_no_further() {
    for credential in [
        format!("Bearer {LIVE}"),
        format!("bearer {LIVE}"),
        format!("BEARER  {LIVE}"),
    ] {
        let seen = Seen::default();
        let (status, _) = send(layer(), &seen, &[&credential]).await;
        assert_eq!(status, 200, "{credential:?}");
        let (who, headers) = seen.taken();
        assert_eq!(who.unwrap().key_id(), "key_live");
        assert!(!headers.contains_key(AUTHORIZATION), "{credential:?}");
    }
}

#[tokio::test]
async fn every_refusal_says_what_is_wrong() {
    let live = format!("Bearer {LIVE}");
    for (credentials, want) in [
        (vec![], "Send your API key as 'Authorization: Bearer KEY'."),
        (
            vec![live.as_str(), &live],
            "Send one Authorization header only.",
        ),
        (
            vec!["Basic dXNlcjpwYXNz"],
            "The scheme of the Authorization header must be 'Bearer'.",
        ),
        (vec!["Bearer"], "This is not shaped like an API key."),
        (vec!["Bearer a b"], "This is not shaped like an API key."),
        (
            vec!["Bearer schl\u{fc}ssel"],
            "This is not shaped like an API key.",
        ),
        (
            vec!["Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_a1b2c3d4e5"],
            "This API key is mistyped: its checksum does not match.",
        ),
        (vec![&bearer("unknown")[..]], "This API key is not known."),
        (
            vec![&bearer("revoked")[..]],
            "This API key has been revoked.",
        ),
        (vec![&bearer("expired")[..]], "This API key has expired."),
        (
            vec![&bearer("elsewhere")[..]],
            "This API key belongs to another environment.",
        ),
    ] {
        let seen = Seen::default();
        let (status, said) = send(layer(), &seen, &credentials).await;
        assert_eq!(status, 401, "{credentials:?}");
        assert_eq!(said, format!("invalid_api_key: {want}"), "{credentials:?}");
        assert!(seen.0.lock().unwrap().is_none(), "{credentials:?} passed");
    }
}

#[tokio::test]
async fn separate_codes_are_an_option() {
    for (name, want) in [
        ("revoked", "revoked_api_key"),
        ("expired", "expired_api_key"),
    ] {
        let layer = layer().separate_codes();
        let (_, said) = send(layer, &Seen::default(), &[&bearer(name)]).await;
        assert!(said.starts_with(want), "{name}: {said}");
    }
}

#[tokio::test]
async fn the_challenge_names_an_error_only_where_credentials_were_sent() {
    for (credentials, want) in [
        (&[][..], "Bearer"),
        (&["Bearer nonsense"][..], "Bearer error=\"invalid_token\""),
    ] {
        let service = layer().layer(Seen::default());
        let response = service.oneshot(request(credentials)).await.unwrap();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], want);
    }
}

#[tokio::test]
async fn nothing_is_looked_up_for_a_text_that_is_no_key() {
    let keyring = Counting::default();
    let layer = || AuthenticateLayer::new(keyring.clone());
    for credential in [
        "Basic dXNlcjpwYXNz",
        "Bearer nonsense",
        "Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_a1b2c3d4e5",
    ] {
        send(layer(), &Seen::default(), &[credential]).await;
    }
    assert_eq!(keyring.looked_up(), 0);
    send(layer(), &Seen::default(), &[&bearer("live")]).await;
    assert_eq!(keyring.looked_up(), 1);
}

#[tokio::test]
async fn a_lost_store_is_503_and_never_401() {
    let seen = Seen::default();
    let layer = AuthenticateLayer::new(Lost);
    let (status, said) = send(layer, &seen, &[&bearer("live")]).await;
    assert_eq!(status, 503);
    assert!(said.starts_with("auth_store_unavailable"), "{said}");
}

#[tokio::test]
async fn a_record_of_another_key_lets_nobody_in() {
    let layer = AuthenticateLayer::new(Wrong);
    let (_, said) = send(layer, &Seen::default(), &[&bearer("live")]).await;
    assert_eq!(said, "invalid_api_key: This API key is not known.");
}

#[tokio::test]
async fn a_principal_that_is_there_passes_with_its_own_credentials() {
    let seen = Seen::default();
    let mut request = request(&["Negotiate theirs"]);
    let own = Principal::builder("acc", "own").build();
    request.extensions_mut().insert(own.clone());
    let service = layer().layer(seen.clone());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    let (who, headers) = seen.taken();
    assert_eq!(who, Some(own));
    assert_eq!(headers[AUTHORIZATION], "Negotiate theirs");
}

#[tokio::test]
async fn a_key_is_found_under_each_pepper_in_use() {
    let pepper = |id: &str| Pepper::new(id, format!("{id} is a secret here").as_bytes()).unwrap();
    let old = Peppers::new([pepper("old")]);
    let both = Peppers::new([pepper("new"), pepper("old")]);
    let key = key("live");
    for (stored, asked, want) in [
        (&old, &both, 200),
        (&both, &both, 200),
        (&Peppers::none(), &both, 200),
        (&both, &old, 401),
        (&old, &Peppers::none(), 401),
    ] {
        let record = KeyRecord::of(&key, stored, "k", "a").build();
        let layer = AuthenticateLayer::new(Keys::new([record]).unwrap()).peppers(asked.clone());
        let (status, _) = send(layer, &Seen::default(), &[&bearer("live")]).await;
        assert_eq!(status, want, "stored {stored:?}, asked {asked:?}");
    }
}

#[tokio::test]
async fn opaque_keys_are_an_option() {
    let theirs = "a-key-they-handed-out-long-ago";
    let format = KeyFormat::new().opaque();
    let key = format.parse(theirs).unwrap();
    let record = KeyRecord::of(&key, &Peppers::none(), "k", "a").build();
    let layer = AuthenticateLayer::new(Keys::new([record]).unwrap());
    for (layer, want) in [(layer.clone(), 401), (layer.format(format), 200)] {
        let credential = format!("Bearer {theirs}");
        let (status, _) = send(layer, &Seen::default(), &[&credential]).await;
        assert_eq!(status, want);
    }
}

#[tokio::test]
async fn a_public_route_asks_for_no_key_and_passes_none_on() {
    for (credentials, kept) in [
        (vec![], false),
        (vec!["Basic dXNlcjpwYXNz".to_owned()], true),
        (vec![bearer("live")], false),
    ] {
        let seen = Seen::default();
        let credentials: Vec<&str> = credentials.iter().map(AsRef::as_ref).collect();
        let mut request = request(&credentials);
        let public = RouteMatch::Found(Arc::new(Policy::public()));
        request.extensions_mut().insert(public);
        let service = layer().layer(seen.clone());
        assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
        let (who, headers) = seen.taken();
        assert_eq!(who, None);
        assert_eq!(headers.contains_key(AUTHORIZATION), kept, "{credentials:?}");
    }
}

#[test]
fn a_public_route_keeps_all_credentials_but_our_keys() {
    let authenticator = Authenticator::new(Lost);
    for (credential, kept) in [
        (bearer("live"), false),
        (bearer("revoked"), false),
        (
            "Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_a1b2c3d4e5".into(),
            false,
        ),
        ("Bearer a-token-of-another-make".into(), true),
        ("Basic dXNlcjpwYXNz".into(), true),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&credential).unwrap());
        authenticator.strip(&mut headers);
        assert_eq!(headers.contains_key(AUTHORIZATION), kept, "{credential}");
    }
}

#[tokio::test]
async fn it_is_ready_when_the_inner_service_is() {
    type Inner = tower_test::mock::Mock<Request<Empty<Bytes>>, Response<Empty<Bytes>>>;
    let (inner, mut handle): (Inner, _) = tower_test::mock::pair();
    let mut service = layer().layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    handle.allow(0);
    assert!(service.poll_ready(&mut cx).is_pending());
    handle.allow(1);
    assert!(service.poll_ready(&mut cx).is_ready());
}

#[test]
fn the_service_can_be_shared_and_shows_no_secret() {
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    let pepper = Pepper::new("p1", b"canary-canary-canary").unwrap();
    let layer = layer().peppers(Peppers::new([pepper]));
    let service = layer.layer(());
    is_shared(&layer);
    is_shared(&service);
    assert!(!format!("{layer:?}{service:?}").contains("canary"));
}

// === helpers ===

const LIVE: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";

/// A key of its own for each name; `live` is the contract's vector.
fn key(name: &str) -> ApiKey<'static> {
    #[derive(Debug)]
    struct Fixed(u128);
    impl crate::entropy::Entropy for Fixed {
        fn draw(&self) -> u128 {
            self.0
        }
    }
    if name == "live" {
        return KeyFormat::new().parse(LIVE).unwrap();
    }
    let seed = name
        .bytes()
        .fold(0, |seed, byte| seed * 31 + u128::from(byte));
    let environment = if name == "elsewhere" { "test" } else { "live" };
    ApiKey::mint("mk", environment, &Fixed(seed << 64))
}

fn bearer(name: &str) -> String {
    format!("Bearer {}", key(name).expose())
}

/// Knows `live`, `revoked`, `expired` and `elsewhere`; it is second 100; `live` is served.
fn layer() -> AuthenticateLayer<Keys> {
    let at = Timestamp::from_unix_seconds(100);
    let record =
        |name: &str| KeyRecord::of(&key(name), &Peppers::none(), format!("key_{name}"), "acc");
    let keys = Keys::new([
        record("live").build(),
        record("revoked").revoked(at).build(),
        record("expired").expires(at).build(),
        record("elsewhere").build(),
    ]);
    AuthenticateLayer::new(keys.unwrap())
        .format(KeyFormat::new().brand("mk").environment("live"))
        .clock(Arc::new(Still(at)) as SharedClock)
}

fn request(credentials: &[&str]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    for credential in credentials {
        let value = HeaderValue::from_bytes(credential.as_bytes()).unwrap();
        request.headers_mut().append(AUTHORIZATION, value);
    }
    request
}

/// The status, and code and message of a refusal.
async fn send<K: Keyring>(
    layer: AuthenticateLayer<K>,
    seen: &Seen,
    credentials: &[&str],
) -> (u16, String) {
    let service = ServiceBuilder::new().layer(layer).service(seen.clone());
    let response = service.oneshot(request(credentials)).await.unwrap();
    let said = response.extensions().get::<ApiError>().map(|error| {
        let code: Code = error.code();
        format!("{}: {}", code.name(), error.message())
    });
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    (status, said.unwrap_or_default())
}

/// What reached the inner service.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Option<Passed>>>);

type Passed = (Option<Principal>, HeaderMap);

impl Seen {
    fn taken(&self) -> Passed {
        self.0.lock().unwrap().take().expect("nothing passed")
    }
}

impl tower::Service<Request<Empty<Bytes>>> for Seen {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let who = request.extensions().get().cloned();
        *self.0.lock().unwrap() = Some((who, request.headers().clone()));
        ready(Ok(Response::new(Empty::new())))
    }
}

#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn looked_up(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Keyring for Counting {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
}

#[derive(Clone)]
struct Lost;

impl Keyring for Lost {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Err(StoreError::not_sent().because("connection refused"))
    }
}

/// A store that mixes its records up.
#[derive(Clone)]
struct Wrong;

impl Keyring for Wrong {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let other = KeyRecord::of(&key("other"), &Peppers::none(), "other", "acc");
        Ok(Some(other.build()))
    }
}

#[derive(Debug)]
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}
