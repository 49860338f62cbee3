//! What must hold at every moment, and what must be seen to happen.

use stateright::Property;

use super::protocol::{Protocol, Upstream};
use super::record::Record;
use super::state::{Answer, Attempt, Reply, Request, Stage, State};

/// The key has one effect, however many requests, processes and copies there are.
pub(super) const ONE_EFFECT: &str = "never two effects";
/// A caller told 409, a replay, or a 503 because nothing was executed: *this request* has
/// no effect. Told a 4xx by the handler: neither has any whose claim was granted before.
pub(super) const NO_MEANS_NO: &str = "never an effect after the caller was told no";
/// Whatever is told or kept is the response to the first effect.
pub(super) const FIRST_RESPONSE: &str = "a response that is kept or replayed is the first one";
/// No later step overwrites a kept response or takes it away.
pub(super) const STAYS_KEPT: &str = "a response that was kept stays";
/// An upstream that executes is never asked twice where the first may have had an effect.
pub(super) const UNKNOWN_IS_FINAL: &str = "after a request of unknown outcome none is sent";
/// A caller of an upstream that de-duplicates is never left with *unknown*.
pub(super) const NEVER_UNKNOWN: &str = "a de-duplicated outcome is never unknown";

/// The properties of the protocol in front of this kind of upstream.
pub(super) fn of(upstream: Upstream) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(ONE_EFFECT, |_, s: &State| s.effects.iter().sum::<u8>() <= 1),
        Property::always(NO_MEANS_NO, |_, s: &State| !has_a_ruled_out_effect(s)),
        Property::always(FIRST_RESPONSE, |_, s: &State| {
            all_responses_are_the_first(s)
        }),
        Property::always(STAYS_KEPT, |_, s: &State| {
            !s.was_kept || matches!(s.record, Record::Done(_))
        }),
        Property::sometimes("a response is kept", |_, s: &State| {
            matches!(s.record, Record::Done(_))
        }),
        Property::sometimes("a response cannot be kept", |_, s: &State| {
            is_told(s, |answer| answer == Answer::NotStored)
        }),
        Property::sometimes("a response is replayed", |_, s: &State| {
            is_told(s, |answer| matches!(answer, Answer::Replayed(_)))
        }),
        Property::sometimes("a repeat is told to wait", |_, s: &State| {
            is_told(s, |answer| answer == Answer::InProgress)
        }),
        Property::sometimes(
            "one request is told no, another is executed",
            |_, s: &State| is_told(s, |answer| answer == Answer::No) && s.first.is_some(),
        ),
    ];
    match upstream {
        Upstream::Executes => all.extend(of_one_that_executes()),
        Upstream::Deduplicates => all.extend(of_one_that_deduplicates()),
    }
    all
}

fn of_one_that_executes() -> [Property<Protocol>; 3] {
    [
        Property::always(UNKNOWN_IS_FINAL, |_, s: &State| {
            let is_open = |a: &&Attempt| is_sent_and_not_refused(a);
            s.attempts.iter().filter(is_open).count() <= 1
        }),
        Property::sometimes("a repeat is told that nobody knows", |_, s: &State| {
            is_told(s, |answer| answer == Answer::OutcomeUnknown)
        }),
        Property::sometimes("a lapsed claim is finished late", |_, s: &State| {
            let kept = matches!(s.record, Record::Done(_));
            kept && is_told(s, |answer| answer == Answer::OutcomeUnknown)
        }),
    ]
}

fn of_one_that_deduplicates() -> [Property<Protocol>; 4] {
    [
        Property::always(NEVER_UNKNOWN, |_, s: &State| {
            s.record != Record::Unknown && !is_told(s, |answer| answer == Answer::OutcomeUnknown)
        }),
        Property::sometimes(
            "a claim is taken over from a stopped process",
            |_, s: &State| {
                matches!(s.record, Record::Claimed { token, .. }
                if s.attempts[..token].iter().any(|a| matches!(a.stage, Stage::Sent(None))))
            },
        ),
        Property::sometimes("the upstream replays", |_, s: &State| {
            has_reply(s, |reply| matches!(reply, Reply::Replayed(_)))
        }),
        Property::sometimes("the upstream refuses a lapsed lease", |_, s: &State| {
            has_reply(s, |reply| reply == Reply::LeaseEnded)
        }),
    ]
}

fn has_a_ruled_out_effect(state: &State) -> bool {
    let mut pairs = state.ruled_out.iter().zip(&state.effects);
    pairs.any(|(&ruled_out, &effects)| ruled_out && effects > 0)
}

fn all_responses_are_the_first(state: &State) -> bool {
    let answers = state.attempts.iter().filter_map(|a| match a.answer {
        Some(Answer::First(response) | Answer::Replayed(response)) => Some(response),
        _ => None,
    });
    let kept = match state.record {
        Record::Done(response) => Some(response),
        _ => None,
    };
    answers
        .chain(kept)
        .all(|response| state.first == Some(response))
}

fn is_sent_and_not_refused(attempt: &Attempt) -> bool {
    attempt.request != Request::NotSent && attempt.answer != Some(Answer::No)
}

fn is_told(state: &State, what: impl Fn(Answer) -> bool) -> bool {
    state.attempts.iter().filter_map(|a| a.answer).any(what)
}

fn has_reply(state: &State, what: impl Fn(Reply) -> bool) -> bool {
    let replies = state.attempts.iter().filter_map(|a| match a.stage {
        Stage::Sent(reply) => reply,
        _ => None,
    });
    replies.into_iter().any(what)
}
