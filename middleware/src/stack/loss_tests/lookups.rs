//! Rules of contract §7 before a request is executed: the limit, the key store and the breaker.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_its_store_a_limit_goes_on_from_what_the_store_said_last() {
    let world = World::new(|api| api.per_minute(4));
    let first = world.send(world.plain()).await;
    assert_eq!(world.send(world.plain()).await.remaining(), "2");
    world.store.breaks(Fault::Hangs);
    for (status, remaining) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = world.send(world.plain()).await;
        assert_eq!(answer.told(), (status, remaining));
        assert_eq!(answer.reset(), first.reset());
        assert_eq!(answer.took, ms(50), "a limit is not worth a longer wait");
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.send(world.plain()).await.told(), (200, "3"));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_spares_the_wait_until_a_probe_has_closed_it() {
    let world = World::new(|api| api);
    world.store.breaks(Fault::Hangs);
    for (row, took) in [50, 50, 50, 50, 50, 0, 0].into_iter().enumerate() {
        assert_eq!(world.send(world.plain()).await.took, ms(took), "{row}");
    }
    assert!(world.api.store_is_cut_off());
    sleep(ms(500)).await;
    for (row, took) in [50, 0, 0].into_iter().enumerate() {
        assert_eq!(world.send(world.plain()).await.took, ms(took), "{row}");
    }
    world.store.heals();
    assert!(world.api.store_is_cut_off());
    sleep(ms(500)).await;
    assert_eq!(world.send(world.plain()).await.took, ms(0));
    assert!(!world.api.store_is_cut_off());
    assert_eq!(world.send(world.keyed(EXECUTES, "k", 0)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_charges_and_claims_in_one_step_is_left_alone_just_so() {
    for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
        let world = World::of(true, |api| api);
        world.store.breaks(fault);
        for _ in 0..5 {
            assert_eq!(world.send(world.keyed(EXECUTES, "k", 0)).await.status, 503);
        }
        assert!(world.api.store_is_cut_off(), "{fault:?}");
        let spared = world.send(world.keyed(EXECUTES, "k", 0)).await;
        assert_eq!((spared.status.as_u16(), spared.took), (503, ms(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_key_store_is_never_the_callers_fault() {
    let world = World::new(|api| api);
    let (keys, clock) = (world.keys.clone(), world.clock.shared());
    let lost = Arc::new(AtomicUsize::new(0));
    let keys = Cached::new(FaultyKeys(keys, Arc::clone(&lost)), Arc::clone(&clock));
    let api = ApiLayer::builder(memory::Store::new(Arc::clone(&clock)), keys)
        .route("GET /v1/plain", Policy::authenticated())
        .clock(clock)
        .build()
        .unwrap();
    let send = || async {
        let sent = Instant::now();
        let handler = service_fn(|_: Got| async { Ok::<_, Infallible>(done(1)) });
        let answer = api.layer(handler).oneshot(world.plain()).await.unwrap();
        Answer::read(answer, sent).await
    };
    assert_eq!(send().await.status, 200);
    lost.store(1, Ordering::Release);
    let stale = send().await;
    assert_eq!((stale.status.as_u16(), stale.took), (200, ms(100)));
    sleep(Duration::from_secs(61)).await;
    let answer = send().await;
    assert_eq!(answer.status, 503);
    assert!(answer.has("auth_store_unavailable"));
    assert_eq!(answer.headers[RETRY_AFTER], "1");
    lost.store(0, Ordering::Release);
    assert_eq!(send().await.status, 200);
}
