//! `[[route]]`: what is asked of the requests to one path.

use std::time::Duration;

use vestibule::route::Policy;

use super::entry::Entry;
use super::error::Place;
use super::schema::{self, Kind, Row};
use super::section::Section;

/// One route. What matches none is authenticated, then answered 404.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it begins, for faults that are found later.
    pub place: Place,
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
    /// `media_type`: what the body of a POST must be; `application/json` by default.
    pub media_type: Option<String>,
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
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::must(
            "match",
            Kind::Like("^(\\*|[A-Z]+) /", "POST /v1/charges"),
            "METHOD /path, with * for any method, {name} for any segment and {a,b} for either word.",
        ),
        Row::may(
            "scope",
            Kind::Several("^[^ :\"\\\\]+:[^ \"\\\\]+$", "charges:write"),
            "A key with this scope; of several one will do.",
        ),
        Row::may(
            "auth",
            Kind::Word(&["key", "none"]),
            "key: any good key, which is the default; none: the route is public.",
        ),
        Row::may(
            "idempotency",
            Kind::Word(&["executes", "deduplicates"]),
            "What the service does with a repetition; by default the Idempotency-Key is not honoured.",
        ),
        Row::may(
            "require_idempotency_key",
            Kind::Flag,
            "Whether a POST without an Idempotency-Key is refused; false by default.",
        ),
        Row::may(
            "keep_client_errors",
            Kind::Flag,
            "Whether a 4xx of the service is kept too; false by default.",
        ),
        Row::may(
            "agent",
            Kind::Like("^/", "/agent_id"),
            "Where in the JSON body the agent is named, as a JSON pointer.",
        ),
        Row::may(
            "media_type",
            Kind::Like("^[^/; ]+/[^/; ]+$", "application/grpc"),
            "What the body of a POST must be, with parameters or without; application/json by default.",
        ),
        Row::may(
            "deadline",
            Kind::Duration(1, schema::DAY),
            "How long the service may take; 30s by default.",
        ),
        Row::may(
            "body_max",
            Kind::Size(0, 1 << 40),
            "Bytes of a body; 1MB by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Option<Self> {
        let pattern = section.must("match", "a pattern like \"POST /v1/charges\"", |entry| {
            entry.word(|text| Ok::<_, &str>(text.to_owned()))
        });
        let deadlines = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        let route = Self {
            place: section.place(),
            pattern: pattern.clone().unwrap_or_default(),
            auth: Auth::parse(section),
            idempotency: section.maybe("idempotency", |entry| entry.word(Idempotency::parse)),
            require_idempotency_key: section.or("require_idempotency_key", false, Entry::flag),
            keep_client_errors: section.or("keep_client_errors", false, Entry::flag),
            agent: section.maybe("agent", |entry| entry.word(pointer)),
            media_type: section.maybe("media_type", |entry| entry.word(media_type)),
            deadline: section.maybe("deadline", |entry| entry.duration(deadlines)),
            body_max: section.maybe("body_max", |entry| entry.size(0..=BODY_MAX_MOST)),
        };
        pattern.map(|_| route)
    }

    /// What the layers are told.
    pub(crate) fn policy(&self) -> Policy {
        let mut policy = match &self.auth {
            Auth::Key => Policy::authenticated(),
            Auth::Public => Policy::public(),
            Auth::Scopes(scopes) => Policy::any_scope(scopes.iter().map(String::as_str)),
        };
        policy = match self.idempotency {
            Some(Idempotency::Deduplicates) => policy.deduplicated(),
            Some(Idempotency::Executes) => policy.idempotent(),
            None => policy,
        };
        if self.require_idempotency_key {
            policy = policy.require_idempotency_key();
        }
        if self.keep_client_errors {
            policy = policy.keep_client_errors();
        }
        if let Some(pointer) = &self.agent {
            policy = policy.agent(pointer.as_str());
        }
        if let Some(media_type) = &self.media_type {
            policy = policy.media_type(media_type.as_str());
        }
        if let Some(deadline) = self.deadline {
            policy = policy.deadline(deadline);
        }
        if let Some(bytes) = self.body_max {
            policy = policy.body_max(bytes);
        }
        policy
    }
}

// === impl Auth ===

impl Auth {
    fn parse(section: &mut Section<'_>) -> Self {
        let has_scope = section.has("scope");
        let auth = section.maybe("auth", |entry| match has_scope {
            true => Err(entry.refused("no 'auth' beside 'scope'")),
            false => entry.word(|text| match text {
                "none" => Ok(Self::Public),
                "key" => Ok(Self::Key),
                _ => Err("\"none\" or \"key\""),
            }),
        });
        let scopes = section.maybe("scope", |entry| entry.strings(is_scope, SCOPE));
        scopes.map(Self::Scopes).or(auth).unwrap_or(Self::Key)
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

/// Type and subtype (RFC 9110 §8.3.1); parameters are the client's.
fn media_type(text: &str) -> Result<String, &'static str> {
    let is_token = |part: &str| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(sign)
    };
    let parts = text.split_once('/');
    parts
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        .then(|| text.to_owned())
        .ok_or("a media type like \"application/grpc\"")
}

const SCOPE: &str = "a scope like \"charges:write\", or a list of them";

/// 1 TiB: past this a number is a slip of the pen.
const BODY_MAX_MOST: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::MINIMAL;
    use super::*;

    #[test]
    fn a_route_says_what_its_policy_asks() {
        let text = "[[route]]\nmatch = 'POST /a'\nscope = ['a:b', 'a:c']\nidempotency = 'deduplicates'\nrequire_idempotency_key = true\nkeep_client_errors = true\nagent = '/id'\nmedia_type = 'application/grpc'\ndeadline = '15s'\nbody_max = '4MB'";
        let config = Config::parse("c.toml", &format!("{MINIMAL}{text}")).unwrap();
        let want = Policy::any_scope(["a:b", "a:c"])
            .deduplicated()
            .require_idempotency_key()
            .keep_client_errors()
            .agent("/id")
            .media_type("application/grpc")
            .deadline(Duration::from_secs(15))
            .body_max(4 << 20);
        assert_eq!(config.routes[0].policy(), want);
    }
}
