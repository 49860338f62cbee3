//! What can go wrong, and where in a message's life it strikes.

use serde::{Deserialize, Serialize};

use crate::graph::error;
use crate::world::Range;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Effect {
    /// Webhook: one attempt is signed with a secret that is not the app's.
    BadSignature,
    /// Send: the first status is on its way before the answer.
    BeforeResponse,
    /// Webhook: it is told later than it happened.
    Delay { ms: Range },
    /// Send: the body of the answer trickles.
    Drip { bytes_per_second: u64 },
    /// Webhook: no app is ever told.
    Drop,
    /// Webhook: it is posted again, so often and so far apart.
    Duplicate {
        #[serde(default = "one")]
        copies: u32,
        #[serde(default)]
        spacing_ms: u64,
    },
    /// Send: accepted, then a `failed` status with this code, in the place of `sent` or after it.
    Fail {
        code: u32,
        #[serde(default)]
        after_sent: bool,
    },
    /// Send: refused with this code, and seconds in `Retry-After` where they are given.
    Graph {
        code: u32,
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Send over HTTP/2: answered, and the connection takes no more requests.
    H2Goaway,
    /// Send over HTTP/2: the stream is refused, nothing is processed.
    H2RefusedStream,
    /// Send: accepted only after this time, whether or not the client still waits.
    HangThenProcess {
        #[serde(default = "a_minute")]
        ms: u64,
    },
    /// Send: a bare answer, as from something in between; nothing is accepted.
    Http {
        status: u16,
        #[serde(default)]
        body: String,
        /// HTML where it is absent.
        #[serde(default)]
        content_type: Option<String>,
        /// Seconds in `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Send: answered, then the connection ends although nothing announced that.
    KeepaliveClose,
    /// Send: processed at once, answered later.
    Latency { ms: Range },
    /// Standing: the number is in maintenance.
    Maintenance { ms: Option<u64> },
    /// Webhook: one attempt carries no signature.
    NoSignature,
    /// Webhook: one attempt is signed with the secret that the app had before.
    OldSecret,
    /// Webhook: a `failed` status comes without `biz_opaque_callback_data`.
    OmitOpaqueOnFailed,
    /// Webhook: it names the user by id only.
    OmitPhone,
    /// Standing: no webhook is posted; what waits comes in one burst when it ends.
    Outage { ms: Option<u64> },
    /// Webhook: it is this long at least.
    Oversize {
        #[serde(default = "three_megabytes")]
        bytes: usize,
    },
    /// Standing: another pair limit.
    Pair {
        interval_ms: u64,
        burst: u32,
        ms: Option<u64>,
    },
    /// Send: accepted, then no answer for this time, then a reset.
    ProcessThenHang {
        #[serde(default = "a_minute")]
        ms: u64,
    },
    /// Send: accepted, then the connection is reset.
    ProcessThenReset,
    /// Send: accepted, then the connection ends so many bytes into the body of the answer.
    ProcessThenTruncate {
        #[serde(default = "a_few")]
        after: usize,
    },
    /// Standing: another throughput.
    Rate { mps: u32, ms: Option<u64> },
    /// Webhook that an app did not take: its updates come again one by one.
    Rebatch,
    /// Standing: nobody listens.
    RefuseConnect {
        #[serde(default = "a_second")]
        ms: Option<u64>,
    },
    /// Send: its statuses come in reverse order. With a window, webhook: it is told at some
    /// moment of that window, so that several change places.
    Reorder {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window_ms: Option<u64>,
    },
    /// Connection: reset when a request comes, before a byte of it is read.
    ResetBeforeRead,
    /// Send: the connection is reset so many bytes into the body; nothing is processed.
    ResetMidBody {
        #[serde(default)]
        after: usize,
    },
    /// Connection: served only after this time; not at all if the client has left by then.
    SlowAccept { ms: Range },
    /// Webhook: one attempt carries a body that was changed after it was signed.
    TamperedBody,
    /// Scheduled: the account's templates, or the named one, are paused.
    TemplatePauseAt {
        template: Option<String>,
        #[serde(default)]
        at_ms: Option<u64>,
        #[serde(default)]
        in_ms: u64,
    },
    /// Connection: taken and closed before a byte is read, as after a failed handshake.
    TlsFail,
    /// Scheduled: the account's tokens are revoked.
    TokenRevokeAt {
        #[serde(default)]
        at_ms: Option<u64>,
        #[serde(default)]
        in_ms: u64,
    },
    /// Webhook: its times lie in the future.
    TsFuture { ms: u64 },
    /// Webhook: it carries no times.
    TsMissing,
    /// Webhook: its times are in milliseconds.
    TsMs,
    /// Webhook: its times lie in the past.
    TsOld { ms: u64 },
    /// Webhook: one attempt carries a body without escapes, as a proxy rewrites it; signed
    /// as it was before, or anew.
    UnescapedBody {
        #[serde(default)]
        signed_anew: bool,
    },
    /// Webhook: a field that nobody documents, at every level.
    UnknownField,
    /// Webhook: a status with a word of its own.
    UnknownStatus {
        #[serde(default = "deleted")]
        word: String,
    },
    /// Webhook: a message of a type that nobody documents.
    UnknownType,
    /// Scheduled: the account is locked.
    WabaLockAt {
        #[serde(default)]
        at_ms: Option<u64>,
        #[serde(default)]
        in_ms: u64,
    },
    /// Send: outside the window to Meta, although the window is open.
    WindowDisagree,
}

/// Where in a message's life an effect strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A connection is there, and nothing is read of it.
    Accept,
    /// The first byte of a request is there.
    Read,
    /// The head of a send is read, and nothing of its body.
    Head,
    /// A send has arrived.
    Request,
    /// A free-form send is inside its window.
    Window,
    /// A send is accepted; each of the effects may strike.
    Plan,
    /// A send is answered; each of the effects may strike.
    Answer,
    /// A webhook is made; each of the effects may strike.
    Emission,
    /// A webhook is written; each of the effects may strike.
    Shape,
    /// A webhook is posted.
    Attempt,
    /// A webhook was not taken.
    Retry,
    /// It holds for a time, and is used up by nothing.
    Standing,
    /// It changes the world once, at its time.
    Scheduled,
}

// === impl Effect ===

impl Effect {
    /// Where it strikes.
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::SlowAccept { .. } | Self::TlsFail => Stage::Accept,
            Self::ResetBeforeRead => Stage::Read,
            Self::ResetMidBody { .. } => Stage::Head,
            Self::Graph { .. }
            | Self::H2RefusedStream
            | Self::HangThenProcess { .. }
            | Self::Http { .. }
            | Self::ProcessThenHang { .. }
            | Self::ProcessThenReset
            | Self::ProcessThenTruncate { .. } => Stage::Request,
            Self::WindowDisagree => Stage::Window,
            Self::BeforeResponse | Self::Fail { .. } | Self::Reorder { window_ms: None } => {
                Stage::Plan
            }
            Self::Drip { .. } | Self::H2Goaway | Self::KeepaliveClose | Self::Latency { .. } => {
                Stage::Answer
            }
            Self::Delay { .. } | Self::Drop | Self::Duplicate { .. } | Self::Reorder { .. } => {
                Stage::Emission
            }
            Self::OmitOpaqueOnFailed
            | Self::OmitPhone
            | Self::Oversize { .. }
            | Self::TsFuture { .. }
            | Self::TsMissing
            | Self::TsMs
            | Self::TsOld { .. }
            | Self::UnknownField
            | Self::UnknownStatus { .. }
            | Self::UnknownType => Stage::Shape,
            Self::BadSignature
            | Self::NoSignature
            | Self::OldSecret
            | Self::TamperedBody
            | Self::UnescapedBody { .. } => Stage::Attempt,
            Self::Rebatch => Stage::Retry,
            Self::Maintenance { .. }
            | Self::Outage { .. }
            | Self::Pair { .. }
            | Self::Rate { .. }
            | Self::RefuseConnect { .. } => Stage::Standing,
            Self::TemplatePauseAt { .. } | Self::TokenRevokeAt { .. } | Self::WabaLockAt { .. } => {
                Stage::Scheduled
            }
        }
    }

    /// Whether it has anything to do with this kind of webhook; a status is known by its word.
    pub(super) fn suits(&self, kind: &str) -> bool {
        let is_status = STATUS_WORDS.contains(&kind);
        match self {
            Self::OmitOpaqueOnFailed => kind == "failed",
            Self::UnknownStatus { .. } => is_status,
            Self::UnknownType => !is_status && kind != "call",
            _ => true,
        }
    }

    /// How long a standing effect holds; nothing means until it is taken back.
    pub(super) const fn holds_for(&self) -> Option<u64> {
        match self {
            Self::Maintenance { ms }
            | Self::Outage { ms }
            | Self::Pair { ms, .. }
            | Self::Rate { ms, .. }
            | Self::RefuseConnect { ms } => *ms,
            _ => None,
        }
    }

    /// When a scheduled effect is due: the moment it names, or the time from its order on.
    pub(super) const fn due(&self) -> (Option<u64>, u64) {
        match self {
            Self::TemplatePauseAt { at_ms, in_ms, .. }
            | Self::TokenRevokeAt { at_ms, in_ms }
            | Self::WabaLockAt { at_ms, in_ms } => (*at_ms, *in_ms),
            _ => (None, 0),
        }
    }

    /// Refuses values that mean nothing.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Fail { code, .. } | Self::Graph { code, .. } if !error::is_known(*code) => Err(
                format!("code = {code}: not an error code that Meta documents"),
            ),
            Self::Http { status, .. } if !(200..1000).contains(status) => {
                Err(format!("status = {status}: not the status of an answer"))
            }
            Self::Http {
                content_type: Some(kind),
                ..
            } if !kind.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Err(format!(
                "content_type = {kind:?}: not the value of a header"
            )),
            Self::Duplicate { copies, .. } if *copies == 0 || *copies > MAX_COPIES => {
                Err(format!("copies = {copies}: not between 1 and {MAX_COPIES}"))
            }
            Self::Oversize { bytes } if *bytes > MAX_OVERSIZE => {
                Err(format!("bytes = {bytes}: more than {MAX_OVERSIZE}"))
            }
            Self::Drip { bytes_per_second } if *bytes_per_second == 0 => {
                Err("bytes_per_second = 0: the answer would never end".to_owned())
            }
            Self::Rate { mps, .. } if *mps > MAX_MPS => {
                Err(format!("mps = {mps}: more than {MAX_MPS}"))
            }
            Self::Delay { ms } | Self::Latency { ms } | Self::SlowAccept { ms }
                if !ms.is_ordered() =>
            {
                Err("ms: the least is more than the most".to_owned())
            }
            _ => Ok(()),
        }
    }
}

const fn one() -> u32 {
    1
}

const fn a_few() -> usize {
    20
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands for an absent field that may also be null"
)]
const fn a_second() -> Option<u64> {
    Some(1000)
}

const fn a_minute() -> u64 {
    60_000
}

/// The longest payload that Meta documents.
const fn three_megabytes() -> usize {
    3 << 20
}

fn deleted() -> String {
    "deleted".to_owned()
}

const STATUS_WORDS: [&str; 5] = ["sent", "delivered", "read", "played", "failed"];

/// Meta's own repeats stay in single figures.
const MAX_COPIES: u32 = 100;

/// Well beyond what any receiver is said to take.
const MAX_OVERSIZE: usize = 16 << 20;

/// A hundred times what Meta grants.
const MAX_MPS: u32 = 100_000;
