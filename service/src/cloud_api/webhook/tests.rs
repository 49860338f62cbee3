//! What webhooks say, and what is made of those that say it badly.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn only_metas_signature_over_these_bytes_is_genuine() {
    let secrets = [Secret::new("old"), Secret::new("new")];
    let body = br#"{"object":"\u00e4"}"#;
    let [old, new, other] = ["old", "new", "other"].map(|key| signed(key, body));
    for (header, genuine) in [
        (Some(new.clone()), true),
        (Some(old), true),
        (Some(other), false),
        (Some(signed("new", br#"{"object":"x"}"#)), false),
        (Some(new.replace("sha256=", "sha1=")), false),
        (Some(new.replace("sha256=", "")), false),
        (Some(new[..new.len() - 2].to_owned()), false),
        (Some(format!("{new}00")), false),
        (Some("sha256=".into()), false),
        (Some("sha256=zz".into()), false),
        (None, false),
    ] {
        let given = header.as_deref().map(str::as_bytes);
        assert_eq!(is_genuine(given, body, &secrets), genuine, "{header:?}");
    }
    assert!(!is_genuine(Some(new.as_bytes()), body, &[]));
}

#[test]
fn one_bad_update_never_loses_the_others() {
    let body = br#"{"object":"whatsapp_business_account","entry":[
        7,
        {"changes":"none"},
        {"changes":[
          {"field":"account_update","value":{}},
          {"field":"a field of next year","value":{}},
          {"field":"messages","value":{"metadata":{"phone_number_id":"10"},
            "statuses":[{"id":"wamid.S","status":"failed","timestamp":"1700000002",
                         "biz_opaque_callback_data":"m1.t","errors":[{"code":131026}]},
                        {"id":"wamid.T","status":"warning","timestamp":"1700000002"},
                        {"status":"sent"}],
            "messages":[{"id":"wamid.I","from":"155","from_user_id":"US.1","type":"text","timestamp":"1700000001"},
                        {"id":"wamid.J","from":"155","type":"text"},
                        {"id":"wamid.K","from":"155","type":"reaction","timestamp":"1700000001"},
                        "what is this"]}}
        ]}]}"#;
    let parsed = parse(body, RECEIVED, Rules::default());
    let status = Update::Status(Status {
        phone_number_id: "10".into(),
        wamid: "wamid.S".into(),
        token: Some("m1.t".into()),
        recipient: Names::default(),
        state: State::Failed,
        at: Timestamp::from_unix_seconds(1_700_000_002),
        code: Some(131_026),
        failure: Some(failure(131_026)),
    });
    let updates = vec![
        inbound("wamid.I", "155", "US.1", Some(1_700_000_001)),
        inbound("wamid.K", "155", "", None),
        status,
    ];
    let want = Parsed {
        updates,
        skipped: 3,
        unknown: 2,
        skewed: 0,
    };
    assert_eq!(parsed, want);
}

#[test]
fn a_customer_is_known_by_the_name_beside_too() {
    let contacts =
        json!([{"wa_id": "155", "user_id": "US.1"}, {"wa_id": "166", "user_id": "US.2"}]);
    for (given, phone, id) in [
        (json!({"from": "155"}), "155", "US.1"),
        (json!({"from_user_id": "US.2"}), "166", "US.2"),
        (json!({"from": "177"}), "177", ""),
        (
            json!({"from": "155", "from_user_id": "US.9"}),
            "155",
            "US.9",
        ),
    ] {
        let mut message = given.clone();
        message["id"] = json!("wamid.I");
        message["type"] = json!("text");
        message["timestamp"] = json!("1700000001");
        let value = json!({"messages": [message], "contacts": contacts});
        let want = inbound("wamid.I", phone, id, Some(1_700_000_001));
        assert_eq!(updates("messages", &value), [want], "{given}");
    }
    let nobody = json!({"messages": [{"id": "w", "type": "text", "timestamp": "1"}]});
    assert_eq!(updates("messages", &nobody), []);
}

#[test]
fn calls_open_the_window_as_messages_do() {
    let at = "1700000001";
    for (value, opens) in [
        (
            json!({"calls": [{"id": "wacid.1", "from": "155", "event": "connect",
                              "direction": "USER_INITIATED", "timestamp": at}]}),
            true,
        ),
        (
            json!({"calls": [{"id": "wacid.1", "from": "155", "event": "terminate",
                              "direction": "USER_INITIATED", "timestamp": at}]}),
            false,
        ),
        (
            json!({"calls": [{"id": "wacid.1", "to": "155", "event": "connect",
                              "direction": "BUSINESS_INITIATED", "timestamp": at}]}),
            false,
        ),
        (
            json!({"statuses": [{"id": "wacid.1", "type": "call", "status": "ACCEPTED",
                                 "recipient_id": "155", "timestamp": at}]}),
            true,
        ),
        (
            json!({"statuses": [{"id": "wacid.1", "type": "call", "status": "RINGING",
                                 "recipient_id": "155", "timestamp": at}]}),
            false,
        ),
    ] {
        let want = opens.then(|| inbound("wacid.1", "155", "", Some(1_700_000_001)));
        assert_eq!(updates("calls", &value), Vec::from_iter(want), "{value}");
    }
}

#[test]
fn a_customer_may_change_number_and_id() {
    let system = |from: &str, id: &str, system: Value| {
        json!({"messages": [{"id": "wamid.S", "from": from, "from_user_id": id,
                             "type": "system", "timestamp": "1", "system": system}]})
    };
    let names = |phone: &str, id: &str| Names {
        phone: name(phone),
        id: name(id),
    };
    for (value, want) in [
        (
            system(
                "155",
                "US.1",
                json!({"type": "user_changed_number", "wa_id": "166"}),
            ),
            Some((names("155", "US.1"), names("166", "US.1"))),
        ),
        (
            system(
                "155",
                "US.2",
                json!({"type": "user_changed_user_id", "previous_user_id": "US.1"}),
            ),
            Some((names("155", "US.1"), names("155", "US.2"))),
        ),
        (
            system("155", "US.1", json!({"type": "a type of next year"})),
            None,
        ),
    ] {
        let told = updates("messages", &value);
        let want = match want {
            Some((old, new)) => Update::Renamed(Renamed {
                phone_number_id: "10".into(),
                id: "wamid.S".into(),
                old,
                new,
            }),
            None => inbound("wamid.S", "155", "US.1", None),
        };
        assert_eq!(told, [want], "{value}");
    }
}

#[test]
fn what_lies_in_the_future_counts_from_its_arrival() {
    let message = |stamp: &str| json!({"messages": [{"id": "w", "from": "1", "type": "text", "timestamp": stamp}]});
    for (stamp, want, skewed) in [
        ("1700000001", 1_700_000_001, 0),
        ("1700000001000", 1_700_000_001, 0),
        ("1800000000", 1_700_000_010, 1),
    ] {
        let parsed = parse(
            &body("messages", &message(stamp)),
            RECEIVED,
            Rules::default(),
        );
        assert_eq!(parsed.skewed, skewed, "{stamp}");
        let Update::Inbound(inbound) = &parsed.updates[0] else {
            panic!("{parsed:?}");
        };
        assert_eq!(
            inbound.opened.unwrap().at.as_unix_seconds(),
            want,
            "{stamp}"
        );
    }
}

#[test]
fn a_batch_of_a_thousand_is_read_in_one_order() {
    let statuses: Vec<Value> = (0..1000)
        .map(|n| json!({"id": format!("wamid.{:03}", (n * 7) % 1000), "status": "sent", "timestamp": "1"}))
        .collect();
    let told = updates("messages", &json!({ "statuses": statuses }));
    assert_eq!(told.len(), 1000);
    let ids: Vec<&str> = told.iter().map(|update| order(update).2).collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

#[test]
fn anything_at_all_can_be_read() {
    for (body, skipped) in [
        (&b""[..], 1),
        (b"[]", 0),
        (b"null", 0),
        (b"{}", 0),
        (b"\xff", 1),
    ] {
        let want = Parsed {
            skipped,
            ..Parsed::default()
        };
        assert_eq!(
            parse(body, Timestamp::EPOCH, Rules::default()),
            want,
            "{body:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_value_whatever_brings_the_reader_down(value in anything(), field in "messages|calls|x") {
        parse(&body(&field, &value), RECEIVED, Rules::default());
    }
}

/// JSON whose names are those that the reader looks for.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "sent|failed|text|system|[0-9]{0,14}|.{0,6}".prop_map(Value::from),
    ];
    let name = "messages|statuses|contacts|calls|errors|id|type|from|status|timestamp|system|code|metadata|phone_number_id";
    leaf.prop_recursive(5, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn updates(field: &str, value: &Value) -> Vec<Update> {
    parse(&body(field, value), RECEIVED, Rules::default()).updates
}

fn body(field: &str, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.insert("metadata".into(), json!({"phone_number_id": "10"}));
    }
    let body = json!({"entry": [{"changes": [{"field": field, "value": value}]}]});
    body.to_string().into_bytes()
}

fn inbound(id: &str, phone: &str, user: &str, opened: Option<u64>) -> Update {
    Update::Inbound(Inbound {
        phone_number_id: "10".into(),
        id: id.into(),
        user: Names {
            phone: name(phone),
            id: name(user),
        },
        opened: opened.map(|at| EventTime {
            at: Timestamp::from_unix_seconds(at),
            is_skewed: false,
        }),
    })
}

fn signed(key: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    let digest = mac.chain_update(body).finalize().into_bytes();
    format!("sha256={}", hex::encode(digest))
}

const RECEIVED: Timestamp = Timestamp::from_unix_seconds(1_700_000_010);
