//! The last attempts to post a webhook, for whoever wonders where one went.

use std::collections::VecDeque;

use serde::Serialize;

/// A bounded list of attempts, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    attempts: VecDeque<Attempt>,
    total: u64,
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
    /// The start of the body.
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
        self.attempts.push_back(attempt);
        self.total += 1;
    }

    /// The attempts that are kept.
    pub(crate) fn recent(&self) -> Vec<Attempt> {
        self.attempts.iter().cloned().collect()
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

#[cfg(test)]
mod tests {
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
                body: "x".repeat(KEPT_BODY + 1),
            });
        }
        let recent = log.recent();
        assert_eq!((recent.len(), recent[0].at_ms), (KEPT, 1));
        assert_eq!(recent[0].body.len(), KEPT_BODY);
        assert_eq!(log.total(), KEPT as u64 + 1);
    }
}
