//! Fetching key sets: the calls, and what goes through shared data. When to do what is `jwks_fetch`'s affair.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use plugin_kit::callout::{HttpCall, HttpCallResponse, Token};
use plugin_kit::config::{ConfigError, quoted};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::{hostcalls, shared_data};

use crate::jwks::{self, SetPolicy};
use crate::jwks_fetch::{Absent, Record, Schedule};
use crate::verify::KeySet;

const FORMAT: u32 = 1;

/// A key set that is fetched.
#[derive(Debug)]
pub struct Remote {
    /// Of the provider, for logs.
    name: String,
    location: Location,
    schedule: Schedule,
    policy: SetPolicy,
    /// Where the [`Record`] is shared.
    record_key: String,
    /// Where the set itself is shared: its generation, then its text.
    set_key: String,
    current: RefCell<Option<Rc<KeySet>>>,
    /// A token of this worker has a key that is not in the set.
    wanted: Cell<bool>,
    /// This worker's own call.
    call: Cell<Option<Token>>,
    fetches: Fetches,
}

#[derive(Debug)]
struct Fetches {
    succeeded: Counter,
    failed: Counter,
}

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    cluster: String,
    authority: String,
    path: String,
}

impl Location {
    /// Reads a URI; `cluster` is where Envoy sends it, if it is not the one that Istio has for it.
    ///
    /// # Errors
    /// Where it is not an http or https URI.
    pub fn new(uri: &str, cluster: Option<&str>) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::new(format!("{} is not a URI such as https://host/path", quoted(uri)));
        let (port, rest) = match uri.split_once("://") {
            Some(("https", rest)) => (443, rest),
            Some(("http", rest)) => (80, rest),
            _ => return Err(wrong()),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !authority.ends_with(']') => {
                (host, digits.parse::<u16>().map_err(|_| wrong())?)
            }
            _ => (authority, port),
        };
        let printable = uri.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || authority.contains('@') || uri.contains('#') || !printable {
            return Err(wrong());
        }
        Ok(Self {
            cluster: cluster.map_or_else(|| format!("outbound|{port}||{host}"), str::to_owned),
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

impl Remote {
    /// A set of which nothing is known yet.
    #[must_use]
    pub fn new(plugin: &str, name: &str, location: Location, schedule: Schedule, policy: SetPolicy) -> Self {
        // Whoever wants the same set within the same limits, in this plugin or in another instance of it, gets it together.
        let SetPolicy { keys, max_keys, max_bytes, .. } = policy;
        let limits =
            [keys.min_rsa_bits, keys.max_rsa_bits, max_keys, max_bytes].map(|limit| limit.to_string());
        let Location { cluster, authority, path } = &location;
        let store = format!("{cluster}|{authority}{path}|{}", limits.join("|"));
        let counter = |result| Counter::new(metrics::component(plugin, result, "jwks_fetch_total"));
        Self {
            name: name.to_owned(),
            record_key: shared_data::key(plugin, &store, FORMAT, "record"),
            set_key: shared_data::key(plugin, &store, FORMAT, "set"),
            location,
            schedule,
            policy,
            current: RefCell::default(),
            wanted: Cell::new(false),
            call: Cell::new(None),
            fetches: Fetches { succeeded: counter("success"), failed: counter("failed") },
        }
    }

    /// The keys that may be used at `now`.
    #[must_use]
    pub fn keys(&self, now: Duration) -> Option<Rc<KeySet>> {
        let keys = self.current.borrow().clone();
        match keys {
            Some(keys) if now < keys.usable_until => Some(keys),
            // Another worker may have fetched since.
            _ => self.adopt(&self.record(), now),
        }
    }

    /// Whether there are keys at all.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// What to do about a key that is not in generation `seen`: a newer set, where there is one.
    pub fn unknown_kid(&self, seen: u64, now: Duration) -> Result<Rc<KeySet>, Absent> {
        let record = self.record();
        if record.generation != seen
            && let Some(keys) = self.adopt(&record, now)
        {
            return Ok(keys);
        }
        let absent = record.absent(&self.schedule, now);
        if absent == Absent::Ask && !self.wanted.replace(true) {
            // The next tick, and that soon: what a request starts ends with the request.
            let _ = hostcalls::set_tick_period(SOON);
        }
        Err(absent)
    }

    /// Goes to fetch where that is due and nobody else is going; takes over what others have fetched.
    pub fn on_tick(&self, now: Duration) {
        let stored = shared_data::get(&self.record_key).ok().flatten();
        let record = stored.as_ref().map(|(bytes, _)| Record::read(bytes)).unwrap_or_default();
        self.adopt(&record, now);
        let Some(why) = record.due(&self.schedule, now, self.wanted.replace(false)) else { return };
        let leased = record.leased(why, &self.schedule, now).write();
        let won = match stored {
            Some((_, cas)) => shared_data::swap(&self.record_key, &leased, cas),
            None => shared_data::insert(&self.record_key, &leased),
        };
        if won == Ok(true) {
            self.fetch();
        }
    }

    fn fetch(&self) {
        let Location { cluster, authority, path } = &self.location;
        let call = HttpCall {
            cluster,
            method: b"GET",
            path: path.as_bytes(),
            authority: authority.as_bytes(),
            headers: &[("accept", b"application/json, application/jwk-set+json")],
            body: None,
            timeout: self.schedule.timeout,
        };
        match call.dispatch() {
            Ok(token) => self.call.set(Some(token)),
            Err(refused) => self.failed(&format!("the cluster {} refused it: {refused:?}", quoted(cluster))),
        }
    }

    /// The answer to a call of this worker, if it is that to ours.
    pub fn on_answer(&self, token: Token, num_headers: usize, body_size: usize, now: Duration) -> bool {
        if self.call.get() != Some(token) {
            return false;
        }
        self.call.set(None);
        let limit = self.policy.max_bytes;
        if body_size > limit {
            self.failed(&format!("{body_size} bytes; at most {limit} are taken"));
            return true;
        }
        match HttpCallResponse::read(num_headers, body_size, limit) {
            Some(HttpCallResponse { status: 200, body }) => match jwks::read(&body, &self.policy) {
                Ok(_) => self.succeeded(&body, now),
                Err(reason) => self.failed(&reason),
            },
            Some(HttpCallResponse { status, .. }) => self.failed(&format!("HTTP status {status}")),
            None => self.failed("the connection was reset"),
        }
        true
    }

    fn succeeded(&self, text: &[u8], now: Duration) {
        self.fetches.succeeded.increment();
        let published = shared_data::update(&self.set_key, |stored| {
            let (generation, known) =
                stored.and_then(<[u8]>::split_first_chunk::<8>).unwrap_or((&[0; 8], &[]));
            let generation = u64::from_le_bytes(*generation);
            if known == text {
                return (None, generation);
            }
            let next = generation.saturating_add(1);
            (Some([&next.to_le_bytes(), text].concat()), next)
        });
        let done = published.and_then(|generation| self.change(|record| record.fetched(generation, now)));
        match done {
            Ok(record) => {
                self.adopt(&record, now);
            }
            Err(contended) => {
                warn!("the keys of provider {} were fetched and are not shared: {contended:?}", self.name)
            }
        }
    }

    fn failed(&self, reason: &str) {
        self.fetches.failed.increment();
        let kept = if self.is_ready() { "the last ones are used" } else { "there are none" };
        warn!("the keys of provider {} were not fetched, {kept}: {reason}", self.name);
        if let Err(contended) = self.change(Record::failed) {
            warn!("the keys of provider {}: {contended:?}", self.name);
        }
    }

    fn record(&self) -> Record {
        let stored = shared_data::get(&self.record_key).ok().flatten();
        stored.map(|(bytes, _)| Record::read(&bytes)).unwrap_or_default()
    }

    fn change(&self, change: impl Fn(&Record) -> Record) -> Result<Record, shared_data::Contended> {
        shared_data::update(&self.record_key, |stored| {
            let record = change(&stored.map(Record::read).unwrap_or_default());
            (Some(record.write()), record)
        })
    }

    /// Takes over the shared set if it is another one, and drops one that is too old.
    fn adopt(&self, record: &Record, now: Duration) -> Option<Rc<KeySet>> {
        let mut current = self.current.borrow_mut();
        if !record.is_usable(&self.schedule, now) {
            if current.take().is_some() {
                warn!("the keys of provider {} are too old to be used", self.name);
            }
            return None;
        }
        let usable_until = record.usable_until(&self.schedule);
        if let Some(known) = current.as_ref()
            && known.generation == record.generation
        {
            if known.usable_until != usable_until {
                *current = Some(Rc::new(KeySet { usable_until, ..KeySet::clone(known) }));
            }
            return current.clone();
        }
        let (stored, _) = shared_data::get(&self.set_key).ok().flatten()?;
        let (generation, text) = stored.split_first_chunk::<8>()?;
        let set = match jwks::read(text, &self.policy) {
            Ok(set) => set,
            // What another version of the plugin took, this one may not.
            Err(reason) => {
                warn!("the keys of provider {} are not taken over: {reason}", self.name);
                return current.clone();
            }
        };
        for reason in &set.skipped {
            warn!("a key of provider {} is left out: {reason}", self.name);
        }
        info!("provider {} has {} keys", self.name, set.keys.len());
        let generation = u64::from_le_bytes(*generation);
        *current = Some(Rc::new(KeySet { generation, keys: set.keys.into(), usable_until }));
        current.clone()
    }
}

/// How soon a tick comes that somebody waits for.
pub const SOON: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_leads_to_istios_cluster() {
        for (uri, cluster, authority, path) in [
            (
                "https://kc.example.com/certs?a=b",
                "outbound|443||kc.example.com",
                "kc.example.com",
                "/certs?a=b",
            ),
            ("http://kc:8080", "outbound|8080||kc", "kc:8080", "/"),
            ("http://kc?x", "outbound|80||kc", "kc", "/?x"),
            ("https://[::1]/x", "outbound|443||[::1]", "[::1]", "/x"),
        ] {
            let location = Location::new(uri, None).unwrap();
            let expected =
                Location { cluster: cluster.into(), authority: authority.into(), path: path.into() };
            assert_eq!(location, expected, "{uri}");
        }
        assert_eq!(Location::new("https://a/b", Some("idp")).unwrap().cluster, "idp");
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for uri in [
            "",
            "kc.example.com",
            "ftp://a/b",
            "https://",
            "https:///x",
            "https://a:b/",
            "https://u@a/",
            "https://a/b c",
            "https://a/#b",
            "https://a:99999/",
        ] {
            assert!(Location::new(uri, None).is_err(), "{uri}");
        }
    }
}
