//! Whether a request may be sent a second time.

use http::Method;

use super::fault::Kind;

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The connection was kept from an earlier request.
    pub(crate) reused: bool,
    /// The whole request is still at hand.
    pub(crate) replayable: bool,
    /// The service executes a repetition no second time.
    pub(crate) repeatable: bool,
}

/// Judges a failed attempt. The second one goes over a new connection, so there is never
/// a third.
///
/// A kept connection may have been closed by the service just as the request was sent; a
/// new one that fails tells of a service that is in trouble, and is left alone.
pub(crate) fn may_retry(fault: Kind, attempt: Attempt) -> bool {
    attempt.reused
        && attempt.replayable
        && match fault {
            Kind::Unsent => true,
            Kind::Cut => attempt.repeatable,
            Kind::BodyCut
            | Kind::BodySlow
            | Kind::BodyTooLong
            | Kind::ConnectRefused
            | Kind::ConnectSlow
            | Kind::Full
            | Kind::Malformed
            | Kind::Slow => false,
        }
}

/// Whether a repetition has no further effect (RFC 9110 §9.2.2), or a service that
/// de-duplicates gives it none.
pub(crate) fn is_repeatable(method: &Method, deduplicated: bool) -> bool {
    deduplicated || method.is_idempotent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_where_that_cannot_do_harm() {
        let (yes, no) = (true, false);
        for (fault, reused, replayable, repeatable, want) in [
            (Kind::Unsent, yes, yes, no, yes),
            (Kind::Unsent, yes, yes, yes, yes),
            (Kind::Unsent, no, yes, yes, no),
            (Kind::Unsent, yes, no, yes, no),
            (Kind::Cut, yes, yes, yes, yes),
            (Kind::Cut, yes, yes, no, no),
            (Kind::Cut, yes, no, yes, no),
            (Kind::Cut, no, yes, yes, no),
            (Kind::Slow, yes, yes, yes, no),
            (Kind::Malformed, yes, yes, yes, no),
            (Kind::ConnectRefused, no, yes, yes, no),
        ] {
            let attempt = Attempt {
                reused,
                replayable,
                repeatable,
            };
            assert_eq!(may_retry(fault, attempt), want, "{fault:?} {attempt:?}");
        }
    }

    #[test]
    fn a_service_that_deduplicates_makes_every_method_repeatable() {
        for (method, deduplicated, want) in [
            (Method::GET, false, true),
            (Method::PUT, false, true),
            (Method::DELETE, false, true),
            (Method::POST, false, false),
            (Method::PATCH, false, false),
            (Method::POST, true, true),
        ] {
            assert_eq!(is_repeatable(&method, deduplicated), want, "{method}");
        }
    }
}
