//! When a certificate ends, read out of its DER: rustls judges a peer's certificate and says
//! nothing of our own.

use vestibule::clock::Timestamp;

/// `notAfter` of a certificate (RFC 5280 §4.1); none where it is not one.
pub(crate) fn ends(certificate: &[u8]) -> Option<Timestamp> {
    let mut certificate = certificate;
    let mut fields = inside(&mut certificate, SEQUENCE)?;
    let mut fields = inside(&mut fields, SEQUENCE)?;
    // A certificate of version 1 does not say so.
    if fields.first() == Some(&VERSION) {
        element(&mut fields)?;
    }
    for _serial_algorithm_issuer in 0..3 {
        element(&mut fields)?;
    }
    let mut validity = inside(&mut fields, SEQUENCE)?;
    element(&mut validity)?;
    let (kind, text) = element(&mut validity)?;
    moment(kind, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` until 2049, with a year of four digits after that (RFC 5280 §4.1.2.5).
fn moment(kind: u8, text: &str) -> Option<Timestamp> {
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let digits = rest.strip_suffix('Z').filter(|rest| rest.len() == 10)?;
    let part = |at: usize| digits.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    let days = days(year, month, day)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp::from_unix_seconds(seconds))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; none where it is earlier.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let since_year_0 = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    since_year_0.checked_sub(719_468)
}

/// The contents of the next element, which is to be of this kind.
fn inside<'a>(input: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    let (kind, contents) = element(input)?;
    (kind == wanted).then_some(contents)
}

/// Takes the next element: its kind and its contents (X.690 §8.1).
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [kind, first, rest @ ..] = *input else {
        return None;
    };
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            if !(1..=4).contains(&bytes.len()) {
                return None;
            }
            let add = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
            (bytes.iter().fold(0, add), rest)
        }
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((*kind, contents))
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found_before_2050_and_after() {
        for (year, month, day, want) in [
            (2027, 3, 1, 1_803_859_200),
            (2028, 2, 29, 1_835_395_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
        ] {
            let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let want = Some(Timestamp::from_unix_seconds(want));
            assert_eq!(ends(certificate.der()), want, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        assert!(ends(&der).is_some());
        for length in 0..100 {
            assert_eq!(ends(&der[..length]), None, "the first {length} bytes");
        }
        assert_eq!(moment(UTC_TIME, "2713010000000"), None);
        assert_eq!(moment(UTC_TIME, "271301000000Z"), None);
    }
}
