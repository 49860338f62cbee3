//! A change of a key record holds on the next request, at every replica (design D7).

use std::time::Duration;

use harness::{AGENT, Draft, OTHER_AGENT, PATIENCE, Replicas, Reply, record};
use tokio::time::timeout;
use vestibule::api_key::{KeyChange, KeyRecordBuilder};
use vestibule::clock::Timestamp;

#[tokio::test]
async fn a_change_holds_on_the_next_request_at_every_replica() {
    let replicas = Replicas::start().await;
    for (what, change, unkeyed, keyed) in CHANGES {
        for (is_keyed, want) in [(false, unkeyed), (true, keyed)] {
            let name = format!("{what}-{is_keyed}");
            replicas.create(&name, |record| record.per_minute(90)).await;
            for edge in &replicas.edges {
                let before = edge.send(&post(&name)).await;
                assert_eq!(told(&before), (200, "90"), "{name}");
            }
            replicas.change(&name, change).await;
            for (place, edge) in replicas.edges.iter().enumerate() {
                let draft = match is_keyed {
                    true => post(&name).idempotency_key(&place.to_string()),
                    false => post(&name),
                };
                let after = edge.send(&draft).await;
                assert_eq!(told(&after), *want, "{name} at {place}: {}", after.text());
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_was_refused_passes_on_the_next_request_once_it_is_good() {
    let replicas = Replicas::start().await;
    for (what, spoil, refused) in [
        ("narrowed", (|r| r.scopes(["whatsapp:read"])) as Change, 403),
        ("expired", |r| r.expires(Timestamp::EPOCH), 401),
        ("revoked", |r| r.revoked(Timestamp::EPOCH), 401),
    ] {
        replicas.create(what, |record| record).await;
        let good = replicas.held(what).await;
        for (change, want) in [(spoil, refused), (|r| r, 200)] {
            replicas.change(what, |_| change(good.to_builder())).await;
            for edge in &replicas.edges {
                assert_eq!(edge.send(&post(what)).await.status, want, "{what}");
                assert_eq!(edge.send(&post(what)).await.status, want, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_rotation_holds_on_the_next_request_and_its_family_is_counted_on() {
    let replicas = Replicas::start().await;
    let [one, two] = &replicas.edges;
    replicas.create("old", |record| record.per_minute(10)).await;
    assert_eq!(left(&one.send(&post("old")).await), "9");
    assert_eq!(left(&two.send(&post("old")).await), "8");
    let held = replicas.held("old").await;
    let ended = held.to_builder().expires(Timestamp::EPOCH).build();
    let next = record("new").family("old").per_minute(10).build();
    let rotation = [KeyChange::update(ended, &held), KeyChange::create(next)];
    replicas.write(&rotation).await;
    for (edge, want) in [(two, "7"), (one, "6")] {
        assert_eq!(
            edge.send(&post("old")).await.verdict(),
            "401 invalid_api_key"
        );
        assert_eq!(left(&edge.send(&post("new")).await), want);
    }
}

#[tokio::test]
async fn a_raised_limit_is_not_held_back_by_a_denial() {
    let replicas = Replicas::start().await;
    replicas.create("k", |record| record.per_minute(2)).await;
    for (edge, want) in [(0, 200), (1, 200), (0, 429), (1, 429), (0, 429)] {
        assert_eq!(replicas.edges[edge].send(&post("k")).await.status, want);
    }
    replicas.change("k", |record| record.per_minute(9)).await;
    for (edge, want) in [(0, "6"), (1, "5")] {
        let reply = replicas.edges[edge].send(&post("k")).await;
        assert_eq!((reply.status, left(&reply)), (200, want));
    }
    replicas.change("k", |record| record.per_minute(3)).await;
    for edge in &replicas.edges {
        assert_eq!(told(&edge.send(&post("k")).await), (429, "3"));
    }
}

#[tokio::test]
async fn a_hundred_revocations_each_hold_on_the_next_request() {
    let replicas = Replicas::start().await;
    let mut wire = replicas.edges[1].wire().await;
    for number in 0..100 {
        let name = format!("revoked-{number}");
        replicas.create(&name, |record| record).await;
        let before = wire.exchange(&post(&name)).await;
        assert_eq!(before.status, 200, "{name}");
        replicas
            .change(&name, |record| record.revoked(Timestamp::EPOCH))
            .await;
        let after = wire.exchange(&post(&name)).await;
        assert_eq!(after.verdict(), "401 invalid_api_key", "{name}");
    }
}

#[tokio::test]
async fn the_age_of_what_is_remembered_is_shown() {
    let replicas = Replicas::start().await;
    replicas.create("k", |record| record).await;
    let edge = &replicas.edges[0];
    let used = async || {
        assert_eq!(edge.send(&post("k")).await.status, 200);
        edge.metric("vestibule_key_record_age_seconds").await
    };
    assert_eq!(used().await, 0.0, "it was read for this request");
    let aged = async {
        while used().await == 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, aged).await.is_ok(), "it does not age");
    replicas.change("k", |record| record.per_minute(900)).await;
    assert_eq!(used().await, 0.0, "it was read again for this request");
}

/// What becomes of a record, and the answers: to a request without an Idempotency-Key, and
/// to one with a key.
type Case = (
    &'static str,
    Change,
    (u16, &'static str),
    (u16, &'static str),
);

type Change = fn(KeyRecordBuilder) -> KeyRecordBuilder;

const CHANGES: &[Case] = &[
    ("lowered", |r| r.per_minute(50), (200, "50"), (200, "50")),
    ("raised", |r| r.per_minute(700), (200, "700"), (200, "700")),
    (
        "narrowed",
        |record| record.scopes(["whatsapp:read"]),
        (403, "90"),
        (403, "90"),
    ),
    (
        // The agent is in the body, which is read of keyed requests alone.
        "bound-to-another",
        |record| record.agents([OTHER_AGENT]),
        (200, "90"),
        (403, "90"),
    ),
    (
        "expired",
        |record| record.expires(Timestamp::EPOCH),
        (401, ""),
        (401, ""),
    ),
    (
        "revoked",
        |record| record.revoked(Timestamp::EPOCH),
        (401, ""),
        (401, ""),
    ),
];

/// A request for an agent.
fn post(key: &str) -> Draft {
    let body = format!(r#"{{"agent_id":"{AGENT}"}}"#);
    Draft::post("/v1/agents").key(key).json(&body)
}

fn told(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.one("x-ratelimit-limit"))
}

fn left(reply: &Reply) -> &str {
    reply.one("x-ratelimit-remaining")
}
