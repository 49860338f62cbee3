//! Posts webhooks when they are due, and again until they are taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::crypto::ring;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::log::Attempt;
use super::{Delivery, Job, retry, wire};
use crate::fault::Stage;
use crate::simulator::Simulator;

/// Who posts webhooks: a client and the places for concurrent posts.
pub(crate) struct Sender {
    client: Client,
    places: Arc<Semaphore>,
}

/// What the verification request of an app came to.
#[derive(Debug, Serialize)]
pub(crate) struct Verification {
    pub(crate) app: String,
    /// The status of the answer, or nothing where none came.
    pub(crate) status: Option<u16>,
    /// The answer was 200 and its body the challenge.
    pub(crate) verified: bool,
}

/// A webhook, ready to be posted.
struct Post {
    url: String,
    signature: String,
    ack_timeout: Duration,
}

// === impl Sender ===

impl Sender {
    /// Asks an app's callback URL to echo a challenge, as Meta does when the URL is set.
    pub(crate) async fn verify(
        &self,
        app: String,
        callback_url: &str,
        verify_token: &str,
        challenge: &str,
    ) -> Verification {
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.challenge", challenge),
            ("hub.verify_token", verify_token),
        ];
        let answer = match Url::parse_with_params(callback_url, query) {
            Ok(url) => self
                .client
                .get(url)
                .timeout(VERIFY_TIMEOUT)
                .send()
                .await
                .ok(),
            Err(_) => None,
        };
        let status = answer.as_ref().map(|answer| answer.status().as_u16());
        let body = match answer {
            Some(answer) => answer.text().await.unwrap_or_default(),
            None => String::new(),
        };
        Verification {
            app,
            status,
            verified: status == Some(SUCCESS) && body == challenge,
        }
    }

    async fn post(&self, post: &Post, delivery: &Delivery) -> Option<u16> {
        let request = self.client.post(&post.url).timeout(post.ack_timeout);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header(SIGNATURE, &post.signature)
            .body(delivery.body.clone());
        let answer = request.send().await.ok()?;
        Some(answer.status().as_u16())
    }
}

impl Default for Sender {
    fn default() -> Self {
        // The client asks for a provider even where it speaks plain HTTP only.
        let _already_installed = ring::default_provider().install_default();
        // A proxy from the environment would carry loopback traffic off the machine, and a
        // redirect is no success.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build();
        Self {
            client: client.expect("a client without options of its own can be built"),
            places: Arc::new(Semaphore::new(CONCURRENT_POSTS)),
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.places.available_permits();
        formatter
            .debug_struct("Sender")
            .field("free", &free)
            .finish_non_exhaustive()
    }
}

/// Posts whatever is due, for as long as it is polled.
pub(crate) async fn pump(simulator: Arc<Simulator>) {
    loop {
        let places = Arc::clone(&simulator.sender.places);
        let place = places
            .acquire_owned()
            .await
            .expect("the places are never closed");
        let now = simulator.clock.now();
        let (post, next_due) = {
            let mut state = simulator.lock();
            let post = state.next_post(now);
            (post, state.outbox.next_due())
        };
        match (post, next_due) {
            (Some(delivery), _) => {
                tokio::spawn(attempt(Arc::clone(&simulator), delivery, place));
            }
            (None, Some(due)) => {
                tokio::select! {
                    () = simulator.clock.sleep_until(due) => {}
                    () = simulator.wake.notified() => {}
                }
            }
            (None, None) => simulator.wake.notified().await,
        }
    }
}

async fn attempt(simulator: Arc<Simulator>, delivery: Delivery, place: OwnedSemaphorePermit) {
    let Some(post) = prepare(&simulator, &delivery) else {
        return;
    };
    let at_ms = simulator.clock.now().as_unix_millis();
    let status = simulator.sender.post(&post, &delivery).await;
    drop(place);
    let attempt = Attempt {
        app: delivery.app.clone(),
        at_ms,
        attempt: delivery.failures + 1,
        status,
        body: String::from_utf8_lossy(&delivery.body).into_owned(),
    };
    tracing::debug!(
        app = attempt.app,
        attempt = attempt.attempt,
        status,
        "posted a webhook"
    );
    settle(&simulator, delivery, attempt);
}

/// Where the webhook goes now and how it is signed; nothing where the app has left.
fn prepare(simulator: &Simulator, delivery: &Delivery) -> Option<Post> {
    let mut state = simulator.lock();
    let names = delivery.user.each_ref().map(String::as_str);
    let is_forged = state
        .faults
        .take(Stage::Attempt, &delivery.pnid, &names)
        .is_some();
    let app = state.world.apps.iter().find(|app| app.id == delivery.app)?;
    let secret = if is_forged {
        WRONG_SECRET
    } else {
        app.signing_secret()
    };
    Some(Post {
        url: app.callback_url.clone()?,
        signature: wire::signature(secret, &delivery.body),
        ack_timeout: state.world.settings.ack_timeout(),
    })
}

fn settle(simulator: &Simulator, mut delivery: Delivery, attempt: Attempt) {
    let now = simulator.clock.now();
    let mut state = simulator.lock();
    // A reset meanwhile has forgotten this webhook.
    if state.seed.epoch() != delivery.epoch {
        return;
    }
    let is_taken = attempt.status == Some(SUCCESS);
    state.log.push(attempt);
    if is_taken {
        if let Some(heard) = &delivery.heard {
            heard.notify_one();
        }
        return;
    }
    delivery.failures += 1;
    if let Some(due) = retry::next_attempt(delivery.failures, now, delivery.since) {
        state.outbox.push(due, Job::Post(delivery));
        drop(state);
        simulator.wake.notify_one();
    }
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// Only this status; any other, a 204 too, is a failure to Meta.
const SUCCESS: u16 = 200;

/// What a webhook with a bad signature is signed with.
const WRONG_SECRET: &[u8] = b"not the secret of this app";

/// As many as Meta is assumed to post at once.
const CONCURRENT_POSTS: usize = 32;

/// Whoever sets a callback URL waits for this.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);
