//! The small engine: bytes, ASCII classes, linear time, in 20 KiB of a module (`regex-lite` is 75, of which half is
//! what it drags along: hash maps, sorting, Unicode tables).
//!
//! It is a parser to a tree, a compiler to a program and Pike's virtual machine, after Russ Cox, "Regular Expression
//! Matching: the Virtual Machine Approach". What it accepts, `regex` accepts, and gives the same groups: the tests
//! compare them. It does not know what text without Unicode has no use for (`\p`, classes of classes, `(?x)`).

mod machine;
mod parse;
mod program;

use std::ops::Range;

use program::Program;

/// How many instructions a program may have.
const MAX_INSTRUCTIONS: usize = 10_000;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Regex {
    program: Program,
    /// The name of each group; the whole match is the first.
    names: Vec<Option<String>>,
}

impl Regex {
    pub fn capture_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.names.iter().map(Option::as_deref)
    }
}

pub fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    let (tree, names) = parse::parse(pattern, ignore_case)?;
    let program = Program::new(&tree, MAX_INSTRUCTIONS).ok_or("too large")?;
    Ok(Regex { program, names })
}

pub fn is_match(regex: &Regex, haystack: &[u8]) -> bool {
    machine::run(&regex.program, 0, haystack, 0).is_some()
}

pub fn captures_from(regex: &Regex, haystack: &[u8], start: usize) -> Option<Vec<Option<Range<usize>>>> {
    if start > haystack.len() {
        return None;
    }
    let slots = regex.names.len().saturating_mul(2);
    let slots = machine::run(&regex.program, slots, haystack, start)?;
    let group = |pair: &[Option<usize>]| match pair {
        [Some(start), Some(end)] => Some(*start..*end),
        _ => None,
    };
    Some(slots.chunks(2).map(group).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(pattern: &str, ignore_case: bool) -> Result<regex::bytes::Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(pattern).unicode(false).case_insensitive(ignore_case).build()
    }

    /// What both engines say, the groups included, from each place of the haystack on.
    fn compare(pattern: &str, ignore_case: bool, haystack: &[u8]) {
        let Ok(ours) = compile(pattern, ignore_case) else { return };
        let theirs = judge(pattern, ignore_case)
            .unwrap_or_else(|error| panic!("we accept {pattern:?}, regex does not: {error}"));
        assert!(ours.capture_names().eq(theirs.capture_names()), "{pattern:?}");
        assert_eq!(is_match(&ours, haystack), theirs.is_match(haystack), "{pattern:?} {haystack:?}");
        for start in 0..=haystack.len() {
            let expected = theirs.captures_at(haystack, start).map(|captures| {
                captures.iter().map(|group| group.map(|group| group.range())).collect::<Vec<_>>()
            });
            let found = captures_from(&ours, haystack, start);
            assert_eq!(found, expected, "{pattern:?} {haystack:?} from {start}");
        }
        assert_eq!(captures_from(&ours, haystack, haystack.len().saturating_add(1)), None);
    }

    const PATTERNS: &[&str] = &[
        "",
        "a",
        "abc",
        "a|b|",
        "|a",
        "(a|ab)(c|bcd)(d*)",
        "a*",
        "a+?",
        "a??",
        "(a*)*",
        "(a*)+",
        "(a|b*)*?c",
        "(?:a?)*?b",
        "(a?)*b",
        "((a)|b)*",
        "(?:a|(b))*",
        "a{2}",
        "a{2,}",
        "a{0,2}?",
        "(ab){1,2}",
        "a{0}b",
        "x{2}{3}",
        "^a",
        "a$",
        "^$",
        "^",
        "$",
        r"\Aa\z",
        r"\bfoo\b",
        r"\Bo",
        r"^\d+$",
        r"\w+\s\S",
        r"\D\W",
        "[a-c]+",
        "[^a-c]",
        "[]a]",
        "[^]a]",
        "[a-]",
        "[-a]",
        r"[\]\-\d]",
        r"[\x41-\x43]",
        "[[:alpha:][:digit:]]+",
        "[[:^space:]]",
        r"\.\*\/\-",
        r"\x41\x{42}",
        "(?i)AbC",
        "(?i:a)b",
        "(?-i:a)b",
        "a(?i)b|c",
        "(?s).",
        ".",
        "(?m)^a$",
        "(?ms)^.$",
        "(?U)a+",
        "(?U)a+?",
        "(?P<x>a)(?<y>b)?",
        "(?<_a1>.)",
        "é",
        "é+",
        r"^/users/([0-9]+)/(?<rest>.*)$",
        "(?:(?:))*",
        "(|a)*",
        "(|a)+",
        "(a|)*",
        "()*",
        "(^)*",
        r"(\b)*a",
        "(?:a*?)*",
        "(a+|b+)*?$",
        "banana/([0-9]*)",
        "^9",
        "(a{0,3})*",
        "(?:(a)|(b)|c){2}",
    ];

    #[test]
    fn what_it_accepts_regex_accepts_and_matches_alike() {
        for pattern in PATTERNS {
            compile(pattern, false).unwrap_or_else(|error| panic!("{pattern:?}: {error}"));
            for haystack in [
                &b""[..],
                b"a",
                b"b",
                b"ab",
                b"abcd",
                b"aaab",
                b"AbC",
                b"foo bar",
                b"a\nb\n",
                b"\xff\x80",
                "é".as_bytes(),
                b"ABAB",
                b"1 x",
                b"]-a",
                b"/users/42/files",
                b"xxxxxx",
                b"banana/418",
                b".*/-",
            ] {
                compare(pattern, false, haystack);
                compare(pattern, true, haystack);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (pattern, error) in [
            ("a(b", "unclosed group"),
            ("a)b", "unopened group"),
            ("*a", "repetition operator missing expression"),
            ("a{", "unclosed counted repetition"),
            ("a{2,1}", "invalid counted repetition"),
            ("a{1001}", "invalid counted repetition"),
            ("a{+1}", "invalid counted repetition"),
            ("[a", "unclosed character class"),
            ("[]", "unclosed character class"),
            ("[z-a]", "invalid range in a character class"),
            (r"[\d-z]", "invalid range in a character class"),
            ("[a&&b]", "operations on classes are not supported"),
            ("[[a]]", "nested classes are not supported"),
            ("[[:nope:]]", "unrecognized class"),
            ("[é]", "a character class is of bytes, and this is not ASCII"),
            (r"a\", "incomplete escape sequence"),
            (r"\1", "backreferences are not supported"),
            (r"\pL", "unrecognized escape sequence"),
            (r"\xg1", "invalid hexadecimal escape: two digits"),
            ("(?=a)", "unrecognized flag; there are i, m, s and U, and no look-around"),
            ("(?)", "missing flag"),
            ("(?<1>a)", "invalid group name"),
            ("(?<a>a)(?<a>b)", "duplicate group name"),
            ("(?:(?:a{100}){100}){100}", "too large"),
        ] {
            assert_eq!(compile(pattern, false).unwrap_err(), error, "{pattern}");
        }
        assert_eq!(compile(&"(".repeat(2000), false).unwrap_err(), "nested too deep");
        assert_eq!(compile(&format!("a{}", "*".repeat(2000)), false).unwrap_err(), "nested too deep");
    }

    #[test]
    fn a_pattern_of_nothing_takes_no_time() {
        assert!(compile("(?:){1000}{1000}{1000}{1000}a", false).is_ok());
    }

    /// A backtracking engine would take longer than the universe has.
    #[test]
    fn time_is_linear() {
        let haystack = vec![b'a'; 8 << 10];
        for pattern in ["(a+)+$b", "(a|a)*b", "(a*)*b", "(?:a?){30}a{30}b"] {
            assert!(!is_match(&compile(pattern, false).unwrap(), &haystack), "{pattern}");
        }
    }

    /// Patterns of what has a meaning, in any order.
    fn any_pattern() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "a", "b", "c", "A", ".", "^", "$", "|", "(", ")", "(?:", "(?<n>", "*", "+", "?", "*?", "{2}",
            "{0,2}", "{1,}", "[ab]", "[^a]", "[a-c]", r"\d", r"\W", r"\b", r"\B", "(?i)", "(?m:", "(?s)",
            "(?U)", "-", "]", "[", "\n", "1", "é", "{", "}",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn any_pattern_matches_as_regex_does(
            pattern in any_pattern(),
            haystack in "[abcA1é\n -]{0,8}",
            ignore_case: bool,
        ) {
            compare(&pattern, ignore_case, haystack.as_bytes());
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(pattern in ".{0,40}", haystack: Vec<u8>) {
            compare(&pattern, false, &haystack);
        }
    }
}
