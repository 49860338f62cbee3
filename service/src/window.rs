//! Meta's customer-service window: when a free-form message may be sent.
//!
//! A customer's message opens the window for 24 hours, counted from the moment of that
//! message and not from its arrival here: a webhook that was held back for hours must not
//! grant a fresh window.

use std::time::Duration;

use vestibule::clock::Timestamp;

/// The window between one business number and one customer, as last opened.
///
/// Later events only ever move it forward, so duplicates and late arrivals are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    opened_at: Timestamp,
    refused_at: Option<Timestamp>,
}

/// What is known of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Free-form text may be sent.
    Open {
        /// The first moment at which it may not.
        until: Timestamp,
    },
    /// It may not.
    Closed,
    /// The customer may have written where nobody here heard it.
    Unknown,
}

/// How much a deployment can know of windows that it never saw open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Since when webhooks are taken in.
    pub started_at: Option<Timestamp>,
    /// When windows were imported from where they were known before.
    pub imported_at: Option<Timestamp>,
    /// Whether webhooks are waiting that may open some.
    pub is_lagging: bool,
}

/// What opens a window, where Meta is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether a reaction does.
    pub opened_by_reaction: bool,
    /// Whether opening the chat for the first time does.
    pub opened_by_request_welcome: bool,
}

/// When something happened, as Meta's webhook tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The moment to count from.
    pub at: Timestamp,
    /// Whether Meta named a moment that had not come yet, so that the receipt counts.
    pub is_skewed: bool,
}

/// Judges a window; a message that would arrive within `margin` of its end comes too late.
pub fn judge(
    window: Option<Window>,
    knowledge: Knowledge,
    now: Timestamp,
    margin: Duration,
) -> Verdict {
    match window {
        Some(window) if window.is_open(now, margin) => Verdict::Open {
            until: window.closes_at(),
        },
        // Whom Meta called closed is closed, whatever else may have been missed.
        Some(window) if window.is_refused() => Verdict::Closed,
        _ if knowledge.is_complete(now) => Verdict::Closed,
        _ => Verdict::Unknown,
    }
}

// === impl Window ===

impl Window {
    /// The window that an event of this moment opens.
    pub const fn opened_at(opened_at: Timestamp) -> Self {
        Self {
            opened_at,
            refused_at: None,
        }
    }

    /// The same after Meta called it closed at this moment (131047): only an event after
    /// that opens it.
    #[must_use]
    pub const fn refused(self, at: Timestamp) -> Self {
        Self {
            refused_at: Some(at),
            ..self
        }
    }

    /// The moment that it counts from.
    pub const fn opened(self) -> Timestamp {
        self.opened_at
    }

    /// The first moment at which it is closed.
    pub fn closes_at(self) -> Timestamp {
        self.opened_at + LENGTH
    }

    /// Whether it is still open, and for longer than `margin`.
    pub fn is_open(self, now: Timestamp, margin: Duration) -> bool {
        now + margin < self.closes_at() && !self.is_refused()
    }

    /// Whether Meta called it closed, and nothing has opened it since.
    fn is_refused(self) -> bool {
        self.refused_at.is_some_and(|at| self.opened_at <= at)
    }
}

// === impl Knowledge ===

impl Knowledge {
    /// Nothing can have been missed.
    pub const fn of_everything() -> Self {
        Self {
            started_at: Some(Timestamp::EPOCH),
            imported_at: None,
            is_lagging: false,
        }
    }

    /// Whether every message of the last 24 hours must have been heard of: webhooks have been
    /// taken in since then, or an import filled what was before the first of them.
    fn is_complete(self, now: Timestamp) -> bool {
        let has_seen_a_day = self
            .started_at
            .is_some_and(|started| now >= started + LENGTH);
        let is_filled = self.imported_at.is_some_and(|imported| {
            self.started_at
                .is_none_or(|started| started <= imported + IMPORT_GAP)
        });
        !self.is_lagging && (has_seen_a_day || is_filled)
    }
}

// === impl EventTime ===

impl EventTime {
    /// Reads Meta's timestamp: Unix seconds as text.
    ///
    /// Milliseconds have been seen and are understood. What lies further ahead than two
    /// clocks can differ counts as its receipt; what is no number is no time at all, and
    /// then opens nothing.
    pub fn parse(stamp: &str, received: Timestamp) -> Option<Self> {
        let stamp: u64 = stamp.parse().ok()?;
        let at = if stamp >= MILLIS_FROM {
            Timestamp::from_unix_millis(stamp)
        } else {
            Timestamp::from_unix_seconds(stamp)
        };
        let is_skewed = at > received + SKEW_MAX;
        let at = if is_skewed { received } else { at };
        Some(Self { at, is_skewed })
    }
}

/// Whether an inbound message of this type counts as the customer writing to the business.
///
/// Types that Meta adds later are messages too. The exceptions change or annotate a
/// message that was there already, or come from WhatsApp itself; where Meta is silent, a
/// refused free-form text is the cheaper mistake, and `rules` may say otherwise.
pub fn is_opened_by(kind: &str, unsupported: Option<&str>, rules: Rules) -> bool {
    match kind {
        "reaction" => rules.opened_by_reaction,
        "request_welcome" => rules.opened_by_request_welcome,
        "edit" | "revoke" | "system" => false,
        "unsupported" => !matches!(
            unsupported,
            Some("edit" | "keep_in_chat" | "pin" | "poll_update" | "reaction")
        ),
        _ => true,
    }
}

/// Held back when a message is accepted: it may still wait in the queue.
pub const ACCEPT_MARGIN: Duration = Duration::from_secs(60);

/// Held back when a message is sent: the time that it travels.
pub const DISPATCH_MARGIN: Duration = Duration::from_secs(5);

const LENGTH: Duration = Duration::from_secs(24 * 60 * 60);

/// Between an import and the first webhook may lie a deployment; what lies further back has
/// missed too much.
const IMPORT_GAP: Duration = Duration::from_secs(60 * 60);

/// How far Meta's clock may be ahead of ours.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// In seconds this lies in the year 33658, in milliseconds in 2001.
const MILLIS_FROM: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_open_for_24_hours_less_the_margin() {
        let window = Window::opened_at(Timestamp::from_unix_seconds(1000));
        for (now, margin, open) in [
            (1000, 0, true),
            (1000 + 86_399, 0, true),
            (1000 + 86_400, 0, false),
            (1000 + 86_400 - 61, 60, true),
            (1000 + 86_400 - 60, 60, false),
            (u64::MAX / 1000, 60, false),
        ] {
            let margin = Duration::from_secs(margin);
            assert_eq!(
                window.is_open(Timestamp::from_unix_seconds(now), margin),
                open,
                "{now} {margin:?}"
            );
        }
    }

    #[test]
    fn what_meta_called_closed_opens_with_the_next_event() {
        let refused = Timestamp::from_unix_seconds(2000);
        for (opened, open) in [(1999, false), (2000, false), (2001, true)] {
            let window = Window::opened_at(Timestamp::from_unix_seconds(opened)).refused(refused);
            let now = Timestamp::from_unix_seconds(2002);
            assert_eq!(window.is_open(now, Duration::ZERO), open, "{opened}");
        }
    }

    #[test]
    fn what_nobody_can_know_is_not_closed() {
        let at = Timestamp::from_unix_seconds;
        let since = |started, imported: Option<u64>, is_lagging| Knowledge {
            started_at: Some(at(started)),
            imported_at: imported.map(at),
            is_lagging,
        };
        let (open, over) = (Window::opened_at(at(990_000)), Window::opened_at(at(1000)));
        let until = open.closes_at();
        for (window, knowledge, want) in [
            (Some(open), since(0, None, true), Verdict::Open { until }),
            (Some(over), since(0, None, false), Verdict::Closed),
            (Some(over), since(999_000, None, false), Verdict::Unknown),
            (None, since(913_600, None, false), Verdict::Closed),
            (None, since(913_601, None, false), Verdict::Unknown),
            (None, since(999_000, Some(999_500), false), Verdict::Closed),
            (None, since(999_000, Some(996_000), false), Verdict::Closed),
            (None, since(999_000, Some(995_000), false), Verdict::Unknown),
            (None, since(0, Some(999_500), true), Verdict::Unknown),
            (None, Knowledge::default(), Verdict::Unknown),
            (None, Knowledge::of_everything(), Verdict::Closed),
            (
                Some(open.refused(at(990_001))),
                since(999_000, None, true),
                Verdict::Closed,
            ),
            (
                Some(over.refused(at(999))),
                since(999_000, None, true),
                Verdict::Unknown,
            ),
        ] {
            let verdict = judge(window, knowledge, at(1_000_000), ACCEPT_MARGIN);
            assert_eq!(verdict, want, "{window:?} {knowledge:?}");
        }
    }

    #[test]
    fn counts_from_the_event_and_never_from_the_future() {
        let received = Timestamp::from_unix_seconds(1_800_000_000);
        for (stamp, want) in [
            ("1799990000", Some((1_799_990_000, false))),
            ("1799990000123", Some((1_799_990_000, false))),
            ("1800000060", Some((1_800_000_060, false))),
            ("1800000061", Some((1_800_000_000, true))),
            ("18446744073709551615", Some((1_800_000_000, true))),
            ("18446744073709551616", None),
            ("-1", None),
            ("", None),
            ("yesterday", None),
        ] {
            let got = EventTime::parse(stamp, received);
            let got = got.map(|time| (time.at.as_unix_seconds(), time.is_skewed));
            assert_eq!(got, want, "{stamp:?}");
        }
    }

    #[test]
    fn messages_open_it_and_annotations_do_not() {
        for (kind, unsupported, opens) in [
            ("text", None, true),
            ("button", None, true),
            ("a type of next year", None, true),
            ("reaction", None, false),
            ("system", None, false),
            ("revoke", None, false),
            ("unsupported", None, true),
            ("unsupported", Some("poll_creation"), true),
            ("unsupported", Some("edit"), false),
        ] {
            assert_eq!(
                is_opened_by(kind, unsupported, Rules::default()),
                opens,
                "{kind} {unsupported:?}"
            );
        }
        let rules = Rules {
            opened_by_reaction: true,
            opened_by_request_welcome: true,
        };
        for kind in ["reaction", "request_welcome"] {
            assert!(is_opened_by(kind, None, rules), "{kind}");
        }
    }
}
