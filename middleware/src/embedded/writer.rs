//! The one thread that writes: steps that wait together become one transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Shared;
use super::error::{OpenError, WriteError};
use super::ledger::Ledger;
use super::page::Page;
use super::step::Step;
use super::usage::Capacity;
use crate::clock::{SharedClock, Timestamp};

/// What the writer's thread owns.
pub(super) struct Writer {
    path: PathBuf,
    capacity: Capacity,
    clock: SharedClock,
    pub(super) shared: Arc<Shared>,
    /// Nothing after the file has failed, until it can be opened again.
    pub(super) ledger: Option<Ledger>,
    /// When the counters are due, by [`Clock::elapsed`](crate::clock::Clock::elapsed).
    snapshot_at: Duration,
}

// === impl Writer ===

impl Writer {
    /// Opens the file and reads counters and keys in.
    pub(super) fn open(
        path: PathBuf,
        capacity: Capacity,
        clock: SharedClock,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let ledger = Ledger::open(&path, capacity)?;
        let snapshots = ledger.counters();
        for snapshot in snapshots.map_err(|cause| OpenError::unusable(&path, cause))? {
            if let Err(malformed) = shared.counters.restore(&snapshot, clock.now()) {
                tracing::warn!(?path, %malformed, "some counters start anew");
            }
        }
        read_keys(&path, &ledger, &shared)?;
        let held = ledger.records_held();
        shared.tally.records.store(held, Ordering::Release);
        Ok(Self {
            path,
            capacity,
            snapshot_at: clock.elapsed() + SNAPSHOT_EVERY,
            clock,
            shared,
            ledger: Some(ledger),
        })
    }

    /// Writes until nobody is left who could ask.
    pub(super) fn run(mut self, steps: &Receiver<Box<Step>>) {
        loop {
            let mut batch = match steps.recv_timeout(SNAPSHOT_EVERY) {
                Ok(first) => {
                    let waiting = std::iter::once(first).chain(steps.try_iter());
                    waiting.take(BATCH_MAX).map(|step| *step).collect()
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.write(&mut batch);
        }
        self.snapshot_at = Duration::ZERO;
        self.write(&mut []);
    }

    /// Takes all these steps in one transaction and then answers them.
    pub(super) fn write(&mut self, batch: &mut [Step]) {
        let now = self.clock.now();
        let flush = batch.iter().any(|step| matches!(step, Step::Flush(_)));
        let snapshot = flush || batch.is_empty() || self.clock.elapsed() >= self.snapshot_at;
        if snapshot {
            self.snapshot_at = self.clock.elapsed() + SNAPSHOT_EVERY;
        }
        let shared = Arc::clone(&self.shared);
        let written = self.transact(|page| {
            for step in &mut *batch {
                step.take(page, now)?;
            }
            if snapshot {
                page.sweep(now, SWEPT_AT_ONCE)?;
                keep(&shared, page, now)?;
            }
            Ok(())
        });
        if let Err(failure) = &written {
            self.give_up(failure);
        }
        for step in batch {
            step.settle(written.as_ref().err());
        }
    }

    fn transact(
        &mut self,
        work: impl FnOnce(&mut Page<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), WriteError> {
        if self.ledger.is_none() {
            let opened = Ledger::reopen(&self.path, self.capacity);
            let opened = opened.map_err(WriteError::not_applied)?;
            // A write whose outcome was unknown has one now.
            let read = read_keys(&self.path, &opened, &self.shared);
            read.map_err(WriteError::not_applied)?;
            self.ledger = Some(opened);
        }
        let ledger = self.ledger.as_mut().expect("it was just opened");
        if ledger.transact(&self.shared.ring, work)? {
            let tally = &self.shared.tally;
            tally.commits.fetch_add(1, Ordering::AcqRel);
            let held = ledger.records_held();
            tally.records.store(held, Ordering::Release);
        }
        Ok(())
    }

    /// Closes the file: what is in memory of it may be wrong. The next batch opens it again.
    fn give_up(&mut self, failure: &WriteError) {
        tracing::error!(path = ?self.path, cause = %failure.cause(), "the store's file failed");
        self.ledger = None;
        self.shared.counters.mark_changed();
        self.shared.ring.mark_unwritten();
    }
}

fn read_keys(path: &Path, ledger: &Ledger, shared: &Shared) -> Result<(), OpenError> {
    let kept = ledger.keys();
    let kept = kept.map_err(|cause| OpenError::unusable(path, cause))?;
    let restored = shared.ring.restore(kept);
    restored.map_err(|cause| OpenError::unusable(path, cause))
}

fn keep(shared: &Shared, page: &mut Page<'_>, now: Timestamp) -> Result<(), redb::Error> {
    for (shard, bytes) in shared.counters.changed(now) {
        page.keep_counters(shard, &bytes)?;
    }
    page.keep_uses()
}

/// What of the counters, and of when keys were last seen, a crash may lose.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// As many as are taken while a disk writes one page, and few enough that the first of
/// them does not wait long for the last.
const BATCH_MAX: usize = 256;

/// Some milliseconds once a second, so that a peak is forgotten without a claim.
const SWEPT_AT_ONCE: usize = 256;
