//! The API described: an OpenAPI 3.1 document made from the code, and the same as a page.
//!
//! Methods, paths, scopes, caps and the refusals of the layers come from the table of
//! routes; statuses, codes, headers and texts of refusals from the errors themselves.
//! `messaging openapi` prints the document; `service/openapi.json` is kept equal to it by
//! a test.

mod endpoint;
mod header;
mod operation;
pub(super) mod page;
mod refusal;
mod schema;
mod served;

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathsBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, HttpMethod, InfoBuilder, License, OpenApiBuilder, PathItem, Ref,
    ServerBuilder,
};
use vestibule::route::Policy;

use self::endpoint::endpoints;
pub(super) use self::served::Served;
use super::routes;

/// The document, in JSON.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// The document as a page that needs no other address and no script.
pub fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let document: Value = serde_json::from_str(document()).expect("the document is JSON");
        page::render(&document)
    });
    &PAGE
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&made()).expect("a document is text and numbers");
    text.push('\n');
    text
});

fn made() -> utoipa::openapi::OpenApi {
    let routes = routes();
    let mut paths = PathsBuilder::new();
    let mut components = components();
    for endpoint in endpoints() {
        let named = [
            format!("{} {}", endpoint.method, endpoint.path),
            format!("* {}", endpoint.path),
        ];
        let policy = routes
            .iter()
            .find_map(|(pattern, policy)| {
                named.iter().any(|name| name == pattern).then_some(policy)
            })
            .cloned()
            .unwrap_or_else(Policy::public);
        let method = match endpoint.method {
            http::Method::POST => HttpMethod::Post,
            _ => HttpMethod::Get,
        };
        let path = endpoint.path;
        let mut operation = operation::operation(endpoint, &policy);
        share(&mut operation, &mut components);
        paths = paths.path(path, PathItem::new(method, operation));
    }
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Messaging")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(include_str!("introduction.md").trim_end()))
                .license(Some(license)),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths)
        .components(Some(components))
        .build()
}

fn components() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key of your account."))
        .build();
    let mut components = ComponentsBuilder::new()
        .schemas_from_iter(schema::all())
        .parameter("CorrelationId", header::correlation_parameter())
        .security_scheme(SECURITY, SecurityScheme::Http(bearer));
    for row in header::described() {
        components = components.header(row.name(), row.always());
    }
    components.build()
}

/// Moves a refusal to the components, under its status, unless another one is there: most
/// operations have most of them in common.
fn share(operation: &mut Operation, components: &mut Components) {
    for (status, response) in &mut operation.responses.responses {
        let known = StatusCode::from_bytes(status.as_bytes()).ok();
        let refused = known.filter(|status| status.is_client_error() || status.is_server_error());
        let Some(reason) = refused.and_then(|status| status.canonical_reason()) else {
            continue;
        };
        // An answer to a good key tells the budget, so the public ones are others.
        let prefix = if operation.security.is_some() {
            ""
        } else {
            "Public"
        };
        let name = format!("{prefix}{}", reason.replace(' ', ""));
        let shared = components.responses.entry(name.clone());
        if shared.or_insert_with(|| response.clone()) == response {
            *response = Ref::from_response_name(name).into();
        }
    }
}

const SECURITY: &str = "apiKey";

#[cfg(test)]
mod tests;
