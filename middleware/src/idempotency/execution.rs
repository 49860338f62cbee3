//! One execution under a claim: renewed, ended by a deadline, kept.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::Body as HttpBody;
use tokio::time::Instant;

use super::buffer::{self, Reading};
use super::executor::Options;
use super::pending::repeat;
use super::record::{Attempt, Outcome};
use super::records::Records;
use super::replay::{Disposal, KeptResponse, mark_replayed};
use crate::body::Body;
use crate::context::{CorrelationId, Effect};
use crate::error::{self, ApiError, ErrorFormat, StoreError};
use crate::future::{Ending, within};
use crate::header::VESTIBULE_REPLAYED;
use crate::route::{Policy, UpstreamKind};

/// A claim that is being worked under.
pub(super) struct Execution<T> {
    records: T,
    shared: Arc<Options>,
    policy: Arc<Policy>,
    attempt: Attempt,
    error_format: ErrorFormat,
    claimed: Instant,
    /// The last step, where the store has not answered it.
    overdue: Option<Step>,
}

/// The last step under a claim.
enum Step {
    Finish(Outcome),
    Release,
}

// === impl Execution ===

impl<T: Records> Execution<T> {
    pub(super) fn new(
        records: T,
        shared: Arc<Options>,
        policy: Arc<Policy>,
        attempt: Attempt,
        error_format: ErrorFormat,
    ) -> Self {
        Self {
            records,
            shared,
            policy,
            attempt,
            error_format,
            claimed: Instant::now(),
            overdue: None,
        }
    }

    /// Polls the call until it ends, its deadline passes or it panics, and renews the
    /// lease meanwhile.
    pub(super) async fn supervise<F: Future>(&self, call: F) -> Ending<F::Output> {
        self.renewing(within(self.policy.time_allowed(), call))
            .await
    }

    /// Renews the lease as long as something lasts.
    async fn renewing<F: Future>(&self, work: F) -> F::Output {
        tokio::select! {
            biased;
            ended = work => ended,
            never = self.keep_renewing() => match never {},
        }
    }

    async fn keep_renewing(&self) -> Infallible {
        loop {
            tokio::time::sleep(self.shared.renewal).await;
            match self
                .records
                .renew(&self.attempt.owner, self.shared.lease)
                .await
            {
                Ok(true) => {}
                // The effect may be there already: the work goes on, and its end will
                // be refused by the store.
                Ok(false) => tracing::warn!("the lease of a running request was taken over"),
                Err(cause) => {
                    tracing::warn!(%cause, "the lease of a running request was not renewed")
                }
            }
        }
    }

    /// Ends the claim and gives the response back.
    pub(super) async fn settle<R, E>(
        &mut self,
        ending: Ending<Result<Response<R>, E>>,
    ) -> Result<Response<Body<R>>, E>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let made_up = match ending {
            Ending::Answered(Ok(response)) => {
                return Ok(self.settle_response(response.map(Body::inner)).await);
            }
            Ending::Answered(Err(error)) => Err(error),
            Ending::Late => Ok(ApiError::timeout().into_response()),
            Ending::Panicked => {
                tracing::error!("a handler panicked under a claim");
                self.end_panicked().await;
                return Ok(ApiError::internal().into_response());
            }
        };
        self.end_unanswered().await;
        made_up
    }

    async fn settle_response<R>(&mut self, mut response: Response<Body<R>>) -> Response<Body<R>>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let id = self.attempt.correlation_id.clone();
        // Taken before it is written: to gRPC every status of HTTP is 200.
        let status = response.status();
        error::render(&mut response, &self.error_format, &id);
        let replayed = self.take_replay_mark(&mut response);
        let effect = response.extensions().get::<Effect>().copied();
        let original = replayed.as_ref().unwrap_or(&id);
        match Disposal::of(&self.policy, self.attempt.upstream, status, effect) {
            Disposal::Keep => response = self.keep(response, original).await,
            Disposal::Release => self.release().await,
            Disposal::Unanswered => self.end_unanswered().await,
        }
        if let Some(original) = &replayed {
            mark_replayed(response.headers_mut(), original);
        }
        response
    }

    /// Keeps a response before it is released, or notes that it could not be kept.
    async fn keep<R>(
        &mut self,
        response: Response<Body<R>>,
        original: &CorrelationId,
    ) -> Response<Body<R>>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let (head, body) = response.into_parts();
        if is_endless(&head) || body.size_hint().lower() > self.shared.kept_bytes as u64 {
            self.finish(Outcome::NotStored).await;
            return Response::from_parts(head, body);
        }
        match self.read(body).await {
            Reading::Whole(bytes) => {
                // A copy: the bytes may be a slice of a buffer that is much longer.
                let kept = KeptResponse::new(
                    head.status,
                    &head.headers,
                    Bytes::copy_from_slice(&bytes),
                    &self.shared.kept_headers,
                    original.clone(),
                );
                self.finish(Outcome::Done(Arc::new(kept))).await;
                Response::from_parts(head, Body::full(bytes))
            }
            Reading::Started(body) => {
                self.finish(Outcome::NotStored).await;
                Response::from_parts(head, body.flatten())
            }
            Reading::Cut => {
                self.end_unanswered().await;
                ApiError::bad_gateway().into_response()
            }
        }
    }

    /// Reads as much of a body as may be kept; one that panics was cut.
    async fn read<B>(&self, body: B) -> Reading<B>
    where
        B: HttpBody<Data: From<Bytes>> + Unpin,
    {
        let (most, within) = (self.shared.kept_bytes, self.shared.kept_within);
        let held = self.shared.budget.reserve_nothing();
        let reading = buffer::read_response(body, most, held, within);
        let reading = AssertUnwindSafe(reading).catch_unwind();
        self.renewing(reading).await.unwrap_or_else(|_panic| {
            tracing::error!("a body panicked under a claim");
            Reading::Cut
        })
    }

    /// Only a de-duplicating upstream may say that its answer is an earlier one's.
    fn take_replay_mark<R>(&self, response: &mut Response<Body<R>>) -> Option<CorrelationId> {
        let mark = response.headers_mut().remove(VESTIBULE_REPLAYED)?;
        let trusted = self.attempt.upstream == UpstreamKind::Deduplicates;
        trusted.then(|| CorrelationId::parse(&mark)).flatten()
    }

    /// The request was sent, and nobody can know what became of it.
    ///
    /// It may still be on its way to an upstream that de-duplicates, which takes it only
    /// while the lease that was sent along runs. Until then a repetition could be told
    /// "no" and the first one succeed after that, so the claim is left to lapse by itself.
    async fn end_unanswered(&mut self) {
        match self.attempt.upstream {
            UpstreamKind::Executes => self.finish(Outcome::Unknown).await,
            UpstreamKind::Deduplicates if self.claimed.elapsed() < self.attempt.lease => {}
            UpstreamKind::Deduplicates => self.release().await,
        }
    }

    /// The handler is gone, and with it whatever it had not committed.
    async fn end_panicked(&mut self) {
        match self.attempt.upstream {
            UpstreamKind::Executes => self.finish(Outcome::Unknown).await,
            UpstreamKind::Deduplicates => self.release().await,
        }
    }

    async fn finish(&mut self, outcome: Outcome) {
        self.end(Step::Finish(outcome)).await;
    }

    async fn release(&mut self) {
        self.end(Step::Release).await;
    }

    /// Takes the last step, which has one try before the response is released.
    async fn end(&mut self, step: Step) {
        match self.take(&step).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(?step, "the claim was taken over before it ended"),
            Err(cause) => {
                tracing::warn!(%cause, ?step, "a claim could not be ended yet");
                self.overdue = Some(step);
            }
        }
    }

    /// Takes the last step again, where it is overdue. It still has the place in which
    /// the request was executed, so it need not ask for one.
    pub(super) async fn catch_up(mut self) {
        if let Some(step) = self.overdue.take() {
            repeat(self.shared.lease, || self.take(&step)).await;
        }
    }

    async fn take(&self, step: &Step) -> Result<bool, StoreError> {
        let Attempt {
            owner, retention, ..
        } = &self.attempt;
        match step {
            Step::Finish(outcome) => self.records.finish(owner, outcome, *retention).await,
            Step::Release => self.records.release(owner).await,
        }
    }
}

// === impl Step ===

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A response may hold anything: its state is shown, never its bytes.
        f.write_str(match self {
            Self::Finish(outcome) => outcome.as_str(),
            Self::Release => "release",
        })
    }
}

/// A response that is made to go on: an event stream, or one that ends in trailers (gRPC).
fn is_endless(head: &http::response::Parts) -> bool {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return false;
    };
    [&b"text/event-stream"[..], b"application/grpc"]
        .iter()
        .any(|kind| {
            value
                .as_bytes()
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind))
        })
}
