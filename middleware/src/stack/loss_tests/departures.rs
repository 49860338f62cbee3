//! Rules of contract §6 for those who leave, and for those who come at once.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_nothing_and_its_retry_replays() {
    for kind in [EXECUTES, DEDUPLICATES] {
        let world = World::new(|api| api);
        let left = world.send(world.keyed(kind, "k", 5_000));
        assert!(timeout(ms(2_000), left).await.is_err());
        assert_eq!(world.executed(), 1, "it had begun");
        let early = world.send(world.keyed(kind, "k", 5_000)).await;
        assert!(early.has("idempotency_key_in_progress"));
        assert_eq!(world.api.drained(Duration::from_secs(10)).await, 0);
        let again = world.send(world.keyed(kind, "k", 5_000)).await;
        assert_eq!((again.is_replayed(), &*again.body), (true, "done 1"));
        assert_eq!(world.executed(), 1, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_50_requests_under_one_key_one_is_executed() {
    for (kind, work) in [(EXECUTES, 1_000), (DEDUPLICATES, 1_000), (EXECUTES, 0)] {
        let world = World::new(|api| api);
        let mut sent = JoinSet::new();
        for number in 0..50 {
            let send = world.spawn(world.keyed(kind, "k", work));
            sent.spawn(async move {
                sleep(ms(number * 30)).await;
                send.await.unwrap()
            });
        }
        let answers = sent.join_all().await;
        assert_eq!(world.executed(), 1, "{kind}");
        let firsts = answers
            .iter()
            .filter(|one| one.status == 200 && !one.is_replayed());
        assert_eq!(firsts.count(), 1);
        for answer in &answers {
            let in_progress = answer.has("idempotency_key_in_progress");
            assert!(in_progress || answer.body == "done 1", "{}", answer.body);
        }
    }
}
