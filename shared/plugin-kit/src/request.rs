//! The request as it was before the plugin touched it.
//!
//! Each part is read from the proxy once, when it is first wanted: a header is one hostcall, all headers cost many
//! times that. What was read stays readable in later phases, where the proxy no longer has it.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use crate::client_ip::{self, ClientIp};
use crate::cookies::cookies;
use crate::headers::REQUEST;
use crate::hostcalls::Bytes;
use crate::pairs::Pairs;
use crate::{property, query};

/// The name of a header and its first line.
type FirstLine = (Rc<str>, Option<Rc<[u8]>>);

/// A view of one request.
#[derive(Debug, Default)]
pub struct Request {
    client_ip_rule: ClientIp,
    /// A request that is not in the proxy: `pairs` and `properties` are all there is.
    detached: bool,
    properties: Vec<(String, Bytes)>,
    target: OnceCell<Bytes>,
    host: OnceCell<Bytes>,
    client_ip: OnceCell<Option<IpAddr>>,
    pairs: OnceCell<Pairs>,
    first_lines: RefCell<Vec<FirstLine>>,
}

impl Request {
    /// The request that the proxy is handling now.
    #[must_use]
    pub fn current(client_ip_rule: ClientIp) -> Self {
        Self { client_ip_rule, ..Self::default() }
    }

    /// Takes all headers from `headers`, which were read before and are still what the proxy has.
    #[must_use]
    pub fn with_headers(self, headers: Pairs) -> Self {
        Self { pairs: OnceCell::from(headers), ..self }
    }

    /// A request that is not in the proxy, for tests and tools; names in lower case.
    #[must_use]
    pub fn detached(headers: &[(&str, &[u8])]) -> Self {
        let pairs = Pairs::new(headers.iter().copied());
        Self { detached: true, pairs: OnceCell::from(pairs), ..Self::default() }
    }

    /// Gives a detached request a property, its path joined by dots.
    #[must_use]
    pub fn with_property(mut self, path: &str, value: &[u8]) -> Self {
        self.properties.push((path.to_owned(), value.to_vec()));
        self
    }

    /// Says how a detached request's client address is found.
    #[must_use]
    pub fn with_client_ip(mut self, rule: ClientIp) -> Self {
        self.client_ip_rule = rule;
        self
    }

    /// `:path` as it is: path, query, and whatever else the client put there. Empty where there is none.
    pub fn target(&self) -> &[u8] {
        self.target.get_or_init(|| self.read(":path"))
    }

    /// The path without query and fragment.
    pub fn path(&self) -> &[u8] {
        query::split(self.target()).0
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&[u8]> {
        query::split(self.target()).1
    }

    /// The decoded value of the first query parameter of this name that is not empty.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        query::first(self.query()?, name.as_bytes())
    }

    /// `:authority` as it is. Empty where there is none.
    pub fn authority(&self) -> Rc<[u8]> {
        self.header(":authority").unwrap_or_default()
    }

    /// `:authority` in lower case, without port and trailing dot.
    pub fn host(&self) -> &[u8] {
        self.host.get_or_init(|| host_of(&self.authority()))
    }

    /// The first line of a header. `host` is `:authority` in every look-up: Envoy lists it under that name only.
    pub fn header(&self, name: &str) -> Option<Rc<[u8]>> {
        let name = REQUEST.listed(name);
        if let Some(pairs) = self.pairs.get() {
            return pairs.iter().find(|(seen, _)| *seen == name.as_bytes()).map(|(_, value)| value.into());
        }
        if let Some((_, value)) = self.first_lines.borrow().iter().find(|(seen, _)| **seen == *name) {
            return value.clone();
        }
        let value: Option<Rc<[u8]>> = REQUEST.get(name).map(Into::into);
        self.first_lines.borrow_mut().push((name.into(), value.clone()));
        value
    }

    /// Every line of a header joined by commas, as lists are (RFC 9110, section 5.3), for one hostcall.
    pub fn joined_header(&self, name: &str) -> Option<Bytes> {
        let name = REQUEST.listed(name);
        if self.pairs.get().is_none() {
            return self.property(&["request", "headers", name]);
        }
        let lines: Vec<&[u8]> = self.header_lines(name).collect();
        (!lines.is_empty()).then(|| lines.join(&b','))
    }

    /// Whether a line of this header is as wanted. One line is the usual case and costs one hostcall when it is.
    pub fn any_header_line(&self, name: &str, mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
        let Some(first) = self.header(name) else { return false };
        wanted(&first) || self.header_lines(name).skip(1).any(wanted)
    }

    /// Every line of every header, for one hostcall: what is asked for afterwards is there. Worth it where two headers are
    /// wanted for certain.
    pub fn all_headers(&self) -> &Pairs {
        self.pairs.get_or_init(|| REQUEST.pairs())
    }

    /// Every line of a header, in order.
    pub fn header_lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let name = REQUEST.listed(name);
        self.all_headers().iter().filter(move |(seen, _)| *seen == name.as_bytes()).map(|(_, value)| value)
    }

    /// Whether a cookie of this name, of all there are, is as wanted.
    pub fn any_cookie(&self, name: &str, mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
        self.any_header_line("cookie", |line| {
            cookies(line).any(|(seen, value)| seen == name.as_bytes() && wanted(value))
        })
    }

    /// The first line of a header that is not empty.
    pub fn filled_header(&self, name: &str) -> Option<Bytes> {
        first_filled(|is| self.any_header_line(name, is))
    }

    /// The first cookie of this name that is not empty.
    pub fn cookie(&self, name: &str) -> Option<Bytes> {
        first_filled(|is| self.any_cookie(name, is))
    }

    /// Whether this is a gRPC request.
    pub fn is_grpc(&self) -> bool {
        self.header("content-type").is_some_and(|value| {
            value.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]))
        })
    }

    /// The client's address, by the plugin's `clientIp` rule.
    pub fn client_ip(&self) -> Option<IpAddr> {
        *self.client_ip.get_or_init(|| self.client_ip_rule.find(self))
    }

    /// The client's address as a key, masked as the `clientIp` rule says. Where `x-forwarded-for` has no address at the
    /// trusted place, the peer's address is the key: no client gets rid of its key by what it writes there.
    pub fn client_ip_key(&self) -> Option<String> {
        let address = self.client_ip().or_else(|| client_ip::peer_of(self))?;
        Some(self.client_ip_rule.key(address))
    }

    /// A property, its path joined by dots for detached requests.
    pub fn property(&self, path: &[&str]) -> Option<Bytes> {
        if !self.detached {
            return property::get(path);
        }
        let path = path.join(".");
        self.properties.iter().find(|(seen, _)| *seen == path).map(|(_, value)| value.clone())
    }

    fn read(&self, pseudo: &str) -> Bytes {
        if self.pairs.get().is_some() {
            return self.header(pseudo).map(|value| value.to_vec()).unwrap_or_default();
        }
        REQUEST.get(pseudo).unwrap_or_default()
    }
}

/// The first value that is not empty, of those that `any` offers.
fn first_filled(any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> Option<Bytes> {
    let mut found = None;
    any(&mut |value| {
        if !value.is_empty() {
            found = Some(value.to_vec());
        }
        !value.is_empty()
    });
    found
}

/// Cuts port and trailing dot off an authority and lower-cases it; `[::1]:80` gives `[::1]`.
fn host_of(authority: &[u8]) -> Bytes {
    let end = match authority.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !authority.ends_with(b"]") => colon,
        _ => authority.len(),
    };
    let host = authority.get(..end).unwrap_or(authority);
    host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port_no_dot_and_no_capitals() {
        for (authority, host) in [
            ("Shop.Example.com:8443", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("shop.example.com.:80", "shop.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority.as_bytes()), host.as_bytes(), "{authority}");
        }
    }

    #[test]
    fn host_is_the_authority_in_every_look_up() {
        let request = Request::detached(&[(":authority", b"Shop:80")]);
        assert_eq!(request.header("host").as_deref(), Some(&b"Shop:80"[..]));
        assert_eq!(request.joined_header("host").as_deref(), Some(&b"Shop:80"[..]));
        assert!(request.any_header_line("host", |line| line == b"Shop:80"));
        assert_eq!(request.header_lines("host").collect::<Vec<_>>(), [b"Shop:80"]);
    }

    #[test]
    fn every_cookie_of_every_line_counts() {
        let request = Request::detached(&[("cookie", b"a=; a=1; b=2"), ("cookie", b"a=3")]);
        assert!(request.any_cookie("a", |value| value == b"3"));
        assert_eq!(request.cookie("a").as_deref(), Some(&b"1"[..]));
        assert_eq!(request.cookie("c"), None);
    }

    #[test]
    fn the_lines_of_a_header_are_one_list() {
        let request = Request::detached(&[("x-a", b"1"), ("x-b", b""), ("x-a", b"2, 3")]);
        assert_eq!(request.joined_header("x-a").as_deref(), Some(&b"1,2, 3"[..]));
        assert_eq!(request.joined_header("x-b").as_deref(), Some(&b""[..]));
        assert_eq!(request.joined_header("x-c"), None);
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;a=b", true),
            ("application/grpc-web", false),
            ("text/plain", false),
        ] {
            assert_eq!(Request::detached(&[("content-type", value.as_bytes())]).is_grpc(), grpc, "{value}");
        }
    }

    #[test]
    fn a_request_without_a_path_has_an_empty_one() {
        let request = Request::detached(&[(":method", b"CONNECT")]);
        assert_eq!((request.path(), request.query()), (&b""[..], None));
    }
}
