//! Where tokens are looked for, and how they are taken off a request.

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::{HeaderName, is_token};
use plugin_kit::query;
use plugin_kit::request::Request;

use crate::config;

/// A place for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A header.
    Header(HeaderName, Prefix),
    /// A query parameter.
    Param(String),
    /// A cookie.
    Cookie(String),
}

/// What stands before a token in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// An authentication scheme (RFC 9110, section 11.1): in any case, then spaces.
    Scheme(String),
    /// This text.
    Text(String),
}

/// What was found in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Something to be verified.
    Token(Vec<u8>),
    /// Where there should be a token is something that cannot be one.
    Malformed,
}

impl Source {
    /// The places of a provider.
    ///
    /// # Errors
    /// Points at a name that is none.
    pub fn compile(provider: &config::Provider) -> Result<Vec<Self>, ConfigError> {
        let mut sources = Vec::new();
        for (index, header) in provider.from_headers.iter().flatten().enumerate() {
            let name = HeaderName::new(&header.name).at("name").at_index(index).at("fromHeaders")?;
            sources.push(Self::Header(name, Prefix::new(&header.prefix)));
        }
        for (index, name) in provider.from_params.iter().flatten().enumerate() {
            if name.is_empty() {
                return Err(ConfigError::new("is empty")).at_index(index).at("fromParams");
            }
            sources.push(Self::Param(name.clone()));
        }
        for (index, name) in provider.from_cookies.iter().flatten().enumerate() {
            if !is_token(name.as_bytes()) {
                let message = format!("{} is not the name of a cookie", quoted(name));
                return Err(ConfigError::new(message)).at_index(index).at("fromCookies");
            }
            sources.push(Self::Cookie(name.clone()));
        }
        if provider.from_headers.is_none()
            && provider.from_params.is_none()
            && provider.from_cookies.is_none()
        {
            sources.push(Self::Header(HeaderName::new("authorization")?, Prefix::new("Bearer ")));
            sources.push(Self::Param("access_token".into()));
        }
        if sources.is_empty() {
            return Err(ConfigError::new(
                "fromHeaders, fromParams and fromCookies are empty: no token could come",
            ));
        }
        Ok(sources)
    }

    /// Appends what is there.
    pub fn find(&self, request: &Request, found: &mut Vec<Found>) {
        match self {
            Self::Header(name, prefix) => {
                let Some(first) = request.header(name.as_str()) else { return };
                // Envoy joins the lines of this one.
                if name.as_str() == "authorization" {
                    return prefix.find(&first, found);
                }
                request.header_lines(name.as_str()).for_each(|line| prefix.find(line, found));
            }
            Self::Param(name) => {
                let parameters = query::parameters(request.query().unwrap_or_default());
                let values = parameters.filter(|parameter| *parameter.name() == *name.as_bytes());
                found.extend(values.map(|parameter| Found::token(&parameter.value())));
            }
            Self::Cookie(name) => {
                request.any_cookie(name, |value| {
                    found.push(Found::token(value));
                    false
                });
            }
        }
    }

    /// The query parameter that it is.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Param(name) => Some(name),
            _ => None,
        }
    }

    /// The header that it is.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name, _) => Some(name.as_str()),
            _ => None,
        }
    }

    /// The cookie that it is.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::Cookie(name) => Some(name),
            _ => None,
        }
    }
}

impl Found {
    fn token(value: &[u8]) -> Self {
        if value.is_empty() { Self::Malformed } else { Self::Token(value.to_vec()) }
    }
}

impl Prefix {
    fn new(prefix: &str) -> Self {
        match prefix.strip_suffix(' ') {
            Some(scheme) if is_token(scheme.as_bytes()) => Self::Scheme(scheme.to_owned()),
            _ => Self::Text(prefix.to_owned()),
        }
    }

    fn find(&self, value: &[u8], found: &mut Vec<Found>) {
        match self {
            Self::Text(text) => {
                if let Some(token) = value.strip_prefix(text.as_bytes()) {
                    found.push(Found::token(token.trim_ascii()));
                }
            }
            Self::Scheme(scheme) => {
                if let Some(token @ Found::Token(_)) = credentials(value.trim_ascii(), scheme) {
                    return found.push(token);
                }
                // A comma is in no token: it is where lines were joined.
                let parts: Vec<&[u8]> = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
                let ours: Vec<Found> = parts.iter().filter_map(|part| credentials(part, scheme)).collect();
                let is_joined = parts.len() > 1 && !ours.is_empty();
                found.extend(ours);
                if is_joined {
                    found.push(Found::Malformed);
                }
            }
        }
    }
}

/// A byte of `token68` (RFC 9110, section 11.2), but for the padding.
fn is_token68(byte: &u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

/// What follows the scheme and its spaces (RFC 6750, section 2.1); `None` under another scheme.
///
/// Only a longer token is another scheme. Anything else before or after it is cut off, or taken for a space, by one server
/// or another, which then reads a token.
fn credentials(value: &[u8], scheme: &str) -> Option<Found> {
    let start = value.iter().position(|&byte| is_token(&[byte]))?;
    let (name, rest) = value.get(start..)?.split_at_checked(scheme.len())?;
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) || rest.first().is_some_and(|&byte| is_token(&[byte])) {
        return None;
    }
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    if start > 0 || spaces == 0 {
        return Some(Found::Malformed);
    }
    let token = rest.get(spaces..)?;
    let unpadded = token.len().saturating_sub(token.iter().rev().take_while(|byte| **byte == b'=').count());
    let is_token68 = unpadded > 0 && token.get(..unpadded).unwrap_or_default().iter().all(is_token68);
    Some(if is_token68 { Found::Token(token.to_vec()) } else { Found::Malformed })
}

/// The target without these parameters; the others keep bytes and order. `None` where there are none of them.
#[must_use]
pub fn without_params(target: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let (path, query) = query::split(target);
    let is_kept =
        |parameter: &query::Parameter<'_>| !names.iter().any(|name| *parameter.name() == *name.as_bytes());
    let query = query?;
    if query::parameters(query).all(|parameter| is_kept(&parameter)) {
        return None;
    }
    let kept: Vec<&[u8]> = query::parameters(query).filter(is_kept).map(|parameter| parameter.raw).collect();
    let mut target = path.to_vec();
    if !kept.is_empty() {
        target.push(b'?');
        target.extend(kept.join(&b'&'));
    }
    Some(target)
}

/// A `cookie` line without these cookies; empty where no other is left.
#[must_use]
pub fn without_cookies(line: &[u8], names: &[&str]) -> Vec<u8> {
    let is_kept = |piece: &&[u8]| {
        let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        !(piece.contains(&b'=') && names.iter().any(|unwanted| name == unwanted.as_bytes()))
    };
    let kept: Vec<&[u8]> = line.split(|&byte| byte == b';').filter(is_kept).map(<[u8]>::trim_ascii).collect();
    kept.join(&b"; "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(value: &str) -> Vec<Found> {
        let mut found = Vec::new();
        Prefix::new("Bearer ").find(value.as_bytes(), &mut found);
        found
    }

    fn token(text: &str) -> Found {
        Found::Token(text.as_bytes().to_vec())
    }

    #[test]
    fn bearer_is_read_as_rfc_6750_says() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", " Bearer a.b.c "] {
            assert_eq!(bearer(value), [token("a.b.c")], "{value}");
        }
        assert_eq!(bearer("Bearer a+/~=="), [token("a+/~==")]);
        for value in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer \"a\"", "Bearer =", "Bearer a=b", "Bearer a\tb"]
        {
            assert_eq!(bearer(value), [Found::Malformed], "{value}");
        }
        for value in ["", "Basic abc", "Basic abc Bearer a.b.c", "Bearera.b.c", "Digest a=b, c=\"d\""] {
            assert_eq!(bearer(value), [], "{value}");
        }
    }

    #[test]
    fn a_scheme_with_anything_but_spaces_around_it_is_malformed() {
        for value in [
            "Bearer\ta.b.c",
            "Bearer \ta.b.c",
            "bearer\u{b}a.b.c",
            "Bearer\u{a0}a.b.c",
            "Bearer:a",
            "Bearer=a",
            "Bearer\"a\"",
            "Bearer;a",
            "\u{b}Bearer a.b.c",
            "\u{a0}Bearer a.b.c",
            "\"Bearer a.b.c\"",
            ":Bearer a.b.c",
            "=Bearer",
        ] {
            assert_eq!(bearer(value), [Found::Malformed], "{value:?}");
        }
        assert_eq!(bearer("Basic x,\tBearer\ta"), [Found::Malformed, Found::Malformed]);
    }

    #[test]
    fn joined_lines_are_more_than_one_token() {
        for value in
            ["Bearer a,Bearer b", "Bearer a, bearer b", "Basic x,Bearer b", "Bearer a,", "Bearer a,b"]
        {
            assert!(bearer(value).len() > 1, "{value}");
        }
    }

    #[test]
    fn every_place_is_looked_at_in_full() {
        let request = Request::detached(&[
            (":path", b"/?access_token=1&a=2&%61ccess_token=3"),
            ("x-jwt", b"t1"),
            ("x-jwt", b"t2"),
            ("x-pre", b"JWT:t3"),
            ("cookie", b"s=4; ss=5; s=6"),
            ("cookie", b"s="),
        ]);
        let header =
            |name: &str, prefix: &str| Source::Header(HeaderName::new(name).unwrap(), Prefix::new(prefix));
        for (source, expected) in [
            (Source::Param("access_token".into()), vec![token("1"), token("3")]),
            (header("x-jwt", ""), vec![token("t1"), token("t2")]),
            (header("x-pre", "JWT:"), vec![token("t3")]),
            (header("x-pre", "jwt:"), vec![]),
            (header("x-none", ""), vec![]),
            (Source::Cookie("s".into()), vec![token("4"), token("6"), Found::Malformed]),
        ] {
            let mut found = Vec::new();
            source.find(&request, &mut found);
            assert_eq!(found, expected, "{source:?}");
        }
    }

    #[test]
    fn a_parameter_is_taken_out_and_the_others_stay_as_they_are() {
        for (target, expected) in [
            ("/a?access_token=x", Some("/a")),
            ("/a?b=%7e&access_token=x&c", Some("/a?b=%7e&c")),
            ("/a?%61ccess_token=x&access_token=y&b", Some("/a?b")),
            ("/a?b&b", None),
            ("/a", None),
            ("/a?access_tokens=x", None),
        ] {
            let without = without_params(target.as_bytes(), &["access_token"]);
            assert_eq!(without.as_deref(), expected.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn a_cookie_is_taken_out_and_those_with_longer_names_stay() {
        for (line, expected) in [
            ("s=1", ""),
            ("a=1; s=2; sa=3", "a=1; sa=3"),
            (" s =1;a=\"x;y\";s=2", "a=\"x; y\""),
            ("s; a=1", "s; a=1"),
        ] {
            assert_eq!(without_cookies(line.as_bytes(), &["s"]), expected.as_bytes(), "{line}");
        }
    }
}
