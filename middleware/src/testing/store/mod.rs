//! The cases that every store must pass, as one macro.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use vestibule::clock::{Clock, Timestamp};
//! use vestibule::memory;
//! use vestibule::testing::{ManualClock, Subject};
//!
//! struct Memory(ManualClock, memory::Store);
//!
//! impl Memory {
//!     fn new() -> Self {
//!         let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
//!         let store = memory::Store::new(clock.shared());
//!         Self(clock, store)
//!     }
//! }
//!
//! impl Subject for Memory {
//!     type Store = memory::Store;
//!     fn store(&self) -> memory::Store { self.1.clone() }
//!     async fn small(&self) -> memory::Store { memory::Store::new(self.0.shared()).records(12) }
//!     async fn now(&self) -> Timestamp { self.0.now() }
//!     async fn advance(&self, by: Duration) { self.0.advance(by) }
//!     async fn jump_ahead(&self, by: Duration) { self.0.jump_ahead(by) }
//!     async fn jump_back(&self, by: Duration) { self.0.jump_back(by) }
//! }
//!
//! vestibule::store_conformance!(memory_store, || Memory::new());
//! # fn main() {}
//! ```
//!
//! The macro makes a module with one `#[tokio::test]` for each case, so a failure names
//! the rule that is broken. The subject's expression is evaluated once for each case,
//! inside an `async fn`: it may `.await`. No case is optional: a store that cannot run
//! one cannot be mounted.

#[doc(hidden)]
pub mod admission;
#[doc(hidden)]
pub mod capacity;
#[doc(hidden)]
pub mod counters;
#[doc(hidden)]
pub mod looks;
#[doc(hidden)]
pub mod lost_replies;
#[doc(hidden)]
pub mod records;
mod scene;

use std::future::Future;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::stack::Admission;

/// How the cases get at a store under test, and at its clock.
///
/// A subject starts empty, and shares nothing with the subject of another case: cases
/// run at the same time.
pub trait Subject: Send + Sync {
    /// The store.
    type Store: Admission;

    /// How far the store's clock may run by itself while a case lasts; zero where it
    /// stands still until it is moved. Times are compared no closer than this, which
    /// must stay under half a second.
    const DRIFT: Duration = Duration::ZERO;

    /// The store. Clones and repeated calls give the same one.
    fn store(&self) -> Self::Store;

    /// A fresh store under the same clock that is full after at least 8 and at most
    /// 1,000 records of different callers, and sooner where they all are one caller's.
    fn small(&self) -> impl Future<Output = Self::Store> + Send;

    /// What the store's clock shows.
    fn now(&self) -> impl Future<Output = Timestamp> + Send;

    /// Lets time pass at the store.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// Sets the store's clock forward, as a step of its time service or another master would.
    fn jump_ahead(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// Sets the store's clock back.
    fn jump_back(&self, by: Duration) -> impl Future<Output = ()> + Send;
}

/// Makes a module of tests that hold a store to what the layers rely on.
///
/// See the [module docs](crate::testing::store) for an example.
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, || $subject:expr) => {
        mod $module {
            use super::*;

            $crate::store_conformance! { @cases $subject;
                counters {
                    a_window_starts_at_the_first_request_and_ends_by_itself
                    a_refused_call_never_moves_the_window
                    a_limit_changed_in_mid_window_holds_at_once_against_the_same_count
                    a_limit_of_nothing_lets_nothing_pass
                    a_burst_is_spent_at_once_and_repaid_at_the_rate
                    two_callers_are_counted_apart
                    of_many_concurrent_calls_exactly_the_limit_passes
                    of_many_concurrent_calls_exactly_the_burst_passes
                    a_clock_that_jumps_ahead_ends_the_window
                    a_window_from_a_clock_that_was_ahead_counts_as_expired
                    a_burst_from_a_clock_that_was_ahead_counts_as_expired
                    a_small_step_back_of_the_clock_ends_no_window
                }
                records {
                    only_the_first_claim_is_executed
                    a_claim_repeated_with_its_token_holds_as_it_was_made
                    of_many_concurrent_claims_one_is_executed
                    of_many_concurrent_take_overs_one_is_executed
                    a_renewed_lease_holds_longer
                    a_lapsed_lease_is_unknown_where_the_upstream_executes
                    a_lapsed_lease_is_taken_over_where_the_upstream_deduplicates
                    an_unknown_outcome_is_asked_again_where_the_upstream_deduplicates
                    a_stale_owner_changes_nothing
                    an_owner_of_nothing_changes_nothing
                    another_request_under_the_key_is_refused_in_every_state
                    a_repeated_finish_changes_nothing
                    a_late_finish_of_an_owner_that_was_not_taken_over_counts
                    a_released_key_is_free_and_an_ended_one_is_not_released
                    every_outcome_is_answered_until_its_retention_is_over
                    an_abandoned_claim_is_forgotten_once_its_retention_is_over
                    a_kept_response_is_the_first_one_byte_for_byte
                    one_key_of_two_callers_is_two_keys
                    a_key_is_kept_byte_for_byte_whatever_it_is_made_of
                    a_clock_that_jumps_ahead_lapses_leases_and_keeps_responses
                    a_lease_from_a_clock_that_was_ahead_has_lapsed
                    a_small_step_back_of_the_clock_lapses_nothing
                }
                lost_replies {
                    a_charge_is_counted_once
                    a_claim_is_recognised_when_it_is_repeated
                    a_claim_is_taken_back
                    a_renewal_is_repeated
                    a_finish_is_repeated_and_the_first_one_stays
                    a_release_is_repeated_and_touches_no_later_claim
                }
                capacity {
                    a_full_store_refuses_new_claims_and_drops_nothing_live
                    a_full_store_takes_over_what_it_holds
                    a_finish_in_a_full_store_is_answered
                    one_caller_takes_no_more_than_its_share
                    a_release_makes_room
                    what_is_over_makes_room
                }
                looks {
                    a_charge_is_foretold_and_nothing_is_counted
                    a_claim_is_foretold_and_nothing_is_changed
                    a_full_store_is_told_to_be_full
                }
                admission {
                    admitting_is_charging_and_then_claiming
                    what_is_over_the_limit_claims_nothing
                    of_many_concurrent_admissions_the_limit_passes_and_one_is_executed
                }
            }
        }
    };
    (@cases $subject:expr; $($room:ident { $($case:ident)+ })+) => {
        $($(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testing::store::$room::$case(&$subject).await;
            }
        )+)+
    };
}
