//! An endpoint as an OpenAPI operation: what its words, its policy and its refusals come to.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    AllOfBuilder, Content, ContentBuilder, Object, ObjectBuilder, Ref, Required, Response,
    ResponseBuilder, Schema, Type,
};
use vestibule::header::{
    IDEMPOTENT_REPLAYED, X_CORRELATION_ID, X_ORIGINAL_CORRELATION_ID, X_RATELIMIT_LIMIT,
    X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};
use vestibule::route::Policy;
use vestibule::{CorrelationId, ErrorFormat};

use super::endpoint::{self, Body, Endpoint, Success};
use super::refusal::{self, ORIGINAL, Refusal};
use super::{SECURITY, header};

/// The operation of an endpoint that has this policy.
pub(super) fn operation(endpoint: Endpoint, policy: &Policy) -> Operation {
    let mut refusals = refusal::of_layers(policy, &endpoint.method);
    refusals.extend(endpoint.refusals);
    let status = endpoint.success.status;
    let mut operation = OperationBuilder::new()
        .tag(endpoint.tag)
        .summary(Some(endpoint.summary))
        .description(Some(description(endpoint.description, policy)))
        .operation_id(Some(endpoint.id))
        .parameters(Some(endpoint.parameters))
        .parameter_ref(Ref::new("#/components/parameters/CorrelationId"))
        .request_body(endpoint.body.map(request_body));
    if !policy.is_public() {
        let scopes: [&str; 0] = [];
        operation = operation.security(SecurityRequirement::new(SECURITY, scopes));
    }
    if matches!(endpoint.success.content, endpoint::Content::Document(_)) {
        operation = operation
            .parameter(header::if_none_match())
            .response(StatusCode::NOT_MODIFIED.as_str(), not_modified());
    }
    operation = operation.response(status.as_str(), success(endpoint.success, policy));
    let mut by_status: BTreeMap<StatusCode, Vec<Refusal>> = BTreeMap::new();
    for refusal in refusals {
        let status = refusal.error.status();
        by_status.entry(status).or_default().push(refusal);
    }
    for (status, refusals) in &by_status {
        operation = operation.response(status.as_str(), refused(*status, refusals, policy));
    }
    operation.build()
}

fn description(text: &str, policy: &Policy) -> String {
    let scopes: Vec<String> = policy.scopes().map(|scope| format!("`{scope}`")).collect();
    match &scopes[..] {
        [] => text.to_owned(),
        [scope] => format!("{text}\n\nNeeds the scope {scope}."),
        scopes => format!("{text}\n\nNeeds one of the scopes {}.", scopes.join(", ")),
    }
}

fn request_body(body: Body) -> RequestBody {
    let mut content = match body.schema {
        Some(name) => ContentBuilder::new().schema(Some(Ref::from_schema_name(name))),
        None => ContentBuilder::new().schema(Some(Object::with_type(Type::Object))),
    };
    for (name, summary, value) in body.examples {
        let example = ExampleBuilder::new().summary(summary).value(Some(value));
        content = content.examples_from_iter([(name, example)]);
    }
    RequestBodyBuilder::new()
        .content(JSON, content.build())
        .required(Some(Required::True))
        .build()
}

fn success(success: Success, policy: &Policy) -> Response {
    let mut response = ResponseBuilder::new().description(success.description);
    response = header::add(response, &X_CORRELATION_ID, true);
    if !policy.is_public() {
        response = told(response, Some(true));
    }
    if policy.upstream_kind().is_some() {
        for name in [IDEMPOTENT_REPLAYED, X_ORIGINAL_CORRELATION_ID] {
            response = header::add(response, &name, false);
        }
        let link = LinkBuilder::new()
            .operation_id("getMessage")
            .parameter("id", "$response.body#/id")
            .description("What became of the message.");
        response = response.link("message", link.build());
    }
    match success.content {
        endpoint::Content::Document(media_type) => {
            response = versioned(response);
            let schema = match media_type {
                JSON => Object::with_type(Type::Object),
                _ => header::text(),
            };
            response.content(media_type, Content::new(Some(schema)))
        }
        endpoint::Content::Empty => response,
        endpoint::Content::Json(schema, example) => {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(schema)))
                .example(Some(example));
            response.content(JSON, content.build())
        }
        endpoint::Content::Text(example) => {
            let content = ContentBuilder::new()
                .schema(Some(header::text()))
                .example(Some(example.into()));
            response.content(TEXT, content.build())
        }
    }
    .build()
}

fn not_modified() -> Response {
    let response = ResponseBuilder::new().description("You have this version.");
    versioned(header::add(response, &X_CORRELATION_ID, true)).build()
}

fn versioned(response: ResponseBuilder) -> ResponseBuilder {
    header::add(header::add(response, &ETAG, true), &CACHE_CONTROL, true)
}

/// What an answer behind the key tells: always that it may not be kept, and the budget
/// always, sometimes or never.
fn told(response: ResponseBuilder, budget: Option<bool>) -> ResponseBuilder {
    let mut response = header::add(response, &CACHE_CONTROL, true);
    if let Some(is_always) = budget {
        for name in [X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET] {
            response = header::add(response, &name, is_always);
        }
    }
    response
}

/// The answers of one status: their codes, an example of each, and their headers.
fn refused(status: StatusCode, refusals: &[Refusal], policy: &Policy) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut response = ResponseBuilder::new().description(reason);
    response = header::add(response, &X_CORRELATION_ID, true);
    if !policy.is_public() {
        let charged = refusals.iter().filter(|refusal| refusal.is_charged).count();
        let budget = (charged > 0).then_some(charged == refusals.len());
        response = told(response, budget);
    }
    let mut headers: BTreeMap<String, (HeaderName, usize)> = BTreeMap::new();
    let mut examples = BTreeMap::new();
    for refusal in refusals {
        let (sent, value) = written(refusal);
        for name in sent {
            let (_, count) = headers.entry(name.to_string()).or_insert((name, 0));
            *count += 1;
        }
        let example = ExampleBuilder::new()
            .description(refusal.advice)
            .value(Some(value));
        examples.insert(refusal.error.code().name(), example);
    }
    for (name, count) in headers.values() {
        response = header::add(response, name, *count == refusals.len());
    }
    let content = ContentBuilder::new()
        .schema(Some(schema(examples.keys().copied())))
        .examples_from_iter(examples);
    response.content(JSON, content.build()).build()
}

/// The error with one of these codes.
fn schema<'a>(codes: impl Iterator<Item = &'a str>) -> Schema {
    let codes = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes));
    let error = ObjectBuilder::new().property("code", codes);
    let envelope = ObjectBuilder::new().property("error", error);
    AllOfBuilder::new()
        .item(Ref::from_schema_name("Error"))
        .item(envelope)
        .build()
        .into()
}

/// The headers of a refusal, and its body as a caller gets it.
fn written(refusal: &Refusal) -> (Vec<HeaderName>, Value) {
    let id = CorrelationId::parse(&HeaderValue::from_static(ORIGINAL));
    let (_, body) = ErrorFormat::Envelope.write(&refusal.error, id.as_ref());
    let response = refusal.error.clone().into_response::<Full<Bytes>>();
    let described = header::described();
    let named = response.headers().keys().filter(|name| {
        let mut rows = described.iter();
        rows.any(|row| row.is(name))
    });
    let value = serde_json::from_slice(&body).unwrap_or_default();
    (named.cloned().collect(), value)
}

const JSON: &str = "application/json";

const TEXT: &str = "text/plain";
