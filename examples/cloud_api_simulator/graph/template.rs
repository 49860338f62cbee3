//! Whether a template message fits its template.

use serde_json::{Map, Value};

use super::error::Refusal;
use crate::world::{
    Button, Category, Header, ParameterFormat, Placeholder, Template, TemplateStatus, Waba, World,
    placeholders,
};

/// What the message asks to be filled into one part of the template.
type Parameters<'a> = &'a [Value];

/// Finds the template that a message names and holds the message against it.
pub(crate) fn judge<'w>(
    message: &Map<String, Value>,
    world: &'w World,
    waba: &Waba,
    is_to_user_id: bool,
) -> Result<&'w Template, Refusal> {
    let name = text_at(message, "/name")?;
    let language = text_at(message, "/language/code")?;
    let template = world.template(&waba.id, name, language).ok_or_else(|| {
        missing(format!(
            "template name ({name}) does not exist in {language}"
        ))
    })?;
    check_status(template)?;
    check_parts(message, template)?;
    if template.category == Category::Marketing && waba.disable_marketing_messages_on_cloud_api {
        return Err(Refusal::new(131063));
    }
    if template.category == Category::Authentication && is_to_user_id {
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world;

    #[test]
    fn finds_the_template_and_its_standing() {
        for (name, language, want) in [
            ("plain", "en", 0),
            ("plain", "de", 132001),
            ("gone", "en", 132001),
            ("pending", "en", 132001),
            ("paused", "en", 132015),
            ("disabled", "en", 132016),
        ] {
            assert_eq!(
                send(name, language, &json!([]), false),
                want,
                "{name} {language}"
            );
        }
    }

    #[test]
    fn values_must_fit_their_placeholders() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let named = |name: &str| json!({"type": "text", "parameter_name": name, "text": "x"});
        for (template, parameters, want) in [
            ("plain", json!([]), 0),
            ("plain", json!([text("x")]), 132000),
            ("positional", json!([text("a"), text("b")]), 0),
            ("positional", json!([text("a")]), 132000),
            (
                "positional",
                json!([text("a"), {"type": "image", "image": {}}]),
                132012,
            ),
            ("positional", json!([text("a"), text("b\nc")]), 132012),
            ("positional", json!([text("a"), text("b     c")]), 132012),
            (
                "positional",
                json!([text("a"), {"type": "currency", "currency": {"fallback_value": "$1"}}]),
                0,
            ),
            (
                "positional",
                json!([text("a"), text(&"b".repeat(40_000))]),
                132005,
            ),
            ("named", json!([named("two"), named("one")]), 0),
            ("named", json!([named("one")]), 132000),
            ("named", json!([named("one"), named("three")]), 132012),
            ("named", json!([text("a"), text("b")]), 132012),
        ] {
            let components = json!([{"type": "body", "parameters": parameters}]);
            assert_eq!(
                send(template, "en", &components, false),
                want,
                "{template} {parameters}"
            );
        }
    }

    #[test]
    fn headers_and_buttons_are_held_against_the_template_too() {
        let image = json!({"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x/i.png"}}]});
        let video = json!({"type": "header", "parameters": [{"type": "video", "video": {"link": "https://x/i.mp4"}}]});
        let button = |index: Value| json!({"type": "button", "sub_type": "url", "index": index, "parameters": [{"type": "text", "text": "x"}]});
        for (components, want) in [
            (json!([image, button(json!("0"))]), 0),
            (json!([image, button(json!(0))]), 0),
            (json!([image]), 132000),
            (json!([image, button(json!("1"))]), 132000),
            (json!([video, button(json!("0"))]), 132012),
            (json!([button(json!("0"))]), 132012),
        ] {
            assert_eq!(send("rich", "en", &components, false), want, "{components}");
        }
    }

    #[test]
    fn some_templates_may_not_go_to_some_people() {
        assert_eq!(send("code", "en", &json!([]), false), 0);
        assert_eq!(send("code", "en", &json!([]), true), 131062);
        assert_eq!(send("offer", "en", &json!([]), false), 131063);
    }

    #[test]
    fn name_and_language_are_required() {
        let world = the_world();
        for (message, want) in [
            (json!({"language": {"code": "en"}}), 131008),
            (json!({"name": "plain"}), 131008),
            (json!({"name": 3, "language": {"code": "en"}}), 131009),
            (
                json!({"name": "plain", "language": {"code": "en"}, "components": 3}),
                131009,
            ),
        ] {
            let judged = judge(message.as_object().unwrap(), &world, &world.wabas[0], false);
            assert_eq!(judged.unwrap_err().code, want, "{message}");
        }
    }

    /// The code of the refusal, or 0.
    fn send(name: &str, language: &str, components: &Value, is_to_user_id: bool) -> u32 {
        let world = the_world();
        let message =
            json!({"name": name, "language": {"code": language}, "components": components});
        let message = message.as_object().unwrap();
        let judged = judge(message, &world, &world.wabas[0], is_to_user_id);
        judged.err().map_or(0, |refusal| refusal.code)
    }

    fn the_world() -> World {
        let row = |name: &str, more: &str| {
            format!("[[template]]\nwaba = \"w\"\nname = \"{name}\"\nlanguage = \"en\"\n{more}\n")
        };
        let text = [
            "[[waba]]\nid = \"w\"\ndisable_marketing_messages_on_cloud_api = true\n".to_owned(),
            row("plain", "body = \"Hello\""),
            row("pending", "body = \"Hello\"\nstatus = \"pending\""),
            row("paused", "body = \"Hello\"\nstatus = \"paused\""),
            row("disabled", "body = \"Hello\"\nstatus = \"disabled\""),
            row("positional", "body = \"{{1}} and {{2}}\""),
            row(
                "named",
                "body = \"{{one}} and {{two}}\"\nparameter_format = \"named\"",
            ),
            row(
                "rich",
                "body = \"Hello\"\nheader = \"image\"\nbutton = [{ type = \"url\", url = \"https://x/{{1}}\" }]",
            ),
            row("code", "body = \"Hello\"\ncategory = \"authentication\""),
            row("offer", "body = \"Hello\"\ncategory = \"marketing\""),
        ];
        world::parse(&text.concat()).unwrap()
    }
}
