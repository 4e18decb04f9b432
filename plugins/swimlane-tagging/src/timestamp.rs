//! Points in time as RFC 3339 writes them: `2026-01-05T00:00:00Z`, `2026-01-05T08:00:00.5+08:00`.

use std::time::Duration;

/// Time since the Unix epoch; `None` where the text is no such date, or one before 1970.
pub fn parse(text: &str) -> Option<Duration> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = number(rest.strip_prefix(['T', 't'])?, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (millis, zone) = fraction(rest)?;
    if day == 0 || day > days_in(year, month)? {
        return None;
    }
    let seconds = time(hour, minute)?
        .checked_add(second)
        .filter(|_| second < 60)?
        .checked_add(days_since_epoch(year, month, day)?.checked_mul(86_400)?)?
        .checked_sub(offset(zone)?)?;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?).saturating_add(Duration::from_millis(millis)))
}

fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let all_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| all_digits)?, rest))
}

/// The milliseconds of `.123456`; what is finer is cut off.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    if digits.is_empty() {
        return None;
    }
    let millis = digits.bytes().chain(*b"00").take(3);
    let millis =
        millis.fold(0_u64, |millis, digit| millis.wrapping_mul(10).wrapping_add((digit & 0xf).into()));
    Some((millis, rest))
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+')?),
    };
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    time(hour, minute)?.checked_mul(sign).filter(|_| rest.is_empty())
}

fn time(hour: i64, minute: i64) -> Option<i64> {
    if hour > 23 || minute > 59 {
        return None;
    }
    hour.checked_mul(60)?.checked_add(minute)?.checked_mul(60)
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let mut days = day.checked_sub(1)?;
    for earlier in 1..month {
        days = days.checked_add(days_in(year, earlier)?)?;
    }
    // Leap days of the years before this one.
    let before = year.checked_sub(1)?;
    let leaps = |year: i64| {
        let [fourth, hundredth, four_hundredth] = [4, 100, 400].map(|every| year.div_euclid(every));
        fourth.checked_sub(hundredth)?.checked_add(four_hundredth)
    };
    let leap_days = leaps(before)?.checked_sub(leaps(1969)?)?;
    year.checked_sub(1970)?.checked_mul(365)?.checked_add(leap_days)?.checked_add(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_rfc_3339_writes() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-05T00:00:00Z", 1_767_571_200_000),
            ("2026-01-05T08:00:00+08:00", 1_767_571_200_000),
            ("2026-01-04T19:00:00.25-05:00", 1_767_571_200_250),
            ("2026-01-05t00:00:00.123456789z", 1_767_571_200_123),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2024-03-01T00:00:00Z", 1_709_251_200_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
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
