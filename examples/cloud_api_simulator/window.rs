//! The customer-service window: when it opens, and when it is open.

use std::collections::HashMap;
use std::time::Duration;

use vestibule::clock::Timestamp;

/// When each user last opened the window of each number.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    opened: HashMap<(String, String), Timestamp>,
}

// === impl Windows ===

impl Windows {
    /// An event of the user, by its own time: a late one never shortens the window, and
    /// one from the future counts as of now.
    pub(crate) fn touch(&mut self, pnid: &str, user: &str, at: Timestamp, now: Timestamp) {
        if self.opened.len() >= MAX_WINDOWS {
            self.opened.retain(|_, opened| is_open(*opened, now));
        }
        if self.opened.len() >= MAX_WINDOWS {
            return;
        }
        let key = (pnid.to_owned(), user.to_owned());
        let opened = self.opened.entry(key).or_default();
        *opened = (*opened).max(at.min(now));
    }

    /// Whether free-form messages may go to this user now.
    pub(crate) fn is_open(&self, pnid: &str, user: &str, now: Timestamp) -> bool {
        self.closes_at(pnid, user)
            .is_some_and(|closes| now < closes)
    }

    /// The user goes by another id from now on; the windows stay.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        let keys: Vec<_> = self
            .opened
            .keys()
            .filter(|(_, user)| user == old)
            .cloned()
            .collect();
        for key in keys {
            if let Some(opened) = self.opened.remove(&key) {
                let opened_by_new = self.opened.entry((key.0, new.to_owned())).or_default();
                *opened_by_new = (*opened_by_new).max(opened);
            }
        }
    }

    /// When the window ends, or ended; nothing where it never opened.
    pub(crate) fn closes_at(&self, pnid: &str, user: &str) -> Option<Timestamp> {
        let key = (pnid.to_owned(), user.to_owned());
        self.opened.get(&key).map(|opened| *opened + WINDOW)
    }
}

/// Whether a message of this type opens the window.
///
/// Meta is silent on reactions and on `request_welcome`; both count as no, as the
/// messaging service assumes.
pub(crate) fn opens_window(message_type: &str, unsupported: Option<&str>) -> bool {
    match (message_type, unsupported) {
        ("reaction" | "system" | "edit" | "revoke" | "request_welcome", _) => false,
        ("unsupported", Some(kind)) => !matches!(
            kind,
            "edit" | "reaction" | "pin" | "keep_in_chat" | "poll_update"
        ),
        _ => true,
    }
}

/// The moment that a webhook's `timestamp` names: seconds, but milliseconds were seen.
pub(crate) const fn event_time(timestamp: u64) -> Timestamp {
    if timestamp >= FIRST_MILLISECONDS {
        Timestamp::from_unix_millis(timestamp)
    } else {
        Timestamp::from_unix_seconds(timestamp)
    }
}

fn is_open(opened: Timestamp, now: Timestamp) -> bool {
    now < opened + WINDOW
}

/// Twenty-four hours; at exactly that age the window is closed.
const WINDOW: Duration = Duration::from_secs(86_400);

/// As seconds this would be the year 33658.
const FIRST_MILLISECONDS: u64 = 1_000_000_000_000;

/// More users than a load test has; each takes about 100 bytes.
const MAX_WINDOWS: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_lasts_a_day_and_is_closed_at_its_end() {
        let mut windows = Windows::default();
        assert!(!windows.is_open("n", "u", seconds(0)));
        windows.touch("n", "u", seconds(1000), seconds(1000));
        for (now, open) in [
            (1000, true),
            (1000 + 86_399, true),
            (1000 + 86_400, false),
            (1000 + 86_401, false),
        ] {
            assert_eq!(windows.is_open("n", "u", seconds(now)), open, "{now}");
        }
    }

    #[test]
    fn the_latest_event_counts_in_whatever_order_events_come() {
        for (events, now, want) in [
            (vec![1000, 5000], 9000, 5000),
            (vec![5000, 1000], 9000, 5000),
            (vec![5000, 5000], 9000, 5000),
            (vec![9999], 9000, 9000),
        ] {
            let mut windows = Windows::default();
            for event in &events {
                windows.touch("n", "u", seconds(*event), seconds(now));
            }
            let closes = windows.closes_at("n", "u");
            assert_eq!(closes, Some(seconds(want + 86_400)), "{events:?}");
        }
    }

    #[test]
    fn a_window_belongs_to_one_number_and_one_user() {
        let mut windows = Windows::default();
        windows.touch("n", "u", seconds(0), seconds(0));
        assert!(windows.is_open("n", "u", seconds(1)));
        assert!(!windows.is_open("m", "u", seconds(1)));
        assert!(!windows.is_open("n", "v", seconds(1)));
    }

    #[test]
    fn a_user_who_is_renamed_keeps_the_windows() {
        let mut windows = Windows::default();
        windows.touch("n", "u", seconds(5), seconds(5));
        windows.touch("n", "other", seconds(5), seconds(5));
        windows.rename("u", "v");
        assert!(!windows.is_open("n", "u", seconds(6)));
        assert!(windows.is_open("n", "v", seconds(6)));
        assert!(windows.is_open("n", "other", seconds(6)));
    }

    #[test]
    fn only_what_a_user_says_opens_the_window() {
        for (kind, unsupported, opens) in [
            ("text", None, true),
            ("image", None, true),
            ("button", None, true),
            ("unsupported", None, true),
            ("unsupported", Some("poll_creation"), true),
            ("unsupported", Some("pin"), false),
            ("reaction", None, false),
            ("system", None, false),
            ("revoke", None, false),
        ] {
            assert_eq!(
                opens_window(kind, unsupported),
                opens,
                "{kind} {unsupported:?}"
            );
        }
    }

    #[test]
    fn milliseconds_are_told_from_seconds() {
        for (timestamp, millis) in [
            (1_750_030_073, 1_750_030_073_000),
            (1_750_030_073_123, 1_750_030_073_123),
        ] {
            assert_eq!(
                event_time(timestamp).as_unix_millis(),
                millis,
                "{timestamp}"
            );
        }
    }

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }
}
