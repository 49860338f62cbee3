//! What a message says, in the words that a phone would show.

use serde_json::Value;

use crate::world::{Template, World, placeholders};

/// The text of a message, from the object that is named like its type.
pub(super) fn of(kind: &str, content: &Value, template: Option<&Template>) -> String {
    let text = match kind {
        "text" => first(content, &["/body"]),
        "template" => filled(content, template),
        "reaction" => first(content, &["/emoji"]),
        "interactive" => first(
            content,
            &["/body/text", "/button_reply/title", "/list_reply/title"],
        ),
        "location" => first(content, &["/name", "/address"]),
        "contacts" => first(content, &["/0/name/formatted_name"]),
        _ => first(content, &["/caption", "/filename", "/text", "/body"]),
    };
    shortened(text)
}

/// The template that a message is made from, where it is from one.
pub(super) fn template<'w>(content: &Value, waba: &str, world: &'w World) -> Option<&'w Template> {
    let name = content["name"].as_str()?;
    world.template(waba, name, content["language"]["code"].as_str()?)
}

fn first(content: &Value, places: &[&str]) -> String {
    let mut found = places
        .iter()
        .filter_map(|place| content.pointer(place)?.as_str());
    found.next().unwrap_or_default().to_owned()
}

/// The body of a template with the values of the message in their places.
fn filled(content: &Value, template: Option<&Template>) -> String {
    let Some(template) = template else {
        return first(content, &["/name"]);
    };
    let values = values(content);
    let names = placeholders(&template.body);
    let mut text = template.body.clone();
    for (index, name) in names.into_iter().enumerate() {
        let is_meant = |value: &&Value| value["parameter_name"] == name;
        let value = values.iter().find(is_meant).or_else(|| values.get(index));
        if let Some(value) = value.and_then(shown) {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
    }
    text
}

fn values(content: &Value) -> &[Value] {
    let components = content["components"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let body = components.iter().find(|part| part["type"] == "body");
    let values = body.and_then(|body| body["parameters"].as_array());
    values.map_or(&[][..], Vec::as_slice)
}

fn shown(value: &Value) -> Option<&str> {
    let places = [
        "/text",
        "/currency/fallback_value",
        "/date_time/fallback_value",
    ];
    places
        .iter()
        .find_map(|place| value.pointer(place)?.as_str())
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Characters: enough to read, and little enough to keep many.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world;

    #[test]
    fn a_message_is_shown_by_its_type() {
        for (kind, content, want) in [
            ("text", json!({"body": "Hi"}), "Hi"),
            ("image", json!({"id": "1", "caption": "A cat"}), "A cat"),
            ("audio", json!({"id": "1"}), ""),
            ("reaction", json!({"emoji": "👍"}), "👍"),
            (
                "interactive",
                json!({"button_reply": {"title": "Yes"}}),
                "Yes",
            ),
            ("button", json!({"text": "Stop", "payload": "S"}), "Stop"),
            ("location", json!({"latitude": 1.0}), ""),
            (
                "contacts",
                json!([{"name": {"formatted_name": "Ann"}}]),
                "Ann",
            ),
            ("template", json!({"name": "gone"}), "gone"),
            ("text", json!("no object"), ""),
        ] {
            assert_eq!(of(kind, &content, None), want, "{kind} {content}");
        }
    }

    #[test]
    fn a_template_is_shown_with_its_values() {
        let world = world::parse(include_str!("../world.toml")).unwrap();
        for (content, want) in [
            (
                json!({"name": "shipping_update", "language": {"code": "en"}, "components": [
                    {"type": "body", "parameters": [{"text": "Ann"}, {"text": "7"}]},
                ]}),
                "Hi Ann, parcel 7 is on its way.",
            ),
            (
                json!({"name": "order_confirmation", "language": {"code": "en_US"}, "components": [
                    {"type": "body", "parameters": [
                        {"parameter_name": "order_number", "text": "42"},
                        {"parameter_name": "first_name", "text": "Ann"},
                    ]},
                ]}),
                "Thank you, Ann! Your order 42 is confirmed.",
            ),
        ] {
            let template = template(&content, "102290129340398", &world);
            assert_eq!(of("template", &content, template), want);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = of("text", &json!({"body": "é".repeat(LONGEST + 1)}), None);
        assert_eq!(text.chars().count(), LONGEST + 1);
        assert!(text.ends_with("é…"), "{text}");
    }
}
