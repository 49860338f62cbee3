//! Rules of the envelope and of the table behind it.

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use super::*;

type Inner = Full<Bytes>;

#[test]
fn every_type_goes_with_the_statuses_that_the_contract_gives_it() {
    for code in Code::ALL {
        let statuses: &[u16] = match code.error_type() {
            ErrorType::Authentication => &[401],
            ErrorType::Idempotency => &[409, 422],
            ErrorType::Internal => &[500],
            ErrorType::NotFound => &[404],
            ErrorType::Permission => &[403],
            ErrorType::Quota => &[402],
            ErrorType::RateLimit => &[429],
            ErrorType::Upstream => &[502, 503, 504],
            ErrorType::Validation => &[400, 405, 408, 413, 414, 415, 422, 431],
        };
        assert!(
            statuses.contains(&code.status().as_u16()),
            "{}",
            code.name()
        );
    }
}

#[tokio::test]
async fn the_envelope_has_its_fields_in_the_published_order() {
    let id = CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap();
    let mut response = ApiError::missing_required_field("to").into_response::<Inner>();
    render(&mut response, &ErrorFormat::Envelope, &id);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(
        text(response).await,
        r#"{"error":{"type":"validation_error","code":"missing_required_field","message":"The field 'to' is required.","param":"to","correlation_id":"req_1"}}"#
    );
}

#[tokio::test]
async fn a_problem_document_carries_the_code_as_a_member() {
    let id = CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap();
    let mut response = ApiError::endpoint_not_found().into_response::<Inner>();
    render(&mut response, &ErrorFormat::Problem, &id);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let found: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        found,
        json!({"type": "about:blank", "title": "Not Found", "status": 404, "code": "endpoint_not_found",
               "detail": "There is no such endpoint.", "correlation_id": "req_1"})
    );
}

#[tokio::test]
async fn a_response_that_is_no_error_is_left_alone() {
    let id = CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap();
    let mut response = Response::builder()
        .status(404)
        .body(Body::<Inner>::full("mine"))
        .unwrap();
    render(&mut response, &ErrorFormat::Envelope, &id);
    assert_eq!(text(response).await, "mine");
}

#[test]
fn a_challenge_says_what_the_contract_wants_it_to_say() {
    for (error, want) in [
        (ApiError::missing_api_key(), "Bearer"),
        (
            ApiError::invalid_api_key("bad"),
            "Bearer error=\"invalid_token\"",
        ),
        (
            ApiError::insufficient_scope("a:b"),
            "Bearer error=\"insufficient_scope\", scope=\"a:b\"",
        ),
    ] {
        assert_eq!(
            error.into_response::<Inner>().headers()[WWW_AUTHENTICATE],
            want
        );
    }
}

async fn text(response: Response<Body<Inner>>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
