//! What only Envoy can answer about jwt-authn: the verdicts of its own crypto, and key sets on the wire.

#[path = "../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use e2e::{KeyServer, State};
use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Upstream, eventually};
use plugin_cases::Exchange;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

fn filter(name: &str, config: &Value) -> Value {
    Plugin::named("jwt-authn").unwrap().filter(name, config).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are good for five minutes, but for what `change` replaces.
fn claims(change: &[(&str, Value)]) -> String {
    let mut claims =
        json!({"iss": "https://issuer.example.com", "aud": ["a", "b"], "sub": "alice", "exp": now() + 300});
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    claims.to_string()
}

fn bearer(path: &str, token: &str) -> Message {
    Message::get(path).header("authorization", format!("Bearer {token}")).header("x-user-id", "root")
}

fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    headers.iter().filter(|(seen, _)| seen == name).map(|(_, value)| value.as_slice()).collect()
}

struct Shop {
    upstream: Upstream,
    envoy: Envoy,
}

impl Shop {
    fn exchange(&self, listener: &str, message: &Message) -> Exchange {
        let client = Client::new(self.envoy.address(listener));
        let seen = self.upstream.exchange(&client, message, Reply::default()).unwrap();
        if let Some(upstream) = &seen.upstream {
            assert!(
                !header(&upstream.headers, "x-user-id").contains(&&b"root"[..]),
                "{listener}: {message:?}"
            );
        }
        seen
    }

    fn status(&self, listener: &str, message: &Message) -> u16 {
        self.exchange(listener, message).response.status
    }
}

fn provider(more: Value) -> Value {
    let mut provider = json!({
        "name": "p",
        "issuer": "https://issuer.example.com",
        "audiences": ["b"],
        "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
        "fromParams": ["access_token"],
        "fromCookies": ["session"],
        "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}],
    });
    for (name, value) in more.as_object().unwrap() {
        provider[name] = value.clone();
    }
    provider
}

fn config(more: Value) -> Value {
    json!({
        "providers": [provider(more)],
        "rules": [{"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}}],
    })
}

/// The cases in which the upstream is told who is asking.
const WITH_A_TOKEN: [&str; 4] = ["valid", "again", "in the query", "in a cookie"];

#[test]
fn every_algorithm_gives_the_same_verdicts_in_the_host_and_in_rust() {
    let other = format!(r#"{{"kid":"other","kty":"RSA","n":"{}","e":"AQAB"}}"#, signer::OTHER_RSA_N);
    let jwks = signer::jwks().replace("]}", &format!(",{other}]}}"));
    let upstream = Upstream::start().unwrap();
    let mut bootstrap = Bootstrap::new().cluster("upstream", upstream.address());
    for offload in ["auto", "never"] {
        let mut asymmetric = config(json!({"jwks": jwks}));
        let mut symmetric = config(json!({
            "algorithms": ["HS256"], "secret": {"value": signer::SECRET, "encoding": "base64url"}}));
        let mut published = json!({"providers": [
            {"name": "public", "issuer": "joe", "jwks": jwks, "clockSkew": "36500d"},
            {"name": "secret", "issuer": "joe", "algorithms": ["HS256"], "clockSkew": "36500d", "fromCookies": ["s"],
             "secret": {"value": signer::SECRET, "encoding": "base64url"}}]});
        for (name, config) in
            [("asymmetric", &mut asymmetric), ("symmetric", &mut symmetric), ("published", &mut published)]
        {
            config["cryptoOffload"] = json!(offload);
            let name = format!("{name}-{offload}");
            bootstrap = bootstrap.listener(Listener::new(&name).discovered(filter(&name, config)));
        }
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    assert!(shop.envoy.log().contains("verified in the host: [RS256, RS384, RS512, ES256, ES384]"));

    for algorithm in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let good = signer::token(algorithm, claims(&[]));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let mut flipped = signer::decode(signature);
        flipped[0] ^= 1;
        let payload = signer::encode(claims(&[("sub", json!("root"))]));
        let swapped = format!("{}.{payload}.{signature}", signed.split('.').next().unwrap());
        // A key of another kind; the HMAC's secret has no name, so there it is another secret.
        let wrong_key = if algorithm == "HS256" {
            format!("{signed}.{}", signer::encode(signer::hmac_sha256(&[7; 64], signed.as_bytes())))
        } else {
            let kid = if signer::kid(algorithm) == "rsa" { "other" } else { "rsa" };
            signer::with_header(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#), claims(&[]))
        };
        let changed = |name, value| bearer("/", &signer::token(algorithm, claims(&[(name, value)])));
        let preflight = Message {
            method: "OPTIONS".into(),
            ..Message::get("/")
                .header("origin", "https://a.example")
                .header("access-control-request-method", "PUT")
                .header("x-user-id", "root")
        };
        let cases = [
            ("valid", bearer("/", &good), 200),
            ("again", bearer("/", &good), 200),
            ("in the query", Message::get(format!("/?access_token={good}&a=b")), 200),
            ("in a cookie", Message::get("/").header("cookie", format!("a=b; session={good}")), 200),
            ("expired", changed("exp", json!(now() - 61)), 401),
            ("not yet valid", changed("nbf", json!(now() + 90)), 401),
            ("wrong issuer", changed("iss", json!("https://issuer.example.com/")), 401),
            ("wrong audience", changed("aud", json!("c")), 401),
            ("wrong key", bearer("/", &wrong_key), 401),
            ("tampered signature", bearer("/", &format!("{signed}.{}", signer::encode(&flipped))), 401),
            ("tampered signature again", bearer("/", &format!("{signed}.{}", signer::encode(&flipped))), 401),
            ("tampered payload", bearer("/", &swapped), 401),
            ("two tokens", bearer(&format!("/?access_token={good}"), &good), 400),
            ("two lines", bearer("/", &good).header("authorization", format!("Bearer {good}")), 400),
            ("none", Message::get("/").header("x-user-id", "root"), 401),
            ("preflight", preflight, 200),
            ("public path", Message::get("/public/a").header("x-user-id", "root"), 200),
            ("expired on a public path", bearer("/public", "x.y.z"), 200),
            ("odd public path", Message::get("/public/..%2fadmin"), 401),
        ];
        let listener = if algorithm == "HS256" { "symmetric" } else { "asymmetric" };
        for (what, message, expected) in cases {
            for offload in ["auto", "never"] {
                let seen = shop.exchange(&format!("{listener}-{offload}"), &message);
                assert_eq!(seen.response.status, expected, "{algorithm}, {what}, {offload}: {seen:?}");
                let who = seen.upstream.iter().flat_map(|upstream| header(&upstream.headers, "x-user-id"));
                let known: &[&[u8]] = if WITH_A_TOKEN.contains(&what) { &[b"alice"] } else { &[] };
                assert_eq!(who.collect::<Vec<_>>(), known, "{algorithm}, {what}, {offload}");
            }
        }
    }

    // RFC 7515, appendix A, as published; their time was up in 2011, so the clocks are a century apart.
    let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let a1 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{payload}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let a2 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{payload}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let a3 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{payload}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    for offload in ["auto", "never"] {
        let listener = format!("published-{offload}");
        let cookie = |token: &str| Message::get("/").header("cookie", format!("s={token}"));
        let bearer = |token: &str| Message::get("/").header("authorization", format!("Bearer {token}"));
        assert_eq!(shop.status(&listener, &cookie(&a1)), 200, "A.1, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a2)), 200, "A.2, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a3)), 200, "A.3, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a3.replace("Kg6NU1Q", "Kg6NU1A"))), 401, "{offload}");
    }
    assert!(shop.envoy.deaths().unwrap().is_empty());
}

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
        assert!(matches!(shop.status("flooded", &bearer("/", &forged)), 401 | 503));
    }
    // One in each interval, of which a busy machine may need more than one.
    let intervals = 1 + usize::try_from(start.elapsed().as_secs() / 30).unwrap();
    assert!(flooded.asked() <= 1 + intervals, "{} fetches", flooded.asked());
    assert_eq!(shop.status("flooded", &bearer("/", &good)), 200);

    // Rotated under load: the old key is good throughout, and nobody is told that the new one is bad.
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
        let new = token("new");
        let found = eventually("the new key", LIMIT, || {
            let status = shop.status("rotated", &bearer("/", &new));
            assert!(matches!(status, 200 | 503), "{status}");
            (status == 200).then_some(())
        });
        done.store(true, Ordering::Relaxed);
        found.unwrap();
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
