//! Webhooks taken in a second, beside a bare handler that checks the signature and appends to
//! a file whose writes share their way to the disk.

use std::io::Write as _;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use harness::proof::Engine;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::rig::{CLIENTS, Rig, drive};

/// Signed bodies with one update each, through the whole service.
pub(crate) async fn ours(engine: Engine) -> f64 {
    let rig = Rig::start(engine, "", 1);
    drive(rig.service, CLIENTS, 200, webhook).await
}

/// The bare handler.
pub(crate) async fn floor() -> f64 {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let mut file = std::fs::File::create(folder.path().join("log")).expect("the folder is ours");
    let (jobs, mut queue) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>(1024);
    let writer = tokio::task::spawn_blocking(move || {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, 256) > 0 {
            for (body, _) in &batch {
                file.write_all(body).expect("the disk has room");
            }
            file.sync_data().expect("the disk takes it");
            for (_, told) in batch.drain(..) {
                let _ = told.send(());
            }
        }
    });
    let app = Router::new()
        .route("/webhooks/whatsapp", post(append))
        .with_state(jobs);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let rate = drive(address, CLIENTS, 200, webhook).await;
    server.abort();
    let _ = server.await;
    writer.await.expect("the writer ends with its clients");
    rate
}

type Jobs = mpsc::Sender<(Bytes, oneshot::Sender<()>)>;

async fn append(State(jobs): State<Jobs>, headers: HeaderMap, body: Bytes) {
    let given = headers["x-hub-signature-256"].to_str().unwrap_or_default();
    let digest = hex::decode(given.trim_start_matches("sha256=")).unwrap_or_default();
    let genuine = mac().chain_update(&body).verify_slice(&digest);
    genuine.expect("the clients sign");
    let (tell, told) = oneshot::channel();
    jobs.send((body, tell)).await.expect("the writer lives");
    told.await.expect("the writer tells");
}

fn webhook(n: usize) -> Vec<u8> {
    let body = format!(
        "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"1\",\"changes\":[{{\"field\":\
         \"messages\",\"value\":{{\"messaging_product\":\"whatsapp\",\"metadata\":{{\"display_phone_number\":\
         \"15550783881\",\"phone_number_id\":\"106540352242922\"}},\"statuses\":[{{\"id\":\"wamid.{n}\",\
         \"status\":\"sent\",\"timestamp\":\"1750030073\",\"recipient_id\":\"16505551234\"}}]}}}}]}}]}}"
    );
    let digest = mac().chain_update(&body).finalize().into_bytes();
    format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         x-hub-signature-256: sha256={}\r\ncontent-length: {}\r\n\r\n{body}",
        hex::encode(digest),
        body.len()
    )
    .into_bytes()
}

fn mac() -> Hmac<Sha256> {
    Hmac::new_from_slice(b"demo-app-secret").expect("HMAC takes keys of any length")
}
