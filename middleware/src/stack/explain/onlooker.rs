//! What stands in the places of store, keyring and service while a request is explained: they
//! look, and tell what they have seen.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::super::admission::Admission;
use crate::api_key::{Digest, KeyRecord, Keyring};
use crate::error::{StoreError, StoreErrorKind};
use crate::guarded::Guarded;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::{Caller, KeyVersion, Principal};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};

/// What the onlookers have seen of one request.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Sights>);

#[derive(Debug, Default)]
pub(super) struct Sights {
    pub(super) key: Option<Found>,
    /// By which quota, and whether the store could tell.
    pub(super) charge: Option<(Quota, bool)>,
    pub(super) claim: Option<Result<Preview, StoreErrorKind>>,
    /// Who came through to the service, where that is known.
    pub(super) caller: Option<Principal>,
}

/// What a look-up of a key came to.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Record(Arc<KeyRecord>),
    Nothing,
    Lost,
}

/// A store that answers what it would answer, and changes nothing.
#[derive(Clone, Debug)]
pub(super) struct Onlooker<S> {
    store: Guarded<S>,
    seen: Arc<Seen>,
}

/// A keyring that is asked for the newest record.
#[derive(Clone, Debug)]
pub(super) struct Lookup<K> {
    keyring: K,
    seen: Arc<Seen>,
}

/// The service behind the layers, which sees who comes through.
#[derive(Clone, Debug)]
pub(super) struct Door {
    seen: Arc<Seen>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn sights(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Onlooker ===

impl<S> Onlooker<S> {
    pub(super) fn new(store: Guarded<S>, seen: &Arc<Seen>) -> Self {
        let seen = Arc::clone(seen);
        Self { store, seen }
    }
}

impl<S: Counters> Counters for Onlooker<S> {
    fn is_local(&self) -> bool {
        Counters::is_local(&self.store)
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let answer = self.store.peek_hit(caller, quota).await;
        self.seen.sights().charge = Some((*quota, answer.is_ok()));
        answer
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.hit(caller, quota).await
    }

    /// The record was read anew a moment ago.
    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        _newest: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        self.hit(caller, quota).await.map(Charge::Judged)
    }
}

/// Nothing was claimed, so there is nothing to be changed or taken back.
impl<S: Records> Records for Onlooker<S> {
    fn is_local(&self) -> bool {
        Records::is_local(&self.store)
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        Ok(self.peek_claim(attempt).await?.decision)
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let answer = self.store.peek_claim(attempt).await;
        let told = answer.as_ref().map(Clone::clone).map_err(StoreError::kind);
        self.seen.sights().claim = Some(told);
        answer
    }

    async fn renew(&self, _: &Owner, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn finish(&self, _: &Owner, _: &Outcome, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release(&self, _: &Owner) -> Result<bool, StoreError> {
        Ok(true)
    }
}

impl<S: Admission> Admission for Onlooker<S> {}

// === impl Lookup ===

impl<K> Lookup<K> {
    pub(super) fn new(keyring: K, seen: &Arc<Seen>) -> Self {
        let seen = Arc::clone(seen);
        Self { keyring, seen }
    }
}

impl<K: Keyring> Keyring for Lookup<K> {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let answer = match self.keyring.find(digest).await {
            // A request would learn of a newer one when it is charged.
            Ok(Some(record)) if record.principal().tracked_version().is_some() => {
                let newest = self.keyring.reread(record.principal()).await;
                Ok(newest.unwrap_or(Some(record)))
            }
            answer => answer,
        };
        self.seen.sights().key = Some(match &answer {
            Ok(Some(record)) => Found::Record(Arc::clone(record)),
            Ok(None) => Found::Nothing,
            Err(_) => Found::Lost,
        });
        answer
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.keyring.reread(principal).await
    }

    fn age(&self) -> Duration {
        self.keyring.age()
    }
}

// === impl Door ===

impl Door {
    pub(super) fn new(seen: &Arc<Seen>) -> Self {
        let seen = Arc::clone(seen);
        Self { seen }
    }
}

impl<B> Service<Request<B>> for Door
where
    B: HttpBody + Send + 'static,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.seen.sights().caller = request.extensions().get().cloned();
        Box::pin(async move {
            // A body that is too long is refused to whoever reads it.
            let mut body = pin!(request.into_body());
            while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
            Ok(Response::new(String::new()))
        })
    }
}
