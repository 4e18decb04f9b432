//! One client changes no answer to another: each test compares a run with an attacker to a run without.

use std::net::Ipv4Addr;
use std::time::Duration;

use plugin_testkit::{Cluster, Envoy, Request, Response, SeenResponse, Stream};
use rate_limit::RateLimit;

const VICTIM: &str = "10.9.9.9";

/// The client's view of a response: its status, and its headers about limits.
type Seen = (u16, Vec<(String, String)>);

fn seen(response: &SeenResponse) -> Seen {
    let told =
        response.headers.iter().filter(|(name, _)| name.contains("ratelimit") || name == "retry-after");
    let told = told.map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()));
    (response.status, told.collect())
}

/// The answers to twelve requests of one client, ten seconds apart, each after what another client does.
fn answers(envoy: &Envoy, request: impl Fn() -> Request, mut other: impl FnMut(&Envoy)) -> Vec<Seen> {
    let mut answers = Vec::new();
    for _ in 0..12 {
        other(envoy);
        answers.push(seen(&envoy.exchange(request().from(VICTIM), Response::new(200)).response));
        envoy.advance(Duration::from_secs(10));
    }
    answers
}

/// Per client 5 in 10 minutes; per `x-key` 100.
fn limits(algorithm: &str, charge: &str) -> String {
    let limit = |name: &str, key: &str, requests: u32| {
        format!(
            r#"{{"name": "{name}", "key": ["{key}"], "onMissingKey": "skip", "algorithm": "{algorithm}", "requests": {requests}, "per": "10m", "charge": "{charge}"}}"#
        )
    };
    let limits = [limit("client", "clientIp", 5), limit("key", "header:x-key", 100)];
    format!(r#"{{"store": "s", "maxKeys": 256, "limits": [{}]}}"#, limits.join(","))
}

fn statuses(answers: &[Seen]) -> Vec<u16> {
    answers.iter().map(|(status, _)| *status).collect()
}

#[test]
fn a_flood_of_keys_and_of_denials_changes_no_answer_to_another_client() {
    for algorithm in ["gcra", "fixedWindow", "slidingWindow"] {
        for charge in ["request", "response"] {
            let start = || Envoy::start::<RateLimit>(limits(algorithm, charge));
            let alone = answers(&start(), || Request::get("/"), |_| {});
            assert_eq!(statuses(&alone)[4..6], [200, 429], "{algorithm} {charge}");
            let mut number = 0;
            // More keys than the table has, and more denials than a worker remembers.
            let flooded = answers(
                &start(),
                || Request::get("/"),
                |envoy| {
                    for _ in 0..200 {
                        number += 1;
                        let attacker = Ipv4Addr::from_bits(0x0a01_0000 | (number & 3)).to_string();
                        let request = Request::get("/").header("x-key", number.to_string()).from(&attacker);
                        drop(envoy.exchange(request, Response::new(200)));
                    }
                },
            );
            assert_eq!(flooded, alone, "{algorithm} {charge}");
        }
    }
}

#[test]
fn a_denial_that_another_clients_displaces_is_still_a_denial() {
    let config = limits("gcra", "request").replace(r#""requests": 100"#, r#""requests": 1"#);
    let start = || Envoy::start::<RateLimit>(config.replace("256", "65536"));
    let alone = answers(&start(), || Request::get("/"), |_| {});
    let mut number = 0;
    let flooded = answers(
        &start(),
        || Request::get("/"),
        |envoy| {
            for _ in 0..600 {
                number += 1;
                // Each key twice: the second one is denied, and remembered.
                let request = || Request::get("/").header("x-key", (number / 2).to_string());
                let attacker = Ipv4Addr::from_bits(0x0a01_0000 + number).to_string();
                drop(envoy.exchange(request().from(&attacker), Response::new(200)));
            }
        },
    );
    assert_eq!(flooded, alone);
}

#[test]
fn calls_that_another_client_keeps_waiting_delay_and_deny_nobody_else() {
    const OK: &[u8] = b"\x08\x01";
    let config = r#"{"rls": {"cluster": "ratelimit", "domain": "d", "timeout": "1s", "failureMode": "deny"}, "limits": [
        {"name": "tenant", "backend": "rls", "descriptor": [{"key": "tenant", "value": "header:x-tenant"}]}]}"#;
    let run = |with_other: bool| -> Vec<Seen> {
        let envoy = Envoy::builder().cluster("ratelimit", Cluster::Healthy).start::<RateLimit>(config);
        let mut waiting: Vec<Stream> = Vec::new();
        let mut answers = Vec::new();
        for round in 0..5 {
            if with_other {
                // Fifty that wait, some of which leave, and some that are denied for an hour.
                for number in 0..50 {
                    let tenant = format!("other-{number}");
                    waiting.push(envoy.request(Request::get("/").header("x-tenant", tenant)));
                }
                let calls = envoy.calls();
                for call in calls.iter().step_by(3) {
                    envoy.answer_grpc(
                        call.token,
                        Ok(b"\x08\x02\x12\x07\x08\x02\x22\x03\x08\x90\x1c".to_vec()),
                    );
                }
                waiting.iter().step_by(7).for_each(Stream::finish);
            }
            let before: Vec<u32> = envoy.calls().iter().map(|call| call.token).collect();
            let stream = envoy.request(Request::get("/").header("x-tenant", "acme"));
            let own = envoy.calls().into_iter().find(|call| !before.contains(&call.token)).unwrap();
            let message = if round < 3 { OK.to_vec() } else { b"\x08\x02".to_vec() };
            envoy.answer_grpc(own.token, Ok(message));
            if stream.upstream().is_some() {
                stream.respond(Response::new(200));
            }
            answers.push(seen(&stream.response()));
            envoy.advance(Duration::from_millis(100));
        }
        answers
    };
    let alone = run(false);
    assert_eq!(statuses(&alone), [200, 200, 200, 429, 429]);
    assert_eq!(run(true), alone);
}
