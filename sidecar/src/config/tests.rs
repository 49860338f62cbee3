//! What is read, and the exact words of each refusal.

use std::time::Duration;

use super::*;

#[test]
fn reads_the_whole_vocabulary() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.upstream.to_string(), "unix:/run/pod/app.sock");
    assert_eq!(config.admin[0].to_string(), "127.0.0.1:9090");
    assert_eq!(config.error_format, ErrorFormat::Problem);
    assert_eq!((config.threads, config.http2), (2, false));
    let source = KeySource::File(PathBuf::from("etc/keys.json"));
    assert_eq!(config.keys.source, source);
    assert!(config.keys.opaque && config.keys.separate_codes);
    assert_eq!(config.keys.brand.as_deref(), Some("mk"));
    assert_eq!(config.identity.secret.as_deref(), Some(SECRET));
    assert_eq!(config.limits.per_minute, 120);
    assert_eq!(config.limits.head_max, 32 << 10);
    assert_eq!(config.timeouts.head, Duration::from_secs(5));
    assert_eq!(config.drain.lag, Duration::ZERO);
    let [send, hook] = &config.routes[..] else {
        panic!("two routes: {:?}", config.routes)
    };
    assert_eq!(send.pattern, "POST /v1/whatsapp/{messages,templates}");
    assert_eq!(send.auth, Auth::Scopes(vec!["whatsapp:send".to_owned()]));
    assert_eq!(send.idempotency, Some(Idempotency::Deduplicates));
    assert_eq!(send.deadline, Some(Duration::from_secs(15)));
    assert_eq!(send.agent.as_deref(), Some("/agent_id"));
    assert_eq!((&hook.auth, hook.body_max), (&Auth::Public, Some(4 << 20)));
}

#[test]
fn admin_is_one_address_or_several() {
    for (given, want) in [
        ("'127.0.0.1:9090'", Ok("127.0.0.1:9090")),
        (
            "['127.0.0.1:9090', 'unix:/run/a.sock']",
            Ok("127.0.0.1:9090 unix:/run/a.sock"),
        ),
        ("['127.0.0.1:9090', 'unix:a']", Err(())),
        ("[]", Err(())),
    ] {
        let text = format!("listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\nadmin = {given}");
        let addresses = parse(&text).map(|config| {
            let addresses = config.admin.iter().map(ToString::to_string);
            addresses.collect::<Vec<_>>().join(" ")
        });
        let said = addresses.as_ref().err().map(ToString::to_string);
        assert!(said.is_none_or(|said| said.contains("or a list of them")));
        assert_eq!(addresses.as_deref().map_err(|_| ()), want, "{given}");
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parse("listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'").unwrap();
    assert_eq!(config.store.address, "file:etc/vestibule.redb");
    assert_eq!(config.store.line, 1);
    assert_eq!(config.error_format, ErrorFormat::Envelope);
    assert!(config.http2 && config.admin.is_empty() && config.threads >= 1);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.drain, Drain::default());
    assert!(config.routes.is_empty() && config.identity.secret.is_none());
}

#[test]
fn a_file_of_the_store_is_named_from_the_folder_of_the_configuration() {
    for (given, want) in [
        ("file:kept/store.redb", "file:etc/kept/store.redb"),
        ("file:/var/lib/store.redb", "file:/var/lib/store.redb"),
        ("file:", "file:"),
        ("memory:", "memory:"),
        ("redis://redis:6379", "redis://redis:6379"),
    ] {
        let text = format!("listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\nstore = '{given}'");
        let store = parse(&text).unwrap().store;
        assert_eq!((&*store.address, store.line), (want, 3));
    }
}

#[test]
fn a_fault_names_file_line_key_value_and_what_is_allowed() {
    let minimal = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n";
    for (added, want) in FAULTS {
        let fault = parse_as("c.toml", &format!("{minimal}{added}")).unwrap_err();
        assert_eq!(fault.to_string(), *want, "{added}");
    }
}

#[test]
fn what_must_be_said_is_missed() {
    for (given, want) in [
        (
            "",
            "c.toml:1: 'listen' is missing; expected an address like \"0.0.0.0:8080\"",
        ),
        (
            "listen = '127.0.0.1:0'",
            "c.toml:1: 'upstream' is missing; expected a service like \"127.0.0.1:9000\"",
        ),
    ] {
        assert_eq!(parse_as("c.toml", given).unwrap_err().to_string(), want);
    }
}

#[test]
fn what_is_no_toml_names_its_line() {
    let fault = parse_as("c.toml", "listen = '127.0.0.1:0'\nlisten = '").unwrap_err();
    assert!(fault.to_string().starts_with("c.toml:2: "), "{fault}");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for (content, want) in [
        (format!("{SECRET}\n"), Ok(SECRET)),
        (
            "canary\n".to_owned(),
            Err(":4: [identity] secret_file: a secret of at least 32 bytes is expected"),
        ),
    ] {
        std::fs::write(folder.path().join("secret"), &content).unwrap();
        let text =
            "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n[identity]\nsecret_file = 'secret'";
        let read = parse_as(folder.path().join("c.toml").to_str().unwrap(), text);
        match (read, want) {
            (Ok(config), want) => assert_eq!(config.identity.secret.as_deref(), want.ok()),
            (Err(fault), want) => {
                assert!(fault.to_string().ends_with(want.unwrap_err()), "{fault}")
            }
        }
    }
    let both = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n[identity]\nsecret_file = 'a'\nsecret = 'b'";
    let fault = parse_as("c.toml", both).unwrap_err().to_string();
    assert_eq!(
        fault,
        "c.toml:4: [identity] secret_file: give 'secret' or 'secret_file', not both"
    );
}

#[test]
fn the_key_records_are_nowhere_in_a_file_or_in_the_store() {
    for (line, want) in [
        ("", KeySource::None),
        ("source = 'store'", KeySource::Store),
        ("source = './store'", KeySource::File("etc/./store".into())),
    ] {
        let config = parse(&format!("{MINIMAL}[keys]\n{line}")).unwrap();
        assert_eq!(config.keys.source, want, "{line}");
        assert!(!config.keys.opaque && !config.keys.separate_codes, "{line}");
    }
}

#[test]
fn a_pepper_is_read_from_where_it_stands_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pepper"), "canary-of-sixteen-bytes\n").unwrap();
    std::fs::write(folder.path().join("weak"), "canary\n").unwrap();
    let path = folder.path().join("c.toml");
    let parsed = |text: &str| {
        let text = format!("{MINIMAL}[[keys.pepper]]\n{text}");
        Config::parse(&path, &text)
    };
    let config = parsed("id = 'p1'\nfile = 'pepper'").unwrap();
    assert!(config.keys.peppers.has("p1"));
    assert!(!format!("{config:?}").contains("canary"));
    for (text, want) in [
        (
            "id = 'p1'\nfile = 'weak'",
            "[[keys.pepper]] file: a pepper has 6 bytes; it must have 16 or more",
        ),
        (
            "id = 'p1'",
            "[[keys.pepper]] id: its secret is missing; give 'file' or 'env'",
        ),
        (
            "id = 'p1'\nfile = 'pepper'\nenv = 'PEPPER'",
            "[[keys.pepper]] file: give 'file' or 'env', not both",
        ),
        (
            "id = 'p 1'\nfile = 'pepper'",
            "[[keys.pepper]] id = 'p 1': expected 1 to 64 visible ASCII characters",
        ),
        (
            "id = 'p1'\nenv = 'VESTIBULE_NOBODY_SETS_THIS'",
            "[[keys.pepper]] env = 'VESTIBULE_NOBODY_SETS_THIS': expected a variable of the environment",
        ),
        (
            "file = 'pepper'",
            "[[keys.pepper]]: 'id' is missing; expected the name that stands beside its digests",
        ),
    ] {
        let said = parsed(text).unwrap_err().to_string();
        assert!(said.ends_with(want), "{said}");
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let config = parse(WHOLE).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_as("etc/vestibule.toml", text)
}

fn parse_as(file: &str, text: &str) -> Result<Config, ConfigError> {
    Config::parse(file, text)
}

/// Lines added to the minimal file, from its third line on, and what is said of them.
const FAULTS: &[(&str, &str)] = &[
    (
        "listem = 1",
        "c.toml:3: unknown key 'listem' at the top; expected one of: listen, upstream, admin, store, counters, error_format, threads, http2, keys, identity, limits, timeouts, drain, route, upgrade_sock, trusted_proxies, trusted_field, tls, upstream_http2, shedding, health, upstream_tls",
    ),
    (
        "admin = 9090",
        "c.toml:3: admin = 9090: expected an address like \"127.0.0.1:9090\" or \"unix:/run/vestibule/admin.sock\", or a list of them",
    ),
    (
        "admin = '9090'",
        "c.toml:3: admin = '9090': expected an address like \"127.0.0.1:9090\" or \"unix:/run/vestibule/admin.sock\", or a list of them",
    ),
    (
        "threads = 0",
        "c.toml:3: threads = 0: expected a whole number from 1 to 1024",
    ),
    (
        "threads = 0x10",
        "c.toml:3: threads = 0x10: expected a whole number from 1 to 1024",
    ),
    (
        "http2 = 'no'",
        "c.toml:3: http2 = 'no': expected true or false",
    ),
    (
        "keys = 'keys.json'",
        "c.toml:3: 'keys' is a string; expected the section [keys]",
    ),
    (
        "route = 'x'",
        "c.toml:3: 'route' is no list; expected sections [[route]]",
    ),
    (
        "error_format = 'xml'",
        "c.toml:3: error_format = 'xml': expected \"envelope\" or \"problem\"",
    ),
    (
        "[limits]\nper_minute = \"many\"",
        "c.toml:4: [limits] per_minute = \"many\": expected a whole number from 1 to 1000000",
    ),
    (
        "[limits]\nhead_max = '1KB'",
        "c.toml:4: [limits] head_max = '1KB': expected a size like \"512KB\" or \"4MB\", from 8192 to 1048576 bytes",
    ),
    (
        "[limits]\nper_hour = 1",
        "c.toml:4: unknown key 'per_hour' in [limits]; expected one of: per_minute, connections, requests, idle_upstream, head_max, headers_max, buffer, streams, failed_auth_per_minute",
    ),
    (
        "[timeouts]\n\nhead = '5'",
        "c.toml:5: [timeouts] head = '5': expected a duration like \"250ms\", \"15s\" or \"5m\", from 1ms to 86400s",
    ),
    (
        "[keys]\nbrand = 'My'",
        "c.toml:4: [keys] brand = 'My': expected 1 to 16 lower-case letters and digits",
    ),
    (
        "[identity]\nsecret = 'canary'",
        "c.toml:4: [identity] secret: a secret of at least 32 bytes is expected",
    ),
    (
        "[identity]\nsecret = 17",
        "c.toml:4: [identity] secret: it must be a string",
    ),
    (
        "[[route]]\nscope = 'a:b'",
        "c.toml:3: [[route]]: 'match' is missing; expected a pattern like \"POST /v1/charges\"",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nscope = 'a'",
        "c.toml:5: [[route]] scope = 'a': expected a scope like \"charges:write\", or a list of them",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nauth = 'none'\nscope = 'a:b'",
        "c.toml:5: [[route]] auth = 'none': expected no 'auth' beside 'scope'",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nagent = 'id'",
        "c.toml:5: [[route]] agent = 'id': expected a JSON pointer like \"/agent_id\"",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nidempotency = true",
        "c.toml:5: [[route]] idempotency = true: expected a string",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nbody_max = '4 MB'",
        "c.toml:5: [[route]] body_max = '4 MB': expected a size like \"512KB\" or \"4MB\", from 0 to 1099511627776 bytes",
    ),
];

const MINIMAL: &str = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n";

const SECRET: &str = "canary-canary-canary-canary-canary";

const WHOLE: &str = r#"
listen   = "0.0.0.0:8080"
upstream = "unix:/run/pod/app.sock"
store    = "memory:"
admin    = "127.0.0.1:9090"
error_format = "problem"
threads  = 2
http2    = false
[keys]
source = "keys.json"
brand  = "mk"
opaque = true
separate_codes = true
[identity]
secret = "canary-canary-canary-canary-canary"
[limits]
per_minute = 120
head_max = "32KB"
[timeouts]
head = "5s"
[drain]
lag = "0s"
[[route]]
match = "POST /v1/whatsapp/{messages,templates}"
scope = "whatsapp:send"
agent = "/agent_id"
idempotency = "deduplicates"
deadline = "15s"
[[route]]
match = "* /webhooks/whatsapp"
auth = "none"
body_max = "4MB"
"#;
