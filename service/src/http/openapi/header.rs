//! The headers of requests and answers, described once.

use http::HeaderName;
use http::header::{ALLOW, CACHE_CONTROL, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat};
use utoipa::openapi::{Header, Object, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Type};
use vestibule::header::{
    IDEMPOTENT_REPLAYED, X_CORRELATION_ID, X_ORIGINAL_CORRELATION_ID, X_RATELIMIT_LIMIT,
    X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};

/// A header of answers.
#[derive(Debug)]
pub(super) struct Described {
    name: &'static str,
    id: HeaderName,
    schema: fn() -> Object,
    description: &'static str,
}

/// Every header of answers that the document names.
pub(super) fn described() -> [Described; 11] {
    let row = |name, id, schema, description| Described {
        name,
        id,
        schema,
        description,
    };
    [
        row("Allow", ALLOW, text, "The methods of this path."),
        row(
            "Cache-Control",
            CACHE_CONTROL,
            text,
            "Whether the answer may be kept: `no-store` under `/v1`.",
        ),
        row(
            "ETag",
            ETAG,
            text,
            "The version of the document, for `If-None-Match`.",
        ),
        row(
            "Idempotent-Replayed",
            IDEMPOTENT_REPLAYED,
            replayed,
            "Only on a replay: this is the first answer once more.",
        ),
        row(
            "Retry-After",
            RETRY_AFTER,
            positive,
            "Seconds to wait before the next attempt.",
        ),
        row(
            "WWW-Authenticate",
            WWW_AUTHENTICATE,
            text,
            "The challenge of RFC 6750: `Bearer`, with the reason where a key was sent.",
        ),
        row(
            "X-Correlation-ID",
            X_CORRELATION_ID,
            correlation_id,
            "The name of this request, in the logs too: yours, where you sent a valid one.",
        ),
        row(
            "X-Original-Correlation-ID",
            X_ORIGINAL_CORRELATION_ID,
            correlation_id,
            "Only on a replay: the request that was executed.",
        ),
        row(
            "X-RateLimit-Limit",
            X_RATELIMIT_LIMIT,
            count,
            "Requests that a window of a minute allows.",
        ),
        row(
            "X-RateLimit-Remaining",
            X_RATELIMIT_REMAINING,
            count,
            "Requests left in this window.",
        ),
        row(
            "X-RateLimit-Reset",
            X_RATELIMIT_RESET,
            count,
            "When the window ends, in Unix seconds.",
        ),
    ]
}

/// Adds a header to an answer: by reference where it is always there.
pub(super) fn add(response: ResponseBuilder, id: &HeaderName, is_always: bool) -> ResponseBuilder {
    let found = described().into_iter().find(|row| row.id == *id);
    let Some(row) = found else {
        return response;
    };
    if is_always {
        response.header_ref(
            row.name,
            Ref::new(format!("#/components/headers/{}", row.name)),
        )
    } else {
        response.header(row.name, row.sometimes())
    }
}

/// `Idempotency-Key`, as a parameter.
pub(super) fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$"))
        .max_length(Some(255));
    parameter(
        "Idempotency-Key",
        schema.build(),
        "Your name for this one execution, such as a UUID. A repetition with the same name and \
         the same body is not executed again: it gets the first answer, for 24 hours at least.",
    )
}

/// `X-Correlation-ID`, as a parameter.
pub(super) fn correlation_parameter() -> Parameter {
    parameter(
        "X-Correlation-ID",
        text(),
        "Your name for this request: 1 to 128 of `A-Z a-z 0-9 . _ : -`. Any other value is \
         ignored, and a name is made up.",
    )
}

/// `If-None-Match`, as a parameter.
pub(super) fn if_none_match() -> Parameter {
    parameter(
        "If-None-Match",
        text(),
        "The `ETag` that you have: where it still is the one, the answer is 304 without a body.",
    )
}

/// A header that a request may have.
pub(super) fn parameter(name: &str, schema: Object, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

// === impl Described ===

impl Described {
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is(&self, id: &HeaderName) -> bool {
        self.id == *id
    }

    /// As it stands where the header is always there.
    pub(super) fn always(&self) -> RefOr<Header> {
        // utoipa has no field for it.
        let required = Extensions::from_iter([("required", true)]);
        let header = HeaderBuilder::from(self.sometimes()).extensions(Some(required));
        header.build().into()
    }

    fn sometimes(&self) -> Header {
        HeaderBuilder::new()
            .schema(Some((self.schema)()))
            .description(Some(self.description))
            .build()
    }
}

pub(super) fn text() -> Object {
    Object::with_type(Type::String)
}

fn replayed() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["true"]))
        .build()
}

fn correlation_id() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9A-Za-z._:-]{1,128}$"))
        .build()
}

fn count() -> Object {
    whole(0)
}

fn positive() -> Object {
    whole(1)
}

fn whole(least: usize) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .build()
}
