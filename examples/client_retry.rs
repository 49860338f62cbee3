//! A client that repeats what may be repeated, and nothing else: it sends one order, once.
//!
//! ```sh
//! cargo run -p vestibule-examples --example in_process_axum &
//! cargo run -p vestibule-examples --example client_retry    # made: {"id":1,…} after 1 attempt
//! ```
//!
//! One Idempotency-Key belongs to one operation and is kept across all of its attempts, so
//! that an answer that was lost can be asked for again. What an answer means for the next
//! attempt is one function, [`next_attempt`], to be taken along: it knows no client library,
//! no clock and no dice. The address of another API, and a key for the operation, may follow
//! as arguments; whoever runs it again with the key gets the first answer.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use http::header::RETRY_AFTER;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let api = arguments.next();
    let api = api.as_deref().unwrap_or("http://127.0.0.1:8080");
    // In production this is stored with the order before it is sent the first time, so that
    // a client that is killed goes on under the same key.
    let key = arguments.next();
    let key = key.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(35))
        .build()?;
    let order = client
        .post(format!("{api}/v1/orders"))
        .bearer_auth("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f")
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(r#"{"item":"tea"}"#);
    let (end, attempts) = operate(&order, Duration::from_secs(60)).await;
    let plural = if attempts == 1 { "" } else { "s" };
    writeln!(std::io::stdout(), "{end} after {attempts} attempt{plural}")?;
    Ok(())
}

/// What an attempt came to.
#[derive(Clone, Debug, Default)]
struct Attempted {
    /// None where no answer came: refused, cut, or too late.
    status: Option<u16>,
    /// `error.code` in the body.
    code: String,
    retry_after: Option<Duration>,
    /// The answer is the one of an earlier attempt (`Idempotent-Replayed`).
    is_replay: bool,
}

/// What is to be done after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It succeeded.
    Made,
    /// It was made before; its answer is not kept, so look it up.
    MadeUnseen,
    /// Nobody can know whether it was made: look, or ask a person. Never under a new key.
    Unknown,
    /// It was refused, and will be again.
    Refused,
    /// Wait, and send the same once more.
    Again(Duration),
    /// There is no time for another attempt. It may have been made.
    OutOfTime,
}

/// Decides by what the attempt number `attempts` (from 1) of a keyed request came to, the
/// time that is left for the operation, and a die between 0 and 1.
fn next_attempt(came: &Attempted, attempts: u32, left: Duration, die: f64) -> Next {
    let is_transient = match (came.status, &*came.code) {
        // No answer: it may have been made, and the key makes asking again harmless.
        (None, _) => true,
        (Some(200..=299), _) => return Next::Made,
        (Some(409), "idempotency_key_in_progress") => true,
        (Some(409), "idempotency_response_not_stored") => return Next::MadeUnseen,
        (Some(409), "idempotency_outcome_unknown") => return Next::Unknown,
        // A failure that was kept is the answer, however often it is asked for.
        _ if came.is_replay => false,
        (Some(408 | 429), _) => true,
        (Some(500..=599), _) => true,
        _ => false,
    };
    if !is_transient {
        return Next::Refused;
    }
    // Full jitter: clients that failed together do not come back together. What the server
    // asks for is waited for first, and then spread too.
    let ceiling = (BASE * 2_u32.saturating_pow(attempts.min(16) - 1)).min(MOST);
    let wait = came.retry_after.unwrap_or_default() + ceiling.mul_f64(die.clamp(0.0, 1.0));
    if wait < left {
        Next::Again(wait)
    } else {
        Next::OutOfTime
    }
}

/// Sends a keyed request until there is an end, or no time for another attempt.
async fn operate(request: &reqwest::RequestBuilder, within: Duration) -> (String, u32) {
    let began = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let attempt = request.try_clone().expect("its body is in memory");
        let left = within.saturating_sub(began.elapsed());
        // An attempt has no more time than the operation.
        let answer = tokio::time::timeout(left, send(attempt)).await;
        let (came, body) = answer.unwrap_or_default();
        let left = within.saturating_sub(began.elapsed());
        match next_attempt(&came, attempts, left, rand::random()) {
            Next::Again(wait) => tokio::time::sleep(wait).await,
            Next::Made => return (format!("made: {body}"), attempts),
            Next::MadeUnseen => return ("made, its answer was not kept".into(), attempts),
            Next::Unknown => return ("nobody knows whether it was made".into(), attempts),
            Next::Refused => return (format!("refused: {body}"), attempts),
            Next::OutOfTime => return ("given up, it may have been made".into(), attempts),
        }
    }
}

/// One attempt, and the body of its answer; nothing where there is no whole answer.
async fn send(attempt: reqwest::RequestBuilder) -> (Attempted, String) {
    let Ok(answer) = attempt.send().await else {
        return Default::default();
    };
    let text = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
    let mut came = Attempted {
        status: Some(answer.status().as_u16()),
        code: String::new(),
        // An HTTP date, which this API never sends, counts as none.
        retry_after: text(RETRY_AFTER.as_str())
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
        is_replay: text("idempotent-replayed").as_deref() == Some("true"),
    };
    let Ok(body) = answer.text().await else {
        return Default::default();
    };
    let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let code = json["error"]["code"].as_str();
    code.unwrap_or_default().clone_into(&mut came.code);
    (came, body)
}

/// The most that is waited after the first attempt; it doubles with each.
const BASE: Duration = Duration::from_millis(200);

/// The most that is waited beyond what the server asked for.
const MOST: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_decides_whether_it_is_asked_for_again() {
        for (status, code, is_replay, want) in [
            (201, "", false, Next::Made),
            (201, "", true, Next::Made),
            (401, "invalid_api_key", false, Next::Refused),
            (404, "endpoint_not_found", false, Next::Refused),
            (409, "idempotency_key_in_progress", false, AGAIN),
            (409, "idempotency_outcome_unknown", false, Next::Unknown),
            (
                409,
                "idempotency_response_not_stored",
                false,
                Next::MadeUnseen,
            ),
            (409, "seat_taken", false, Next::Refused),
            (
                422,
                "idempotency_key_in_use_with_different_params",
                false,
                Next::Refused,
            ),
            (408, "request_timeout", false, AGAIN),
            (429, "rate_limit_exceeded", false, AGAIN),
            (500, "internal_error", false, AGAIN),
            (500, "internal_error", true, Next::Refused),
            (502, "", false, AGAIN),
            (503, "overloaded", false, AGAIN),
            (504, "timeout", false, AGAIN),
            (302, "", false, Next::Refused),
        ] {
            let came = Attempted {
                status: Some(status),
                code: code.into(),
                is_replay,
                ..Attempted::default()
            };
            assert_eq!(
                next_attempt(&came, 1, MINUTE, 0.0),
                want,
                "{status} {code} {is_replay}"
            );
        }
        assert_eq!(
            next_attempt(&Attempted::default(), 1, MINUTE, 0.0),
            AGAIN,
            "no answer"
        );
    }

    #[test]
    fn the_wait_is_what_the_server_asks_for_and_jitter_that_doubles_up_to_a_bound() {
        for (retry_after, attempts, die, want) in [
            (None, 1, 1.0, 200),
            (None, 1, 0.5, 100),
            (None, 2, 1.0, 400),
            (None, 5, 1.0, 3_200),
            (None, 8, 1.0, 20_000),
            (None, u32::MAX, 1.0, 20_000),
            (Some(7), 1, 0.0, 7_000),
            (Some(7), 2, 0.5, 7_200),
        ] {
            let came = Attempted {
                status: Some(503),
                retry_after: retry_after.map(Duration::from_secs),
                ..Attempted::default()
            };
            let next = next_attempt(&came, attempts, MINUTE, die);
            assert_eq!(
                next,
                Next::Again(Duration::from_millis(want)),
                "{came:?} {attempts} {die}"
            );
        }
    }

    #[test]
    fn what_could_only_come_too_late_is_not_waited_for() {
        for (retry_after, left, want) in [
            (5, 6, Next::Again(Duration::from_secs(5))),
            (5, 5, Next::OutOfTime),
            (3_600, 60, Next::OutOfTime),
        ] {
            let came = Attempted {
                status: Some(429),
                retry_after: Some(Duration::from_secs(retry_after)),
                ..Attempted::default()
            };
            let left = Duration::from_secs(left);
            assert_eq!(
                next_attempt(&came, 1, left, 0.0),
                want,
                "{retry_after} of {left:?}"
            );
        }
    }

    const AGAIN: Next = Next::Again(Duration::ZERO);

    const MINUTE: Duration = Duration::from_secs(60);
}
