//! What is shown of a message, and how it moves.

use super::*;

#[test]
fn a_new_message_is_shown_as_the_contract_writes_it() {
    let shown = serde_json::to_string(&message(State::Queued).view(true)).unwrap();
    assert_eq!(
        shown,
        "{\"id\":\"018bcfe5-6800-7000-8000-000000000000\",\"status\":\"queued\",\
         \"agent_id\":\"00000000-0000-0000-0000-000000000000\",\"to\":\"+15551234567\",\
         \"type\":\"text\",\"platform_message_id\":null,\"created_at\":\"2023-11-14T22:13:20Z\",\
         \"sent_at\":null,\"failed_at\":null}"
    );
}

#[test]
fn a_read_leaves_out_the_recipient() {
    let shown = serde_json::to_value(message(State::Queued).view(false)).unwrap();
    assert_eq!(shown["to"], "");
}

#[test]
fn states_have_public_words_and_additions_where_they_apply() {
    for (state, status, detail, error, retry_safe) in [
        (State::Dispatching, "queued", false, false, false),
        (State::Uncertain, "queued", true, false, false),
        (State::Submitted, "sent", false, false, false),
        (State::Delivered, "delivered", false, false, false),
        (State::Played, "read", false, false, false),
        (State::Failed, "failed", false, true, false),
        (State::OutcomeUnknown, "failed", false, true, true),
    ] {
        let mut message = message(state);
        message.failed_at = Some(message.created_at);
        message.failure = Some(Failure {
            code: "c".into(),
            message: "m".into(),
        });
        let shown = serde_json::to_value(message.view(false)).unwrap();
        assert_eq!(shown["status"], status, "{state:?}");
        assert_eq!(shown.get("detail").is_some(), detail, "{state:?}");
        assert_eq!(shown.get("error").is_some(), error, "{state:?}");
        assert_eq!(!shown["failed_at"].is_null(), error, "{state:?}");
        assert_eq!(
            shown["error"]["retry_safe"] == false,
            retry_safe,
            "{state:?}"
        );
    }
}

#[test]
fn webhooks_move_a_message_forward_only() {
    for (from, status, to) in [
        (State::Uncertain, "sent", State::Sent),
        (State::Submitted, "delivered", State::Delivered),
        (State::Delivered, "sent", State::Delivered),
        (State::Read, "delivered", State::Read),
        (State::Sent, "failed", State::Failed),
        (State::Delivered, "failed", State::Delivered),
        (State::Failed, "sent", State::Failed),
        (State::Failed, "delivered", State::Delivered),
        (State::OutcomeUnknown, "sent", State::Sent),
        (State::Expired, "read", State::Read),
    ] {
        let spoken_of = State::from_status(status).unwrap();
        assert_eq!(from.advanced_to(spoken_of), to, "{from:?} {status}");
    }
    assert_eq!(State::from_status("deleted"), None);
}

#[test]
fn any_order_of_statuses_ends_in_the_same_state() {
    let statuses =
        ["sent", "failed", "delivered", "read"].map(|word| State::from_status(word).unwrap());
    for turns in 0..4 {
        let mut seen = statuses;
        seen.rotate_left(turns);
        let end = seen
            .into_iter()
            .chain(statuses)
            .fold(State::Submitted, State::advanced_to);
        assert_eq!(end, State::Read, "{seen:?}");
    }
}

#[test]
fn words_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    assert!(State::ALL.is_sorted());
    for kind in [Kind::Text, Kind::Template] {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
    }
}

#[test]
fn a_text_has_1_to_4096_characters() {
    for (length, fits) in [(0, false), (1, true), (4096, true), (4097, false)] {
        assert_eq!(
            Content::text(&"ö".repeat(length)).is_some(),
            fits,
            "{length}"
        );
    }
}

#[test]
fn an_id_is_a_hyphenated_uuid_in_either_case() {
    for (given, valid) in [
        ("018bcfe5-6800-7000-8000-00000000abcd", true),
        ("018BCFE5-6800-7000-8000-00000000ABCD", true),
        ("018bcfe56800700080000000000000000000", false),
        ("018bcfe5680070008000000000000000", false),
        ("{018bcfe5-6800-7000-8000-00000000abcd}", false),
        ("msg_1", false),
        ("", false),
    ] {
        assert_eq!(MessageId::parse(given).is_some(), valid, "{given}");
    }
}

#[test]
fn debug_does_not_show_what_is_said() {
    let content = Content::text("canary").unwrap();
    assert_eq!(format!("{content:?}"), "Content::Text");
}

fn message(state: State) -> Message {
    let created_at = Timestamp::from_unix_millis(1_700_000_000_000);
    Message {
        id: MessageId::mint(created_at, 0),
        account: "acme".into(),
        agent_id: Uuid::nil(),
        to: PhoneNumber::parse("+15551234567"),
        kind: Kind::Text,
        state,
        wamid: None,
        failure: None,
        created_at,
        sent_at: None,
        delivered_at: None,
        read_at: None,
        failed_at: None,
    }
}
