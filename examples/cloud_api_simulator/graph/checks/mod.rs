//! The order in which Meta looks at a request; the first thing that is wrong answers.

use serde_json::{Map, Value};
use vestibule::clock::Timestamp;

use crate::graph::error::Refusal;
use crate::graph::recipient::Recipient;
use crate::graph::template;
use crate::limits::{self, Limits, Quota};
use crate::window::Windows;
use crate::world::{
    Category, Number, NumberState, Settings, Token, User, Waba, WabaState, WindowMode, World,
};

/// A request, as it came; without `Debug`, since it holds a token.
pub(crate) struct Request<'a> {
    pub(crate) version: &'a str,
    pub(crate) pnid: &'a str,
    /// The value of `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) body: &'a [u8],
    pub(crate) edge: Edge,
}

/// By which door a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// `marketing_messages`: marketing templates only.
    MarketingMessages,
    /// `messages`.
    Messages,
}

/// What a request is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) world: &'a World,
    pub(crate) windows: &'a Windows,
    pub(crate) limits: &'a Limits,
    /// What the number may do now; nothing where limits are switched off.
    pub(crate) quota: Option<Quota>,
    /// A fault puts the number into maintenance.
    pub(crate) is_in_maintenance: bool,
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
#[derive(Clone, Debug)]
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
    /// A voice message, which can be played.
    pub(crate) is_voice: bool,
    /// It came by way of `marketing_messages`.
    pub(crate) is_lite: bool,
}

/// Judges a request.
///
/// # Errors
///
/// The first of Meta's checks that it fails.
pub(crate) fn judge(
    request: &Request<'_>,
    ground: &Ground<'_>,
    now: Timestamp,
) -> Result<Wish, Refusal> {
    let world = ground.world;
    let (number, waba) = authorise(request, world, now)?;
    if ground.is_in_maintenance {
        return Err(Refusal::new(131057));
    }
    check_standing(number, waba)?;
    let body = parse(request.body)?;
    check_product(&body)?;
    if request.edge == Edge::MarketingMessages {
        check_marketing(&body, waba)?;
    } else if body.contains_key("status") {
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
            let of = template::Of {
                waba,
                edge: request.edge,
                is_to_user_id,
            };
            Some(template::judge(message, world, &of)?.category)
        }
        _ => None,
    };
    check_allow_list(number, &recipient)?;
    let user = world.user(recipient.address());
    check_limits(number, &user, ground, now)?;
    let is_window_open = ground.windows.is_open(&number.id, &user.user_id(), now);
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
        is_voice: content["voice"] == true,
        is_lite: request.edge == Edge::MarketingMessages,
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
    let token = token(request.version, request.authorization, world, now)?;
    if !token.may_send() {
        return Err(Refusal::new(10));
    }
    let number = world.number(request.pnid);
    let found = number.and_then(|number| Some((number, world.waba_of(number)?)));
    found
        .filter(|(_, waba)| token.wabas.contains(&waba.id))
        .ok_or_else(|| Refusal::no_such_object(request.pnid))
}

/// The token of a request, where the version is served and the token is good.
pub(crate) fn token<'w>(
    version: &str,
    authorization: Option<&str>,
    world: &'w World,
    now: Timestamp,
) -> Result<&'w Token, Refusal> {
    check_version(version, &world.settings)?;
    let token = authorization
        .and_then(bearer)
        .and_then(|value| world.token(value));
    token
        .filter(|token| token.is_valid(now))
        .ok_or_else(|| Refusal::new(190))
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
        // A flagged number is warned, and sends on.
        (NumberState::Flagged | NumberState::Registered, state) => match state {
            WabaState::Locked => 131031,
            WabaState::Restricted => 368,
            WabaState::Unpaid => 131042,
            WabaState::Ok => return Ok(()),
        },
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

/// What `marketing_messages` asks of a message before its template is known.
fn check_marketing(body: &Map<String, Value>, waba: &Waba) -> Result<(), Refusal> {
    if !waba.marketing_messages {
        return Err(Refusal::because(
            131055,
            "This account may not use marketing_messages.",
        ));
    }
    match body.get("type") {
        Some(kind) if kind == "template" => Ok(()),
        _ => Err(Refusal::new(134100)),
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

fn check_limits(
    number: &Number,
    user: &User,
    ground: &Ground<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(quota) = &ground.quota else {
        return Ok(());
    };
    let limits = ground.limits;
    match limits.refusal(&number.id, &user.user_id(), quota, now) {
        None => Ok(()),
        Some(code @ limits::THROUGHPUT) => Err(Refusal::because(
            code,
            "Cloud API message throughput has been reached.",
        )),
        Some(code) => Err(Refusal::because(
            code,
            "Message failed to send because there were too many messages sent from this phone \
             number to the same phone number in a short period of time.",
        )),
    }
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
