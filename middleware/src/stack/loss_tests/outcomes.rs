//! Rules of contract §7 once a request is executed: its response is returned, and kept later.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_kept_yet_is_returned_and_kept_later() {
    for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
        for kind in [EXECUTES, DEDUPLICATES] {
            let world = World::new(|api| api);
            let answer = world.send_and_break(kind, 1_000, fault).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "done 1"));
            sleep(Duration::from_secs(3)).await;
            world.store.heals();
            sleep(Duration::from_secs(1)).await;
            let again = world.send(world.keyed(kind, "k", 1_000)).await;
            assert!(again.is_replayed(), "{fault:?} {kind}");
            assert_eq!((again.status.as_u16(), &*again.body), (200, "done 1"));
            assert_eq!(world.executed(), 1, "{fault:?} {kind}");
            assert_eq!(world.api.drained(ms(0)).await, 0, "nothing is repeated");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_not_kept_before_its_lease_ended_is_as_after_a_crash() {
    for (kind, status, executed) in [(EXECUTES, 409, 1), (DEDUPLICATES, 200, 2)] {
        let world = World::new(|api| api);
        let answer = world.send_and_break(kind, 1_000, Fault::Hangs).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "done 1"));
        sleep(Duration::from_secs(20)).await;
        assert_eq!(world.api.tasks().running(), 0, "it was given up");
        world.store.heals();
        let again = world.send(world.keyed(kind, "k", 1_000)).await;
        assert_eq!(again.status, status, "{kind}");
        assert!(!again.is_replayed());
        assert_eq!(again.has("idempotency_outcome_unknown"), kind == EXECUTES);
        assert_eq!(world.executed(), executed, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_not_be_released_yet_is_released_later() {
    let world = World::new(|api| api);
    // A refusal of the handler's own, which is not kept.
    let refused = world.send_and_break(EXECUTES, REFUSED, Fault::Hangs).await;
    assert_eq!(refused.status, 422);
    sleep(Duration::from_secs(2)).await;
    world.store.heals();
    sleep(Duration::from_secs(1)).await;
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (200, false));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_before_the_lease_ends_costs_no_claim() {
    let world = World::new(|api| api);
    let sent = world.spawn(world.keyed(EXECUTES, "k", 25_000));
    for second in 1..=24 {
        sleep(Duration::from_secs(1)).await;
        match second % 10 {
            3 => world.store.breaks(Fault::Hangs),
            7 => world.store.heals(),
            _ => {}
        }
    }
    world.store.heals();
    sleep(ms(500)).await;
    let early = world.send(world.keyed(EXECUTES, "k", 25_000)).await;
    assert!(early.has("idempotency_key_in_progress"), "{}", early.body);
    assert_eq!(sent.await.unwrap().status, 200);
    let again = world.send(world.keyed(EXECUTES, "k", 25_000)).await;
    assert!(again.is_replayed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_a_response_is_read() {
    let world = World::new(|api| api.kept(1 << 20, Duration::from_secs(60)));
    let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(Response::new(slow(25))) });
    let request = world.keyed(EXECUTES, "k", 0);
    let answer = tokio::spawn(world.api.layer(handler).oneshot(request));
    sleep(Duration::from_secs(20)).await;
    let early = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert!(early.has("idempotency_key_in_progress"), "{}", early.body);
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert_eq!((again.is_replayed(), again.body.len()), (true, 25));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_is_cut_and_its_outcome_is_unknown() {
    let world = World::new(|api| api);
    let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(Response::new(slow(-1))) });
    let request = world.keyed(EXECUTES, "k", 0);
    let answer = world.api.layer(handler).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 502);
    let again = world.send(world.keyed(EXECUTES, "k", 0)).await;
    assert!(again.has("idempotency_outcome_unknown"), "{}", again.body);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_before_it_awaits_leaves_its_outcome_unknown() {
    let world = World::new(|api| api);
    let answer = world.send(world.keyed(EXECUTES, "k", PANICS)).await;
    assert_eq!(answer.status, 500);
    let again = world.send(world.keyed(EXECUTES, "k", PANICS)).await;
    assert!(again.has("idempotency_outcome_unknown"), "{}", again.body);
    assert_eq!(world.executed(), 1);
}
