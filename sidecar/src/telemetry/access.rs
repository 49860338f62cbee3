//! One line for each request, in JSON or for people.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::Version;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::telemetry::Decisions;

use super::lines::Lines;
use super::passage::{Ending, Passage};
use crate::config::LogFormat;

/// Writes a line for each request that is over.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    lines: Lines,
    format: LogFormat,
    clock: SharedClock,
}

/// What is told of a request. The query is left out, which may hold secrets, and so is
/// everything else that only a client chose, but for the path and the id.
#[derive(Debug, Serialize)]
struct Told<'a> {
    time: &'a str,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    /// None where the client left before there was one.
    status: Option<u16>,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    /// Whether the client took all of the answer.
    whole: bool,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    protocol: &'a str,
}

// === impl Access ===

impl Access {
    pub(crate) const fn new(lines: Lines, format: LogFormat, clock: SharedClock) -> Self {
        Self {
            lines,
            format,
            clock,
        }
    }

    /// Tells of a request.
    pub(super) fn ended(&self, passage: &Passage, decisions: &Decisions, ending: Ending) {
        let time = moment(self.clock.now());
        let told = Told::of(passage, decisions, ending, &time);
        self.lines.push(match self.format {
            LogFormat::Json => told.json(),
            LogFormat::Text => told.text().into_bytes(),
        });
    }
}

// === impl Told ===

impl<'a> Told<'a> {
    fn of(passage: &'a Passage, decisions: &'a Decisions, ending: Ending, time: &'a str) -> Self {
        let call = passage.call();
        let caller = decisions.caller.as_ref();
        let id = decisions.correlation_id.as_ref();
        Self {
            time,
            method: cut(passage.method().as_str(), METHOD_MAX),
            path: cut(passage.uri().path(), PATH_MAX),
            route: decisions.route.as_deref(),
            status: ending.status.map(|status| status.as_u16()),
            ms: millis(passage.age()),
            upstream: call.map(|call| call.outcome),
            upstream_ms: call.map(|call| millis(call.took)),
            bytes_in: passage.body_bytes(),
            bytes_out: ending.sent,
            whole: ending.is_whole,
            correlation_id: id.map_or("", |id| id.as_str()),
            key_id: caller.map(|caller| caller.key_id()),
            account: caller.map(|caller| caller.account()),
            id: decisions.id.map(|word| word.as_str()),
            api_key: decisions.key.map(|word| word.as_str()),
            rate_limit: decisions.limit.map(|word| word.as_str()),
            idempotency: decisions.idempotency.map(|word| word.as_str()),
            error: decisions.refusal.map(|code| code.name()),
            client: passage.client(),
            protocol: protocol(passage.version()),
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        serde_json::to_writer(&mut line, self).expect("a vector takes what is written");
        line.push(b'\n');
        line
    }

    /// Status, method and path, and then names and values.
    fn text(&self) -> String {
        let mut line = String::with_capacity(LINE);
        let path = Plain(self.path);
        let written = match self.status {
            Some(status) => write!(line, "{} {status} {} {path}", self.time, self.method),
            None => write!(line, "{} - {} {path}", self.time, self.method),
        };
        written.expect("a string takes what is written");
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            write!(line, " {name}={value}").expect("a string takes what is written");
        };
        add("ms", &format_args!("{:.3}", self.ms));
        if let (Some(outcome), Some(took)) = (self.upstream, self.upstream_ms) {
            add("upstream", &outcome);
            add("upstream_ms", &format_args!("{took:.3}"));
        }
        add("in", &self.bytes_in);
        add("out", &self.bytes_out);
        if !self.whole {
            add("whole", &false);
        }
        for (name, value) in [
            ("correlation_id", Some(self.correlation_id)),
            ("key_id", self.key_id),
            ("account", self.account),
            ("route", self.route),
            ("id", self.id),
            ("api_key", self.api_key),
            ("rate_limit", self.rate_limit),
            ("idempotency", self.idempotency),
            ("error", self.error),
        ] {
            if let Some(value) = value {
                add(name, &Plain(value));
            }
        }
        if let Some(client) = self.client {
            add("client", &client);
        }
        add("protocol", &self.protocol);
        line.push('\n');
        line
    }
}

/// Text that cannot end a line, nor look like the next field.
struct Plain<'a>(&'a str);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '!'..='~' => f.write_char(letter)?,
                _ => write!(f, "{}", letter.escape_unicode())?,
            }
        }
        Ok(())
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn millis(took: std::time::Duration) -> f64 {
    // To a microsecond: more is noise.
    took.as_micros() as f64 / 1000.0
}

/// As much of a text as is told.
fn cut(text: &str, most: usize) -> &str {
    let end = text.floor_char_boundary(most);
    &text[..end]
}

fn moment(now: Timestamp) -> String {
    let nanos = i128::from(now.as_unix_millis()) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let written = moment.and_then(|moment| moment.format(MOMENT).ok());
    written.unwrap_or_default()
}

const MOMENT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What a line is most often shorter than.
const LINE: usize = 512;

/// Bytes of a path: a queue of lines is to be bounded by its length.
const PATH_MAX: usize = 1024;

/// Bytes of a method: one of a client's invention may have any length.
const METHOD_MAX: usize = 32;
