//! Whether a template message fits its template.

use serde_json::{Map, Value};

use crate::graph::checks::Edge;
use crate::graph::error::Refusal;
use crate::world::{
    Button, Category, Header, ParameterFormat, Placeholder, Template, TemplateStatus, Waba, World,
    placeholders,
};

/// What the message asks to be filled into one part of the template.
type Parameters<'a> = &'a [Value];

/// Where a template message comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) waba: &'a Waba,
    pub(crate) edge: Edge,
    pub(crate) is_to_user_id: bool,
}

/// Finds the template that a message names and holds the message against it.
pub(crate) fn judge<'w>(
    message: &Map<String, Value>,
    world: &'w World,
    of: &Of<'_>,
) -> Result<&'w Template, Refusal> {
    let name = text_at(message, "/name")?;
    let language = text_at(message, "/language/code")?;
    let template = world.template(&of.waba.id, name, language).ok_or_else(|| {
        missing(format!(
            "template name ({name}) does not exist in {language}"
        ))
    })?;
    check_status(template)?;
    check_parts(message, template)?;
    match (of.edge, template.category) {
        (Edge::Messages, Category::Marketing)
            if of.waba.disable_marketing_messages_on_cloud_api =>
        {
            return Err(Refusal::new(131063));
        }
        (Edge::MarketingMessages, Category::Authentication | Category::Utility) => {
            return Err(Refusal::new(134100));
        }
        _ => {}
    }
    if template.category == Category::Authentication && of.is_to_user_id {
        return Err(Refusal::new(131062));
    }
    Ok(template)
}

fn check_status(template: &Template) -> Result<(), Refusal> {
    match template.status {
        TemplateStatus::Approved => Ok(()),
        TemplateStatus::Paused => Err(Refusal::new(132015)),
        TemplateStatus::Disabled => Err(Refusal::new(132016)),
        TemplateStatus::Pending | TemplateStatus::Rejected => Err(missing(format!(
            "template name ({}) is not approved",
            template.name
        ))),
    }
}

fn check_parts(message: &Map<String, Value>, template: &Template) -> Result<(), Refusal> {
    let components = match message.get("components") {
        None => &[][..],
        Some(Value::Array(components)) => components,
        Some(_) => return Err(Refusal::because(131009, "components is not a list.")),
    };
    check_header(part(components, "header", None), template)?;
    let body = part(components, "body", None);
    let hydrated = fill("body", &template.body, body, template.parameter_format)?;
    let alone = template.header.is_none() && template.buttons.is_empty();
    if hydrated > if alone { BODY_ALONE } else { BODY_IN_COMPANY } {
        return Err(Refusal::because(
            132005,
            format!("The body has {hydrated} characters."),
        ));
    }
    for (index, button) in template.buttons.iter().enumerate() {
        check_button(part(components, "button", Some(index)), index, button)?;
    }
    Ok(())
}

fn check_header(given: Parameters<'_>, template: &Template) -> Result<(), Refusal> {
    let kind = match &template.header {
        None => return count("header", given, 0),
        Some(Header::Text(text)) => {
            return match fill("header", text, given, template.parameter_format)? {
                0..=HEADER => Ok(()),
                long => Err(Refusal::because(
                    132005,
                    format!("The header has {long} characters."),
                )),
            };
        }
        Some(Header::Document) => "document",
        Some(Header::Image) => "image",
        Some(Header::Location) => "location",
        Some(Header::Video) => "video",
    };
    let received = given.first().map_or("unknown", kind_of).to_uppercase();
    let expected = kind.to_uppercase();
    if given.len() == 1 && received == expected && given[0][kind].is_object() {
        return Ok(());
    }
    Err(Refusal::because(
        132012,
        format!("header: Format mismatch, expected {expected}, received {received}"),
    ))
}

fn check_button(given: Parameters<'_>, index: usize, button: &Button) -> Result<(), Refusal> {
    let name = format!("buttons: button at index {index}");
    match button {
        Button::CopyCode => count(&name, given, 1),
        // The payload of a quick reply has a default.
        Button::QuickReply => Ok(()),
        Button::Url { url } => fill(&name, url, given, ParameterFormat::Positional).map(drop),
    }
}

/// Fills the values into a text; returns how many characters it then has.
fn fill(
    name: &str,
    text: &str,
    given: Parameters<'_>,
    format: ParameterFormat,
) -> Result<usize, Refusal> {
    let wanted = placeholders(text);
    count(name, given, wanted.len())?;
    let mut length = text.chars().count();
    for (index, placeholder) in wanted.iter().enumerate() {
        let parameter = match format {
            ParameterFormat::Positional => Some(&given[index]),
            ParameterFormat::Named => named(given, placeholder),
        };
        let parameter = parameter.ok_or_else(|| {
            Refusal::because(
                132012,
                format!("{name}: Parameter name {placeholder} is missing"),
            )
        })?;
        // Braces and name go, the value comes.
        length = length.saturating_sub(placeholder.chars().count() + 4) + value(name, parameter)?;
    }
    Ok(length)
}

/// The length of a parameter's value, where it is one that a text can take.
fn value(name: &str, parameter: &Value) -> Result<usize, Refusal> {
    let text = match kind_of(parameter) {
        "text" => parameter["text"].as_str(),
        kind @ ("currency" | "date_time") => parameter[kind]["fallback_value"].as_str(),
        _ => None,
    };
    let text = text.ok_or_else(|| {
        Refusal::because(
            132012,
            format!("{name}: Parameter of type text is missing text value"),
        )
    })?;
    if text.contains(['\n', '\r', '\t']) || text.contains("     ") {
        return Err(Refusal::because(
            132012,
            "Param text cannot have new-line/tab characters or more than 4 consecutive spaces",
        ));
    }
    Ok(text.chars().count())
}

fn count(name: &str, given: Parameters<'_>, wanted: usize) -> Result<(), Refusal> {
    if given.len() == wanted {
        return Ok(());
    }
    Err(Refusal::because(
        132000,
        format!(
            "{name}: number of localizable_params ({}) does not match the expected number of params ({wanted})",
            given.len()
        ),
    ))
}

/// The parameters of the component of this type, and of this index among the buttons.
fn part<'a>(components: &'a [Value], kind: &str, index: Option<usize>) -> Parameters<'a> {
    let found = components.iter().find(|component| {
        let is_kind = kind_of(component).eq_ignore_ascii_case(kind);
        is_kind && index.is_none_or(|index| index_of(component) == Some(index))
    });
    let parameters = found.and_then(|component| component["parameters"].as_array());
    parameters.map_or(&[], Vec::as_slice)
}

/// A button's index, which clients write as a number or as a string.
fn index_of(component: &Value) -> Option<usize> {
    match &component["index"] {
        Value::String(index) => index.parse().ok(),
        index => index.as_u64().and_then(|index| usize::try_from(index).ok()),
    }
}

fn named<'a>(given: Parameters<'a>, placeholder: Placeholder<'_>) -> Option<&'a Value> {
    let is_it = |parameter: &&Value| parameter["parameter_name"].as_str() == Some(placeholder);
    given.iter().find(is_it)
}

fn kind_of(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("unknown")
}

fn text_at<'a>(message: &'a Map<String, Value>, pointer: &str) -> Result<&'a str, Refusal> {
    let mut keys = pointer.trim_start_matches('/').split('/');
    let first = message.get(keys.next().expect("a pointer has a first key"));
    let found = keys.fold(first, |value, key| value?.get(key));
    match found {
        None => Err(Refusal::because(
            131008,
            format!("template{pointer} is required."),
        )),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::because(
            131009,
            format!("template{pointer} is not a string."),
        )),
    }
}

fn missing(details: String) -> Refusal {
    Refusal::because(132001, details)
}

/// Characters of a filled text header.
const HEADER: usize = 60;

/// Characters of a filled body with other components beside it, and without.
const BODY_IN_COMPANY: usize = 1024;
const BODY_ALONE: usize = 32_768;

#[cfg(test)]
mod tests;
