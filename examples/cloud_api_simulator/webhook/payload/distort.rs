//! Payloads as nobody expects them: times, words, fields and sizes.

use serde_json::{Map, Value, json};

use crate::fault::Effect;

/// Does to the value of an update what faults ask for.
pub(crate) fn distort(value: &mut Value, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::TsMs => each_time(value, |seconds| Some(seconds.saturating_mul(1000))),
            Effect::TsFuture { ms } => {
                each_time(value, |seconds| Some(seconds.saturating_add(ms / 1000)));
            }
            Effect::TsOld { ms } => {
                each_time(value, |seconds| Some(seconds.saturating_sub(ms / 1000)));
            }
            Effect::TsMissing => each_time(value, |_| None),
            Effect::OmitPhone => omit_phone(value),
            Effect::OmitOpaqueOnFailed => each_object(value, |object| {
                object.shift_remove("biz_opaque_callback_data");
            }),
            Effect::UnknownStatus { word } => each_object(value, |object| {
                object.insert("status".to_owned(), word.as_str().into());
            }),
            Effect::UnknownType => each_object(value, unknown_type),
            Effect::UnknownField => unknown_field(value),
            Effect::Oversize { bytes } => {
                let padding = bytes.saturating_sub(value.to_string().len());
                value["padding"] = "x".repeat(padding).into();
            }
            _ => {}
        }
    }
}

fn each_time(value: &mut Value, change: impl Fn(u64) -> Option<u64>) {
    each_object(value, |object| {
        let time = object.get("timestamp").and_then(Value::as_str);
        let Some(seconds) = time.and_then(|time| time.parse().ok()) else {
            return;
        };
        match change(seconds) {
            Some(changed) => object.insert("timestamp".to_owned(), changed.to_string().into()),
            None => object.shift_remove("timestamp"),
        };
    });
}

/// The messages, statuses and calls of a value.
fn each_object(value: &mut Value, change: impl Fn(&mut Map<String, Value>)) {
    for list in ["messages", "statuses", "calls"] {
        let objects = value.get_mut(list).and_then(Value::as_array_mut);
        let objects = objects.into_iter().flatten();
        objects.filter_map(Value::as_object_mut).for_each(&change);
    }
}

fn omit_phone(value: &mut Value) {
    each_object(value, |object| {
        object.shift_remove("from");
        object.shift_remove("recipient_id");
    });
    let contacts = value.get_mut("contacts").and_then(Value::as_array_mut);
    for contact in contacts.into_iter().flatten() {
        contact
            .as_object_mut()
            .map(|contact| contact.shift_remove("wa_id"));
    }
}

/// What the message carried stands under the new name.
fn unknown_type(message: &mut Map<String, Value>) {
    let kind = message.insert("type".to_owned(), UNKNOWN_TYPE.into());
    let content = kind.and_then(|kind| message.shift_remove(kind.as_str()?));
    message.insert(UNKNOWN_TYPE.to_owned(), content.unwrap_or_default());
}

fn unknown_field(value: &mut Value) {
    each_object(value, |object| {
        object.insert(UNKNOWN_FIELD.to_owned(), json!({"list": [1, null, "x"]}));
    });
    value[UNKNOWN_FIELD] = json!([{"deep": {"deeper": true}}]);
}

const UNKNOWN_TYPE: &str = "hologram";

const UNKNOWN_FIELD: &str = "field_from_the_future";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_or_go() {
        for (fault, message, status) in [
            (
                json!({"fault": "ts_ms"}),
                json!("1750030073000"),
                json!("1750030074000"),
            ),
            (
                json!({"fault": "ts_future", "ms": 5000}),
                json!("1750030078"),
                json!("1750030079"),
            ),
            (
                json!({"fault": "ts_old", "ms": 3000}),
                json!("1750030070"),
                json!("1750030071"),
            ),
            (json!({"fault": "ts_missing"}), json!(null), json!(null)),
        ] {
            let value = distorted(&fault);
            assert_eq!(at(&value, "/messages/0/timestamp"), message, "{fault}");
            assert_eq!(at(&value, "/statuses/0/timestamp"), status, "{fault}");
        }
    }

    #[test]
    fn each_effect_changes_what_it_names() {
        for (fault, path, want) in [
            ("omit_phone", "/messages/0/from", json!(null)),
            ("omit_phone", "/statuses/0/recipient_id", json!(null)),
            ("omit_phone", "/contacts/0/wa_id", json!(null)),
            ("omit_phone", "/contacts/0/user_id", json!("US.1")),
            (
                "omit_opaque_on_failed",
                "/statuses/0/biz_opaque_callback_data",
                json!(null),
            ),
            ("unknown_status", "/statuses/0/status", json!("deleted")),
            ("unknown_type", "/messages/0/type", json!("hologram")),
            ("unknown_type", "/messages/0/hologram/body", json!("hi")),
            ("unknown_type", "/messages/0/text", json!(null)),
            (
                "unknown_field",
                "/field_from_the_future/0/deep/deeper",
                json!(true),
            ),
            (
                "unknown_field",
                "/statuses/0/field_from_the_future/list/0",
                json!(1),
            ),
        ] {
            let value = distorted(&json!({"fault": fault}));
            assert_eq!(at(&value, path), want, "{fault} {path}");
        }
        let value = distorted(&json!({"fault": "unknown_status", "word": "warning"}));
        assert_eq!(at(&value, "/statuses/0/status"), "warning");
    }

    #[test]
    fn padding_makes_it_as_long_as_asked_for() {
        for bytes in [10_000, 3 << 20] {
            let mut value = value();
            distort(&mut value, &[Effect::Oversize { bytes }]);
            let length = value.to_string().len();
            assert!((bytes..bytes + 100).contains(&length), "{length}");
        }
    }

    #[test]
    fn without_an_effect_nothing_changes() {
        let mut changed = value();
        distort(&mut changed, &[]);
        assert_eq!(changed, value());
    }

    fn distorted(fault: &Value) -> Value {
        let mut value = value();
        distort(
            &mut value,
            &[serde_json::from_value(fault.clone()).unwrap()],
        );
        value
    }

    fn at(value: &Value, path: &str) -> Value {
        value.pointer(path).cloned().unwrap_or_default()
    }

    fn value() -> Value {
        json!({
            "contacts": [{"wa_id": "1", "user_id": "US.1"}],
            "messages": [{"from": "1", "timestamp": "1750030073", "type": "text", "text": {"body": "hi"}}],
            "statuses": [{
                "status": "failed", "timestamp": "1750030074", "recipient_id": "1",
                "biz_opaque_callback_data": "m1.a.1.t",
            }],
        })
    }
}
