//! Meta's customer-service window: when a free-form message may be sent.
//!
//! A customer's message opens the window for 24 hours, counted from the moment of that
//! message and not from its arrival here: a webhook that was held back for hours must not
//! grant a fresh window.

use std::time::Duration;

use vestibule::clock::Timestamp;

/// The window between one business number and one customer, as last opened.
///
/// Later events only ever move it forward ([`Ord`]), so duplicates and late arrivals are
/// harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    opened_at: Timestamp,
}

/// When something happened, as Meta's webhook tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The moment to count from.
    pub at: Timestamp,
    /// Whether Meta named a moment that had not come yet, so that the receipt counts.
    pub is_skewed: bool,
}

// === impl Window ===

impl Window {
    /// The window that an event of this moment opens.
    pub const fn opened_at(opened_at: Timestamp) -> Self {
        Self { opened_at }
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
        now + margin < self.closes_at()
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
/// message that was there already, or come from WhatsApp itself; where Meta is silent
/// (reactions), a refused free-form text is the cheaper mistake.
pub fn is_opened_by(kind: &str, unsupported: Option<&str>) -> bool {
    match kind {
        "edit" | "reaction" | "request_welcome" | "revoke" | "system" => false,
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
                is_opened_by(kind, unsupported),
                opens,
                "{kind} {unsupported:?}"
            );
        }
    }
}
