//! A phone number in E.164 form, the one form in which the service takes and sends it.

use std::fmt;

/// `+` and seven to fifteen digits, the first of them not zero.
///
/// It is personal data: [`Debug`](fmt::Debug) shows only how it ends.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(Box<str>);

// === impl PhoneNumber ===

impl PhoneNumber {
    /// Reads `^\+[1-9]\d{6,14}$` (contract §3).
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+')?.as_bytes();
        let fits = DIGITS.contains(&digits.len())
            && digits[0] != b'0'
            && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| Self(text.into()))
    }

    /// The number with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number as webhooks write it: without the `+`.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber(+…{})", &self.0[self.0.len() - 2..])
    }
}

/// ITU-T E.164 ends at fifteen; Meta has no customer with fewer than seven.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_e164_and_nothing_else() {
        for (given, valid) in [
            ("+15551234567", true),
            ("+1234567", true),
            ("+123456789012345", true),
            ("+123456", false),
            ("+1234567890123456", false),
            ("+05551234567", false),
            ("15551234567", false),
            ("+1 555 123 4567", false),
            ("+1555123456a", false),
            ("+１５５５１２３４５６７", false),
            ("++15551234567", false),
            ("+15551234567\n", false),
            ("+", false),
            ("", false),
        ] {
            assert_eq!(PhoneNumber::parse(given).is_some(), valid, "{given:?}");
        }
    }

    #[test]
    fn debug_shows_only_the_end() {
        let shown = format!("{:?}", PhoneNumber::parse("+15551234567").unwrap());
        assert_eq!(shown, "PhoneNumber(+…67)");
    }
}
