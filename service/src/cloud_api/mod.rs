//! Meta's Cloud API: what is sent there, what its answers mean, and what it sends here.
//!
//! A send has no idempotency key and cannot be looked up afterwards, so everything turns
//! on what an answer, or its absence, proves. [`CloudApi::send`] reports what happened on
//! the wire, [`classify`] says what that proves, and the token in each request comes back
//! in the status webhooks of [`webhook`], which is how an unclear attempt is cleared up.

mod client;
mod error;
mod request;
mod schedule;
mod table;
mod token;
pub mod webhook;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

pub use self::client::{Client, ClientError, Timeouts};
pub use self::error::{Action, Outcome, Refusal, Resume, Scope, classify};
pub use self::request::body;
pub use self::schedule::Schedule;
pub use self::table::{WINDOW_CLOSED, failure, retry_wait};
pub use self::token::TokenKey;

/// The one call that the service makes to Meta.
///
/// The delivery worker calls it, after it has recorded the attempt. A wrong
/// [`Reply::NotSent`] costs a second message to a customer; a wrong [`Reply::Lost`] only
/// costs the time until a webhook tells. An implementation never repeats a request.
pub trait CloudApi: Clone + Send + Sync + 'static {
    /// Posts one message from the number of this id.
    fn send(&self, phone_number_id: &str, body: Bytes) -> impl Future<Output = Reply> + Send;
}

/// What happened on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer came, whole.
    Answered {
        /// Its status.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
        /// Its body.
        body: Bytes,
    },
    /// No byte of the request can have left: there was no connection.
    NotSent,
    /// The request may have left, and no whole answer came.
    Lost,
}
