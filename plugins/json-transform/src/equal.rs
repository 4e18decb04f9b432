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
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => one == other || same_number(one, other),
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

fn same_number(one: &[u8], other: &[u8]) -> bool {
    number(one).is_some_and(|one| number(other) == Some(one))
}

/// Sign, digits without zeros around them, and the power of ten of the last digit: no float is asked, so 30 digits
/// differ in the thirtieth.
#[derive(Debug, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: Vec<u8>,
    exponent: Integer,
}

fn number(text: &[u8]) -> Option<Number> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, Integer::new(text.get(at..)?.get(1..)?)),
        None => (text, Integer::default()),
    };
    let negative = mantissa.starts_with(b"-");
    let decimals = mantissa.iter().rev().position(|&byte| byte == b'.').unwrap_or_default();
    let digits = mantissa.iter().copied().filter(u8::is_ascii_digit);
    let mut digits: Vec<u8> = digits.skip_while(|&digit| digit == b'0').collect();
    let mut shift = i64::try_from(decimals).ok()?.checked_neg()?;
    while digits.last() == Some(&b'0') {
        digits.pop();
        shift = shift.checked_add(1)?;
    }
    if digits.is_empty() {
        return Some(Number { negative: false, digits, exponent: Integer::default() });
    }
    Some(Number { negative, digits, exponent: exponent.plus(shift)? })
}

/// An integer of any length: `1e99999999999999999999` is a JSON number too.
#[derive(Debug, Default, PartialEq, Eq)]
struct Integer {
    negative: bool,
    /// Without leading zeros; zero has none.
    digits: Vec<u8>,
}

impl Integer {
    /// Reads digits, with a sign or without.
    fn new(text: &[u8]) -> Self {
        let digits = text.iter().copied().filter(u8::is_ascii_digit).skip_while(|&digit| digit == b'0');
        let digits: Vec<u8> = digits.collect();
        Self { negative: text.starts_with(b"-") && !digits.is_empty(), digits }
    }

    fn plus(self, shift: i64) -> Option<Self> {
        /// So many digits fit into an `i64`.
        const SHORT: usize = 18;
        if let Some(number) = std::str::from_utf8(&self.digits).ok().filter(|digits| digits.len() <= SHORT) {
            let number: i64 = if number.is_empty() { 0 } else { number.parse().ok()? };
            let number = if self.negative { number.checked_neg()? } else { number };
            return Some(Self::new(i128::from(number).checked_add(shift.into())?.to_string().as_bytes()));
        }
        // It is larger than any shift, so its sign stays.
        let grows = self.negative == (shift < 0);
        let mut carry = shift.unsigned_abs();
        let mut digits = self.digits;
        for digit in digits.iter_mut().rev() {
            let (value, part) = (u64::from(digit.wrapping_sub(b'0')), carry.wrapping_rem(10));
            carry = carry.wrapping_div(10);
            let (value, over) = if grows {
                let sum = value.wrapping_add(part);
                (sum.wrapping_rem(10), sum >= 10)
            } else {
                (value.wrapping_add(10).wrapping_sub(part).wrapping_rem(10), value < part)
            };
            carry = carry.wrapping_add(over.into());
            *digit = b'0'.wrapping_add(u8::try_from(value).ok()?);
            if carry == 0 {
                break;
            }
        }
        let mut text = if self.negative { b"-".to_vec() } else { Vec::new() };
        text.extend(carry.to_string().into_bytes());
        text.extend(digits);
        Some(Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_exponent_of_a_number_moves_with_its_point(exponent in "-?[1-9][0-9]{0,30}", zeros in 0..40_usize) {
            let exponent: i128 = exponent.parse().unwrap();
            let shifted = exponent.checked_sub(i128::try_from(zeros).unwrap()).unwrap();
            let (one, other) = (format!("7e{exponent}"), format!("7{}e{shifted}", "0".repeat(zeros)));
            assert!(equal(one.as_bytes(), other.as_bytes()), "{one} {other}");
            let next = format!("7e{}", exponent.checked_add(1).unwrap());
            assert!(!equal(one.as_bytes(), next.as_bytes()), "{one} {next}");
        }
    }

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
            ("1e99999999999999999999", "1e99999999999999999998", false),
            ("1e99999999999999999999", "1e-99999999999999999999", false),
            ("1e99999999999999999999", "-1e99999999999999999999", false),
            ("1e99999999999999999999", "2e99999999999999999999", false),
            ("1e99999999999999999999", "10E+099999999999999999998", true),
            ("1e100000000000000000000", "10e99999999999999999999", true),
            ("0.01e100000000000000000000", "1e99999999999999999998", true),
            ("1e-100000000000000000000", "0.1e-99999999999999999999", true),
            ("1e-100000000000000000000", "10e-100000000000000000001", true),
            ("1e9223372036854775807", "10e9223372036854775806", true),
            ("1e9223372036854775807", "1e9223372036854775808", false),
            ("0e99999999999999999999", "0", true),
            ("1e0", "1e-0", true),
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
