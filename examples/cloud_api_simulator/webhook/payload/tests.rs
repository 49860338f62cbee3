//! Payloads, held against the published shapes.

use vestibule::clock::Timestamp;

use super::*;
use crate::world::{Category, User, parse};

#[test]
fn a_status_has_the_published_shape() {
    let event = event(status(Word::Sent, phone()), User::ordinary("16505551234"));
    let user_id = event.user.user_id();
    let want = json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
            "contacts": [{"profile": {"name": "Customer"}, "wa_id": "16505551234", "user_id": user_id}],
            "statuses": [{
                "id": "wamid.x",
                "status": "sent",
                "timestamp": "1750030073",
                "recipient_id": "16505551234",
                "recipient_user_id": user_id,
                "biz_opaque_callback_data": "m1.a.1.t",
                "pricing": {
                    "billable": false,
                    "pricing_model": "PMP",
                    "type": "free_customer_service",
                    "category": "service",
                },
            }],
        }}]}],
    });
    assert_eq!(envelope(&[update(&event)]), want);
}

#[test]
fn a_failed_status_carries_the_error_and_no_contact() {
    let failed = Status {
        error: Some(131047),
        is_priced: false,
        ..status(Word::Failed, phone())
    };
    let value = value(&event(failed, User::ordinary("16505551234")), false);
    assert!(value.get("contacts").is_none());
    let status = &value["statuses"][0];
    assert!(status.get("recipient_user_id").is_none());
    assert!(status.get("pricing").is_none());
    assert_eq!(status["biz_opaque_callback_data"], "m1.a.1.t");
    let error = &status["errors"][0];
    assert_eq!(error["code"], 131047);
    assert_eq!(error["title"], "Re-engagement message");
    assert_eq!(error["message"], error["title"]);
    assert!(
        error["error_data"]["details"]
            .as_str()
            .unwrap()
            .contains("24 hours")
    );
    assert!(
        error["href"]
            .as_str()
            .unwrap()
            .starts_with("https://developers.facebook.com/")
    );
}

#[test]
fn a_phone_number_shows_only_where_the_business_knows_it() {
    let by_id = || Recipient::UserId("US.1349".to_owned());
    for (recipient, word, share_phone, has_phone, has_user_id) in [
        (phone(), Word::Sent, false, true, true),
        (phone(), Word::Failed, true, true, false),
        (by_id(), Word::Sent, false, false, true),
        (by_id(), Word::Sent, true, true, true),
        (by_id(), Word::Failed, false, false, true),
    ] {
        let case = format!("{recipient:?} {word:?} {share_phone}");
        let user = User {
            wa_id: Some("16505551234".to_owned()),
            bsuid: Some("US.1349".to_owned()),
            share_phone,
            ..User::default()
        };
        let value = value(&event(status(word, recipient), user), false);
        let status = &value["statuses"][0];
        assert_eq!(status.get("recipient_id").is_some(), has_phone, "{case}");
        assert_eq!(
            status.get("recipient_user_id").is_some(),
            has_user_id,
            "{case}"
        );
    }
}

#[test]
fn a_user_name_stands_in_the_profile() {
    for (username, want) in [(None, json!(null)), (Some("sheena"), json!("sheena"))] {
        let user = User {
            username: username.map(str::to_owned),
            ..User::ordinary("1")
        };
        let value = value(&event(status(Word::Sent, phone()), user), false);
        let got = value.pointer("/contacts/0/profile/username").cloned();
        assert_eq!(got.unwrap_or_default(), want);
    }
}

#[test]
fn conversations_are_for_older_payload_versions() {
    for (word, has_conversations, conversation, expiry) in [
        (Word::Sent, true, true, true),
        (Word::Delivered, true, true, false),
        (Word::Sent, false, false, false),
    ] {
        let event = event(status(word, phone()), User::ordinary("16505551234"));
        let value = value(&event, has_conversations);
        let found = value["statuses"][0].get("conversation");
        assert_eq!(
            found.is_some(),
            conversation,
            "{word:?} {has_conversations}"
        );
        let expires = found.and_then(|found| found.get("expiration_timestamp"));
        assert_eq!(expires.is_some(), expiry, "{word:?} {has_conversations}");
    }
}

#[test]
fn the_price_follows_the_category_and_the_window() {
    for (category, is_window_open, kind, billable, name) in [
        (None, true, "free_customer_service", false, "service"),
        (
            Some(Category::Utility),
            true,
            "free_customer_service",
            false,
            "utility",
        ),
        (Some(Category::Utility), false, "regular", true, "utility"),
        (
            Some(Category::Marketing),
            true,
            "regular",
            true,
            "marketing",
        ),
        (
            Some(Category::Authentication),
            false,
            "regular",
            true,
            "authentication",
        ),
    ] {
        let status = Status {
            category,
            is_window_open,
            ..status(Word::Sent, phone())
        };
        let want =
            json!({"billable": billable, "pricing_model": "PMP", "type": kind, "category": name});
        assert_eq!(pricing(&status), want, "{category:?} {is_window_open}");
    }
}

#[test]
fn an_inbound_message_comes_with_its_contact() {
    let message = json!({"from": "16505551234", "id": "wamid.y", "timestamp": "1", "type": "text", "text": {"body": "hi"}});
    for (message, has_contact) in [(message, true), (json!({"type": "system"}), false)] {
        let matter = Matter::Message(message.as_object().unwrap().clone());
        let value = value(&about(matter, User::ordinary("16505551234")), false);
        assert_eq!(value["messages"][0], message);
        assert_eq!(value.get("contacts").is_some(), has_contact, "{message}");
        assert!(value.get("statuses").is_none());
    }
}

#[test]
fn updates_of_one_account_share_an_entry_and_not_those_of_another() {
    let event = event(status(Word::Sent, phone()), User::ordinary("1"));
    let of = |waba: &str| Update {
        waba: waba.to_owned(),
        ..update(&event)
    };
    let body = envelope(&[of("a"), of("a"), of("b"), of("a")]);
    let shape: Vec<(&str, usize)> = body["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let changes = entry["changes"].as_array().unwrap();
            (entry["id"].as_str().unwrap(), changes.len())
        })
        .collect();
    assert_eq!(shape, [("a", 2), ("b", 1), ("a", 1)]);
}

fn update(event: &Event) -> Update {
    Update {
        about: event.about(),
        waba: event.number.waba.clone(),
        field: event.field(),
        value: value(event, false),
    }
}

fn event(status: Status, user: User) -> Event {
    about(Matter::Status(status), user)
}

fn about(matter: Matter, user: User) -> Event {
    let world = parse(include_str!("../../world.toml")).unwrap();
    Event {
        number: world.numbers[0].clone(),
        user,
        matter,
        heard: None,
    }
}

fn status(word: Word, recipient: Recipient) -> Status {
    Status {
        wamid: "wamid.x".to_owned(),
        word,
        at: Timestamp::from_unix_seconds(1_750_030_073),
        recipient,
        opaque: Some("m1.a.1.t".to_owned()),
        error: None,
        is_priced: true,
        category: None,
        is_window_open: true,
        is_lite: false,
    }
}

fn phone() -> Recipient {
    Recipient::Phone {
        input: "+16505551234".to_owned(),
        wa_id: "16505551234".to_owned(),
    }
}
