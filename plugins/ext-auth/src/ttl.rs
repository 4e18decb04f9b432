//! How long a response is cached.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::pairs::Pairs;

use crate::check_response::CheckResponse;
use crate::config::{self, CacheControl};

const DENY_TTL: Duration = Duration::from_secs(5);
const MAX_TTL: Duration = Duration::from_secs(3600);

/// `ttl`, `denyTtl` and `cacheControl`.
#[derive(Debug)]
pub struct Ttl {
    ttl: Duration,
    deny_ttl: Duration,
    cache_control: CacheControl,
}

impl Ttl {
    /// Compiles the times.
    ///
    /// # Errors
    /// If a time is out of range.
    pub fn compile(cache: &config::Cache) -> Result<Self, ConfigError> {
        let ttl = cache.ttl.0;
        if ttl.is_zero() || ttl > MAX_TTL {
            return Err(ConfigError::new("must be from 1ms to 1h")).at("ttl");
        }
        let deny_ttl = cache.deny_ttl.map_or(DENY_TTL.min(ttl), |time| time.0);
        if deny_ttl > MAX_TTL {
            return Err(ConfigError::new("must be at most 1h")).at("denyTtl");
        }
        Ok(Self { ttl, deny_ttl, cache_control: cache.cache_control })
    }

    /// The longest time that any response is cached.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.ttl.max(self.deny_ttl)
    }

    /// How long a response with these headers is cached; zero: not at all.
    ///
    /// Cookies and redirects are for one client: they may carry a session, or the state of a login.
    #[must_use]
    pub fn time(&self, response: &CheckResponse, headers: &Pairs) -> Duration {
        let (most, client_headers) = match response {
            CheckResponse::Allow { client, .. } => (self.ttl, client),
            CheckResponse::Deny { status: 401 | 403, headers, .. } => (self.deny_ttl, headers),
            CheckResponse::Deny { .. } => return Duration::ZERO,
        };
        if client_headers.iter().any(|(name, _)| name == "set-cookie") {
            return Duration::ZERO;
        }
        if self.cache_control == CacheControl::Ignore {
            return most;
        }
        let mut time = most;
        for (name, line) in headers.iter() {
            if name.eq_ignore_ascii_case(b"cache-control") {
                for directive in line.split(|&byte| byte == b',') {
                    time = time.min(limit(directive));
                }
            }
        }
        time
    }
}

/// The longest time that one directive allows (RFC 9111, section 5.2.2).
fn limit(directive: &[u8]) -> Duration {
    let mut parts = directive.splitn(2, |&byte| byte == b'=');
    let name = parts.next().unwrap_or_default().trim_ascii();
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"no-store") || is(b"no-cache") || is(b"private") {
        return Duration::ZERO;
    }
    if is(b"max-age") || is(b"s-maxage") {
        let seconds = parts.next().unwrap_or_default().trim_ascii();
        let seconds =
            seconds.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(seconds);
        // Section 4.2.1: an invalid number of seconds is zero.
        let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
        return Duration::from_secs(seconds.unwrap_or(0));
    }
    Duration::MAX
}

#[cfg(test)]
mod tests {
    use plugin_kit::config::Seconds;
    use plugin_kit::hostcalls::Bytes;

    use super::*;

    const fn allow() -> CheckResponse {
        CheckResponse::Allow { upstream: Vec::new(), client: Vec::new() }
    }

    fn deny(status: u16) -> CheckResponse {
        CheckResponse::Deny { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn ttl(cache_control: CacheControl) -> Ttl {
        let seconds = |seconds| Seconds(Duration::from_secs(seconds));
        let cache = config::Cache {
            ttl: seconds(30),
            deny_ttl: Some(seconds(2)),
            cache_control,
            ..Default::default()
        };
        Ttl::compile(&cache).unwrap()
    }

    fn seconds(ttl: &Ttl, response: &CheckResponse, line: &str) -> u64 {
        ttl.time(response, &Pairs::new([("Cache-Control", line.as_bytes())].into_iter())).as_secs()
    }

    #[test]
    fn cache_control_shortens_the_time_and_never_prolongs_it() {
        for (line, expected) in [
            ("", 30),
            ("public", 30),
            ("max-age=10", 10),
            ("public, MAX-AGE=\"7\"", 7),
            ("max-age=60, s-maxage=20", 20),
            ("max-age=3600", 30),
            ("max-age=0", 0),
            ("max-age=-1", 0),
            ("max-age=99999999999999999999999", 0),
            ("max-age", 0),
            ("no-store", 0),
            ("No-Cache, must-revalidate", 0),
            ("private=\"x-user\"", 0),
            ("max-age=5, no-store", 0),
        ] {
            assert_eq!(seconds(&ttl(CacheControl::Respect), &allow(), line), expected, "{line}");
            assert_eq!(seconds(&ttl(CacheControl::Ignore), &allow(), line), 30, "{line}");
        }
    }

    #[test]
    fn cache_control_of_a_denial_counts_too() {
        for status in [401, 403] {
            for (line, expected) in [
                ("", 2),
                ("max-age=1", 1),
                ("max-age=60", 2),
                ("no-store", 0),
                ("private", 0),
                ("s-maxage=0", 0),
            ] {
                let seconds = |cache_control| seconds(&ttl(cache_control), &deny(status), line);
                assert_eq!(seconds(CacheControl::Respect), expected, "{status} {line}");
                assert_eq!(seconds(CacheControl::Ignore), 2, "{status} {line}");
            }
        }
    }

    #[test]
    fn caches_only_401_and_403_denials() {
        let ttl = ttl(CacheControl::Respect);
        for (status, expected) in [(401, 2), (403, 2), (302, 0), (404, 0), (429, 0)] {
            assert_eq!(seconds(&ttl, &deny(status), ""), expected, "{status}");
        }
    }

    #[test]
    fn caches_no_response_with_a_cookie_for_the_client() {
        let cookie = vec![("set-cookie".to_owned(), b"s=1".to_vec())];
        let ttl = ttl(CacheControl::Ignore);
        let answer = CheckResponse::Allow { upstream: Vec::new(), client: cookie.clone() };
        assert_eq!(seconds(&ttl, &answer, ""), 0);
        let answer = CheckResponse::Deny { status: 401, headers: cookie, body: Bytes::new() };
        assert_eq!(seconds(&ttl, &answer, ""), 0);
    }
}
