//! What clients are told: the fields of draft-ietf-httpapi-ratelimit-headers-11, and the older `X-RateLimit-*`.

/// The largest integer of a structured field (RFC 9651).
const MAX: u64 = 999_999_999_999_999;
const SECOND: u64 = 1_000_000_000;

/// One limit, as a client is shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The policy.
    pub name: &'a str,
    /// How many in each window, and how long that is in seconds; `None`: the service did not say.
    pub policy: Option<(u64, u64)>,
    /// How many are left; of a policy with a larger burst no more than its quota is shown.
    pub remaining: u64,
    /// For how many seconds that is so; `None`: for good.
    pub reset: Option<u64>,
}

/// A policy as clients are shown it: its window is in whole seconds, with the quota of as many periods as it has.
pub fn policy(requests: u64, per: u64) -> (u64, u64) {
    let window = seconds(per);
    let whole = u128::from(requests).saturating_mul(window.into()).saturating_mul(SECOND.into());
    let quota = whole.checked_div(per.into()).and_then(|quota| u64::try_from(quota).ok());
    (quota.unwrap_or(requests), window)
}

/// `RateLimit-Policy`; `None` where no policy is known.
pub fn policies(shown: &[Shown<'_>]) -> Option<String> {
    list(shown, &|one| {
        let (quota, window) = one.policy?;
        // A window must not be 0.
        let window = if window > 0 { format!(";w={}", window.min(MAX)) } else { String::new() };
        Some(format!("\"{}\";q={}{window}", one.name, quota.min(MAX)))
    })
}

/// `RateLimit`.
pub fn limits(shown: &[Shown<'_>]) -> Option<String> {
    list(shown, &|one| {
        let reset = one.reset.map_or_else(String::new, |reset| format!(";t={}", reset.min(MAX)));
        Some(format!("\"{}\";r={}{reset}", one.name, one.remaining().min(MAX)))
    })
}

impl Shown<'_> {
    fn remaining(&self) -> u64 {
        self.policy.map_or(self.remaining, |(quota, _)| self.remaining.min(quota))
    }
}

/// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit with the least left.
pub fn x_rate_limit(shown: &[Shown<'_>]) -> Vec<(&'static str, String)> {
    let Some(least) = shown.iter().min_by_key(|one| one.remaining()) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some((quota, _)) = least.policy {
        lines.push(("x-ratelimit-limit", quota.to_string()));
    }
    lines.push(("x-ratelimit-remaining", least.remaining().to_string()));
    if let Some(reset) = least.reset {
        lines.push(("x-ratelimit-reset", reset.to_string()));
    }
    lines
}

/// Nanoseconds as whole seconds that are not too few.
pub fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(SECOND)
}

fn list(shown: &[Shown<'_>], member: &dyn Fn(&Shown<'_>) -> Option<String>) -> Option<String> {
    let mut whole = String::new();
    for member in shown.iter().filter_map(member) {
        if !whole.is_empty() {
            whole.push_str(", ");
        }
        whole.push_str(&member);
    }
    (!whole.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use sfv::{BareItem, Item, List, ListEntry, Parser};

    use super::*;

    fn shown(name: &str, policy: Option<(u64, u64)>, remaining: u64, reset: Option<u64>) -> Shown<'_> {
        Shown { name, policy, remaining, reset }
    }

    /// Each member: its name and its parameters, read by a parser of structured fields.
    fn parsed(field: &str) -> Vec<(String, Vec<(String, i64)>)> {
        let list: List = Parser::new(field).parse().unwrap();
        let member = |entry: &ListEntry| match entry {
            ListEntry::Item(Item { bare_item: BareItem::String(name), params }) => {
                let number = |item: &BareItem| i64::from(item.as_integer().unwrap());
                let params = params.iter().map(|(key, value)| (key.as_str().to_owned(), number(value)));
                (name.as_str().to_owned(), params.collect())
            }
            other => panic!("{other:?}"),
        };
        list.iter().map(member).collect()
    }

    #[test]
    fn fields_are_structured() {
        let shown = [
            shown("per-client", Some((100, 60)), 50, Some(30)),
            shown("daily", Some((u64::MAX, u64::MAX)), u64::MAX, None),
            shown("service", None, 0, Some(7)),
        ];
        let text = policies(&shown).unwrap();
        assert_eq!(text, r#""per-client";q=100;w=60, "daily";q=999999999999999;w=999999999999999"#);
        assert_eq!(parsed(&text)[0], ("per-client".into(), vec![("q".into(), 100), ("w".into(), 60)]));
        let text = limits(&shown).unwrap();
        assert_eq!(text, r#""per-client";r=50;t=30, "daily";r=999999999999999, "service";r=0;t=7"#);
        assert_eq!(parsed(&text).len(), 3);
        assert_eq!(parsed(&text)[2], ("service".into(), vec![("r".into(), 0), ("t".into(), 7)]));
        assert_eq!((policies(&[]), limits(&[])), (None, None));
    }

    #[test]
    fn the_older_headers_show_the_limit_with_the_least_left() {
        let shown = [shown("a", Some((100, 60)), 50, Some(30)), shown("b", Some((10, 1)), 2, Some(1))];
        let lines = x_rate_limit(&shown);
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            lines,
            [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "2"), ("x-ratelimit-reset", "1")]
        );
        assert!(x_rate_limit(&[]).is_empty());
    }

    #[test]
    fn seconds_are_never_too_few() {
        assert_eq!([0, 1, SECOND, SECOND + 1].map(seconds), [0, 1, 1, 2]);
    }
}
