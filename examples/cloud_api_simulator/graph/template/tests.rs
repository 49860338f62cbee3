//! Template messages, held against their templates.

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
        let judged = judge(message.as_object().unwrap(), &world, &of(&world, false));
        assert_eq!(judged.unwrap_err().code, want, "{message}");
    }
}

/// The code of the refusal, or 0.
fn send(name: &str, language: &str, components: &Value, is_to_user_id: bool) -> u32 {
    let world = the_world();
    let message = json!({"name": name, "language": {"code": language}, "components": components});
    let message = message.as_object().unwrap();
    let judged = judge(message, &world, &of(&world, is_to_user_id));
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

fn of(world: &World, is_to_user_id: bool) -> Of<'_> {
    Of {
        waba: &world.wabas[0],
        edge: Edge::Messages,
        is_to_user_id,
    }
}
