//! What a rewritten path may look like. Envoy does not look at a path again after a plugin changed it: dot segments, a
//! raw space or a fragment would go to the upstream as they are.

use plugin_kit::percent;

use crate::config::{DotSegments, DoubleSlash, EncodedSlash, Safety, UnsafeBytes};

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// `..` in one of its forms.
    DotSegment,
    /// `//`.
    DoubleSlash,
    /// `%2f` or `%5c`.
    EncodedSlash,
    /// A byte that must not stand there, or an encoded NUL.
    UnsafeByte,
    /// Longer than `maxPathBytes`.
    TooLong,
    /// A host that is none.
    Host,
}

impl Violation {
    /// As logs and response-code details show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DotSegment => "dot_segment",
            Self::DoubleSlash => "double_slash",
            Self::EncodedSlash => "encoded_slash",
            Self::UnsafeByte => "unsafe_byte",
            Self::TooLong => "too_long",
            Self::Host => "host",
        }
    }
}

impl Safety {
    /// Makes a path that a rule produced safe: it begins with `/`, and the rest is as configured.
    pub fn path(&self, produced: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut path = Vec::with_capacity(produced.len().saturating_add(1));
        if !produced.starts_with(b"/") {
            path.push(b'/');
        }
        path.extend(produced);
        if self.dot_segments == DotSegments::Resolve {
            path = resolve(&path);
        }
        if has_dot_segment(&path) {
            return Err(Violation::DotSegment);
        }
        match self.double_slash {
            DoubleSlash::Collapse => collapse(&mut path),
            DoubleSlash::Reject if path.windows(2).any(|pair| pair == b"//") => {
                return Err(Violation::DoubleSlash);
            }
            DoubleSlash::Reject | DoubleSlash::Keep => {}
        }
        let path = self.bytes(&path)?;
        if escapes(&path).any(|byte| byte == 0) {
            return Err(Violation::UnsafeByte);
        }
        if self.encoded_slash == EncodedSlash::Reject
            && escapes(&path).any(|byte| matches!(byte, b'/' | b'\\'))
        {
            return Err(Violation::EncodedSlash);
        }
        Ok(path)
    }

    /// Encodes (or refuses) what must not stand in a path or a query.
    pub fn bytes(&self, produced: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut safe = Vec::with_capacity(produced.len());
        let mut rest = produced;
        while let Some((&byte, tail)) = rest.split_first() {
            if is_safe(byte) && (byte != b'%' || percent::escaped(tail).is_some()) {
                safe.push(byte);
            } else if self.unsafe_bytes == UnsafeBytes::Reject {
                return Err(Violation::UnsafeByte);
            } else {
                percent::encode_into(byte, &mut safe);
            }
            rest = tail;
        }
        Ok(safe)
    }

    /// Checks the length of path and query together.
    pub fn length(&self, path: &[u8], query: Option<&[u8]>) -> Result<(), Violation> {
        let query = query.map_or(0, |query| query.len().saturating_add(1));
        if path.len().saturating_add(query) > self.max_path_bytes { Err(Violation::TooLong) } else { Ok(()) }
    }
}

const fn is_safe(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// The bytes that a path has percent-encoded.
fn escapes(path: &[u8]) -> impl Iterator<Item = u8> {
    path.split(|&byte| byte == b'%').skip(1).filter_map(|after| percent::escaped(after).map(|(byte, _)| byte))
}

/// Whether a server somewhere could read a dot segment: decoded once, `\` counted as `/`, parameters (`..;x`) cut off.
fn has_dot_segment(path: &[u8]) -> bool {
    percent::decode(path).split(|byte| matches!(byte, b'/' | b'\\')).any(is_dot_segment)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

/// Removes dot segments (RFC 3986, section 5.2.4), `%2e` counted as a dot. What hides behind an encoded slash stays,
/// and is refused afterwards.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let decoded = percent::decode(segment);
        let last = segments.peek().is_none();
        if !is_dot_segment(&decoded) {
            kept.push(segment);
            continue;
        }
        if decoded.starts_with(b"..") {
            kept.pop();
        }
        if last {
            kept.push(b"");
        }
    }
    let mut resolved = vec![b'/'];
    resolved.extend(kept.join(&b'/'));
    resolved
}

fn collapse(path: &mut Vec<u8>) {
    path.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(safety: &Safety, produced: &str) -> Result<String, Violation> {
        safety.path(produced.as_bytes()).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn by_default_a_path_is_made_safe_or_refused() {
        use Violation::{DotSegment, UnsafeByte};
        for (produced, expected) in [
            ("/a/b", Ok("/a/b")),
            ("", Ok("/")),
            ("a", Ok("/a")),
            ("//evil.com/x", Ok("/evil.com/x")),
            ("/a///b/", Ok("/a/b/")),
            ("/a b", Ok("/a%20b")),
            ("/a#b", Ok("/a%23b")),
            ("/阳", Ok("/%E9%98%B3")),
            ("/a\r\nb", Ok("/a%0D%0Ab")),
            ("/\\evil.com", Ok("/%5Cevil.com")),
            ("/100%", Ok("/100%25")),
            ("/%zz", Ok("/%25zz")),
            ("/a%2fb", Ok("/a%2fb")),
            ("/a;x=1/b", Ok("/a;x=1/b")),
            ("/...", Ok("/...")),
            ("/a..b", Ok("/a..b")),
            ("/%252e%252e/a", Ok("/%252e%252e/a")),
            ("/new/../../etc", Err(DotSegment)),
            ("/.", Err(DotSegment)),
            ("/a/%2e%2E/b", Err(DotSegment)),
            ("/a/.%2e", Err(DotSegment)),
            ("/..%2f..", Err(DotSegment)),
            ("/a%2f..%2fb", Err(DotSegment)),
            ("/a/..;x/b", Err(DotSegment)),
            ("/a/..\\b", Err(DotSegment)),
            ("/a%5c..%5cb", Err(DotSegment)),
            ("/a%00", Err(UnsafeByte)),
        ] {
            assert_eq!(path(&Safety::default(), produced), expected.map(str::to_owned), "{produced}");
        }
    }

    #[test]
    fn dot_segments_can_be_resolved_where_that_is_possible() {
        let safety = Safety { dot_segments: DotSegments::Resolve, ..Safety::default() };
        for (produced, expected) in [
            ("/a/b/../c", Ok("/a/c")),
            ("/a/./b/.", Ok("/a/b/")),
            ("/../../etc", Ok("/etc")),
            ("/a/%2e%2e/b", Ok("/b")),
            ("/a/..", Ok("/")),
            ("/a/b\\..\\c", Ok("/a/c")),
            ("/a/..%2fb", Err(Violation::DotSegment)),
        ] {
            assert_eq!(path(&safety, produced), expected.map(str::to_owned), "{produced}");
        }
    }

    #[test]
    fn every_knob_turns() {
        let default = Safety::default;
        let keep = Safety { double_slash: DoubleSlash::Keep, ..default() };
        assert_eq!(path(&keep, "/a//b").as_deref(), Ok("/a//b"));
        let reject = Safety { double_slash: DoubleSlash::Reject, ..default() };
        assert_eq!(path(&reject, "/a//b"), Err(Violation::DoubleSlash));
        let slash = Safety { encoded_slash: EncodedSlash::Reject, ..default() };
        assert_eq!(path(&slash, "/a%2Fb"), Err(Violation::EncodedSlash));
        assert_eq!(path(&slash, "/a%5cb"), Err(Violation::EncodedSlash));
        let bytes = Safety { unsafe_bytes: UnsafeBytes::Reject, ..default() };
        assert_eq!(path(&bytes, "/a b"), Err(Violation::UnsafeByte));
        let short = Safety { max_path_bytes: 3, ..default() };
        for (path, query, expected) in [
            ("/ab", None, Ok(())),
            ("/abc", None, Err(Violation::TooLong)),
            ("/a", Some(""), Ok(())),
            ("/", Some("a"), Ok(())),
            ("/a", Some("a"), Err(Violation::TooLong)),
        ] {
            assert_eq!(short.length(path.as_bytes(), query.map(str::as_bytes)), expected, "{path} {query:?}");
        }
    }

    #[test]
    fn what_is_safe_stays_as_it_is() {
        for produced in ["/a b/%41/..x", "//a//", "x{y}|z", "/%", "/\u{7f}\u{1}"] {
            let once = Safety::default().path(produced.as_bytes()).unwrap();
            assert_eq!(Safety::default().path(&once), Ok(once.clone()), "{produced:?}");
        }
    }

    proptest::proptest! {
        /// Whatever a rule makes of whatever a client sent.
        #[test]
        fn no_path_leaves_that_is_not_safe(produced in "[ -~\u{0}-\u{ff}阳]{0,40}|([./\\\\;%a25eEfFcC]|%2e|%2f|%5c){0,24}") {
            for dot_segments in [DotSegments::Reject, DotSegments::Resolve] {
                let safety = Safety { dot_segments, ..Safety::default() };
                let Ok(path) = safety.path(produced.as_bytes()) else { continue };
                let text = std::str::from_utf8(&path).unwrap();
                assert!(text.starts_with('/') && !text.contains("//"), "{text}");
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte)), "{text}");
                let decoded = percent::decode(&path).into_owned();
                let names = decoded.split(|byte| b"/\\".contains(byte)).map(|part| part.split(|byte| *byte == b';').next());
                assert!(names.flatten().all(|name| name != b"." && name != b".."), "{text}");
                assert!(!decoded.contains(&0), "{text}");
                assert_eq!(safety.path(&path).as_ref(), Ok(&path), "once is enough");
            }
        }
    }
}
