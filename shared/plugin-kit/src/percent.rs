//! Percent-encoding (RFC 3986, section 2.1), on bytes.

use std::borrow::Cow;

/// Decodes `%XX`; anything that is not a complete escape stays as it is. Never decode twice.
#[must_use]
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'%') {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, escaped(tail)) {
            (b'%', Some((byte, after))) => {
                decoded.push(byte);
                rest = after;
            }
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(decoded)
}

/// Reads the two digits after a `%`: the byte, and what follows.
#[must_use]
pub fn escaped(after_percent: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = after_percent.split_first_chunk::<2>()?;
    Some((hex(high)? << 4 | hex(low)?, rest))
}

/// Appends `%XX`.
pub fn encode_into(byte: u8, encoded: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    encoded.extend([b'%', digit(byte >> 4), digit(byte & 0xf)]);
}

/// Encodes all bytes but the unreserved characters (RFC 3986, section 2.3): the result is one segment of a path, or a
/// name or value of a query, whatever the bytes.
#[must_use]
pub fn encode(raw: &[u8]) -> Vec<u8> {
    encode_unless(raw, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Encodes all bytes but those that `keeps` is true for.
pub(crate) fn encode_unless(raw: &[u8], keeps: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(raw.len());
    for &byte in raw {
        if keeps(byte) {
            encoded.push(byte);
        } else {
            encode_into(byte, &mut encoded);
        }
    }
    encoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once_and_leaves_broken_escapes_alone() {
        for (raw, decoded) in [
            ("abc", "abc"),
            ("a%20b", "a b"),
            ("%252e", "%2e"),
            ("%2", "%2"),
            ("%", "%"),
            ("%zz%41", "%zzA"),
            ("%c3%A9", "é"),
        ] {
            assert_eq!(decode(raw.as_bytes()), decoded.as_bytes(), "{raw}");
        }
        assert_eq!(*decode(b"%ff"), [0xff]);
    }

    #[test]
    fn encodes_all_but_unreserved_characters() {
        assert_eq!(encode(b"aZ09-._~"), b"aZ09-._~");
        assert_eq!(encode(b"/?&=+ %;\xff"), b"%2F%3F%26%3D%2B%20%25%3B%FF");
    }

    #[test]
    fn encodes_in_upper_case() {
        let mut encoded = Vec::new();
        encode_into(0xaf, &mut encoded);
        assert_eq!(encoded, b"%AF");
    }
}
