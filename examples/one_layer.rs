//! One layer by itself: a limit on requests by a key of one's own, here the client's address.
//!
//! ```sh
//! cargo run -p vestibule-examples --example one_layer
//! for n in 1 2 3 4 5 6; do curl -si http://127.0.0.1:8080/ | head -1; done    # five 200, then 429
//! curl -i http://127.0.0.1:8080/             # retry-after, and x-ratelimit-* on every answer
//! curl -i http://127.0.0.2:8080/ --interface 127.0.0.2     # another client has its own five
//! ```
//!
//! No API keys, no routes: the layer stands in a `ServiceBuilder` among stock layers of
//! tower-http. Behind a proxy every connection is the proxy's: count by the address that it
//! vouches for instead (the page `vestibule::docs::trusted_proxies`). Another address to
//! listen on may follow as an argument.

use std::error::Error;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::request::Parts;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use vestibule::Caller;
use vestibule::clock::SystemClock;
use vestibule::memory;
use vestibule::rate_limit::{Quota, RateLimitLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("0.0.0.0:8080")).await?;
    // Bounded: a client that changes its address fills the store, not the memory.
    let store = memory::Store::new(SystemClock::shared()).callers(100_000);
    let limit = RateLimitLayer::new(store, Quota::per_minute(5)).key_by(by_address);
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(limit)
        .layer(CatchPanicLayer::new());
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .layer(layers);
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

/// Whose budget a request is charged to; a request without one is not limited.
fn by_address(request: &Parts) -> Option<Caller> {
    let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(Caller::new("address", &network(peer.ip()).to_string()))
}

/// What one client has to itself: an IPv4 address, or the /64 that an IPv6 client may
/// choose its address from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(prefix).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_the_network_that_it_chooses_from() {
        for (given, want) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            let found = network(given.parse().unwrap());
            assert_eq!(found, want.parse::<IpAddr>().unwrap(), "{given}");
        }
    }
}
