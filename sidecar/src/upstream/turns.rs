//! The places among the requests under way, and the turn to be worked on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::reload::difference::Difference;
use crate::standing::Standing;

/// How many requests may be under way, and how many of them the service works on.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    room: Room,
    /// None where the service works on all of them.
    queue: Option<Arc<Queue>>,
}

/// A place of a request; given back when its answer has been read.
#[derive(Debug)]
pub(crate) struct Place {
    _room: Taken,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Room for so many; clones with other numbers share what is taken.
#[derive(Clone, Debug)]
struct Room {
    most: usize,
    taken: Arc<AtomicUsize>,
}

/// A place in a room, given back when it is dropped.
#[derive(Debug)]
struct Taken(Arc<AtomicUsize>);

#[derive(Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    most: Duration,
    began: Instant,
    waits: Mutex<Standing>,
}

// === impl Turns ===

impl Turns {
    pub(super) fn new(config: &Config) -> Self {
        let most = config.shedding.wait;
        let queue = config.shedding.at_once.map(|at_once| {
            Arc::new(Queue {
                turns: Arc::new(Semaphore::new(at_once)),
                most,
                began: Instant::now(),
                // Less than the bound that then holds, or a queue as long as that bound
                // would look like one that has gone.
                waits: Mutex::new(Standing::new(most / SHARE / 2)),
            })
        });
        Self {
            room: Room {
                most: config.limits.requests,
                taken: Arc::default(),
            },
            queue,
        }
    }

    /// The same by another configuration: what is under way has its place here too. Where the
    /// queue is another one, the service works on the requests of both until the old ones
    /// have ended.
    pub(super) fn renewed(&self, config: &Config, difference: &Difference) -> Self {
        let mut renewed = Self::new(config);
        renewed.room.taken = Arc::clone(&self.room.taken);
        if !difference.touches(&["shedding.at_once", "shedding.wait"]) {
            renewed.queue.clone_from(&self.queue);
        }
        renewed
    }

    /// How many more may be under way.
    pub(super) fn left(&self) -> usize {
        let taken = self.room.taken.load(Ordering::Acquire);
        self.room.most.saturating_sub(taken)
    }

    /// A place, when it is this request's turn; none where there is no room, or the turn does
    /// not come in time.
    pub(super) async fn take(&self) -> Option<Place> {
        let room = self.room.take()?;
        let turn = match &self.queue {
            None => None,
            Some(queue) => Some(queue.wait().await?),
        };
        Some(Place {
            _room: room,
            _turn: turn,
        })
    }
}

// === impl Room ===

impl Room {
    fn take(&self) -> Option<Taken> {
        let one_more = |taken: usize| (taken < self.most).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.ok().map(|_| Taken(Arc::clone(&self.taken)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Queue ===

impl Queue {
    /// Waits in the order of arrival. While everybody waits, nobody waits for long: who would
    /// is told at once to come again, instead of after its patience has ended.
    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let arrived = Instant::now();
        let turns = Arc::clone(&self.turns);
        let turn = match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => Some(turn),
            Err(_) => {
                let waited = timeout(self.bound(), turns.acquire_owned()).await;
                waited.ok().and_then(Result::ok)
            }
        };
        self.saw(arrived.elapsed());
        turn
    }

    fn bound(&self) -> Duration {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.stands() {
            self.most / SHARE
        } else {
            self.most
        }
    }

    fn saw(&self, wait: Duration) {
        let now = self.began.elapsed();
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.saw(wait, now);
    }
}

/// Of the longest wait, while everybody waits.
const SHARE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_queue_there_is_room_or_there_is_none() {
        let turns = turns("[limits]\nrequests = 2");
        let (one, two) = (turns.take().await, turns.take().await);
        assert!(one.is_some() && two.is_some());
        assert!(turns.take().await.is_none());
        drop(one);
        assert!(turns.take().await.is_some());
    }

    #[tokio::test]
    async fn what_is_under_way_has_its_place_by_another_configuration_too() {
        let [one, two] = [1, 2].map(|most| config(&format!("[limits]\nrequests = {most}")));
        let old = Turns::new(&one);
        let held = old.take().await;
        let raised = old.renewed(&two, &Difference::between(&one, &two));
        let second = raised.take().await;
        assert!(held.is_some() && second.is_some() && raised.take().await.is_none());
        let lowered = raised.renewed(&one, &Difference::between(&two, &one));
        drop(held);
        assert!(lowered.take().await.is_none() && lowered.left() == 0);
        drop(second);
        assert!(lowered.take().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_in_the_order_of_arrival_and_not_for_ever() {
        let turns = turns("[shedding]\nat_once = 1\nwait = '1s'");
        let first = turns.take().await.unwrap();
        let next = tokio::spawn(taken(turns.clone()));
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
        let (waited, place) = next.await.unwrap();
        assert_eq!((waited.as_millis(), place.is_some()), (500, true));
        let (waited, late) = taken(turns).await;
        assert_eq!((waited.as_secs(), late.is_none()), (1, true));
        drop(place);
    }

    #[tokio::test(start_paused = true)]
    async fn while_everybody_waits_nobody_waits_for_long() {
        let turns = turns("[shedding]\nat_once = 1\nwait = '1s'");
        let held = turns.take().await.unwrap();
        for (attempt, want) in [1000, 1000, 100, 100].into_iter().enumerate() {
            let (waited, place) = taken(turns.clone()).await;
            assert!(place.is_none());
            assert_eq!(waited.as_millis(), want, "attempt {attempt}");
        }
        drop(held);
        for _ in 0..100 {
            drop(turns.take().await.unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _held = turns.take().await.unwrap();
        assert_eq!(
            taken(turns.clone()).await.0.as_millis(),
            1000,
            "it has gone"
        );
    }

    async fn taken(turns: Turns) -> (Duration, Option<Place>) {
        let began = Instant::now();
        let place = turns.take().await;
        (began.elapsed(), place)
    }

    fn turns(more: &str) -> Turns {
        Turns::new(&config(more))
    }

    fn config(more: &str) -> Config {
        let text = format!(
            "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n{more}\n[[route]]\nmatch = 'GET /'"
        );
        Config::parse("test.toml", &text).unwrap()
    }
}
