//! A step on its way to the writer and back.

use std::time::Duration;

use tokio::sync::oneshot;

use super::error::WriteError;
use super::page::{Page, StepError};
use crate::api_key::{KeyChange, KeyWriteError};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview};
use crate::route::UpstreamKind;

/// What the writer is asked.
pub(super) enum Step {
    /// To claim a key.
    Claim(Attempt, Asker<Decision>),
    /// To look what a claim would come upon.
    Peek(Attempt, Asker<Preview>),
    /// To change what an owner holds.
    Change(Owner, Change, Asker<bool>),
    /// To write key records, all of them or none.
    WriteKeys(Vec<KeyChange>, Asker<Result<(), KeyWriteError>>),
    /// To write down what is in memory alone.
    Flush(Asker<()>),
}

/// What may become of a claim.
pub(super) enum Change {
    Renew(Duration),
    Finish(Outcome, Duration),
    Release,
}

/// Who waits, and what is to be said once it is on the disk.
pub(super) struct Asker<T> {
    waiting: Option<oneshot::Sender<Result<T, StoreError>>>,
    answer: Option<Result<T, StoreError>>,
}

// === impl Step ===

impl Step {
    /// Takes the step; an error is the file's, and everybody's.
    pub(super) fn take(&mut self, page: &mut Page<'_>, now: Timestamp) -> Result<(), redb::Error> {
        match self {
            // Nobody waits any more, so nobody would execute it.
            Self::Claim(_, asker) if asker.is_gone() => Ok(()),
            Self::Claim(attempt, asker) => {
                asker.judge(page.claim(attempt, now))?;
                // Should it be lost, the upstream still knows what it has executed.
                if attempt.upstream == UpstreamKind::Deduplicates && asker.is_granted() {
                    asker.settle(None);
                }
                Ok(())
            }
            Self::Peek(attempt, asker) => asker.judge(page.peek(attempt, now)),
            Self::Change(owner, change, asker) => asker.judge(match change {
                Change::Renew(lease) => page.renew(owner, *lease, now),
                Change::Finish(outcome, retention) => page.finish(owner, outcome, *retention, now),
                Change::Release => page.release(owner),
            }),
            Self::WriteKeys(changes, asker) => asker.judge(page.write_keys(changes)),
            // The writer does it at the end of the batch.
            Self::Flush(asker) => asker.judge(Ok(())),
        }
    }

    /// Answers, now that the transaction has ended.
    pub(super) fn settle(&mut self, failure: Option<&WriteError>) {
        match self {
            Self::Claim(_, asker) => asker.settle(failure),
            Self::Peek(_, asker) => asker.settle(failure),
            Self::Change(_, _, asker) => asker.settle(failure),
            Self::WriteKeys(_, asker) => asker.settle(failure),
            Self::Flush(asker) => asker.settle(failure),
        }
    }
}

// === impl Asker ===

impl<T> Asker<T> {
    /// Somebody who waits, and where it waits.
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (waiting, answer) = oneshot::channel();
        let asker = Self {
            waiting: Some(waiting),
            answer: None,
        };
        (asker, answer)
    }

    fn is_gone(&self) -> bool {
        self.waiting.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn judge(&mut self, answer: Result<T, StepError>) -> Result<(), redb::Error> {
        self.answer = Some(match answer {
            Ok(answer) => Ok(answer),
            Err(cause) => Err(cause.into_own()?),
        });
        Ok(())
    }

    fn settle(&mut self, failure: Option<&WriteError>) {
        let answer = match failure {
            Some(failure) => Some(Err(failure.told())),
            None => self.answer.take(),
        };
        if let (Some(waiting), Some(answer)) = (self.waiting.take(), answer) {
            // One who has left is answered in vain.
            let _left = waiting.send(answer);
        }
    }
}

impl Asker<Decision> {
    fn is_granted(&self) -> bool {
        matches!(self.answer, Some(Ok(Decision::Execute { .. })))
    }
}
