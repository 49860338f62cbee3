//! The decisions of delivery, row by row.

use super::*;
use crate::cloud_api::{Reply, classify};

#[test]
fn an_attempt_is_settled_by_what_its_answer_proves() {
    let graph = |code: u32| answered(400, &format!(r#"{{"error":{{"code":{code}}}}}"#), None);
    for (reply, refusals, outcome, next, wait) in [
        (
            answered(200, r#"{"messages":[{"id":"w"}]}"#, None),
            0,
            "accepted",
            "submitted",
            None,
        ),
        (Reply::NotSent, 0, "not_sent", "retry", Some(0)),
        (Reply::Lost, 0, "unknown", "uncertain", None),
        (answered(502, "", None), 0, "unknown", "uncertain", None),
        (graph(131_026), 0, "rejected", "failed", None),
        (graph(190), 0, "rejected", "blocked", Some(0)),
        (graph(131_056), 0, "rejected", "retry", Some(1)),
        (graph(131_056), 2, "rejected", "retry", Some(16)),
        (graph(131_000), 2, "rejected", "failed", None),
        (
            answered(429, "", Some(90)),
            0,
            "rejected",
            "retry",
            Some(90),
        ),
        (
            answered(429, "", Some(u64::MAX)),
            0,
            "rejected",
            "retry",
            Some(3600),
        ),
    ] {
        let departure = Departure {
            refusals,
            ..departure()
        };
        let settled = settle(&classify(&reply), &departure, NOW, 0);
        let waits = match settled.next {
            Next::Retry { at, .. } | Next::Blocked { at } => Some(at.since(NOW).as_secs()),
            _ => None,
        };
        assert_eq!(
            (settled.outcome, settled.next.as_str(), waits),
            (outcome, next, wait),
            "{reply:?}"
        );
    }
}

#[test]
fn a_refusal_holds_what_it_is_about_and_nothing_else() {
    for (code, scope, pair, fast) in [
        (131_026, None, false, false),
        (131_056, None, true, false),
        (130_429, Some("number:10"), false, true),
        (80_007, Some("account:1"), false, false),
        (4, Some("app"), false, false),
        (190, Some("token:t"), false, false),
        (368, Some("account:1"), false, false),
    ] {
        let reply = answered(400, &format!(r#"{{"error":{{"code":{code}}}}}"#), None);
        let settled = settle(&classify(&reply), &departure(), NOW, 0);
        let struck = settled.strike.as_ref().map(|strike| &*strike.scope);
        assert_eq!(struck, scope, "{code}");
        let also = (settled.pair_until.is_some(), settled.is_too_fast);
        assert_eq!(also, (pair, fast), "{code}");
    }
}

#[test]
fn a_window_that_is_open_here_is_tried_once_more() {
    let reply = answered(400, r#"{"error":{"code":131047}}"#, None);
    for (is_well_inside, refusals, next, closes) in [
        (true, 0, "retry", false),
        (true, 1, "failed", true),
        (false, 0, "failed", true),
    ] {
        let departure = Departure {
            is_well_inside,
            refusals,
            ..departure()
        };
        let settled = settle(&classify(&reply), &departure, NOW, 0);
        let came_to = (settled.next.as_str(), settled.closes_window);
        assert_eq!(came_to, (next, closes), "{is_well_inside} {refusals}");
        assert_eq!(settled.is_disputed(), next == "retry");
    }
}

#[test]
fn waits_are_spread_over_their_range() {
    for (draw, millis) in [(0, 0), (500, 500), (501, 0)] {
        let settled = settle(&classify(&Reply::NotSent), &departure(), NOW, draw);
        let Next::Retry { at, .. } = settled.next else {
            panic!("{settled:?}");
        };
        assert_eq!(at.since(NOW).as_millis(), millis, "{draw}");
    }
}

#[test]
fn connections_are_tried_at_longer_and_longer_intervals() {
    for (attempt, millis) in [
        (1, 500),
        (2, 1000),
        (6, 16_000),
        (7, 30_000),
        (u32::MAX, 30_000),
    ] {
        assert_eq!(reconnect_wait(attempt).as_millis(), millis, "{attempt}");
    }
}

#[test]
fn a_text_departs_inside_its_window_and_a_template_at_any_time() {
    let open = Verdict::Open { until: NOW };
    for (kind, window, allows_unknown, departs) in [
        (Kind::Text, open, false, true),
        (Kind::Text, Verdict::Closed, true, false),
        (Kind::Text, Verdict::Unknown, false, false),
        (Kind::Text, Verdict::Unknown, true, true),
        (Kind::Template, Verdict::Closed, false, true),
    ] {
        let may = may_depart(kind, window, allows_unknown);
        assert_eq!(may.is_ok(), departs, "{kind:?} {window:?} {allows_unknown}");
    }
}

fn departure() -> Departure {
    Departure {
        message: MessageId::mint(NOW, 0),
        attempt: 1,
        refusals: 0,
        began: NOW,
        token: "m1.t".into(),
        line: Line {
            phone_number_id: "10".into(),
            account: "1".into(),
            token: "t".into(),
            per_second: 80,
            burst: 5,
        },
        to: PhoneNumber::parse("+15551234567").unwrap(),
        content: Content::text("hello").unwrap(),
        is_well_inside: false,
        correlation_id: "req_1".into(),
        traceparent: None,
    }
}

fn answered(status: u16, body: &str, retry_after: Option<u64>) -> Reply {
    Reply::Answered {
        status,
        retry_after: retry_after.map(Duration::from_secs),
        body: body.to_owned().into(),
    }
}

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
