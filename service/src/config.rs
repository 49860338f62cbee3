//! The service's configuration: one TOML file, read once and checked whole.
//!
//! ```toml
//! listen   = "127.0.0.1:8081"          # or "unix:/run/pod/messaging.sock"
//! database = "messaging.db"            # beside this file, unless absolute
//! show_recipient = false               # whether reads show `to`
//!
//! [api]                                # takes API keys
//! keys_file  = "keys.json"
//! brand      = "mk"
//! per_minute = 60
//!
//! [identity]                           # trusts a sidecar's assertions
//! secret_file = "identity.secret"      # or secret = "…", at least 32 bytes
//!
//! [cloud_api]
//! base_url     = "https://graph.facebook.com"
//! version      = "v25.0"
//! token_file   = "token"               # or token = "…"
//! app_secret_files = ["app.secret"]    # or app_secrets = ["…"]; two during rotation
//! verify_token = "…"                   # or verify_token_file
//!
//! [[account]]
//! id = "acme"
//! [[account.agent]]
//! id = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10"
//! phones = [{ number = "+15550001111", phone_number_id = "106540352242922" }]
//! ```
//!
//! At least one of `[api]` and `[identity]` is there; with both, a request with an
//! assertion needs no key. An error names the file, the line, the key and the value, and
//! never a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::directory::{Connection, Directory};
use crate::message::parse_uuid;
use crate::recipient::PhoneNumber;

/// What the service runs with.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// The database's file.
    pub database: PathBuf,
    /// Whether reads show the recipient.
    pub shows_recipient: bool,
    /// Where API keys come from, if they are taken.
    pub api: Option<Api>,
    /// What assertions are signed with, if they are trusted.
    pub identity: Option<Secret>,
    /// How Meta is reached, and how Meta reaches the service.
    pub cloud_api: CloudApi,
    /// Accounts, agents and numbers.
    pub directory: Directory,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`; port 0 takes a free one.
    Tcp(String),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// How API keys are taken.
#[derive(Clone, Debug)]
pub struct Api {
    /// The file of key records.
    pub keys_file: PathBuf,
    /// What the keys begin with.
    pub brand: String,
    /// Requests a minute, where a key has no limit of its own.
    pub per_minute: u32,
}

/// Meta's side.
#[derive(Clone, Debug)]
pub struct CloudApi {
    /// The Graph host.
    pub base_url: String,
    /// The version in its paths.
    pub version: String,
    /// What the service shows to Meta.
    pub token: Secret,
    /// What Meta signs webhooks with.
    pub app_secrets: Vec<Secret>,
    /// What Meta shows when it verifies the endpoint.
    pub verify_token: Secret,
}

/// Text that is in no log and in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why the service does not start: a sentence that names file, line, key and value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Spanned<String>,
    database: PathBuf,
    #[serde(default)]
    show_recipient: bool,
    api: Option<ApiSection>,
    identity: Option<Spanned<IdentitySection>>,
    cloud_api: Spanned<CloudApiSection>,
    #[serde(default)]
    account: Vec<AccountSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiSection {
    keys_file: PathBuf,
    brand: Spanned<String>,
    #[serde(default = "per_minute")]
    per_minute: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentitySection {
    secret: Option<Hidden>,
    secret_file: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudApiSection {
    base_url: Spanned<String>,
    version: Spanned<String>,
    token: Option<Hidden>,
    token_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    app_secrets: Vec<Hidden>,
    #[serde(default)]
    app_secret_files: Vec<Spanned<PathBuf>>,
    verify_token: Option<Hidden>,
    verify_token_file: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountSection {
    id: String,
    #[serde(default)]
    agent: Vec<AgentSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentSection {
    id: Spanned<String>,
    #[serde(default)]
    phones: Vec<PhoneSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneSection {
    number: Spanned<String>,
    phone_number_id: Spanned<String>,
}

/// A value whose type errors must not show it.
#[derive(Deserialize)]
#[serde(from = "toml::Value")]
struct Hidden(Option<Secret>);

/// The text of a file, for errors that name a line of it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

// === impl Config ===

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], a sentence to print.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file at `path`, beside which other files are looked for.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], a sentence to print.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        let file: File = toml::from_str(text).map_err(|cause| source.malformed(&cause))?;
        if file.api.is_none() && file.identity.is_none() {
            return Err(source.error("needs [api], [identity], or both: nobody could call"));
        }
        let api = file.api.map(|api| source.api(api)).transpose()?;
        let identity = file
            .identity
            .map(|identity| source.identity(identity))
            .transpose()?;
        Ok(Self {
            listen: Listen::parse(file.listen.get_ref()).ok_or_else(|| {
                source.invalid(
                    "listen",
                    &file.listen,
                    "is neither host:port nor unix:/path",
                )
            })?,
            database: source.beside(&file.database),
            shows_recipient: file.show_recipient,
            api,
            identity,
            cloud_api: source.cloud_api(file.cloud_api)?,
            directory: source.directory(&file.account)?,
        })
    }
}

// === impl Listen ===

impl Listen {
    /// Reads an address.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Self::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| Self::Tcp(text.into()))
    }
}

// === impl Secret ===

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

// === impl Hidden ===

impl From<toml::Value> for Hidden {
    fn from(value: toml::Value) -> Self {
        Self(
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(Secret::new),
        )
    }
}

// === impl Source ===

impl Source<'_> {
    fn api(&self, api: ApiSection) -> Result<Api, ConfigError> {
        if *api.per_minute.get_ref() == 0 {
            return Err(self.invalid("api.per_minute", &api.per_minute, "allows nobody anything"));
        }
        let brand = api.brand.get_ref();
        let is_word = brand
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !(1..=16).contains(&brand.len()) || !is_word {
            return Err(self.invalid("api.brand", &api.brand, "is not 1 to 16 of [a-z0-9]"));
        }
        Ok(Api {
            keys_file: self.beside(&api.keys_file),
            brand: api.brand.into_inner(),
            per_minute: api.per_minute.into_inner(),
        })
    }

    fn identity(&self, section: Spanned<IdentitySection>) -> Result<Secret, ConfigError> {
        let at = section.span().start;
        let section = section.into_inner();
        let secret = self.secret("identity.secret", at, section.secret, section.secret_file)?;
        if secret.expose().len() < SECRET_MIN {
            return Err(self.at(at, "identity.secret is shorter than 32 bytes"));
        }
        Ok(secret)
    }

    fn cloud_api(&self, section: Spanned<CloudApiSection>) -> Result<CloudApi, ConfigError> {
        let at = section.span().start;
        let section = section.into_inner();
        let is_url = ["https://", "http://"].into_iter().any(|scheme| {
            section.base_url.get_ref().len() > scheme.len()
                && section.base_url.get_ref().starts_with(scheme)
        });
        if !is_url {
            return Err(self.invalid(
                "cloud_api.base_url",
                &section.base_url,
                "is no http(s) address",
            ));
        }
        if !is_version(section.version.get_ref()) {
            return Err(self.invalid(
                "cloud_api.version",
                &section.version,
                "is no version like v25.0",
            ));
        }
        let mut app_secrets = Vec::new();
        for secret in section.app_secrets {
            app_secrets.push(self.secret("cloud_api.app_secrets", at, Some(secret), None)?);
        }
        for file in section.app_secret_files {
            app_secrets.push(self.secret("cloud_api.app_secrets", at, None, Some(file))?);
        }
        if app_secrets.is_empty() {
            return Err(self.at(at, "cloud_api needs app_secrets or app_secret_files: without one no webhook can be told from a forgery"));
        }
        Ok(CloudApi {
            base_url: section.base_url.into_inner(),
            version: section.version.into_inner(),
            token: self.secret("cloud_api.token", at, section.token, section.token_file)?,
            app_secrets,
            verify_token: self.secret(
                "cloud_api.verify_token",
                at,
                section.verify_token,
                section.verify_token_file,
            )?,
        })
    }

    fn directory(&self, accounts: &[AccountSection]) -> Result<Directory, ConfigError> {
        let mut directory = Directory::default();
        for account in accounts {
            for agent in &account.agent {
                let id = parse_uuid(agent.id.get_ref())
                    .ok_or_else(|| self.invalid("account.agent.id", &agent.id, "is no UUID"))?;
                let connections = agent
                    .phones
                    .iter()
                    .map(|phone| self.connection(phone))
                    .collect::<Result<_, _>>()?;
                if !directory.add(&account.id, id, connections) {
                    return Err(self.invalid("account.agent.id", &agent.id, "is there twice"));
                }
            }
        }
        Ok(directory)
    }

    fn connection(&self, phone: &PhoneSection) -> Result<Connection, ConfigError> {
        let number = PhoneNumber::parse(phone.number.get_ref()).ok_or_else(|| {
            self.invalid("account.agent.phones.number", &phone.number, "is not E.164")
        })?;
        let id = phone.phone_number_id.get_ref();
        // It becomes a part of the path at Meta.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(self.invalid(
                "account.agent.phones.phone_number_id",
                &phone.phone_number_id,
                "is no id of Meta's",
            ));
        }
        Ok(Connection {
            number,
            phone_number_id: id.as_str().into(),
        })
    }

    /// A secret, from where it stands or from its file; a file's last line break is none
    /// of the secret.
    fn secret(
        &self,
        key: &str,
        at: usize,
        inline: Option<Hidden>,
        file: Option<Spanned<PathBuf>>,
    ) -> Result<Secret, ConfigError> {
        match (inline, file) {
            (Some(inline), None) => inline
                .0
                .ok_or_else(|| self.at(at, &format!("{key} is empty or no text"))),
            (None, Some(file)) => {
                let text = read_text(&self.beside(file.get_ref()))?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    let path = file.get_ref().display();
                    return Err(self.at(file.span().start, &format!("{key}: {path} is empty")));
                }
                Ok(Secret::new(text))
            }
            (Some(_), Some(_)) => Err(self.at(
                at,
                &format!("{key} stands here and in a file: one of them goes"),
            )),
            (None, None) => Err(self.at(at, &format!("{key} is missing, and so is {key}_file"))),
        }
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn invalid<T: fmt::Debug>(&self, key: &str, value: &Spanned<T>, why: &str) -> ConfigError {
        let shown = value.get_ref();
        self.at(value.span().start, &format!("{key} = {shown:?} {why}"))
    }

    /// What the TOML reader says, without the line that it would quote: a secret may
    /// stand in it.
    fn malformed(&self, cause: &toml::de::Error) -> ConfigError {
        let at = cause.span().map_or(0, |span| span.start);
        let line = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let key = self.text[line..]
            .split(['=', '\n'])
            .next()
            .unwrap_or_default();
        self.at(at, &format!("{}: {}", key.trim(), cause.message()))
    }

    fn at(&self, offset: usize, what: &str) -> ConfigError {
        let line = self.text[..offset].matches('\n').count() + 1;
        ConfigError(format!("{}:{line}: {what}", self.path.display()))
    }

    fn error(&self, what: &str) -> ConfigError {
        ConfigError(format!("{}: {what}", self.path.display()))
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|cause| ConfigError(format!("{}: cannot be read: {cause}", path.display())))
}

fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| digits(major) && digits(minor))
}

fn per_minute() -> Spanned<u32> {
    Spanned::new(0..0, 60)
}

/// What HMAC-SHA-256 wants of a key (RFC 7518 §3.2).
const SECRET_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(Path::new("/etc/m/messaging.toml"), WHOLE).unwrap();
        assert_eq!(config.listen, Listen::Tcp("127.0.0.1:0".into()));
        assert_eq!(config.database, Path::new("/etc/m/messaging.db"));
        assert_eq!(config.api.unwrap().per_minute, 60);
        let agent = parse_uuid("6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10").unwrap();
        assert_eq!(config.directory.connections("acme", agent).len(), 1);
    }

    #[test]
    fn an_error_names_file_line_key_and_value() {
        for (from, to, want) in [
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
        ] {
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
}
