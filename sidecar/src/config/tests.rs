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
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.store.address, "file:etc/vestibule.redb");
    assert_eq!(config.store.place.to_string(), "etc/vestibule.toml:1");
    assert_eq!(config.error_format, ErrorFormat::Envelope);
    assert!(config.http2 && config.admin.is_empty() && config.threads >= 1);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.drain, Drain::default());
    assert!(config.replicas == 1 && config.identity.secret.is_none());
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
        assert_eq!(store.address, want);
        assert_eq!(store.place.to_string(), "etc/vestibule.toml:3");
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
            "c.toml:1: 'listen' is missing; expected an address like \"0.0.0.0:8080\"\n\
             c.toml:1: 'upstream' is missing; expected a service like \"127.0.0.1:9000\"",
        ),
        (
            "listen = '127.0.0.1:0'",
            "c.toml:1: 'upstream' is missing; expected a service like \"127.0.0.1:9000\"",
        ),
    ] {
        assert_eq!(parse_as("c.toml", given).unwrap_err().to_string(), want);
    }
    let error = Config::parse("c.toml", "").unwrap_err();
    let want = "there is no [[route]], so every request would be answered 404";
    assert_eq!(error.faults().last().unwrap().text(), want);
}

#[test]
fn every_fault_is_found_at_once_and_told_in_the_order_of_the_file() {
    let text = "listen = 8080
upstream = '127.0.0.1:1'
threads = 'many'
[limits]
per_minute = 0
requests = 0
[timeout]
head = '5s'
[identity]
secret = 'canary'
secret_file = 'missing'
[[keys.pepper]]
id = 'p 1'
env = ''
[[route]]
match = 'get /a'
auth = 'some'
[[route]]
scope = 'a'
[[route]]
match = 'GET /b'
[[route]]
match = 'GET /b'
deadlin = '1s'";
    let error = Config::parse("c.toml", text).unwrap_err();
    let places = error.faults().iter().map(|fault| fault.place().to_string());
    let want = [1, 3, 5, 6, 7, 10, 11, 13, 14, 15, 17, 18, 19, 22, 24];
    assert_eq!(
        places.collect::<Vec<_>>(),
        want.map(|line| format!("c.toml:{line}")),
        "{error}"
    );
    assert_eq!(error.to_string().lines().count(), want.len());
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn what_is_no_toml_names_its_lines() {
    let text = "listen = '127.0.0.1:0'\nupstream = '\nadmin = ]";
    let error = parse_as("c.toml", text).unwrap_err();
    let places = error.faults().iter().map(Fault::place);
    let want = [2, 3].map(|line| Place::Line("c.toml".into(), line));
    assert!(places.eq(&want), "{error}");
}

#[test]
fn a_route_that_cannot_be_names_its_line() {
    for (given, want) in [
        (
            "route = []",
            "c.toml:1: there is no [[route]], so every request would be answered 404",
        ),
        (
            "[[route]]\nmatch = 'get /'",
            "c.toml:3: route \"get /\": \"get\" is not a method; write it in capitals, or '*' for all",
        ),
        (
            "[[route]]\nmatch = 'GET /a'\n[[route]]\nmatch = 'GET /a'",
            "c.toml:5: route \"GET /a\": this method and path have a route already",
        ),
    ] {
        let error = parse_as("c.toml", &format!("{MINIMAL}{given}")).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn replicas_share_a_store() {
    for (store, replicas, want) in [
        ("redis://redis:6379", "3", Ok(3)),
        ("postgres://db/v", "3", Ok(3)),
        ("memory:", "1", Ok(1)),
        (
            "memory:",
            "2",
            Err(
                "c.toml:4: replicas = 2: expected a store that several sidecars may share, redis:// or postgres://, and not \"memory:\"",
            ),
        ),
        (
            "file:s",
            "2",
            Err(
                "c.toml:4: replicas = 2: expected a store that several sidecars may share, redis:// or postgres://, and not \"file:s\"",
            ),
        ),
        (
            "redis://redis:6379",
            "0",
            Err("c.toml:4: replicas = 0: expected a whole number from 1 to 10000"),
        ),
    ] {
        let text = format!("{MINIMAL}store = '{store}'\nreplicas = {replicas}");
        let read = parse_as("c.toml", &text).map(|config| config.replicas);
        let read = read.map_err(|error| error.to_string());
        assert_eq!(read, want.map_err(ToOwned::to_owned), "{text}");
    }
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
        "c.toml:4: [identity] secret_file: give 'secret' or 'secret_file', not both\n\
         c.toml:5: [identity] secret: a secret of at least 32 bytes is expected"
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
        parse_as(path.to_str().unwrap(), &text)
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

/// With a route, where the text has none.
fn parse_as(file: &str, text: &str) -> Result<Config, ConfigError> {
    if text.contains("route") {
        return Config::parse(file, text);
    }
    Config::parse(file, &format!("{text}\n[[route]]\nmatch = 'GET /'"))
}

/// Lines added to the minimal file, from its third line on, and what is said of them.
const FAULTS: &[(&str, &str)] = &[
    (
        "listem = 1",
        "c.toml:3: unknown key 'listem' at the top (is it 'listen'?); expected one of: listen, upstream, store, upstream_http2, admin, replicas, upgrade_sock, counters, error_format, threads, http2, trusted_proxies, trusted_field, tls, upstream_tls, keys, identity, limits, timeouts, health, shedding, drain, log, traces, route",
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
        "c.toml:3: error_format = 'xml': expected \"envelope\", \"problem\" or \"grpc\"",
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
        "[[route]]\nmatch = 'GET /'\nmedia_type = 'text'",
        "c.toml:5: [[route]] media_type = 'text': expected a media type like \"application/grpc\"",
    ),
    (
        "[[route]]\nmatch = 'GET /'\nmedia_type = 'a/b; c=d'",
        "c.toml:5: [[route]] media_type = 'a/b; c=d': expected a media type like \"application/grpc\"",
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

pub(super) const MINIMAL: &str = "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\n";

pub(super) const SECRET: &str = "canary-canary-canary-canary-canary";

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
