//! The query of a request target, as `name=value` pairs joined by `&`; on bytes.

use std::borrow::Cow;

use crate::percent;

/// One `name=value` of a query, as the client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Everything between two `&`.
    pub raw: &'a [u8],
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Parameter<'a> {
    fn new(raw: &'a [u8]) -> Self {
        let at = raw.iter().position(|&byte| byte == b'=').unwrap_or(raw.len());
        let (name, rest) = raw.split_at_checked(at).unwrap_or((raw, b""));
        Self { raw, name, value: rest.strip_prefix(b"=").unwrap_or_default() }
    }

    /// The name, decoded.
    #[must_use]
    pub fn name(&self) -> Cow<'a, [u8]> {
        decode(self.name)
    }

    /// The value, decoded; empty where there is no `=`.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        decode(self.value)
    }

    /// The value with the `=` before it, as the client wrote it; empty where there is no `=`.
    #[must_use]
    pub fn raw_value(&self) -> &'a [u8] {
        self.raw.get(self.name.len()..).unwrap_or_default()
    }
}

/// The parameters of a query, in order; empty ones (`a&&b`) are left out.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    query.split(|&byte| byte == b'&').filter(|raw| !raw.is_empty()).map(Parameter::new)
}

/// The decoded value of the first parameter of this name that is not empty.
#[must_use]
pub fn first<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let named = parameters(query).filter(|parameter| *parameter.name() == *name);
    named.map(|parameter| parameter.value()).find(|value| !value.is_empty())
}

/// `+` is a space in a query (WHATWG URL, `application/x-www-form-urlencoded`).
fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'+') {
        return percent::decode(raw);
    }
    let spaced: Vec<u8> = raw.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent::decode(&spaced).into_owned())
}

/// Splits a request target into path and query at the first `?`; a fragment is cut off.
#[must_use]
pub fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let target = target.split(|&byte| byte == b'#').next().unwrap_or_default();
    match target.iter().position(|&byte| byte == b'?').and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_question_mark() {
        for (target, path, query) in [
            ("/a", "/a", None),
            ("/a?", "/a", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a?b#c?d", "/a", Some("b")),
            ("/a#b?c", "/a", None),
            ("", "", None),
            ("*", "*", None),
        ] {
            assert_eq!(split(target.as_bytes()), (path.as_bytes(), query.map(str::as_bytes)), "{target}");
        }
    }

    #[test]
    fn finds_the_first_value_that_is_not_empty_decoded() {
        let query = b"a=1&b=%41+c&a=2&flag&=x&%62=3&d=&d=4";
        for (name, value) in
            [("a", Some("1")), ("b", Some("A c")), ("flag", None), ("c", None), ("d", Some("4"))]
        {
            assert_eq!(first(query, name.as_bytes()).as_deref(), value.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn a_value_may_hold_more_equals_signs() {
        let parameter = parameters(b"a=b=c").next().unwrap();
        assert_eq!((&*parameter.name(), &*parameter.value()), (&b"a"[..], &b"b=c"[..]));
        assert_eq!(parameter.raw_value(), b"=b=c");
    }
}
