//! What a request costs with jwt-authn, beside Envoy's own `jwt_authn` and no filter at all. Run it on a quiet machine:
//! `cargo test -p e2e --release --test jwt_authn_cost -- --ignored --nocapture`.

#[path = "../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use harness::{Bootstrap, Envoy, Listener, Plugin, Upstream};
use serde_json::{Value, json};

const ROUNDS: usize = 11;
const REQUESTS: usize = 2_000;

fn plugin(name: &str, more: Value) -> Value {
    let mut config = json!({"providers": [{
        "name": "p", "issuer": "https://issuer.example.com", "jwks": signer::jwks(),
        "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
        "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}]}]});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    let plugin = Plugin::named("jwt-authn").unwrap();
    plugin.wasm_plugin(name, &config, &BTreeMap::new()).unwrap().filter(&plugin.module().unwrap())
}

fn native(name: &str, cache: bool) -> Value {
    let mut provider = json!({
        "issuer": "https://issuer.example.com",
        "local_jwks": {"inline_string": signer::jwks()},
        "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub"}]});
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
    }
    json!({"name": name, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"p": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]}})
}

/// Nanoseconds that the threads of a process have run.
fn cpu(process: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let run = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default()
    };
    tasks.flatten().map(run).sum()
}

/// Microseconds of CPU for a request, over one connection.
fn round(envoy: &Envoy, listener: &str, request: &[u8]) -> f64 {
    let mut stream = TcpStream::connect(envoy.address(listener)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 16 << 10];
    let mut exchange = || {
        stream.write_all(request).unwrap();
        let mut read = 0;
        while !answer[..read].ends_with(b"}\n") && !answer[..read].ends_with(b"0\r\n\r\n") {
            let more = stream.read(&mut answer[read..]).unwrap();
            assert!(more > 0);
            read += more;
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{listener}: {}",
            String::from_utf8_lossy(&answer[..read])
        );
    };
    (0..50).for_each(|_| exchange());
    let before = cpu(envoy.process_id());
    (0..REQUESTS).for_each(|_| exchange());
    (cpu(envoy.process_id()) - before) as f64 / 1_000.0 / REQUESTS as f64
}

#[test]
#[ignore = "measures; run it on a quiet machine"]
fn cost() {
    let off = json!({"tokenCache": {"entries": 0}});
    let upstream = Upstream::start().unwrap();
    let envoy = Bootstrap::new()
        .log_level("wasm:warning")
        .cluster("upstream", upstream.address())
        .listener(Listener::new("no filter"))
        .listener(Listener::new("plugin, cached").filter(plugin("cached", json!({}))))
        .listener(Listener::new("plugin, uncached").filter(plugin("uncached", off.clone())))
        .listener(
            Listener::new("plugin, uncached, in Rust")
                .filter(plugin("rust", json!({"tokenCache": {"entries": 0}, "cryptoOffload": "never"}))),
        )
        .listener(Listener::new("native, cached").filter(native("native-cached", true)))
        .listener(Listener::new("native, uncached").filter(native("native", false)))
        .start()
        .unwrap();
    let listeners = [
        "no filter",
        "plugin, cached",
        "plugin, uncached",
        "plugin, uncached, in Rust",
        "native, cached",
        "native, uncached",
    ];
    for algorithm in ["RS256", "ES256"] {
        let claims = r#"{"iss":"https://issuer.example.com","sub":"alice","exp":4102444800,"scope":"orders.read orders.write","realm_access":{"roles":["user","admin"]}}"#;
        let token = signer::token(algorithm, claims);
        let request =
            format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\nauthorization: Bearer {token}\r\n\r\n");
        let mut rounds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for listener in listeners {
                rounds.entry(listener).or_default().push(round(&envoy, listener, request.as_bytes()));
            }
        }
        let median = |listener: &str| {
            let mut times = rounds[listener].clone();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        for listener in listeners {
            let (all, more) = (median(listener), median(listener) - median("no filter"));
            println!(
                "{algorithm} {listener}: {all:.1} µs of CPU a request, {more:.1} more than without a filter"
            );
        }
    }
}
