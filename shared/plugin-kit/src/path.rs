//! Paths that are read differently by different readers, so that a decision about one is not a decision about the other.

use crate::percent;

/// Whether everyone who reads this path reads the same one: no `//`, dot segments, backslashes, `;` and controls, and
/// no escapes that stand for these, for a slash, or for what needs none.
#[must_use]
pub fn is_plain(path: &[u8]) -> bool {
    path.starts_with(b"/")
        && !has_odd_bytes(path)
        && !path.windows(2).any(|pair| pair == b"//")
        && !path.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
        && !has_odd_escapes(path)
        // Who decodes twice sees what is under the second layer.
        && !has_odd_escapes(&percent::decode(path))
}

fn has_odd_bytes(path: &[u8]) -> bool {
    path.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b'\\' | b';' | b'?' | b'#'))
}

fn has_odd_escapes(path: &[u8]) -> bool {
    let is_odd =
        |byte: u8| byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"-._~/\\;".contains(&byte);
    let mut escapes = path.split(|&byte| byte == b'%');
    let _before_the_first = escapes.next();
    escapes.any(|after| percent::escaped(after).is_some_and(|(byte, _)| is_odd(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_read_the_same_way_by_everyone() {
        for path in ["/", "/a/b.c", "/a/", "/%C3%A4", "/a%20b", "/a...b/..c"] {
            assert!(is_plain(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "*",
            "a",
            "//a",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/a/%2e%2E/b",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/%61",
            "/a%252e",
            "/a?b",
            "/a#b",
            "/a\0",
            "/%00",
            "/\x7f",
        ] {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
    }
}
