//! What becomes of a claim, by the route's upstream and by how the call of it ended.

use harness::{Draft, Mounting, Setup};

use super::against_both_mountings;

against_both_mountings![
    a_client_error_is_kept_where_the_route_says_so,
    a_deduplicating_upstream_says_that_its_answer_is_an_earlier_one,
    a_repetition_is_answered_by_how_the_first_one_ended,
    what_is_unknown_is_never_executed_again_for_a_day,
];

async fn a_repetition_is_answered_by_how_the_first_one_ended(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    // In process the handler is gone for sure; from outside, a cut connection says nothing
    // of the request that may still be on its way.
    let panicked = if api.is_in_process() {
        RELEASED
    } else {
        LAPSED
    };
    let (executes, deduplicates) = ("/v1/brief", "/v1/brief/deduplicated");
    for (path, ended, want) in [
        (executes, "status 200", DONE),
        (executes, "status 302", DONE),
        (executes, "status 400", RELEASED),
        (executes, "status 401", RELEASED),
        (executes, "status 403", RELEASED),
        (executes, "status 409", RELEASED),
        (executes, "status 422", RELEASED),
        (executes, "status 429", RELEASED),
        (executes, "status 500", DONE),
        (executes, "status 503", DONE),
        (executes, "panic", UNKNOWN),
        (executes, "cut", UNKNOWN),
        (executes, "cut-body", UNKNOWN),
        (executes, "never", UNKNOWN),
        (deduplicates, "status 202", DONE),
        (deduplicates, "status 400", RELEASED),
        (deduplicates, "status 409", RELEASED),
        (deduplicates, "status 422", RELEASED),
        (deduplicates, "status 500", RELEASED),
        (deduplicates, "status 503", RELEASED),
        (deduplicates, "panic", panicked),
        (deduplicates, "cut", LAPSED),
        (deduplicates, "cut-body", LAPSED),
        (deduplicates, "never", LAPSED),
    ] {
        let what = format!("{path} {ended}");
        let draft = Draft::post(path).key("full").idempotency_key(&what);
        let before = api.origin.executions();
        let mut wire = api.wire().await;
        wire.send(&draft.clone().origin(ended).to_bytes()).await;
        wire.answer(false).await;
        let mut again = api.send(&draft).await;
        let lapses = again.code() == "idempotency_key_in_progress";
        if lapses {
            api.advance(10);
            again = api.send(&draft).await;
        }
        let found = match (&*again.verdict(), again.one("idempotent-replayed")) {
            (_, "true") => DONE,
            ("409 idempotency_outcome_unknown", _) => UNKNOWN,
            ("200", "") if lapses => LAPSED,
            ("200", "") => RELEASED,
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(found, want, "{what}");
        let executed = api.origin.executions() - before;
        let again = 1 + usize::from([LAPSED, RELEASED].contains(&want));
        // The sidecar may send once more what met a stale connection, where the upstream
        // de-duplicates.
        let most = again + usize::from(path == deduplicates && !api.is_in_process());
        assert!(
            (again..=most).contains(&executed),
            "{what}: {executed} executions"
        );
    }
}

async fn a_client_error_is_kept_where_the_route_says_so(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (status, replayed) in [
        (400, "true"),
        (404, "true"),
        (422, "true"),
        (401, ""),
        (403, ""),
        (409, ""),
        (429, ""),
    ] {
        let draft = Draft::post("/v1/keeping")
            .key("full")
            .idempotency_key(&status.to_string());
        let draft = draft.origin(&format!("status {status}"));
        assert_eq!(api.send(&draft).await.status, status);
        let again = api.send(&draft).await;
        assert_eq!(
            (again.status, again.one("idempotent-replayed")),
            (status, replayed)
        );
    }
}

async fn what_is_unknown_is_never_executed_again_for_a_day(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    api.send(&draft.clone().origin("panic").correlation_id("first"))
        .await;
    for seconds in [0, 9, 2, 3600, 80_000] {
        api.advance(seconds);
        let reply = api.send(&draft).await;
        assert_eq!(
            reply.verdict(),
            "409 idempotency_outcome_unknown",
            "{seconds} s later"
        );
        assert_eq!(
            reply.error()["original_correlation_id"],
            "first",
            "{seconds} s later"
        );
        assert!(!reply.has("retry-after"), "waiting does not help");
    }
    assert_eq!(api.origin.executions(), 1);
}

async fn a_deduplicating_upstream_says_that_its_answer_is_an_earlier_one(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (path, want) in [
        ("/v1/whatsapp/messages", "true"),
        ("/v1/charges", ""),
        ("/v1/unkeyed", ""),
    ] {
        let draft = Draft::post(path)
            .key("full")
            .idempotency_key(path)
            .correlation_id("second");
        let marked = draft
            .origin("header Vestibule-Replayed: first")
            .origin("status 202");
        let reply = api.send(&marked).await;
        assert_eq!(
            (reply.status, reply.one("idempotent-replayed")),
            (202, want),
            "{path}"
        );
        let original = if want == "true" { "first" } else { "" };
        assert_eq!(reply.one("x-original-correlation-id"), original, "{path}");
        assert!(!reply.has("vestibule-replayed"), "{path}");
    }
    // What the layers keep of it is the first one's too.
    let again = Draft::post("/v1/whatsapp/messages")
        .key("full")
        .idempotency_key("/v1/whatsapp/messages");
    let again = api.send(&again.correlation_id("third")).await;
    assert_eq!(again.one("x-original-correlation-id"), "first");
}

const DONE: &str = "replayed";
const LAPSED: &str = "executed again when the lease has ended";
const RELEASED: &str = "executed again";
const UNKNOWN: &str = "unknown";
