//! The last attempts to post a webhook, for whoever wonders where one went.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::Delivery;

/// A bounded list of attempts, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    attempts: VecDeque<Attempt>,
    total: u64,
    statuses: BTreeMap<Option<u16>, u64>,
    /// What apps took, to be posted once more.
    taken: VecDeque<Delivery>,
    taken_bytes: usize,
}

/// One attempt to post a webhook.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    pub(crate) app: String,
    pub(crate) at_ms: u64,
    /// 1 for the first attempt.
    pub(crate) attempt: u32,
    /// The status of the answer, or nothing where none came.
    pub(crate) status: Option<u16>,
    /// How long the body was.
    pub(crate) bytes: usize,
    /// Whether it carried a signature, a good one or not.
    pub(crate) is_signed: bool,
    /// The start of the body, without what a fault did to it.
    pub(crate) body: String,
}

// === impl Log ===

impl Log {
    /// Writes an attempt; the oldest one makes room.
    pub(crate) fn push(&mut self, mut attempt: Attempt) {
        // The body is ASCII, so that it can be cut anywhere.
        attempt.body.truncate(KEPT_BODY);
        attempt.body.shrink_to_fit();
        if self.attempts.len() >= KEPT {
            self.attempts.pop_front();
        }
        *self.statuses.entry(attempt.status).or_default() += 1;
        self.attempts.push_back(attempt);
        self.total += 1;
    }

    /// The attempts that are kept.
    pub(crate) fn recent(&self) -> Vec<Attempt> {
        self.attempts.iter().cloned().collect()
    }

    /// Keeps what an app took; the oldest make room.
    pub(crate) fn keep(&mut self, delivery: Delivery) {
        self.taken_bytes += delivery.body.len();
        self.taken.push_back(delivery);
        while self.taken.len() > KEPT || self.taken_bytes > KEPT_BYTES {
            let oldest = self.taken.pop_front();
            self.taken_bytes -= oldest.map_or(0, |oldest| oldest.body.len());
        }
    }

    /// The last so many that apps took, or all that are kept.
    pub(crate) fn taken(&self, last: Option<usize>) -> Vec<Delivery> {
        let skipped = last.map_or(0, |last| self.taken.len().saturating_sub(last));
        self.taken.iter().skip(skipped).cloned().collect()
    }

    /// How often each status was answered; nothing where no answer came.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        self.statuses
            .iter()
            .map(|(status, count)| (*status, *count))
    }

    /// How many attempts were made.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

/// About one megabyte of ordinary webhooks.
const KEPT: usize = 1000;

/// Bytes; ordinary webhooks are far shorter.
const KEPT_BODY: usize = 16 << 10;

/// Webhooks that can be repeated, beside their number.
const KEPT_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use vestibule::clock::Timestamp;

    use super::*;

    #[test]
    fn the_oldest_attempt_makes_room() {
        let mut log = Log::default();
        for number in 0..=KEPT as u64 {
            log.push(Attempt {
                app: String::new(),
                at_ms: number,
                attempt: 1,
                status: None,
                bytes: 0,
                is_signed: true,
                body: "x".repeat(KEPT_BODY + 1),
            });
        }
        let recent = log.recent();
        assert_eq!((recent.len(), recent[0].at_ms), (KEPT, 1));
        assert_eq!(recent[0].body.len(), KEPT_BODY);
        assert_eq!(log.total(), KEPT as u64 + 1);
    }

    #[test]
    fn what_was_taken_is_kept_within_bounds() {
        let mut log = Log::default();
        for _ in 0..KEPT + 5 {
            log.keep(delivery(1));
        }
        assert_eq!(log.taken(None).len(), KEPT);
        assert_eq!(log.taken(Some(3)).len(), 3);
        assert_eq!(log.taken(Some(KEPT * 2)).len(), KEPT);
        log.keep(delivery(KEPT_BYTES));
        assert_eq!(log.taken(None).len(), 1);
    }

    fn delivery(bytes: usize) -> Delivery {
        Delivery {
            app: String::new(),
            about: Vec::new(),
            parts: Vec::new(),
            body: vec![b'x'; bytes].into(),
            failures: 0,
            since: Timestamp::EPOCH,
            epoch: 0,
        }
    }
}
