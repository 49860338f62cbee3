//! Another configuration while the process serves: what takes its place, what lasts, and what
//! is refused.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use harness::process::Process;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use vestibule::clock::SystemClock;
use vestibule::identity::{Secret, Verifier};

use super::keys::answer;
use super::process::{command, free_port};
use super::world::{PATIENCE, get, send, service, soon, text};

#[tokio::test]
async fn a_signal_changes_limits_and_routes_and_no_request_fails() {
    let site = Site::begin(STEADY).await;
    let made = answer(site.folder.path(), "create --account acc_1 --scope a:b");
    let stop = Arc::new(AtomicBool::new(false));
    let streams: Vec<_> = (0..4)
        .map(|_| tokio::spawn(stream(site.edge, Arc::clone(&stop))))
        .collect();
    let keyed = format!("{STEADY}[[route]]\nmatch = 'GET /keyed'\n");
    site.write(&keyed);
    site.process.signal("HUP");
    let first = site.budget_is(&made, "60").await;
    for limit in ["7", "70", "7", "700"] {
        site.write(&format!("{keyed}[limits]\nper_minute = {limit}\n"));
        site.process.signal("HUP");
        site.budget_is(&made, limit).await;
    }
    // What was counted counts on: each look since has cost one.
    let last = site.budget_is(&made, "700").await;
    assert!(700 - last > 60 - first, "{first} of 60, then {last} of 700");
    site.write(STEADY);
    site.process.signal("HUP");
    site.answers("/keyed", 401).await;
    stop.store(true, Ordering::Release);
    for stream in streams {
        assert!(stream.await.unwrap() > 0, "requests were made");
    }
    let log = site.log();
    assert!(log.contains("limits.per_minute: 7 -> 70"), "{log}");
    assert!(log.contains(r#"route: +"GET /keyed""#), "{log}");
}

#[tokio::test]
async fn a_bad_configuration_is_told_and_the_one_in_force_goes_on() {
    let site = Site::begin(STEADY).await;
    site.write("threads = 'many'\n[limits]\nstreams = 0\n");
    site.process.signal("HUP");
    for want in [
        "threads = 'many': expected a whole number",
        "[limits] streams = 0: expected a whole number",
        "there is no [[route]]",
        "the new configuration is not taken; the one in force goes on",
    ] {
        site.says(want).await;
    }
    assert_eq!(site.status("/steady").await, 200);
    assert_eq!(site.metric(SUCCESSFUL).await, "0");
    site.write(&format!(
        "{STEADY}[[route]]\nmatch = 'GET /new'\nauth = 'none'\n"
    ));
    site.process.signal("HUP");
    site.answers("/new", 200).await;
    assert_eq!(site.metric(SUCCESSFUL).await, "1");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_nothing_is_taken() {
    let site = Site::begin(STEADY).await;
    let new = "[[route]]\nmatch = 'GET /new'\nauth = 'none'\n";
    let text = format!("{STEADY}{new}").replace("memory:", "file:other");
    site.write(&text.replace("threads = 1", "threads = 2"));
    site.process.signal("HUP");
    site.says("it needs a restart, because other values are in threads: 1 -> 2; store")
        .await;
    assert_eq!(site.status("/new").await, 401);
    assert_eq!(site.metric(SUCCESSFUL).await, "0");
    site.write(&format!("{STEADY}{new}"));
    site.process.signal("HUP");
    site.answers("/new", 200).await;
}

#[tokio::test]
async fn a_volume_that_is_swapped_is_followed_without_a_signal() {
    let site = Site::begin(STEADY).await;
    let path = |name: &str| site.folder.path().join(name);
    // As Kubernetes does: the file is a link into a folder that is a link.
    let swap = |version: &str, lines: &str| {
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("vestibule.toml"), site.text(lines)).unwrap();
        symlink(version, path("..new")).unwrap();
        std::fs::rename(path("..new"), path("..data")).unwrap();
    };
    swap("..1", STEADY);
    symlink("..data/vestibule.toml", path("..file")).unwrap();
    std::fs::rename(path("..file"), site.file()).unwrap();
    swap(
        "..2",
        &format!("{STEADY}[[route]]\nmatch = 'GET /new'\nauth = 'none'\n"),
    );
    site.answers("/new", 200).await;
    swap("..3", STEADY);
    site.answers("/new", 401).await;
}

#[tokio::test]
async fn a_secret_that_is_replaced_signs_the_next_request() {
    let site = Site::begin(&format!(
        "{STEADY}[[route]]\nmatch = 'GET /who'\n[identity]\nsecret_file = 'secret'\n\
         [limits]\nper_minute = 1000000\n"
    ))
    .await;
    let made = answer(site.folder.path(), "create --account acc_1 --scope a:b");
    site.is_signed_with(&made, "the old one").await;
    std::fs::write(site.folder.path().join("secret"), NEW_SECRET).unwrap();
    site.is_signed_with(&made, "the new one").await;
    site.says("identity.secret").await;
    let log = site.log();
    assert!(
        !log.contains(OLD_SECRET) && !log.contains(NEW_SECRET),
        "{log}"
    );
}

#[tokio::test]
async fn what_is_under_way_counts_by_the_new_configuration_too() {
    let one =
        format!("{STEADY}[[route]]\nmatch = 'GET /slow'\nauth = 'none'\n[limits]\nrequests = 1\n");
    let site = Site::begin(&one).await;
    let slow = tokio::spawn(send(site.edge, get("/slow")));
    soon(site.slow.begun.notified()).await;
    site.write(&format!(
        "{one}[[route]]\nmatch = 'GET /new'\nauth = 'none'\n"
    ));
    site.process.signal("HUP");
    site.says(r#"+"GET /new""#).await;
    assert_eq!(site.status("/new").await, 503, "the old one has the place");
    site.slow.end.notify_one();
    assert_eq!(soon(slow).await.unwrap().status(), 200);
    site.answers("/new", 200).await;
}

/// A sidecar in a process of its own, before a service that answers everything.
struct Site {
    process: Process,
    edge: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    slow: Arc<Slow>,
    folder: TempDir,
}

/// A request that takes as long as the test wants.
#[derive(Default)]
struct Slow {
    begun: Notify,
    end: Notify,
}

// === impl Site ===

impl Site {
    async fn begin(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), OLD_SECRET).unwrap();
        // A file of no key yet.
        answer(folder.path(), "create --account acc_0");
        let slow = Arc::new(Slow::default());
        let (edge, admin) = (free_port(), free_port());
        let upstream = service(upstream(Arc::clone(&slow))).await;
        let text = text_of(edge, admin, upstream, lines);
        let file = folder.path().join("vestibule.toml");
        std::fs::write(&file, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Process::start(command(&file).env("RUST_LOG", "info").stderr(log));
        let site = Self {
            process,
            edge,
            admin,
            upstream,
            slow,
            folder,
        };
        soon(async {
            while TcpStream::connect(admin).await.is_err() || site.ready().await != 200 {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        site
    }

    async fn ready(&self) -> u16 {
        send(self.admin, get("/readyz")).await.status().as_u16()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("vestibule.toml")
    }

    fn text(&self, lines: &str) -> String {
        text_of(self.edge, self.admin, self.upstream, lines)
    }

    fn write(&self, lines: &str) {
        std::fs::write(self.file(), self.text(lines)).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn says(&self, what: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while !self.log().contains(what) {
                tokio::time::sleep(LOOK).await;
            }
        });
        assert!(seen.await.is_ok(), "{what}: never in {}", self.log());
    }

    async fn status(&self, path: &str) -> u16 {
        send(self.edge, get(path)).await.status().as_u16()
    }

    async fn answers(&self, path: &str, status: u16) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while self.status(path).await != status {
                tokio::time::sleep(LOOK).await;
            }
        });
        assert!(seen.await.is_ok(), "{path}: never {status}: {}", self.log());
    }

    async fn is_signed_with(&self, made: &Value, want: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while text(send(self.edge, keyed("/who", made)).await).await != want {
                tokio::time::sleep(LOOK).await;
            }
        });
        assert!(seen.await.is_ok(), "never {want}: {}", self.log());
    }

    /// Waits until the key has this limit, and tells what is left of it.
    async fn budget_is(&self, made: &Value, limit: &str) -> u32 {
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                let answer = send(self.edge, keyed("/keyed", made)).await;
                let field = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
                if field("x-ratelimit-limit").as_deref() == Some(limit) {
                    return field("x-ratelimit-remaining").unwrap().parse().unwrap();
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        seen.await
            .unwrap_or_else(|_| panic!("never {limit}: {}", self.log()))
    }

    async fn metric(&self, name: &str) -> String {
        let metrics = text(send(self.admin, get("/metrics")).await).await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{metrics}")).to_owned()
    }
}

fn keyed(path: &str, made: &Value) -> Request<Full<Bytes>> {
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let request = Request::get(path).header("host", "h");
    let request = request.header("authorization", bearer);
    request.body(Full::default()).unwrap()
}

/// Keys at the top go before the tables of `lines`.
fn text_of(edge: SocketAddr, admin: SocketAddr, upstream: SocketAddr, lines: &str) -> String {
    format!("listen = '{edge}'\nadmin = '{admin}'\nupstream = '{upstream}'\n{lines}")
}

fn upstream(slow: Arc<Slow>) -> Router {
    let wait = move || async move {
        slow.begun.notify_one();
        slow.end.notified().await;
        "slow"
    };
    Router::new()
        .route("/slow", any(wait))
        .route("/who", any(who))
        .fallback(any(|| async { "ok" }))
}

/// With which secret a request was signed.
async fn who(request: axum::extract::Request) -> &'static str {
    let signed_with = |secret: &str| {
        let verifier = Verifier::from(Secret::new(secret).unwrap());
        let line = (request.method(), request.uri());
        let asserted = verifier.examine(request.headers(), line, SystemClock::shared().now());
        asserted.is_ok_and(|asserted| asserted.is_some())
    };
    match (signed_with(OLD_SECRET), signed_with(NEW_SECRET)) {
        (true, false) => "the old one",
        (false, true) => "the new one",
        _ => "neither",
    }
}

/// Sends one request after another on a connection, all of which must be answered.
async fn stream(edge: SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let sent = AtomicUsize::new(0);
    let stream = TcpStream::connect(edge).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    while !stop.load(Ordering::Acquire) {
        let answer = soon(sender.send_request(get("/steady"))).await.unwrap();
        assert_eq!(answer.status(), 200);
        soon(answer.into_body().collect()).await.unwrap();
        sent.fetch_add(1, Ordering::Relaxed);
        soon(sender.ready()).await.unwrap();
    }
    sent.into_inner()
}

const STEADY: &str = "threads = 1
store = 'memory:'
[keys]
source = 'keys.json'
[[route]]
match = 'GET /steady'
auth = 'none'
";

const SUCCESSFUL: &str = "vestibule_config_last_reload_successful";

const OLD_SECRET: &str = "canary-of-old-canary-of-old-canary";
const NEW_SECRET: &str = "canary-of-new-canary-of-new-canary";

const LOOK: std::time::Duration = std::time::Duration::from_millis(5);
