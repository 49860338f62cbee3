//! `[[route]]`: what is asked of the requests to one path.

use std::time::Duration;

use super::error::ConfigError;
use super::value::Section;

/// One route. What matches none is authenticated, then answered 404.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The line on which it begins, for faults that are found later.
    pub line: usize,
    /// `match`: `METHOD /path`, with `*` for any method, `{name}` for any segment and
    /// `{a,b}` for either word.
    pub pattern: String,
    /// `auth` and `scope`: what a caller must show.
    pub auth: Auth,
    /// `idempotency`: what the service does with a repetition; by default the
    /// Idempotency-Key is not honoured.
    pub idempotency: Option<Idempotency>,
    /// `require_idempotency_key`: whether a POST without one is refused; false by default.
    pub require_idempotency_key: bool,
    /// `keep_client_errors`: whether a 4xx of the service is kept too; false by default.
    pub keep_client_errors: bool,
    /// `agent`: where in the JSON body the agent is named, as a JSON pointer.
    pub agent: Option<String>,
    /// `deadline`: how long the service may take; 30 s by default.
    pub deadline: Option<Duration>,
    /// `body_max`: bytes of a body; 1 MB by default.
    pub body_max: Option<u64>,
}

/// What a caller must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Any good key.
    Key,
    /// `auth = "none"`.
    Public,
    /// `scope = "…"`: a key with this scope; of several one will do.
    Scopes(Vec<String>),
}

/// What the service does with a request that it has seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// It knows its requests by their Idempotency-Key and executes each once.
    Deduplicates,
    /// It executes whatever it is sent.
    Executes,
}

// === impl Route ===

impl Route {
    pub(super) fn parse(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let route = Self {
            line: section.line(),
            pattern: section
                .require("match", "a pattern like \"POST /v1/charges\"")?
                .string()?,
            auth: Auth::parse(&mut section)?,
            idempotency: match section.take("idempotency") {
                Some(entry) => Some(entry.text(Idempotency::parse)?),
                None => None,
            },
            require_idempotency_key: match section.take("require_idempotency_key") {
                Some(entry) => entry.flag()?,
                None => false,
            },
            keep_client_errors: match section.take("keep_client_errors") {
                Some(entry) => entry.flag()?,
                None => false,
            },
            agent: match section.take("agent") {
                Some(entry) => Some(entry.text(pointer)?),
                None => None,
            },
            deadline: match section.take("deadline") {
                Some(entry) => Some(
                    entry.duration(Duration::from_millis(1)..=Duration::from_secs(24 * 3600))?,
                ),
                None => None,
            },
            body_max: match section.take("body_max") {
                Some(entry) => Some(entry.size(0..=BODY_MAX_MOST)?),
                None => None,
            },
        };
        section.finish()?;
        Ok(route)
    }
}

// === impl Auth ===

impl Auth {
    fn parse(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        let auth = section.take("auth");
        let scope = section.take("scope");
        match (auth, scope) {
            (Some(auth), Some(_)) => Err(auth.refused("no 'auth' beside 'scope'")),
            (Some(auth), None) => auth.text(|text| match text {
                "none" => Ok(Self::Public),
                "key" => Ok(Self::Key),
                _ => Err("\"none\" or \"key\""),
            }),
            (None, Some(scope)) => Ok(Self::Scopes(scope.strings(is_scope, SCOPE)?)),
            (None, None) => Ok(Self::Key),
        }
    }
}

// === impl Idempotency ===

impl Idempotency {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "deduplicates" => Ok(Self::Deduplicates),
            "executes" => Ok(Self::Executes),
            _ => Err("\"executes\" or \"deduplicates\""),
        }
    }
}

fn is_scope(text: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    text.split_once(':')
        .is_some_and(|(resource, action)| word(resource) && word(action))
        && !text.contains(['"', '\\'])
}

fn pointer(text: &str) -> Result<String, &'static str> {
    text.starts_with('/')
        .then(|| text.to_owned())
        .ok_or("a JSON pointer like \"/agent_id\"")
}

const SCOPE: &str = "a scope like \"charges:write\", or a list of them";

/// 1 TiB: past this a number is a slip of the pen.
const BODY_MAX_MOST: u64 = 1 << 40;
