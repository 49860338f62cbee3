//! Rules of contract §7: a store, a reply, a handler or a client is lost.

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

#[tokio::test(start_paused = true)]
async fn without_its_store_a_limit_goes_on_from_what_the_store_said_last() {
    let world = World::new(|api| api.per_minute(4));
    let first = world.send(world.plain()).await;
    assert_eq!(world.send(world.plain()).await.remaining(), "2");
    world.store.breaks(Fault::Hangs);
    for (status, remaining) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = world.send(world.plain()).await;
        assert_eq!(answer.told(), (status, remaining));
        assert_eq!(answer.reset(), first.reset());
        assert_eq!(answer.took, ms(50), "a limit is not worth a longer wait");
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.send(world.plain()).await.told(), (200, "3"));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_spares_the_wait_until_a_probe_has_closed_it() {
    let world = World::new(|api| api);
    world.store.breaks(Fault::Hangs);
    for (row, took) in [50, 50, 50, 50, 50, 0, 0].into_iter().enumerate() {
        assert_eq!(world.send(world.plain()).await.took, ms(took), "{row}");
    }
    assert!(world.api.store_is_cut_off());
    sleep(ms(500)).await;
    for (row, took) in [50, 0, 0].into_iter().enumerate() {
        assert_eq!(world.send(world.plain()).await.took, ms(took), "{row}");
    }
    world.store.heals();
    assert!(world.api.store_is_cut_off());
    sleep(ms(500)).await;
    assert_eq!(world.send(world.plain()).await.took, ms(0));
    assert!(!world.api.store_is_cut_off());
    assert_eq!(world.send(world.keyed(EXECUTES, "k", 0)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_charges_and_claims_in_one_step_is_left_alone_just_so() {
    for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
        let world = World::of(true, |api| api);
        world.store.breaks(fault);
        for _ in 0..5 {
            assert_eq!(world.send(world.keyed(EXECUTES, "k", 0)).await.status, 503);
        }
        assert!(world.api.store_is_cut_off(), "{fault:?}");
        let spared = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((spared.status.as_u16(), spared.took), (503, ms(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_is_not_executed_while_its_store_is_lost() {
    for (fault, one_step, took) in [
        (Fault::Refuses, false, 0),
        (Fault::Refuses, true, 0),
        (Fault::LosesReplies, false, 0),
        (Fault::Hangs, false, 250),
        (Fault::Hangs, true, 200),
        (Fault::SwallowsReplies, true, 200),
    ] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(fault);
        for kind in [EXECUTES, DEDUPLICATES] {
            let answer = world.send(world.keyed(kind, kind, 0)).await;
            let row = format!("{fault:?} {one_step} {kind}");
            assert_eq!(answer.status, 503, "{row}");
            assert!(answer.has("idempotency_store_unavailable"), "{row}");
            assert_eq!(answer.headers[RETRY_AFTER], "1", "{row}");
            assert!(answer.headers.contains_key(X_RATELIMIT_REMAINING), "{row}");
            assert_eq!(answer.took, ms(took), "{row}");
        }
        assert_eq!(world.executed(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_may_have_gone_through_is_taken_back() {
    for (fault, one_step) in [
        (Fault::LosesReplies, false),
        (Fault::LosesReplies, true),
        (Fault::SwallowsReplies, false),
        (Fault::SwallowsReplies, true),
    ] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(fault);
        let lost = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert!(lost.has("idempotency_store_unavailable"), "{fault:?}");
        world.store.heals();
        let early = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert!(early.has("idempotency_key_in_progress"), "{fault:?}");
        sleep(ms(300)).await;
        let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
        assert_eq!(world.executed(), 1, "{fault:?} {one_step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_its_caller_did_not_wait_for_is_taken_back() {
    for one_step in [false, true] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(Fault::SwallowsReplies);
        let sent = world.send(world.keyed(EXECUTES, "k", 0));
        assert!(timeout(ms(150), sent).await.is_err());
        world.store.heals();
        sleep(ms(300)).await;
        let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
        assert_eq!(world.api.tasks().running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_leaves_nothing_to_be_taken_back() {
    for one_step in [false, true] {
        let world = World::of(one_step, |api| api.per_minute(0));
        let answer = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!(answer.status, 429);
        assert_eq!(world.api.tasks().running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_kept_yet_is_returned_and_kept_later() {
    for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
        for kind in [EXECUTES, DEDUPLICATES] {
            let world = World::new(|api| api);
            let answer = world.send_and_break(kind, 1_000, fault).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "done 1"));
            sleep(Duration::from_secs(3)).await;
            world.store.heals();
            sleep(Duration::from_secs(1)).await;
            let again = world.send(world.keyed(kind, "k", 1_000)).await;
            assert!(again.is_replayed(), "{fault:?} {kind}");
            assert_eq!((again.status.as_u16(), &*again.body), (200, "done 1"));
            assert_eq!(world.executed(), 1, "{fault:?} {kind}");
            assert_eq!(world.api.drained(ms(0)).await, 0, "nothing is repeated");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_not_kept_before_its_lease_ended_is_as_after_a_crash() {
    for (kind, status, executed) in [(EXECUTES, 409, 1), (DEDUPLICATES, 200, 2)] {
        let world = World::new(|api| api);
        let answer = world.send_and_break(kind, 1_000, Fault::Hangs).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "done 1"));
        sleep(Duration::from_secs(20)).await;
        assert_eq!(world.api.tasks().running(), 0, "it was given up");
        world.store.heals();
        let again = world.send(world.keyed(kind, "k", 1_000)).await;
        assert_eq!(again.status, status, "{kind}");
        assert!(!again.is_replayed());
        assert_eq!(again.has("idempotency_outcome_unknown"), kind == EXECUTES);
        assert_eq!(world.executed(), executed, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_not_be_released_yet_is_released_later() {
    let world = World::new(|api| api);
    // A refusal of the handler's own, which is not kept.
    let refused = world.send_and_break(EXECUTES, REFUSED, Fault::Hangs).await;
    assert_eq!(refused.status, 422);
    sleep(Duration::from_secs(2)).await;
    world.store.heals();
    sleep(Duration::from_secs(1)).await;
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_before_the_lease_ends_costs_no_claim() {
    let world = World::new(|api| api);
    let sent = world.spawn(world.keyed(EXECUTES, "k", 25_000));
    for second in 1..=24 {
        sleep(Duration::from_secs(1)).await;
        match second % 10 {
            3 => world.store.breaks(Fault::Hangs),
            7 => world.store.heals(),
            _ => {}
        }
    }
    world.store.heals();
    sleep(ms(500)).await;
    let early = world.send(world.keyed(EXECUTES, "k", 25_000)).await;
    assert!(early.has("idempotency_key_in_progress"), "{}", early.body);
    assert_eq!(sent.await.unwrap().status, 200);
    let again = world.send(world.keyed(EXECUTES, "k", 25_000)).await;
    assert!(again.is_replayed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_a_response_is_read() {
    let world = World::new(|api| api.kept(1 << 20, Duration::from_secs(60)));
    let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(Response::new(slow(25))) });
    let request = world.keyed(EXECUTES, "k", 0);
    let answer = tokio::spawn(world.api.layer(handler).oneshot(request));
    sleep(Duration::from_secs(20)).await;
    let early = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert!(early.has("idempotency_key_in_progress"), "{}", early.body);
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert_eq!((again.is_replayed(), again.body.len()), (true, 25));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_is_cut_and_its_outcome_is_unknown() {
    let world = World::new(|api| api);
    let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(Response::new(slow(-1))) });
    let request = world.keyed(EXECUTES, "k", 0);
    let answer = world.api.layer(handler).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 502);
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert!(again.has("idempotency_outcome_unknown"), "{}", again.body);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_nothing_and_its_retry_replays() {
    for kind in [EXECUTES, DEDUPLICATES] {
        let world = World::new(|api| api);
        let left = world.send(world.keyed(kind, "k", 5_000));
        assert!(timeout(ms(2_000), left).await.is_err());
        assert_eq!(world.executed(), 1, "it had begun");
        let early = world.send(world.keyed(kind, "k", 5_000)).await;
        assert!(early.has("idempotency_key_in_progress"));
        assert_eq!(world.api.drained(Duration::from_secs(10)).await, 0);
        let again = world.send(world.keyed(kind, "k", 5_000)).await;
        assert_eq!((again.is_replayed(), &*again.body), (true, "done 1"));
        assert_eq!(world.executed(), 1, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_50_requests_under_one_key_one_is_executed() {
    for (kind, work) in [(EXECUTES, 1_000), (DEDUPLICATES, 1_000), (EXECUTES, 0)] {
        let world = World::new(|api| api);
        let mut sent = JoinSet::new();
        for number in 0..50 {
            let send = world.spawn(world.keyed(kind, "k", work));
            sent.spawn(async move {
                sleep(ms(number * 30)).await;
                send.await.unwrap()
            });
        }
        let answers = sent.join_all().await;
        assert_eq!(world.executed(), 1, "{kind}");
        let firsts = answers
            .iter()
            .filter(|one| one.status == 200 && !one.is_replayed());
        assert_eq!(firsts.count(), 1);
        for answer in &answers {
            let in_progress = answer.has("idempotency_key_in_progress");
            assert!(in_progress || answer.body == "done 1", "{}", answer.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_at_its_cap_claims_nothing() {
    let world = World::new(|api| api.tasks(Tasks::new(10, 1)));
    let running = world.spawn(world.keyed(EXECUTES, "first", 1_000));
    sleep(ms(500)).await;
    let refused = world.send(world.keyed(EXECUTES, "second", 0)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.has("overloaded"));
    assert!(refused.headers.contains_key(X_RATELIMIT_REMAINING));
    assert_eq!(running.await.unwrap().status, 200);
    let again = world.send(world.keyed(EXECUTES, "second", 0)).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(world.executed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_before_it_awaits_leaves_its_outcome_unknown() {
    let world = World::new(|api| api);
    let answer = world.send(world.keyed(EXECUTES, "k", PANICS)).await;
    assert_eq!(answer.status, 500);
    let again = world.send(world.keyed(EXECUTES, "k", PANICS)).await;
    assert!(again.has("idempotency_outcome_unknown"), "{}", again.body);
    assert_eq!(world.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_key_store_is_never_the_callers_fault() {
    let world = World::new(|api| api);
    let (keys, clock) = (world.keys.clone(), world.clock.shared());
    let lost = Arc::new(AtomicUsize::new(0));
    let keys = Cached::new(FaultyKeys(keys, Arc::clone(&lost)), Arc::clone(&clock));
    let api = ApiLayer::builder(memory::Store::new(Arc::clone(&clock)), keys)
        .route("GET /v1/plain", Policy::authenticated())
        .clock(clock)
        .build()
        .unwrap();
    let send = || async {
        let sent = Instant::now();
        let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(done(1)) });
        let answer = api.layer(handler).oneshot(world.plain()).await.unwrap();
        Answer::read(answer, sent).await
    };
    assert_eq!(send().await.status, 200);
    lost.store(1, Ordering::Release);
    let stale = send().await;
    assert_eq!((stale.status.as_u16(), stale.took), (200, ms(100)));
    sleep(Duration::from_secs(61)).await;
    let answer = send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.has("auth_store_unavailable"));
    assert_eq!(answer.headers[RETRY_AFTER], "1");
    lost.store(0, Ordering::Release);
    assert_eq!(send().await.status, 200);
}

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
