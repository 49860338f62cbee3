//! Durations and sizes, which carry their unit.

use std::time::Duration;

/// `250ms`, `15s`, `5m`, `24h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// `300`, `300B`, `512KB`, `4MB`, `1GB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_their_unit() {
        for (given, want) in [
            ("250ms", Some(250)),
            ("15s", Some(15_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("15", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("15 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(duration(given), want.map(Duration::from_millis), "{given}");
        }
        for (given, want) in [
            ("0", Some(0)),
            ("300B", Some(300)),
            ("512KB", Some(512 << 10)),
            ("4MB", Some(4 << 20)),
            ("1GB", Some(1 << 30)),
            ("4mb", None),
            ("4M", None),
            ("", None),
            ("18446744073709551615GB", None),
        ] {
            assert_eq!(size(given), want, "{given}");
        }
    }
}
