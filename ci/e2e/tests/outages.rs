//! Services that a plugin asks, killed, stopped, slow and flapping, while requests wait: each request is answered within its
//! timeout, as the plugin's configuration says.

#[path = "../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::{KeyServer, Service, State, Tally};
use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Upstream, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
/// What the plugins wait for a service.
const TIMEOUT: &str = "500ms";
/// Counts the calls to a service that had no answer.
const ERRORS: &str = "wasmcustom.wasm_filter.rate_limit.rls_errors_total";
/// Ten of them: this machine is busy with the load.
const PATIENCE: Duration = Duration::from_secs(5);
const CLIENTS: usize = 8;
/// How long a client of a load waits between requests: each is a connection of its own, and its port is gone for a minute.
const PACE: Duration = Duration::from_millis(10);

fn filter(plugin: &str, name: &str, config: &Value) -> Value {
    Plugin::named(plugin).unwrap().filter(name, config).unwrap()
}

/// What a load has seen.
#[derive(Debug, Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    slowest: Duration,
}

impl Seen {
    fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }

    fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Asks as fast as it is answered, until `disturb` has come to its end.
fn under_load(address: SocketAddr, message: &Message, disturb: impl FnOnce()) -> Seen {
    let done = AtomicBool::new(false);
    let ask = || {
        let client = Client::new(address);
        let mut seen = Seen::default();
        while !done.load(Ordering::Relaxed) {
            let asked = Instant::now();
            *seen.statuses.entry(client.send(message).unwrap().status).or_default() += 1;
            seen.slowest = seen.slowest.max(asked.elapsed());
            std::thread::sleep(PACE);
        }
        seen
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        disturb();
        done.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        clients.into_iter().for_each(|client| all.add(&client.join().unwrap()));
        all
    })
}

/// Waits until a counter or gauge of Envoy is as wanted.
fn wait_for(envoy: &Envoy, name: &str, wanted: impl Fn(u64) -> bool) {
    let is = || wanted(envoy.stat(name).unwrap_or(0)).then_some(());
    eventually(name, LIMIT, is).unwrap();
}

/// Waits until a counter of Envoy has grown by so much.
fn wait_for_more(envoy: &Envoy, name: &str, more: u64) {
    let before = envoy.stat(name).unwrap_or(0);
    wait_for(envoy, name, |now| now >= before + more);
}

fn asking(failure_mode: &str) -> Value {
    json!({
        "rls": {"cluster": "ratelimit", "domain": "edge", "timeout": TIMEOUT, "failureMode": failure_mode},
        "limits": [{
            "name": "tenant",
            "backend": "rls",
            "onMissingKey": "empty",
            "descriptor": [{"key": "tenant", "value": "header:x-tenant"}],
        }],
    })
}

/// An Envoy that answers 200 behind rate-limit, open and closed.
fn shop(service: SocketAddr) -> Envoy {
    let mut bootstrap = Bootstrap::new().concurrency(2).http2_cluster("ratelimit", service);
    for mode in ["allow", "deny"] {
        let filter = filter("rate-limit", mode, &asking(mode));
        bootstrap = bootstrap.listener(Listener::new(mode).discovered(filter).answering());
    }
    let envoy = bootstrap.log_level("wasm:warning").start().unwrap();
    envoy.check_configured().unwrap();
    envoy
}

#[test]
fn a_rate_limit_service_that_goes_away_holds_no_request() {
    let service = Service::start(&["--requests", "1000000"]).unwrap();
    let address = service.address;
    let envoy = shop(address);
    let message = Message::get("/").header("x-tenant", "acme");
    let mut tally = Tally::new("outages of a rate limit service");
    let mut slowest = Duration::ZERO;
    let mut disturbed = |mode: &str, faults: u64, allowed: &[u16], disturb: &dyn Fn()| {
        let seen = under_load(envoy.address(mode), &message, disturb);
        let statuses: BTreeSet<u16> = seen.statuses.keys().copied().collect();
        assert!(statuses.is_subset(&allowed.iter().copied().collect()), "{mode}: {seen:?}");
        assert!(seen.slowest < PATIENCE, "{mode}: {seen:?}");
        slowest = slowest.max(seen.slowest);
        tally.cases += 1;
        tally.faults += faults;
        tally.requests += seen.requests();
    };
    let decides = |mode: &str| {
        // What the service decides is counted by the service; an answer of its own is one without an error.
        eventually("the service decides", LIMIT, || {
            let errors = || envoy.stat(ERRORS).unwrap_or(0);
            let before = errors();
            let status = Client::new(envoy.address(mode)).send(&message).ok()?.status;
            (status == 200 && errors() == before).then_some(())
        })
        .unwrap();
    };
    let some_give_up = || wait_for_more(&envoy, ERRORS, CLIENTS as u64);

    for (mode, instead) in [("allow", 200), ("deny", 503)] {
        decides(mode);
        disturbed(mode, 0, &[200], &|| wait_for_more(&envoy, "cluster.ratelimit.upstream_rq_completed", 50));
        disturbed(mode, 1, &[200, instead], &|| {
            service.stop().unwrap();
            some_give_up();
        });
        disturbed(mode, 1, &[200, instead], &|| service.resume().unwrap());
        decides(mode);
        disturbed(mode, 10, &[200, instead], &|| {
            for _ in 0..10 {
                service.stop().unwrap();
                wait_for(&envoy, "cluster.ratelimit.upstream_rq_active", |active| active > 0);
                service.resume().unwrap();
                wait_for_more(&envoy, "cluster.ratelimit.upstream_rq_completed", 1);
            }
        });
        decides(mode);
    }

    // Clients that leave while the service is silent: it answers to nobody.
    service.stop().unwrap();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(envoy.address("deny")).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-tenant: acme\r\n\r\n").unwrap();
    }
    service.resume().unwrap();
    decides("deny");

    // Killed while requests wait, and started anew.
    service.stop().unwrap();
    let killed = std::cell::RefCell::new(Some(service));
    disturbed("deny", 1, &[503], &|| {
        drop(killed.take());
        some_give_up();
    });
    disturbed("allow", 1, &[200], &some_give_up);
    let _anew = Service::at(&address.to_string(), &["--requests", "1000000"]).unwrap();
    decides("deny");
    tally.listeners = 2;
    tally.faults += 20;
    tally.requests += 20;
    println!("{tally}; the slowest answer took {slowest:?}");
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_key_server_that_comes_and_goes_holds_no_request() {
    let set = |kid: &str| State::Body(format!("{{\"keys\":[{}]}}", signer::ed25519_jwk(kid)));
    let server = KeyServer::start(set("ed"));
    let config = json!({"providers": [{
        "name": "shop",
        "issuer": "https://issuer.example.com",
        "jwksUri": "http://issuer.example.com/certs",
        "jwksCluster": "issuer",
        "jwksCache": {"ttl": "1s", "staleFor": "1h", "minRefetchInterval": "1s"},
        "timeout": TIMEOUT,
        "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
    }]});
    let upstream = Upstream::start().unwrap();
    let listener = Listener::new("shop").discovered(filter("jwt-authn", "shop", &config));
    let bootstrap = Bootstrap::new().concurrency(2).cluster("upstream", upstream.address());
    let bootstrap = bootstrap.cluster("issuer", server.address()).listener(listener);
    let envoy = bootstrap.log_level("wasm:error").start().unwrap();
    envoy.check_configured().unwrap();
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let claims = json!({"iss": "https://issuer.example.com", "sub": "alice", "exp": until}).to_string();
    let bearer = |kid: &str| {
        let token = signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), &claims);
        Message::get("/").header("authorization", format!("Bearer {token}"))
    };
    let (known, unknown) = (bearer("ed"), bearer("new"));
    let client = Client::new(envoy.address("shop"));
    let status = |message: &Message| client.send(message).unwrap().status;
    eventually("the keys are there", LIMIT, || (status(&known) == 200).then_some(())).unwrap();

    let states = [
        State::Slow(Duration::from_secs(30), String::new()),
        set("ed"),
        State::Broken,
        State::Status(500),
        set("ed"),
        State::Body("{".into()),
    ];
    let mut tally = Tally::new("outages of a key server");
    let mut slowest = Duration::ZERO;
    // A token of a key that is not there asks for the server; one of a key that is does not.
    for (message, allowed) in [(&known, &[200][..]), (&unknown, &[401, 503])] {
        let seen = under_load(envoy.address("shop"), message, || {
            for state in states.iter().cycle().take(4 * states.len()) {
                server.set(state.clone());
                wait_for_more(&envoy, "http.shop.downstream_rq_completed", 40);
            }
        });
        assert!(seen.statuses.keys().all(|status| allowed.contains(status)), "{seen:?}");
        assert!(seen.slowest < PATIENCE, "{seen:?}");
        slowest = slowest.max(seen.slowest);
        tally.cases += 1;
        tally.faults += 4 * states.len() as u64;
        tally.requests += seen.requests();
    }
    // And it finds back, by itself.
    server.set(set("new"));
    eventually("the new key is there", LIMIT, || (status(&unknown) == 200).then_some(())).unwrap();
    tally.listeners = 1;
    println!("{tally}; the slowest answer took {slowest:?}");
    assert!(envoy.deaths().unwrap().is_empty());
}
