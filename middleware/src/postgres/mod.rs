//! The store for teams that have a database and no Redis: records and keys in PostgreSQL.
//!
//! # Example
//!
//! ```no_run
//! # async fn open() -> Result<(), vestibule::postgres::OpenError> {
//! use vestibule::api_key::Cached;
//! use vestibule::clock::SystemClock;
//! use vestibule::{Pair, memory, postgres};
//!
//! let clock = SystemClock::shared();
//! let records = postgres::Store::open("postgres://door@127.0.0.1/shop").await?;
//! let keyring = Cached::new(records.keyring(), clock.clone());
//! let store = Pair::new(memory::Store::new(clock), records);
//! # Ok(())
//! # }
//! ```
//!
//! A limit is counted many times a second and may be forgotten: it does not lie here, but
//! in memory or in Redis, as the other half of a [`Pair`](crate::Pair). A keyed request
//! then takes two steps before it is executed.
//!
//! Records are rows of `vestibule.records`, keys of `vestibule.keys`; the schema can have
//! another name. The tables are made and changed when the store is opened. A step is one
//! statement under the clock of the database, and is committed when it is answered: a
//! first claim, a replay and a renewal are one round trip each, and so is an end. A claim
//! in the place of a record that is over takes two, of which the second compares what the
//! first has read. No transaction is open between two round trips, so whoever gives up
//! leaves none behind. Only the commands that manage keys have transactions of several.
//!
//! # When it is full
//!
//! A caller has a share of records, which is counted from time to time: each process may
//! go past it by an eighth of what was free. How many there are in all is up to the disk,
//! unless it is [bounded](Store::records), too. Past a bound new claims are refused,
//! replays are answered, and of an execution that ends while the disk is full it is noted
//! that its response was not kept. What is over is swept by the claims that come after.
//!
//! # When it is lost
//!
//! A step that gets no connection in time was not taken, and the error says so. A
//! connection whose step was given up is closed and never used again, so no request can
//! be told another's reply. Where a connection breaks under a step, the step is taken
//! again on another, which is safe because its token is compared; the connections that lay
//! idle meanwhile are tested before they are used. So the store needs no restart after the
//! database has had one.
//!
//! What the database forgets, this store forgets: with `synchronous_commit` off, or after
//! a fail-over to a server that was behind, a key may be executed a second time. Where that
//! must not happen, the upstream de-duplicates.

mod commit;
mod connection;
mod keyring;
mod options;
mod records;
mod room;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;

pub use self::commit::Within;
use self::connection::Connections;
pub use self::keyring::Keyring;
pub use self::options::{OpenError, Options};
use self::records::{Claim, Enter, Finish, Found, Peek, Place, Release, Renew, Sweep, TakeOver};
use self::room::{Bounds, Pass, Room};
use self::statements::Statements;
use crate::error::{StoreError, StoreErrorKind};
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Record, Records};

/// Records in PostgreSQL.
///
/// See the [module docs](self) for an example. Clones share their connections.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    connections: Connections,
    statements: Arc<Statements>,
    room: Arc<Room>,
    /// How far the store's clock is moved, in milliseconds.
    #[cfg(test)]
    offset: Arc<std::sync::atomic::AtomicI64>,
}

// === impl Store ===

impl Store {
    /// Connects to the database at this address with the default [`Options`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] where it cannot be reached, or its tables cannot be made.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        Options::new().open(address).await
    }

    /// The same over a pool that is there already.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where it gives no connection, or the tables cannot be made.
    pub async fn over(pool: PgPool) -> Result<Self, OpenError> {
        Options::new().over(pool).await
    }

    /// How many records one caller may have; 100,000 by default.
    pub fn records_per_caller(self, records: u64) -> Self {
        let bounds = self.room.bounds();
        self.bounded(Bounds {
            share: records,
            ..bounds
        })
    }

    /// How many records there may be in all; without it, as many as the disk has room for.
    ///
    /// They are counted from time to time, which takes the longer the more there are.
    pub fn records(self, records: u64) -> Self {
        let bounds = self.room.bounds();
        self.bounded(Bounds {
            whole: Some(records),
            ..bounds
        })
    }

    /// The key records beside the records, over the same connections.
    pub fn keyring(&self) -> Keyring {
        let connections = self.connections.clone().waiting(KEYRING);
        Keyring::new(connections, Arc::clone(&self.statements))
    }

    /// The connections.
    pub fn pool(&self) -> &PgPool {
        self.connections.pool()
    }

    fn bounded(self, bounds: Bounds) -> Self {
        Self {
            room: Arc::new(Room::new(bounds)),
            ..self
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            statements: &self.statements,
            #[cfg(test)]
            offset: self.offset.load(std::sync::atomic::Ordering::Acquire),
            #[cfg(not(test))]
            offset: 0,
        }
    }

    async fn enter(&self, attempt: &Attempt, pass: Pass) -> Result<Found, StoreError> {
        let step = Claim {
            place: self.place(),
            attempt,
            room: match pass {
                Pass::Granted => Enter::Free,
                Pass::Count => Enter::Counted,
                Pass::Full { .. } => Enter::Never,
            },
            bounds: self.room.bounds(),
        };
        self.connections.run(&step).await
    }

    /// Goes on after a claim that came upon neither room nor a record; an error where
    /// there is no use in asking again.
    async fn make_room(
        &self,
        attempt: &Attempt,
        pass: Pass,
        found: &Found,
    ) -> Result<(), StoreError> {
        let caller = &attempt.owner.caller;
        match pass {
            // Another claim was committed meanwhile: it is seen the next time.
            Pass::Granted => self.room.give_back(caller),
            Pass::Count if self.room.learn(caller, found.own, found.all) => {}
            Pass::Full { .. } if pass.is_over(found.now) => self.room.forget(caller),
            Pass::Full { .. } => return Err(StoreError::full()),
            Pass::Count => {
                let sweep = Sweep {
                    place: self.place(),
                    most: SWEPT_WHEN_FULL,
                };
                if self.connections.run(&sweep).await? == 0 {
                    self.room.learn_full(caller, found.own, found.now);
                    return Err(StoreError::full());
                }
                self.room.forget(caller);
            }
        }
        Ok(())
    }

    /// Judges an attempt against what is held; nothing where that was changed meanwhile.
    async fn judge(
        &self,
        attempt: &Attempt,
        held: &Record,
        found: &Found,
    ) -> Result<Option<Decision>, StoreError> {
        let (decision, claimed) = Record::claim(Some(held), attempt, found.now);
        let Some(claimed) = claimed else {
            return Ok(Some(decision));
        };
        let step = TakeOver {
            place: self.place(),
            owner: &attempt.owner,
            held: held.to_parts(),
            claimed: claimed.to_parts(),
        };
        let taken = self.connections.run(&step).await?;
        Ok(taken.then_some(decision))
    }

    async fn end(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let step = Finish {
            place: self.place(),
            owner,
            outcome,
            retention,
        };
        self.connections.run(&step).await
    }
}

impl Records for Store {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let caller = &attempt.owner.caller;
        for _ in 0..TRIES {
            let pass = self.room.take(caller);
            let found = self.enter(attempt, pass).await?;
            if let Some(lease_ends) = found.made {
                if pass == Pass::Count {
                    self.room.learn(caller, found.own + 1, found.all + 1);
                }
                return Ok(Decision::Execute { lease_ends });
            }
            let Some(held) = &found.held else {
                self.make_room(attempt, pass, &found).await?;
                continue;
            };
            if pass == Pass::Granted {
                self.room.give_back(caller);
            }
            if let Some(decision) = self.judge(attempt, held, &found).await? {
                return Ok(decision);
            }
        }
        Err(StoreError::not_sent().because("the record changed as often as it was read"))
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let bounds = self.room.bounds();
        let step = Peek {
            place: self.place(),
            owner: &attempt.owner,
            bounds,
        };
        let found = self.connections.run(&step).await?;
        let (preview, kept) = Record::preview(found.held.as_ref(), attempt, found.now);
        let is_new = kept.is_some() && found.held.is_none();
        let is_full = found.own >= bounds.share || bounds.whole.is_some_and(|all| found.all >= all);
        if is_new && is_full {
            return Err(StoreError::full());
        }
        Ok(preview)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let place = self.place();
        let step = Renew {
            place,
            owner,
            lease,
        };
        self.connections.run(&step).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        match self.end(owner, outcome, retention).await {
            // The claim must not lapse into *unknown* for want of room.
            Err(error) if error.kind() == StoreErrorKind::Full => {
                self.end(owner, &Outcome::NotStored, retention).await
            }
            answer => answer,
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let place = self.place();
        let released = self.connections.run(&Release { place, owner }).await?;
        if released {
            self.room.give_back(&owner.caller);
        }
        Ok(released)
    }
}

/// How often a record may change between being read and being replaced.
const TRIES: u32 = 16;

/// Some milliseconds, which only a claim that has no room pays.
const SWEPT_WHEN_FULL: i64 = 1024;

/// A look-up has 100 ms in all (contract §7); a command that manages keys waits no longer,
/// and can be given again.
const KEYRING: Duration = Duration::from_millis(80);

#[cfg(test)]
mod tests;
