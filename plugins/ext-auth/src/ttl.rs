//! How long an answer may be used again.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::pairs::Pairs;

use crate::check_response::CheckResponse;
use crate::config::{self, CacheControl};

const DENY_TTL: Duration = Duration::from_secs(5);
const MAX_TTL: Duration = Duration::from_secs(3600);

/// The times.
#[derive(Debug)]
pub struct Ttl {
    ttl: Duration,
    deny_ttl: Duration,
    cache_control: CacheControl,
}

impl Ttl {
    /// Checks what the operator wrote.
    ///
    /// # Errors
    /// Where a time is out of its range.
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

    /// The longest time that any response may be used.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.ttl.max(self.deny_ttl)
    }

    /// How long this answer may be used, whose headers these are; zero: not again.
    ///
    /// A cookie or a redirect is for the client that asked: it may carry a session, or the state of a login.
    #[must_use]
    pub fn time(&self, answer: &CheckResponse, headers: &Pairs) -> Duration {
        let (most, told) = match answer {
            CheckResponse::Allow { client, .. } => (self.ttl, client),
            CheckResponse::Deny { status: 401 | 403, headers, .. } => (self.deny_ttl, headers),
            CheckResponse::Deny { .. } => return Duration::ZERO,
        };
        if told.iter().any(|(name, _)| name == "set-cookie") {
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

/// What one directive allows at most (RFC 9111, section 5.2.2).
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
        // Section 4.2.1: what cannot be read is stale.
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

    fn keep(cache_control: CacheControl) -> Ttl {
        let seconds = |seconds| Seconds(Duration::from_secs(seconds));
        let cache = config::Cache {
            ttl: seconds(30),
            deny_ttl: Some(seconds(2)),
            cache_control,
            ..Default::default()
        };
        Ttl::compile(&cache).unwrap()
    }

    fn seconds(keep: &Ttl, answer: &CheckResponse, line: &str) -> u64 {
        keep.time(answer, &Pairs::new([("Cache-Control", line.as_bytes())].into_iter())).as_secs()
    }

    #[test]
    fn the_service_shortens_the_time_and_never_prolongs_it() {
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
            assert_eq!(seconds(&keep(CacheControl::Respect), &allow(), line), expected, "{line}");
            assert_eq!(seconds(&keep(CacheControl::Ignore), &allow(), line), 30, "{line}");
        }
    }

    #[test]
    fn of_denials_those_are_kept_that_are_about_the_credentials() {
        let keep = keep(CacheControl::Respect);
        for (status, expected) in [(401, 2), (403, 2), (302, 0), (404, 0), (429, 0)] {
            assert_eq!(seconds(&keep, &deny(status), ""), expected, "{status}");
        }
    }

    #[test]
    fn a_cookie_is_for_one_client() {
        let cookie = vec![("set-cookie".to_owned(), b"s=1".to_vec())];
        let keep = keep(CacheControl::Ignore);
        let answer = CheckResponse::Allow { upstream: Vec::new(), client: cookie.clone() };
        assert_eq!(seconds(&keep, &answer, ""), 0);
        let answer = CheckResponse::Deny { status: 401, headers: cookie, body: Bytes::new() };
        assert_eq!(seconds(&keep, &answer, ""), 0);
    }
}
