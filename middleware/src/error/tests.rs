//! Rules of the envelope and of the table behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
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
async fn a_grpc_status_says_code_message_and_when_to_come_back() {
    let id = CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap();
    let wait = Duration::from_secs(300);
    let mut response = ApiError::rate_limit_exceeded(5, wait).into_response::<Inner>();
    render(&mut response, &ErrorFormat::Grpc, &id);
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    for (name, want) in [
        ("content-type", "application/grpc"),
        ("grpc-status", "8"),
        (
            "grpc-message",
            "The limit of 5 requests a minute is reached.",
        ),
        ("retry-after", "300"),
    ] {
        assert_eq!(headers[name], want);
    }
    let details = STANDARD_NO_PAD.decode(&headers["grpc-status-details-bin"]);
    let details = String::from_utf8_lossy(&details.unwrap()).into_owned();
    for want in [
        "type.googleapis.com/google.rpc.ErrorInfo",
        "RATE_LIMIT_EXCEEDED",
        // 300 as a varint: a field of five bytes around one of three.
        "google.rpc.RetryInfo\u{12}\u{5}\n\u{3}\u{8}",
        "req_1",
    ] {
        assert!(details.contains(want), "{want:?} in {details:?}");
    }
    assert_eq!(text(response).await, "");
}

#[test]
fn every_code_is_one_of_grpc_that_asks_the_same_of_a_client() {
    let id = CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap();
    for code in Code::ALL {
        let want = match code.name() {
            "idempotency_key_in_progress" => "10",
            "idempotency_outcome_unknown" | "outside_24h_window" => "9",
            "idempotency_response_not_stored" => "6",
            "endpoint_not_found" | "method_not_allowed" => "12",
            "message_not_found" => "5",
            "insufficient_scope" | "agent_not_authorized" => "7",
            "request_timeout" | "timeout" => "4",
            "payload_too_large" => "8",
            _ => match code.error_type() {
                ErrorType::Authentication => "16",
                ErrorType::Quota | ErrorType::RateLimit => "8",
                ErrorType::Idempotency | ErrorType::Validation => "3",
                ErrorType::Upstream => "14",
                _ => "13",
            },
        };
        let mut response = ApiError::new(*code, "50 % für alle").into_response::<Inner>();
        render(&mut response, &ErrorFormat::Grpc, &id);
        let headers = response.headers();
        assert_eq!(headers["grpc-status"], want, "{}", code.name());
        assert_eq!(headers["grpc-message"], "50 %25 f%C3%BCr alle");
    }
}

#[test]
fn only_a_grpc_call_is_answered_in_its_way() {
    for (media_type, want) in [
        ("application/grpc", "Grpc"),
        ("application/grpc+proto", "Grpc"),
        ("application/grpc-web+proto", "Envelope"),
        ("application/json", "Envelope"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let format = ErrorFormat::Grpc.suited_to(&headers);
        assert_eq!(format!("{format:?}"), want, "{media_type}");
    }
    let format = ErrorFormat::Problem.suited_to(&HeaderMap::new());
    assert_eq!(format!("{format:?}"), "Problem");
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
