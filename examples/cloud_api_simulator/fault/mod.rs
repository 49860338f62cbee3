//! Faults to order: what goes wrong, for whom, and how often.

mod effect;
mod order;

use std::collections::VecDeque;
use std::mem::discriminant;

use rand::RngExt;
use serde::Serialize;
use vestibule::clock::Timestamp;

use crate::id::{Purpose, Seed};

pub(crate) use self::effect::{Effect, Stage};

/// The faults that are ordered and not yet used up, oldest first.
#[derive(Debug)]
pub(crate) struct Faults {
    queue: VecDeque<Fault>,
    ordered: u64,
    seed: Seed,
    /// How often each fault has struck.
    struck: u64,
}

/// One order: an effect for the requests or webhooks that match.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    #[serde(flatten)]
    effect: Effect,
    /// How often it still happens; nothing means for ever.
    times: Option<u32>,
    /// Only for this number.
    pnid: Option<String>,
    /// Only for this user: digits of the phone number, or the user id.
    to: Option<String>,
    /// Only for messages of this type, or statuses of this word.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// From which match on.
    nth: u64,
    /// How likely it strikes a match.
    probability: Option<f64>,
    /// What its luck is drawn from; the run's own seed where it is absent.
    #[serde(skip)]
    seed: Option<u64>,
    #[serde(skip)]
    number: u64,
    #[serde(skip)]
    seen: u64,
    /// From here a standing fault counts its time.
    #[serde(skip)]
    ordered_at: Timestamp,
}

/// What a fault is held against: as much as is known at its stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) pnid: &'a str,
    /// The phone number and the user id.
    pub(crate) user: [&'a str; 2],
    /// The type of a message, or the word of a status.
    pub(crate) kind: &'a str,
}

// === impl Faults ===

impl Faults {
    /// Nothing is ordered.
    pub(crate) const fn new(seed: Seed) -> Self {
        Self {
            queue: VecDeque::new(),
            ordered: 0,
            seed,
            struck: 0,
        }
    }

    /// Orders a fault.
    ///
    /// # Errors
    ///
    /// The queue is full.
    pub(crate) fn order(&mut self, mut fault: Fault) -> Result<(), String> {
        if self.queue.len() >= MAX_FAULTS {
            return Err(format!("{MAX_FAULTS} faults are waiting already"));
        }
        self.ordered += 1;
        fault.number = self.ordered;
        self.queue.push_back(fault);
        Ok(())
    }

    /// The next effect at this stage for this subject, if one is ordered; it is then one fewer.
    pub(crate) fn take(&mut self, stage: Stage, subject: &Subject<'_>) -> Option<Effect> {
        let seed = self.seed;
        let strikes = |fault: &mut Fault| fault.is_for(stage, subject) && fault.is_lucky(seed);
        let index = self.queue.iter_mut().position(strikes)?;
        Some(self.use_up(index))
    }

    /// One effect of each sort at this stage for this subject; each is then one fewer.
    pub(crate) fn take_all(&mut self, stage: Stage, subject: &Subject<'_>) -> Vec<Effect> {
        let mut taken: Vec<Effect> = Vec::new();
        let mut index = 0;
        while let Some(fault) = self.queue.get_mut(index) {
            let sort = discriminant(&fault.effect);
            let is_new = taken.iter().all(|effect| discriminant(effect) != sort);
            let before = self.queue.len();
            if is_new && self.strikes_at(index, stage, subject) {
                taken.push(self.use_up(index));
            }
            index += usize::from(self.queue.len() == before);
        }
        taken
    }

    /// The first standing effect for this number that the predicate wants.
    pub(crate) fn standing(
        &self,
        pnid: &str,
        now: Timestamp,
        is_wanted: impl Fn(&Effect) -> bool,
    ) -> Option<&Effect> {
        let mut standing = self.queue.iter().filter(|fault| {
            fault.effect.stage() == Stage::Standing && fault.is_number(pnid) && fault.holds(now)
        });
        standing
            .find(|fault| is_wanted(&fault.effect))
            .map(|fault| &fault.effect)
    }

    /// Until when a standing effect holds that the predicate wants; the inner nothing
    /// means until it is taken back.
    pub(crate) fn standing_until(
        &self,
        pnid: &str,
        now: Timestamp,
        is_wanted: impl Fn(&Effect) -> bool,
    ) -> Option<Option<Timestamp>> {
        let wanted = self
            .queue
            .iter()
            .filter(|fault| is_wanted(&fault.effect) && fault.is_number(pnid) && fault.holds(now));
        let ends = wanted.map(Fault::ends_at);
        // The last one to end decides, and one without an end ends after all others.
        ends.max_by_key(|end| end.map_or(Timestamp::from_unix_millis(u64::MAX), |end| end))
    }

    /// The scheduled effects whose time has come, each with the number it is for.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<(Effect, Option<String>)> {
        let mut due = Vec::new();
        let is_due = |fault: &Fault| fault.due_at().is_some_and(|due_at| due_at <= now);
        while let Some(index) = self.queue.iter().position(is_due) {
            let pnid = self.queue[index].pnid.clone();
            due.push((self.use_up(index), pnid));
        }
        due
    }

    /// Whether nothing is ordered, as in most runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How often any fault has struck.
    pub(crate) const fn struck(&self) -> u64 {
        self.struck
    }

    /// What is still to happen.
    pub(crate) fn waiting(&mut self, now: Timestamp) -> Vec<Fault> {
        let is_over = |fault: &Fault| fault.ends_at().is_some_and(|end| end <= now);
        self.queue.retain(|fault| !is_over(fault));
        self.queue.iter().cloned().collect()
    }

    /// Takes all orders back.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    fn strikes_at(&mut self, index: usize, stage: Stage, subject: &Subject<'_>) -> bool {
        let (seed, fault) = (self.seed, &mut self.queue[index]);
        fault.is_for(stage, subject) && fault.is_lucky(seed)
    }

    fn use_up(&mut self, index: usize) -> Effect {
        self.struck += 1;
        let fault = &mut self.queue[index];
        let effect = fault.effect.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.queue.remove(index);
            }
        }
        effect
    }
}

// === impl Fault ===

impl Fault {
    fn is_for(&self, stage: Stage, subject: &Subject<'_>) -> bool {
        let is_user = self
            .to
            .as_deref()
            .is_none_or(|wanted| subject.user.contains(&wanted));
        let is_kind = self
            .kind
            .as_deref()
            .is_none_or(|wanted| wanted == subject.kind);
        self.effect.stage() == stage
            && self.effect.suits(subject.kind)
            && self.is_number(subject.pnid)
            && is_user
            && is_kind
    }

    fn is_number(&self, pnid: &str) -> bool {
        self.pnid.as_deref().is_none_or(|wanted| wanted == pnid)
    }

    /// Whether it strikes this match; the luck of each match is a function of the seed.
    fn is_lucky(&mut self, run: Seed) -> bool {
        self.seen += 1;
        if self.seen < self.nth {
            return false;
        }
        let seed = self.seed.map_or(run, Seed::new);
        let luck = self.number << 32 | self.seen;
        self.probability.is_none_or(|probability| {
            seed.generator(Purpose::Fault, luck)
                .random_bool(probability)
        })
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.ends_at().is_none_or(|end| now < end)
    }

    fn ends_at(&self) -> Option<Timestamp> {
        let millis = self.effect.holds_for()?;
        Some(self.ordered_at + std::time::Duration::from_millis(millis))
    }

    fn due_at(&self) -> Option<Timestamp> {
        let is_scheduled = self.effect.stage() == Stage::Scheduled;
        let (at, after) = self.effect.due();
        let after = self.ordered_at + std::time::Duration::from_millis(after);
        is_scheduled.then(|| at.map_or(after, Timestamp::from_unix_millis))
    }
}

/// Each request looks through all of them.
const MAX_FAULTS: usize = 1000;

#[cfg(test)]
mod tests;
