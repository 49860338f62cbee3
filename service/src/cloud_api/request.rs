//! The body of a send, as Meta wants it.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::message::Content;
use crate::recipient::PhoneNumber;
use crate::template::{Media, Parameters, Template};

/// The request for this content.
///
/// The recipient keeps its `+`, without which Meta would put the business number's own
/// country code in front. The token comes back in every status webhook.
pub fn body(to: &PhoneNumber, content: &Content, token: &str) -> Bytes {
    let kind = content.kind().as_str();
    let object = match content {
        Content::Text { body } => json!({ "body": body }),
        Content::Template(template) => template_object(template),
    };
    let request = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to.as_str(),
        "type": kind,
        kind: object,
        "biz_opaque_callback_data": token,
    });
    request.to_string().into()
}

fn template_object(template: &Template) -> Value {
    let components: Vec<Value> = header(template)
        .into_iter()
        .chain(body_component(&template.parameters))
        .chain(template.buttons.iter().map(|button| {
            let (parameter, field) = match button.kind {
                crate::template::ButtonKind::CopyCode => ("coupon_code", "coupon_code"),
                crate::template::ButtonKind::QuickReply => ("payload", "payload"),
                crate::template::ButtonKind::Url => ("text", "text"),
            };
            json!({
                "type": "button",
                "sub_type": button.kind.as_str(),
                "index": button.index.to_string(),
                "parameters": [{ "type": parameter, field: button.value }],
            })
        }))
        .collect();
    let mut object = json!({
        "name": template.name.as_str(),
        "language": { "code": template.language.as_str() },
    });
    if !components.is_empty() {
        object["components"] = components.into();
    }
    object
}

fn header(template: &Template) -> Option<Value> {
    let media = template.header_media_url.as_ref().map(|url| {
        let kind = match url.media() {
            Media::Document => "document",
            Media::Image => "image",
            Media::Video => "video",
        };
        json!({ "type": kind, kind: { "link": url.as_str() } })
    });
    let parameters: Vec<Value> = media
        .into_iter()
        .chain(texts(&template.header_parameters))
        .collect();
    (!parameters.is_empty()).then(|| json!({ "type": "header", "parameters": parameters }))
}

fn body_component(parameters: &Parameters) -> Option<Value> {
    (!parameters.is_empty()).then(|| json!({ "type": "body", "parameters": texts(parameters) }))
}

/// Numbered placeholders are told apart by their order, named ones by their names.
fn texts(parameters: &Parameters) -> Vec<Value> {
    match parameters.positional() {
        Some(values) => values
            .into_iter()
            .map(|text| json!({ "type": "text", "text": text }))
            .collect(),
        None => parameters
            .named()
            .map(|(name, text)| json!({ "type": "text", "parameter_name": name, "text": text }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Button, ButtonKind, Language, MediaUrl, Name};

    #[test]
    fn a_text_goes_out_with_its_token() {
        let content = Content::text("Grüße").unwrap();
        assert_eq!(
            written(&content),
            json!({
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": "+15551234567",
                "type": "text",
                "text": { "body": "Grüße" },
                "biz_opaque_callback_data": "m1.token",
            })
        );
    }

    #[test]
    fn a_template_has_the_components_that_are_filled() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        for (fill, want) in [
            ((|_| {}) as fn(&mut Template), json!(null)),
            (
                |template| template.parameters = Parameters::new([("2", "b"), ("1", "a")]).unwrap(),
                json!([{ "type": "body", "parameters": [text("a"), text("b")] }]),
            ),
            (
                |template| template.parameters = Parameters::new([("name", "Ada")]).unwrap(),
                json!([{ "type": "body", "parameters": [
                    { "type": "text", "parameter_name": "name", "text": "Ada" },
                ]}]),
            ),
            (
                |template| template.header_media_url = MediaUrl::parse("https://x.example/a.png"),
                json!([{ "type": "header", "parameters": [
                    { "type": "image", "image": { "link": "https://x.example/a.png" } },
                ]}]),
            ),
            (
                |template| {
                    template.buttons = vec![
                        Button::new(0, ButtonKind::Url, "suffix").unwrap(),
                        Button::new(1, ButtonKind::QuickReply, "PAY").unwrap(),
                    ];
                },
                json!([
                    { "type": "button", "sub_type": "url", "index": "0",
                      "parameters": [text("suffix")] },
                    { "type": "button", "sub_type": "quick_reply", "index": "1",
                      "parameters": [{ "type": "payload", "payload": "PAY" }] },
                ]),
            ),
        ] {
            let mut template = Template {
                name: Name::parse("order").unwrap(),
                language: Language::parse("en_US").unwrap(),
                parameters: Parameters::default(),
                header_parameters: Parameters::default(),
                header_media_url: None,
                buttons: vec![],
            };
            fill(&mut template);
            let object = written(&Content::Template(template))["template"].clone();
            assert_eq!(object["name"], "order");
            assert_eq!(object["language"]["code"], "en_US");
            assert_eq!(object["components"], want);
        }
    }

    fn written(content: &Content) -> Value {
        let to = PhoneNumber::parse("+15551234567").unwrap();
        serde_json::from_slice(&body(&to, content, "m1.token")).unwrap()
    }
}
