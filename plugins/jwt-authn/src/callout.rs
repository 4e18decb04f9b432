//! Fetching key sets: the calls, and the shared data. The decisions are in `jwks_fetch`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use plugin_kit::callout::{HttpCall, HttpCallResponse, Token};
use plugin_kit::config::{ConfigError, quoted};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::{hostcalls, shared_data};
use sha2::{Digest, Sha256};

use crate::jwks::{self, SetPolicy};
use crate::jwks_fetch::{Lack, Prospect, Record, Schedule, SetHash};
use crate::verify::KeySet;

/// Counted up with every change of what is shared.
const FORMAT: u32 = 2;

/// A key set that is fetched.
#[derive(Debug)]
pub struct Remote {
    /// The provider's name, for logs.
    name: String,
    location: Location,
    schedule: Schedule,
    policy: SetPolicy,
    /// The key of the shared [`Record`].
    record_key: String,
    /// The key of the shared text of the set.
    set_key: String,
    current: RefCell<Option<Rc<KeySet>>>,
    /// A token of this worker needs a key that is not in the set.
    lacks_key: Cell<bool>,
    /// The set that the record names and shared data does not have.
    missing: Cell<Option<SetHash>>,
    /// This worker's own call.
    call: Cell<Option<Token>>,
    fetches: Fetches,
}

#[derive(Debug)]
struct Fetches {
    succeeded: Counter,
    failed: Counter,
}

/// What may come of waiting for a key that is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// A fetch is under way, or starts with the next tick.
    Pending,
    /// The set may be outdated: the last fetch failed, or has not ended.
    Unavailable,
    /// The set is the newest.
    Settled,
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
    /// A set that no worker may have fetched yet.
    #[must_use]
    pub fn new(plugin: &str, name: &str, location: Location, schedule: Schedule, policy: SetPolicy) -> Self {
        // Providers of this plugin, and of its other instances, share a set that they read and lease alike.
        let SetPolicy { keys, max_keys, max_bytes, .. } = policy;
        let bounds =
            [keys.min_rsa_bits, keys.max_rsa_bits, max_keys, max_bytes].map(|bound| bound.to_string());
        let Location { cluster, authority, path } = &location;
        let timeout = schedule.timeout.as_millis();
        let store = format!("{cluster}|{authority}{path}|{}|{timeout}", bounds.join("|"));
        let counter = |result| Counter::new(metrics::component(plugin, result, "jwks_fetch_total"));
        Self {
            name: name.to_owned(),
            record_key: shared_data::key(plugin, &store, FORMAT, "record"),
            set_key: shared_data::key(plugin, &store, FORMAT, "set"),
            location,
            schedule,
            policy,
            current: RefCell::default(),
            lacks_key: Cell::new(false),
            missing: Cell::new(None),
            call: Cell::new(None),
            fetches: Fetches { succeeded: counter("success"), failed: counter("failed") },
        }
    }

    /// How long a request waits for a fetch.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.schedule.timeout
    }

    /// The keys that may be used at `now`.
    #[must_use]
    pub fn keys(&self, now: Duration) -> Option<Rc<KeySet>> {
        let keys = self.current.borrow().clone();
        match keys {
            Some(keys) if now < keys.usable_until => Some(keys),
            _ => self.newest(now),
        }
    }

    /// As [`Remote::keys`], with the set that another worker may have fetched in the meantime.
    #[must_use]
    pub fn newest(&self, now: Duration) -> Option<Rc<KeySet>> {
        self.adopt(&self.record(now), now)
    }

    /// Whether there are keys at all.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// What may come of waiting for a key that is not in the newest set. Where a fetch may find it, it is started.
    pub fn look_for_key(&self, now: Duration) -> Outlook {
        match self.record(now).prospect(&self.schedule, now) {
            Prospect::UnderWay => Outlook::Pending,
            Prospect::MayFetch => {
                if !self.lacks_key.replace(true) {
                    // The call of a request would end with the request, so the next tick makes it.
                    let _ = hostcalls::set_tick_period(SOON);
                }
                Outlook::Pending
            }
            Prospect::Failed => Outlook::Unavailable,
            Prospect::None => Outlook::Settled,
        }
    }

    /// As [`Remote::look_for_key`], for a request that does not wait any longer.
    #[must_use]
    pub fn outlook(&self, now: Duration) -> Outlook {
        match (self.is_pending(now), self.record(now).has_failed()) {
            (false, false) => Outlook::Settled,
            _ => Outlook::Unavailable,
        }
    }

    /// Whether a fetch is under way, or starts with the next tick.
    #[must_use]
    pub fn is_pending(&self, now: Duration) -> bool {
        self.lacks_key.get() || self.record(now).is_under_way(now)
    }

    /// Takes over what others have fetched, and fetches where that is due and no other worker does.
    pub fn on_tick(&self, now: Duration) {
        let stored = shared_data::get(&self.record_key).ok().flatten();
        let record = stored.as_ref().map(|(bytes, _)| Record::read(bytes, &self.schedule, now));
        let record = record.unwrap_or_default();
        self.missing.set(None);
        self.adopt(&record, now);
        let lack = Lack { key: self.lacks_key.get(), set: self.missing.get().is_some() };
        let due = record.due(&self.schedule, now, lack);
        let is_too_soon = due.is_none() && record.prospect(&self.schedule, now) == Prospect::MayFetch;
        self.lacks_key.set(lack.key && is_too_soon);
        let next = due.map_or(record, |why| record.leased(why, &self.schedule, now)).write();
        let written = match stored {
            Some((bytes, _)) if bytes == next => return,
            Some((_, cas)) => shared_data::swap(&self.record_key, &next, cas),
            None => shared_data::insert(&self.record_key, &next),
        };
        if due.is_some() && written == Ok(true) {
            self.fetch(now);
        }
    }

    fn fetch(&self, now: Duration) {
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
            Err(refused) => {
                self.failed(&format!("the cluster {} refused it: {refused:?}", quoted(cluster)), now)
            }
        }
    }

    /// Reads the answer to a call of this worker; `false` where it is not the answer to this set's call.
    pub fn on_answer(&self, token: Token, num_headers: usize, body_size: usize, now: Duration) -> bool {
        if self.call.get() != Some(token) {
            return false;
        }
        self.call.set(None);
        let limit = self.policy.max_bytes;
        if body_size > limit {
            self.failed(&format!("{body_size} bytes; at most {limit} are taken"), now);
            return true;
        }
        match HttpCallResponse::read(num_headers, body_size, limit) {
            Some(HttpCallResponse { status: 200, body }) => match jwks::read(&body, &self.policy) {
                Ok(_) => self.succeeded(&body, now),
                Err(reason) => self.failed(&reason, now),
            },
            Some(HttpCallResponse { status, .. }) => self.failed(&format!("HTTP status {status}"), now),
            None => self.failed("the connection was reset", now),
        }
        true
    }

    fn succeeded(&self, text: &[u8], now: Duration) {
        self.fetches.succeeded.increment();
        let hash = Sha256::digest(text).into();
        let published =
            shared_data::update(&self.set_key, |stored| ((stored != Some(text)).then(|| text.to_vec()), ()));
        let done = published.and_then(|()| self.change(now, |record| record.fetched(hash, now)));
        self.missing.set(None);
        match done {
            Ok(record) => {
                self.adopt(&record, now);
            }
            Err(contended) => {
                warn!("the keys of provider {} were fetched and are not shared: {contended:?}", self.name);
            }
        }
    }

    fn failed(&self, reason: &str, now: Duration) {
        self.fetches.failed.increment();
        let kept = if self.is_ready() { "the last ones are used" } else { "there are none" };
        warn!("the keys of provider {} were not fetched, {kept}: {reason}", self.name);
        if let Err(contended) = self.change(now, Record::failed) {
            warn!("the keys of provider {}: {contended:?}", self.name);
        }
    }

    fn record(&self, now: Duration) -> Record {
        let stored = shared_data::get(&self.record_key).ok().flatten();
        stored.map(|(bytes, _)| Record::read(&bytes, &self.schedule, now)).unwrap_or_default()
    }

    fn change(
        &self,
        now: Duration,
        change: impl Fn(&Record) -> Record,
    ) -> Result<Record, shared_data::Contended> {
        shared_data::update(&self.record_key, |stored| {
            let stored = stored.map(|bytes| Record::read(bytes, &self.schedule, now));
            let record = change(&stored.unwrap_or_default());
            (Some(record.write()), record)
        })
    }

    /// Takes over the shared set where it is newer than the current one, and drops a current one that is too old.
    fn adopt(&self, record: &Record, now: Duration) -> Option<Rc<KeySet>> {
        let mut current = self.current.borrow_mut();
        let usable_until = record.usable_until(&self.schedule);
        let known_until = current.as_ref().map_or(Duration::ZERO, |known| known.usable_until);
        // Another plugin may have written an older record again.
        if usable_until > known_until && usable_until > now && self.missing.get() != Some(record.hash) {
            match current.as_ref().filter(|known| known.hash == record.hash) {
                Some(known) => *current = Some(Rc::new(KeySet { usable_until, ..KeySet::clone(known) })),
                None => match self.load(record.hash, usable_until) {
                    Some(set) => *current = Some(Rc::new(set)),
                    None => self.missing.set(Some(record.hash)),
                },
            }
        }
        if current.as_ref().is_some_and(|known| known.usable_until <= now) {
            *current = None;
            warn!("the keys of provider {} are too old to be used", self.name);
        }
        current.clone()
    }

    /// Reads the set from shared data; `None` where there is another one, or none that this version accepts.
    fn load(&self, hash: SetHash, usable_until: Duration) -> Option<KeySet> {
        let (text, _) = shared_data::get(&self.set_key).ok().flatten()?;
        if text.len() > self.policy.max_bytes || SetHash::from(Sha256::digest(&text)) != hash {
            return None;
        }
        let set = jwks::read(&text, &self.policy).ok()?;
        for reason in &set.skipped {
            warn!("a key of provider {} is left out: {reason}", self.name);
        }
        info!("provider {} has {} keys", self.name, set.keys.len());
        Some(KeySet { hash, keys: set.keys.into(), usable_until })
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
