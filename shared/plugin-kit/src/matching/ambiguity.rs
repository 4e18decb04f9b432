//! Requests that read differently to different servers.
//!
//! A rule is evaluated on the request as it is written, and the upstream routes the request as it reads it. Where the
//! two may differ, a decision about the one is not a decision about the other.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::matching::Condition;
use crate::percent;
use crate::query;
use crate::request::Request;

/// Why a request reads differently to different servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// The path does not start with `/`: there is none, or the target is in absolute form.
    NotAPath,
    /// A fragment, which some servers cut off.
    Fragment,
    /// A control character or a space, plain or encoded (`%00`).
    Control,
    /// `//`: some servers merge slashes.
    EmptySegment,
    /// `.` or `..` as a segment: some servers resolve them.
    DotSegment,
    /// A segment that ends with a dot or white space: some servers drop it.
    TrailingDotOrSpace,
    /// `\`: a slash to some servers.
    Backslash,
    /// `;`: the start of a parameter to some servers.
    Semicolon,
    /// An encoded slash, backslash, dot or semicolon.
    EncodedDelimiter,
    /// An escape of an escape: some servers decode twice.
    DoubleEncoding,
    /// `%` without two hexadecimal digits after it, such as `%u002e`.
    InvalidEscape,
    /// Bytes that are not UTF-8, overlong encodings among them.
    NotUtf8,
    /// A path that a condition matches only if case is ignored or escapes are decoded.
    Respelled,
    /// A path that a condition matches only with, or only without, a trailing slash.
    TrailingSlash,
    /// An authority that is not a host with an optional port.
    Authority,
    /// A method that is not in upper case.
    Method,
}

impl Ambiguity {
    /// The name in log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAPath => "not_a_path",
            Self::Fragment => "fragment",
            Self::Control => "control",
            Self::EmptySegment => "empty_segment",
            Self::DotSegment => "dot_segment",
            Self::TrailingDotOrSpace => "trailing_dot_or_space",
            Self::Backslash => "backslash",
            Self::Semicolon => "semicolon",
            Self::EncodedDelimiter => "encoded_delimiter",
            Self::DoubleEncoding => "double_encoding",
            Self::InvalidEscape => "invalid_escape",
            Self::NotUtf8 => "not_utf8",
            Self::Respelled => "respelled",
            Self::TrailingSlash => "trailing_slash",
            Self::Authority => "authority",
            Self::Method => "method",
        }
    }
}

/// Whether path and authority of a request read the same to everyone, and why not; `conditions` are those whose paths
/// the request may be meant to pass.
///
/// The method is not looked at: see [`of_method`].
#[must_use]
pub fn of<'a>(request: &Request, conditions: impl IntoIterator<Item = &'a Condition>) -> Option<Ambiguity> {
    of_target(request.target())
        .or_else(|| of_authority(&request.authority()))
        .or_else(|| of_spelling(request.path(), conditions))
}

/// Whether the path reads the same to everyone, and why not, as [`of`] says of path and authority.
#[must_use]
pub fn of_path<'a>(
    request: &Request,
    conditions: impl IntoIterator<Item = &'a Condition>,
) -> Option<Ambiguity> {
    of_target(request.target()).or_else(|| of_spelling(request.path(), conditions))
}

/// The ambiguities of a request, each computed when a condition depends on it: path and authority are read from the proxy
/// only if a condition reads them too.
#[derive(Debug)]
pub struct Ambiguities<'a> {
    request: &'a Request,
    /// The path, where it is no longer the request's.
    path: Option<Vec<u8>>,
    conditions: &'a [Condition],
    reads_path: bool,
    of_path: OnceCell<Option<Ambiguity>>,
    of_authority: OnceCell<Option<Ambiguity>>,
    toggled: OnceCell<Vec<u8>>,
}

impl<'a> Ambiguities<'a> {
    /// The ambiguities of `request`. `reads_path`: some condition of the rules depends on the path. `conditions` are those
    /// that a path may not evade in another spelling.
    #[must_use]
    pub fn new(request: &'a Request, conditions: &'a [Condition], reads_path: bool) -> Self {
        let (of_path, of_authority, toggled) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { request, path: None, conditions, reads_path, of_path, of_authority, toggled }
    }

    /// The ambiguities of the request after its path was rewritten.
    #[must_use]
    pub fn with_path(self, path: &[u8]) -> Self {
        Self { path: Some(path.to_vec()), of_path: OnceCell::new(), toggled: OnceCell::new(), ..self }
    }

    /// The reason why servers may read the path differently. A request without a path (`CONNECT`) is not ambiguous.
    pub fn of_path(&self) -> Option<Ambiguity> {
        *self.of_path.get_or_init(|| match &self.path {
            Some(path) => of_target(path).or_else(|| of_spelling(path, self.conditions)),
            None if self.request.target().is_empty() => None,
            None => of_path(self.request, self.conditions),
        })
    }

    /// The reason why servers may read the host differently: a malformed authority, or an ambiguous path such as `//host`.
    pub fn of_host(&self) -> Option<Ambiguity> {
        let of_authority = || *self.of_authority.get_or_init(|| of_authority(&self.request.authority()));
        of_authority().or_else(|| if self.reads_path { self.of_path() } else { None })
    }

    /// The first ambiguity that was found so far.
    #[must_use]
    pub fn found(&self) -> Option<Ambiguity> {
        [&self.of_path, &self.of_authority].into_iter().find_map(|cell| cell.get().copied().flatten())
    }

    /// The path with its other trailing slash; `None` where it is not a path.
    pub(crate) fn toggled(&self) -> Option<&[u8]> {
        let path = || self.path().unwrap_or_else(|| self.request.path());
        let toggled = self.toggled.get_or_init(|| toggle_trailing_slash(path()).into_owned());
        toggled.starts_with(b"/").then_some(toggled)
    }

    pub(crate) const fn request(&self) -> &'a Request {
        self.request
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }
}

/// Whether some condition matches the path, with or without its trailing slash, only in another spelling.
fn of_spelling<'a>(path: &[u8], conditions: impl IntoIterator<Item = &'a Condition>) -> Option<Ambiguity> {
    let toggled = toggle_trailing_slash(path);
    let (decoded, decoded_toggled) = (percent::decode(path), percent::decode(&toggled));
    let respelled = conditions.into_iter().any(|condition| {
        condition.matches_respelled(path, &decoded)
            || condition.minds_trailing_slash() && condition.matches_respelled(&toggled, &decoded_toggled)
    });
    respelled.then_some(Ambiguity::Respelled)
}

/// Whether the path of a request target reads the same to every server, and why not. The query is not looked at.
#[must_use]
pub fn of_target(target: &[u8]) -> Option<Ambiguity> {
    if target.contains(&b'#') {
        return Some(Ambiguity::Fragment);
    }
    let path = query::split(target).0;
    if is_ordinary(path) || path == b"*" {
        return None;
    }
    if !path.starts_with(b"/") {
        return Some(Ambiguity::NotAPath);
    }
    let odd = path.iter().find_map(|&byte| match byte {
        b'\\' => Some(Ambiguity::Backslash),
        b';' => Some(Ambiguity::Semicolon),
        b' ' => Some(Ambiguity::Control),
        byte if byte.is_ascii_control() => Some(Ambiguity::Control),
        _ => None,
    });
    odd.or_else(|| of_escapes(path)).or_else(|| of_segments(&percent::decode(path)))
}

/// Whether a path has only letters, digits and hyphens between single slashes: most have, and one look is enough.
fn is_ordinary(path: &[u8]) -> bool {
    let mut before = 0;
    let ordinary = path.iter().all(|&byte| {
        let allowed =
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'/' && before != b'/';
        before = byte;
        allowed
    });
    ordinary && path.starts_with(b"/")
}

fn of_escapes(path: &[u8]) -> Option<Ambiguity> {
    let mut escapes = path.split(|&byte| byte == b'%');
    let _before_the_first = escapes.next();
    let mut after_percent_sign = false;
    escapes.find_map(|after| {
        // `%25` and then another escape: the percent sign of an escape is itself escaped only before its digits.
        let double = std::mem::take(&mut after_percent_sign);
        let Some((byte, rest)) = percent::escaped(after) else { return Some(Ambiguity::InvalidEscape) };
        match byte {
            b'/' | b'\\' | b'.' | b';' => Some(Ambiguity::EncodedDelimiter),
            b'%' if percent::escaped(rest).is_some() || matches!(rest, [b'u' | b'U', ..]) => {
                Some(Ambiguity::DoubleEncoding)
            }
            byte if byte.is_ascii_control() => Some(Ambiguity::Control),
            b'%' => {
                after_percent_sign = rest.is_empty();
                None
            }
            // `%25%32%65`: the digits of the second escape are escaped too.
            byte if double && byte.is_ascii_hexdigit() => Some(Ambiguity::DoubleEncoding),
            _ => None,
        }
    })
}

fn of_segments(decoded: &[u8]) -> Option<Ambiguity> {
    let Ok(text) = std::str::from_utf8(decoded) else { return Some(Ambiguity::NotUtf8) };
    let mut segments = text.strip_prefix('/').unwrap_or(text).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let ambiguity = match segment {
            "" if is_last => None,
            "" => Some(Ambiguity::EmptySegment),
            "." | ".." => Some(Ambiguity::DotSegment),
            _ if segment.ends_with('.') || segment.ends_with(char::is_whitespace) => {
                Some(Ambiguity::TrailingDotOrSpace)
            }
            _ => None,
        };
        if ambiguity.is_some() {
            return ambiguity;
        }
    }
    None
}

/// Whether an authority is a host with an optional port (RFC 9110, section 7.2), and so reads the same to every server.
/// User information, an empty host, empty labels, and characters that no host name has are not.
#[must_use]
pub fn of_authority(authority: &[u8]) -> Option<Ambiguity> {
    let (host, port) = match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !authority.ends_with(b"]") => authority.split_at_checked(colon)?,
        _ => (authority, &b""[..]),
    };
    let port = port.strip_prefix(b":").unwrap_or(port);
    let is_host = match host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => {
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => {
            let name = host.strip_suffix(b".").unwrap_or(host);
            name.split(|&byte| byte == b'.').all(|label| {
                let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                !label.is_empty() && label.iter().all(allowed)
            })
        }
    };
    let is_port = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    (!is_host || !is_port).then_some(Ambiguity::Authority)
}

/// Whether a method is upper case, `[A-Z][A-Z-]*`; servers that ignore case would read another one.
#[must_use]
pub fn of_method(method: &[u8]) -> Option<Ambiguity> {
    let valid = method.first().is_some_and(u8::is_ascii_uppercase)
        && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
    (!valid).then_some(Ambiguity::Method)
}

/// The path with a trailing slash where it has none, and without where it has one: some servers route both alike.
#[must_use]
pub fn toggle_trailing_slash(path: &[u8]) -> Cow<'_, [u8]> {
    match path.strip_suffix(b"/") {
        Some(shorter) if !shorter.is_empty() => Cow::Borrowed(shorter),
        Some(_) => Cow::Borrowed(path),
        None => Cow::Owned([path, b"/"].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Match;

    #[test]
    fn ordinary_paths_read_the_same_to_everyone() {
        for path in [
            "/",
            "*",
            "/a/b.c",
            "/a/",
            "/a/b/?x=//..;\\%2f",
            "/%C3%A4",
            "/\u{e4}",
            "/a%20b",
            "/a...b/..c/.well-known/x",
            "/wiki/What%3F",
            "/c%23",
            "/100%25",
            "/100%25-off",
            "/%7Euser",
            "/@scope/name",
            "/@scope:1.0,2=3!$&'()*+~",
        ] {
            assert_eq!(of_target(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn a_path_that_servers_read_differently_has_a_reason() {
        for (path, reason) in [
            (&b""[..], Ambiguity::NotAPath),
            (b"a", Ambiguity::NotAPath),
            (b"http://h/a", Ambiguity::NotAPath),
            (b"/a#b", Ambiguity::Fragment),
            (b"/a?b#c", Ambiguity::Fragment),
            (b"//a", Ambiguity::EmptySegment),
            (b"/a//b", Ambiguity::EmptySegment),
            (b"/a//", Ambiguity::EmptySegment),
            (b"/a/../b", Ambiguity::DotSegment),
            (b"/a/.", Ambiguity::DotSegment),
            (b"/./a", Ambiguity::DotSegment),
            (b"/a./b", Ambiguity::TrailingDotOrSpace),
            (b"/a...", Ambiguity::TrailingDotOrSpace),
            (b"/a%20/b", Ambiguity::TrailingDotOrSpace),
            (b"/a%C2%A0/b", Ambiguity::TrailingDotOrSpace),
            (b"/a\\b", Ambiguity::Backslash),
            (b"/a;b", Ambiguity::Semicolon),
            (b"/;/a", Ambiguity::Semicolon),
            (b"/a%2e%2E/b", Ambiguity::EncodedDelimiter),
            (b"/a%2fb", Ambiguity::EncodedDelimiter),
            (b"/a%5Cb", Ambiguity::EncodedDelimiter),
            (b"/a%3Bb", Ambiguity::EncodedDelimiter),
            (b"/a%252e", Ambiguity::DoubleEncoding),
            (b"/a%25252e", Ambiguity::DoubleEncoding),
            (b"/a%25u002e", Ambiguity::DoubleEncoding),
            (b"/a%25%32%65", Ambiguity::DoubleEncoding),
            (b"/a%u002e", Ambiguity::InvalidEscape),
            (b"/a%", Ambiguity::InvalidEscape),
            (b"/a%2", Ambiguity::InvalidEscape),
            (b"/a%zz", Ambiguity::InvalidEscape),
            (b"/%c0%ae%c0%ae/a", Ambiguity::NotUtf8),
            (b"/%e9", Ambiguity::NotUtf8),
            (b"/\xc0\xae", Ambiguity::NotUtf8),
            (b"/a\0", Ambiguity::Control),
            (b"/%00", Ambiguity::Control),
            (b"/a%0d%0a", Ambiguity::Control),
            (b"/a b", Ambiguity::Control),
            (b"/\x7f", Ambiguity::Control),
        ] {
            assert_eq!(of_target(path), Some(reason), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn an_authority_is_a_host_with_an_optional_port() {
        for authority in [
            "a",
            "Api.Example.com",
            "a.example.com.",
            "a:80",
            "a:",
            "10.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "a_b",
        ] {
            assert_eq!(of_authority(authority.as_bytes()), None, "{authority}");
        }
        for authority in [
            "",
            ":80",
            ".",
            "x@admin.example.com",
            "admin.example.com..",
            "admin..example.com",
            ".example.com",
            "admin.example.com:443:443",
            "a:port",
            "a:123456",
            "a b",
            "a/b",
            "a,b",
            "%61dmin.example.com",
            "\u{e4}.example.com",
            "[::1",
            "::1",
            "[a]",
            "[::1]x",
        ] {
            assert_eq!(of_authority(authority.as_bytes()), Some(Ambiguity::Authority), "{authority}");
        }
    }

    #[test]
    fn a_method_is_upper_case() {
        for method in ["GET", "M-SEARCH", "PATCH"] {
            assert_eq!(of_method(method.as_bytes()), None, "{method}");
        }
        for method in ["", "get", "Post", "-GET", "GET1", "G ET", "GET_"] {
            assert_eq!(of_method(method.as_bytes()), Some(Ambiguity::Method), "{method}");
        }
    }

    fn respelled(json: &str, path: &str) -> bool {
        let condition = serde_json::from_str::<Match>(json).unwrap().compile().unwrap();
        let request = Request::detached(&[(":path", path.as_bytes()), (":authority", b"a")]);
        of(&request, [&condition]) == Some(Ambiguity::Respelled)
    }

    #[test]
    fn a_path_that_only_another_spelling_of_a_condition_matches_is_ambiguous() {
        for (json, path, expected) in [
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/Admin/users", true),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/%61dmin/users", true),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/%41dmin", true),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/admin%3Fx", true),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/admin%23x", true),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/admin/%61", false),
            (r#"{"paths": [{"prefix": "/admin"}]}"#, "/administrator", false),
            (r#"{"paths": [{"prefix": "/admin", "ignoreCase": true}]}"#, "/ADMIN/users", false),
            (r#"{"paths": [{"prefix": "/admin", "ignoreCase": true}]}"#, "/%61DMIN", true),
            (r#"{"paths": [{"regex": "^/admin"}]}"#, "/ADMIN", true),
            (r#"{"paths": [{"template": "/users/{id}"}]}"#, "/Users/1", true),
            (r#"{"paths": [{"suffix": ".php"}]}"#, "/a.PHP", true),
            (r#"{"paths": [{"exact": "/@me"}]}"#, "/%40me", true),
            (r#"{"paths": [{"exact": "/%40me"}]}"#, "/@me", true),
            (r#"{"paths": [{"exact": "/%40me"}]}"#, "/%40me", false),
            (r#"{"paths": [{"prefix": "/%5Ba%5D"}]}"#, "/[a]/x", true),
            (r#"{"paths": [{"prefix": "/\u00fc"}]}"#, "/%c3%bc", true),
            (r#"{"paths": [{"stringPrefix": "/a%40"}]}"#, "/A@b", true),
            (r#"{"paths": [{"suffix": "%40"}]}"#, "/a@", true),
            (r#"{"paths": [{"template": "/%40/{id}"}]}"#, "/@/1", true),
            (r#"{"not": {"paths": [{"prefix": "/public"}]}}"#, "/Public", true),
            (r#"{"any": [{"paths": [{"prefix": "/a"}]}, {"methods": ["GET"]}]}"#, "/A", true),
            (r#"{"values": [{"source": "pathSegment:1", "exact": "admin"}]}"#, "/Admin", true),
            (r#"{"values": [{"source": "path", "prefix": "/admin"}]}"#, "/%61dmin", true),
            (r#"{"values": [{"source": "header:x-a", "exact": "admin"}]}"#, "/Admin", false),
            (r#"{"methods": ["GET"]}"#, "/Admin", false),
            (r#"{"paths": [{"exact": "/admin"}]}"#, "/Admin/", true),
            (r#"{"paths": [{"exact": "/admin"}]}"#, "/%61dmin/", true),
            (r#"{"paths": [{"template": "/users/{id}/"}]}"#, "/Users/1", true),
            (r#"{"paths": [{"exact": "/admin"}]}"#, "/admin/", false),
        ] {
            assert_eq!(respelled(json, path), expected, "{json} {path}");
        }
    }

    #[test]
    fn a_trailing_slash_is_toggled() {
        for (path, other) in [("/a", "/a/"), ("/a/", "/a"), ("/", "/"), ("/a/b/", "/a/b")] {
            assert_eq!(*toggle_trailing_slash(path.as_bytes()), *other.as_bytes(), "{path}");
        }
    }
}
