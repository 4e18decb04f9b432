//! The responses of the service, as far as the upstream and the client get them.

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::Headers;
use plugin_kit::hostcalls::{Bytes, HostError, HostResult};
use plugin_kit::pairs::Pairs;
use plugin_kit::reply::Reply;

use crate::check_request::Refusal;
use crate::config;
use crate::metrics::Reason;
use crate::names::{Lines, Names, PASSED_WITHOUT_DECISION};

/// Of a denial.
pub const MAX_BODY: usize = 64 * 1024;
const ON_DENY: [&str; 3] = ["content-type", "location", "www-authenticate"];

/// A decision of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResponse {
    /// The request is allowed.
    Allow {
        /// The header lines for the upstream.
        upstream: Lines,
        /// The header lines for the response to the client.
        client: Lines,
    },
    /// The request is denied.
    Deny {
        /// The HTTP status.
        status: u16,
        /// The header lines for the client.
        headers: Lines,
        /// The body for the client.
        body: Bytes,
    },
}

/// Which headers of a response go to the upstream and to the client.
#[derive(Debug)]
pub struct ResponseHeaders {
    upstream: Names,
    allow_client: Names,
    deny_client: Names,
    deny_body: bool,
}

impl ResponseHeaders {
    /// Compiles `onAllow` and `onDeny`.
    ///
    /// # Errors
    /// If a header must not be written.
    pub fn compile(on_allow: &config::OnAllow, on_deny: &config::OnDeny) -> Result<Self, ConfigError> {
        let deny_client = match &on_deny.client_headers {
            Some(names) => Names::compile(names),
            None => Names::compile(&ON_DENY),
        };
        let is_own = |name: &String| name.eq_ignore_ascii_case(PASSED_WITHOUT_DECISION);
        if let Some(index) = on_allow.upstream_headers.iter().position(is_own) {
            let message = format!("{} is set by the plugin itself", quoted(PASSED_WITHOUT_DECISION));
            return Err(ConfigError::new(message)).at_index(index).at("upstreamHeaders").at("onAllow");
        }
        Ok(Self {
            upstream: Names::compile(&on_allow.upstream_headers).at("upstreamHeaders").at("onAllow")?,
            allow_client: Names::compile(&on_allow.client_headers).at("clientHeaders").at("onAllow")?,
            deny_client: deny_client.at("clientHeaders").at("onDeny")?,
            deny_body: on_deny.body.unwrap_or(true),
        })
    }

    /// Removes the headers that only the service or this plugin may set; `true` if there were any.
    ///
    /// # Errors
    /// If the host refuses, or does not give the lines, of which there is always one. The message must not go on then.
    pub fn remove_reserved(&self, map: Headers, lines: &Pairs) -> HostResult<bool> {
        if lines.is_empty() {
            return Err(HostError::Empty);
        }
        let mut any = false;
        let names = lines.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok());
        let reserved = names.filter(|name| *name == PASSED_WITHOUT_DECISION || self.upstream.contain(name));
        map.remove_each(reserved.inspect(|_| any = true))?;
        Ok(any)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// Why it is not a decision.
    pub fn read(
        &self,
        headers: &Pairs,
        body_size: usize,
        body: impl FnOnce() -> Bytes,
    ) -> Result<CheckResponse, Reason> {
        let status = header(headers, b":status").and_then(|status| std::str::from_utf8(status).ok());
        match status.and_then(|status| status.parse().ok()) {
            Some(200..=299) => {
                let mut upstream = self.upstream.choose(headers);
                upstream.retain(|(name, _)| name != PASSED_WITHOUT_DECISION);
                Ok(CheckResponse::Allow { upstream, client: self.allow_client.choose(headers) })
            }
            Some(status @ 300..=499) => {
                let has_body = self.deny_body && body_size <= MAX_BODY;
                let body = if has_body { body() } else { Bytes::new() };
                Ok(CheckResponse::Deny { status, headers: self.deny_client.choose(headers), body })
            }
            status => Err(failure_of(status.unwrap_or(0), headers)),
        }
    }
}

/// Envoy responds to a call in the service's place if there is no connection (503), no response in time (504), or the
/// response is not HTTP (502). Its router adds `x-envoy-upstream-service-time` to each response of the service, and
/// `x-envoy-overloaded` to its own 503 for a circuit breaker of the cluster, so the service cannot pass for an outage.
fn failure_of(status: u16, headers: &Pairs) -> Reason {
    let is_of_envoy = header(headers, b"x-envoy-upstream-service-time").is_none();
    match status {
        503 if is_of_envoy && header(headers, b"x-envoy-overloaded").is_some() => Reason::Refused,
        503 if is_of_envoy => Reason::Connection,
        504 if is_of_envoy => Reason::Timeout,
        _ => Reason::Status,
    }
}

fn header<'a>(headers: &'a Pairs, name: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|(seen, _)| *seen == name).map(|(_, value)| value)
}

/// The reply to a request that the service denies.
pub fn denial(status: u16, headers: &Lines, body: &Bytes, is_grpc: bool) -> Reply {
    let mut reply = Reply::new(status).details("ext_auth_denied");
    for (name, value) in headers {
        // Envoy sets the content type of gRPC itself.
        if !is_grpc || name != "content-type" {
            reply = reply.header(name, value.clone());
        }
    }
    if is_grpc {
        return reply.grpc_status(grpc_status(status)).body("denied by the authorization service");
    }
    reply.body(body.clone())
}

/// The reply to a request for which the service made no decision.
pub fn failure(status: u16, reason: &str, is_grpc: bool) -> Reply {
    let reply = Reply::new(status).details(format!("ext_auth_failed{{{reason}}}"));
    if is_grpc {
        return reply.grpc_status(grpc_status(status)).body("the authorization service made no decision");
    }
    reply
}

/// The reply to a request for which the service is not called.
pub fn refusal(refusal: Refusal, is_grpc: bool) -> Reply {
    let reply = Reply::new(400).details(match refusal {
        Refusal::Ambiguous(_) => "ext_auth_ambiguous",
        Refusal::Malformed => "ext_auth_malformed",
    });
    if is_grpc { reply.grpc_status(grpc_status(400)) } else { reply }
}

/// gRPC's "HTTP to gRPC Status Code Mapping".
const fn grpc_status(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> ResponseHeaders {
        let on_allow = config::OnAllow {
            upstream_headers: vec!["x-auth-*".into()],
            client_headers: vec!["set-cookie".into()],
        };
        ResponseHeaders::compile(&on_allow, &config::OnDeny::default()).unwrap()
    }

    fn lines(lines: &[(&str, &str)]) -> Pairs {
        Pairs::new(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    fn text(lines: &[(&str, &str)]) -> Lines {
        lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn upstream_and_client_get_the_headers_that_are_listed_for_them() {
        let headers = |status| {
            lines(&[
                (":status", status),
                ("x-auth-user", "alice"),
                ("x-auth-role", "a"),
                ("x-auth-role", "b"),
                ("set-cookie", "s=1"),
                ("www-authenticate", "Basic"),
                ("x-internal", "1"),
            ])
        };
        let read = |status| answers().read(&headers(status), 2, || b"no".to_vec());
        let allowed = CheckResponse::Allow {
            upstream: text(&[("x-auth-user", "alice"), ("x-auth-role", "a"), ("x-auth-role", "b")]),
            client: text(&[("set-cookie", "s=1")]),
        };
        assert_eq!(read("204"), Ok(allowed));
        let headers = text(&[("www-authenticate", "Basic")]);
        assert_eq!(read("401"), Ok(CheckResponse::Deny { status: 401, headers, body: b"no".to_vec() }));
    }

    #[test]
    fn a_response_with_any_other_status_is_a_failure_and_no_outage() {
        const TIME: (&str, &str) = ("x-envoy-upstream-service-time", "1");
        for status in ["", "0", "100", "101", "199", "500", "502", "503", "504", "599", "600", "999", "99999"]
        {
            let headers = lines(&[(":status", status), TIME]);
            assert_eq!(answers().read(&headers, 0, Bytes::new), Err(Reason::Status), "{status}");
        }
        assert_eq!(answers().read(&Pairs::default(), 0, Bytes::new), Err(Reason::Status));
    }

    #[test]
    fn a_response_of_envoy_itself_is_an_outage() {
        for (headers, reason) in [
            (&[(":status", "503")][..], Reason::Connection),
            (&[(":status", "504")], Reason::Timeout),
            (&[(":status", "502")], Reason::Status),
            (&[(":status", "503"), ("x-envoy-overloaded", "true")], Reason::Refused),
        ] {
            assert_eq!(answers().read(&lines(headers), 0, Bytes::new), Err(reason), "{headers:?}");
        }
    }

    #[test]
    fn a_body_of_more_than_64_kib_is_left_out() {
        let headers = lines(&[(":status", "403")]);
        let body = |size| match answers().read(&headers, size, || vec![b'x'; size]) {
            Ok(CheckResponse::Deny { body, .. }) => body.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((body(MAX_BODY), body(MAX_BODY + 1)), (MAX_BODY, 0));
    }
}
