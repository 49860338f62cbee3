//! The shapes of webhook payloads.

mod distort;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::graph::{Recipient, error};
use crate::status::Word;
use crate::webhook::{Call, Event, Matter, Status, Update};

pub(crate) use self::distort::distort;

/// The whole payload of these updates; neighbours of one account share an entry.
pub(crate) fn envelope(updates: &[Update]) -> Value {
    let by_account = updates.chunk_by(|one, next| one.waba == next.waba);
    let entries: Vec<Value> = by_account
        .map(|updates| {
            let change = |update: &Update| json!({"field": update.field, "value": update.value});
            let changes: Vec<Value> = updates.iter().map(change).collect();
            json!({"id": updates[0].waba, "changes": changes})
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries})
}

/// What an event looks like; older payload versions carry `conversation`.
pub(crate) fn value(event: &Event, has_conversations: bool) -> Value {
    let number = &event.number;
    let mut value = Map::new();
    value.insert("messaging_product".to_owned(), json!("whatsapp"));
    let metadata = json!({"display_phone_number": number.display, "phone_number_id": number.id});
    value.insert("metadata".to_owned(), metadata);
    match &event.matter {
        Matter::Message(message) => {
            // Only `system` messages come without the contact.
            if message.get("type").is_none_or(|kind| kind != "system") {
                value.insert("contacts".to_owned(), json!([contact(event, None)]));
            }
            value.insert("messages".to_owned(), json!([message]));
        }
        Matter::Status(status) => {
            if status.word != Word::Failed {
                let recipient = Some(&status.recipient);
                value.insert("contacts".to_owned(), json!([contact(event, recipient)]));
            }
            let status = status_object(event, status, has_conversations);
            value.insert("statuses".to_owned(), json!([status]));
        }
        Matter::Call(call) => {
            value.insert("contacts".to_owned(), json!([contact(event, None)]));
            let (list, object) = match call {
                Call::Begins(call) => ("calls", call),
                Call::Moves(status) => ("statuses", status),
            };
            value.insert(list.to_owned(), json!([object]));
        }
    }
    Value::Object(value)
}

fn contact(event: &Event, recipient: Option<&Recipient>) -> Value {
    let mut contact = json!({"profile": {"name": event.user.profile_name()}});
    if let Some(username) = &event.user.username {
        contact["profile"]["username"] = username.as_str().into();
    }
    if let Some(phone) = known_phone(event, recipient) {
        contact["wa_id"] = phone.into();
    }
    contact["user_id"] = event.user.user_id().into();
    contact
}

fn status_object(event: &Event, status: &Status, has_conversations: bool) -> Value {
    let mut object = json!({
        "id": status.wamid,
        "status": status.word.as_str(),
        "timestamp": status.at.as_unix_seconds().to_string(),
    });
    if let Some(phone) = known_phone(event, Some(&status.recipient)) {
        object["recipient_id"] = phone.into();
    }
    let is_phone = matches!(status.recipient, Recipient::Phone { .. });
    if !(status.word == Word::Failed && is_phone) {
        object["recipient_user_id"] = event.user.user_id().into();
    }
    if let Some(opaque) = &status.opaque {
        object["biz_opaque_callback_data"] = opaque.as_str().into();
    }
    if status.is_priced {
        if has_conversations {
            object["conversation"] = conversation(event, status);
        }
        object["pricing"] = pricing(status);
    }
    if let Some(code) = status.error {
        object["errors"] = json!([error::in_status(code)]);
    }
    object
}

/// The phone number, where the business knows it: it wrote to it, or the user shares it.
fn known_phone(event: &Event, recipient: Option<&Recipient>) -> Option<String> {
    match recipient {
        Some(Recipient::Phone { wa_id, .. }) => Some(wa_id.clone()),
        _ => event.user.shared_phone().map(str::to_owned),
    }
}

fn pricing(status: &Status) -> Value {
    let is_free = status.is_window_open
        && status
            .category
            .is_none_or(|category| category.is_free_in_window());
    let kind = if is_free {
        "free_customer_service"
    } else {
        "regular"
    };
    json!({
        "billable": !is_free,
        "pricing_model": "PMP",
        "type": kind,
        "category": priced_category(status),
    })
}

fn conversation(event: &Event, status: &Status) -> Value {
    let category = priced_category(status);
    let of = format!("{}|{}|{category}", event.number.id, event.user.user_id());
    let id = hex::encode(&Sha256::digest(of)[..16]);
    let mut conversation = json!({"id": id});
    if status.word == Word::Sent {
        let expires = status.at.as_unix_seconds() + A_DAY;
        conversation["expiration_timestamp"] = expires.to_string().into();
    }
    conversation["origin"] = json!({"type": category});
    conversation
}

fn priced_category(status: &Status) -> &'static str {
    if status.is_lite {
        return "marketing_lite";
    }
    status
        .category
        .map_or("service", |category| category.as_str())
}

/// Seconds.
const A_DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
