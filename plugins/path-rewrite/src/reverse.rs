//! Undoing a rewrite in the response, so that the client finds what the upstream points at.

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::header_ops::FromTo;
use plugin_kit::matching::below;
use plugin_kit::percent;

use crate::config::Reverse;
use crate::rewrite::PathRewrite;

/// What a rule undoes.
#[derive(Clone, Debug)]
pub struct Reversal {
    /// The prefix the upstream knows and the one the client knows.
    prefix: Option<(Vec<u8>, Vec<u8>)>,
    location: bool,
    cookie_path: bool,
    cookie_domain: Option<(Vec<u8>, Vec<u8>)>,
}

/// Who the client asked, and whom the upstream believes it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// The client's scheme.
    pub scheme: Vec<u8>,
    /// The client's authority.
    pub client: Vec<u8>,
    /// The upstream's authority.
    pub upstream: Vec<u8>,
}

impl Reversal {
    /// Compiles what is undone of this rewrite.
    pub fn compile(
        config: &Reverse,
        rewrite: Option<&PathRewrite>,
        rewrites_host: bool,
    ) -> Result<Self, ConfigError> {
        let prefix = rewrite.and_then(PathRewrite::inverse).map(|(from, to)| (from.to_vec(), to.to_vec()));
        if config.location && prefix.is_none() && !rewrites_host {
            return Err(ConfigError::new("needs a rewrite by prefix or addPrefix, or a host")).at("location");
        }
        if config.cookie_path && prefix.is_none() {
            return Err(ConfigError::new("needs a rewrite by prefix or addPrefix")).at("cookiePath");
        }
        let cookie_domain = config.cookie_domain.as_ref().map(domains).transpose().at("cookieDomain")?;
        Ok(Self { prefix, location: config.location, cookie_path: config.cookie_path, cookie_domain })
    }

    /// Whether `location` and `content-location` are looked at.
    pub fn wants_location(&self) -> bool {
        self.location
    }

    /// Whether `set-cookie` is looked at.
    pub fn wants_cookies(&self) -> bool {
        self.cookie_path || self.cookie_domain.is_some()
    }

    /// A `location` as the client must see it; `None`: as it is.
    pub fn location(&self, value: &[u8], hosts: &Hosts) -> Option<Vec<u8>> {
        let Some((scheme, rest)) = after_scheme(value) else {
            return if value.starts_with(b"/") { self.path(value) } else { None };
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let authority = without_default_port(authority, scheme);
        let known = [&hosts.upstream, &hosts.client];
        if !known.iter().any(|host| without_default_port(host, scheme).eq_ignore_ascii_case(authority)) {
            return None;
        }
        let path = self.path(target);
        let target = path.as_deref().unwrap_or(target);
        let scheme_end: &[u8] = if hosts.scheme.is_empty() { b"//" } else { b"://" };
        Some([&hosts.scheme, scheme_end, &hosts.client, target].concat())
    }

    /// A `set-cookie` as the client must see it; `None`: as it is.
    pub fn cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        // Browsers accept a `__Host-` cookie with `Path=/` and without a domain only (RFC 6265bis, section 4.1.3.2).
        if value.trim_ascii_start().get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"__Host-")) {
            return None;
        }
        let mut changed = false;
        let attributes = value.split(|&byte| byte == b';').enumerate().map(|(index, attribute)| {
            let new = if index == 0 { None } else { self.attribute(attribute) };
            changed |= new.is_some();
            new.unwrap_or_else(|| attribute.to_vec())
        });
        let cookie = attributes.collect::<Vec<_>>().join(&b';');
        changed.then_some(cookie)
    }

    fn attribute(&self, attribute: &[u8]) -> Option<Vec<u8>> {
        let at = attribute.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (attribute.get(..at)?, attribute.get(at.checked_add(1)?..)?);
        let (is, value) =
            (|wanted: &[u8]| name.trim_ascii().eq_ignore_ascii_case(wanted), value.trim_ascii());
        let new = match &self.cookie_domain {
            Some((from, to)) if is(b"domain") => {
                let bare = value.strip_prefix(b".").unwrap_or(value);
                bare.eq_ignore_ascii_case(from).then(|| to.clone())?
            }
            _ if is(b"path") && self.cookie_path => self.cookie_path(value)?,
            _ => return None,
        };
        Some([name, b"=", &new].concat())
    }

    /// The path `/`, the whole upstream, becomes `/shop`: clients do not send a cookie of `/shop/` to `/shop`.
    fn cookie_path(&self, value: &[u8]) -> Option<Vec<u8>> {
        match &self.prefix {
            Some((upstream, client)) if upstream.is_empty() && value == b"/" && !client.is_empty() => {
                Some(client.clone())
            }
            _ => self.path(value),
        }
    }

    /// Exchanges the prefix of a path, whatever follows the path.
    fn path(&self, target: &[u8]) -> Option<Vec<u8>> {
        let (upstream, client) = self.prefix.as_ref()?;
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
        let (path, tail) = target.split_at_checked(end)?;
        let rest = below(path, upstream)?;
        Some([&on_this_host(&[client, rest].concat()), tail].concat())
    }
}

/// The domains of a `set-cookie`, without the leading dot that browsers ignore.
fn domains(names: &FromTo) -> Result<(Vec<u8>, Vec<u8>), ConfigError> {
    let domain = |name: &str| {
        let bare = name.strip_prefix('.').unwrap_or(name);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if bare.is_empty() || !bare.bytes().all(allowed) {
            return Err(ConfigError::new(format!("{} is not a domain", quoted(name))));
        }
        Ok(bare.as_bytes().to_vec())
    };
    Ok((domain(&names.from).at("from")?, domain(&names.to).at("to")?))
}

/// The scheme of an absolute URL, none of `//host/path`, and what follows: the authority first.
fn after_scheme(value: &[u8]) -> Option<(Option<Scheme>, &[u8])> {
    let after = |prefix: &[u8]| {
        value.split_at_checked(prefix.len()).filter(|(start, _)| start.eq_ignore_ascii_case(prefix))
    };
    let of = |prefix: &[u8], scheme| after(prefix).map(|(_, rest)| (scheme, rest));
    of(b"http://", Some(Scheme::Http))
        .or_else(|| of(b"https://", Some(Scheme::Https)))
        .or_else(|| of(b"//", None))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Without the scheme's own port; without a scheme either may be it.
fn without_default_port(authority: &[u8], scheme: Option<Scheme>) -> &[u8] {
    let without = |port: &[u8], of: Scheme| {
        authority.strip_suffix(port).filter(|_| scheme.is_none_or(|scheme| scheme == of))
    };
    without(b":80", Scheme::Http).or_else(|| without(b":443", Scheme::Https)).unwrap_or(authority)
}

/// One slash instead of a run of them at the start: `//host`, `/\host` and `/<tab>/host` would name another host to a
/// browser, and `/%2Fhost` to a server that decodes it and redirects once more.
fn on_this_host(path: &[u8]) -> Vec<u8> {
    let mut after_slashes = path;
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, after) = percent::escaped(tail).filter(|_| first == b'%').unwrap_or((first, tail));
        match byte {
            b'/' | b'\\' => after_slashes = after,
            b' ' => {}
            byte if byte.is_ascii_control() => {}
            _ => break,
        }
        rest = after;
    }
    [b"/", after_slashes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rewrite;

    fn reversal(from: &str, to: &str, json: &str) -> Reversal {
        let rewrite = format!(r#"{{"prefix":{{"from":"{from}","to":"{to}"}}}}"#);
        let rewrite: Rewrite = plugin_kit::config::parse(rewrite.as_bytes()).unwrap();
        let rewrite = PathRewrite::compile(&rewrite, &[], 2048).unwrap();
        Reversal::compile(&plugin_kit::config::parse(json.as_bytes()).unwrap(), Some(&rewrite), true).unwrap()
    }

    fn hosts() -> Hosts {
        Hosts {
            scheme: b"https".into(),
            client: b"shop.example.com".into(),
            upstream: b"shop.internal:8080".into(),
        }
    }

    #[test]
    fn a_location_points_where_the_client_can_go() {
        let reversal = reversal("/", "/shop/", r#"{"location":true}"#);
        for (value, expected) in [
            ("/shop/cart?x=/shop/#y", Some("/cart?x=/shop/#y")),
            ("/shop", Some("/")),
            ("/other", None),
            ("http://shop.internal:8080/shop/cart", Some("https://shop.example.com/cart")),
            ("http://SHOP.internal:8080/other", Some("https://shop.example.com/other")),
            ("https://shop.example.com/shop/a", Some("https://shop.example.com/a")),
            ("http://shop.internal:8080", Some("https://shop.example.com")),
            ("https://elsewhere.example/shop/a", None),
            ("HTTP://shop.internal:8080/shop/a", Some("https://shop.example.com/a")),
            ("//shop.internal:8080/shop/a", Some("https://shop.example.com/a")),
            ("https://shop.example.com:443/shop/a", Some("https://shop.example.com/a")),
            ("//shop.example.com:443/shop/a", Some("https://shop.example.com/a")),
            ("http://shop.example.com:443/shop/a", None),
            ("//elsewhere.example/shop/a", None),
            ("http://user@shop.internal:8080/shop/a", None),
            ("relative", None),
            ("", None),
        ] {
            let found = reversal.location(value.as_bytes(), &hosts());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_hosts_default_port_makes_no_difference() {
        let reversal = reversal("/", "/shop", r#"{"location":true}"#);
        for upstream in ["shop.internal", "shop.internal:80"] {
            let hosts = Hosts { upstream: upstream.into(), ..hosts() };
            for value in ["http://shop.internal/shop/a", "http://shop.internal:80/shop/a"] {
                let found = reversal.location(value.as_bytes(), &hosts);
                assert_eq!(found.as_deref(), Some(&b"https://shop.example.com/a"[..]), "{upstream} {value}");
            }
        }
    }

    #[test]
    fn a_location_never_leaves_the_host_when_its_prefix_goes() {
        let reversal = reversal("/", "/shop/", r#"{"location":true}"#);
        for (value, expected) in [
            ("/shop//evil.com/", "/evil.com/"),
            ("/shop/\\evil.com/", "/evil.com/"),
            ("/shop/%2Fevil.com", "/evil.com"),
            ("/shop/%5Cevil.com", "/evil.com"),
            ("/shop/%2f%2fevil.com", "/evil.com"),
            ("/shop//\\%5c%2F/\t/%09/evil.com", "/evil.com"),
            ("/shop/\t/evil.com", "/evil.com"),
            ("/shop/%20a", "/%20a"),
            ("/shop//", "/"),
            ("/shop/a//b", "/a//b"),
            ("/shop//evil.com?x=//y", "/evil.com?x=//y"),
        ] {
            let found = reversal.location(value.as_bytes(), &hosts());
            assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{value}");
        }
    }

    proptest::proptest! {
        /// As a browser reads it (WHATWG URL).
        #[test]
        fn a_browser_stays_on_the_host_whatever_follows_the_prefix(
            rest in "([/\\\\\t\n\r .:@a?#]|%2f|%2F|%5c|%5C|%09|evil\\.com){0,12}",
            (from, to) in proptest::sample::select(vec![("/", "/shop/"), ("/", "/"), ("/v2", "/shop"), ("/v2", "/")]),
        ) {
            let value = if to == "/" { format!("/{rest}") } else { format!("/shop{rest}") };
            let reversed = reversal(from, to, r#"{"location":true}"#).location(value.as_bytes(), &hosts());
            if let Some(location) = reversed {
                let location = String::from_utf8(location).unwrap();
                let url = url::Url::parse("https://shop.example.com/x").unwrap().join(&location).unwrap();
                assert_eq!(url.host_str(), Some("shop.example.com"), "{value:?} {location:?}");
                assert_eq!(url.scheme(), "https", "{value:?} {location:?}");
            }
        }
    }

    #[test]
    fn a_cookie_of_the_whole_upstream_is_one_of_all_that_the_client_knows_of_it() {
        let root = reversal("/shop", "/", r#"{"cookiePath":true}"#);
        let below = reversal("/shop", "/v2/", r#"{"cookiePath":true}"#);
        let same = reversal("/", "/", r#"{"cookiePath":true}"#);
        for (reversal, value, expected) in [
            (&root, "id=1; Path=/", "id=1; Path=/shop"),
            (&root, "id=1; Path=/a/", "id=1; Path=/shop/a/"),
            (&below, "id=1; Path=/v2/", "id=1; Path=/shop/"),
            (&below, "id=1; Path=/v2", "id=1; Path=/shop"),
            (&same, "id=1; Path=/", "id=1; Path=/"),
        ] {
            assert_eq!(reversal.cookie(value.as_bytes()).as_deref(), Some(expected.as_bytes()), "{value}");
        }
    }

    #[test]
    fn a_cookie_that_browsers_bind_to_the_host_stays_as_it_is() {
        let domain = r#"{"cookiePath":true,"cookieDomain":{"from":"shop.internal","to":"shop.example.com"}}"#;
        let reversal = reversal("/shop", "/", domain);
        for value in ["__Host-id=1; Path=/; Secure", " __host-id=1; Path=/; Domain=shop.internal"] {
            assert_eq!(reversal.cookie(value.as_bytes()), None, "{value}");
        }
        let other = b"__Secure-id=1; Path=/; Secure";
        assert_eq!(reversal.cookie(other).unwrap(), b"__Secure-id=1; Path=/shop; Secure");
    }

    #[test]
    fn the_leading_dot_of_a_domain_does_not_count() {
        for from in ["shop.internal", ".shop.internal"] {
            let config = format!(r#"{{"cookieDomain":{{"from":"{from}","to":".shop.example.com"}}}}"#);
            for value in ["id=1; Domain=shop.internal", "id=1; Domain=.SHOP.internal"] {
                let found = reversal("/", "/shop", &config).cookie(value.as_bytes());
                assert_eq!(found.as_deref(), Some(&b"id=1; Domain=shop.example.com"[..]), "{from} {value}");
            }
        }
    }

    #[test]
    fn a_cookie_keeps_all_but_its_path_and_domain() {
        let domain = r#"{"cookiePath":true,"cookieDomain":{"from":"shop.internal","to":"shop.example.com"}}"#;
        let reversal = reversal("/", "/shop", domain);
        for (value, expected) in [
            ("id=1; Path=/shop/cart; HttpOnly", Some("id=1; Path=/cart; HttpOnly")),
            ("id=1; path=/shop", Some("id=1; path=/")),
            ("id=1; Path=/other", None),
            ("id=1; Domain=.Shop.Internal; Secure", Some("id=1; Domain=shop.example.com; Secure")),
            ("id=1; Domain=else", None),
            ("path=/shop", None),
            ("id=1", None),
        ] {
            let found = reversal.cookie(value.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_rewrite_that_cannot_be_undone_is_refused() {
        let config = Reverse { location: true, ..Reverse::default() };
        let failed = Reversal::compile(&config, None, false).unwrap_err();
        assert_eq!(failed.to_string(), "location: needs a rewrite by prefix or addPrefix, or a host");
        let names = FromTo { from: "a.b".into(), to: "a; Secure".into() };
        let config = Reverse { cookie_domain: Some(names), ..Reverse::default() };
        let failed = Reversal::compile(&config, None, false).unwrap_err();
        assert_eq!(failed.to_string(), "cookieDomain.to: \"a; Secure\" is not a domain");
    }
}
