//! Contract §3 and §8: of two rules that a request breaks, the first is answered.

use harness::{AGENT, Draft, Mounting, OTHER_AGENT, Setup};

use super::against_both_mountings;

against_both_mountings![
    of_two_broken_rules_the_first_is_answered,
    what_is_refused_is_neither_executed_nor_claimed,
];

/// What a request can do wrong, in the order of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Key,
    Budget,
    Scope,
    Path,
    Method,
    MediaType,
    Length,
    IdempotencyKey,
    Agent,
    Reuse,
}

async fn of_two_broken_rules_the_first_is_answered(mounting: Mounting) {
    let api = Setup::new()
        .key("spent", |key| key.agents([AGENT]).per_minute(1))
        .key("spent-narrow", |key| {
            key.scopes(["a:b"]).agents([AGENT]).per_minute(1)
        })
        .key("bound-narrow", |key| key.scopes(["a:b"]).agents([AGENT]))
        .key("bound-full", |key| key.agents([AGENT]))
        .mount(mounting)
        .await;
    for key in ["spent", "spent-narrow", "bound-full"] {
        api.send(&for_agent(AGENT, "[0]").key(key).idempotency_key("used"))
            .await;
    }
    let before = api.origin.executions();
    let mut pairs = 0;
    for (index, first) in Wrong::ALL.into_iter().enumerate() {
        for second in Wrong::ALL.into_iter().skip(index) {
            if first.excludes(second) {
                continue;
            }
            let reply = api.send(&draft(&[first, second])).await;
            assert_eq!(reply.verdict(), first.answer(), "{first:?} and {second:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 10 + 45 - 12, "every pair that one request can break");
    assert_eq!(api.origin.executions(), before);
}

async fn what_is_refused_is_neither_executed_nor_claimed(mounting: Mounting) {
    let api = Setup::new()
        .key("bound-full", |key| key.agents([AGENT]))
        .key("bound-narrow", |key| key.scopes(["a:b"]).agents([AGENT]))
        .key("spent", |key| key.per_minute(0))
        .mount(mounting)
        .await;
    for wrong in [
        Wrong::Key,
        Wrong::Budget,
        Wrong::Scope,
        Wrong::Agent,
        Wrong::Length,
    ] {
        let reply = api.send(&draft(&[wrong])).await;
        assert_eq!(reply.verdict(), wrong.answer(), "{wrong:?}");
        assert_eq!(api.memory.records_held(), 0, "{wrong:?}");
    }
    assert_eq!(api.origin.executions(), 0);
}

// === impl Wrong ===

impl Wrong {
    const ALL: [Self; 10] = [
        Self::Key,
        Self::Budget,
        Self::Scope,
        Self::Path,
        Self::Method,
        Self::MediaType,
        Self::Length,
        Self::IdempotencyKey,
        Self::Agent,
        Self::Reuse,
    ];

    fn answer(self) -> &'static str {
        match self {
            Self::Key => "401 invalid_api_key",
            Self::Budget => "429 rate_limit_exceeded",
            Self::Scope => "403 insufficient_scope",
            Self::Path => "404 endpoint_not_found",
            Self::Method => "405 method_not_allowed",
            Self::MediaType => "415 unsupported_media_type",
            Self::Length => "413 payload_too_large",
            Self::IdempotencyKey => "422 invalid_idempotency_key",
            Self::Agent => "403 agent_not_authorized",
            Self::Reuse => "422 idempotency_key_in_use_with_different_params",
        }
    }

    /// Whether no request can break both: a scope belongs to a route, and a key that is
    /// none was not used.
    fn excludes(self, other: Self) -> bool {
        use Wrong::{Agent, Budget, IdempotencyKey, Key, Method, Path, Reuse, Scope};
        let pair = |one, two| (self, other) == (one, two) || (self, other) == (two, one);
        pair(Scope, Path)
            || pair(Scope, Method)
            || pair(Path, Method)
            || pair(IdempotencyKey, Reuse)
            || [Path, Method]
                .iter()
                .any(|one| pair(*one, Agent) || pair(*one, Reuse))
            || [Key, Budget, Scope].iter().any(|one| pair(*one, Reuse))
            || pair(Key, Budget)
    }
}

fn draft(wrong: &[Wrong]) -> Draft {
    let is = |one| wrong.contains(&one);
    let agent = if is(Wrong::Agent) { OTHER_AGENT } else { AGENT };
    let mut draft = for_agent(agent, "[1]");
    if is(Wrong::Path) {
        draft = Draft::post("/v1/nowhere");
    } else if is(Wrong::Method) {
        draft = Draft::new("DELETE", "/v1/agents").json("{}");
    }
    draft = match (is(Wrong::Key), is(Wrong::Budget), is(Wrong::Scope)) {
        (true, _, true) => draft.key("unheard-of-narrow"),
        (true, _, false) => draft.key("unheard-of"),
        (false, true, true) => draft.key("spent-narrow"),
        (false, true, false) => draft.key("spent"),
        (false, false, true) => draft.key("bound-narrow"),
        (false, false, false) => draft.key("bound-full"),
    };
    if is(Wrong::MediaType) {
        draft = draft.only("Content-Type", "text/plain");
    }
    if is(Wrong::Length) {
        draft = draft.field("Content-Length", &((1 << 20) + 1).to_string());
    }
    let key = if is(Wrong::IdempotencyKey) {
        ""
    } else if is(Wrong::Reuse) {
        "used"
    } else {
        "fresh"
    };
    draft.idempotency_key(key)
}

fn for_agent(agent: &str, payload: &str) -> Draft {
    Draft::post("/v1/agents").json(&format!(r#"{{"agent_id":"{agent}","payload":{payload}}}"#))
}
