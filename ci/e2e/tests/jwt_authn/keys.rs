//! Key sets on the wire: servers that are late, slow, sick, flooded, rotated, and the requests that wait for them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{KeyServer, State};
use harness::{Bootstrap, Client, Listener, Message, Plugin, Upstream, eventually};
use serde_json::{Value, json};

use super::{Shop, bearer, claims, config, filter, header, signer};

const LIMIT: Duration = Duration::from_secs(20);
const WORKERS: [u32; 2] = [1, 4];

fn set(keys: &[String]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

fn token(kid: &str) -> String {
    signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), claims(&[]))
}

/// A name for a listener, and how its keys are kept.
fn key_sets(workers: u32, servers: &[(&str, &KeyServer, Value)]) -> Shop {
    let upstream = Upstream::start().unwrap();
    let mut bootstrap = Bootstrap::new()
        .concurrency(workers)
        .log_level("wasm:warning")
        .cluster("upstream", upstream.address());
    for (name, server, cache) in servers {
        let config = config(json!({
            "jwksUri": format!("http://{name}.example.com/certs"), "jwksCluster": name, "jwksCache": cache, "timeout": "1s"}));
        bootstrap = bootstrap
            .cluster(name, server.address())
            .listener(Listener::new(name).discovered(filter(&format!("{name}-{workers}"), &config)));
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    Shop { upstream, envoy }
}

fn works(shop: &Shop, listener: &str, token: &str) {
    eventually("the keys are there", LIMIT, || {
        (shop.status(listener, &bearer("/", token)) == 200).then_some(())
    })
    .unwrap();
}

fn fetched_keys(workers: u32) {
    let good = token("ed");
    let one = set(&[signer::ed25519_jwk("ed")]);
    let short = json!({"ttl": "1s", "staleFor": "1h", "minRefetchInterval": "1s"});
    let long = json!({"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s"});
    let late = KeyServer::down();
    let slow = KeyServer::start(State::Slow(Duration::from_secs(3), one.clone()));
    let flooded = KeyServer::start(State::Body(one.clone()));
    let rotated = KeyServer::start(State::Body(one.clone()));
    let shop = key_sets(
        workers,
        &[
            ("late", &late, short.clone()),
            ("slow", &slow, short),
            ("flooded", &flooded, long.clone()),
            ("rotated", &rotated, long),
        ],
    );

    // Down, or slow, at the start: an answer all the same, and at once.
    for listener in ["late", "slow"] {
        let start = Instant::now();
        assert_eq!(shop.status(listener, &bearer("/", &good)), 503, "{listener}");
        assert!(start.elapsed() < Duration::from_secs(1), "{listener}");
    }
    late.set(State::Body(one.clone()));
    late.up();
    slow.set(State::Body(one.clone()));
    for listener in ["late", "slow", "flooded", "rotated"] {
        works(&shop, listener, &good);
    }

    // One proxy fetches once, however many workers it has; then a thousand unknown keys.
    assert_eq!(flooded.asked(), 1);
    let start = Instant::now();
    for number in 0..1_000 {
        let header = signer::encode(format!(r#"{{"alg":"EdDSA","kid":"k{number}"}}"#));
        let forged = format!("{header}.{}.{}", signer::encode(claims(&[])), signer::encode([7; 64]));
        assert_eq!(shop.status("flooded", &bearer("/", &forged)), 401);
    }
    // One in each interval, of which a busy machine may need more than one.
    let intervals = 1 + usize::try_from(start.elapsed().as_secs() / 30).unwrap();
    assert!(flooded.asked() <= 1 + intervals, "{} fetches", flooded.asked());
    assert_eq!(shop.status("flooded", &bearer("/", &good)), 200);

    // Rotated under load: the old key is good throughout, and the new one with its first token.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut requests = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(shop.status("rotated", &bearer("/", &good)), 200);
                requests += 1;
            }
            requests
        });
        rotated.set(State::Body(set(&[signer::ed25519_jwk("ed"), signer::ed25519_jwk("new")])));
        let status = shop.status("rotated", &bearer("/", &token("new")));
        done.store(true, Ordering::Relaxed);
        assert_eq!(status, 200);
        assert!(load.join().unwrap() > 0);
    });

    assert!(shop.envoy.deaths().unwrap().is_empty());
}

#[test]
fn whatever_becomes_of_the_server_the_last_good_keys_count() {
    let good = token("ed");
    let one = State::Body(set(&[signer::ed25519_jwk("ed")]));
    let server = KeyServer::start(one.clone());
    let cache = json!({"ttl": "1s", "staleFor": "1h", "minRefetchInterval": "1s"});
    let shop = key_sets(1, &[("sick", &server, cache)]);
    works(&shop, "sick", &good);
    let odd = r#"{"kty":"AKP","kid":"x"}"#.to_owned();
    for state in [
        State::Status(503),
        State::Broken,
        State::Body("<html>".into()),
        State::Body(" ".repeat(10 << 20)),
        State::Slow(Duration::from_secs(2), String::new()),
        State::Body(set(&[odd, signer::ed25519_jwk("ed")])),
        one.clone(),
    ] {
        // Well again in between, so that the pauses stay short.
        for state in [state, one.clone()] {
            let asked = server.asked();
            server.set(state);
            eventually("it is asked", LIMIT, || {
                assert_eq!(shop.status("sick", &bearer("/", &good)), 200);
                (server.asked() > asked).then_some(())
            })
            .unwrap();
        }
    }
    assert!(shop.envoy.deaths().unwrap().is_empty());
}

/// A listener whose keys are those of the server, which is then held, and which has been asked once.
fn held(workers: u32, keys: &[String]) -> (KeyServer, Shop) {
    let server = KeyServer::start(State::Body(set(keys)));
    let config = config(json!({
        "jwksUri": "http://keys.example.com/certs", "jwksCluster": "keys", "timeout": "10s",
        "jwksCache": {"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s"}}));
    let upstream = Upstream::start().unwrap();
    let envoy = Bootstrap::new()
        .concurrency(workers)
        .log_level("wasm:warning")
        .cluster("upstream", upstream.address())
        .cluster("keys", server.address())
        .listener(Listener::new("shop").discovered(filter("shop", &config)))
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    // Each worker has taken over the set, as they do within a tick.
    eventually("all workers have the keys", LIMIT, || {
        let connections = usize::try_from(16 * workers).unwrap();
        let statuses = load(&shop, connections, &vec![token("ed"); connections]);
        (statuses.keys().eq([&200])).then_some(())
    })
    .unwrap();
    server.set(State::Held);
    assert_eq!(server.asked(), 1, "one fetch at the start, for all workers");
    (server, shop)
}

fn load(shop: &Shop, connections: usize, tokens: &[String]) -> BTreeMap<u16, u64> {
    let messages = tokens.iter().map(|token| bearer("/", token)).collect();
    Client::new(shop.envoy.address("shop")).load(connections, messages).unwrap()
}

/// Until so many requests have come and have no answer.
fn wait_until_active(shop: &Shop, requests: u64) {
    let is_active = || (shop.envoy.stat("http.shop.downstream_rq_active")? == requests).then_some(());
    eventually("all requests wait", LIMIT, is_active).unwrap();
}

/// What comes of one request for each token, all at once, that wait until the server answers with these keys.
fn after_waiting(server: &KeyServer, shop: &Shop, tokens: &[String], state: State) -> BTreeMap<u16, u64> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| load(shop, tokens.len(), tokens));
        wait_until_active(shop, tokens.len() as u64);
        assert_eq!(shop.status("shop", &bearer("/", &token("ed"))), 200, "tokens of the old key do not wait");
        server.set(state);
        waiting.join().unwrap()
    })
}

#[test]
fn the_first_tokens_of_a_rotated_key_wait_for_the_fetch_and_pass() {
    for workers in WORKERS {
        let (server, shop) = held(workers, &[signer::ed25519_jwk("ed")]);
        let both = State::Body(set(&[signer::ed25519_jwk("ed"), signer::ed25519_jwk("new")]));
        let statuses = after_waiting(&server, &shop, &vec![token("new"); 64], both);
        assert_eq!(statuses, BTreeMap::from([(200, 64)]), "{workers} workers");
        assert_eq!(server.asked(), 2);
        let seen = shop.exchange("shop", &bearer("/", &token("new")));
        assert_eq!(header(&seen.upstream.unwrap().headers, "x-user-id"), [b"alice"]);
        assert!(shop.envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn a_key_that_is_replaced_under_its_kid_is_fetched() {
    for workers in WORKERS {
        let other = format!(r#"{{"kid":"k","kty":"RSA","n":"{}","e":"AQAB"}}"#, signer::OTHER_RSA_N);
        let (server, shop) = held(workers, &[signer::ed25519_jwk("ed"), other]);
        let replaced = State::Body(set(&[signer::ed25519_jwk("ed"), signer::rsa_jwk("k")]));
        let token = signer::with_header("RS256", r#"{"alg":"RS256","kid":"k"}"#, claims(&[]));
        let statuses = after_waiting(&server, &shop, &vec![token; 16], replaced);
        assert_eq!(statuses, BTreeMap::from([(200, 16)]), "{workers} workers");
        assert_eq!(server.asked(), 2);
    }
}

#[test]
fn unknown_kids_are_rejected_once_the_server_has_answered_and_are_unavailable_where_it_fails() {
    for workers in WORKERS {
        for (state, expected) in [
            (State::Body(set(&[signer::ed25519_jwk("ed")])), 401),
            (State::Status(500), 503),
            (State::Broken, 503),
        ] {
            let (server, shop) = held(workers, &[signer::ed25519_jwk("ed")]);
            let tokens: Vec<String> = (0..40).map(|number| token(&format!("k{number}"))).collect();
            let statuses = after_waiting(&server, &shop, &tokens, state);
            assert_eq!(statuses, BTreeMap::from([(expected, 40)]), "{workers} workers");
            // At once, as the interval is not over.
            assert_eq!(load(&shop, 8, &tokens), BTreeMap::from([(expected, 40)]), "{workers} workers");
            assert_eq!(server.asked(), 2);
            assert_eq!(shop.status("shop", &bearer("/", &token("ed"))), 200);
        }
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_nobody_with_it() {
    for workers in WORKERS {
        let (server, shop) = held(workers, &[signer::ed25519_jwk("ed")]);
        let request = format!(
            "GET / HTTP/1.1\r\nhost: shop.example.com\r\nauthorization: Bearer {}\r\n\r\n",
            token("new")
        );
        let leaving: Vec<TcpStream> = (0..8)
            .map(|_| {
                let mut client = TcpStream::connect(shop.envoy.address("shop")).unwrap();
                client.write_all(request.as_bytes()).unwrap();
                client
            })
            .collect();
        wait_until_active(&shop, 8);
        std::thread::scope(|scope| {
            let staying = scope.spawn(|| load(&shop, 8, &vec![token("new"); 8]));
            wait_until_active(&shop, 16);
            drop(leaving);
            wait_until_active(&shop, 8);
            server.set(State::Body(set(&[signer::ed25519_jwk("new")])));
            assert_eq!(staying.join().unwrap(), BTreeMap::from([(200, 8)]), "{workers} workers");
        });
        assert!(shop.envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn requests_that_wait_while_the_configuration_changes_are_answered() {
    for workers in WORKERS {
        let (server, shop) = held(workers, &[signer::ed25519_jwk("ed")]);
        let changed = config(json!({
            "jwksUri": "http://keys.example.com/certs", "jwksCluster": "keys", "timeout": "10s", "clockSkew": "61s",
            "jwksCache": {"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s"}}));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| load(&shop, 8, &vec![token("new"); 8]));
            wait_until_active(&shop, 8);
            let pushed = filter("shop", &changed);
            let (before, _) = shop.envoy.updates(&pushed).unwrap();
            shop.envoy.push(&pushed).unwrap();
            let is_taken = || (shop.envoy.updates(&pushed).ok()?.0 > before).then_some(());
            eventually("the update is taken", LIMIT, is_taken).unwrap();
            server.set(State::Body(set(&[signer::ed25519_jwk("new")])));
            assert_eq!(waiting.join().unwrap(), BTreeMap::from([(200, 8)]), "{workers} workers");
        });
        assert!(shop.envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn a_server_that_does_not_answer_holds_a_request_for_no_longer_than_the_timeout() {
    let server = KeyServer::start(State::Body(set(&[signer::ed25519_jwk("ed")])));
    let cache = json!({"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s"});
    let shop = key_sets(4, &[("shop", &server, cache)]);
    works(&shop, "shop", &token("ed"));
    server.set(State::Held);
    let start = Instant::now();
    assert_eq!(load(&shop, 8, &vec![token("new"); 8]), BTreeMap::from([(503, 8)]));
    let waited = start.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
}

#[test]
fn a_request_that_waited_is_verified_for_later_plugins_too() {
    let (server, upstream) =
        (KeyServer::start(State::Body(set(&[signer::ed25519_jwk("ed")]))), Upstream::start().unwrap());
    let keys = config(json!({"jwksUri": "http://keys.example.com/", "jwksCluster": "keys"}));
    let reading = json!({"rules": [], "default": {"requestHeaders": {"set": {"x-claim": "${claim:sub}"}}}});
    let reading = Plugin::named("path-rewrite").unwrap().filter("reading", &reading).unwrap();
    let envoy = Bootstrap::new()
        .cluster("upstream", upstream.address())
        .cluster("keys", server.address())
        .listener(Listener::new("shop").discovered(filter("shop", &keys)).discovered(reading))
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    works(&shop, "shop", &token("ed"));
    server.set(State::Held);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            shop.exchange(
                "shop",
                &Message::post("/", "body").header("authorization", format!("Bearer {}", token("new"))),
            )
        });
        wait_until_active(&shop, 1);
        server.set(State::Body(set(&[signer::ed25519_jwk("new")])));
        let upstream = waiting.join().unwrap().upstream.unwrap();
        assert_eq!(
            (header(&upstream.headers, "x-claim"), upstream.body.as_slice()),
            (vec![&b"alice"[..]], &b"body"[..])
        );
    });
}

#[test]
fn keys_are_fetched_by_one_worker() {
    fetched_keys(1);
}

#[test]
fn keys_are_fetched_for_four_workers() {
    fetched_keys(4);
}

#[test]
fn the_example_with_fetched_keys_finds_them_where_istio_has_them() {
    let path = harness::workspace_root().join("manifests/examples/jwt-authn/wasmplugin.yaml");
    let module = Plugin::named("jwt-authn").unwrap().module().unwrap();
    let filter = harness::render::filter(&std::fs::read_to_string(path).unwrap(), &module).unwrap();
    let upstream = Upstream::start().unwrap();
    let server = KeyServer::start(State::Body(signer::jwks()));
    let envoy = Bootstrap::new()
        .cluster("upstream", upstream.address())
        .cluster("outbound|443||issuer.example.com", server.address())
        .listener(Listener::new("gateway").discovered(filter))
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    works(&shop, "gateway", &signer::token("ES256", claims(&[("aud", json!("orders-api"))])));
    assert_eq!(shop.status("gateway", &Message::get("/healthz")), 200);
    assert_eq!(shop.status("gateway", &Message::get("/")), 401);
}
