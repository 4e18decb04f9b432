//! Points in time as RFC 3339 writes them: `2026-01-05T00:00:00Z`, `2026-01-05T08:00:00.5+08:00`.

use std::time::Duration;

/// Time since the Unix epoch, in whole seconds; `None` where the text is no such date, or one before 1970.
pub fn parse(text: &str) -> Option<Duration> {
    let ([year, month, day], rest) = numbers(text.as_bytes(), b"0000-00-00T")?;
    let ([hour, minute, second], rest) = numbers(rest, b"00:00:00")?;
    if second > 59 {
        return None;
    }
    let local = days_since_epoch(year, month, day)?
        .checked_mul(86_400)?
        .checked_add(seconds(hour, minute)?)?
        .checked_add(second)?;
    let since_epoch = match without_fraction(rest)? {
        [b'Z' | b'z'] => local,
        [sign, offset @ ..] => {
            let ([hour, minute, _], rest) = numbers(offset, b"00:00")?;
            let offset = seconds(hour, minute).filter(|_| rest.is_empty())?;
            match sign {
                b'+' => local.checked_sub(offset)?,
                b'-' => local.checked_add(offset)?,
                _ => return None,
            }
        }
        [] => return None,
    };
    Some(Duration::from_secs(since_epoch))
}

/// Up to three numbers, where the text is like `shape`, in which `0` is a digit; and what follows.
fn numbers<'a>(text: &'a [u8], shape: &[u8]) -> Option<([u64; 3], &'a [u8])> {
    let (text, rest) = text.split_at_checked(shape.len())?;
    let mut numbers = [0_u64; 3];
    let mut number = 0_usize;
    for (&byte, &wanted) in text.iter().zip(shape) {
        if wanted == b'0' && byte.is_ascii_digit() {
            let value = numbers.get_mut(number)?;
            *value = value.wrapping_mul(10).wrapping_add((byte & 0xf).into());
        } else if wanted != b'0' && byte.eq_ignore_ascii_case(&wanted) {
            number = number.saturating_add(1);
        } else {
            return None;
        }
    }
    Some((numbers, rest))
}

fn without_fraction(text: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = text.strip_prefix(b".") else { return Some(text) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    fraction.get(digits..).filter(|_| digits > 0)
}

fn seconds(hour: u64, minute: u64) -> Option<u64> {
    if hour > 23 || minute > 59 {
        return None;
    }
    hour.checked_mul(60)?.checked_add(minute)?.checked_mul(60)
}

/// Days of whole years, of whole months of this one, and of this one.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month.checked_sub(1)?).ok()?;
    let before = day.checked_sub(1).filter(|before| months.get(month).is_some_and(|days| before < days))?;
    let of_months: u64 = months.iter().take(month).sum();
    // Leap days up to the end of a year.
    let leap_days = |year: u64| (year / 4).wrapping_sub(year / 100).wrapping_add(year / 400);
    let of_leap_years = leap_days(year.checked_sub(1)?).checked_sub(leap_days(1969))?;
    let of_years = year.checked_sub(1970)?.checked_mul(365)?;
    of_years.checked_add(of_leap_years)?.checked_add(of_months)?.checked_add(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rfc_3339_writes() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-05T00:00:00Z", 1_767_571_200),
            ("2026-01-05T08:00:00+08:00", 1_767_571_200),
            ("2026-01-04T19:00:00.25-05:00", 1_767_571_200),
            ("2026-01-05t00:00:00.123456789z", 1_767_571_200),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-03-01T00:00:00Z", 1_709_251_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "2026-01-05",
            "2026-01-05T00:00:00",
            "2026-01-05 00:00:00Z",
            "2026-01-05T00:00Z",
            "2026-1-5T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-05T24:00:00Z",
            "2026-01-05T00:60:00Z",
            "2026-01-05T00:00:60Z",
            "2026-01-05T00:00:00.Z",
            "2026-01-05T00:00:00+8:00",
            "2026-01-05T00:00:00+08:00x",
            "2026-01-05T00:00:00UTC",
            "+026-01-05T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-05T00:00:00é",
            "é026-01-05T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
