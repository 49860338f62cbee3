//! The decisions of delivery, row by row.

use super::*;
use crate::cloud_api::{Reply, classify};

#[test]
fn an_attempt_is_settled_by_what_its_answer_proves() {
    let graph = |code: u32| answered(400, &format!(r#"{{"error":{{"code":{code}}}}}"#), None);
    for (reply, refusals, outcome, state, wait) in [
        (
            answered(200, r#"{"messages":[{"id":"w"}]}"#, None),
            0,
            "accepted",
            State::Submitted,
            None,
        ),
        (Reply::NotSent, 0, "not_sent", State::RetryWait, Some(0)),
        (Reply::Lost, 0, "unknown", State::Uncertain, None),
        (
            answered(502, "", None),
            0,
            "unknown",
            State::Uncertain,
            None,
        ),
        (graph(131_026), 0, "rejected", State::Failed, None),
        (graph(190), 0, "rejected", State::Blocked, Some(60)),
        (graph(130_429), 0, "rejected", State::RetryWait, Some(1)),
        (graph(130_429), 2, "rejected", State::RetryWait, Some(4)),
        (graph(131_000), 1, "rejected", State::RetryWait, Some(60)),
        (graph(131_000), 2, "rejected", State::Failed, None),
        (
            answered(429, "", Some(90)),
            0,
            "rejected",
            State::RetryWait,
            Some(90),
        ),
        (
            answered(429, "", Some(u64::MAX)),
            0,
            "rejected",
            State::RetryWait,
            Some(3600),
        ),
    ] {
        let departure = Departure {
            refusals,
            ..departure()
        };
        let settled = settle(&classify(&reply), &departure, NOW, 0);
        let waits = settled.not_before.map(|at| at.since(NOW).as_secs());
        assert_eq!(
            (settled.outcome, settled.state, waits),
            (outcome, state, wait),
            "{reply:?}"
        );
        assert_eq!(
            settled.failure.is_some(),
            state == State::Failed,
            "{reply:?}"
        );
    }
}

#[test]
fn waits_are_spread_over_their_range() {
    for (reply, draw, millis) in [
        (Reply::NotSent, 500, 500),
        (Reply::NotSent, 501, 0),
        (answered(429, "", None), 1000, 3000),
        (answered(429, "", None), 1001, 2000),
    ] {
        let settled = settle(&classify(&reply), &departure(), NOW, draw);
        let wait = settled.not_before.unwrap().since(NOW);
        assert_eq!(wait.as_millis(), millis, "{reply:?} {draw}");
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
    let opened = |ago: u64| {
        Some(Window::opened_at(Timestamp::from_unix_millis(
            NOW.as_unix_millis() - ago * 1000,
        )))
    };
    let later = NOW + Duration::from_secs(1);
    for (kind, expires_at, window, want) in [
        (Kind::Text, later, opened(0), None),
        (Kind::Text, later, opened(86_394), None),
        (Kind::Text, later, opened(86_395), Some("window_closed")),
        (Kind::Text, later, None, Some("window_closed")),
        (Kind::Template, later, None, None),
        (Kind::Template, NOW, opened(0), Some("queue_expired")),
    ] {
        let failed = may_depart(kind, expires_at, window, NOW).err();
        assert_eq!(
            failed.as_ref().map(|failure| &*failure.code),
            want,
            "{kind:?} {window:?}"
        );
    }
}

#[test]
fn a_webhook_that_came_first_is_not_taken_back() {
    for (current, settled, want) in [
        (State::Dispatching, State::Submitted, State::Submitted),
        (State::Dispatching, State::RetryWait, State::RetryWait),
        (State::Dispatching, State::Uncertain, State::Uncertain),
        (State::Delivered, State::Submitted, State::Delivered),
        (State::Delivered, State::Uncertain, State::Delivered),
        (State::Sent, State::Failed, State::Sent),
        (State::Failed, State::RetryWait, State::Failed),
    ] {
        assert_eq!(
            settled_state(current, settled),
            want,
            "{current:?} {settled:?}"
        );
    }
}

fn departure() -> Departure {
    Departure {
        message: MessageId::mint(NOW, 0),
        attempt: 1,
        refusals: 0,
        token: "m1.t".into(),
        phone_number_id: "10".into(),
        to: PhoneNumber::parse("+15551234567").unwrap(),
        content: Content::text("hello").unwrap(),
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
