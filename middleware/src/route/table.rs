//! Patterns, and the search for the route of a request.

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::policy::Policy;
use crate::error::ApiError;

/// The routes of an API.
#[derive(Clone, Default)]
pub struct Routes {
    paths: matchit::Router<usize>,
    entries: Vec<Entry>,
}

/// What the table says of a request.
#[derive(Clone, Debug)]
pub enum RouteMatch {
    /// A route has this method and path.
    Found(Arc<Policy>),
    /// The path has routes, with other methods.
    OtherMethods(HeaderValue),
    /// No route has this path.
    Unmatched,
}

/// A route that cannot be entered into the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route \"{pattern}\": {fault}")]
pub struct InvalidRoute {
    pattern: String,
    fault: String,
}

/// The methods of one path.
#[derive(Clone, Debug)]
struct Entry {
    path: String,
    /// `None` stands for every method.
    methods: Vec<(Option<Method>, Arc<Policy>)>,
}

// === impl Routes ===

impl Routes {
    /// Enters a route: `METHOD /path`, where the method may be `*`, a segment may be
    /// `{name}` for any one segment, and `{a,b}` for either of two words.
    ///
    /// # Errors
    ///
    /// [`InvalidRoute`] where the pattern is malformed, or its method and path are taken.
    pub fn with(
        mut self,
        pattern: &str,
        policy: impl Into<Arc<Policy>>,
    ) -> Result<Self, InvalidRoute> {
        let policy = policy.into();
        let fault = |fault: String| InvalidRoute {
            pattern: pattern.to_owned(),
            fault,
        };
        let (method, path) = parse(pattern).map_err(fault)?;
        for path in alternatives(&path) {
            self.enter(method.clone(), &path, Arc::clone(&policy).entered(&path))
                .map_err(fault)?;
        }
        Ok(self)
    }

    /// Finds the route of a request. HEAD is answered like GET.
    pub fn find(&self, method: &Method, path: &str) -> RouteMatch {
        let Some(entry) = self.entry(path) else {
            return RouteMatch::Unmatched;
        };
        match entry.policy(method) {
            Some(policy) => RouteMatch::Found(Arc::clone(policy)),
            None => RouteMatch::OtherMethods(entry.allow()),
        }
    }

    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let found = self.paths.at(path).ok()?;
        // What the route names itself is unambiguous; the rest is what the caller chose.
        let chosen_well = |(_, value): (&str, &str)| !is_dotted(value) && !is_ambiguous(value);
        let entry = self.entries.get(*found.value);
        entry.filter(|_| found.params.iter().all(chosen_well))
    }

    fn enter(
        &mut self,
        method: Option<Method>,
        path: &str,
        policy: Arc<Policy>,
    ) -> Result<(), String> {
        let entry = match self.entries.iter().position(|entry| entry.path == path) {
            Some(index) => &mut self.entries[index],
            None => {
                self.paths
                    .insert(path, self.entries.len())
                    .map_err(|cause| cause.to_string())?;
                self.entries.push(Entry {
                    path: path.to_owned(),
                    methods: Vec::new(),
                });
                self.entries.last_mut().expect("it was pushed just now")
            }
        };
        if entry.methods.iter().any(|(taken, _)| *taken == method) {
            return Err("this method and path have a route already".to_owned());
        }
        entry.methods.push((method, policy));
        Ok(())
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

// === impl RouteMatch ===

impl RouteMatch {
    /// The policy of the route, where there is one.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        match self {
            Self::Found(policy) => Some(policy),
            Self::OtherMethods(_) | Self::Unmatched => None,
        }
    }

    /// Whether the request needs no key. What matches no route needs one, so that a
    /// 404 is told only to those who have a key.
    pub fn is_public(&self) -> bool {
        self.policy().is_some_and(|policy| policy.is_public())
    }

    /// The policy, or the refusal where there is no route.
    ///
    /// # Errors
    ///
    /// 404 for an unknown path, 405 for an unknown method of a known one.
    pub fn into_policy(self) -> Result<Arc<Policy>, ApiError> {
        match self {
            Self::Found(policy) => Ok(policy),
            Self::OtherMethods(allow) => Err(ApiError::method_not_allowed(allow)),
            Self::Unmatched => Err(ApiError::endpoint_not_found()),
        }
    }
}

// === impl Entry ===

impl Entry {
    fn policy(&self, method: &Method) -> Option<&Arc<Policy>> {
        let of = |wanted: Option<&Method>| {
            self.methods
                .iter()
                .find(|(held, _)| held.as_ref() == wanted)
                .map(|(_, policy)| policy)
        };
        let head = || {
            (method == Method::HEAD)
                .then(|| of(Some(&Method::GET)))
                .flatten()
        };
        of(Some(method)).or_else(head).or_else(|| of(None))
    }

    fn allow(&self) -> HeaderValue {
        let mut names: Vec<&str> = self
            .methods
            .iter()
            .filter_map(|(held, _)| Some(held.as_ref()?.as_str()))
            .collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        HeaderValue::from_str(&names.join(", ")).expect("a method is visible ASCII")
    }
}

/// Whether the value of a parameter begins with a dot segment.
fn is_dotted(value: &str) -> bool {
    let first = value.split('/').next();
    matches!(first, Some("." | ".."))
}

/// Whether a path could mean something else to whoever reads it next: an empty or a dot
/// segment, a backslash, or an encoded `/`, `.`, `\` or NUL.
fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    // One pass over the few bytes that could begin any of these.
    bytes.iter().enumerate().any(|(at, byte)| match byte {
        b'\\' => true,
        b'/' => matches!(
            &bytes[at + 1..],
            [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
        ),
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|code| {
            [b"2f", b"2e", b"00", b"5c"]
                .into_iter()
                .any(|wanted| code.eq_ignore_ascii_case(wanted))
        }),
        _ => false,
    })
}

fn parse(pattern: &str) -> Result<(Option<Method>, String), String> {
    let (method, path) = pattern
        .split_once(' ')
        .ok_or("it must read \"METHOD /path\"")?;
    let path = path.trim();
    if !path.starts_with('/') {
        return Err("the path must begin with '/'".to_owned());
    }
    if is_ambiguous(path) {
        return Err("the path has an empty or a dot segment, or an encoded one".to_owned());
    }
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    match method {
        "*" => Ok((None, path.to_owned())),
        name => match known.into_iter().find(|method| method.as_str() == name) {
            Some(method) => Ok((Some(method), path.to_owned())),
            None => Err(format!(
                "\"{name}\" is not a method; write it in capitals, or '*' for all"
            )),
        },
    }
}

/// `/a/{b,c}` stands for `/a/b` and `/a/c`.
fn alternatives(path: &str) -> Vec<String> {
    let braces = path.match_indices('{').find_map(|(open, _)| {
        let close = open + path[open..].find('}')?;
        path[open..close].contains(',').then_some((open, close))
    });
    let Some((open, close)) = braces else {
        return vec![path.to_owned()];
    };
    let expanded = path[open + 1..close].split(',');
    expanded
        .flat_map(|word| {
            alternatives(&format!(
                "{}{}{}",
                &path[..open],
                word.trim(),
                &path[close + 1..]
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_route_of_a_method_and_path() {
        let routes = Routes::default()
            .with("POST /v1/{messages,templates}", Policy::scope("send"))
            .unwrap()
            .with("GET /v1/messages/{id}", Policy::scope("read"))
            .unwrap()
            .with("* /hook", Policy::public())
            .unwrap();
        for (method, path, want) in [
            ("POST", "/v1/messages", "found"),
            ("POST", "/v1/templates", "found"),
            ("GET", "/v1/messages/17", "found"),
            ("HEAD", "/v1/messages/17", "found"),
            ("PURGE", "/hook", "found"),
            ("GET", "/v1/messages", "allow POST"),
            ("OPTIONS", "/v1/messages", "allow POST"),
            ("POST", "/v1/messages/17", "allow GET, HEAD"),
            ("GET", "/v1/messages/", "none"),
            ("GET", "/v1/messages/1/2", "none"),
            ("POST", "/v1//messages", "none"),
            ("POST", "/v1/./messages", "none"),
            ("POST", "/v1/x/../messages", "none"),
            ("POST", "/v1/%6dessages", "none"),
            ("GET", "/v1/messages/a%2Fb", "none"),
            ("GET", "/v1/messages/%2e%2E", "none"),
            ("GET", "/v1/messages/a%00", "none"),
            ("POST", "/V1/messages", "none"),
            ("POST", "*", "none"),
        ] {
            let found = match routes.find(&method.parse().unwrap(), path) {
                RouteMatch::Found(_) => "found".to_owned(),
                RouteMatch::OtherMethods(allow) => format!("allow {}", allow.to_str().unwrap()),
                RouteMatch::Unmatched => "none".to_owned(),
            };
            assert_eq!(found, want, "{method} {path}");
        }
    }

    #[test]
    fn a_policy_knows_the_path_of_its_route() {
        let routes = Routes::default().with("GET /a/{b,c}/{id}", Policy::public());
        for (path, want) in [("/a/b/1", "/a/b/{id}"), ("/a/c/2", "/a/c/{id}")] {
            let found = routes.as_ref().unwrap().find(&Method::GET, path);
            assert_eq!(&**found.policy().unwrap().path().unwrap(), want);
        }
    }

    #[test]
    fn a_malformed_route_says_what_is_wrong_with_it() {
        let taken = Routes::default().with("GET /a", Policy::public()).unwrap();
        for (pattern, want) in [
            ("/a", "route \"/a\": it must read \"METHOD /path\""),
            ("GET a", "route \"GET a\": the path must begin with '/'"),
            (
                "get /b",
                "route \"get /b\": \"get\" is not a method; write it in capitals, or '*' for all",
            ),
            (
                "GET /a",
                "route \"GET /a\": this method and path have a route already",
            ),
            (
                "GET /a//b",
                "route \"GET /a//b\": the path has an empty or a dot segment, or an encoded one",
            ),
        ] {
            let fault = taken.clone().with(pattern, Policy::public()).unwrap_err();
            assert_eq!(fault.to_string(), want);
        }
    }
}
