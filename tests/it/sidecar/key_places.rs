//! `vestibule keys` with the real binary against a running sidecar and a real Redis.

use std::any::Any;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use harness::process::{Process, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use vestibule::testing::KeySubject;
use vestibule::testing::server::{PostgresServer, RedisServer};
use vestibule_sidecar::Running;
use vestibule_sidecar::config::Address;
use vestibule_sidecar::keys::AdminKeys;

use super::keys::{keys_at, status, text};
use super::world::{self, get, sidecar};

vestibule::keystore_conformance!(admin_socket, || Place::embedded().await);

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_create_to_revoke_and_each_change_holds_on_the_next_request() {
    for place in Place::each().await {
        let edge = world::address(&place.sidecar);
        let made = place.answer("create --account acc_1 --scope a:b");
        assert_eq!(status(edge, &made).await, 200, "{}", place.name);
        let id = text(&made["key"]["id"]);
        let changed = place.answer(&format!("update {id} --per-minute 7"));
        assert_eq!(changed["key"]["per_minute"], 7);
        let next = place.answer(&format!("rotate {id} --overlap 0s"));
        assert_eq!(next["key"]["family"], id.as_str());
        assert_eq!(status(edge, &made).await, 401, "{}", place.name);
        assert_eq!(status(edge, &next).await, 200, "{}", place.name);
        let again = place.refusal(&format!("rotate {id} --overlap 0s"));
        assert!(again.contains("it has expired"), "{again}");
        let next_id = text(&next["key"]["id"]);
        let revoked = place.answer(&format!("revoke {next_id}"));
        assert_eq!(revoked["key"]["state"], "revoked");
        assert_eq!(status(edge, &next).await, 401, "{}", place.name);
        let shown = place.answer(&format!("show {next_id}"));
        assert_eq!(shown["key"], revoked["key"]);
        let listed = place.answer("list --account acc_1");
        assert_eq!(listed["keys"].as_array().map(Vec::len), Some(2));
        let verdict = place.run("verify --json", &text(&next["secret"]));
        let verdict: Value = serde_json::from_slice(&verdict).unwrap();
        assert_eq!(verdict["reason"], "revoked");
        let nobody = place.refusal("show nobody");
        let want = format!("{}: there is no key with the id \"nobody\"\n", place.name);
        assert!(nobody.ends_with(&want), "{nobody}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_keys_are_taken_and_counted() {
    let lines: String = (0..10_000)
        .map(|number| {
            let digest = json!({ "algorithm": "sha256", "value": format!("{number:064x}") });
            let line = json!({ "account": "acc_1", "scopes": ["a:b"], "digest": digest });
            format!("{line}\n")
        })
        .collect();
    for place in Place::each().await {
        for time in ["first", "second"] {
            let taken = place.run("import - --json", &lines);
            assert_eq!(taken, b"{\"imported\":10000}\n", "the {time} time");
        }
        let exported = place.run("export", "");
        let exported = String::from_utf8(exported).unwrap();
        assert_eq!(exported.lines().count(), 10_000, "{}", place.name);
    }
}

#[test]
fn the_configuration_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("vestibule.toml");
    std::fs::write(&config, lines_for(&folder)).unwrap();
    let by_config = ["--config", config.to_str().unwrap()];
    let run = |arguments: &str| {
        let output = keys_at(&by_config, arguments, "");
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let mut serve = Command::new(binary("vestibule"));
    serve.arg("serve").args(by_config);
    let (mut process, _) = Process::announced(&mut serve);
    // Until it has opened its store, it has no keys to change.
    let patience = Duration::from_millis(20);
    let listed = || keys_at(&by_config, "list", "").status.success();
    assert!(
        (0..500).any(|_| listed() || {
            std::thread::sleep(patience);
            false
        }),
        "never ready"
    );
    let made = run("create --account acc_1 --json");
    process.signal("INT");
    process.ended(Duration::from_secs(10));
    // The socket is gone with the process, and the file is free.
    let listed = run("list --json");
    assert_eq!(listed["keys"][0]["id"], made["key"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_shown_to_the_owner_of_the_process_alone() {
    let place = Place::embedded().await;
    let socket = std::fs::metadata(place.socket()).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let lines = format!(
        "store = 'file:{}'\nadmin = '127.0.0.1:0'\n[keys]\nsource = 'store'\n[[route]]\nmatch = '* /'\n",
        store.display()
    );
    let on_a_port = sidecar("127.0.0.1:1", &lines);
    let admin = world::tcp(on_a_port.admin().unwrap());
    for path in ["/v1/keys", "/v1/keys?id=a", "/v1/keys/seen"] {
        let answer = world::send(admin, get(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_with_a_key_file_changes_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let lines = format!(
        "admin = 'unix:{}'\n[[route]]\nmatch = '* /'\n",
        socket.display()
    );
    let _running = sidecar("127.0.0.1:1", &lines);
    let address = format!("unix:{}", socket.display());
    let refused = keys_at(&["--admin", &address], "list", "");
    let said = String::from_utf8(refused.stderr).unwrap();
    let want = "the sidecar has no key records to change: its [keys] source is not \"store\"\n";
    assert!(said.ends_with(want), "{said}");
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_place_that_has_no_keys_is_told() {
    for (place, want) in [
        (
            ["--store", "memory:"],
            "store \"memory:\": it keeps no key records",
        ),
        (
            ["--admin", "unix:/nowhere/admin.sock"],
            "unix:/nowhere/admin.sock: the store was not asked: No such file",
        ),
        (
            ["--store", "redis://:canary@127.0.0.1:1"],
            "store \"redis://***@127.0.0.1:1\": it cannot be reached",
        ),
    ] {
        let refused = keys_at(&place, "list", "");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.starts_with(&format!("vestibule: {want}")), "{said}");
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(refused.status.code(), Some(1));
    }
}

/// A sidecar with its keys in a store, and how commands are told of the place.
struct Place {
    sidecar: Running,
    arguments: Vec<String>,
    name: String,
    _folder: TempDir,
    _server: Option<Box<dyn Any + Send + Sync>>,
}

impl Place {
    async fn each() -> [Self; 3] {
        [
            Self::embedded().await,
            Self::redis().await,
            Self::postgres().await,
        ]
    }

    /// The store is the sidecar's own, and commands ask at its admin socket.
    async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file:{}", folder.path().join("store").display());
        let admin = format!("unix:{}", folder.path().join("admin.sock").display());
        Self::new(&store, ("--admin", admin), folder, None).await
    }

    /// Commands ask Redis themselves.
    async fn redis() -> Self {
        let server = RedisServer::start(&[]);
        let store = server.address();
        let folder = tempfile::tempdir().unwrap();
        let server = Some(Box::new(server) as Box<dyn Any + Send + Sync>);
        Self::new(&store, ("--store", store.clone()), folder, server).await
    }

    /// Commands ask PostgreSQL themselves.
    async fn postgres() -> Self {
        let server = PostgresServer::shared();
        let store = server.database();
        let folder = tempfile::tempdir().unwrap();
        let server = Some(Box::new(server) as Box<dyn Any + Send + Sync>);
        Self::new(&store, ("--store", store.clone()), folder, server).await
    }

    async fn new(
        store: &str,
        (option, name): (&str, String),
        folder: TempDir,
        server: Option<Box<dyn Any + Send + Sync>>,
    ) -> Self {
        let upstream = world::service(Router::new().fallback(any(|| async { "in" }))).await;
        let admin = folder.path().join("admin.sock");
        let lines = format!(
            "store = '{store}'\nadmin = 'unix:{}'\n[keys]\nsource = 'store'\n[[route]]\nmatch = '* /'\n",
            admin.display()
        );
        Self {
            sidecar: sidecar(upstream, &lines),
            arguments: vec![option.to_owned(), name.clone()],
            // A user and a password are never shown.
            name: name.replace("//postgres@", "//***@"),
            _folder: folder,
            _server: server,
        }
    }

    /// What a command answers with `--json`.
    fn answer(&self, arguments: &str) -> Value {
        let answer = self.run(&format!("{arguments} --json"), "");
        serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{arguments}: no answer"))
    }

    fn run(&self, arguments: &str, input: &str) -> Vec<u8> {
        let place: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let output = keys_at(&place, arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.is_empty(), "{arguments}: {said}");
        output.stdout
    }

    fn refusal(&self, arguments: &str) -> String {
        let place: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let output = keys_at(&place, arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn socket(&self) -> PathBuf {
        match self.sidecar.admin() {
            Some(Address::Unix(path)) => path.clone(),
            other => panic!("no socket: {other:?}"),
        }
    }
}

/// A whole configuration, with its files in this folder.
fn lines_for(folder: &TempDir) -> String {
    let folder = folder.path().display();
    format!(
        "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\nstore = 'file:{folder}/store'\nadmin = 'unix:{folder}/admin.sock'\n[keys]\nsource = 'store'\n[[route]]\nmatch = '* /'\n"
    )
}

impl KeySubject for Place {
    type Store = AdminKeys;

    fn store(&self) -> AdminKeys {
        AdminKeys::new(self.socket())
    }
}
