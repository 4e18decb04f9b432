//! Whether two texts are the same value (RFC 6902, section 4.6).

use crate::json;

/// Whether they are: numbers by what they mean, strings by what they say, objects in any order.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    match (one.first(), other.first()) {
        (Some(b'{'), Some(b'{')) => match (json::members(one), json::members(other)) {
            (Some(one), Some(other)) => {
                one.iter().all(|(name, _)| last(&other, name).is_some())
                    && other.iter().all(|(name, _)| match (last(&one, name), last(&other, name)) {
                        (Some(one), Some(other)) => equal(one, other),
                        _ => false,
                    })
            }
            _ => false,
        },
        (Some(b'['), Some(b'[')) => match (json::items(one), json::items(other)) {
            (Some(one), Some(other)) => {
                one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| equal(one, other))
            }
            _ => false,
        },
        (Some(b'"'), Some(b'"')) => one == other || same_text(one, other),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => one == other || number(one) == number(other),
        _ => one == other,
    }
}

/// The member of this name, the last one if there are several.
fn last<'a>(members: &[(&[u8], &'a [u8])], name: &[u8]) -> Option<&'a [u8]> {
    members.iter().rfind(|(seen, _)| *seen == name || same_text(seen, name)).map(|(_, value)| *value)
}

fn same_text(one: &[u8], other: &[u8]) -> bool {
    json::decode(one).is_some_and(|one| json::decode(other) == Some(one))
}

/// Sign, digits without zeros around them, and the power of ten of the last digit: no float is asked, so 30 digits
/// differ in the thirtieth.
#[derive(Debug, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

fn number(text: &[u8]) -> Option<Number> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, std::str::from_utf8(text.get(at..)?.get(1..)?).ok()?.parse().ok()?),
        None => (text, 0_i64),
    };
    let negative = mantissa.starts_with(b"-");
    let decimals = mantissa.iter().rev().position(|&byte| byte == b'.').unwrap_or_default();
    let digits = mantissa.iter().copied().filter(u8::is_ascii_digit);
    let mut digits: Vec<u8> = digits.skip_while(|&digit| digit == b'0').collect();
    let mut exponent = exponent.checked_sub(i64::try_from(decimals).ok()?)?;
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent = exponent.checked_add(1)?;
    }
    if digits.is_empty() {
        return Some(Number { negative: false, digits, exponent: 0 });
    }
    Some(Number { negative, digits, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (one, other, expected) in [
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("100", "1E+2", true),
            ("-0", "0.0", true),
            ("1", "-1", false),
            ("0.1", "0.01", false),
            ("123456789012345678901234567890", "123456789012345678901234567891", false),
            ("1e400", "1e401", false),
            ("1e99999999999999999999", "1e99999999999999999999", true),
            (r#""a""#, r#""\u0061""#, true),
            (r#""a""#, r#""b""#, false),
            (r#""\ud800""#, r#""\ud800""#, true),
            (r#""\ud800""#, r#""\ud801""#, false),
            ("\"1\"", "1", false),
            (r#"{"a":1,"b":[2]}"#, r#"{ "b" : [ 2.0 ] , "a" : 1 }"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, false),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
            ("[1,2]", "[2,1]", false),
            ("[]", "{}", false),
            ("null", "false", false),
            ("true", "true", true),
        ] {
            assert_eq!(equal(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
        }
    }
}
