//! What requests and answers look like, in the words that their readers are shown.
//!
//! Requests are read field by field, so that each fault has its own code, and answers are
//! views of the domain: `tests/schemathesis` holds these types against both.

#![expect(
    dead_code,
    reason = "these types describe: nothing is ever made of them"
)]

use std::collections::BTreeMap;

use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Object, ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A free-form text for one customer.
#[derive(Debug, ToSchema)]
pub(super) struct SendMessage {
    agent_id: AgentId,
    from: From,
    to: To,
    text: Text,
    delivery: Option<Delivery>,
}

/// An approved template for one customer.
#[derive(Debug, ToSchema)]
pub(super) struct SendTemplate {
    agent_id: AgentId,
    from: From,
    to: To,
    template: Template,
    delivery: Option<Delivery>,
}

/// How the message is to be delivered; all of it may be left out.
#[derive(Debug, ToSchema)]
pub(super) struct Delivery {
    /// What becomes of the message when nobody can tell whether Meta took it: it has failed
    /// (`at_most_once`, the default), or is sent again (`at_least_once`).
    policy: Option<Guarantee>,
    /// Whether the message waits until those before it, to the same customer and in order
    /// too, have arrived.
    in_order: Option<bool>,
    /// How long the message is worth sending, in seconds; a day where it is not said.
    #[schema(minimum = 1, maximum = 86_400)]
    expires_after_seconds: Option<u32>,
}

/// Never twice, or rather twice than never.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Guarantee {
    AtMostOnce,
    AtLeastOnce,
}

/// The agent that sends: a UUID of your account.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = "uuid", pattern = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
         example = "0b9f4a52-6c1e-4c52-9b34-6a1c7f0c2d11")]
pub(super) struct AgentId(String);

/// The number that it is sent from, one of the agent's, in E.164 form.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, pattern = r"^\+[1-9][0-9]{6,14}$", example = "+15550783881")]
pub(super) struct From(String);

/// The customer's number, in E.164 form.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, pattern = r"^\+[1-9][0-9]{6,14}$", example = "+16505551234")]
pub(super) struct To(String);

/// What the message says.
#[derive(Debug, ToSchema)]
pub(super) struct Text {
    /// 1 to 4096 characters (Unicode scalar values).
    #[schema(min_length = 1, max_length = 4096, example = "Hello!")]
    body: String,
}

/// Which template, in which language, with what filled in.
#[derive(Debug, ToSchema)]
pub(super) struct Template {
    /// Its name, as Meta approved it.
    #[schema(pattern = "^[0-9_a-z]{1,512}$", example = "hello_world")]
    name: String,
    /// Its language, and perhaps a country.
    #[schema(pattern = "^[a-z]{2,3}(_[A-Z]{2})?$", example = "en_US")]
    language: String,
    /// The placeholders of the body, each with its value: by name, or all of them numbered
    /// from `1`. A value has 1024 characters at most where the template has other parts.
    #[schema(schema_with = placeholders, required = false)]
    parameters: Option<BTreeMap<String, Value>>,
    /// The placeholders of the header, each with its value of at most 60 characters; in the
    /// place of a picture, video or document.
    #[schema(schema_with = placeholders, required = false)]
    header_parameters: Option<BTreeMap<String, Value>>,
    /// The picture, video or document of the header: an address that Meta fetches. An ending
    /// of `.jpg`, `.jpeg`, `.png` or `.webp` makes it a picture, `.mp4` or `.3gp` a video,
    /// anything else a document.
    #[schema(pattern = r"^https://[0-9A-Za-z\[][!-~]*$", max_length = 2048)]
    header_media_url: Option<String>,
    /// The variable parts of the buttons, each for another button.
    #[schema(max_items = 10)]
    buttons: Option<Vec<Button>>,
}

/// What is written in the place of a placeholder: no line break, tab or other control
/// character, and no more than four spaces in a row.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, max_length = 131_072, pattern = r"^(?!.*     )[^\u0000-\u001f\u007f-\u009f]*$")]
pub(super) struct Value(String);

/// The variable part of one button.
#[derive(Debug, ToSchema)]
pub(super) struct Button {
    /// What the button does.
    #[schema(rename = "type")]
    kind: ButtonKind,
    /// The last part of the address, the payload of the reply, or the code to copy. As with
    /// placeholders, no control characters and no more than four spaces in a row.
    #[schema(
        min_length = 1,
        max_length = 131_072,
        pattern = r"^(?!.*     )[^\u0000-\u001f\u007f-\u009f]*$"
    )]
    value: String,
    /// The button's place in the template, from 0; without it, the place in this list.
    #[schema(minimum = 0, maximum = 9)]
    index: Option<u8>,
}

/// Opens an address, answers with a payload, or copies a code.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum ButtonKind {
    Url,
    QuickReply,
    CopyCode,
}

/// A message and how far it has come.
#[derive(Debug, ToSchema)]
pub(super) struct Message {
    /// The message's id, for `GET /v1/whatsapp/messages/{id}`.
    #[schema(format = "uuid")]
    id: String,
    status: Status,
    /// The agent that sent it.
    #[schema(format = "uuid")]
    agent_id: String,
    /// The customer's number; empty where a message is merely read, unless the deployment
    /// shows it.
    #[schema(pattern = r"^(\+[1-9][0-9]{6,14})?$")]
    to: String,
    #[schema(rename = "type")]
    kind: Kind,
    /// Meta's id (`wamid.…`), once the message is sent.
    #[schema(required = true)]
    platform_message_id: Option<String>,
    /// When it was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When Meta took it.
    #[schema(format = DateTime, required = true)]
    sent_at: Option<String>,
    /// When it arrived, once it has.
    #[schema(format = DateTime, nullable = false)]
    delivered_at: Option<String>,
    /// When it was read, once that is known.
    #[schema(format = DateTime, nullable = false)]
    read_at: Option<String>,
    /// When it failed.
    #[schema(format = DateTime, required = true)]
    failed_at: Option<String>,
    /// Why it failed; only where it has.
    #[schema(nullable = false)]
    error: Option<Failure>,
    /// `confirming` while it is not known whether Meta took the message.
    #[schema(nullable = false)]
    detail: Option<Detail>,
}

/// How far the message has come. It moves forward only; `failed` with the code
/// `outcome_unknown` is the one state that may still turn out to be `sent`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Status {
    Queued,
    Sent,
    Delivered,
    Read,
    Failed,
}

/// Free-form text, or made from a template.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Kind {
    Text,
    Template,
}

/// More about a status.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Detail {
    Confirming,
}

/// Why a message failed.
#[derive(Debug, ToSchema)]
pub(super) struct Failure {
    /// The word to branch on.
    #[schema(example = "outcome_unknown")]
    code: String,
    /// A sentence for people; it may be reworded.
    message: String,
    /// `false` where sending again may reach the customer twice.
    #[schema(nullable = false)]
    retry_safe: Option<bool>,
}

/// The windows between an agent's numbers and one customer.
#[derive(Debug, ToSchema)]
pub(super) struct Windows {
    /// The agent that was asked for.
    #[schema(format = "uuid")]
    agent_id: String,
    to: To,
    /// One for each of the agent's numbers; none for an agent that is not yours.
    windows: Vec<Window>,
}

/// Whether free-form text may be sent from one number.
#[derive(Debug, ToSchema)]
pub(super) struct Window {
    from: From,
    state: WindowState,
    /// Whether the window is open.
    is_open: bool,
    /// Until when it is open; null where it is not.
    #[schema(format = DateTime, required = true)]
    open_until: Option<String>,
}

/// `unknown`: the customer may have written before this deployment could hear of it.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum WindowState {
    Open,
    Closed,
    Unknown,
}

/// Every refusal and every fault.
#[derive(Debug, ToSchema)]
pub(super) struct Error {
    error: Reason,
}

/// What went wrong.
#[derive(Debug, ToSchema)]
pub(super) struct Reason {
    #[schema(rename = "type")]
    kind: ErrorKind,
    /// The word to branch on.
    code: String,
    /// A sentence for people; it may be reworded.
    message: String,
    /// The field, parameter or header at fault.
    #[schema(nullable = false)]
    param: Option<String>,
    /// The scope that the key lacks.
    #[schema(nullable = false)]
    required_scope: Option<String>,
    /// The numbers that the agent does have.
    #[schema(nullable = false)]
    available_phones: Option<Vec<String>>,
    /// The first request with the same Idempotency-Key.
    #[schema(nullable = false)]
    original_correlation_id: Option<String>,
    /// This request, as in `X-Correlation-ID`; in a replayed error the first one.
    correlation_id: String,
}

/// The family of an error, for codes that a client does not know.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(
    clippy::enum_variant_names,
    reason = "they are the words of the contract"
)]
pub(super) enum ErrorKind {
    AuthenticationError,
    IdempotencyError,
    InternalError,
    NotFoundError,
    PermissionError,
    QuotaError,
    RateLimitError,
    UpstreamError,
    ValidationError,
}

/// Every schema by its name, with all that they are made of.
pub(super) fn all() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (SendMessage::name().into(), SendMessage::schema()),
        (SendTemplate::name().into(), SendTemplate::schema()),
        (Value::name().into(), Value::schema()),
        (Message::name().into(), Message::schema()),
        (Windows::name().into(), Windows::schema()),
        (Error::name().into(), Error::schema()),
    ];
    SendMessage::schemas(&mut schemas);
    SendTemplate::schemas(&mut schemas);
    Message::schemas(&mut schemas);
    Windows::schemas(&mut schemas);
    Error::schemas(&mut schemas);
    schemas
}

/// A map of a hundred placeholders at most, or null: the derive has no words for the bounds.
fn placeholders() -> Object {
    let named = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .property_names(Some(named))
        .additional_properties(Some(Ref::from_schema_name("Value")))
        .max_properties(Some(100))
        .build()
}
