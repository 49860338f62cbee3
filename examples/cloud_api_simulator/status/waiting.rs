//! Messages that were sent and wait for their users to come online.

use std::collections::VecDeque;
use std::time::Duration;

use vestibule::clock::Timestamp;

use crate::graph::Message;
use crate::world::{Category, User};

/// What was sent and not delivered, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    letters: VecDeque<Letter>,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) message: Message,
    pub(crate) wamid: String,
    pub(crate) expires_at: Timestamp,
}

// === impl Waiting ===

impl Waiting {
    /// Keeps a message for its user; the oldest makes room.
    pub(crate) fn push(&mut self, message: Message, wamid: String, now: Timestamp) {
        if self.letters.len() >= MAX_LETTERS {
            self.letters.pop_front();
        }
        let expires_at = now + time_to_live(message.category);
        self.letters.push_back(Letter {
            message,
            wamid,
            expires_at,
        });
    }

    /// The user of this id is another from now on, as far as sending shows.
    pub(crate) fn readdress(&mut self, old_id: &str, user: &User) {
        for letter in &mut self.letters {
            if letter.message.user.user_id() == old_id {
                letter.message.user = user.clone();
            }
        }
    }

    /// Takes what can be delivered; what is too old is forgotten, and nobody is told.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        is_reachable: impl Fn(&Message) -> bool,
    ) -> Vec<Letter> {
        self.letters.retain(|letter| now < letter.expires_at);
        let (ready, rest) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition::<Vec<_>, _>(|letter| is_reachable(&letter.message));
        self.letters = rest.into();
        ready
    }
}

/// How long Meta tries to deliver.
const fn time_to_live(category: Option<Category>) -> Duration {
    match category {
        Some(Category::Authentication) => Duration::from_secs(600),
        None | Some(Category::Marketing | Category::Utility) => Duration::from_secs(30 * 86_400),
    }
}

/// Some 10 MB.
const MAX_LETTERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::message;

    #[test]
    fn a_message_waits_as_long_as_it_lives() {
        for (category, lives_for) in [
            (None, 30 * 86_400),
            (Some(Category::Utility), 30 * 86_400),
            (Some(Category::Authentication), 600),
        ] {
            for (after, want) in [(0, 1), (lives_for - 1, 1), (lives_for, 0)] {
                let mut waiting = Waiting::default();
                waiting.push(letter(category), "w".to_owned(), at(0));
                let taken = waiting.take(at(after), |_| true);
                assert_eq!(taken.len(), want, "{category:?} after {after}");
            }
        }
    }

    #[test]
    fn what_cannot_be_delivered_yet_waits_on() {
        let mut waiting = Waiting::default();
        for wamid in ["a", "b"] {
            waiting.push(letter(None), wamid.to_owned(), at(0));
        }
        assert!(waiting.take(at(1), |_| false).is_empty());
        let taken = waiting.take(at(2), |_| true);
        let wamids: Vec<&str> = taken.iter().map(|letter| &*letter.wamid).collect();
        assert_eq!(wamids, ["a", "b"]);
        assert!(waiting.take(at(3), |_| true).is_empty());
    }

    #[test]
    fn a_user_with_another_id_still_gets_the_messages() {
        let mut waiting = Waiting::default();
        waiting.push(letter(None), "w".to_owned(), at(0));
        let old_id = User::ordinary("1").user_id();
        waiting.readdress("US.other", &User::ordinary("2"));
        waiting.readdress(&old_id, &User::ordinary("US.77"));
        let taken = waiting.take(at(1), |message| message.user.user_id() == "US.77");
        assert_eq!(taken.len(), 1);
    }

    fn letter(category: Option<Category>) -> Message {
        message(User::ordinary("1"), category, true)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }
}
