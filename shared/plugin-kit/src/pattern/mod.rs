//! Regular expressions in linear time, unanchored unless you write `^` and `$`, ASCII classes.
//!
//! Two engines, one syntax, both on bytes: a small one by default, `regex` with the feature `fast-regex` (600 KiB more,
//! and several times faster).

#[cfg(feature = "fast-regex")]
mod fast;
#[cfg(any(test, not(feature = "fast-regex")))]
mod small;

use std::ops::Range;

#[cfg(feature = "fast-regex")]
use fast as engine;
#[cfg(feature = "fast-regex")]
pub use fast::Set;
#[cfg(not(feature = "fast-regex"))]
use small as engine;

use crate::config::ConfigError;

/// The longest pattern that is accepted, unless a plugin's limits say otherwise. In bytes.
pub const MAX_BYTES: usize = 2048;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(engine::Regex);

impl Pattern {
    /// Compiles a pattern of at most `max_bytes`.
    ///
    /// # Errors
    /// Where it is too long, is no regular expression, or would be too large when compiled.
    pub fn new(pattern: &str, ignore_case: bool, max_bytes: usize) -> Result<Self, ConfigError> {
        if pattern.len() > max_bytes {
            let message =
                format!("a regular expression of {} bytes; at most {max_bytes} are allowed", pattern.len());
            return Err(ConfigError::new(message));
        }
        engine::compile(pattern, ignore_case)
            .map(Self)
            .map_err(|message| ConfigError::new(format!("not a regular expression: {}", one_line(&message))))
    }

    /// Whether it matches anywhere.
    #[must_use]
    pub fn is_match(&self, haystack: &[u8]) -> bool {
        engine::is_match(&self.0, haystack)
    }

    /// Where the leftmost match from `start` on, and each of its groups, lies; group 0 is the whole match.
    #[must_use]
    pub fn captures_from(&self, haystack: &[u8], start: usize) -> Option<Vec<Option<Range<usize>>>> {
        engine::captures_from(&self.0, haystack, start)
    }

    /// The names of the groups; the whole match and unnamed groups have none.
    pub fn group_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.capture_names()
    }
}

/// The engines draw a picture over several lines; the last one says what is wrong.
fn one_line(message: &str) -> &str {
    let last = message.trim_end().rsplit('\n').next().unwrap_or(message);
    last.strip_prefix("error: ").unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, false, MAX_BYTES).unwrap()
    }

    #[test]
    fn is_unanchored_unless_it_says_so() {
        assert!(pattern("b").is_match(b"abc"));
        assert!(!pattern("^b").is_match(b"abc"));
    }

    #[test]
    fn classes_are_ascii() {
        assert!(pattern(r"^\d+$").is_match(b"123"));
        assert!(!pattern(r"^\d+$").is_match("١".as_bytes()));
        assert!(!pattern(r"^\w$").is_match("é".as_bytes()));
    }

    #[test]
    fn case_can_be_ignored() {
        assert!(Pattern::new("bot", true, MAX_BYTES).unwrap().is_match(b"GoogleBOT"));
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_hide_a_match() {
        assert!(pattern("bot").is_match(b"\xff bot"));
    }

    #[test]
    fn gives_the_place_of_each_group() {
        let groups = pattern("b(x)?(?<id>[0-9]+)").captures_from(b"ab1b22", 3).unwrap();
        assert_eq!(groups, [Some(3..6), None, Some(4..6)]);
        assert_eq!(pattern("(?<a>x)(y)").group_names().collect::<Vec<_>>(), [None, Some("a"), None]);
    }

    #[test]
    fn an_error_is_one_line() {
        let message = Pattern::new("a(b", false, MAX_BYTES).unwrap_err().to_string();
        assert!(message.starts_with("not a regular expression: "), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn what_is_too_long_or_too_large_is_refused() {
        assert_eq!(
            Pattern::new("aaaa", false, 3).unwrap_err().to_string(),
            "a regular expression of 4 bytes; at most 3 are allowed"
        );
        assert!(Pattern::new("(?:(?:a{100}){100}){100}", false, MAX_BYTES).is_err());
    }
}
