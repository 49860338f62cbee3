//! What the benchmarks share: ten thousand callers, what they send, and the services that answer.

mod case;
mod service;

use std::cell::Cell;
use std::fmt::Debug;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use vestibule::api_key::{ApiKey, KeyRecord, Keys, Peppers};
use vestibule::entropy::SystemEntropy;

pub(crate) use self::case::Case;
pub(crate) use self::service::{Noop, ours, theirs};

/// What a caller sends.
pub(crate) type Sent = Request<Full<Bytes>>;

/// The keys of all callers, and a place to run their requests.
pub(crate) struct Rig {
    keys: Keys,
    bearers: Vec<HeaderValue>,
    /// Of a caller whose budget is spent.
    spent: HeaderValue,
    sent: Cell<usize>,
    runtime: Runtime,
}

// === impl Rig ===

impl Rig {
    pub(crate) fn new() -> Self {
        let keys = Keys::new([]).expect("no key is there twice");
        let mut records = Vec::new();
        let mut bearer = |id: String, per_minute| {
            let key = ApiKey::mint("mk", "live", &SystemEntropy);
            let scopes = ["messages:read", "messages:send"];
            let record = KeyRecord::of(&key, &Peppers::none(), id, "account").scopes(scopes);
            records.push(record.per_minute(per_minute).build());
            HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .expect("a key is visible ASCII")
        };
        let bearers = (0..CALLERS)
            .map(|number| bearer(format!("key-{number}"), PER_MINUTE))
            .collect();
        let spent = bearer("spent".to_owned(), 0);
        keys.replace(records).expect("every key is another one");
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            keys,
            bearers,
            spent,
            sent: Cell::new(0),
            runtime: runtime.expect("a runtime of one thread needs nothing"),
        }
    }

    /// The keyring that knows all callers.
    pub(crate) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// The next requests, of one busy caller after the other.
    pub(crate) fn requests(&self, case: Case, count: usize) -> Vec<Sent> {
        let first = self.sent.replace(self.sent.get() + count);
        let in_turn = if case == Case::Crowd { CALLERS } else { BUSY };
        let request = |number: usize| {
            let bearer = &self.bearers[number % in_turn];
            let bearer = if case == Case::OverLimit {
                &self.spent
            } else {
                bearer
            };
            case.request(bearer, number)
        };
        (first..first + count).map(request).collect()
    }

    /// Has every caller known to the service, and the case usual.
    pub(crate) fn warm<S, R>(&self, service: &mut S, case: Case)
    where
        S: Service<Sent, Response = Response<R>, Error: Debug>,
    {
        self.drive(service, self.requests(Case::Crowd, CALLERS));
        self.drive(service, self.requests(case, CALLERS));
    }

    /// How long a service takes for these requests, one after the other.
    pub(crate) fn drive<S, R>(&self, service: &mut S, requests: Vec<Sent>) -> Duration
    where
        S: Service<Sent, Response = Response<R>, Error: Debug>,
    {
        self.runtime.block_on(async {
            let start = Instant::now();
            for request in requests {
                let service = service.ready().await.expect("it is always ready");
                black_box(service.call(request).await.expect("it never fails"));
            }
            start.elapsed()
        })
    }
}

/// As many keys as a busy pod knows.
const CALLERS: usize = 10_000;

/// As many of them as call at one time.
const BUSY: usize = 100;

/// A limit that no one reaches, with no more digits than a limit has.
const PER_MINUTE: u32 = 100_000;
