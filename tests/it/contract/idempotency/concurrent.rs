//! While the first request still runs.

use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use harness::{Answer, Draft, Mounting, Setup, eventually};

use super::against_both_mountings;

against_both_mountings![
    another_request_is_refused_while_the_first_still_runs,
    fifty_at_once_are_executed_once,
    the_client_leaving_does_not_cancel_the_work,
    the_same_request_is_in_progress_and_then_replayed,
    work_is_drained,
];

async fn the_same_request_is_in_progress_and_then_replayed(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for path in ["/v1/charges", "/v1/whatsapp/messages"] {
        let draft = Draft::post(path).key("full").idempotency_key(path);
        let mut wire = api.wire().await;
        let first = draft
            .clone()
            .correlation_id("first")
            .origin(&format!("wait {path}"));
        let before = api.origin.executions();
        wire.send(&first.to_bytes()).await;
        api.origin.executes(before + 1).await;
        let second = api.send(&draft).await;
        assert_eq!(
            second.verdict(),
            "409 idempotency_key_in_progress",
            "{path}"
        );
        assert_eq!(second.error()["original_correlation_id"], "first", "{path}");
        assert_eq!(second.one("retry-after"), "1", "{path}");
        api.origin.open(path);
        let Answer::Reply(first) = wire.answer(false).await else {
            panic!("{path}: the first is answered")
        };
        let third = api.send(&draft).await;
        assert_eq!(
            (third.one("idempotent-replayed"), &third.body),
            ("true", &first.body),
            "{path}"
        );
        assert_eq!(api.origin.executions(), before + 1, "{path}");
    }
}

async fn another_request_is_refused_while_the_first_still_runs(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = || Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = api.wire().await;
    wire.send(&draft().origin("wait end").to_bytes()).await;
    api.origin.executes(1).await;
    let reply = api.send(&draft().json("[2]")).await;
    assert_eq!(
        reply.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
    api.origin.open("end");
}

async fn fifty_at_once_are_executed_once(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let draft = draft.origin("wait end").origin("status 201");
    let bytes = draft.to_bytes();
    let mut wires = join_all((0..50).map(|_| api.wire())).await;
    join_all(wires.iter_mut().map(|wire| wire.send(&bytes).boxed())).await;
    api.origin.executes(1).await;
    api.origin.open("end");
    let replies = join_all(wires.iter_mut().map(|wire| wire.answer(false).boxed())).await;
    let mut counts = [0; 3];
    for answer in replies {
        let Answer::Reply(reply) = answer else {
            panic!("every request is answered: {answer:?}")
        };
        let kind = match (&*reply.verdict(), reply.one("idempotent-replayed")) {
            ("201", "") => 0,
            ("201", "true") => 1,
            ("409 idempotency_key_in_progress", "") => 2,
            other => panic!("{other:?}"),
        };
        counts[kind] += 1;
    }
    assert_eq!(
        (counts[0], counts.iter().sum::<i32>()),
        (1, 50),
        "{counts:?}"
    );
    assert_eq!(api.origin.executions(), 1);
}

async fn the_client_leaving_does_not_cancel_the_work(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = api.wire().await;
    wire.send(
        &draft
            .clone()
            .origin("wait end")
            .origin("status 201")
            .to_bytes(),
    )
    .await;
    api.origin.executes(1).await;
    wire.cut();
    assert_eq!(
        api.send(&draft).await.verdict(),
        "409 idempotency_key_in_progress"
    );
    api.origin.open("end");
    let tasks = api.api().tasks().clone();
    eventually("the work ends", || tasks.running() == 0).await;
    let again = api.send(&draft).await;
    assert_eq!(
        (again.status, again.one("idempotent-replayed")),
        (201, "true")
    );
    assert_eq!(api.origin.executions(), 1);
}

async fn work_is_drained(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = api.wire().await;
    wire.send(&draft.clone().origin("wait end").to_bytes())
        .await;
    api.origin.executes(1).await;
    wire.cut();
    assert_eq!(
        api.api().drained(Duration::from_millis(50)).await,
        1,
        "it still runs"
    );
    api.origin.open("end");
    assert_eq!(api.api().drained(harness::PATIENCE).await, 0);
}
