//! The names of our headers, who may set them, and how their values are written.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// `Idempotency-Key`: the caller's name for one execution (contract §2, §6).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `Idempotent-Replayed: true`, on a replay and only there.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// `RateLimit`, of the IETF draft: where that option is on.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// `RateLimit-Policy`, of the IETF draft: where that option is on.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// `Vestibule-Identity`: the signed assertion that tells the upstream who is calling.
pub const VESTIBULE_IDENTITY: HeaderName = HeaderName::from_static("vestibule-identity");

/// `Vestibule-Replayed`: how a de-duplicating upstream says that its answer is the first
/// one; the value is the correlation id of the request that was executed. It never
/// leaves the edge.
pub const VESTIBULE_REPLAYED: HeaderName = HeaderName::from_static("vestibule-replayed");

/// `X-Correlation-ID`, on every request to the upstream and on every response.
pub const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// `X-Original-Correlation-ID`, on a replay: the id of the request that was executed.
pub const X_ORIGINAL_CORRELATION_ID: HeaderName =
    HeaderName::from_static("x-original-correlation-id");

/// `X-RateLimit-Limit`: requests a window.
pub const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");

/// `X-RateLimit-Remaining`: requests left in this window.
pub const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// `X-RateLimit-Reset`: Unix seconds at which the window ends, rounded up.
pub const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Whether only the layers may set this header.
///
/// Such a header is removed from what a client sends and from what an upstream
/// answers, so that neither can speak for the layers (contract §2).
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-ratelimit-")
        || name.starts_with("vestibule-")
        || name == IDEMPOTENT_REPLAYED.as_str()
        || name == X_ORIGINAL_CORRELATION_ID.as_str()
}

/// Removes every reserved header.
pub fn strip_reserved(headers: &mut HeaderMap) {
    // Nearly every message has none, and then nothing is allocated.
    if !headers.keys().any(is_reserved) {
        return;
    }
    let reserved: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(name))
        .cloned()
        .collect();
    for name in reserved {
        headers.remove(name);
    }
}

/// The value of `Retry-After`: whole seconds, rounded up, at least 1 (contract §2).
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(wait).max(1))
}

/// Whether a `Content-Type` is this media type, in the format of a suffix or not, whatever its
/// parameters.
pub(crate) fn is_media_type(value: &HeaderValue, wanted: &str) -> bool {
    let mut parts = value.as_bytes().split(|byte| *byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    essence
        .split_at_checked(wanted.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(wanted.as_bytes()) && matches!(rest, [] | [b'+', ..])
        })
}

/// Three numbers as header values that share one allocation: every response has them.
pub(crate) fn numbers(numbers: [u64; 3]) -> [HeaderValue; 3] {
    let mut text = [0; 3 * DIGITS_MAX];
    let mut start = text.len();
    let places = numbers.map(|mut number| {
        let end = start;
        // Two digits for each division, of which a response has enough to be felt.
        while number >= 10 {
            start -= 2;
            text[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
            number /= 100;
        }
        if number > 0 || start == end {
            start -= 1;
            text[start] = b'0' + number as u8;
        }
        start..end
    });
    let text = Bytes::from_owner(text);
    places.map(|place| {
        HeaderValue::from_maybe_shared(text.slice(place)).expect("a digit is visible ASCII")
    })
}

/// A duration in whole seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The one value of a header, or nothing where it is absent or sent more than once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// What [`u64::MAX`] has.
const DIGITS_MAX: usize = 20;

/// The numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number: u8 = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_layers_may_set_reserved_headers() {
        for (name, reserved) in [
            ("idempotent-replayed", true),
            ("x-ratelimit-limit", true),
            ("x-ratelimit-anything", true),
            ("x-original-correlation-id", true),
            ("vestibule-identity", true),
            ("vestibule-anything", true),
            ("x-correlation-id", false),
            ("idempotency-key", false),
            ("x-rate-limit", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("a"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("b"));
            strip_reserved(&mut headers);
            assert_eq!(headers.is_empty(), reserved, "{name}");
        }
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_at_least_one() {
        for (millis, want) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            assert_eq!(
                retry_after(Duration::from_millis(millis)),
                want,
                "{millis} ms"
            );
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        for given in [
            [0, 7, 10],
            [99, 100, 101],
            [60, 59, 1_700_000_000],
            [u64::MAX; 3],
        ] {
            let written = numbers(given).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(written, given.map(|number| number.to_string()));
        }
    }

    #[test]
    fn a_header_sent_twice_has_no_single_value() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, &X_CORRELATION_ID), None);
        headers.append(X_CORRELATION_ID, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &X_CORRELATION_ID).unwrap(), "a");
        headers.append(X_CORRELATION_ID, HeaderValue::from_static("b"));
        assert_eq!(single(&headers, &X_CORRELATION_ID), None);
    }
}
