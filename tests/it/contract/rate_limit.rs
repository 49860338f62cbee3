//! Contract §5: what a request costs, whom, and when the budget is there again.

use std::time::Duration;

use harness::{Draft, Mounted, Mounting, Reply, START, Setup};

use super::against_both_mountings;

against_both_mountings![
    a_401_costs_nobodys_budget,
    a_family_has_one_budget_under_the_limit_of_the_key_presented,
    a_limit_changed_in_mid_window_holds_at_once,
    a_raised_limit_is_not_held_back,
    denied_calls_do_not_move_the_window,
    every_authenticated_request_costs_one,
    environments_have_budgets_of_their_own,
    sixty_a_minute_by_default,
    the_limit_may_be_spread_evenly,
    the_window_starts_with_the_first_request,
    twice_the_limit_less_one_is_the_most_in_any_minute,
];

async fn sixty_a_minute_by_default(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("default");
    for sent in 1..=60 {
        let reply = api.send(&draft).await;
        assert_eq!(
            budget(&reply),
            (200, "60", &*(60 - sent).to_string(), RESET),
            "{sent}"
        );
    }
    let reply = api.send(&draft).await;
    assert_eq!(budget(&reply), (429, "60", "0", RESET));
    assert_eq!(reply.code(), "rate_limit_exceeded");
    assert_eq!(api.origin.executions(), 60);
}

async fn the_window_starts_with_the_first_request(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    // Not on the clock's minute, and not when the process started.
    api.clock.advance(Duration::from_millis(17_500));
    for left in (0..5).rev() {
        assert_eq!(budget(&api.send(&draft).await).2, left.to_string());
    }
    for (wait, status, retry_after) in [
        (0, 429, "60"),
        (59_000, 429, "1"),
        (999, 429, "1"),
        (1, 200, ""),
    ] {
        api.clock.advance(Duration::from_millis(wait));
        let reply = api.send(&draft).await;
        assert_eq!(reply.status, status, "after {wait} ms");
        assert_eq!(reply.one("retry-after"), retry_after, "after {wait} ms");
    }
    let reset = START.as_unix_millis() + 17_500 + 60_000 + 60_000;
    let reply = api.send(&draft).await;
    assert_eq!(
        reply.one("x-ratelimit-reset"),
        reset.div_ceil(1000).to_string()
    );
}

async fn every_authenticated_request_costs_one(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let post = || Draft::post("/v1/charges").key("default");
    let mut left = 60;
    for (what, draft, status) in [
        ("200", post(), 200),
        ("first", post().idempotency_key("k"), 200),
        ("replay", post().idempotency_key("k"), 200),
        (
            "other request",
            post().idempotency_key("k").json("[1]"),
            422,
        ),
        ("bad idempotency key", post().idempotency_key(""), 422),
        ("404", Draft::get("/v1/nowhere").key("default"), 404),
        (
            "405",
            Draft::new("DELETE", "/v1/charges").key("default"),
            405,
        ),
        (
            "413",
            Draft::post("/v1/small").key("default").body("01234567890"),
            413,
        ),
        ("415", post().without("Content-Type"), 415),
        ("500 of the upstream", post().origin("status 500"), 500),
        (
            "HEAD",
            Draft::new("HEAD", "/v1/charges/17").key("default"),
            200,
        ),
    ] {
        let reply = api.send(&draft).await;
        left -= 1;
        assert_eq!(reply.status, status, "{what}");
        assert_eq!(
            reply.one("x-ratelimit-remaining"),
            left.to_string(),
            "{what}"
        );
    }
    let first = api.send(&Draft::get("/v1/charges/17").key("narrow")).await;
    assert_eq!((first.status, budget(&first).2), (403, "59"), "scope");
}

async fn a_401_costs_nobodys_budget(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let good = Draft::get("/v1/charges/17").key("limited");
    assert_eq!(budget(&api.send(&good).await).2, "4");
    for key in ["unheard-of", "revoked", "expired"] {
        let reply = api.send(&Draft::get("/v1/charges/17").key(key)).await;
        assert_eq!(
            (reply.status, reply.has("x-ratelimit-limit")),
            (401, false),
            "{key}"
        );
    }
    let both = good.clone().field("Authorization", "Bearer x");
    assert_eq!(api.send(&both).await.status, 401);
    assert_eq!(budget(&api.send(&good).await).2, "3");
}

async fn a_family_has_one_budget_under_the_limit_of_the_key_presented(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (key, want) in [
        ("old", (200, "5", "4", RESET)),
        ("new", (200, "7", "5", RESET)),
        ("old", (200, "5", "2", RESET)),
        ("old", (200, "5", "1", RESET)),
        ("old", (200, "5", "0", RESET)),
        ("old", (429, "5", "0", RESET)),
        ("new", (200, "7", "1", RESET)),
        ("new", (200, "7", "0", RESET)),
        ("new", (429, "7", "0", RESET)),
        ("old", (429, "5", "0", RESET)),
    ] {
        let reply = api.send(&Draft::get("/v1/charges/17").key(key)).await;
        assert_eq!(budget(&reply), want, "{key}");
    }
}

async fn environments_have_budgets_of_their_own(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    api.send(&Draft::get("/v1/charges/17").key("full")).await;
    let reply = api
        .send(&Draft::get("/v1/charges/17").key("sandbox@test"))
        .await;
    assert_eq!(budget(&reply), (200, "60", "59", RESET));
}

async fn denied_calls_do_not_move_the_window(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    for second in 0..60 {
        let reply = api.send(&draft).await;
        assert_eq!(
            reply.status,
            if second < 5 { 200 } else { 429 },
            "second {second}"
        );
        assert_eq!(reply.one("x-ratelimit-reset"), RESET, "second {second}");
        let wait = (60 - second).to_string();
        assert_eq!(
            reply.one("retry-after"),
            if second < 5 { "" } else { &wait },
            "second {second}"
        );
        api.advance(1);
    }
    assert_eq!(budget(&api.send(&draft).await).2, "4");
}

async fn a_limit_changed_in_mid_window_holds_at_once(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    for (limit, want) in [
        (5, (200, "5", "4", RESET)),
        (3, (200, "3", "1", RESET)),
        (2, (429, "2", "0", RESET)),
        (9, (200, "9", "6", RESET)),
    ] {
        change_limit(&api, limit);
        assert_eq!(budget(&api.send(&draft).await), want, "limit {limit}");
    }
}

async fn a_raised_limit_is_not_held_back(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    for _ in 0..6 {
        api.send(&draft).await;
    }
    assert_eq!(api.send(&draft).await.status, 429);
    change_limit(&api, 6);
    assert_eq!(budget(&api.send(&draft).await), (200, "6", "0", RESET));
}

async fn twice_the_limit_less_one_is_the_most_in_any_minute(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    // One request opens the window; the rest come at its end and at the next one's start.
    let mut passed = vec![];
    for wait in [0, 59_999, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0] {
        api.clock.advance(Duration::from_millis(wait));
        if api.send(&draft).await.status == 200 {
            passed.push(wait);
        }
    }
    assert_eq!(
        passed.len(),
        1 + 4 + 5,
        "of which nine within two milliseconds"
    );
}

async fn the_limit_may_be_spread_evenly(mounting: Mounting) {
    let setup = Setup::new().layers(|api| api.per_minute(6).burst(2));
    let api = setup.mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("default");
    for (wait, status, left, retry_after) in [
        (0, 200, "1", ""),
        (0, 200, "0", ""),
        (0, 429, "0", "10"),
        (9_999, 429, "0", "1"),
        (1, 200, "0", ""),
        (20_000, 200, "1", ""),
    ] {
        api.clock.advance(Duration::from_millis(wait));
        let reply = api.send(&draft).await;
        assert_eq!(
            (reply.status, budget(&reply).2),
            (status, left),
            "after {wait} ms"
        );
        assert_eq!(reply.one("retry-after"), retry_after, "after {wait} ms");
    }
}

fn budget(reply: &Reply) -> (u16, &str, &str, &str) {
    (
        reply.status,
        reply.one("x-ratelimit-limit"),
        reply.one("x-ratelimit-remaining"),
        reply.one("x-ratelimit-reset"),
    )
}

fn change_limit(api: &Mounted, limit: u32) {
    let keys = api.keys.keys();
    let held = keys.get("limited").expect("the key is there");
    keys.insert(held.to_builder().per_minute(limit).build())
        .expect("it replaces the other");
}

/// The end of a window that began with the test, rounded up.
const RESET: &str = "1795348861";
