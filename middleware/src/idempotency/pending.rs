//! A claim under which nothing is executed yet.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;

use super::record::Owner;
use super::records::Records;
use crate::error::StoreError;
use crate::tasks::Place;

/// A claim that may stand at the store although nothing is executed under it.
///
/// Dropped like that, because its reply was lost or its caller left meanwhile, it is
/// taken back in the background. Otherwise it would lapse, and nobody could know any
/// more that nothing was executed.
#[derive(Debug)]
pub(super) struct Pending<T: Records> {
    records: T,
    owner: Owner,
    lease: Duration,
    place: Option<Place>,
    is_asked: bool,
}

// === impl Pending ===

impl<T: Records> Pending<T> {
    /// A claim that was not asked for yet, and the place for what follows.
    pub(super) const fn new(records: T, owner: Owner, lease: Duration, place: Place) -> Self {
        Self {
            records,
            owner,
            lease,
            place: Some(place),
            is_asked: false,
        }
    }

    /// The store is being asked.
    pub(super) const fn ask(&mut self) {
        self.is_asked = true;
    }

    /// The store has not granted it.
    pub(super) const fn close(&mut self) {
        self.is_asked = false;
    }

    /// The store has granted it: the place to work in.
    pub(super) fn into_place(mut self) -> Place {
        self.place.take().expect("only this method takes it")
    }
}

impl<T: Records> Drop for Pending<T> {
    fn drop(&mut self) {
        let Some(place) = self.place.take().filter(|_| self.is_asked) else {
            return;
        };
        // Without a runtime the process is about to end, and the lease ends by itself.
        if Handle::try_current().is_ok() {
            let (records, owner, lease) = (self.records.clone(), self.owner.clone(), self.lease);
            place.spawn(async move { repeat(lease, || records.release(&owner)).await });
        }
    }
}

/// Repeats a step until the store has answered it or the lease it belongs to has ended.
pub(super) async fn repeat<F, T>(lease: Duration, mut step: impl FnMut() -> F)
where
    F: Future<Output = Result<T, StoreError>>,
{
    let repeated = async {
        loop {
            tokio::time::sleep(AGAIN).await;
            if step().await.is_ok() {
                return;
            }
        }
    };
    if tokio::time::timeout(lease, repeated).await.is_err() {
        tracing::error!("a store did not come back before a lease ended");
    }
}

/// Longer than a claim may take, so that a release does not overtake the claim it takes
/// back; often enough to be done soon after the store is back.
const AGAIN: Duration = Duration::from_millis(250);
