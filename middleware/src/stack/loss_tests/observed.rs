//! What is told of a store that is lost: of each step, and of each request.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::telemetry::{
    KeyedDecision, LimitDecision, Observer, StoreObserver, StoreOutcome, StoreStep,
};

/// The steps that ended, in their order.
#[derive(Debug, Default)]
struct Steps(Mutex<Vec<(StoreStep, StoreOutcome, Duration)>>);

#[tokio::test(start_paused = true)]
async fn every_step_at_a_store_is_told_with_its_outcome_and_its_time() {
    let steps = Arc::new(Steps::default());
    let observer = Arc::clone(&steps);
    let world = World::new(|api| api.observe_store(observer));
    world.send(world.plain()).await;
    world.send(world.keyed(EXECUTES, "k", 4_000)).await;
    let answered = |step| (step, StoreOutcome::Answered, ms(0));
    let hit = answered(StoreStep::Hit);
    let keyed = [StoreStep::Claim, StoreStep::Renew, StoreStep::Finish].map(answered);
    assert_eq!(steps.take(), [&[hit, hit][..], &keyed].concat());
    world.store.breaks(Fault::Hangs);
    for (outcome, took) in [(StoreOutcome::Failed, 50), (StoreOutcome::CutOff, 0)] {
        let end = (StoreStep::Hit, outcome, ms(took));
        for _ in 0..5 {
            world.send(world.plain()).await;
        }
        assert_eq!(steps.take(), [end; 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_this_process_counts_alone_is_told_to_be_degraded() {
    let world = World::new(|api| api.per_minute(2));
    let limit = async || told(&world, world.plain()).await.0;
    assert_eq!(limit().await, Some(LimitDecision::Allowed));
    world.store.breaks(Fault::Refuses);
    assert_eq!(limit().await, Some(LimitDecision::AllowedDegraded));
    assert_eq!(limit().await, Some(LimitDecision::LimitedDegraded));
    let world = World::new(|api| api.when_limits_lost(crate::rate_limit::WhenLost::Refuse));
    world.store.breaks(Fault::Refuses);
    let unkeyed = told(&world, world.plain()).await;
    assert_eq!(unkeyed, (Some(LimitDecision::Unavailable), None));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_is_told() {
    for one_step in [false, true] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(Fault::Refuses);
        let (limit, keyed) = told(&world, world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!(limit, Some(LimitDecision::AllowedDegraded), "{one_step}");
        assert_eq!(keyed, Some(KeyedDecision::Unavailable), "{one_step}");
    }
}

async fn told(world: &World, mut request: Sent) -> (Option<LimitDecision>, Option<KeyedDecision>) {
    let observer = Observer::new();
    request.extensions_mut().insert(observer.clone());
    world.send(request).await;
    let seen = observer.decisions();
    (seen.limit, seen.idempotency)
}

impl Steps {
    fn take(&self) -> Vec<(StoreStep, StoreOutcome, Duration)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StoreObserver for Steps {
    fn ended(&self, step: StoreStep, outcome: StoreOutcome, took: Duration) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.push((step, outcome, took));
    }
}
