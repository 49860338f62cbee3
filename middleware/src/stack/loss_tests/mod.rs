//! Rules of contract §7: a store, a reply, a handler or a client is lost.

mod claims;
mod departures;
mod lookups;
mod observed;
mod outcomes;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceExt, service_fn};

use super::*;
use crate::api_key::{ApiKey, Cached, KeyRecord, Keys, Peppers};
use crate::clock::Timestamp;
use crate::entropy::SystemEntropy;
use crate::error::StoreError;
use crate::header::{IDEMPOTENT_REPLAYED, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
use crate::memory;
use crate::route::Policy;
use crate::testing::{CountingEntropy, Fault, FaultyStore, TimerClock};

type Sent = Request<Full<Bytes>>;
type Got = Request<RequestBody<Full<Bytes>>>;

const EXECUTES: &str = "/v1/executes";
const DEDUPLICATES: &str = "/v1/deduplicates";

/// An API over a store that can be broken, on a clock that goes with the timer.
struct World {
    api: ApiLayer<FaultyStore<memory::Store>, Keys>,
    store: FaultyStore<memory::Store>,
    keys: Keys,
    clock: TimerClock,
    key: String,
    executed: Arc<AtomicUsize>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    took: Duration,
}

/// Keys that hang once they are lost.
#[derive(Clone)]
struct FaultyKeys(Keys, Arc<AtomicUsize>);

type Options = ApiLayerBuilder<FaultyStore<memory::Store>, Keys>;

impl World {
    fn new(options: impl FnOnce(Options) -> Options) -> Self {
        Self::of(false, options)
    }

    fn of(one_step: bool, options: impl FnOnce(Options) -> Options) -> Self {
        let clock = TimerClock::at(Timestamp::from_unix_seconds(1_000_000));
        let mut store = FaultyStore::new(memory::Store::new(clock.shared()));
        if one_step {
            store = store.in_one_step();
        }
        let key = ApiKey::mint("mk", "live", &SystemEntropy);
        let record = KeyRecord::of(&key, &Peppers::none(), "key", "account").build();
        let keys = Keys::new([record]).unwrap();
        let api = ApiLayer::builder(store.clone(), keys.clone())
            .route("GET /v1/plain", Policy::authenticated())
            .route("POST /v1/executes", Policy::authenticated().idempotent())
            .route(
                "POST /v1/deduplicates",
                Policy::authenticated().deduplicated(),
            )
            .clock(clock.shared())
            .entropy(CountingEntropy::shared());
        Self {
            api: options(api).build().unwrap(),
            store,
            keys,
            clock,
            key: key.expose().to_owned(),
            executed: Arc::default(),
        }
    }

    fn plain(&self) -> Sent {
        let request = Request::get("/v1/plain");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        request.body(Full::default()).unwrap()
    }

    /// A keyed request whose handler works so many milliseconds.
    fn keyed(&self, path: &str, key: &str, work: u64) -> Sent {
        Request::post(path)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::from(work.to_string()))
            .unwrap()
    }

    fn send(&self, request: Sent) -> impl Future<Output = Answer> + Send + 'static {
        let (executed, sent) = (Arc::clone(&self.executed), Instant::now());
        let handler = service_fn(move |request: Got| handle(request, &executed));
        let answer = self.api.layer(handler).oneshot(request);
        async move { Answer::read(answer.await.unwrap(), sent).await }
    }

    fn spawn(&self, request: Sent) -> tokio::task::JoinHandle<Answer> {
        tokio::spawn(self.send(request))
    }

    /// Sends a request and breaks the store while its handler works.
    async fn send_and_break(&self, path: &str, work: u64, fault: Fault) -> Answer {
        let sent = self.spawn(self.keyed(path, "k", work));
        sleep(ms(500)).await;
        self.store.breaks(fault);
        sent.await.unwrap()
    }

    fn executed(&self) -> usize {
        self.executed.load(Ordering::Acquire)
    }
}

impl Answer {
    async fn read(response: Response<Body<Full<Bytes>>>, sent: Instant) -> Self {
        let took = sent.elapsed();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(bytes.into()).unwrap(),
            took,
        }
    }

    fn told(&self) -> (u16, &str) {
        (self.status.as_u16(), self.remaining())
    }

    fn remaining(&self) -> &str {
        self.headers[X_RATELIMIT_REMAINING].to_str().unwrap()
    }

    fn reset(&self) -> &str {
        self.headers[X_RATELIMIT_RESET].to_str().unwrap()
    }

    fn is_replayed(&self) -> bool {
        self.headers.contains_key(IDEMPOTENT_REPLAYED)
    }

    fn has(&self, code: &str) -> bool {
        self.body.contains(&format!("\"code\":\"{code}\""))
    }
}

impl Keyring for FaultyKeys {
    async fn find(
        &self,
        digest: &crate::api_key::Digest,
    ) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        if self.1.load(Ordering::Acquire) > 0 {
            std::future::pending::<()>().await;
        }
        self.0.find(digest).await
    }
}

/// Works as long as the body says. Not an `async fn`, so that it can panic when it is called.
fn handle(
    request: Got,
    executed: &AtomicUsize,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + use<> {
    let number = executed.fetch_add(1, Ordering::AcqRel) + 1;
    let length = request.body().size_hint().exact();
    assert_ne!(
        length,
        Some(PANICS.to_string().len() as u64),
        "as the test wants it"
    );
    async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let work: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap_or(0);
        if work == REFUSED {
            sleep(ms(1_000)).await;
            let mut response = done(number);
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(response);
        }
        sleep(ms(work)).await;
        Ok(done(number))
    }
}

fn done(number: usize) -> Response<Full<Bytes>> {
    Response::new(Full::from(format!("done {number}")))
}

/// A body of so many bytes, one each second; below zero it panics.
fn slow(bytes: i32) -> impl HttpBody<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    StreamBody::new(Box::pin(stream::unfold(bytes, |left| async move {
        assert!(left >= 0, "as the test wants it");
        sleep(Duration::from_secs(1)).await;
        (left > 0).then(|| (Ok(Frame::data(Bytes::from_static(b"x"))), left - 1))
    })))
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The handler answers 422 after a second.
const REFUSED: u64 = 1_234;

/// The handler panics: the only body of seven digits.
const PANICS: u64 = 1_000_000;
