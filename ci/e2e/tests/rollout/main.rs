//! v1 to v2 under load, by ECDS as Istio does it: first the configuration, then the binary, then one that is broken.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Bootstrap, Envoy, Listener, Plugin, Upstream, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const REQUESTS: usize = 50_000;
const SWAPS: usize = 10;
const CLIENTS: usize = 6;
/// A custom section of WebAssembly, which changes the binary and not what it does.
const UNUSED_SECTION: &[u8] = b"\x00\x07\x06unused";

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

/// A client that keeps its connection, as proxies do.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The revision whose header the upstream saw, where the answer was 200.
    fn get(&mut self) -> usize {
        self.0.get_mut().write_all(b"GET /shop HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        let (mut length, mut line) = (0, String::new());
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        let seen: Value = serde_json::from_slice(&body).unwrap();
        let revision =
            seen["headers"]["x-revision"][0].as_str().expect("no request passes without the plugin");
        revision.parse().unwrap()
    }
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
    let built = fs::read(&v1).unwrap();
    let v2 = modules.path().join("v2.wasm");
    fs::write(&v2, [&built[..], UNUSED_SECTION].concat()).unwrap();
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
                let mut connection = Connection::to(address);
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) || served.load(Ordering::Relaxed) < REQUESTS {
                    let revision = connection.get();
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
    assert_eq!(Connection::to(address).get(), SWAPS, "the last good one serves on");
    assert_eq!(rollout.envoy.deaths().unwrap(), Vec::<String>::new());
}
