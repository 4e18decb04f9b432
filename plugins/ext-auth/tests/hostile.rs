//! Whatever the service answers and whatever a client sends: every request is answered, and nobody gets what is not
//! theirs.

use std::time::Duration;

use ext_auth::ExtAuth;
use plugin_testkit::{Cluster, Envoy, Headers, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;

const CONFIG: &str = r#"{
    "service": {"cluster": "authz", "forwardAuth": {"path": "/verify"}, "requestHeaders": ["authorization", "cookie"]},
    "onAllow": {"upstreamHeaders": ["x-user", "x-auth-*"], "clientHeaders": ["set-cookie"]},
    "cache": {"ttl": "30s", "entryBytes": 256}
}"#;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most)
}

fn name() -> impl Strategy<Value = String> {
    let known =
        ["x-user", "X-Auth-Role", "set-cookie", "location", "cache-control", "content-type", "x-internal"];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[a-z-]{1,8}"]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let directives = ["max-age=1", "no-store", "max-age=", "private=\"x\"", "a\r\nx-internal: 1", "\0"];
    prop_oneof![bytes(24), prop::sample::select(directives.to_vec()).prop_map(|text| text.into())]
}

fn envoy() -> Envoy {
    Envoy::builder().cluster("authz", Cluster::Healthy).start::<ExtAuth>(CONFIG)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_response_is_a_decision_or_a_failure(
        status in 0_u16..1000,
        headers in vec((name(), value()), 0..6),
        body in bytes(600),
    ) {
        let envoy = envoy();
        let request = || Request::get("/").header("x-user", "root").header("authorization", "alice");
        let waiting = envoy.request(request());
        let alike = envoy.request(request());
        for _round in 0..4 {
            let Some(call) = envoy.calls().into_iter().next() else { break };
            let answer = headers.iter().fold(Response::new(status).body(&body), |answer, (name, value)| {
                answer.header(name, value)
            });
            envoy.answer(call.token, answer);
            envoy.advance(Duration::from_millis(1));
        }
        for stream in [waiting, alike] {
            prop_assert!(!stream.is_paused());
            match stream.upstream() {
                Some(seen) => {
                    prop_assert!((200..300).contains(&status));
                    prop_assert!(!seen.lines("x-user").contains(&"root".to_owned()));
                    prop_assert!(seen.lines("x-internal").is_empty());
                    stream.respond(Response::new(200));
                    prop_assert!(stream.response().lines("x-auth-role").is_empty());
                }
                None => {
                    let reply = stream.local_reply().unwrap();
                    let expected = if (300..500).contains(&status) { status } else { 503 };
                    prop_assert_eq!(reply.status, expected);
                    prop_assert!(reply.lines("x-user").is_empty() && reply.lines("x-internal").is_empty());
                    let clean = |value: &[u8]| !value.iter().any(|byte| b"\r\n\0".contains(byte));
                    prop_assert!(reply.headers.iter().all(|(_, value)| clean(value)));
                }
            }
        }
    }

    #[test]
    fn any_request_is_checked_or_rejected(
        path in bytes(40),
        authorization in bytes(24),
        cookie in bytes(24),
        authority in bytes(16),
    ) {
        let envoy = envoy();
        let request = Request::new("GET", &path)
            .authority(&authority)
            .header("authorization", &authorization)
            .header("cookie", &cookie)
            .header("x-auth-\u{fc}", "1");
        let stream = envoy.request(request);
        match envoy.calls().first() {
            Some(call) => {
                prop_assert_eq!(call.header("authorization"), Some(authorization.as_slice()));
                envoy.answer(call.token, Response::new(403));
            }
            None => prop_assert_eq!(stream.local_reply().unwrap().status, 400),
        }
        prop_assert!(stream.upstream().is_none() && !stream.is_paused());
    }
}
