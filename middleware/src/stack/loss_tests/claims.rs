//! Rules of contract §7 at the claim: nothing is executed, and nothing stays claimed.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_keyed_request_is_not_executed_while_its_store_is_lost() {
    for (fault, one_step, took) in [
        (Fault::Refuses, false, 0),
        (Fault::Refuses, true, 0),
        (Fault::LosesReplies, false, 0),
        (Fault::Hangs, false, 250),
        (Fault::Hangs, true, 200),
        (Fault::SwallowsReplies, true, 200),
    ] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(fault);
        for kind in [EXECUTES, DEDUPLICATES] {
            let answer = world.send(world.keyed(kind, kind, 0)).await;
            let row = format!("{fault:?} {one_step} {kind}");
            assert_eq!(answer.status, 503, "{row}");
            assert!(answer.has("idempotency_store_unavailable"), "{row}");
            assert_eq!(answer.headers[RETRY_AFTER], "1", "{row}");
            assert!(answer.headers.contains_key(X_RATELIMIT_REMAINING), "{row}");
            assert_eq!(answer.took, ms(took), "{row}");
        }
        assert_eq!(world.executed(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_may_have_gone_through_is_taken_back() {
    for (fault, one_step) in [
        (Fault::LosesReplies, false),
        (Fault::LosesReplies, true),
        (Fault::SwallowsReplies, false),
        (Fault::SwallowsReplies, true),
    ] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(fault);
        let lost = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert!(lost.has("idempotency_store_unavailable"), "{fault:?}");
        world.store.heals();
        let early = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert!(early.has("idempotency_key_in_progress"), "{fault:?}");
        sleep(ms(300)).await;
        let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
        assert_eq!(world.executed(), 1, "{fault:?} {one_step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_its_caller_did_not_wait_for_is_taken_back() {
    for one_step in [false, true] {
        let world = World::of(one_step, |api| api);
        world.store.breaks(Fault::SwallowsReplies);
        let sent = world.send(world.keyed(EXECUTES, "k", 0));
        assert!(timeout(ms(150), sent).await.is_err());
        world.store.heals();
        sleep(ms(300)).await;
        let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
        assert_eq!(world.api.tasks().running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_leaves_nothing_to_be_taken_back() {
    for one_step in [false, true] {
        let world = World::of(one_step, |api| api.per_minute(0));
        let answer = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!(answer.status, 429);
        assert_eq!(world.api.tasks().running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_at_its_cap_claims_nothing() {
    let world = World::new(|api| api.tasks(Tasks::new(10, 1)));
    let running = world.spawn(world.keyed(EXECUTES, "first", 1_000));
    sleep(ms(500)).await;
    let refused = world.send(world.keyed(EXECUTES, "second", 0)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.has("overloaded"));
    assert!(refused.headers.contains_key(X_RATELIMIT_REMAINING));
    assert_eq!(running.await.unwrap().status, 200);
    let again = world.send(world.keyed(EXECUTES, "second", 0)).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
    assert_eq!(world.executed(), 2);
}
