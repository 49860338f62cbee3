//! The way of an event to its webhooks: who is told, together with what, and when.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use vestibule::clock::Timestamp;

use super::batch::Batch;
use super::{Delivery, Event, Job, Matter, Update, payload};
use crate::fault::{Effect, Stage};
use crate::id::Purpose;
use crate::outbox::MAX_WAITING;
use crate::state::State;

/// What is between an event and the post of its webhook, beside what has a time of its own.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// What gathers for each app.
    batches: HashMap<String, Batch>,
    /// What may not go yet, oldest first.
    parked: VecDeque<Delivery>,
    /// When they are looked at again, so far.
    release_at: Option<Timestamp>,
    /// They may go sooner than that: a fault was taken back.
    is_stale: bool,
    /// Nothing may go until somebody says so.
    pub(crate) is_held: bool,
    emitted: u64,
}

/// When and how often an event is told.
#[derive(Debug, PartialEq, Eq)]
struct Spread {
    after: Duration,
    copies: u32,
    spacing: Duration,
}

// === impl Queue ===

impl Queue {
    /// How many webhooks are parked.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// What is parked is looked at again: the reason may be gone.
    pub(crate) const fn reconsider(&mut self) {
        self.is_stale = true;
    }
}

// === impl State ===

impl State {
    /// The next webhook to post, after telling apps of all that has happened by now.
    pub(crate) fn next_post(&mut self, now: Timestamp) -> Option<Delivery> {
        if std::mem::take(&mut self.queue.is_stale) {
            self.release(now);
        }
        loop {
            match self.outbox.pop(now)? {
                Job::Emit(event) => self.emit(&event, now),
                Job::Tell(app, update) => self.tell(app, update, now),
                Job::Close(app, number) => self.close(&app, number, now),
                Job::Release => self.release(now),
                Job::Post(delivery) => match self.parks(&delivery, now) {
                    None => return Some(delivery),
                    Some(until) => self.park(delivery, until),
                },
            }
        }
    }

    /// Posts whatever waits, now; returns how many webhooks and updates that are.
    pub(crate) fn flush(&mut self, now: Timestamp) -> usize {
        self.queue.is_held = false;
        let parked = self.queue.parked.len();
        self.release(now);
        let gathering: Vec<(String, u64)> = self
            .queue
            .batches
            .iter()
            .map(|(app, batch)| (app.clone(), batch.number))
            .collect();
        for (app, number) in gathering {
            self.close(&app, number, now);
        }
        let is_webhook = |job: &Job| matches!(job, Job::Post(_) | Job::Tell(..));
        let hastened = self.outbox.hasten(now, is_webhook);
        hastened.max(parked)
    }

    /// Draws another order for what is parked.
    pub(crate) fn shuffle_parked(&mut self) {
        self.queue.emitted += 1;
        let number = self.queue.emitted;
        let mut random = self.seed.generator(Purpose::Webhook, number);
        self.queue.parked.make_contiguous().shuffle(&mut random);
    }

    /// Posts what was taken once more; returns how many webhooks that are.
    pub(crate) fn replay(&mut self, last: Option<usize>, now: Timestamp) -> usize {
        let taken = self.log.taken(last);
        let count = taken.len();
        for delivery in taken {
            let again = Delivery {
                failures: 0,
                since: now,
                ..delivery
            };
            self.outbox.push(now, Job::Post(again));
        }
        count
    }

    fn emit(&mut self, event: &Event, now: Timestamp) {
        self.page.heard(event);
        let about = event.about();
        let effects = self.faults.take_all(Stage::Emission, &about.subject());
        self.queue.emitted += 1;
        let mut random = self.seed.generator(Purpose::Webhook, self.queue.emitted);
        let Some(spread) = spread(&effects, &mut random) else {
            return;
        };
        if let Matter::Status(status) = &event.matter {
            let word = status.word.as_str();
            self.ledger.note(&status.wamid, word, status.error);
        }
        let shape = self.faults.take_all(Stage::Shape, &about.subject());
        let field = event.field();
        let listeners = self.world.listeners(&event.number.waba, field);
        let told: Vec<(String, Update)> = listeners
            .map(|app| {
                let mut value = payload::value(event, app.hears_conversations());
                payload::distort(&mut value, &shape);
                let update = Update {
                    about: about.clone(),
                    waba: event.number.waba.clone(),
                    field,
                    value,
                };
                (app.id.clone(), update)
            })
            .collect();
        for (app, update) in told {
            for copy in 0..=spread.copies {
                let after = spread.after + spread.spacing * copy;
                if after.is_zero() {
                    self.tell(app.clone(), update.clone(), now);
                } else {
                    let tell = Job::Tell(app.clone(), update.clone());
                    self.outbox.push(now + after, tell);
                }
            }
        }
    }

    fn tell(&mut self, app: String, update: Update, now: Timestamp) {
        let most = self.world.settings.batch;
        let batch = self.queue.batches.entry(app.clone()).or_default();
        if let Some(full) = batch.push(update, most) {
            let is_left = !batch.is_empty();
            self.dispatch(app.clone(), full, now);
            if !is_left {
                return;
            }
        }
        let batch = self.queue.batches.entry(app.clone()).or_default();
        if batch.is_fresh() {
            let closes = now + Duration::from_millis(self.world.settings.batch_ms);
            let number = batch.number;
            self.outbox.push(closes, Job::Close(app, number));
        }
    }

    fn close(&mut self, app: &str, number: u64, now: Timestamp) {
        let Some(batch) = self.queue.batches.get_mut(app) else {
            return;
        };
        if batch.number == number && !batch.is_empty() {
            let updates = batch.close();
            self.dispatch(app.to_owned(), updates, now);
        }
    }

    fn dispatch(&mut self, app: String, updates: Vec<Update>, now: Timestamp) {
        let delivery = Delivery::of(app, updates, now, self.seed.epoch());
        self.outbox.push(now, Job::Post(delivery));
    }

    /// Whether a webhook may not go yet, and until when that is known to be so.
    fn parks(&self, delivery: &Delivery, now: Timestamp) -> Option<Option<Timestamp>> {
        if self.queue.is_held {
            return Some(None);
        }
        if self.faults.is_empty() {
            return None;
        }
        let is_outage = |effect: &Effect| matches!(effect, Effect::Outage { .. });
        let abouts = &mut delivery.about.iter();
        abouts.find_map(|about| self.faults.standing_until(&about.pnid, now, is_outage))
    }

    fn park(&mut self, delivery: Delivery, until: Option<Timestamp>) {
        if self.queue.parked.len() >= MAX_WAITING {
            self.outbox.note_dropped();
            return;
        }
        self.queue.parked.push_back(delivery);
        // One look for all that wait for the same moment.
        if let Some(until) = until.filter(|_| self.queue.release_at != until) {
            self.queue.release_at = Some(until);
            self.outbox.push(until, Job::Release);
        }
    }

    /// Lets go what was parked and may go by now.
    fn release(&mut self, now: Timestamp) {
        for delivery in std::mem::take(&mut self.queue.parked) {
            if self.parks(&delivery, now).is_some() {
                self.queue.parked.push_back(delivery);
            } else {
                self.outbox.push(now, Job::Post(delivery));
            }
        }
    }
}

/// When an event is told; nothing where it never is.
fn spread(effects: &[Effect], random: &mut StdRng) -> Option<Spread> {
    let mut spread = Spread {
        after: Duration::ZERO,
        copies: 0,
        spacing: Duration::ZERO,
    };
    for effect in effects {
        match effect {
            Effect::Drop => return None,
            Effect::Delay { ms } => spread.after += ms.draw(random),
            Effect::Reorder {
                window_ms: Some(window),
            } => spread.after += Duration::from_millis(random.random_range(0..=*window)),
            Effect::Duplicate { copies, spacing_ms } => {
                spread.copies = *copies;
                spread.spacing = Duration::from_millis(*spacing_ms);
            }
            _ => {}
        }
    }
    Some(spread)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::Seed;
    use crate::world::World;

    #[test]
    fn effects_say_when_and_how_often_an_event_is_told() {
        for (effects, want) in [
            (json!([]), Some((0, 0, 0))),
            (json!([{"fault": "drop"}]), None),
            (json!([{"fault": "delay", "ms": 70}]), Some((70, 0, 0))),
            (
                json!([{"fault": "delay", "ms": 70}, {"fault": "duplicate", "copies": 2, "spacing_ms": 9}]),
                Some((70, 2, 9)),
            ),
            (
                json!([{"fault": "reorder", "window_ms": 0}]),
                Some((0, 0, 0)),
            ),
        ] {
            let effects: Vec<Effect> = serde_json::from_value(effects).unwrap();
            let want = want.map(|(after, copies, spacing)| Spread {
                after: Duration::from_millis(after),
                copies,
                spacing: Duration::from_millis(spacing),
            });
            assert_eq!(spread(&effects, &mut random(1)), want, "{effects:?}");
        }
    }

    #[test]
    fn a_window_mixes_and_stays_in_its_bounds() {
        let effects = [Effect::Reorder {
            window_ms: Some(1000),
        }];
        let moments: Vec<u128> = (0..50)
            .map(|number| {
                spread(&effects, &mut random(number))
                    .unwrap()
                    .after
                    .as_millis()
            })
            .collect();
        assert!(moments.iter().all(|moment| *moment <= 1000), "{moments:?}");
        assert!(!moments.is_sorted(), "{moments:?}");
    }

    #[test]
    fn what_is_parked_leaves_in_its_order_or_in_a_drawn_one() {
        let order = |shuffled: bool| {
            let mut state = State::new(World::default(), Seed::new(1));
            state.queue.is_held = true;
            for number in 0..20 {
                let delivery = Delivery::of(number.to_string(), Vec::new(), NOW, 0);
                state.outbox.push(NOW, Job::Post(delivery));
            }
            assert!(state.next_post(NOW).is_none());
            assert_eq!(state.queue.parked(), 20);
            if shuffled {
                state.shuffle_parked();
            }
            assert_eq!(state.flush(NOW), 20);
            let posts = std::iter::from_fn(|| state.next_post(NOW));
            posts.map(|post| post.app).collect::<Vec<_>>()
        };
        let (kept, mut shuffled) = (order(false), order(true));
        let numbers: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
        assert_eq!(kept, numbers);
        assert_ne!(shuffled, numbers);
        shuffled.sort_by_key(|number| number.parse::<u32>().unwrap());
        assert_eq!(shuffled, numbers);
    }

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn random(number: u64) -> StdRng {
        Seed::new(1).generator(Purpose::Webhook, number)
    }
}
