//! The claims of a token: the registered ones typed, the rest as they are.

use plugin_kit::json::Json;
use std::time::Duration;

use crate::reject::Reject;

/// The claims of a token. Nothing here has been verified yet.
#[derive(Clone, Debug)]
pub struct Claims {
    /// All of them.
    pub all: Json,
    /// Who issued it.
    pub issuer: Option<String>,
    /// Whom it is meant for.
    pub audiences: Option<Vec<String>>,
    /// `exp`, in seconds since the epoch.
    expires: Option<u64>,
    /// `nbf`.
    not_before: Option<u64>,
    /// `iat`.
    issued: Option<u64>,
}

/// What a provider wants of the times of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How far the clocks may be apart.
    pub skew: Duration,
    /// Whether there must be an `exp`.
    pub require_expiration: bool,
    /// The most that may be between `iat` and `exp`.
    pub max_lifetime: Option<Duration>,
}

impl Claims {
    /// Reads the registered claims (RFC 7519, section 4.1). One of a wrong type spoils the token.
    ///
    /// # Errors
    /// [`Reject::Malformed`].
    pub fn read(all: Json) -> Result<Self, Reject> {
        if !matches!(all, Json::Map(_)) {
            return Err(Reject::Malformed);
        }
        for name in ["sub", "jti"] {
            text(&all, name)?;
        }
        Ok(Self {
            issuer: text(&all, "iss")?.map(str::to_owned),
            audiences: audiences(&all)?,
            expires: date(&all, "exp", 1, f64::floor)?,
            // Later is stricter here.
            not_before: date(&all, "nbf", 0, f64::ceil)?,
            issued: date(&all, "iat", 0, f64::floor)?,
            all,
        })
    }

    /// Whether the token is valid at `now`, the time since the epoch. `None`, where the clock fails, is after every end and
    /// before every start.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_times(&self, times: &Times, now: Option<Duration>) -> Result<(), Reject> {
        let (now, skew) = (now.map(|now| now.as_secs()), times.skew.as_secs());
        let is_over = |end: u64| now.is_none_or(|now| now >= end.saturating_add(skew));
        let is_to_come = |start: u64| now.is_none_or(|now| start > now.saturating_add(skew));
        match self.expires {
            Some(expires) if is_over(expires) => return Err(Reject::Expired),
            None if times.require_expiration => return Err(Reject::RequiredClaim),
            _ => {}
        }
        if self.not_before.is_some_and(is_to_come) || self.issued.is_some_and(is_to_come) {
            return Err(Reject::NotYetValid);
        }
        if let Some(max) = times.max_lifetime {
            let (Some(expires), Some(issued)) = (self.expires, self.issued) else {
                return Err(Reject::RequiredClaim);
            };
            if expires.saturating_sub(issued) > max.as_secs() {
                return Err(Reject::RequiredClaim);
            }
        }
        Ok(())
    }
}

fn text<'a>(all: &'a Json, name: &str) -> Result<Option<&'a str>, Reject> {
    match all.member(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reject::Malformed),
    }
}

fn audiences(all: &Json) -> Result<Option<Vec<String>>, Reject> {
    match all.member("aud") {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Json::List(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Some).ok_or(Reject::Malformed)
        }
        Some(_) => Err(Reject::Malformed),
    }
}

/// A `NumericDate`: from `least` up to where a double no longer names one second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn date(all: &Json, name: &str, least: u64, round: fn(f64) -> f64) -> Result<Option<u64>, Reject> {
    /// 2^53.
    const END: f64 = 9_007_199_254_740_992.0;
    let number = match all.member(name) {
        None => return Ok(None),
        Some(Json::Number(text)) => round(text.parse::<f64>().map_err(|_| Reject::Malformed)?),
        Some(_) => return Err(Reject::Malformed),
    };
    if !(0.0..END).contains(&number) {
        return Err(Reject::Malformed);
    }
    let seconds = number as u64;
    if seconds < least { Err(Reject::Malformed) } else { Ok(Some(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_kit::json;

    const NOW: Duration = Duration::from_secs(1_000);
    const TIMES: Times =
        Times { skew: Duration::from_secs(60), require_expiration: true, max_lifetime: None };

    fn read(text: &str) -> Result<Claims, Reject> {
        Claims::read(json::parse(text.as_bytes(), 8).unwrap())
    }

    fn check(text: &str, times: &Times) -> Result<(), Reject> {
        read(text)?.check_times(times, Some(NOW))
    }

    #[test]
    fn a_registered_claim_of_a_wrong_type_spoils_the_token() {
        for value in ["1", "true", "null", "{}", "[]", r#"["a"]"#, "0.5"] {
            for name in ["iss", "sub", "jti"] {
                assert_eq!(
                    read(&format!("{{\"{name}\":{value}}}")).err(),
                    Some(Reject::Malformed),
                    "{name} {value}"
                );
            }
        }
        for value in [
            "\"1\"",
            "true",
            "null",
            "{}",
            "[1]",
            "-1",
            "1e400",
            "18446744073709551616",
            "1e30",
            "9007199254740992",
        ] {
            for name in ["exp", "nbf", "iat"] {
                assert_eq!(
                    read(&format!("{{\"{name}\":{value}}}")).err(),
                    Some(Reject::Malformed),
                    "{name} {value}"
                );
            }
        }
        for value in ["1", "null", "{}", r#"["a",1]"#, "[[]]"] {
            assert_eq!(read(&format!("{{\"aud\":{value}}}")).err(), Some(Reject::Malformed), "aud {value}");
        }
        for payload in ["[1]", "\"a\"", "1", "null", "[100,null,null,null,null]"] {
            assert_eq!(read(payload).err(), Some(Reject::Malformed), "{payload}");
        }
        assert_eq!(read(r#"{"exp":0}"#).err(), Some(Reject::Malformed), "no token has expired in 1970");
        assert_eq!(read(r#"{"aud":[]}"#).unwrap().audiences, Some(Vec::new()));
    }

    #[test]
    fn a_token_ends_at_exp_plus_skew_to_the_second() {
        for (exp, expected) in [
            ("941", Ok(())),
            ("940", Err(Reject::Expired)),
            ("940.9", Err(Reject::Expired)),
            ("9.41e2", Ok(())),
            ("9007199254740991", Ok(())),
        ] {
            assert_eq!(check(&format!("{{\"exp\":{exp}}}"), &TIMES), expected, "{exp}");
        }
        assert_eq!(check("{}", &TIMES), Err(Reject::RequiredClaim));
        assert_eq!(check("{}", &Times { require_expiration: false, ..TIMES }), Ok(()));
        let forever = Times { skew: Duration::from_secs(u64::MAX), ..TIMES };
        assert_eq!(check(r#"{"exp":1}"#, &forever), Ok(()), "nothing overflows");
    }

    #[test]
    fn a_token_from_the_future_is_not_valid_yet() {
        for name in ["nbf", "iat"] {
            assert_eq!(check(&format!("{{\"exp\":2000,\"{name}\":1060}}"), &TIMES), Ok(()));
            let later = check(&format!("{{\"exp\":2000,\"{name}\":1061}}"), &TIMES);
            assert_eq!(later, Err(Reject::NotYetValid), "{name}");
        }
        assert_eq!(check(r#"{"exp":2000,"nbf":1060.1}"#, &TIMES), Err(Reject::NotYetValid));
    }

    #[test]
    fn without_a_clock_no_date_is_met() {
        for (claims, expected) in [
            (r#"{"exp":9007199254740991}"#, Err(Reject::Expired)),
            (r#"{"nbf":0}"#, Err(Reject::NotYetValid)),
            (r#"{"iat":0}"#, Err(Reject::NotYetValid)),
            ("{}", Ok(())),
        ] {
            let times = Times { require_expiration: false, skew: Duration::MAX, ..TIMES };
            assert_eq!(read(claims).unwrap().check_times(&times, None), expected, "{claims}");
        }
    }

    #[test]
    fn a_lifetime_can_be_bounded() {
        let times = Times { max_lifetime: Some(Duration::from_secs(100)), ..TIMES };
        assert_eq!(check(r#"{"iat":950,"exp":1050}"#, &times), Ok(()));
        assert_eq!(check(r#"{"iat":950,"exp":1051}"#, &times), Err(Reject::RequiredClaim));
        assert_eq!(check(r#"{"exp":1051}"#, &times), Err(Reject::RequiredClaim));
    }
}
