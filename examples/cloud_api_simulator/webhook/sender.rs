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

use super::forgery::{self, Dressed};
use super::log::Attempt;
use super::{Delivery, Job, retry};
use crate::fault::{Effect, Stage};
use crate::simulator::Simulator;
use crate::state::State;

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
    dressed: Dressed,
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

    async fn post(&self, post: Post) -> Option<u16> {
        let request = self.client.post(&post.url).timeout(post.ack_timeout);
        let mut request = request.header(CONTENT_TYPE, "application/json");
        if let Some(signature) = post.dressed.signature {
            request = request.header(SIGNATURE, signature);
        }
        let request = request.body(post.dressed.body);
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
    let (bytes, is_signed) = (post.dressed.body.len(), post.dressed.signature.is_some());
    let at_ms = simulator.clock.now().as_unix_millis();
    let status = simulator.sender.post(post).await;
    drop(place);
    let attempt = Attempt {
        app: delivery.app.clone(),
        at_ms,
        attempt: delivery.failures + 1,
        status,
        bytes,
        is_signed,
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
    let fault = take(&mut state, Stage::Attempt, delivery);
    let app = state.world.apps.iter().find(|app| app.id == delivery.app)?;
    Some(Post {
        url: app.callback_url.clone()?,
        dressed: forgery::dress(&delivery.body, app, fault.as_ref()),
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
        let heard = delivery
            .about
            .iter()
            .filter_map(|about| about.heard.as_ref());
        heard.for_each(|heard| heard.notify_one());
        state.log.keep(delivery);
        return;
    }
    delivery.failures += 1;
    if let Some(due) = retry::next_attempt(delivery.failures, now, delivery.since) {
        let comes_apart = !delivery.parts.is_empty()
            && take(&mut state, Stage::Retry, &delivery) == Some(Effect::Rebatch);
        let again = if comes_apart {
            delivery.split()
        } else {
            vec![delivery]
        };
        for delivery in again {
            state.outbox.push(due, Job::Post(delivery));
        }
        drop(state);
        simulator.wake.notify_one();
    }
}

/// The fault that strikes a webhook, by any of its updates.
fn take(state: &mut State, stage: Stage, delivery: &Delivery) -> Option<Effect> {
    let abouts = &mut delivery.about.iter();
    abouts.find_map(|about| state.faults.take(stage, &about.subject()))
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// Only this status; any other, a 204 too, is a failure to Meta.
const SUCCESS: u16 = 200;

/// As many as Meta is assumed to post at once.
const CONCURRENT_POSTS: usize = 32;

/// Whoever sets a callback URL waits for this.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);
