//! The engine `regex-lite`, which is small and reads text only.

use std::ops::Range;

use regex_lite::RegexBuilder;

pub use regex_lite::Regex;

/// Memory for one compiled expression; 1 MiB holds every sensible one.
const SIZE_LIMIT: usize = 1 << 20;

pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| error.to_string())
}

pub fn is_match(regex: &Regex, haystack: &[u8]) -> bool {
    regex.is_match(&String::from_utf8_lossy(haystack))
}

pub fn captures_from(regex: &Regex, haystack: &[u8], start: usize) -> Option<Vec<Option<Range<usize>>>> {
    let haystack = std::str::from_utf8(haystack).ok()?;
    if start > haystack.len() || !haystack.is_char_boundary(start) {
        return None;
    }
    let captures = regex.captures_at(haystack, start)?;
    Some(captures.iter().map(|group| group.map(|group| group.range())).collect())
}
