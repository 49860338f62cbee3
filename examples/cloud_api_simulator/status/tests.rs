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
    let user = |change: fn(&mut User)| {
        let mut user = User::ordinary("1");
        change(&mut user);
        user
    };
    let opted_out = user(|user| user.marketing_optout = true);
    let unreachable = user(|user| (user.on_whatsapp, user.marketing_optout) = (false, true));
    let capped = user(|user| user.marketing_capped = true);
    let observed = user(|user| user.in_experiment = true);
    let (marketing, utility) = (Some(Category::Marketing), Some(Category::Utility));
    for (user, category, is_open, mode, want) in [
        (&opted_out, None, true, WindowMode::Async, None),
        (&opted_out, None, false, WindowMode::Async, Some(131047)),
        (&opted_out, None, false, WindowMode::Off, None),
        (&opted_out, utility, false, WindowMode::Async, None),
        (
            &opted_out,
            marketing,
            false,
            WindowMode::Async,
            Some(131050),
        ),
        (&unreachable, None, false, WindowMode::Async, Some(131026)),
        (
            &unreachable,
            marketing,
            true,
            WindowMode::Async,
            Some(131026),
        ),
        (&capped, marketing, true, WindowMode::Async, Some(131049)),
        (&capped, utility, true, WindowMode::Async, None),
        (&observed, marketing, true, WindowMode::Async, Some(130472)),
        (&observed, utility, true, WindowMode::Async, None),
    ] {
        let settings = Settings {
            window_mode: mode,
            ..Settings::default()
        };
        let message = message(user.clone(), category, is_open);
        let steps = plan(&message, &settings, None, &mut random());
        let shown = format!("{user:?} {category:?} open {is_open} {mode:?}");
        assert_eq!(steps[0].error, want, "{shown}");
        assert_eq!(steps.len() == 1, want.is_some(), "{shown}");
        let ordered = plan(&message, &settings, Some(AT_ONCE), &mut random());
        assert_eq!(ordered[0].error, Some(131049), "{shown}");
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

#[test]
fn a_voice_message_is_played_by_whoever_reads_it() {
    let user = User::ordinary("1");
    for (user, want) in [
        (
            user.clone(),
            vec![Word::Delivered, Word::Read, Word::Played],
        ),
        (
            User {
                chat_open: true,
                ..user.clone()
            },
            vec![Word::Read, Word::Played],
        ),
        (
            User {
                read_receipts: false,
                ..user
            },
            vec![Word::Delivered],
        ),
    ] {
        let message = Message {
            is_voice: true,
            ..message(user, None, true)
        };
        let steps = arrive(&message, &Settings::default(), &mut random());
        let words: Vec<Word> = steps.iter().map(|step| step.word).collect();
        assert_eq!(words, want);
        assert!(steps.is_sorted_by_key(|step| step.after));
        assert_eq!(steps.iter().filter(|step| step.is_priced).count(), 1);
    }
}

#[test]
fn a_failure_can_follow_what_was_sent() {
    let message = message(User::ordinary("1"), None, true);
    let late = Failure {
        after_sent: true,
        ..AT_ONCE
    };
    for (ordered, want) in [
        (AT_ONCE, vec![(Word::Failed, Some(131049))]),
        (late, vec![(Word::Sent, None), (Word::Failed, Some(131049))]),
    ] {
        let steps = plan(&message, &Settings::default(), Some(ordered), &mut random());
        let got: Vec<_> = steps.iter().map(|step| (step.word, step.error)).collect();
        assert_eq!(got, want, "{ordered:?}");
        assert!(steps.is_sorted_by_key(|step| step.after));
    }
}

pub(super) fn message(user: User, category: Option<Category>, is_window_open: bool) -> Message {
    Message {
        recipient: Recipient::UserId("US.1".to_owned()),
        user,
        number: number(),
        kind: "text".to_owned(),
        opaque: None,
        category,
        is_window_open,
        is_voice: false,
        is_lite: false,
    }
}

fn number() -> Number {
    let text = "[[waba]]\nid = \"w\"\n[[number]]\nid = \"n\"\nwaba = \"w\"\ndisplay = \"1\"\ncountry_code = \"1\"\n";
    parse(text).unwrap().numbers.remove(0)
}

fn random() -> StdRng {
    Seed::new(1).generator(Purpose::Delays, 1)
}

const AT_ONCE: Failure = Failure {
    code: 131049,
    after_sent: false,
};
