//! Which rules a path may concern: exact paths and prefixes are looked up, regular expressions searched all at once, so
//! that a rule that is not meant costs nothing, however many there are.

use std::borrow::Cow;

use plugin_kit::matching::{PathCondition, PathShape, toggle_trailing_slash};
use plugin_kit::pattern::{Pattern, Set};

/// Fewer are asked one by one: a look-up costs more.
const MIN_RULES: usize = 8;

/// What a path must be for a rule to be meant.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// This path.
    Exact(&'a [u8]),
    /// This path or one below it; without a trailing slash.
    Prefix(&'a [u8]),
    /// One that matches.
    Pattern(&'a Pattern),
}

impl<'a> Key<'a> {
    /// The key of a condition that has one.
    pub fn of(condition: &'a PathCondition) -> Option<Self> {
        match condition.case_sensitive()? {
            PathShape::Exact(path) => Some(Self::Exact(path)),
            PathShape::Prefix(prefix) => Some(Self::Prefix(prefix)),
            PathShape::Regex(pattern) => Some(Self::Pattern(pattern)),
            PathShape::StringPrefix(_) | PathShape::Suffix(_) | PathShape::Template(_) => None,
        }
    }
}

/// The index entry of a rule.
#[derive(Debug, Default)]
pub struct Entry<'a> {
    /// The path must fit one of these keys. A rule without keys is a candidate for every path.
    pub keys: Vec<Key<'a>>,
    /// Whether the rule rejects requests. It is a candidate for every ambiguous path, and for its exact paths with another
    /// trailing slash.
    pub rejects: bool,
}

/// The keys of all rules.
#[derive(Debug)]
pub struct Index {
    /// The rules that have no keys.
    always: Rules,
    /// The rules that reject requests.
    rejecting: Rules,
    exact: Table,
    prefixes: Table,
    /// The lengths of the prefixes, each once.
    lengths: Vec<usize>,
    patterns: Option<Set>,
    /// The rule of each pattern.
    rules_of_patterns: Vec<usize>,
}

/// Keys in order, each with the rule that has it.
type Table = Vec<(Vec<u8>, usize)>;

impl Index {
    /// Files each rule under all its keys, of which one must fit; a rule without keys always may be meant.
    pub fn new(rules: &[Entry<'_>]) -> Self {
        let mut index = Self {
            always: Rules::none(rules.len()),
            rejecting: Rules::none(rules.len()),
            exact: Table::new(),
            prefixes: Table::new(),
            lengths: Vec::new(),
            patterns: None,
            rules_of_patterns: Vec::new(),
        };
        let mut patterns = Vec::new();
        for (rule, Entry { keys, rejects }) in rules.iter().enumerate() {
            if *rejects {
                index.rejecting.add(rule);
            }
            if keys.is_empty() || rules.len() < MIN_RULES {
                index.always.add(rule);
                continue;
            }
            for key in keys {
                match key {
                    Key::Exact(path) => {
                        index.exact.push((path.to_vec(), rule));
                        if *rejects {
                            index.exact.push((toggle_trailing_slash(path).into_owned(), rule));
                        }
                    }
                    // It is searched on its own anyway: for paths that it matches in another spelling only.
                    Key::Pattern(_) if *rejects => index.always.add(rule),
                    Key::Prefix(prefix) => index.prefixes.push((prefix.to_vec(), rule)),
                    Key::Pattern(pattern) => {
                        patterns.push(*pattern);
                        index.rules_of_patterns.push(rule);
                    }
                }
            }
        }
        index.exact.sort();
        index.prefixes.sort();
        index.lengths = index.prefixes.iter().map(|(prefix, _)| prefix.len()).collect();
        index.lengths.sort_unstable();
        index.lengths.dedup();
        if !patterns.is_empty() {
            index.patterns = Set::new(&patterns);
            if index.patterns.is_none() {
                // Too large together.
                index.rules_of_patterns.iter().for_each(|rule| index.always.add(*rule));
            }
        }
        index
    }

    /// The rules that the path may concern. The path, and whether it is ambiguous, is computed where that depends on it.
    pub fn rules<'p>(
        &self,
        path: impl FnOnce() -> &'p [u8],
        is_ambiguous: impl FnOnce() -> bool,
    ) -> Cow<'_, Rules> {
        let mut rules = Cow::Borrowed(&self.always);
        if self.exact.is_empty() && self.prefixes.is_empty() && self.patterns.is_none() {
            return rules;
        }
        let path = path();
        if is_ambiguous() {
            rules.to_mut().add_all(&self.rejecting);
        }
        add(&mut rules, &self.exact, path);
        for length in &self.lengths {
            let Some((prefix, rest)) = path.split_at_checked(*length) else { break };
            if rest.is_empty() || rest.starts_with(b"/") {
                add(&mut rules, &self.prefixes, prefix);
            }
        }
        if let Some(patterns) = &self.patterns {
            let matches = patterns.matches(path);
            for rule in matches.filter_map(|pattern| self.rules_of_patterns.get(pattern)) {
                rules.to_mut().add(*rule);
            }
        }
        rules
    }
}

fn add(rules: &mut Cow<'_, Rules>, table: &Table, key: &[u8]) {
    let from = table.partition_point(|(known, _)| known.as_slice() < key);
    let found = table.iter().skip(from).take_while(|(known, _)| known == key);
    found.for_each(|(_, rule)| rules.to_mut().add(*rule));
}

/// Some of the rules, a bit for each.
#[derive(Clone, Debug)]
pub struct Rules(Vec<u64>);

const BITS: usize = 64;

impl Rules {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(BITS)])
    }

    fn add(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / BITS) {
            *word |= 1 << (rule % BITS);
        }
    }

    fn add_all(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word |= other);
    }

    /// The first one from this on.
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / BITS;
        let mut word = self.0.get(at)? & u64::MAX << (from % BITS);
        while word == 0 {
            at = at.saturating_add(1);
            word = *self.0.get(at)?;
        }
        let bit = usize::try_from(word.trailing_zeros()).ok()?;
        at.checked_mul(BITS)?.checked_add(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_kit::pattern::MAX_BYTES;

    fn entry(keys: Vec<Key<'_>>) -> Entry<'_> {
        Entry { keys, rejects: false }
    }

    fn rejecting(keys: Vec<Key<'_>>) -> Entry<'_> {
        Entry { keys, rejects: true }
    }

    fn found(index: &Index, path: &str) -> Vec<usize> {
        let rules = index.rules(|| path.as_bytes(), || path.contains("//"));
        let mut found = Vec::new();
        let mut next = rules.next(0);
        while let Some(rule) = next {
            found.push(rule);
            next = rules.next(rule.saturating_add(1));
        }
        found
    }

    #[test]
    fn a_rule_is_found_by_each_of_its_keys() {
        let pattern = |text: &str| Pattern::new(text, false, MAX_BYTES).unwrap();
        let (digits, letters) = (pattern("^/[0-9]+$"), pattern("[a-z]$"));
        let mut rules: Vec<Entry> = vec![
            entry(vec![Key::Exact(b"/a"), Key::Prefix(b"/b")]),
            entry(vec![]),
            entry(vec![Key::Pattern(&digits), Key::Exact(b"/x/")]),
            entry(vec![Key::Prefix(b"/b/c")]),
            entry(vec![Key::Pattern(&letters)]),
            entry(vec![Key::Prefix(b"")]),
        ];
        rules.resize_with(70, || entry(vec![Key::Exact(b"/filler")]));
        rules.push(entry(vec![Key::Exact(b"/a")]));
        let index = Index::new(&rules);
        for (path, expected) in [
            ("/a", vec![0, 1, 4, 5, 70]),
            ("/a/", vec![1, 5]),
            ("/b", vec![0, 1, 4, 5]),
            ("/bc", vec![1, 4, 5]),
            ("/b/c/7", vec![0, 1, 3, 5]),
            ("/b/cd", vec![0, 1, 4, 5]),
            ("/7", vec![1, 2, 5]),
            ("/x/", vec![1, 2, 5]),
            ("", vec![1, 5]),
            ("*", vec![1]),
        ] {
            assert_eq!(found(&index, path), expected, "{path}");
        }
    }

    #[test]
    fn a_rule_that_rejects_is_found_on_every_path_that_servers_may_read_as_its_own() {
        let pattern = Pattern::new("^/b$", false, MAX_BYTES).unwrap();
        let mut rules = vec![
            rejecting(vec![Key::Exact(b"/a")]),
            rejecting(vec![Key::Prefix(b"/b")]),
            rejecting(vec![Key::Pattern(&pattern)]),
            entry(vec![Key::Exact(b"/a")]),
        ];
        rules.resize_with(10, || entry(vec![Key::Exact(b"/filler")]));
        let index = Index::new(&rules);
        for (path, expected) in [
            ("/a", vec![0, 2, 3]),
            ("/a/", vec![0, 2]),
            ("/b/", vec![1, 2]),
            ("/c", vec![2]),
            ("//c", vec![0, 1, 2]),
        ] {
            assert_eq!(found(&index, path), expected, "{path}");
        }
    }

    #[test]
    fn few_rules_are_all_asked() {
        assert_eq!(found(&Index::new(&[entry(vec![Key::Exact(b"/a")]), entry(vec![])]), "/b"), [0, 1]);
        assert!(found(&Index::new(&[]), "/").is_empty());
    }
}
