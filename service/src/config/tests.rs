//! What a configuration may say, and what is said of one that may not.

use super::*;
use crate::message::parse_uuid;

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(Path::new("/etc/m/messaging.toml"), WHOLE).unwrap();
    assert_eq!(config.listen, Listen::Tcp("127.0.0.1:0".into()));
    assert_eq!(config.database, Address::File("/etc/m/messaging.db".into()));
    assert_eq!(config.api.unwrap().per_minute, 60);
    let agent = parse_uuid("6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10").unwrap();
    assert_eq!(config.directory.connections("acme", agent).len(), 1);
}

#[test]
fn an_error_names_file_line_key_and_value() {
    for (from, to, want) in MISTAKES.iter().copied() {
        let text = WHOLE.replacen(from, to, 1);
        let error = Config::parse(Path::new("m.toml"), &text)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(want), "{from} -> {to}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn somebody_must_be_able_to_call() {
    let start = WHOLE.find("[api]").unwrap();
    let end = WHOLE.find("[cloud_api]").unwrap();
    let text = [&WHOLE[..start], &WHOLE[end..]].concat();
    let error = Config::parse(Path::new("m.toml"), &text).unwrap_err();
    assert!(
        error.to_string().contains("[api], [identity], or both"),
        "{error}"
    );
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    std::fs::write(folder.path().join("token"), "canary-token\n").unwrap();
    let text = WHOLE.replace("token = \"canary-token\"", "token_file = \"token\"");
    let config = Config::parse(&path, &text).unwrap();
    assert_eq!(config.cloud_api.token, Secret::new("canary-token"));
    std::fs::write(folder.path().join("token"), "\n").unwrap();
    let error = Config::parse(&path, &text).unwrap_err().to_string();
    assert!(
        error.ends_with("m.toml:11: cloud_api.token: token is empty"),
        "{error}"
    );
}

#[test]
fn two_secrets_are_trusted_while_one_is_rotated() {
    let previous = "canary-previous-of-at-least-32-bytes";
    for (line, want) in [
        (String::new(), Ok(1)),
        (format!("previous_secret = \"{previous}\""), Ok(2)),
        (
            "previous_secret = \"canary-short\"".to_owned(),
            Err("m.toml:6: identity.previous_secret is shorter than 32 bytes".to_owned()),
        ),
    ] {
        let text = WHOLE.replace("[cloud_api]", &format!("{line}\n[cloud_api]"));
        let secrets = Config::parse(Path::new("m.toml"), &text)
            .map(|config| config.identity.len())
            .map_err(|error| error.to_string());
        assert_eq!(secrets, want, "{line}");
    }
}

#[test]
fn replicas_share_no_file() {
    let file = "database = \"messaging.db\"";
    let shared = "database = \"postgres://h/db\"";
    for (database, replicas, want) in [
        (file, 1, Ok(())),
        (shared, 10, Ok(())),
        (
            file,
            2,
            Err("m.toml:3: replicas = 2 cannot share a file; they can a postgres:// database"),
        ),
        (shared, 0, Err("m.toml:3: replicas = 0 is nobody")),
    ] {
        let text = WHOLE.replace(file, &format!("{database}\nreplicas = {replicas}"));
        let read = Config::parse(Path::new("m.toml"), &text).map(drop);
        let want = want.map_err(str::to_owned);
        assert_eq!(read.map_err(|error| error.to_string()), want);
    }
}

#[test]
fn debug_shows_no_secret() {
    let config = Config::parse(Path::new("m.toml"), WHOLE).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
}

const WHOLE: &str = r#"listen = "127.0.0.1:0"
database = "messaging.db"
[api]
keys_file = "keys.json"
brand = "mk"
[identity]
secret = "canary-identity-of-at-least-32-bytes"
[cloud_api]
base_url = "http://127.0.0.1:1"
version = "v25.0"
token = "canary-token"
app_secrets = ["canary-app"]
verify_token = "canary-verify"
[[account]]
id = "acme"
[[account.agent]]
id = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10"
phones = [{ number = "+15550001111", phone_number_id = "10" }]
"#;

/// What is written instead of what, and what is said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "127.0.0.1:0",
        "localhost",
        "m.toml:1: listen = \"localhost\" is neither host:port nor unix:/path",
    ),
    ("listen", "lisen", "m.toml:1: lisen: unknown field `lisen`"),
    (
        "brand = \"mk\"",
        "brand = 5",
        "m.toml:5: brand: invalid type: integer `5`, expected a string",
    ),
    (
        "brand = \"mk\"",
        "brand = \"M_K\"",
        "m.toml:5: api.brand = \"M_K\" is not 1 to 16 of [a-z0-9]",
    ),
    (
        "brand = \"mk\"",
        "brand = \"mk\"\nper_minute = 0",
        "m.toml:6: api.per_minute = 0 allows nobody anything",
    ),
    (
        "v25.0",
        "25",
        "m.toml:10: cloud_api.version = \"25\" is no version like v25.0",
    ),
    (
        "http://127.0.0.1:1",
        "ftp://x",
        "m.toml:9: cloud_api.base_url = \"ftp://x\" is no http(s) address",
    ),
    (
        "canary-identity-of-at-least-32-bytes",
        "canary-short",
        "m.toml:6: identity.secret is shorter than 32 bytes",
    ),
    (
        "token = \"canary-token\"",
        "",
        "m.toml:8: cloud_api.token is missing, and so is cloud_api.token_file",
    ),
    (
        "\"canary-token\"",
        "5",
        "m.toml:8: cloud_api.token is empty or no text",
    ),
    (
        "\"canary-token\"",
        "\"canary-token\"\ntoken_file = \"t\"",
        "m.toml:8: cloud_api.token stands here and in a file",
    ),
    (
        "[\"canary-app\"]",
        "[]",
        "m.toml:8: cloud_api needs app_secrets or app_secret_files",
    ),
    (
        "6f1de8f2",
        "6f",
        "m.toml:17: account.agent.id = \"6f-6a3c-4a51-8c0f-0d6f4a1f9a10\" is no UUID",
    ),
    (
        "+15550001111",
        "5550001111",
        "m.toml:18: account.agent.phones.number = \"5550001111\" is not E.164",
    ),
    (
        "\"10\"",
        "\"1/0\"",
        "m.toml:18: account.agent.phones.phone_number_id = \"1/0\" is no id of Meta's",
    ),
];
