//! The limits as the request path needs them: which of them apply, for which key, and at which rate.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError, Seconds, quoted};
use plugin_kit::matching::{Ambiguities, Condition};
use plugin_kit::request::Request;
use plugin_kit::source::{SourceList, Sources};

use crate::charge::{Charge, Cost};
use crate::config::{self, Algorithm, Backend, Config, OnMissingKey};
use crate::hash::Secret;
use crate::rate::Rate;
use crate::rls;

/// How many limits a configuration has at most.
const MAX_LIMITS: usize = 512;
/// How many limits of one key lie in one shard, so that they cost one read and one write: of 32 entries, a quarter.
const TOGETHER: usize = 8;
/// The longest period of a limit.
pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 86_400);

/// Every limit, and what none of them applies to.
#[derive(Debug)]
pub struct Limits {
    limits: Vec<Limit>,
    exempt: Vec<Condition>,
    /// The conditions of both.
    conditions: Vec<Condition>,
    reads_path: bool,
    /// Whether one of them goes by the wall clock.
    pub needs_wall_clock: bool,
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// Whether it denies.
    pub enforce: bool,
    /// What a request costs.
    pub cost: Cost,
    /// Who counts.
    pub kind: Kind,
    condition: Condition,
    key: Vec<Sources>,
    on_missing: OnMissingKey,
}

/// Who counts.
#[derive(Debug)]
pub enum Kind {
    /// This proxy.
    Local(Local),
    /// The rate limit service: keys and values of the descriptor.
    Global(Vec<(String, Sources)>),
}

/// What this proxy counts.
#[derive(Debug)]
pub struct Local {
    /// When.
    pub charge: Charge,
    quota: Quota,
    exact: Vec<(Vec<u8>, Quota)>,
    prefixes: Vec<(Vec<u8>, Quota)>,
    /// A hash; limits of the same key and group lie in the same shard.
    group: u64,
}

/// A rate, and what its counters are called.
#[derive(Debug)]
struct Quota {
    rate: Rate,
    /// The hash of what makes a stored count another one's: name and algorithm, and of windows the length. Not of the
    /// numbers, so that a new rate goes on with the old counts.
    id: u64,
}

/// A limit that applies to a request.
#[derive(Debug)]
pub enum Applied {
    /// It is counted here.
    Local {
        /// At this rate.
        rate: Rate,
        /// In the shard of this hash.
        shard: u64,
        /// Under this name.
        key: u64,
    },
    /// The service is asked with this descriptor; `key` is what its denial is remembered by.
    Global {
        /// As the protocol has it.
        descriptor: Vec<u8>,
        /// Its hash.
        key: u64,
    },
    /// A part of the key is missing, and that is denied.
    Missing,
}

impl Limits {
    /// Checks what the operator wrote.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let short = short_form(config)?;
        let written = if short.is_empty() { &config.limits } else { &short };
        if written.is_empty() {
            return Err(ConfigError::new("needs limits, or maxRequests and windowSeconds"));
        }
        if written.len() > MAX_LIMITS {
            let message = format!("{} limits; at most {MAX_LIMITS} are allowed", written.len());
            return Err(ConfigError::new(message)).at("limits");
        }
        let mut limits: Vec<Limit> = Vec::new();
        for (index, limit) in written.iter().enumerate() {
            let compiled = Limit::compile(limit, &limits, config.rls.is_some());
            // The short form has no list to point into.
            limits.push(if short.is_empty() { compiled.at_index(index).at("limits")? } else { compiled? });
        }
        let mut exempt = Vec::new();
        for (index, one) in config.exempt.iter().enumerate() {
            let condition = one.matches.compile().at("match").at_index(index).at("exempt")?;
            exempt.push(condition);
        }
        let mut quotas = limits.iter().filter_map(Limit::local).flat_map(Local::quotas);
        let needs_wall_clock = quotas.any(|quota| quota.rate.needs_wall_clock());
        drop(quotas);
        let conditions: Vec<_> =
            limits.iter().map(|limit| &limit.condition).chain(&exempt).cloned().collect();
        let reads_path = conditions.iter().any(Condition::reads_path);
        Ok(Self { limits, exempt, conditions, reads_path, needs_wall_clock })
    }

    /// The limits, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter()
    }

    /// One limit.
    pub fn get(&self, index: usize) -> Option<&Limit> {
        self.limits.get(index)
    }

    /// The name of one.
    pub fn name(&self, index: usize) -> &str {
        self.get(index).map_or("", |limit| &limit.name)
    }

    /// Whether the client's address decides which limits apply, or under which key.
    pub fn read_client_ip(&self) -> bool {
        self.conditions.iter().any(Condition::reads_client_ip)
            || self.limits.iter().flat_map(Limit::sources).any(Sources::reads_client_ip)
    }

    /// The limits that apply to a request, each by its place.
    ///
    /// Servers may read one request differently. A request is charged to every limit that some reading of it is charged
    /// to, so that no client escapes a limit by the spelling of a path or host.
    pub fn applying<'a>(
        &'a self,
        request: &'a Request,
        secret: Secret,
    ) -> impl Iterator<Item = (usize, Applied)> + 'a {
        let ambiguities = Ambiguities::new(request, &self.conditions, self.reads_path);
        let exempt = self.exempt.iter().any(|exempt| exempt.matches_every_reading(&ambiguities));
        let limits = self.limits.iter().enumerate().filter(move |_| !exempt);
        limits.filter_map(move |(index, limit)| {
            let applies = limit.condition.matches_some_reading(&ambiguities);
            if applies { Some((index, limit.apply(request, secret)?)) } else { None }
        })
    }
}

/// The limit that `maxRequests` and `windowSeconds` stand for.
fn short_form(config: &Config) -> Result<Vec<config::Limit>, ConfigError> {
    let Some(requests) = config.max_requests else {
        return match config.window_seconds {
            Some(_) => Err(ConfigError::new("needs maxRequests")).at("windowSeconds"),
            None => Ok(Vec::new()),
        };
    };
    if !config.limits.is_empty() {
        return Err(ConfigError::new("the short form and limits exclude each other")).at("maxRequests");
    }
    let seconds = config.window_seconds.unwrap_or(60);
    if !(1..=MAX_PERIOD.as_secs()).contains(&seconds) {
        let message = format!("must be from 1 to {}, not {seconds}", MAX_PERIOD.as_secs());
        return Err(ConfigError::new(message)).at("windowSeconds");
    }
    Ok(vec![config::Limit {
        name: "default".into(),
        key: Some(vec![SourceList(vec!["clientIp".into()])]),
        algorithm: Some(Algorithm::FixedWindow),
        requests: Some(requests),
        per: Some(Seconds(Duration::from_secs(seconds))),
        ..config::Limit::default()
    }])
}

impl Limit {
    fn compile(limit: &config::Limit, before: &[Self], has_service: bool) -> Result<Self, ConfigError> {
        check_name(&limit.name, before).at("name")?;
        if limit.key.is_none() && limit.backend == Backend::Local {
            return Err(ConfigError::new("is needed; [] is one bucket for all requests")).at("key");
        }
        let mut key = Vec::new();
        for (index, part) in limit.key.iter().flatten().enumerate() {
            key.push(part.compile().at_index(index).at("key")?);
        }
        let cost = Cost::compile(limit.cost.as_ref()).at("cost")?;
        let kind = match limit.backend {
            Backend::Local => Kind::Local(Local::compile(limit, &key, &cost, before)?),
            Backend::Rls => Kind::Global(compile_descriptor(limit, has_service)?),
        };
        Ok(Self {
            name: limit.name.clone(),
            enforce: limit.enforce,
            cost,
            kind,
            condition: limit.matches.compile().at("match")?,
            key,
            on_missing: limit.on_missing_key,
        })
    }

    /// What this proxy counts of it.
    pub fn local(&self) -> Option<&Local> {
        match &self.kind {
            Kind::Local(local) => Some(local),
            Kind::Global(_) => None,
        }
    }

    /// The sources of its key and its descriptor.
    fn sources(&self) -> impl Iterator<Item = &Sources> {
        let descriptor = match &self.kind {
            Kind::Local(_) => &[][..],
            Kind::Global(descriptor) => descriptor,
        };
        self.key.iter().chain(descriptor.iter().map(|(_, source)| source))
    }

    /// The key of a request that the limit applies to, and its rate or descriptor.
    fn apply(&self, request: &Request, secret: Secret) -> Option<Applied> {
        let (mut first, mut hash) = (None, 0);
        for source in &self.key {
            match self.value(source, request) {
                Ok(part) => {
                    hash = secret.hash(hash, &part);
                    first = first.or(Some(part));
                }
                Err(missing) => return missing,
            }
        }
        let descriptor = match &self.kind {
            Kind::Local(local) => return Some(local.place(first.as_deref(), hash)),
            Kind::Global(descriptor) => descriptor,
        };
        let mut encoded = Vec::new();
        for (key, source) in descriptor {
            match self.value(source, request) {
                Ok(value) => rls::entry(&mut encoded, key, &value),
                Err(missing) => return missing,
            }
        }
        let key = secret.hash(secret.hash(0, self.name.as_bytes()), &encoded);
        Some(Applied::Global { descriptor: encoded, key })
    }

    /// The value of a source, or what happens without one.
    fn value(&self, source: &Sources, request: &Request) -> Result<Vec<u8>, Option<Applied>> {
        match (source.value(request), self.on_missing) {
            (Some(value), _) => Ok(value),
            (None, OnMissingKey::Skip) => Err(None),
            (None, OnMissingKey::Deny) => Err(Some(Applied::Missing)),
            (None, OnMissingKey::Empty) => Ok(Vec::new()),
        }
    }
}

impl Local {
    fn compile(
        limit: &config::Limit,
        key: &[Sources],
        cost: &Cost,
        before: &[Limit],
    ) -> Result<Self, ConfigError> {
        if limit.descriptor.is_some() {
            return Err(ConfigError::new("needs backend: rls")).at("descriptor");
        }
        let (Some(requests), Some(per)) = (limit.requests, limit.per) else {
            return Err(ConfigError::new("needs requests and per"));
        };
        let quota = Quota::compile(limit, requests, per, limit.burst)?;
        if !quota.admits(cost) {
            return Err(ConfigError::new("is more than there can ever be left")).at("cost");
        }
        let overrides = limit.overrides.as_deref().unwrap_or_default();
        if key.is_empty() && !overrides.is_empty() {
            return Err(ConfigError::new("are of the first part of the key, and there is none"))
                .at("overrides");
        }
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for (index, other) in overrides.iter().enumerate() {
            let compiled = Quota::compile(limit, other.requests, other.per.unwrap_or(per), other.burst);
            let quota =
                compiled.and_then(|quota| quota.admitting(cost, other)).at_index(index).at("overrides")?;
            let (value, list) = match other.value.strip_suffix('*') {
                Some(prefix) => (prefix, &mut prefixes),
                None => (other.value.as_str(), &mut exact),
            };
            if other.value.is_empty() || value.contains('*') {
                let message =
                    format!("{} must be a value, or a prefix with * after it", quoted(&other.value));
                return Err(ConfigError::new(message)).at("value").at_index(index).at("overrides");
            }
            list.push((value.as_bytes().to_vec(), quota));
        }
        let same_key = before.iter().filter(|limit| limit.local().is_some() && limit.key == key).count();
        Ok(Self {
            charge: Charge::compile(limit)?,
            quota,
            exact,
            prefixes,
            group: Secret::KNOWN.hash(0, &same_key.checked_div(TOGETHER).unwrap_or(0).to_le_bytes()),
        })
    }

    fn quotas(&self) -> impl Iterator<Item = &Quota> {
        let others = self.exact.iter().chain(&self.prefixes).map(|(_, quota)| quota);
        std::iter::once(&self.quota).chain(others)
    }

    fn quota(&self, first: Option<&[u8]>) -> &Quota {
        let Some(first) = first else { return &self.quota };
        let exact = self.exact.iter().find(|(value, _)| value == first);
        exact
            .or_else(|| {
                let fitting = self.prefixes.iter().filter(|(prefix, _)| first.starts_with(prefix));
                fitting.max_by_key(|(prefix, _)| prefix.len())
            })
            .map_or(&self.quota, |(_, quota)| quota)
    }

    /// `hash` is that of the key, which only the proxy knows: what is mixed in needs no secret.
    fn place(&self, first: Option<&[u8]>, hash: u64) -> Applied {
        let quota = self.quota(first);
        Applied::Local { rate: quota.rate, shard: hash ^ self.group, key: hash ^ quota.id }
    }
}

impl Quota {
    fn compile(
        limit: &config::Limit,
        requests: u64,
        per: Seconds,
        burst: Option<u64>,
    ) -> Result<Self, ConfigError> {
        if per.0.is_zero() || per.0 > MAX_PERIOD {
            return Err(ConfigError::new("must be from 1ms to 366d")).at("per");
        }
        let nanos = u64::try_from(per.0.as_nanos()).unwrap_or(u64::MAX);
        let algorithm = limit.algorithm.unwrap_or_default();
        let (rate, id) = match algorithm {
            _ if requests == 0 => (Some(Rate::nothing(nanos)), "nothing".to_owned()),
            Algorithm::Gcra => {
                let burst = burst.unwrap_or(requests);
                if burst == 0 {
                    return Err(ConfigError::new("must be at least 1; requests: 0 denies all")).at("burst");
                }
                (Rate::gcra(requests, nanos, burst), "gcra".to_owned())
            }
            Algorithm::FixedWindow => (Rate::window(requests, nanos, false), format!("fixed {nanos}")),
            Algorithm::SlidingWindow => (Rate::window(requests, nanos, true), format!("sliding {nanos}")),
        };
        if burst.is_some() && algorithm != Algorithm::Gcra {
            return Err(ConfigError::new("is for gcra; a window admits all its requests at once"))
                .at("burst");
        }
        let Some(rate) = rate else {
            return Err(ConfigError::new(format!("{requests} is more than can be counted"))).at("requests");
        };
        Ok(Self { rate, id: Secret::KNOWN.hash(Secret::KNOWN.hash(0, limit.name.as_bytes()), id.as_bytes()) })
    }

    /// Whether a request of this cost can ever pass, where not all are denied.
    fn admits(&self, cost: &Cost) -> bool {
        match cost {
            Cost::Fixed(cost) if self.rate.requests() > 0 => {
                self.rate.take(None, Default::default(), *cost).is_ok()
            }
            _ => true,
        }
    }

    /// The quota of an override, if a request of this cost can ever pass.
    fn admitting(self, cost: &Cost, written: &config::Override) -> Result<Self, ConfigError> {
        let Cost::Fixed(least) = cost else { return Ok(self) };
        if self.admits(cost) {
            return Ok(self);
        }
        let (field, hint) = match written.burst {
            Some(_) => ("burst", ""),
            None => ("requests", "; requests: 0 denies all"),
        };
        Err(ConfigError::new(format!("is less than cost, which is {least}{hint}"))).at(field)
    }
}

fn check_name(name: &str, before: &[Limit]) -> Result<(), ConfigError> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(valid) {
        let message = format!("{} must be of lower-case letters, digits and hyphens", quoted(name));
        return Err(ConfigError::new(message));
    }
    match before.iter().position(|limit| limit.name == name) {
        Some(index) => {
            Err(ConfigError::new(format!("{} is the name of limits[{index}] already", quoted(name))))
        }
        None => Ok(()),
    }
}

fn compile_descriptor(
    limit: &config::Limit,
    has_service: bool,
) -> Result<Vec<(String, Sources)>, ConfigError> {
    if !has_service {
        return Err(ConfigError::new("there is no rls, which says where the service is")).at("backend");
    }
    for (field, given) in [
        ("requests", limit.requests.is_some()),
        ("per", limit.per.is_some()),
        ("burst", limit.burst.is_some()),
        ("algorithm", limit.algorithm.is_some()),
        ("overrides", limit.overrides.is_some()),
    ] {
        if given {
            return Err(ConfigError::new("the service knows it; it is for backend: local")).at(field);
        }
    }
    if limit.charge == config::Charge::Response || limit.charge_when.is_some() {
        return Err(ConfigError::new("the service charges when it is asked; this is for backend: local"))
            .at("charge");
    }
    let entries = limit.descriptor.as_deref().unwrap_or_default();
    if entries.is_empty() {
        return Err(ConfigError::new("needs at least one entry")).at("descriptor");
    }
    let mut compiled = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.key.is_empty() {
            return Err(ConfigError::new("is empty")).at("key").at_index(index).at("descriptor");
        }
        let value = entry.value.compile().at("value").at_index(index).at("descriptor")?;
        compiled.push((entry.key.clone(), value));
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(json: &str) -> Limits {
        Limits::compile(&plugin_kit::config::parse(json.as_bytes()).unwrap()).unwrap()
    }

    fn applying(limits: &Limits, request: &Request) -> Vec<(usize, Applied)> {
        limits.applying(request, Secret::new([7; 16])).collect()
    }

    /// Shard, key and `requests` of the first limit.
    fn place(limits: &Limits, request: &Request) -> (u64, u64, u64) {
        match applying(limits, request).swap_remove(0).1 {
            Applied::Local { rate, shard, key } => (shard, key, rate.requests()),
            other => panic!("{other:?}"),
        }
    }

    fn tenant(value: &str) -> Request {
        Request::detached(&[("x-tenant", value.as_bytes()), ("x-user", b"u")])
    }

    #[test]
    fn an_override_is_of_the_first_part_exact_before_the_longest_prefix() {
        let limits = limits(
            r#"{"limits": [{"name": "t", "key": ["header:x-tenant", "header:x-user"], "requests": 10, "per": "1s", "overrides": [
                {"value": "g*", "requests": 1}, {"value": "gold-*", "requests": 1000}, {"value": "gold-x", "requests": 5}, {"value": "blocked", "requests": 0}]}]}"#,
        );
        for (value, requests) in
            [("a", 10), ("gx", 1), ("gold-1", 1000), ("gold-x", 5), ("blocked", 0), ("blocked2", 10)]
        {
            assert_eq!(place(&limits, &tenant(value)).2, requests, "{value}");
        }
    }

    #[test]
    fn parts_of_a_key_are_kept_apart() {
        let limits = limits(
            r#"{"limits": [{"name": "t", "key": ["header:a", "header:b"], "requests": 10, "per": "1s", "onMissingKey": "empty"}]}"#,
        );
        let key = |a: &str, b: &str| {
            place(&limits, &Request::detached(&[("a", a.as_bytes()), ("b", b.as_bytes())])).1
        };
        let keys = [key("ab", "c"), key("a", "bc"), key("", "abc"), key("abc", ""), key("abc", "x")];
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn limits_of_one_key_lie_in_one_shard_eight_at_a_time() {
        let limit = |index: usize| {
            format!(r#"{{"name": "l{index}", "key": ["header:x-tenant"], "requests": 1, "per": "1s"}}"#)
        };
        let all: Vec<_> = (0..20).map(limit).collect();
        let limits = limits(&format!(r#"{{"limits": [{}]}}"#, all.join(",")));
        let shards: Vec<u64> = applying(&limits, &tenant("a"))
            .into_iter()
            .map(|(_, applied)| match applied {
                Applied::Local { shard, .. } => shard,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(shards[..8].iter().all(|shard| *shard == shards[0]));
        assert!(shards[8..16].iter().all(|shard| *shard == shards[8]));
        assert!(shards[0] != shards[8] && shards[8] != shards[16]);
    }

    #[test]
    fn a_new_rate_goes_on_with_the_old_counts_and_a_new_window_does_not() {
        let key = |numbers: &str| {
            let json = format!(r#"{{"limits": [{{"name": "t", "key": [], {numbers}}}]}}"#);
            place(&limits(&json), &tenant("a")).1
        };
        assert_eq!(key(r#""requests": 1, "per": "1s""#), key(r#""requests": 7, "per": "1h", "burst": 3"#));
        let fixed = |numbers: &str| key(&format!(r#""algorithm": "fixedWindow", {numbers}"#));
        assert_eq!(fixed(r#""requests": 1, "per": "1s""#), fixed(r#""requests": 2, "per": "1s""#));
        assert_ne!(fixed(r#""requests": 1, "per": "1s""#), fixed(r#""requests": 1, "per": "2s""#));
        assert_ne!(fixed(r#""requests": 1, "per": "1s""#), key(r#""requests": 1, "per": "1s""#));
    }

    #[test]
    fn what_happens_without_a_key_is_a_choice() {
        let applied = |mode: &str| {
            let json = format!(
                r#"{{"limits": [{{"name": "t", "key": ["header:x-none"], "onMissingKey": "{mode}", "requests": 1, "per": "1s"}}]}}"#
            );
            applying(&limits(&json), &tenant("a")).pop()
        };
        assert!(applied("skip").is_none());
        assert!(matches!(applied("deny"), Some((0, Applied::Missing))));
        assert!(matches!(applied("empty"), Some((0, Applied::Local { .. }))));
    }

    #[test]
    fn exempt_requests_meet_no_limit() {
        let limits = limits(
            r#"{"exempt": [{"match": {"paths": [{"exact": "/healthz"}]}}], "limits": [{"name": "t", "key": [], "requests": 1, "per": "1s"}]}"#,
        );
        assert!(applying(&limits, &Request::detached(&[(":path", b"/healthz")])).is_empty());
        assert_eq!(applying(&limits, &Request::detached(&[(":path", b"/")])).len(), 1);
    }
}
