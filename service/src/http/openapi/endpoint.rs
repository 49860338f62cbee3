//! The endpoints, in the order of the public documentation, each in the words for its readers.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaFormat;
use utoipa::openapi::{ObjectBuilder, Ref, Required, Type};

use super::header;
use super::refusal::{self, Refusal};

/// One method of one path.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) success: Success,
    /// What its handler refuses; the layers have refusals of their own.
    pub(super) refusals: Vec<Refusal>,
}

/// What is sent to an endpoint.
#[derive(Debug)]
pub(super) struct Body {
    /// The schema's name; without it, any object will do.
    pub(super) schema: Option<&'static str>,
    pub(super) examples: Vec<(&'static str, &'static str, Value)>,
}

/// The answer of an endpoint where nothing is wrong.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: StatusCode,
    pub(super) description: &'static str,
    pub(super) content: Content,
}

/// What an answer holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A document of the service itself, which has a version.
    Document(&'static str),
    /// Nothing.
    Empty,
    /// JSON of a schema, with an example.
    Json(&'static str, Value),
    /// Text, such as this.
    Text(&'static str),
}

/// Every endpoint.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        send_message(),
        send_template(),
        get_message(),
        get_windows(),
        verify_webhook(),
        receive_webhook(),
    ];
    endpoints.extend(of_the_service());
    endpoints
}

fn send_message() -> Endpoint {
    let mut refusals = refusal::of_sending();
    refusals.extend(refusal::of_text());
    Endpoint {
        parameters: vec![header::idempotency_key()],
        body: Some(Body {
            schema: Some("SendMessage"),
            examples: vec![(
                "text",
                "A text",
                json!({"agent_id": AGENT, "from": FROM, "to": TO, "text": {"body": "Hello!"}}),
            )],
        }),
        success: accepted("text"),
        refusals,
        ..Endpoint::new(
            Method::POST,
            "/v1/whatsapp/messages",
            "sendMessage",
            "Messages",
            "Send a text",
            "Sends a free-form text, inside the customer's window: Meta takes it for 24 hours after \
             the customer last wrote. It is accepted once it is on disk, and sent at once; ask for \
             the message to learn what became of it.",
        )
    }
}

fn send_template() -> Endpoint {
    let mut refusals = refusal::of_sending();
    refusals.extend(refusal::of_template());
    let filled = json!({"agent_id": AGENT, "from": FROM, "to": TO, "template": {
        "name": "order_confirmation", "language": "en_US",
        "parameters": {"first_name": "Ada", "order": "17"},
        "header_media_url": "https://example.com/invoice-17.pdf",
        "buttons": [{"type": "url", "value": "17", "index": 0}],
    }});
    Endpoint {
        parameters: vec![header::idempotency_key()],
        body: Some(Body {
            schema: Some("SendTemplate"),
            examples: vec![
                (
                    "plain",
                    "A template without placeholders",
                    json!({"agent_id": AGENT, "from": FROM, "to": TO,
                           "template": {"name": "hello_world", "language": "en_US"}}),
                ),
                ("filled", "A template that is filled in", filled),
            ],
        }),
        success: accepted("template"),
        refusals,
        ..Endpoint::new(
            Method::POST,
            "/v1/whatsapp/templates",
            "sendTemplate",
            "Messages",
            "Send a template",
            "Sends a message made from an approved template, at any time. Whether the template \
             exists and takes these values only Meta knows: a refusal of Meta's makes the message \
             `failed`.",
        )
    }
}

fn get_message() -> Endpoint {
    let mut sent = message("text");
    sent["status"] = "sent".into();
    sent["to"] = "".into();
    sent["platform_message_id"] = "wamid.HBgLMTY1MDU1NTEyMzQ".into();
    sent["sent_at"] = "2027-01-15T08:00:01Z".into();
    Endpoint {
        parameters: vec![required(
            "id",
            ParameterIn::Path,
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::Custom("uuid".to_owned())))
                .into(),
            "The id that the message was accepted with.",
            MESSAGE,
        )],
        success: Success {
            status: StatusCode::OK,
            description: "The message as it stands.",
            content: Content::Json("Message", sent),
        },
        refusals: refusal::of_message(),
        ..Endpoint::new(
            Method::GET,
            "/v1/whatsapp/messages/{id}",
            "getMessage",
            "Messages",
            "Ask for a message",
            "Shows how far a message has come: `queued`, `sent`, `delivered`, `read`, or `failed`. \
             A message of another account looks like one that does not exist.",
        )
    }
}

fn get_windows() -> Endpoint {
    let open = json!({"from": FROM, "state": "open", "is_open": true, "open_until": "2027-01-16T08:00:00Z"});
    let windows = json!({"agent_id": AGENT, "to": TO, "windows": [open]});
    Endpoint {
        parameters: vec![
            required(
                "agent_id",
                ParameterIn::Query,
                Ref::from_schema_name("AgentId").into(),
                "The agent.",
                AGENT,
            ),
            required(
                "to",
                ParameterIn::Query,
                Ref::from_schema_name("To").into(),
                "The customer; `+` is written `%2B` in a query.",
                TO,
            ),
        ],
        success: Success {
            status: StatusCode::OK,
            description: "The windows of the agent's numbers.",
            content: Content::Json("Windows", windows),
        },
        refusals: refusal::of_windows(),
        ..Endpoint::new(
            Method::GET,
            "/v1/whatsapp/windows",
            "getWindows",
            "Windows",
            "Ask whether a window is open",
            "Shows until when free-form text may be sent to a customer, for each number of an agent: \
             numbers have windows of their own.",
        )
    }
}

fn verify_webhook() -> Endpoint {
    let hub = |name, description, example| {
        let text = header::text().into();
        required(name, ParameterIn::Query, text, description, example)
    };
    Endpoint {
        parameters: vec![
            hub("hub.mode", "`subscribe`.", "subscribe"),
            hub(
                "hub.verify_token",
                "The token that was entered at Meta.",
                "a-token",
            ),
            hub("hub.challenge", "What is to be answered.", "1158201444"),
        ],
        success: Success {
            status: StatusCode::OK,
            description: "The challenge, as it came.",
            content: Content::Text("1158201444"),
        },
        refusals: refusal::of_verification(),
        ..Endpoint::new(
            Method::GET,
            WEBHOOK,
            "verifyWebhook",
            "Meta",
            "Verify the webhook",
            "Answers Meta's challenge when the webhook is set up.",
        )
    }
}

fn receive_webhook() -> Endpoint {
    let signature = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^sha256=[0-9a-f]{64}$"));
    Endpoint {
        parameters: vec![header::parameter(
            "X-Hub-Signature-256",
            signature.build(),
            "HMAC-SHA-256 of the body under the app secret. A body without one is refused.",
        )],
        body: Some(Body {
            schema: None,
            examples: vec![(
                "empty",
                "A body without changes",
                json!({"object": "whatsapp_business_account", "entry": []}),
            )],
        }),
        success: Success {
            status: StatusCode::OK,
            description: "The body is kept, and worked through afterwards.",
            content: Content::Empty,
        },
        refusals: refusal::of_webhook(),
        ..Endpoint::new(
            Method::POST,
            WEBHOOK,
            "receiveWebhook",
            "Meta",
            "Take in a webhook",
            "Takes in what customers write and what became of messages, up to 4 MiB. Meta repeats \
             whatever is not answered with 200.",
        )
    }
}

fn of_the_service() -> [Endpoint; 4] {
    let row = |path, id, summary, description, answer, content| Endpoint {
        success: Success {
            status: StatusCode::OK,
            description: answer,
            content,
        },
        ..Endpoint::new(Method::GET, path, id, "Service", summary, description)
    };
    [
        row(
            "/healthz",
            "getHealth",
            "Ask whether the process lives",
            "Asks nothing but the process itself.",
            "It does.",
            Content::Text("ok"),
        ),
        row(
            "/readyz",
            "getReadiness",
            "Ask whether the service is ready",
            "Asks the database too.",
            "It is.",
            Content::Text("ready"),
        ),
        row(
            "/openapi.json",
            "getOpenapi",
            "Read this document",
            "This document, made from the code that serves it.",
            "OpenAPI 3.1.",
            Content::Document("application/json"),
        ),
        row(
            "/docs",
            "getDocs",
            "Read the reference",
            "The same as a page, which needs no other address.",
            "A page.",
            Content::Document("text/html"),
        ),
    ]
}

// === impl Endpoint ===

impl Endpoint {
    const fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            tag,
            summary,
            description,
            parameters: Vec::new(),
            body: None,
            success: Success {
                status: StatusCode::OK,
                description: "",
                content: Content::Empty,
            },
            refusals: Vec::new(),
        }
    }
}

fn accepted(kind: &str) -> Success {
    Success {
        status: StatusCode::ACCEPTED,
        description: "The message is on disk and will be sent.",
        content: Content::Json("Message", message(kind)),
    }
}

fn message(kind: &str) -> Value {
    json!({
        "id": MESSAGE, "status": "queued", "agent_id": AGENT, "to": TO, "type": kind,
        "platform_message_id": null, "created_at": "2027-01-15T08:00:00Z",
        "sent_at": null, "failed_at": null,
    })
}

fn required(
    name: &str,
    place: ParameterIn,
    schema: utoipa::openapi::RefOr<utoipa::openapi::Schema>,
    description: &str,
    example: &str,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example.into()))
        .build()
}

const WEBHOOK: &str = "/webhooks/whatsapp";

const AGENT: &str = "0b9f4a52-6c1e-4c52-9b34-6a1c7f0c2d11";

const FROM: &str = "+15550783881";

const TO: &str = "+16505551234";

const MESSAGE: &str = "019bbf3e-d400-7c3a-9b1e-2f6d3a7b8c90";
