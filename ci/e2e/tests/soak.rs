//! An hour's traffic in minutes: every request has its own user, token, path and trace, and memory levels off.
//!
//! `just soak 5000000` is as long as the figures of `docs/operating.md`.

#[path = "../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use e2e::{Connection, Tally};
use harness::{Bootstrap, Listener, Plugin, Upstream, plugins};
use serde_json::{Value, json};

const REQUESTS: usize = 60_000;
const SAMPLES: usize = 12;
const CLIENTS: usize = 4;
/// What may be between two plateaus: huge pages, garbage that V8 has not collected yet.
const NOISE_KIB: u64 = 16 << 10;

/// Configurations that remember as much as they can; of other plugins the example.
fn config(plugin: &Plugin) -> Value {
    match plugin.name.as_str() {
        "custom-metrics" => json!({
            "defaults": {"maxSeries": 200},
            "metrics": [{"name": "soak_total", "type": "counter", "labels": {"user": {"source": ["header:x-user-id"]}}}],
        }),
        "jwt-authn" => json!({
            "providers": [{
                "name": "soak",
                "issuer": "soak",
                "algorithms": ["HS256"],
                "secret": {"value": signer::SECRET, "encoding": "base64url"},
            }],
        }),
        "rate-limit" => {
            json!({"maxKeys": 1024, "limits": [{"name": "user", "key": ["header:x-user-id"], "requests": 5, "per": "1h"}]})
        }
        "swimlane-tagging" => json!({
            "lanes": ["production", "canary"],
            "incoming": {"trust": "always"},
            "propagate": {"mesh": {"enabled": true, "slots": 1024}},
        }),
        _ => plugin.example().unwrap(),
    }
}

/// What no other request has.
fn request(number: usize, until: u64) -> Vec<u8> {
    let token =
        signer::token("HS256", json!({"iss": "soak", "sub": number.to_string(), "exp": until}).to_string());
    format!(
        "GET /banana/{number}?q={number} HTTP/1.1\r\nhost: shop.example.com\r\nx-user-id: user-{number}\r\nx-tenant: t{number}\r\n\
         x-swimlane: canary\r\ntraceparent: 00-{number:032x}-{number:016x}-01\r\ncookie: session={number}\r\n\
         authorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// Sends the requests of these numbers to each of the addresses in turn, and counts the answers.
fn send(addresses: &[SocketAddr], numbers: std::ops::Range<usize>, until: u64) -> Result<BTreeMap<u16, u64>> {
    let share = |client: usize| -> Result<BTreeMap<u16, u64>> {
        let mut connections: Vec<_> =
            addresses.iter().map(|to| Connection::to(*to)).collect::<Result<_>>()?;
        let mut statuses = BTreeMap::new();
        for number in numbers.clone().skip(client).step_by(CLIENTS) {
            let connection = number / CLIENTS % addresses.len();
            let answer = connections[connection].ask(&request(number, until))?;
            *statuses.entry(answer.status).or_default() += 1;
        }
        Ok(statuses)
    };
    let share = &share;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || share(client))).collect();
        let mut all = BTreeMap::new();
        for client in clients {
            for (status, count) in client.join().expect("no client panics")? {
                *all.entry(status).or_default() += count;
            }
        }
        Ok(all)
    })
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn memory_levels_off_whoever_comes() {
    let requests = std::env::var("SOAK_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS);
    let plugins = plugins().unwrap();
    // ext-auth calls a service for every request.
    let service = Upstream::start().unwrap();
    let mut bootstrap = Bootstrap::new()
        .concurrency(2)
        .log_level("wasm:error")
        .cluster("outbound|4180||authz.auth.svc.cluster.local", service.address());
    for plugin in &plugins {
        let filter = plugin.filter(&plugin.name, &config(plugin)).unwrap();
        bootstrap = bootstrap.listener(Listener::new(&plugin.name).discovered(filter).answering());
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    let addresses: Vec<_> = plugins.iter().map(|plugin| envoy.address(&plugin.name)).collect();
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 86_400;

    let mut samples = vec![envoy.resident_kib().unwrap()];
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for sample in 0..SAMPLES {
        let numbers = requests * sample / SAMPLES..requests * (sample + 1) / SAMPLES;
        for (status, count) in send(&addresses, numbers, until).unwrap() {
            *statuses.entry(status).or_default() += count;
        }
        samples.push(envoy.resident_kib().unwrap());
    }
    let tally = Tally {
        listeners: addresses.len(),
        cases: 1,
        requests: statuses.values().sum(),
        ..Tally::new("soak")
    };
    println!("{tally}; {statuses:?}; resident KiB at the start and after each twelfth: {samples:?}");
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    assert!(envoy.deaths().unwrap().is_empty());
    // The first third fills tables and caches.
    let (middle, last) = (median(&samples[5..9]), median(&samples[9..]));
    assert!(last <= middle + middle / 10 + NOISE_KIB, "it still grows: {samples:?}");
}
