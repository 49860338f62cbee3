//! What can be asked of numbers and accounts beside sending: fields, lists, subscriptions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vestibule::clock::Timestamp;

use super::checks;
use super::error::Refusal;
use crate::world::{
    App, Button, Header, Number, NumberState, ParameterFormat, Template, TemplateStatus, Token,
    Waba, World,
};

/// A question about a number or an account, as it came; without `Debug`, since it holds a token.
pub(super) struct Ask<'a> {
    pub(super) version: &'a str,
    pub(super) id: &'a str,
    pub(super) authorization: Option<&'a str>,
    pub(super) query: &'a Query,
}

/// What may be added to a question.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Query {
    fields: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    /// Templates of this name only.
    name: Option<String>,
}

/// The fields of a number, or of an account.
///
/// # Errors
///
/// The token may not, nothing has this id, or a field does not exist.
pub(super) fn fields(ask: &Ask<'_>, world: &World, now: Timestamp) -> Result<Value, Refusal> {
    let token = manager(ask, world, now)?;
    let fields = ask.query.fields.as_deref();
    let found = world.number(ask.id);
    let found = found.and_then(|number| Some((number, world.waba_of(number)?)));
    match found {
        Some((number, waba)) if token.wabas.contains(&waba.id) => {
            pick(node(number, waba, world), fields)
        }
        Some(_) => Err(Refusal::no_such_object(ask.id)),
        None => pick(owner(account(ask, world, now)?), fields),
    }
}

/// A list that belongs to an account; nothing where there is none of this name.
///
/// # Errors
///
/// The token may not, no account has this id, or the cursor is none.
pub(super) fn list(
    ask: &Ask<'_>,
    edge: &str,
    world: &World,
    now: Timestamp,
) -> Option<Result<Value, Refusal>> {
    let items = |waba: &Waba| match edge {
        "phone_numbers" => {
            let numbers = world.numbers.iter().filter(|number| number.waba == waba.id);
            let nodes = numbers.map(|number| Value::Object(node(number, waba, world)));
            Some(nodes.collect())
        }
        "message_templates" => {
            let wanted = ask.query.name.as_deref();
            let templates = world.templates.iter().filter(|template| {
                template.waba == waba.id && wanted.is_none_or(|name| template.name == name)
            });
            Some(templates.map(described).collect())
        }
        "subscribed_apps" => {
            let apps = world.apps.iter().filter(|app| waba.apps.contains(&app.id));
            Some(apps.map(subscribed).collect())
        }
        _ => None,
    };
    items(&Waba::default())?;
    Some(account(ask, world, now).and_then(|waba| {
        let items = items(waba).unwrap_or_default();
        page(items, ask.query.limit, ask.query.after.as_deref())
    }))
}

/// Subscribes the token's app to an account, or ends that.
///
/// # Errors
///
/// The token may not, no account has this id, or it is not known whose token this is.
pub(super) fn subscribe(
    ask: &Ask<'_>,
    is_wanted: bool,
    world: &mut World,
    now: Timestamp,
) -> Result<Value, Refusal> {
    let app = match (&manager(ask, world, now)?.app, &*world.apps) {
        (Some(app), _) => app.clone(),
        (None, [only]) => only.id.clone(),
        (None, _) => {
            let why = "The token names no app, and there is more than one.";
            return Err(Refusal::because(100, why));
        }
    };
    let id = account(ask, world, now)?.id.clone();
    let accounts = world.wabas.iter_mut();
    for waba in accounts.filter(|waba| waba.id == id) {
        waba.apps.retain(|subscribed| *subscribed != app);
        if is_wanted {
            waba.apps.push(app.clone());
        }
    }
    Ok(json!({"success": true}))
}

fn manager<'w>(ask: &Ask<'_>, world: &'w World, now: Timestamp) -> Result<&'w Token, Refusal> {
    let token = checks::token(ask.version, ask.authorization, world, now)?;
    if token.may_manage() {
        Ok(token)
    } else {
        Err(Refusal::new(10))
    }
}

fn account<'w>(ask: &Ask<'_>, world: &'w World, now: Timestamp) -> Result<&'w Waba, Refusal> {
    let token = manager(ask, world, now)?;
    let found = world.wabas.iter().find(|waba| waba.id == ask.id);
    found
        .filter(|waba| token.wabas.contains(&waba.id))
        .ok_or_else(|| Refusal::no_such_object(ask.id))
}

fn node(number: &Number, waba: &Waba, world: &World) -> Map<String, Value> {
    let is_flagged = number.state == NumberState::Flagged;
    let status = match number.state {
        NumberState::Registered => "CONNECTED",
        NumberState::Flagged => "FLAGGED",
        NumberState::Deleted | NumberState::Maintenance | NumberState::Unregistered => {
            "DISCONNECTED"
        }
    };
    let level = if number.mps > 80 { "HIGH" } else { "STANDARD" };
    let app = world.listeners(&waba.id, "messages").next();
    let callback = app.and_then(|app| app.callback_url.as_deref());
    let fields = json!({
        "verified_name": number.verified_name.as_deref().unwrap_or("Demo Business"),
        "display_phone_number": number.display,
        "quality_rating": if is_flagged { "RED" } else { "GREEN" },
        "platform_type": "CLOUD_API",
        "throughput": {"level": level},
        "webhook_configuration": {"application": callback},
        "status": status,
        "messaging_limit": waba.messaging_limit,
        "id": number.id,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn owner(waba: &Waba) -> Map<String, Value> {
    let mut fields = Map::new();
    let owner = json!({"id": waba.portfolio});
    fields.insert("owner_business_info".to_owned(), owner);
    fields.insert("id".to_owned(), waba.id.as_str().into());
    fields
}

/// The fields that were asked for, and the id; all of them where none were.
fn pick(mut node: Map<String, Value>, fields: Option<&str>) -> Result<Value, Refusal> {
    let Some(fields) = fields else {
        return Ok(Value::Object(node));
    };
    let mut picked = Map::new();
    for field in fields.split(',').map(str::trim).chain(["id"]) {
        if picked.contains_key(field) {
            continue;
        }
        let value = node.remove(field).ok_or_else(|| {
            Refusal::because(100, format!("Tried accessing nonexisting field ({field})"))
        })?;
        picked.insert(field.to_owned(), value);
    }
    Ok(Value::Object(picked))
}

fn described(template: &Template) -> Value {
    let format = match template.parameter_format {
        ParameterFormat::Named => "NAMED",
        ParameterFormat::Positional => "POSITIONAL",
    };
    let status = match template.status {
        TemplateStatus::Approved => "APPROVED",
        TemplateStatus::Disabled => "DISABLED",
        TemplateStatus::Paused => "PAUSED",
        TemplateStatus::Pending => "PENDING",
        TemplateStatus::Rejected => "REJECTED",
    };
    let mut components = Vec::new();
    match &template.header {
        None => {}
        Some(Header::Text(text)) => {
            components.push(json!({"type": "HEADER", "format": "TEXT", "text": text}));
        }
        Some(Header::Document) => components.push(header("DOCUMENT")),
        Some(Header::Image) => components.push(header("IMAGE")),
        Some(Header::Location) => components.push(header("LOCATION")),
        Some(Header::Video) => components.push(header("VIDEO")),
    }
    components.push(json!({"type": "BODY", "text": template.body}));
    if !template.buttons.is_empty() {
        let buttons: Vec<Value> = template.buttons.iter().map(button).collect();
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    let digest = Sha256::digest(format!("{}|{}", template.name, template.language));
    let id = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    json!({
        "name": template.name,
        "parameter_format": format,
        "components": components,
        "language": template.language,
        "status": status,
        "category": template.category.as_str().to_uppercase(),
        "id": id.to_string(),
    })
}

fn header(format: &str) -> Value {
    json!({"type": "HEADER", "format": format})
}

fn button(button: &Button) -> Value {
    match button {
        Button::CopyCode => json!({"type": "COPY_CODE"}),
        Button::QuickReply => json!({"type": "QUICK_REPLY"}),
        Button::Url { url } => json!({"type": "URL", "url": url}),
    }
}

fn subscribed(app: &App) -> Value {
    let link = format!("https://www.facebook.com/games/?app_id={}", app.id);
    let name = format!("App {}", app.id);
    json!({"whatsapp_business_api_data": {"id": app.id, "link": link, "name": name}})
}

/// One page of a list, with the cursors that lead on.
fn page(items: Vec<Value>, limit: Option<usize>, after: Option<&str>) -> Result<Value, Refusal> {
    let start = match after {
        None => 0,
        Some(cursor) => position(cursor)
            .ok_or_else(|| Refusal::because(100, "The parameter after is not a cursor."))?,
    };
    let limit = limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let data: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    if data.is_empty() {
        return Ok(json!({"data": []}));
    }
    let cursors = json!({"before": cursor(start), "after": cursor(start + data.len())});
    Ok(json!({"data": data, "paging": {"cursors": cursors}}))
}

fn cursor(position: usize) -> String {
    URL_SAFE_NO_PAD.encode(position.to_string())
}

fn position(cursor: &str) -> Option<usize> {
    let digits = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Graph's own number of items on a page, and the most it gives.
const PAGE: usize = 25;
const MAX_PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;

    #[test]
    fn a_number_shows_the_fields_that_are_asked_for() {
        for (wanted, want) in [
            (
                Some("throughput,quality_rating"),
                Ok(json!({"throughput": {"level": "HIGH"}, "quality_rating": "RED", "id": "n"})),
            ),
            (Some("id, id"), Ok(json!({"id": "n"}))),
            (Some("colour"), Err(100)),
        ] {
            let query = Query {
                fields: wanted.map(str::to_owned),
                ..Query::default()
            };
            let got = fields(&ask("n", "Bearer manager", &query), &world(), NOW);
            assert_eq!(got.map_err(|refusal| refusal.code), want, "{wanted:?}");
        }
        let all = fields(
            &ask("n", "Bearer manager", &Query::default()),
            &world(),
            NOW,
        )
        .unwrap();
        assert_eq!(all["display_phone_number"], "15550783881");
        assert_eq!(all["platform_type"], "CLOUD_API");
        let account = fields(
            &ask("w", "Bearer manager", &Query::default()),
            &world(),
            NOW,
        );
        let want = json!({"owner_business_info": {"id": "p"}, "id": "w"});
        assert_eq!(account.unwrap(), want);
        assert_eq!(
            all["webhook_configuration"]["application"],
            "http://127.0.0.1:1/"
        );
    }

    #[test]
    fn only_a_manager_of_the_account_is_answered() {
        for (id, token, want) in [
            ("n", "Bearer manager", None),
            ("n", "Bearer sender", Some(10)),
            ("n", "Bearer stranger", Some(100)),
            ("n", "Bearer unknown", Some(190)),
            ("gone", "Bearer manager", Some(100)),
        ] {
            let got = fields(&ask(id, token, &Query::default()), &world(), NOW);
            assert_eq!(got.err().map(|refusal| refusal.code), want, "{id} {token}");
            let waba = if id == "n" { "w" } else { id };
            let got = list(
                &ask(waba, token, &Query::default()),
                "phone_numbers",
                &world(),
                NOW,
            );
            let got = got.unwrap().err().map(|refusal| refusal.code);
            assert_eq!(got, want, "{id} {token}");
        }
    }

    #[test]
    fn an_account_lists_what_belongs_to_it() {
        for (edge, path, want) in [
            ("phone_numbers", "/data/0/id", json!("n")),
            ("message_templates", "/data/0/name", json!("hello")),
            (
                "message_templates",
                "/data/1/components/0/text",
                json!("Order {{1}}"),
            ),
            (
                "subscribed_apps",
                "/data/0/whatsapp_business_api_data/id",
                json!("a"),
            ),
        ] {
            let got = list(
                &ask("w", "Bearer manager", &Query::default()),
                edge,
                &world(),
                NOW,
            );
            let got = got.unwrap().unwrap();
            assert_eq!(got.pointer(path), Some(&want), "{edge} {path}");
            assert!(got["paging"]["cursors"]["after"].is_string(), "{edge}");
        }
        let named = Query {
            name: Some("sale".to_owned()),
            ..Query::default()
        };
        let named = list(
            &ask("w", "Bearer manager", &named),
            "message_templates",
            &world(),
            NOW,
        );
        assert_eq!(named.unwrap().unwrap()["data"].as_array().unwrap().len(), 1);
        let other = list(
            &ask("w", "Bearer manager", &Query::default()),
            "flows",
            &world(),
            NOW,
        );
        assert!(other.is_none());
    }

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        let first = page(items.clone(), Some(2), None).unwrap();
        assert_eq!(first["data"], json!([0, 1]));
        let after = first["paging"]["cursors"]["after"].as_str();
        let second = page(items.clone(), Some(9), after).unwrap();
        assert_eq!(second["data"], json!([2, 3, 4]));
        let after = second["paging"]["cursors"]["after"].as_str();
        assert_eq!(
            page(items.clone(), None, after).unwrap(),
            json!({"data": []})
        );
        assert_eq!(page(items, None, Some("?")).unwrap_err().code, 100);
    }

    #[test]
    fn an_app_is_subscribed_once_and_can_leave() {
        let mut world = world();
        for (is_wanted, want) in [(true, 1), (true, 1), (false, 0), (false, 0), (true, 1)] {
            let query = Query::default();
            let ask = ask("w", "Bearer manager", &query);
            subscribe(&ask, is_wanted, &mut world, NOW).unwrap();
            assert_eq!(world.wabas[0].apps.len(), want, "{is_wanted}");
        }
        let query = Query::default();
        let stranger = ask("w", "Bearer stranger", &query);
        let refused = subscribe(&stranger, true, &mut world, NOW).unwrap_err();
        assert_eq!(refused.code, 100);
    }

    fn ask<'a>(id: &'a str, token: &'a str, query: &'a Query) -> Ask<'a> {
        Ask {
            version: "v25.0",
            id,
            authorization: Some(token),
            query,
        }
    }

    fn world() -> World {
        world::parse(
            r#"
app = [{ id = "a", secrets = ["s"], verify_token = "v", callback_url = "http://127.0.0.1:1/" }]
waba = [{ id = "w", apps = ["a"], portfolio = "p" }, { id = "x" }]
number = [{ id = "n", waba = "w", display = "15550783881", country_code = "1", mps = 1000, state = "flagged" }]
token = [
    { value = "manager", wabas = ["w"] },
    { value = "sender", wabas = ["w"], scopes = ["whatsapp_business_messaging"] },
    { value = "stranger", wabas = ["x"] },
]
template = [
    { waba = "w", name = "hello", language = "en", body = "Hello" },
    { waba = "w", name = "sale", language = "en", body = "Sale", header = { text = "Order {{1}}" } },
]
"#,
        )
        .unwrap()
    }

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
}
