//! The protocol of claim, renew, take-over, finish, release and insert, explored exhaustively.
//!
//! # Example
//!
//! `Protocol::new(Upstream::Deduplicates)` is the protocol in front of our own service.
//! Every order of its steps is tried, half a million states of it, and each state held against
//! [`properties`]. The same is done with one rule broken, to see that it would be noticed.
//!
//! # What stands for what
//!
//! One Idempotency-Key, one request, made up to three times. Each attempt is served by a
//! process of its own, which is the most that can differ, and carries its own token.
//!
//! | action | contract §6, design D2 and D4 |
//! |---|---|
//! | `Begin` | a keyed request arrives and its claim is sent to the store |
//! | `Claim` `Renew` `Finish` `Release` | the step of that name is applied at the store ([`record`]); `Claim` of a lapsed claim is the take-over, or the judgement *unknown* |
//! | `HearTheStore` | the reply to the claim: go on, 409, or a replay |
//! | `Send` | the request leaves, with the end of the lease in its assertion |
//! | `FindNobody` | nothing was sent: released |
//! | `HearTheUpstream` | a reply is judged by the table "what is kept"; `fits` is false where the response cannot be kept |
//! | `GiveUp` | waiting for the store: 503 and a release in the background; for the upstream: a cut or a timeout |
//! | `Execute` `Refuse` | an upstream that `executes`: an effect (2xx, 5xx), or a 4xx without one |
//! | `Insert` `Commit` `RollBack` `RollBackRefused` | one that `deduplicates`: its transaction takes the row and judges the lease, then ends in one of three ways |
//! | `Tick` | every lease comes nearer to its end |
//!
//! # Failure
//!
//! - **Crash**: `Crash` ends a process at any point, `RollBack` the upstream's.
//! - **Pause**: nobody has to take the next step before time passes, so that every process
//!   may stand still for any time between any two steps, asking and acting included.
//! - **Lost write, late message**: what was sent stays on its way for good. It is applied
//!   late, never, or, at the store, again; a reply is heard late or never.
//! - `Resend` and `LoseTheRecord` happen only in the variants that ask for them.
//!
//! # Rules that came out of it
//!
//! - The insert takes the row of its key before it looks at the lease, and before the
//!   handler may refuse: a refusal beside an open transaction would be no verdict.
//! - A row that is found is answered with its response, whatever the lease.
//! - A request that was cut leaves its claim to lapse until the lease that it carried has
//!   ended; only then is the claim released.
//! - Nothing that may have been delivered is sent again, not even to an upstream that
//!   de-duplicates. The caller's repeat does that.
//! - A front goes by a renewal only while the lease it knows of still runs.
//! - The end of the lease in the assertion is earlier than at the store, by as much as the
//!   upstream's clock may be behind.
//! - A lapsed claim may still be finished by its own token, and then it is replayed.
//!
//! # What is left out
//!
//! Other requests under the same key: the fingerprint refuses them before any of this.
//! The end of the retention: no process stands still and no message travels for a day.

mod actions;
mod front;
mod properties;
mod protocol;
mod record;
mod state;
mod upstream;

use stateright::{Checker, HasDiscoveries, Model};

use actions::Action;
use properties::{FIRST_RESPONSE, NO_MEANS_NO, ONE_EFFECT, STAYS_KEPT, UNKNOWN_IS_FINAL};
use protocol::{AfterACut, Flaw, Protocol, Upstream};

#[test]
fn holds_in_front_of_an_upstream_that_executes() {
    explore(Protocol::new(Upstream::Executes)).assert_properties();
}

#[test]
fn holds_in_front_of_an_upstream_that_deduplicates() {
    explore(Protocol::new(Upstream::Deduplicates)).assert_properties();
}

#[test]
fn every_broken_rule_is_noticed() {
    use Upstream::{Deduplicates, Executes};
    for (upstream, flaw, broken) in [
        (Executes, Flaw::TakesOverTheUnknown, ONE_EFFECT),
        (Executes, Flaw::TakesOverTheUnknown, UNKNOWN_IS_FINAL),
        (Executes, Flaw::ReleasesTheUnknown, ONE_EFFECT),
        (Executes, Flaw::ReleasesForAnyone, ONE_EFFECT),
        (Deduplicates, Flaw::ReleasesForAnyone, STAYS_KEPT),
        (Deduplicates, Flaw::FinishesForAnyone, STAYS_KEPT),
        (Deduplicates, Flaw::HearsARenewalTooLate, NO_MEANS_NO),
        (Deduplicates, Flaw::InsertsTwice, ONE_EFFECT),
        (Deduplicates, Flaw::InsertsTwice, FIRST_RESPONSE),
        (Deduplicates, Flaw::InsertsPastTheLease, NO_MEANS_NO),
        (Deduplicates, Flaw::UpstreamClockIsBehind, NO_MEANS_NO),
        (Deduplicates, Flaw::RefusesWithoutTheRow, NO_MEANS_NO),
    ] {
        let found = breaks(Protocol::new(upstream).with(flaw), broken);
        assert!(found, "{upstream:?}, {flaw:?}: not noticed by {broken:?}");
    }
}

/// Why a cut request is not released at once: a repeat could be told "nothing was
/// queued" by an upstream that then admits the first.
#[test]
fn a_release_at_once_after_a_cut_may_break_a_no() {
    let protocol = Protocol {
        after_a_cut: AfterACut::Released,
        attempts: 2,
        ..Protocol::new(Upstream::Deduplicates)
    };
    let first_is_cut = [
        Action::Begin(0),
        Action::Claim(0),
        Action::HearTheStore(0),
        Action::Send(0),
        Action::GiveUp(0),
        Action::Release(0),
    ];
    let repeat_is_refused = [
        Action::Begin(1),
        Action::Claim(1),
        Action::HearTheStore(1),
        Action::Send(1),
        Action::Insert(1),
        Action::RollBackRefused(1),
        Action::HearTheUpstream {
            token: 1,
            fits: true,
        },
    ];
    let first_arrives = [Action::Insert(0), Action::Commit(0)];
    let path = [&first_is_cut[..], &repeat_is_refused, &first_arrives].concat();
    let checked = explore(protocol);
    checked.assert_discovery(NO_MEANS_NO, path);
    checked.assert_no_discovery(ONE_EFFECT);
}

/// Why a request that may have been delivered is not sent again on another connection.
#[test]
fn a_second_copy_may_break_a_no() {
    let protocol = Protocol {
        resends: true,
        attempts: 2,
        ..Protocol::new(Upstream::Deduplicates)
    };
    let path = vec![
        Action::Begin(0),
        Action::Claim(0),
        Action::HearTheStore(0),
        Action::Send(0),
        Action::Resend(0),
        Action::Insert(0),
        Action::RollBackRefused(0),
        Action::HearTheUpstream {
            token: 0,
            fits: true,
        },
        Action::Insert(0),
        Action::Commit(0),
    ];
    let checked = explore(protocol);
    checked.assert_discovery(NO_MEANS_NO, path);
    checked.assert_no_discovery(ONE_EFFECT);
}

/// A replicated store may lose an acknowledged claim; the unique constraint is the last word.
#[test]
fn only_a_deduplicating_upstream_outlives_a_store_that_loses_records() {
    let lossy = |upstream| Protocol {
        store_loses: true,
        attempts: 2,
        ..Protocol::new(upstream)
    };
    let checked = explore(lossy(Upstream::Deduplicates));
    checked.assert_no_discovery(ONE_EFFECT);
    checked.assert_no_discovery(FIRST_RESPONSE);
    assert!(breaks(lossy(Upstream::Executes), ONE_EFFECT));
}

fn explore(protocol: Protocol) -> impl Checker<Protocol> {
    protocol.checker().spawn_bfs().join()
}

fn breaks(protocol: Protocol, property: &'static str) -> bool {
    let found = HasDiscoveries::AllOf([property].into());
    let checked = protocol.checker().finish_when(found).spawn_bfs().join();
    checked.discovery(property).is_some()
}
