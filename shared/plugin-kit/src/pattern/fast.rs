//! The engine `regex`, on bytes, without Unicode tables.

use std::ops::Range;

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

pub use regex::bytes::Regex;

/// Memory for one compiled expression; 1 MiB holds every sensible one.
const SIZE_LIMIT: usize = 1 << 20;
/// Memory for all expressions of a set.
const SET_SIZE_LIMIT: usize = 4 << 20;

pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| error.to_string())
}

pub fn is_match(regex: &Regex, haystack: &[u8]) -> bool {
    regex.is_match(haystack)
}

pub fn captures_from(regex: &Regex, haystack: &[u8], start: usize) -> Option<Vec<Option<Range<usize>>>> {
    if start > haystack.len() {
        return None;
    }
    let captures = regex.captures_at(haystack, start)?;
    Some(captures.iter().map(|group| group.map(|group| group.range())).collect())
}

/// Many expressions that are searched at once.
#[derive(Clone, Debug)]
pub struct Set(RegexSet);

impl Set {
    /// Of these patterns, none of which ignores case; `None` where they are too large together.
    #[must_use]
    pub fn new(patterns: &[&super::Pattern]) -> Option<Self> {
        let texts = patterns.iter().map(|pattern| pattern.0.as_str());
        RegexSetBuilder::new(texts).unicode(false).size_limit(SET_SIZE_LIMIT).build().ok().map(Self)
    }

    /// The numbers of those that match anywhere.
    pub fn matches(&self, haystack: &[u8]) -> impl Iterator<Item = usize> {
        self.0.matches(haystack).into_iter()
    }
}
