//! Random identifiers, from the host's source of randomness.

use crate::hostcalls;

/// 128 random bits; `None` should the host have none to give.
#[must_use]
pub fn bits() -> Option<[u8; 16]> {
    let mut bits = [0; 16];
    hostcalls::random(&mut bits).ok().map(|()| bits)
}

/// A random UUID (RFC 9562, version 4) in lower case.
#[must_use]
pub fn uuid() -> Option<String> {
    bits().map(format_uuid)
}

/// 32 random hexadecimal digits in lower case, as W3C trace ids are.
#[must_use]
pub fn hex32() -> Option<String> {
    bits().map(|bits| hex(&bits))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
        .collect()
}

fn format_uuid(mut bits: [u8; 16]) -> String {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bits;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, digit) in hex(&bits).chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_carries_version_and_variant() {
        assert_eq!(format_uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(format_uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
