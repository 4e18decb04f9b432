//! Undoing a rewrite in the response, so that the client finds what the upstream points at.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::matching::below;

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
        let domain = config.cookie_domain.as_ref();
        Ok(Self {
            prefix,
            location: config.location,
            cookie_path: config.cookie_path,
            cookie_domain: domain
                .map(|names| (names.from.clone().into_bytes(), names.to.clone().into_bytes())),
        })
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
        let after_scheme =
            [&b"http://"[..], b"https://"].iter().find_map(|scheme| value.strip_prefix(*scheme));
        let Some(rest) = after_scheme else {
            return if value.starts_with(b"/") && !value.starts_with(b"//") {
                self.path(value)
            } else {
                None
            };
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let known = [&hosts.upstream, &hosts.client];
        if !known.iter().any(|host| host.eq_ignore_ascii_case(authority)) {
            return None;
        }
        let path = self.path(target);
        let target = path.as_deref().unwrap_or(target);
        Some([&hosts.scheme, &b"://"[..], &hosts.client, target].concat())
    }

    /// A `set-cookie` as the client must see it; `None`: as it is.
    pub fn cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
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
            _ if is(b"path") && self.cookie_path => self.path(value)?,
            _ => return None,
        };
        Some([name, b"=", &new].concat())
    }

    /// Exchanges the prefix of a path, whatever follows the path.
    fn path(&self, target: &[u8]) -> Option<Vec<u8>> {
        let (upstream, client) = self.prefix.as_ref()?;
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
        let (path, tail) = target.split_at_checked(end)?;
        let rest = below(path, upstream)?;
        let path = [client, rest].concat();
        Some([if path.is_empty() { b"/" } else { path.as_slice() }, tail].concat())
    }
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
            ("//shop.internal:8080/shop/a", None),
            ("relative", None),
            ("", None),
        ] {
            let found = reversal.location(value.as_bytes(), &hosts());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{value}");
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
    }
}
