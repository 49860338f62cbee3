//! The rules of the house, held against the source tree.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project, by its path from the root.
struct File {
    path: String,
    text: String,
}

#[test]
fn siblings_never_import_one_another() {
    for file in sources("middleware/src/") {
        let Some(room) = SIBLINGS.iter().find(|room| file.is_in(room)) else {
            continue;
        };
        for other in SIBLINGS.iter().filter(|other| *other != room) {
            file.must_not(&format!("import its sibling {other}"), |line| {
                imports(line, other)
            });
        }
    }
}

#[test]
fn leaves_import_no_sibling_and_no_store() {
    for file in sources("middleware/src/") {
        if !LEAVES.iter().any(|leaf| file.is_in(leaf)) {
            continue;
        }
        for room in SIBLINGS.iter().chain(&[
            "embedded", "memory", "postgres", "redis", "sqlite", "stack", "store",
        ]) {
            file.must_not(&format!("import {room}"), |line| imports(line, room));
        }
    }
}

#[test]
fn every_room_of_the_middleware_has_its_place() {
    let above = [
        "docs", "embedded", "extract", "lib", "memory", "pair", "postgres", "redis", "sqlite",
        "stack", "store", "testing",
    ];
    for file in sources("middleware/src/") {
        let rooms = LEAVES.iter().chain(&SIBLINGS).chain(&above);
        let known = rooms.into_iter().any(|room| file.is_in(room));
        assert!(
            known,
            "{} is neither a leaf, a sibling, a store nor the stack",
            file.path
        );
    }
}

#[test]
fn stores_import_what_the_siblings_ask_of_a_store_and_no_layer() {
    let stores = [
        "middleware/src/memory/",
        "middleware/src/embedded/",
        "middleware/src/postgres/",
        "middleware/src/redis/",
        "middleware/src/sqlite/",
    ];
    for file in stores.into_iter().flat_map(sources) {
        for name in ["Layer", "Authenticat", "Limiter", "Executor", "tower"] {
            file.must_not(&format!("name {name}"), |line| line.contains(name));
        }
    }
}

#[test]
fn decisions_know_no_framework() {
    for path in DECISIONS {
        let file = read(path);
        for name in [
            "axum", "hyper", "pingora", "redis", "reqwest", "sqlx", "tokio", "tower",
        ] {
            file.must_not(&format!("name {name}"), |line| line.contains(name));
        }
    }
}

#[test]
fn the_wall_clock_is_read_in_one_file() {
    for file in everywhere().filter(|file| file.path != "middleware/src/clock.rs") {
        for needle in [concat!("SystemTime", "::now"), concat!("now_", "utc")] {
            file.must_not("read the wall clock", |line| line.contains(needle));
        }
    }
}

#[test]
fn an_error_status_is_written_in_one_table() {
    let tables = ["middleware/src/error/", "service/src/cloud_api/error.rs"];
    let constants: Vec<String> = (400..600).filter_map(constant).collect();
    for file in sources("middleware/src/")
        .chain(sources("sidecar/src/"))
        .chain(sources("service/src/"))
    {
        if tables.iter().any(|table| file.path.starts_with(table)) {
            continue;
        }
        file.must_not("write the status of an error", |line| {
            let named = constants.iter().any(|name| line.contains(name.as_str()));
            named
                || (line.contains("status")
                    && numbers(line).any(|number| (400..600).contains(&number)))
        });
    }
}

#[test]
fn pingora_is_imported_by_two_files_of_the_sidecar() {
    let importing = |file: &File| file.code().any(|(_, line)| line.contains("use pingora"));
    let files: Vec<String> = everywhere()
        .filter(importing)
        .map(|file| file.path)
        .collect();
    assert!(files.len() <= 2, "{files:?}");
    assert!(
        files.iter().all(|path| path.starts_with("sidecar/src/")),
        "{files:?}"
    );
    for package in ["middleware", "service"] {
        let manifest = read(&format!("{package}/Cargo.toml"));
        assert!(!manifest.text.contains("pingora"), "{}", manifest.path);
    }
}

#[test]
fn redis_is_imported_by_its_room_of_the_middleware() {
    for file in everywhere().filter(|file| !file.path.starts_with("middleware/src/redis/")) {
        file.must_not("import redis", |line| {
            line.trim_start().starts_with("use redis") || line.contains(" ::redis::")
        });
    }
}

#[test]
fn what_holds_a_secret_writes_its_debug_by_hand() {
    for (path, name) in SECRETS {
        let file = read(path);
        let by_hand = [
            format!("fmt::Debug for {name} {{"),
            format!("fmt::Debug for {name}<"),
        ];
        let found = by_hand.iter().any(|head| file.text.contains(head.as_str()));
        assert!(found, "{path}: {name} must not derive Debug");
    }
}

#[test]
fn a_file_says_first_what_it_is_for() {
    for file in everywhere() {
        let first = file.text.lines().find(|line| !line.starts_with("#!"));
        let says = first.is_some_and(|line| line.starts_with("//! ") && line.len() > 10);
        assert!(says, "{} begins with {first:?}", file.path);
    }
}

#[test]
fn a_file_is_at_most_400_lines_long() {
    for file in everywhere().filter(|file| !file.is_a_test()) {
        let lines = file.without_tests();
        let lines = lines.filter(|line| *line != "#[cfg(test)]").count();
        assert!(
            lines <= 400,
            "{} has {lines} lines without its tests",
            file.path
        );
    }
}

#[test]
fn every_test_is_run_and_may_fail() {
    for file in everywhere() {
        for needle in [concat!("#[", "ignore"), concat!("should_", "panic")] {
            file.must_not(&format!("say {needle}"), |line| line.contains(needle));
        }
    }
}

#[test]
fn the_two_pages_for_newcomers_are_short() {
    for (path, most) in [("README.md", 120), ("ARCHITECTURE.md", 150)] {
        let lines = read(path).text.lines().count();
        assert!((1..=most).contains(&lines), "{path} has {lines} lines");
    }
}

#[test]
fn nothing_names_a_folder_of_one_machine() {
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    for file in files(&[]) {
        for folder in folders {
            assert!(!file.text.contains(folder), "{} names {folder}", file.path);
        }
    }
}

// === impl File ===

impl File {
    /// Whether it is this room of the middleware: a file, or a folder.
    fn is_in(&self, room: &str) -> bool {
        let Some(rest) = self.path.strip_prefix("middleware/src/") else {
            return false;
        };
        rest == format!("{room}.rs") || rest.starts_with(&format!("{room}/"))
    }

    /// Whether it, or a folder that it is in, is named for its tests.
    fn is_a_test(&self) -> bool {
        let names = self.path.trim_end_matches(".rs").split('/').skip(1);
        let mut names = names.filter(|name| name.ends_with("tests"));
        names.next().is_some() || self.path.starts_with("tests/it/")
    }

    /// Its lines up to its own tests.
    fn without_tests(&self) -> impl Iterator<Item = &str> {
        let mut lines = self.text.lines().peekable();
        // A module that has a file of its own may be named anywhere.
        let written_out = |line: &&str| line.contains("mod ") && line.ends_with(" {");
        std::iter::from_fn(move || {
            let line = lines.next()?;
            let is_end = line == "#[cfg(test)]" && lines.peek().is_some_and(written_out);
            (!is_end).then_some(line)
        })
    }

    /// Its lines that are no comment, with their numbers; tests are left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.without_tests().enumerate();
        let tests = self.is_a_test();
        lines.filter(move |(_, line)| !tests && !line.trim_start().starts_with("//"))
    }

    fn must_not(&self, what: &str, is_wrong: impl Fn(&str) -> bool) {
        let found = self.code().find(|(_, line)| is_wrong(line));
        if let Some((index, line)) = found {
            panic!(
                "{}:{} must not {what}: {}",
                self.path,
                index + 1,
                line.trim()
            );
        }
    }
}

/// Whether a line imports a room, or names it where it stands.
fn imports(line: &str, room: &str) -> bool {
    // One path a line, so that each can be seen.
    let several = line.contains("use crate::{");
    several
        || [
            format!("crate::{room}::"),
            format!("crate::{room};"),
            format!("super::super::{room}"),
        ]
        .iter()
        .any(|path| line.contains(path.as_str()))
}

/// `BAD_REQUEST` for 400.
fn constant(status: u16) -> Option<String> {
    let status = http::StatusCode::from_u16(status).ok()?;
    let words = status.canonical_reason()?.to_uppercase();
    Some(format!("StatusCode::{}", words.replace([' ', '-'], "_")))
}

fn numbers(line: &str) -> impl Iterator<Item = u32> {
    let words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter_map(|word| word.parse().ok())
}

/// The Rust files below a folder.
fn sources(folder: &str) -> impl Iterator<Item = File> {
    let found: Vec<File> = everywhere()
        .filter(|file| file.path.starts_with(folder))
        .collect();
    assert!(!found.is_empty(), "{folder} has no Rust files");
    found.into_iter()
}

/// Every Rust file of the project.
fn everywhere() -> impl Iterator<Item = File> {
    files(&["rs"]).into_iter()
}

/// The project's text files with these extensions; with none, all of them.
fn files(extensions: &[&str]) -> Vec<File> {
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if ["target", ".git"].contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if extensions.is_empty() || extensions.contains(&&*extension) {
                // What is no text cannot break these rules.
                found.extend(fs::read_to_string(&path).ok().map(|text| file(&path, text)));
            }
        }
    }
    found
}

fn read(path: &str) -> File {
    let found = root().join(path);
    let text = fs::read_to_string(&found);
    file(
        &found,
        text.unwrap_or_else(|cause| panic!("{path}: {cause}")),
    )
}

fn file(path: &Path, text: String) -> File {
    let path = path.strip_prefix(root()).expect("it is below the root");
    File {
        path: path.display().to_string(),
        text,
    }
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in the workspace")
        .to_owned()
}

/// Each stands for itself; they meet in request extensions.
const SIBLINGS: [&str; 5] = [
    "api_key",
    "correlation_id",
    "idempotency",
    "identity",
    "rate_limit",
];

/// What the siblings stand on.
const LEAVES: [&str; 15] = [
    "body",
    "breaker",
    "budget",
    "clock",
    "codec",
    "context",
    "entropy",
    "error",
    "future",
    "guarded",
    "header",
    "principal",
    "route",
    "tasks",
    "telemetry",
];

/// Pure functions over plain data, with the time passed in.
const DECISIONS: [&str; 27] = [
    "middleware/src/api_key/digest.rs",
    "middleware/src/api_key/key.rs",
    "middleware/src/api_key/record.rs",
    "middleware/src/breaker.rs",
    "middleware/src/codec.rs",
    "middleware/src/idempotency/codec.rs",
    "middleware/src/idempotency/fingerprint.rs",
    "middleware/src/idempotency/kept.rs",
    "middleware/src/idempotency/key.rs",
    "middleware/src/embedded/codec.rs",
    "middleware/src/idempotency/record/mod.rs",
    "middleware/src/idempotency/record/parts.rs",
    "middleware/src/memory/records.rs",
    "middleware/src/postgres/room.rs",
    "middleware/src/rate_limit/quota/mod.rs",
    "middleware/src/rate_limit/table.rs",
    "middleware/src/route/policy.rs",
    "middleware/src/route/table.rs",
    "middleware/src/sqlite/capacity.rs",
    "service/src/message/mod.rs",
    "service/src/recipient.rs",
    "service/src/window.rs",
    "sidecar/src/failures.rs",
    "sidecar/src/forwarded.rs",
    "sidecar/src/network.rs",
    "sidecar/src/standing.rs",
    "sidecar/src/upstream/health.rs",
];

/// Types whose contents must not be seen in a log.
const SECRETS: [(&str, &str); 13] = [
    ("middleware/src/api_key/digest.rs", "Digest"),
    ("middleware/src/api_key/digest.rs", "Pepper"),
    ("middleware/src/api_key/key.rs", "ApiKey"),
    ("middleware/src/context.rs", "Claim"),
    ("middleware/src/idempotency/key.rs", "IdempotencyKey"),
    ("middleware/src/idempotency/replay.rs", "KeptResponse"),
    ("middleware/src/identity/secret.rs", "Secret"),
    ("middleware/src/postgres/connection.rs", "Connections"),
    ("service/src/config/mod.rs", "Secret"),
    ("sidecar/src/config/identity.rs", "Identity"),
    ("sidecar/src/config/store.rs", "Store"),
    ("sidecar/src/keys/create.rs", "Minted"),
    ("sidecar/src/tls.rs", "Fresh"),
];
