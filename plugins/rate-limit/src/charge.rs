//! What a request costs, and when that is charged.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::HeaderName;

use crate::config;

/// What a request costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Always this.
    Fixed(u64),
    /// What a header says.
    Header {
        /// Of the request or of the response.
        name: HeaderName,
        /// Where it says nothing.
        default: u64,
        /// At most.
        max: u64,
    },
}

/// When a limit is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// With the request.
    Request,
    /// With a response of one of these statuses; `None`: of any, and where there is none.
    Response(Option<Vec<u16>>),
}

impl Cost {
    /// Checks what the operator wrote.
    pub fn compile(cost: Option<&config::Cost>) -> Result<Self, ConfigError> {
        let header = match cost {
            None => return Ok(Self::Fixed(1)),
            Some(config::Cost::Fixed(cost)) => return Ok(Self::Fixed((*cost).into())),
            Some(config::Cost::Header(header)) => header,
        };
        let (default, max) = (header.default.unwrap_or(1), header.max.unwrap_or(u32::MAX));
        if default > max {
            return Err(ConfigError::new(format!("must be at most max, which is {max}"))).at("default");
        }
        Ok(Self::Header {
            name: HeaderName::new(&header.header).at("header")?,
            default: default.into(),
            max: max.into(),
        })
    }

    /// The cost, with what `read` gives for a header. `least`: 1 where clients write the header, as 0 would be free.
    pub fn of(&self, read: &dyn Fn(&str) -> Option<Vec<u8>>, least: u64) -> u64 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header { name, default, max } => {
                let said = read(name.as_str()).and_then(|value| number(value.trim_ascii()));
                said.unwrap_or(*default).clamp(least, (*max).max(least))
            }
        }
    }
}

/// Digits, as far as they fit.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u64::from(digit.saturating_sub(b'0')));
    Some(digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(digit)))
}

impl Charge {
    /// Checks what the operator wrote.
    pub fn compile(limit: &config::Limit) -> Result<Self, ConfigError> {
        let Some(when) = &limit.charge_when else {
            return Ok(match limit.charge {
                config::Charge::Request => Self::Request,
                config::Charge::Response => Self::Response(None),
            });
        };
        if limit.charge == config::Charge::Request {
            return Err(ConfigError::new("needs charge: response")).at("chargeWhen");
        }
        if when.statuses.is_empty() {
            return Err(ConfigError::new("is empty and would charge nothing"))
                .at("statuses")
                .at("chargeWhen");
        }
        for (index, status) in when.statuses.iter().enumerate() {
            if !(100..=599).contains(status) {
                let wrong = ConfigError::new(format!("must be from 100 to 599, not {status}"));
                return Err(wrong).at_index(index).at("statuses").at("chargeWhen");
            }
        }
        Ok(Self::Response(Some(when.statuses.clone())))
    }

    /// Whether a response is charged; without a status there was none.
    pub fn meant(&self, status: Option<u16>) -> bool {
        match self {
            Self::Request => false,
            Self::Response(None) => true,
            Self::Response(Some(statuses)) => status.is_some_and(|status| statuses.contains(&status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &[u8], least: u64) -> u64 {
        let cost = Cost::Header { name: HeaderName::new("x-cost").unwrap(), default: 2, max: 50 };
        cost.of(&|name| (name == "x-cost").then(|| value.to_vec()), least)
    }

    #[test]
    fn a_header_says_what_a_request_costs() {
        for (value, cost) in [
            ("7", 7),
            (" 7 ", 7),
            ("007", 7),
            ("50", 50),
            ("51", 50),
            ("99999999999999999999999999", 50),
            ("", 2),
            ("-1", 2),
            ("1.5", 2),
            ("x", 2),
            ("\u{fffd}", 2),
        ] {
            assert_eq!(said(value.as_bytes(), 1), cost, "{value}");
        }
    }

    #[test]
    fn a_client_cannot_ask_for_free() {
        assert_eq!(said(b"0", 1), 1);
        assert_eq!(said(b"0", 0), 0, "an upstream can");
    }

    #[test]
    fn a_status_is_charged_where_it_is_meant() {
        let failures = Charge::Response(Some(vec![401, 403]));
        assert!(failures.meant(Some(401)) && !failures.meant(Some(200)) && !failures.meant(None));
        assert!(Charge::Response(None).meant(None));
        assert!(!Charge::Request.meant(Some(200)));
    }
}
