//! What becomes of a message, by the user it goes to.

use super::*;
use crate::graph::Recipient;
use crate::id::{Purpose, Seed};
use crate::world::{Number, User, parse};

#[test]
fn a_user_decides_how_far_a_message_gets() {
    let user = User::ordinary("16505551234");
    let user = || user.clone();
    for (name, user, want) in [
        (
            "ordinary",
            user(),
            vec![
                (Word::Sent, true),
                (Word::Delivered, true),
                (Word::Read, false),
            ],
        ),
        (
            "no receipts",
            User {
                read_receipts: false,
                ..user()
            },
            vec![(Word::Sent, true), (Word::Delivered, true)],
        ),
        (
            "chat open",
            User {
                chat_open: true,
                ..user()
            },
            vec![(Word::Sent, true), (Word::Read, true)],
        ),
        (
            "offline",
            User {
                online: false,
                ..user()
            },
            vec![(Word::Sent, true)],
        ),
        (
            "blocked",
            User {
                blocked: true,
                ..user()
            },
            vec![(Word::Sent, true)],
        ),
        (
            "not on WhatsApp",
            User {
                on_whatsapp: false,
                ..user()
            },
            vec![(Word::Failed, false)],
        ),
    ] {
        let steps = plan(
            &message(user, None, true),
            &Settings::default(),
            None,
            &mut random(),
        );
        let got: Vec<_> = steps
            .iter()
            .map(|step| (step.word, step.is_priced))
            .collect();
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn failures_that_come_later_name_their_code() {
    let user = User {
        marketing_optout: true,
        ..User::ordinary("1")
    };
    let unreachable = User {
        on_whatsapp: false,
        ..user.clone()
    };
    for (user, category, is_open, mode, ordered, want) in [
        (&user, None, true, WindowMode::Async, None, None),
        (&user, None, false, WindowMode::Async, None, Some(131047)),
        (&user, None, false, WindowMode::Off, None, None),
        (
            &user,
            Some(Category::Utility),
            false,
            WindowMode::Async,
            None,
            None,
        ),
        (
            &user,
            Some(Category::Marketing),
            false,
            WindowMode::Async,
            None,
            Some(131050),
        ),
        (
            &unreachable,
            None,
            false,
            WindowMode::Async,
            None,
            Some(131026),
        ),
        (
            &user,
            None,
            true,
            WindowMode::Async,
            Some(131049),
            Some(131049),
        ),
    ] {
        let settings = Settings {
            window_mode: mode,
            ..Settings::default()
        };
        let message = message(user.clone(), category, is_open);
        let steps = plan(&message, &settings, ordered, &mut random());
        assert_eq!(
            steps[0].error, want,
            "{category:?} open {is_open} {mode:?} {ordered:?}"
        );
        assert_eq!(steps.len() == 1, want.is_some());
    }
}

#[test]
fn delays_stay_in_their_ranges_and_add_up() {
    let message = message(User::ordinary("1"), None, true);
    for number in 0..100 {
        let mut random = Seed::new(1).generator(Purpose::Delays, number);
        let steps = plan(&message, &Settings::default(), None, &mut random);
        let [sent, delivered, read] = [0, 1, 2].map(|index| steps[index].after.as_millis());
        assert!((50..=300).contains(&sent), "{sent}");
        assert!((200..=2000).contains(&(delivered - sent)), "{delivered}");
        assert!((1000..=5000).contains(&(read - delivered)), "{read}");
    }
}

#[test]
fn reordered_statuses_are_told_last_one_first_and_keep_their_times() {
    let message = message(User::ordinary("1"), None, true);
    let mut steps = plan(&message, &Settings::default(), None, &mut random());
    let before = steps.clone();
    reorder(&mut steps);
    hasten(&mut steps);
    steps.sort_by_key(|step| step.told);
    let words: Vec<Word> = steps.iter().map(|step| step.word).collect();
    assert_eq!(words, [Word::Read, Word::Delivered, Word::Sent]);
    assert_eq!(steps[0].told, Duration::ZERO);
    assert_eq!(steps[0].after, before[2].after);
}

fn message(user: User, category: Option<Category>, is_window_open: bool) -> Message {
    Message {
        recipient: Recipient::UserId("US.1".to_owned()),
        user,
        number: number(),
        kind: "text".to_owned(),
        opaque: None,
        category,
        is_window_open,
    }
}

fn number() -> Number {
    let text = "[[waba]]\nid = \"w\"\n[[number]]\nid = \"n\"\nwaba = \"w\"\ndisplay = \"1\"\ncountry_code = \"1\"\n";
    parse(text).unwrap().numbers.remove(0)
}

fn random() -> StdRng {
    Seed::new(1).generator(Purpose::Delays, 1)
}
