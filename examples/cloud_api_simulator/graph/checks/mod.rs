//! The order in which Meta looks at a request; the first thing that is wrong answers.

use serde_json::{Map, Value};
use vestibule::clock::Timestamp;

use crate::graph::error::Refusal;
use crate::graph::recipient::Recipient;
use crate::graph::template;
use crate::window::Windows;
use crate::world::{
    Category, Number, NumberState, Settings, User, Waba, WabaState, WindowMode, World,
};

/// A request, as it came; without `Debug`, since it holds a token.
pub(crate) struct Request<'a> {
    pub(crate) version: &'a str,
    pub(crate) pnid: &'a str,
    /// The value of `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// What a good request asks for.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A message of the user was read; nothing is sent.
    MarkRead,
    /// A message is to be sent.
    Send(Box<Message>),
}

/// A message that Meta accepts.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) recipient: Recipient,
    pub(crate) user: User,
    pub(crate) number: Number,
    pub(crate) kind: String,
    /// `biz_opaque_callback_data`.
    pub(crate) opaque: Option<String>,
    /// Of a template message.
    pub(crate) category: Option<Category>,
    pub(crate) is_window_open: bool,
}

/// Judges a request.
///
/// # Errors
///
/// The first of Meta's checks that it fails.
pub(crate) fn judge(
    request: &Request<'_>,
    world: &World,
    windows: &Windows,
    now: Timestamp,
) -> Result<Wish, Refusal> {
    check_version(request.version, &world.settings)?;
    let (number, waba) = authorise(request, world, now)?;
    check_standing(number, waba)?;
    let body = parse(request.body)?;
    check_product(&body)?;
    if body.contains_key("status") {
        return check_read(&body).map(|()| Wish::MarkRead);
    }
    check_recipient_type(&body)?;
    let recipient = Recipient::parse(&body, &number.country_code)?;
    let (kind, content) = content(&body)?;
    check_text(kind, content)?;
    let opaque = opaque(&body)?;
    if recipient.address() == number.display {
        return Err(Refusal::new(131021));
    }
    let is_to_user_id = matches!(recipient, Recipient::UserId(_));
    let category = match (kind, content.as_object()) {
        ("template", Some(message)) => {
            Some(template::judge(message, world, waba, is_to_user_id)?.category)
        }
        _ => None,
    };
    check_allow_list(number, &recipient)?;
    let user = world.user(recipient.address());
    let is_window_open = windows.is_open(&number.id, &user.user_id(), now);
    if category.is_none() && !is_window_open && world.settings.window_mode == WindowMode::Sync {
        return Err(Refusal::new(131047));
    }
    Ok(Wish::Send(Box::new(Message {
        recipient,
        user,
        number: number.clone(),
        kind: kind.to_owned(),
        opaque,
        category,
        is_window_open,
    })))
}

fn check_version(version: &str, settings: &Settings) -> Result<(), Refusal> {
    if settings.serves(version) {
        return Ok(());
    }
    Err(Refusal::because(
        100,
        format!("The version {version} is not served."),
    ))
}

fn authorise<'w>(
    request: &Request<'_>,
    world: &'w World,
    now: Timestamp,
) -> Result<(&'w Number, &'w Waba), Refusal> {
    let token = request
        .authorization
        .and_then(bearer)
        .and_then(|value| world.token(value));
    let token = token
        .filter(|token| token.is_valid(now))
        .ok_or_else(|| Refusal::new(190))?;
    if !token.may_send() {
        return Err(Refusal::new(10));
    }
    let number = world.number(request.pnid);
    let found = number.and_then(|number| Some((number, world.waba_of(number)?)));
    found
        .filter(|(_, waba)| token.wabas.contains(&waba.id))
        .ok_or_else(|| Refusal::no_such_object(request.pnid))
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, value) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| value.trim())
}

fn check_standing(number: &Number, waba: &Waba) -> Result<(), Refusal> {
    let code = match (number.state, waba.state) {
        (NumberState::Maintenance, _) => 131057,
        (NumberState::Unregistered, _) => 133010,
        (NumberState::Deleted, _) => 33,
        (NumberState::Registered, WabaState::Locked) => 131031,
        (NumberState::Registered, WabaState::Restricted) => 368,
        (NumberState::Registered, WabaState::Unpaid) => 131042,
        (NumberState::Registered, WabaState::Ok) => return Ok(()),
    };
    Err(Refusal::new(code))
}

fn parse(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| Refusal::because(100, "The body is not a JSON object."))
}

fn check_product(body: &Map<String, Value>) -> Result<(), Refusal> {
    if body
        .get("messaging_product")
        .is_some_and(|product| product == "whatsapp")
    {
        return Ok(());
    }
    Err(Refusal::because(
        100,
        "The parameter messaging_product is required.",
    ))
}

fn check_read(body: &Map<String, Value>) -> Result<(), Refusal> {
    if body["status"] != "read" {
        return Err(Refusal::because(100, "status must be read."));
    }
    match body.get("message_id") {
        Some(Value::String(_)) => Ok(()),
        _ => Err(Refusal::because(
            131008,
            "The parameter message_id is required.",
        )),
    }
}

fn check_recipient_type(body: &Map<String, Value>) -> Result<(), Refusal> {
    match body.get("recipient_type") {
        None => Ok(()),
        Some(kind) if kind == "individual" => Ok(()),
        Some(_) => Err(Refusal::because(
            131009,
            "recipient_type must be individual.",
        )),
    }
}

/// The type of the message, and the property that is named like it.
fn content(body: &Map<String, Value>) -> Result<(&str, &Value), Refusal> {
    let kind = match body.get("type") {
        None => "text",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(Refusal::because(131009, "type is not a string.")),
    };
    if !TYPES.contains(&kind) {
        return Err(Refusal::because(
            131051,
            format!("Message type {kind} is not supported."),
        ));
    }
    match body.get(kind) {
        None => Err(Refusal::because(
            131008,
            format!("The parameter {kind} is required."),
        )),
        Some(content @ Value::Object(_)) if kind != "contacts" => Ok((kind, content)),
        Some(content @ Value::Array(_)) if kind == "contacts" => Ok((kind, content)),
        Some(_) => Err(Refusal::because(
            131009,
            format!("The value of {kind} is not valid."),
        )),
    }
}

fn check_text(kind: &str, content: &Value) -> Result<(), Refusal> {
    if kind != "text" {
        return Ok(());
    }
    match content.get("body") {
        None => Err(Refusal::because(
            131008,
            "The parameter text.body is required.",
        )),
        Some(Value::String(body)) if (1..=MAX_TEXT).contains(&body.chars().count()) => Ok(()),
        Some(_) => Err(Refusal::because(
            100,
            "text.body must have 1 to 4096 characters.",
        )),
    }
}

fn opaque(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match body.get("biz_opaque_callback_data") {
        None => Ok(None),
        Some(Value::String(data)) if data.chars().count() <= MAX_OPAQUE => Ok(Some(data.clone())),
        Some(_) => Err(Refusal::because(
            100,
            "biz_opaque_callback_data must have at most 512 characters.",
        )),
    }
}

fn check_allow_list(number: &Number, recipient: &Recipient) -> Result<(), Refusal> {
    let allowed = &number.allowed_recipients;
    if allowed.is_empty() || allowed.iter().any(|allowed| allowed == recipient.address()) {
        return Ok(());
    }
    Err(Refusal::new(131030))
}

/// What can be sent.
const TYPES: [&str; 11] = [
    "text",
    "template",
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "reaction",
];

const MAX_TEXT: usize = 4096;

const MAX_OPAQUE: usize = 512;

#[cfg(test)]
mod tests;
