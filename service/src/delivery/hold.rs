//! Holds: nothing of a number, an account, an app or a token is sent, and until when.
//!
//! A refusal that is not about one message strikes a whole scope. When its time is over, one
//! message goes as a probe; only if Meta takes it do the others follow.

use std::time::Duration;

use vestibule::clock::Timestamp;

use crate::cloud_api::{Resume, Schedule};

/// Why a scope waits, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What waits: a number, an account, the app or a token, by name.
    pub scope: Box<str>,
    /// Meta's code.
    pub code: u32,
    /// When it was struck first.
    pub since: Timestamp,
    /// When it was struck last.
    pub struck_at: Timestamp,
    /// When a probe may leave; without it, only when an operator has acted.
    pub until: Option<Timestamp>,
    /// How often it was struck, probes included.
    pub strikes: u32,
}

/// A refusal that is about more than one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// What it strikes.
    pub scope: Box<str>,
    /// Meta's code.
    pub code: u32,
    /// When the attempt began that met it.
    pub began: Timestamp,
    /// For how long.
    pub term: Term,
}

/// For how long a scope waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// As long as Meta's limits ask for.
    Throttled {
        /// The steps.
        schedule: Schedule,
        /// What Meta asked for.
        at_least: Duration,
    },
    /// Until somebody has acted, or a probe passes.
    Paused(Resume),
}

// === impl Hold ===

impl Hold {
    /// The hold after a strike. Attempts that were under way together are refused together
    /// and count once.
    pub fn struck(before: Option<&Self>, strike: &Strike, now: Timestamp, draw: u128) -> Self {
        if let Some(before) = before
            && strike.began < before.struck_at
        {
            return before.clone();
        }
        let strikes = before.map_or(0, |before| before.strikes) + 1;
        Self {
            scope: strike.scope.clone(),
            code: strike.code,
            since: before.map_or(now, |before| before.since),
            struck_at: now,
            until: strike.term.wait(strikes, draw).map(|wait| now + wait),
            strikes,
        }
    }

    /// Whether the success of an attempt that began then lifts it.
    pub fn is_lifted_by(&self, began: Timestamp) -> bool {
        began >= self.struck_at
    }

    /// The hold while a probe is under way, if one may leave now.
    pub fn probed(&self, now: Timestamp) -> Option<Self> {
        self.until.is_some_and(|until| until <= now).then(|| Self {
            until: Some(now + PROBE),
            ..self.clone()
        })
    }
}

// === impl Term ===

impl Term {
    fn wait(self, strikes: u32, draw: u128) -> Option<Duration> {
        match self {
            Self::Throttled { schedule, at_least } => {
                // Every schedule of a whole scope goes on for ever; the last step repeats.
                let wait = schedule.wait(strikes, draw).unwrap_or(PROBE);
                Some(wait.max(at_least))
            }
            Self::Paused(Resume::Probe(first)) => {
                let doubled = first.saturating_mul(2_u32.saturating_pow(strikes - 1));
                Some(doubled.min(PROBE_MAX.max(first)))
            }
            Self::Paused(Resume::Manual) => None,
        }
    }
}

/// Longer than an attempt takes: then the probe has told, or its process is gone.
const PROBE: Duration = Duration::from_secs(60);

/// Somebody who has acted wants to see it within the hour.
const PROBE_MAX: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_were_refused_together_count_once() {
        let first = Hold::struck(None, &strike(10, PROBED), at(20), 0);
        assert_eq!((first.strikes, first.until), (1, Some(at(80))));
        let together = Hold::struck(Some(&first), &strike(19, PROBED), at(21), 0);
        assert_eq!(together, first);
        let probe = Hold::struck(Some(&first), &strike(80, PROBED), at(81), 0);
        assert_eq!((probe.strikes, probe.until), (2, Some(at(201))));
        assert_eq!((probe.since, probe.struck_at), (at(20), at(81)));
    }

    #[test]
    fn one_probe_leaves_when_the_time_is_over() {
        let hold = Hold::struck(None, &strike(10, PROBED), at(20), 0);
        assert_eq!(hold.probed(at(79)), None);
        let probed = hold.probed(at(80)).unwrap();
        assert_eq!(probed.until, Some(at(140)));
        assert_eq!(probed.probed(at(81)), None, "while the first is under way");
        let manual = Hold::struck(None, &strike(10, Term::Paused(Resume::Manual)), at(20), 0);
        assert_eq!(manual.probed(at(1_000_000)), None);
    }

    #[test]
    fn only_an_attempt_that_began_afterwards_lifts_it() {
        let hold = Hold::struck(None, &strike(10, PROBED), at(20), 0);
        for (began, lifts) in [(19, false), (20, true), (80, true)] {
            assert_eq!(hold.is_lifted_by(at(began)), lifts, "{began}");
        }
    }

    #[test]
    fn probes_become_rarer_up_to_an_hour() {
        for (strikes, want) in [(1, 60), (2, 120), (6, 1920), (7, 3600), (90, 3600)] {
            let wait = PROBED.wait(strikes, 0).unwrap();
            assert_eq!(wait.as_secs(), want, "{strikes}");
        }
        let day = Term::Paused(Resume::Probe(Duration::from_secs(86_400)));
        assert_eq!(day.wait(3, 0).unwrap().as_secs(), 86_400);
    }

    fn strike(began: u64, term: Term) -> Strike {
        Strike {
            scope: "number:1".into(),
            code: 131_031,
            began: at(began),
            term,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    const PROBED: Term = Term::Paused(Resume::Probe(Duration::from_secs(60)));
}
