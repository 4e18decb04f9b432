//! v1 to v2 under load, by ECDS as Istio does it: first the configuration, then the binary, then one that is broken. And
//! every plugin swapped over and over, under all the load that there can be.
//!
//! `ROLLOUT_SECONDS=20` makes it as long as the figures of `docs/testing.md`; `ROLLOUT_EVERY_MS` is 200 unless given.

mod promises;
#[path = "../../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{Connection, Tally};
use harness::{Bootstrap, Envoy, Listener, Plugin, Upstream, another, eventually, plugins};
use promises::Promise;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const REQUESTS: usize = 50_000;
const SWAPS: usize = 10;
const CLIENTS: usize = 6;

struct Rollout {
    plugin: Plugin,
    envoy: Envoy,
}

impl Rollout {
    fn filter(plugin: &Plugin, revision: usize, module: &Path) -> Value {
        let config = json!({"header": "x-revision", "value": revision.to_string()});
        plugin.wasm_plugin(&plugin.name, &config, &BTreeMap::new()).unwrap().filter(module)
    }

    /// Pushes, and waits until Envoy has taken it.
    fn swap(&self, revision: usize, module: &Path) {
        let filter = Self::filter(&self.plugin, revision, module);
        let (before, rejected) = self.envoy.updates(&filter).unwrap();
        self.envoy.push(&filter).unwrap();
        eventually("the update is taken", LIMIT, || {
            let (taken, _) = self.envoy.updates(&filter).ok()?;
            (taken > before).then_some(())
        })
        .unwrap();
        assert_eq!(self.envoy.updates(&filter).unwrap().1, rejected, "{}", self.envoy.last_lines());
    }

    fn reject(&self, revision: usize, module: &Path) {
        let filter = Self::filter(&self.plugin, revision, module);
        let (taken, before) = self.envoy.updates(&filter).unwrap();
        self.envoy.push(&filter).unwrap();
        eventually("the update is rejected", LIMIT, || {
            let (_, rejected) = self.envoy.updates(&filter).ok()?;
            (rejected > before).then_some(())
        })
        .unwrap();
        assert_eq!(self.envoy.updates(&filter).unwrap().0, taken);
    }
}

/// The revision whose header the upstream saw, where the answer was 200.
fn revision(connection: &mut Connection) -> usize {
    let answer = connection.ask(b"GET /shop HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    let revision = seen["headers"]["x-revision"][0].as_str().expect("no request passes without the plugin");
    revision.parse().unwrap()
}

/// Ends the load, also where a swap fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn twenty_swaps_and_a_broken_module_fail_none_of_50_000_requests() {
    let plugin = Plugin::named("template").unwrap();
    let v1 = plugin.module().unwrap();
    let modules = tempfile::tempdir().unwrap();
    let v2 = another(&v1, modules.path()).unwrap();
    let built = fs::read(&v1).unwrap();
    let broken = modules.path().join("broken.wasm");
    fs::write(&broken, &built[..built.len() / 2]).unwrap();

    let upstream = Upstream::start().unwrap();
    let listener = Listener::new("shop").discovered(Rollout::filter(&plugin, 0, &v1));
    let bootstrap = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener);
    let envoy = bootstrap.concurrency(2).log_level("wasm:error").start().unwrap();
    let address = envoy.address("shop");
    let rollout = Rollout { plugin, envoy };
    let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    // So many requests are served before a swap, so that all of the load meets all of the rollout.
    let loaded = |swap: usize| {
        let wanted = REQUESTS * swap / (2 * SWAPS + 1);
        let enough = || (served.load(Ordering::Relaxed) >= wanted).then_some(());
        eventually("requests are served", LIMIT, enough).unwrap();
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::to(address).unwrap();
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) || served.load(Ordering::Relaxed) < REQUESTS {
                    let revision = revision(&mut connection);
                    assert!(revision >= newest, "revision {revision} after {newest}");
                    newest = revision;
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _done = Done(&done);
        for revision in 1..=SWAPS {
            rollout.swap(revision, &v1);
            loaded(revision);
        }
        for swap in 1..=SWAPS {
            rollout.swap(SWAPS, if swap.is_multiple_of(2) { &v1 } else { &v2 });
            loaded(SWAPS + swap);
        }
        rollout.reject(SWAPS + 1, &broken);
    });
    assert!(served.into_inner() >= REQUESTS);
    assert_eq!(revision(&mut Connection::to(address).unwrap()), SWAPS, "the last good one serves on");
    assert_eq!(rollout.envoy.deaths().unwrap(), Vec::<String>::new());
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_plugin_breaks_its_promise_while_it_is_swapped_over_and_over() {
    let length = Duration::from_secs(number("ROLLOUT_SECONDS", 2));
    let pause = Duration::from_millis(number("ROLLOUT_EVERY_MS", 200));
    let mut tally = Tally::new("swaps under load");
    for plugin in plugins().unwrap() {
        let (swaps, served) = swapped(&plugin, length, pause);
        println!("{}: {swaps} swaps, {served} requests in {length:?}", plugin.name);
        tally.listeners += 1;
        tally.cases += 1;
        tally.faults += swaps;
        tally.requests += served;
    }
    println!("{tally}");
}

/// Swaps configuration and binary for that long: how many swaps Envoy took, and how many requests it served.
fn swapped(plugin: &Plugin, length: Duration, pause: Duration) -> (u64, u64) {
    let promise = Promise::of(plugin).unwrap();
    let built = plugin.module().unwrap();
    let modules = tempfile::tempdir().unwrap();
    let other = another(&built, modules.path()).unwrap();
    let filter = |revision: u64| {
        let mut config = promise.config.clone();
        config["configRevision"] = json!(revision.to_string());
        let module = if revision.is_multiple_of(2) { &built } else { &other };
        plugin.wasm_plugin(&plugin.name, &config, &BTreeMap::new()).unwrap().filter(module)
    };
    let upstream = Upstream::start().unwrap();
    let bootstrap = promise.add_clusters(Bootstrap::new().cluster("upstream", upstream.address()));
    let listener = Listener::new("shop").discovered(filter(0));
    let envoy = bootstrap.listener(listener).concurrency(2).log_level("wasm:error").start().unwrap();
    envoy.check_configured().unwrap();
    let address = envoy.address("shop");
    let next = AtomicUsize::new(0);
    let ready = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let answer = Connection::to(address).ok()?.ask(&(promise.request)(number)).ok()?;
        (promise.answer)(number, &answer).ok()
    };
    eventually("it works", LIMIT, ready).unwrap();
    let before = next.load(Ordering::Relaxed);

    let done = AtomicBool::new(false);
    let mut pushed = 0;
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::to(address).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let kept = connection
                        .ask(&(promise.request)(number))
                        .and_then(|answer| (promise.answer)(number, &answer));
                    kept.unwrap_or_else(|broken| panic!("{}, request {number}: {broken:#}", plugin.name));
                }
            });
        }
        let _done = Done(&done);
        let start = Instant::now();
        while start.elapsed() < length {
            pushed += 1;
            envoy.push(&filter(pushed)).unwrap();
            std::thread::sleep(pause);
        }
        // Pushes that overtake each other are one update.
        eventually("the last update is taken", LIMIT, || {
            let version = envoy.get("/config_dump?resource=ecds_filters").ok()?;
            version.contains(&format!("configRevision\\\":\\\"{pushed}")).then_some(())
        })
        .unwrap();
    });
    let served = next.into_inner() as u64;
    (promise.after)(&envoy, served).unwrap_or_else(|broken| panic!("{}: {broken:#}", plugin.name));
    let (taken, refused) = envoy.updates(&filter(0)).unwrap();
    assert_eq!(refused, 0, "{}", envoy.last_lines());
    assert_eq!(envoy.deaths().unwrap(), Vec::<String>::new(), "{}", plugin.name);
    assert!(served > before as u64 && taken > 1, "{}", plugin.name);
    (taken - 1, served)
}
