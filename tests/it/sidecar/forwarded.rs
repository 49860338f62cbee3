//! Who is calling, as the service and a team's own layer hear it.

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use harness::{Draft, Wire};
use tower::util::MapRequestLayer;
use vestibule_sidecar::{ClientAddress, Sidecar};

use super::world::{OPEN, address, config, service};

#[tokio::test]
async fn a_client_is_believed_where_it_is_a_trusted_proxy() {
    let (forged, seen) = ("198.51.100.7, 192.0.2.1", "127.0.0.1");
    let both = "198.51.100.7, 192.0.2.1, 127.0.0.1";
    for (said, sends, want) in [
        ("", None, "127.0.0.1 127.0.0.1 http api.test"),
        ("", Some(forged), &*format!("{seen} {seen} http api.test")),
        (
            "trusted_proxies = ['10.0.0.0/8', '::1']",
            Some(forged),
            &format!("{seen} {seen} http api.test"),
        ),
        (
            "trusted_proxies = '127.0.0.0/8'",
            None,
            &format!("{seen} {seen} http api.test"),
        ),
        (
            "trusted_proxies = '127.0.0.0/8'",
            Some(forged),
            &format!("192.0.2.1 {both} http api.test"),
        ),
        (
            "trusted_proxies = ['127.0.0.1', '192.0.2.0/24']",
            Some(forged),
            &format!("198.51.100.7 {both} http api.test"),
        ),
    ] {
        let config = config(service(told()).await, &format!("{said}\n{OPEN}"));
        let own = MapRequestLayer::new(|mut request: http::Request<_>| {
            let client: ClientAddress = *request.extensions().get().unwrap();
            let client = client.address.unwrap().to_string().parse().unwrap();
            request.headers_mut().insert("x-own-layer", client);
            request
        });
        let edge = Sidecar::new(config).inner_layer(own).spawn().unwrap();
        let mut wire = Wire::connect(address(&edge)).await;
        let mut draft = Draft::get("/");
        if let Some(list) = sends {
            draft = draft.field("X-Forwarded-For", list);
        }
        assert_eq!(wire.exchange(&draft).await.text(), want, "{said} {sends:?}");
    }
}

/// Says what it was told.
fn told() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        let fields = [
            "x-own-layer",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
        ];
        let values = fields.map(|name| request.headers()[name].to_str().unwrap().to_owned());
        values.join(" ")
    }))
}
