//! The sections as they stand in the file, and what each must be.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::tuning::{AdminSection, DeliverySection, WindowSection};
use super::{Api, CloudApi, Config, ConfigError, Listen, Secret};
use crate::delivery::PER_SECOND;
use crate::directory::{Connection, Directory};
use crate::message::parse_uuid;
use crate::recipient::PhoneNumber;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Spanned<String>,
    database: Option<String>,
    replicas: Option<Spanned<u32>>,
    database_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    show_recipient: bool,
    api: Option<ApiSection>,
    identity: Option<Spanned<IdentitySection>>,
    cloud_api: Spanned<CloudApiSection>,
    #[serde(default)]
    delivery: DeliverySection,
    #[serde(default)]
    window: WindowSection,
    admin: Option<AdminSection>,
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
    previous_secret: Option<Hidden>,
    previous_secret_file: Option<Spanned<PathBuf>>,
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
    #[serde(default)]
    waba_id: Box<str>,
    per_second: Option<Spanned<u32>>,
}

/// A value whose type errors must not show it.
#[derive(Deserialize)]
#[serde(from = "toml::Value")]
struct Hidden(Option<Secret>);

/// The text of a file, for errors that name a line of it.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
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
    /// The configuration that the text holds.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let file: File = toml::from_str(self.text).map_err(|cause| self.malformed(&cause))?;
        if file.api.is_none() && file.identity.is_none() {
            return Err(self.error("needs [api], [identity], or both: nobody could call"));
        }
        let api = file.api.map(|api| self.api(api)).transpose()?;
        let identity = file
            .identity
            .map(|identity| self.identity(identity))
            .transpose()?
            .unwrap_or_default();
        Ok(Config {
            listen: Listen::parse(file.listen.get_ref()).ok_or_else(|| {
                self.invalid(
                    "listen",
                    &file.listen,
                    "is neither host:port nor unix:/path",
                )
            })?,
            database: self.shared_by(
                file.replicas.as_ref(),
                self.database(file.database, file.database_file)?,
            )?,
            shows_recipient: file.show_recipient,
            api,
            identity,
            cloud_api: self.cloud_api(file.cloud_api)?,
            delivery: self.delivery(file.delivery)?,
            window: self.window(&file.window)?,
            admin: file.admin.map(|admin| self.admin(&admin)).transpose()?,
            directory: self.directory(&file.account)?,
        })
    }

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

    fn identity(&self, section: Spanned<IdentitySection>) -> Result<Vec<Secret>, ConfigError> {
        let at = section.span().start;
        let section = section.into_inner();
        let mut given = vec![("identity.secret", section.secret, section.secret_file)];
        if section.previous_secret.is_some() || section.previous_secret_file.is_some() {
            given.push((
                "identity.previous_secret",
                section.previous_secret,
                section.previous_secret_file,
            ));
        }
        given
            .into_iter()
            .map(|(key, inline, file)| {
                let secret = self.secret(key, at, inline, file)?;
                if secret.expose().len() < SECRET_MIN {
                    return Err(self.at(at, &format!("{key} is shorter than 32 bytes")));
                }
                Ok(secret)
            })
            .collect()
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
        let per_second = match &phone.per_second {
            None => PER_SECOND,
            Some(given) if (1..=PER_SECOND_MAX).contains(given.get_ref()) => *given.get_ref(),
            Some(given) => {
                let key = "account.agent.phones.per_second";
                return Err(self.invalid(key, given, "is not 1 to 1000"));
            }
        };
        Ok(Connection {
            number,
            phone_number_id: id.as_str().into(),
            waba_id: phone.waba_id.clone(),
            per_second,
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

    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join(path)
    }

    pub(super) fn invalid<T: fmt::Debug>(
        &self,
        key: &str,
        value: &Spanned<T>,
        why: &str,
    ) -> ConfigError {
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

    pub(super) fn error(&self, what: &str) -> ConfigError {
        ConfigError(format!("{}: {what}", self.path.display()))
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
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

/// Meta's highest throughput of one number.
const PER_SECOND_MAX: u32 = 1000;
