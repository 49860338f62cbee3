//! Whom a fault strikes, when, and how often.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[test]
fn a_fault_strikes_whom_it_is_for_and_only_so_often() {
    let mut faults = ordered(&[
        json!({"fault": "graph", "code": 131016, "times": 2, "to": "+1 650", "type": "text"}),
    ]);
    for (pnid, user, kind, strikes) in [
        ("n", "1651", "text", false),
        ("n", "1650", "image", false),
        ("n", "1650", "text", true),
        ("m", "1650", "text", true),
        ("n", "1650", "text", false),
    ] {
        let subject = Subject {
            pnid,
            user: [user, ""],
            kind,
        };
        let effect = faults.take(Stage::Request, &subject);
        assert_eq!(effect.is_some(), strikes, "{pnid} {user} {kind}");
    }
    assert!(faults.is_empty());
    assert_eq!(faults.struck(), 2);
}

#[test]
fn a_fault_waits_for_its_match_and_can_last_for_ever() {
    for (given, want) in [
        (json!({}), "x...."),
        (json!({"times": 2}), "xx..."),
        (json!({"times": null}), "xxxxx"),
        (json!({"times": 0}), "xxxxx"),
        (json!({"nth": 3}), "..x.."),
        (json!({"nth": 2, "times": 2}), ".xx.."),
        (json!({"probability": 0.0, "times": 0}), "....."),
        (json!({"probability": 1.0}), "x...."),
    ] {
        let mut fault = json!({"fault": "drop"});
        fault
            .as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        assert_eq!(pattern(&mut ordered(&[fault]), 5), want, "{given}");
    }
}

#[test]
fn luck_is_a_function_of_the_seed() {
    let half = json!({"fault": "drop", "times": 0, "probability": 0.5});
    let seeded = json!({"fault": "drop", "times": 0, "probability": 0.5, "seed": 9});
    let draw = |fault: &Value, seed| {
        let mut faults = Faults::new(Seed::new(seed));
        faults.order(order(fault)).unwrap();
        pattern(&mut faults, 64)
    };
    assert_eq!(draw(&half, 1), draw(&half, 1));
    assert_ne!(draw(&half, 1), draw(&half, 2));
    assert_eq!(draw(&seeded, 1), draw(&seeded, 2));
    let struck = draw(&half, 1).matches('x').count();
    assert!((16..48).contains(&struck), "{struck} of 64");
}

#[test]
fn faults_strike_at_their_stage_and_in_order() {
    let mut faults = ordered(
        &[
            "bad_signature",
            "process_then_reset",
            "reorder",
            "process_then_hang",
        ]
        .map(|fault| json!({"fault": fault, "pnid": "n"})),
    );
    let mut take = |stage, pnid| {
        faults.take(
            stage,
            &Subject {
                pnid,
                ..Subject::default()
            },
        )
    };
    assert_eq!(take(Stage::Request, "other"), None);
    assert_eq!(take(Stage::Request, "n"), Some(Effect::ProcessThenReset));
    assert_eq!(
        take(Stage::Request, "n"),
        Some(Effect::ProcessThenHang { ms: 60_000 })
    );
    assert_eq!(take(Stage::Emission, "n"), None);
    assert_eq!(take(Stage::Attempt, "n"), Some(Effect::BadSignature));
    assert_eq!(
        take(Stage::Plan, "n"),
        Some(Effect::Reorder { window_ms: None })
    );
}

#[test]
fn effects_of_several_sorts_strike_together_and_one_of_each() {
    let mut faults = ordered(&[
        json!({"fault": "ts_ms"}),
        json!({"fault": "ts_ms"}),
        json!({"fault": "unknown_field", "times": 0}),
        json!({"fault": "omit_opaque_on_failed"}),
        json!({"fault": "drop"}),
    ]);
    let mut take = |kind| {
        let subject = Subject {
            kind,
            ..Subject::default()
        };
        faults.take_all(Stage::Shape, &subject)
    };
    assert_eq!(take("sent"), [Effect::TsMs, Effect::UnknownField]);
    assert_eq!(
        take("failed"),
        [
            Effect::TsMs,
            Effect::UnknownField,
            Effect::OmitOpaqueOnFailed
        ]
    );
    assert_eq!(take("failed"), [Effect::UnknownField]);
}

#[test]
fn an_effect_waits_for_a_webhook_that_it_suits() {
    for (fault, kind, strikes) in [
        ("unknown_status", "text", false),
        ("unknown_status", "sent", true),
        ("unknown_type", "sent", false),
        ("unknown_type", "call", false),
        ("unknown_type", "text", true),
        ("omit_opaque_on_failed", "sent", false),
        ("omit_opaque_on_failed", "failed", true),
        ("ts_missing", "call", true),
    ] {
        let mut faults = ordered(&[json!({"fault": fault})]);
        let subject = Subject {
            kind,
            ..Subject::default()
        };
        let taken = faults.take_all(Stage::Shape, &subject);
        assert_eq!(!taken.is_empty(), strikes, "{fault} {kind}");
    }
}

#[test]
fn a_standing_fault_holds_for_its_time_and_for_its_number() {
    let mut faults = ordered(&[
        json!({"fault": "rate", "mps": 3, "pnid": "n", "ms": 1000}),
        json!({"fault": "rate", "mps": 5}),
    ]);
    for (pnid, after, want) in [("n", 999, 3), ("n", 1000, 5), ("m", 0, 5)] {
        let now = NOW + Duration::from_millis(after);
        let rate = faults.standing(pnid, now, |effect| matches!(effect, Effect::Rate { .. }));
        assert!(
            matches!(rate, Some(Effect::Rate { mps, .. }) if *mps == want),
            "{pnid} after {after}: {rate:?}"
        );
    }
    let later = NOW + Duration::from_millis(1000);
    assert_eq!(faults.waiting(later).len(), 1);
    faults.clear();
    assert!(faults.standing("n", NOW, |_| true).is_none());
}

#[test]
fn the_last_to_end_decides_until_when() {
    let until = |faults: &[Value]| {
        ordered(faults).standing_until("", NOW, |effect| matches!(effect, Effect::Outage { .. }))
    };
    let ends = |ms| Some(Some(NOW + Duration::from_millis(ms)));
    for (given, want) in [
        (vec![], None),
        (vec![json!({"fault": "outage", "ms": 5})], ends(5)),
        (
            vec![
                json!({"fault": "outage", "ms": 9}),
                json!({"fault": "outage", "ms": 5}),
            ],
            ends(9),
        ),
        (
            vec![
                json!({"fault": "outage"}),
                json!({"fault": "outage", "ms": 5}),
            ],
            Some(None),
        ),
    ] {
        assert_eq!(until(&given), want, "{given:?}");
    }
}

#[test]
fn what_is_scheduled_is_due_once_at_its_time() {
    let at = NOW.as_unix_millis() + 70;
    let mut faults = ordered(&[
        json!({"fault": "token_revoke_at", "in_ms": 50, "pnid": "n"}),
        json!({"fault": "waba_lock_at", "at_ms": at}),
        json!({"fault": "drop"}),
    ]);
    for (after, want) in [(49, 0), (50, 1), (60, 0), (70, 1), (80, 0)] {
        let due = faults.due(NOW + Duration::from_millis(after));
        assert_eq!(due.len(), want, "after {after}");
    }
}

#[test]
fn a_malformed_order_is_refused_in_a_sentence() {
    for (given, want) in [
        (json!({"fault": "graph", "code": 42}), "code = 42"),
        (json!({"fault": "graph"}), "missing field `code`"),
        (json!({"fault": "flood"}), "unknown variant `flood`"),
        (
            json!({"fault": "graph", "code": 2, "tmies": 3}),
            "unknown field `tmies`",
        ),
        (json!({"fault": "reorder", "times": -1}), "times = -1"),
        (json!({"fault": "reorder", "pnid": 1}), "pnid = 1"),
        (
            json!({"fault": "drop", "probability": 2}),
            "probability = 2",
        ),
        (json!({"fault": "drop", "nth": "last"}), "nth = \"last\""),
        (json!({"fault": "http", "status": 99}), "status = 99"),
        (json!({"fault": "http", "status": 100}), "status = 100"),
        (
            json!({"fault": "http", "status": 200, "content_type": "a\nb"}),
            "content_type = ",
        ),
        (
            json!({"fault": "duplicate", "copies": 1000}),
            "copies = 1000",
        ),
        (json!({"fault": "delay", "ms": [9, 1]}), "ms: the least"),
        (
            json!({"fault": "drip", "bytes_per_second": 0}),
            "bytes_per_second = 0",
        ),
        (
            json!({"fault": "oversize", "bytes": 1_000_000_000}),
            "bytes = 1000000000",
        ),
        (json!({"fault": "tls_fail", "pnid": "n"}), "pnid = \"n\""),
        (json!({"fault": "reset_mid_body", "to": "1"}), "to = \"1\""),
        (
            json!({"fault": "rate", "mps": 1, "type": "text"}),
            "type = ",
        ),
    ] {
        let refusal = Fault::parse(given.as_object().unwrap().clone(), NOW).unwrap_err();
        assert!(refusal.contains(want), "{given}: {refusal}");
    }
}

#[test]
fn the_queue_is_bounded() {
    let mut faults = Faults::new(Seed::new(1));
    let reorder = order(&json!({"fault": "reorder"}));
    for _ in 0..MAX_FAULTS {
        faults.order(reorder.clone()).unwrap();
    }
    assert!(faults.order(reorder).is_err());
}

/// Which of so many webhooks are struck.
fn pattern(faults: &mut Faults, webhooks: usize) -> String {
    let mut strike = || faults.take(Stage::Emission, &Subject::default()).is_some();
    (0..webhooks)
        .map(|_| if strike() { 'x' } else { '.' })
        .collect()
}

fn ordered(orders: &[Value]) -> Faults {
    let mut faults = Faults::new(Seed::new(1));
    for fault in orders {
        faults.order(order(fault)).unwrap();
    }
    faults
}

fn order(order: &Value) -> Fault {
    Fault::parse(order.as_object().unwrap().clone(), NOW).unwrap()
}

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
