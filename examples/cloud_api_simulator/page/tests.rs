//! The page over a socket: its files, its policy, its events, and the two places it may be at.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;
use vestibule::clock::SystemClock;

use super::*;
use crate::clock::VirtualClock;
use crate::fault::Fault;
use crate::id::Seed;
use crate::state::State;
use crate::world::{self, Reach};
use crate::{control, graph};

#[tokio::test]
async fn every_file_is_served_under_a_policy_that_lets_nothing_in() {
    let run = Run::new();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/__sim/page/page.css", "text/css; charset=utf-8"),
        ("/__sim/page/main.js", "text/javascript; charset=utf-8"),
        ("/__sim/page/faults.json", "application/json"),
    ] {
        let response = run.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], content_type, "{path}");
        let policy = response.headers()["content-security-policy"].to_str();
        let policy = policy.unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    assert_eq!(run.get("/__sim/page/other.js").await.status(), 404);
}

#[tokio::test]
async fn the_page_is_not_on_a_graph_plane_of_its_own() {
    let run = Run::new();
    let graph = graph::routes().with_state(Arc::clone(&run.simulator));
    for path in ["/", "/__sim/events", "/__sim/page/main.js"] {
        let response = graph.clone().oneshot(request(path)).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(body["error"]["code"], 100, "{path}");
    }
}

#[tokio::test]
async fn a_page_begins_with_the_picture_and_hears_what_changes() {
    let run = Run::new();
    run.inbound("before").await;
    let mut page = run.open().await;
    let picture = page.expect("snapshot").await;
    assert_eq!(picture["numbers"][0]["display"], "15550783881");
    assert_eq!(picture["users"][0]["name"], "Sheena Nelson");
    assert_eq!(picture["conversations"][0]["messages"][0]["text"], "before");
    assert_eq!(picture["windows"].as_array().unwrap().len(), 1);
    assert!(picture["clock"]["now_ms"].is_u64(), "{picture}");
    run.inbound("<b>after</b>").await;
    let message = page.expect("message").await;
    assert_eq!(message["message"]["text"], "<b>after</b>");
    assert_eq!(message["message"]["from"], "customer");
    assert!(page.ids.is_sorted_by(|a, b| a < b), "{:?}", page.ids);
}

#[tokio::test]
async fn what_changes_without_an_event_is_noticed() {
    let run = Run::new();
    let mut page = run.open().await;
    page.expect("snapshot").await;
    run.post("faults", &json!({"fault": "reorder"})).await;
    page.until(|told| told["faults"][0]["fault"] == "reorder")
        .await;
    run.inbound("Hello").await;
    page.until(|told| told["closes_at_ms"].is_u64() || told["windows"][0]["closes_at_ms"].is_u64())
        .await;
    let day = 86_400_000;
    let tomorrow = run.simulator.clock.now().as_unix_millis() + day;
    run.post("clock", &json!({"advance_ms": day})).await;
    page.until(|told| {
        [told, &told["clock"]]
            .iter()
            .any(|clock| clock["now_ms"].as_u64() >= Some(tomorrow))
    })
    .await;
    let user = json!({"user": [{"wa_id": "4915112345678", "name": "Max"}]});
    run.post("world", &user).await;
    page.until(|told| told["users"][1]["name"] == "Max").await;
    run.post("reset", &json!({})).await;
    page.until(|told| told["conversations"] == json!([])).await;
}

#[tokio::test]
async fn a_page_that_falls_behind_gets_a_new_picture() {
    let run = Run::new();
    let mut page = run.open().await;
    page.expect("snapshot").await;
    for number in 0..2 * hub::KEPT {
        run.inbound(&format!("{number}")).await;
    }
    let last = format!("{}", 2 * hub::KEPT - 1);
    let is_current = |told: &Value| {
        let messages = told["conversations"][0]["messages"].as_array();
        messages.is_some_and(|kept| kept.last().is_some_and(|entry| entry["text"] == *last))
    };
    page.until(is_current).await;
    assert!(page.ids.len() < hub::KEPT, "{} events", page.ids.len());
}

#[test]
fn every_fault_that_the_page_offers_can_be_ordered() {
    for entry in catalogue() {
        let mut order = Map::from_iter([("fault".to_owned(), entry["fault"].clone())]);
        for field in entry["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            order.insert(name.to_owned(), field["value"].clone());
        }
        let knows: &[&str] = match entry["strikes"].as_str().unwrap() {
            "send" | "webhook" => &["pnid", "to"],
            "account" => &["pnid"],
            other => {
                assert_eq!(other, "connection");
                &[]
            }
        };
        order.extend(knows.iter().map(|key| ((*key).to_owned(), json!("1"))));
        let parsed = Fault::parse(order, Timestamp::EPOCH);
        assert!(parsed.is_ok(), "{entry}: {parsed:?}");
    }
}

#[test]
fn the_page_offers_every_fault_of_the_readme() {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once("\n## Faults\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(!names.is_empty());
    for name in names {
        let is_offered = catalogue().iter().any(|entry| entry["fault"] == name);
        assert!(is_offered, "{name}");
    }
}

fn catalogue() -> Vec<Value> {
    serde_json::from_str(include_str!("faults.json")).unwrap()
}

/// A simulator without sockets.
struct Run {
    simulator: Arc<Simulator>,
    app: Router,
    /// It ends with the test.
    _watching: JoinSet<()>,
}

/// An open page.
struct Open {
    body: BodyDataStream,
    unread: String,
    ids: Vec<u64>,
}

impl Run {
    fn new() -> Self {
        let world = world::parse(include_str!("../world.toml")).unwrap();
        let clock = VirtualClock::new(SystemClock::shared());
        let state = State::new(world, Seed::new(1));
        let simulator = Arc::new(Simulator::new(state, clock, Reach::Loopback));
        let app = routes().nest("/__sim", control::routes());
        let mut watching = JoinSet::new();
        watching.spawn(watch(Arc::clone(&simulator)));
        Self {
            app: app.with_state(Arc::clone(&simulator)),
            simulator,
            _watching: watching,
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.app.clone().oneshot(request(path)).await.unwrap()
    }

    async fn open(&self) -> Open {
        let response = self.get("/__sim/events").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Open {
            body: response.into_body().into_data_stream(),
            unread: String::new(),
            ids: Vec::new(),
        }
    }

    async fn inbound(&self, text: &str) {
        let inbound = json!({"user": "16505551234", "text": text});
        self.post("inbound", &inbound).await;
    }

    async fn post(&self, path: &str, body: &Value) {
        let request = Request::post(format!("/__sim/{path}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{path} {body}");
    }
}

impl Open {
    /// The next event of this name; others may come before it.
    async fn expect(&mut self, name: &str) -> Value {
        self.find(|told, _| told == name).await
    }

    /// Reads until an event says it, be it the picture or a change.
    async fn until(&mut self, says: impl Fn(&Value) -> bool) {
        self.find(|_, told| says(told)).await;
    }

    async fn find(&mut self, is_meant: impl Fn(&str, &Value) -> bool) -> Value {
        let found = async {
            loop {
                let (name, told) = self.next().await;
                if is_meant(&name, &told) {
                    return told;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.expect("it is told")
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(name) = field("event: ") {
                    self.ids.push(field("id: ").unwrap().parse().unwrap());
                    let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
                    return (name.to_owned(), data);
                }
                continue;
            }
            let bytes = self.body.next().await.expect("the stream goes on").unwrap();
            self.unread.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Longer than any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
