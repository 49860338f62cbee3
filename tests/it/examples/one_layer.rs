//! The rate limit alone, by the address of the client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use harness::Draft;

use super::{client, send, start};

#[tokio::test]
async fn each_address_has_a_budget_of_its_own() {
    let (_process, address) = start("one_layer");
    for remaining in ["4", "3", "2", "1", "0"] {
        let passed = send(address, &Draft::get("/")).await;
        assert_eq!(
            (passed.status, passed.one("x-ratelimit-remaining")),
            (200, remaining)
        );
    }
    let refused = send(address, &Draft::get("/")).await;
    assert_eq!(refused.verdict(), "429 rate_limit_exceeded");
    assert!(refused.has("retry-after") && refused.has("x-ratelimit-reset"));
    // All of 127.0.0.0/8 is this machine.
    let neighbour = Ipv4Addr::new(127, 0, 0, 2);
    assert_eq!(status_from(neighbour.into(), address).await, 200);
    assert_eq!(status_from(Ipv4Addr::LOCALHOST.into(), address).await, 429);
}

async fn status_from(local: IpAddr, address: SocketAddr) -> u16 {
    let client = client().local_address(local).build();
    let response = client
        .expect("it works on the loopback")
        .get(format!("http://{address}/"))
        .send();
    response
        .await
        .expect("it works on the loopback")
        .status()
        .as_u16()
}
