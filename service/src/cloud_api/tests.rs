//! What answers prove, and what callers are told of them.

use super::*;

#[test]
fn an_answer_proves_what_it_says_and_no_more() {
    let graph = |code: u32| format!(r#"{{"error":{{"message":"x","code":{code}}}}}"#);
    for (status, body, want) in [
        (
            200,
            r#"{"messages":[{"id":"wamid.A"}]}"#.to_owned(),
            "accepted wamid.A",
        ),
        (
            201,
            r#"{"messages":[{"id":"wamid.A","message_status":"new"}],"x":1}"#.to_owned(),
            "accepted wamid.A",
        ),
        (200, String::new(), "unknown"),
        (200, "{}".to_owned(), "unknown"),
        (200, r#"{"messages":[]}"#.to_owned(), "unknown"),
        (200, r#"{"messages":[{"id":""}]}"#.to_owned(), "unknown"),
        (200, r#"{"messages":[{"id":7}]}"#.to_owned(), "unknown"),
        (200, "<html>".to_owned(), "unknown"),
        (302, String::new(), "unknown"),
        (400, graph(131_026), "fail 131026"),
        (404, graph(132_001), "fail 132001"),
        (400, graph(130_429), "retry 130429"),
        (429, graph(131_056), "retry 131056"),
        (500, graph(131_016), "retry 131016"),
        (401, graph(190), "pause 190"),
        (500, graph(3), "pause 3"),
        (403, graph(250), "pause 250"),
        (400, graph(999_999), "fail 999999"),
        (500, graph(999_999), "retry 999999"),
        (
            400,
            r#"{"error":{"code":"131026","error_data":"text"}}"#.to_owned(),
            "fail 131026",
        ),
        (502, "<html>".to_owned(), "unknown"),
        (503, String::new(), "unknown"),
        (504, r#"{"error":"late"}"#.to_owned(), "unknown"),
        (429, String::new(), "retry 429"),
        (403, "<html>".to_owned(), "pause 403"),
        (404, "<html>".to_owned(), "fail 404"),
        (413, "\u{fffd}".to_owned(), "fail 413"),
    ] {
        let reply = Reply::Answered {
            status,
            retry_after: None,
            body: body.clone().into(),
        };
        assert_eq!(shown(&classify(&reply)), want, "{status} {body}");
    }
    assert_eq!(classify(&Reply::NotSent), Outcome::NotSent);
    assert_eq!(classify(&Reply::Lost), Outcome::Unknown);
}

#[test]
fn the_names_of_the_customer_and_the_trace_are_kept() {
    let body = r#"{"contacts":[{"input":"+55 11 9","wa_id":"5511","user_id":"BR.1"}],
                   "messages":[{"id":"w"}]}"#;
    let taken = answered(200, body, None);
    let Outcome::Accepted { recipient, .. } = classify(&taken) else {
        panic!("{taken:?}");
    };
    assert_eq!(recipient.phone.as_deref(), Some("5511"));
    assert_eq!(recipient.id.as_deref(), Some("BR.1"));
    let body = r#"{"error":{"code":4,"fbtrace_id":"Az8","error_subcode":2494055}}"#;
    let Outcome::Rejected(refusal) = classify(&answered(400, body, Some(9000))) else {
        panic!("it is refused");
    };
    assert_eq!(refusal.fbtrace_id.as_deref(), Some("Az8"));
    assert_eq!(refusal.http_status, 400);
    assert_eq!(
        refusal.asked().as_secs(),
        3600,
        "no longer than is believed"
    );
    assert_eq!(
        refusal.wait(1, 0).unwrap().as_secs(),
        3600,
        "the longer one"
    );
}

#[test]
fn callers_are_told_our_words() {
    let told = failure(131_047);
    assert_eq!(told.code, "window_closed");
    assert_eq!(
        told.message,
        "The 24-hour window is closed. (WhatsApp error 131047)"
    );
    assert_eq!(failure(7).code, "rejected");
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { wamid, .. } => format!("accepted {wamid}"),
        Outcome::NotSent => "not sent".into(),
        Outcome::Unknown => "unknown".into(),
        Outcome::Rejected(Refusal { code, action, .. }) => match action {
            Action::Fail | Action::WindowClosed => format!("fail {code}"),
            Action::Pause { .. } => format!("pause {code}"),
            Action::Retry { .. } => format!("retry {code}"),
        },
    }
}

fn answered(status: u16, body: &str, retry_after: Option<u64>) -> Reply {
    Reply::Answered {
        status,
        retry_after: retry_after.map(Duration::from_secs),
        body: body.to_owned().into(),
    }
}
