//! What reads bytes of strangers, for the fuzzer and for property tests: none of it may panic, and no path may pass the
//! safety check that a server could read as another.

use crate::config::{DotSegments, DoubleSlash, EncodedSlash, Safety, UnsafeBytes};

/// The safety check in all its settings: what it passes is clean to somebody who never saw its code, and passes again
/// unchanged.
#[must_use]
pub fn safety(bytes: &[u8]) -> bool {
    settings().all(|safety| {
        let Ok(path) = safety.path(bytes) else { return true };
        is_clean(&path, safety.double_slash == DoubleSlash::Keep)
            && safety.path(&path).is_ok_and(|again| again == path)
            && (safety.encoded_slash == EncodedSlash::Keep || !has_encoded_slash(&path))
    })
}

fn settings() -> impl Iterator<Item = Safety> {
    let dots = [DotSegments::Reject, DotSegments::Resolve];
    let slashes = [DoubleSlash::Collapse, DoubleSlash::Reject, DoubleSlash::Keep];
    let encoded = [EncodedSlash::Keep, EncodedSlash::Reject];
    let bytes = [UnsafeBytes::Encode, UnsafeBytes::Reject];
    dots.into_iter().flat_map(move |dot_segments| {
        slashes.into_iter().flat_map(move |double_slash| {
            encoded.into_iter().flat_map(move |encoded_slash| {
                bytes.into_iter().map(move |unsafe_bytes| Safety {
                    dot_segments,
                    double_slash,
                    encoded_slash,
                    unsafe_bytes,
                    ..Safety::default()
                })
            })
        })
    })
}

/// A server that decodes, takes `\` for `/`, cuts parameters off and walks the segments arrives where the text says.
fn is_clean(path: &[u8], double_slashes: bool) -> bool {
    let plain = path.iter().all(|byte| matches!(byte, b'!'..=b'~') && !b"\"#<>\\^`{|}".contains(byte));
    let text = decoded(path);
    let mut depth = 0_usize;
    let mut steps = 0_usize;
    for segment in text.split(|&byte| byte == b'/' || byte == b'\\') {
        match segment.split(|&byte| byte == b';').next() {
            Some(b"." | b"") => {}
            Some(b"..") => depth = depth.saturating_sub(1),
            _ => depth = depth.saturating_add(1),
        }
        let is_name = !matches!(segment.split(|&byte| byte == b';').next(), None | Some(b""));
        steps = steps.saturating_add(usize::from(is_name));
    }
    let begins = path.first() == Some(&b'/') && (double_slashes || path.get(1) != Some(&b'/'));
    plain && begins && depth == steps && !text.contains(&0)
}

fn has_encoded_slash(path: &[u8]) -> bool {
    path.windows(3).any(|escape| escape.eq_ignore_ascii_case(b"%2f") || escape.eq_ignore_ascii_case(b"%5c"))
}

/// Decoded once, piece by piece: a `%` is never one of the digits of another.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut pieces = path.split(|&byte| byte == b'%');
    let mut text = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let byte = str::from_utf8(piece.get(..2).unwrap_or_default())
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => text.extend([&[byte], piece.get(2..).unwrap_or_default()].concat()),
            None => text.extend([b"%", piece].concat()),
        }
    }
    text
}
