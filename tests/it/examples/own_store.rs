//! A team's own store behind the whole stack.

use harness::Draft;

use super::{KEY, send, start};

#[tokio::test]
async fn the_layers_count_and_remember_at_a_store_of_ones_own() {
    let (_process, address) = start("own_store");
    let roll = Draft::post("/v1/rolls").field("Authorization", KEY);
    let keyed = roll.clone().idempotency_key("r-1");
    let (first, replay) = (send(address, &keyed).await, send(address, &keyed).await);
    assert_eq!((first.status, replay.status), (200, 200));
    assert_eq!(first.body, replay.body);
    assert_eq!(replay.one("idempotent-replayed"), "true");
    let other = send(address, &keyed.json("{\"sides\":20}")).await;
    assert_eq!(
        other.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
    for remaining in (0..57).rev() {
        let rolled = send(address, &roll).await;
        assert_eq!(rolled.one("x-ratelimit-remaining"), remaining.to_string());
    }
    let refused = send(address, &roll).await;
    assert_eq!(refused.verdict(), "429 rate_limit_exceeded");
}
