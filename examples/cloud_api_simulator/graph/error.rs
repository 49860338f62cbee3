//! Meta's errors: one table from code to status and words, and the body that carries them.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    subcode: Option<u32>,
    details: String,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    code: u32,
    status: u16,
    title: &'static str,
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with Meta's own words.
    pub(crate) fn new(code: u32) -> Self {
        Self::because(code, row(code).title)
    }

    /// A refusal that tells what was wrong with this request.
    pub(crate) fn because(code: u32, details: impl Into<String>) -> Self {
        Self {
            code,
            subcode: None,
            details: details.into(),
        }
    }

    /// An object that does not exist, or that this token may not see: Graph tells them not apart.
    pub(crate) fn no_such_object(id: &str) -> Self {
        Self {
            subcode: Some(33),
            ..Self::because(
                100,
                format!(
                    "Unsupported post request. Object with ID '{id}' does not exist, cannot be \
                     loaded due to missing permissions, or does not support this operation"
                ),
            )
        }
    }

    /// The HTTP status, as documented for the code.
    pub(crate) fn status(&self) -> StatusCode {
        let status = StatusCode::from_u16(row(self.code).status);
        status.expect("the table holds valid statuses")
    }

    /// The body of the answer.
    pub(crate) fn body(&self, fbtrace_id: &str) -> Value {
        let mut error = json!({
            "message": self.message(),
            "type": self.kind(),
            "code": self.code,
            "error_data": {"messaging_product": "whatsapp", "details": self.details},
            "fbtrace_id": fbtrace_id,
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        json!({"error": error})
    }

    fn message(&self) -> String {
        match self.subcode {
            Some(_) => self.details.clone(),
            None => format!("(#{}) {}", self.code, row(self.code).title),
        }
    }

    const fn kind(&self) -> &'static str {
        match self.subcode {
            Some(_) => "GraphMethodException",
            None => "OAuthException",
        }
    }
}

/// Whether the table knows a code.
pub(crate) fn is_known(code: u32) -> bool {
    TABLE.iter().any(|row| row.code == code)
}

/// An error as a `failed` status carries it.
pub(crate) fn in_status(code: u32) -> Value {
    let title = row(code).title;
    json!({
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": async_details(code)},
        "href": HREF,
    })
}

fn async_details(code: u32) -> &'static str {
    match code {
        131026 => "Message Undeliverable.",
        131047 => {
            "Message failed to send because more than 24 hours have passed since the customer \
             last replied to this number."
        }
        131049 => {
            "In order to maintain a healthy ecosystem engagement, the message failed to be delivered."
        }
        _ => row(code).title,
    }
}

fn row(code: u32) -> &'static Row {
    let found = TABLE.iter().find(|row| row.code == code);
    found.unwrap_or(&UNKNOWN)
}

const fn at(code: u32, status: u16, title: &'static str) -> Row {
    Row {
        code,
        status,
        title,
    }
}

const HREF: &str = "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes/";

const UNKNOWN: Row = at(1, 400, "API Unknown");

/// Codes, statuses and titles of Meta's page; where it is silent the status is 400.
const TABLE: [Row; 70] = [
    at(0, 401, "AuthException"),
    UNKNOWN,
    at(2, 503, "API Service"),
    at(3, 500, "API Method"),
    at(4, 400, "Application request limit reached"),
    at(10, 403, "Permission Denied"),
    at(17, 400, "User request limit reached"),
    at(32, 400, "Page request limit reached"),
    at(33, 400, "Parameter value is not valid"),
    at(100, 400, "Invalid parameter"),
    at(190, 401, "Access token has expired"),
    at(200, 403, "API Permission"),
    at(299, 403, "API Permission"),
    at(368, 403, "Temporarily blocked for policies violations"),
    at(613, 400, "Calls to this api have exceeded the rate limit"),
    at(80007, 400, "Rate limit issues"),
    at(130429, 400, "Rate limit hit"),
    at(130472, 400, "User's number is part of an experiment"),
    at(
        130497,
        403,
        "Business account is restricted from messaging users in this country",
    ),
    at(131000, 500, "Something went wrong"),
    at(131005, 403, "Access denied"),
    at(131008, 400, "Required parameter is missing"),
    at(131009, 400, "Parameter value is not valid"),
    at(131016, 500, "Service unavailable"),
    at(131021, 400, "Recipient cannot be sender"),
    at(131026, 400, "Message undeliverable"),
    at(131030, 400, "Recipient phone number not in allowed list"),
    at(131031, 403, "Account has been locked"),
    at(131037, 400, "Display name approval needed"),
    at(131042, 400, "Business eligibility payment issue"),
    at(131045, 500, "Incorrect certificate"),
    at(131047, 400, "Re-engagement message"),
    at(131048, 400, "Spam rate limit hit"),
    at(131049, 400, "Meta chose not to deliver"),
    at(131050, 400, "User has stopped marketing messages"),
    at(131051, 400, "Unsupported message type"),
    at(131052, 400, "Media download error"),
    at(131053, 400, "Media upload error"),
    at(131055, 400, "Method not allowed"),
    at(
        131056,
        400,
        "(Business Account, Consumer Account) pair rate limit hit",
    ),
    at(131057, 500, "Account in maintenance mode"),
    at(131060, 400, "Message unavailable"),
    at(
        131062,
        400,
        "Business-scoped user id is not supported for this message",
    ),
    at(131063, 400, "Marketing templates are disabled on Cloud API"),
    at(131064, 400, "Messaging limit reduced"),
    at(132000, 400, "Template param count mismatch"),
    at(132001, 404, "Template does not exist"),
    at(132005, 400, "Template hydrated text too long"),
    at(132007, 400, "Template format character policy violated"),
    at(132008, 400, "Template parameter value is not valid"),
    at(132012, 400, "Template parameter format mismatch"),
    at(132015, 400, "Template is paused"),
    at(132016, 400, "Template is disabled"),
    at(132068, 400, "Flow is blocked"),
    at(132069, 400, "Flow is throttled"),
    at(133000, 500, "Incomplete deregistration"),
    at(133004, 503, "Server temporarily unavailable"),
    at(133005, 400, "Two step verification PIN mismatch"),
    at(133006, 400, "Phone number re-verification needed"),
    at(133008, 400, "Too many two step verification PIN guesses"),
    at(133009, 400, "Two step verification PIN guessed too fast"),
    at(133010, 400, "Phone number not registered"),
    at(
        133015,
        400,
        "Please wait a few minutes before attempting to register this phone number",
    ),
    at(
        133016,
        400,
        "Account register deregister rate limit exceeded",
    ),
    at(
        134011,
        400,
        "Payments terms of service have not been accepted",
    ),
    at(134100, 400, "Only marketing messages are supported"),
    at(134101, 400, "Template is syncing"),
    at(134102, 500, "Template is unavailable for use"),
    at(135000, 400, "Generic user error"),
    at(137000, 400, "Recipient identity key hash mismatch"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_metas() {
        let body = Refusal::because(130429, "Cloud API message throughput has been reached.")
            .body("Az8or2yhqkZfEZ-_4Qn_Bam");
        let want = json!({"error": {
            "message": "(#130429) Rate limit hit",
            "type": "OAuthException",
            "code": 130429,
            "error_data": {
                "messaging_product": "whatsapp",
                "details": "Cloud API message throughput has been reached.",
            },
            "fbtrace_id": "Az8or2yhqkZfEZ-_4Qn_Bam",
        }});
        assert_eq!(body, want);
    }

    #[test]
    fn an_unknown_object_is_a_graph_method_exception() {
        let refusal = Refusal::no_such_object("42");
        let body = refusal.body("A");
        assert_eq!(body["error"]["type"], "GraphMethodException");
        assert_eq!(body["error"]["error_subcode"], 33);
        assert_eq!(refusal.status().as_u16(), 400);
    }

    #[test]
    fn statuses_follow_the_table() {
        for (code, status) in [
            (0, 401),
            (2, 503),
            (10, 403),
            (190, 401),
            (130429, 400),
            (131016, 500),
            (131047, 400),
            (132001, 404),
            (133004, 503),
            (999_999, 400),
        ] {
            assert_eq!(Refusal::new(code).status().as_u16(), status, "{code}");
        }
    }

    #[test]
    fn each_code_has_one_row() {
        let mut codes: Vec<u32> = TABLE.iter().map(|row| row.code).collect();
        assert!(codes.is_sorted());
        codes.dedup();
        assert_eq!(codes.len(), TABLE.len());
    }
}
