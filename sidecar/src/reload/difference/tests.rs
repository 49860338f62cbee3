//! What is told apart, what is shown of it, and what needs a restart.

use super::*;

#[test]
fn every_key_of_the_schema_is_live_or_needs_a_restart() {
    let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    for key in crate::config::schema_keys() {
        let name = match &*key {
            "identity.secret_file" => "identity.secret",
            key if key.starts_with("keys.pepper.") => "keys.pepper",
            key if key.starts_with("route.") => "route",
            key => key,
        };
        assert!(KEYS.iter().any(|key| key.name == name), "{key}");
        known.retain(|one| *one != name);
    }
    // Whether there is the section at all.
    assert_eq!(known, ["tls"]);
}

#[test]
fn each_value_is_told_apart_and_what_needs_a_restart_is_named() {
    for (old, new, is_live, want) in CHANGES {
        let (before, after) = (config(old), config(new));
        let difference = Difference::between(&before, &after);
        assert_eq!(difference.to_string(), *want, "{old} -> {new}");
        assert_eq!(difference.fixed().is_none(), *is_live, "{new}");
        assert!(Difference::between(&after, &after).is_empty(), "{new}");
    }
}

#[test]
fn where_something_stands_is_no_difference() {
    let one = config("http2 = true\n[limits]\nstreams = 9");
    let other = config("\n\n[limits]\n\nstreams = 9\n[health]");
    assert!(Difference::between(&one, &other).is_empty());
}

#[test]
fn the_part_that_needs_a_restart_leaves_the_rest_out() {
    let difference = Difference::between(
        &config("threads = 1\n[limits]\nstreams = 1"),
        &config("threads = 2\nstore = 'redis://h'\n[limits]\nstreams = 2"),
    );
    assert_eq!(
        difference.fixed().unwrap().to_string(),
        "threads: 1 -> 2; store"
    );
    assert!(difference.touches(&["limits."]) && difference.touches(&["limits.streams"]));
    assert!(!difference.touches(&["limits", "limits.requests", "timeouts."]));
}

fn config(lines: &str) -> Config {
    // Keys at the top go before the tables.
    let text = format!(
        "listen = '127.0.0.1:1'\nupstream = ['a:1', 'b:1']\n{}{lines}\n[[route]]\nmatch = 'GET /'\n",
        if lines.contains("threads") {
            ""
        } else {
            "threads = 1\n"
        },
    );
    Config::parse("c.toml", &text).unwrap()
}

const CHANGES: &[(&str, &str, bool, &str)] = &[
    ("", "threads = 2", false, "threads: 1 -> 2"),
    ("", "admin = '127.0.0.1:2'", false, "admin:  -> 127.0.0.1:2"),
    (
        "store = 'redis://:canary@h'",
        "store = 'redis://:other@h'",
        false,
        "store",
    ),
    (
        "store = 'postgres://h/d'",
        "store = 'postgres://h/d'\ncounters = 'redis://h'",
        false,
        "counters",
    ),
    (
        "",
        "[keys]\nsource = 'k'",
        false,
        "keys.source: None -> File(\"k\")",
    ),
    (
        "",
        "[tls]\ncertificate = 'c'\nkey = 'k'",
        false,
        "tls: false -> true; tls.certificate:  -> \"c\"; tls.key:  -> \"k\"; tls.client_ca:  -> None",
    ),
    (
        "[[keys.pepper]]\nid = '1'\nenv = 'PATH'",
        "",
        false,
        "keys.pepper; keys.pepper: 1 is lost",
    ),
    (
        "",
        "[[keys.pepper]]\nid = '1'\nenv = 'PATH'",
        true,
        "keys.pepper",
    ),
    (
        "",
        "[limits]\nper_minute = 7",
        true,
        "limits.per_minute: 60 -> 7",
    ),
    (
        "",
        "[timeouts]\nhead = '7s'",
        true,
        "timeouts.head: 10s -> 7s",
    ),
    (
        "",
        "[identity]\nsecret = 'canary-canary-canary-canary-canary'",
        true,
        "identity.secret",
    ),
    ("", "[drain]\nlag = '0s'", true, "drain.lag: 5s -> 0ns"),
    (
        "",
        "[[route]]\nmatch = 'GET /new'",
        true,
        "route: +\"GET /new\"",
    ),
    (
        "[[route]]\nmatch = 'GET /old'",
        "",
        true,
        "route: -\"GET /old\"",
    ),
    (
        "[[route]]\nmatch = 'GET /x'",
        "[[route]]\nmatch = 'GET /x'\nauth = 'none'",
        true,
        "route: ~\"GET /x\"",
    ),
];
