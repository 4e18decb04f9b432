//! Where a redirect leads.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::is_clean;
use plugin_kit::matching::Captures;
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::template::{Form, Syntax, Template};

use crate::config::{Redirect, RedirectQuery, Safety};
use crate::query::{merge, split};
use crate::safety::Violation;

/// A compiled redirect.
#[derive(Clone, Debug)]
pub struct Redirection {
    status: u16,
    scheme: Option<&'static str>,
    host: Template,
    path: Option<Template>,
    query: RedirectQuery,
}

impl Redirection {
    /// Compiles a redirect whose templates may use the captures of these names.
    pub fn compile(config: &Redirect, captures: &[String]) -> Result<Self, ConfigError> {
        if !matches!(config.status, 301 | 302 | 303 | 307 | 308) {
            let message = format!("must be 301, 302, 303, 307 or 308, not {}", config.status);
            return Err(ConfigError::new(message)).at("status");
        }
        let scheme = match config.scheme.as_str() {
            "" => None,
            "http" => Some("http"),
            "https" => Some("https"),
            _ => {
                return Err(ConfigError::new("must be http or https, or empty for the client's"))
                    .at("scheme");
            }
        };
        Ok(Self {
            status: config.status,
            scheme,
            host: Template::new(&config.host, captures, Syntax::Plain).at("host")?,
            path: match &config.path {
                Some(path) => Some(Template::of_form(path, captures, Syntax::Plain, Form::Path).at("path")?),
                None => None,
            },
            query: config.query,
        })
    }

    /// The reply; `None` where it would lead to where the client already is.
    pub fn reply(
        &self,
        request: &Request,
        path: &[u8],
        query: Option<&[u8]>,
        captures: &Captures,
        safety: &Safety,
    ) -> Result<Option<Reply>, Violation> {
        let filled = self.path.as_ref().map(|template| template.fill(request, captures));
        let (path, written) = filled.as_deref().map_or((path, None), split);
        let mut target = safety.path(path)?;
        // A location that begins with two slashes names a host (RFC 3986, section 4.2).
        while target.starts_with(b"//") {
            target.remove(0);
        }
        let kept = query.filter(|_| self.query == RedirectQuery::Keep);
        let query = match written {
            Some(written) => merge(Some(written), kept),
            None => kept.map(<[u8]>::to_vec),
        };
        if let Some(query) = query {
            target.push(b'?');
            target.extend(safety.bytes(&query)?);
        }
        safety.length(&target, None)?;
        let location = match (self.scheme, self.host.is_empty()) {
            (None, true) => {
                if target == request.target() {
                    return Ok(None);
                }
                target
            }
            (scheme, same_host) => {
                let seen_scheme = request.header(":scheme");
                let scheme = scheme.map_or(seen_scheme.as_deref().unwrap_or(b"http"), str::as_bytes);
                let authority = request.header(":authority");
                let seen_authority = authority.as_deref().unwrap_or_default();
                let authority = if same_host {
                    without_default_port(seen_authority).to_vec()
                } else {
                    self.host.fill(request, captures)
                };
                if !is_authority(&authority) {
                    return Err(Violation::Host);
                }
                let stays = seen_scheme.as_deref() == Some(scheme) && seen_authority == authority;
                if stays && target == request.target() {
                    return Ok(None);
                }
                [scheme, b"://", &authority, &target].concat()
            }
        };
        debug_assert!(is_clean(&location));
        Ok(Some(Reply::new(self.status).details("path_rewrite_redirect").header("location", location)))
    }
}

/// Whether this can stand between `https://` and the path.
pub fn is_authority(authority: &[u8]) -> bool {
    (1..=261).contains(&authority.len())
        && authority.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte))
}

/// With the scheme the port changes too, if it was the scheme's own (as Envoy's `scheme_redirect`).
fn without_default_port(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":80").or_else(|| authority.strip_suffix(b":443")).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(json: &str, target: &str) -> Result<Option<Reply>, Violation> {
        let config: Redirect = plugin_kit::config::parse(json.as_bytes()).unwrap();
        let request = Request::detached(&[
            (":scheme", b"http"),
            (":authority", b"shop.example.com:80"),
            (":path", target.as_bytes()),
            ("x-evil", b"a\r\nb"),
        ]);
        let redirection = Redirection::compile(&config, &[]).unwrap();
        redirection.reply(&request, request.path(), request.query(), &Captures::default(), &Safety::default())
    }

    fn reply(status: u16, location: &str) -> Result<Option<Reply>, Violation> {
        Ok(Some(Reply::new(status).details("path_rewrite_redirect").header("location", location)))
    }

    #[test]
    fn what_is_not_given_stays() {
        for (json, target, expected) in [
            (r#"{"status":308,"scheme":"https"}"#, "/a?b=c", reply(308, "https://shop.example.com/a?b=c")),
            (r#"{"status":301,"path":"/new"}"#, "/a?b=c", reply(301, "/new?b=c")),
            (r#"{"status":302,"path":"/new","query":"strip"}"#, "/a?b=c", reply(302, "/new")),
            (r#"{"status":307,"host":"other.example"}"#, "/a", reply(307, "http://other.example/a")),
        ] {
            assert_eq!(location(json, target), expected, "{json}");
        }
    }

    #[test]
    fn a_query_in_the_path_is_merged_and_is_no_path() {
        for (json, target, expected) in [
            (r#"{"status":301,"path":"/new?x=1"}"#, "/a?b=c", "/new?x=1&b=c"),
            (r#"{"status":301,"path":"/new?x=1"}"#, "/a", "/new?x=1"),
            (r#"{"status":301,"path":"/new?"}"#, "/a?b=c", "/new?b=c"),
            (r#"{"status":301,"path":"/new?x=1","query":"strip"}"#, "/a?b=c", "/new?x=1"),
            (r#"{"status":301,"path":"/new"}"#, "/a?", "/new?"),
            (r#"{"status":301,"path":"/in?next=https://h/../x#y"}"#, "/a", "/in?next=https://h/../x%23y"),
            (r#"{"status":301,"path":"/in?next=${path}"}"#, "/a//b&c", "/in?next=/a//b%26c"),
            (r#"{"status":301,"path":"/in?next=${query:q}"}"#, "/a?q=/x%26y", "/in?next=%2Fx%26y&q=/x%26y"),
            (r#"{"status":301,"path":"/${query:q|raw}"}"#, "/a?q=/x?y", "/x?y&q=/x?y"),
        ] {
            assert_eq!(location(json, target), reply(301, expected), "{json} {target}");
        }
    }

    #[test]
    fn a_redirect_to_where_the_client_is_is_none() {
        assert_eq!(location(r#"{"status":301,"path":"/a"}"#, "/a"), Ok(None));
        assert_eq!(
            location(r#"{"status":301,"scheme":"http","host":"shop.example.com:80"}"#, "/a"),
            Ok(None)
        );
    }

    #[test]
    fn a_client_cannot_choose_another_host() {
        assert_eq!(
            location(r#"{"status":301,"path":"/${query:to}"}"#, "/?to=/evil.com"),
            reply(301, "/%2Fevil.com?to=/evil.com")
        );
        assert_eq!(
            location(r#"{"status":301,"path":"/${query:to|raw}"}"#, "/?to=/evil.com"),
            reply(301, "/evil.com?to=/evil.com")
        );
        assert_eq!(
            location(r#"{"status":301,"path":"/x","host":"${header:x-evil}"}"#, "/"),
            Err(Violation::Host)
        );
    }
}
