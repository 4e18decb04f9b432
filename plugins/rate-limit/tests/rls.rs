//! The rate limit service: what is asked, and what becomes of every kind of answer.

use std::time::Duration;

use plugin_testkit::{Cluster, Envoy, Headers, Request, Response, Stream};
use rate_limit::RateLimit;

const CLUSTER: &str = "outbound|8081||ratelimit.infra.svc.cluster.local";
const OK: &[u8] = b"\x08\x01";
const OVER: &[u8] = b"\x08\x02";

/// A limit by tenant that the service counts; `rest` goes into `rls`, `more` before the limits.
fn start(rest: &str, more: &str) -> Envoy {
    let config = format!(
        r#"{{"rls": {{"cluster": "{CLUSTER}", "domain": "edge"{rest}}}, "limits": [{more}
            {{"name": "tenant", "backend": "rls", "descriptor": [{{"key": "tenant", "value": "header:x-tenant"}}]}}]}}"#
    );
    Envoy::builder().cluster(CLUSTER, Cluster::Healthy).start::<RateLimit>(config)
}

fn request() -> Request {
    Request::get("/").header("x-tenant", "acme")
}

fn answered(envoy: &Envoy, answer: Result<Vec<u8>, u32>) -> Stream {
    let stream = envoy.request(request());
    assert!(stream.is_paused());
    envoy.answer_grpc(envoy.call().token, answer);
    stream
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

/// `OVER_LIMIT` with the status of its one descriptor: 5 a minute, none left, 30 s to go.
fn over_for_30s() -> Vec<u8> {
    [OVER, &field(2, b"\x08\x02\x12\x04\x08\x05\x10\x02\x22\x02\x08\x1e")].concat()
}

#[test]
fn the_service_is_asked_as_the_protocol_says() {
    let envoy = start("", "");
    let stream = envoy.request(request());
    let call = envoy.call();
    assert_eq!(call.grpc.as_deref(), Some("envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"));
    assert_eq!(call.lines(":authority"), ["ratelimit.infra.svc.cluster.local:8081"]);
    assert_eq!(call.body, b"\x0a\x04edge\x12\x10\x0a\x0e\x0a\x06tenant\x12\x04acme\x18\x01");
    assert_eq!(call.timeout, Duration::from_millis(20));
    assert!(stream.upstream().is_none());
    envoy.answer_grpc(call.token, Ok(OK.to_vec()));
    assert!(stream.upstream().is_some());
}

#[test]
fn over_the_limit_is_denied_with_what_the_service_says() {
    let envoy = start("", "");
    let headers = [field(3, b"\x0a\x05x-why\x12\x04much"), field(5, b"Enough.")].concat();
    let response = answered(&envoy, Ok([over_for_30s(), headers].concat())).response();
    assert_eq!((response.status, response.body.as_slice()), (429, &b"Enough."[..]));
    assert_eq!(response.lines("retry-after"), ["30"]);
    assert_eq!(response.lines("x-why"), ["much"]);
    assert_eq!(response.lines("ratelimit"), ["\"tenant\";r=0;t=30"]);
    assert_eq!(response.lines("ratelimit-policy"), ["\"tenant\";q=5;w=60"]);
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.tenant.denied_total"), 1);
}

#[test]
fn a_denial_is_remembered_until_its_reset() {
    let envoy = start("", "");
    drop(answered(&envoy, Ok(over_for_30s())));
    envoy.advance(Duration::from_secs(29));
    let stream = envoy.request(request());
    assert_eq!(stream.response().lines("retry-after"), ["1"]);
    assert!(envoy.calls().is_empty());
    drop(envoy.request(Request::get("/").header("x-tenant", "other")));
    envoy.advance(Duration::from_secs(1));
    assert!(envoy.request(request()).is_paused(), "it is asked again");
}

#[test]
fn a_denial_is_remembered_for_no_longer_than_the_configuration_allows() {
    // A service that writes the end of its window as a time and not as a duration.
    let epoch = field(3, b"\x0a\x11x-ratelimit-reset\x12\x0a1767571260");
    let hours = field(2, b"\x08\x02\x22\x03\x08\x90\x1c");
    for (rest, seconds) in [("", 60), (r#", "maxRemember": "5s""#, 5), (r#", "maxRemember": "0s""#, 0)] {
        for message in [&epoch, &hours] {
            let envoy = start(rest, "");
            assert_eq!(answered(&envoy, Ok([OVER, message].concat())).response().status, 429);
            if seconds > 0 {
                envoy.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
                assert_eq!(envoy.request(request()).response().status, 429, "{rest}");
                assert!(envoy.calls().is_empty(), "{rest}");
                envoy.advance(Duration::from_millis(1));
            }
            assert!(envoy.request(request()).is_paused(), "{rest}: it is asked again");
        }
    }
}

#[test]
fn a_client_is_not_told_to_wait_for_years() {
    let epoch = field(3, b"\x0a\x11x-ratelimit-reset\x12\x0a1767571260");
    let status = field(2, b"\x08\x02\x12\x04\x08\x05\x10\x02\x22\x06\x08\xfc\xf9\xeb\xca\x06");
    for message in [epoch, status] {
        let response = answered(&start("", ""), Ok([OVER, &message].concat())).response();
        assert_eq!(response.header("retry-after"), None);
        assert!(
            response.lines("ratelimit").iter().all(|line| !line.contains(";t=")),
            "{:?}",
            response.headers
        );
    }
}

#[test]
fn a_denial_without_an_end_is_not_remembered() {
    let envoy = start("", "");
    assert_eq!(answered(&envoy, Ok(OVER.to_vec())).response().status, 429);
    assert!(envoy.request(request()).is_paused());
}

#[test]
fn limitadors_headers_say_when_it_is_over() {
    let envoy = start("", "");
    let reset = field(3, b"\x0a\x11x-ratelimit-reset\x12\x027 ");
    let response = answered(&envoy, Ok([OVER, &reset].concat())).response();
    assert_eq!(response.lines("retry-after"), ["7"]);
    assert!(!envoy.request(request()).is_paused());
}

#[test]
fn headers_of_an_allowed_request_reach_both_sides_but_never_the_framing() {
    let envoy = start("", "");
    let headers = [
        field(3, b"\x0a\x03x-a\x12\x011"),
        field(3, b"\x0a\x0econtent-length\x12\x019"),
        field(4, b"\x0a\x03x-b\x1a\x012"),
        field(4, b"\x0a\x05:path\x12\x02/x"),
        field(4, b"\x0a\x03x-c\x12\x03a\r\n"),
    ];
    let stream = answered(&envoy, Ok([OK, &headers.concat()].concat()));
    let upstream = stream.upstream().unwrap();
    assert_eq!((upstream.lines("x-b"), upstream.path.as_str()), (vec!["2".to_owned()], "/"));
    assert_eq!(upstream.header("x-c"), None);
    stream.respond(Response::new(200));
    assert_eq!(stream.response().lines("x-a"), ["1"]);
    assert_eq!(stream.response().header("content-length"), None);
}

/// Everything that is no answer.
fn failures() -> Vec<Result<Vec<u8>, u32>> {
    vec![
        Ok(Vec::new()),
        Ok(b"\x08\x00".to_vec()),
        Ok(b"\x08\x07".to_vec()),
        Ok(b"garbage".to_vec()),
        Ok(b"\x08\x01\x12\x7f".to_vec()),
        Err(14),
        Err(12),
        Err(2),
    ]
}

#[test]
fn without_an_answer_the_failure_mode_decides() {
    for (index, failure) in failures().into_iter().enumerate() {
        let envoy = start("", "");
        let stream = answered(&envoy, failure.clone());
        assert!(stream.upstream().is_some(), "{index}");
        assert_eq!(envoy.metric("wasm_filter.rate_limit.rls_errors_total"), 1);

        let envoy = start(r#", "failureMode": "deny""#, "");
        let stream = answered(&envoy, failure);
        let reply = stream.local_reply().unwrap();
        assert_eq!((reply.status, reply.details.as_str()), (503, "rate_limit_service"), "{index}");
        assert_eq!(envoy.metric("wasm_filter.rate_limit.rls_errors_total"), 1);
    }
}

#[test]
fn a_service_that_cannot_be_asked_never_holds_a_request() {
    for cluster in [None, Some(Cluster::NoEndpoints)] {
        for (mode, passes) in [("allow", true), ("deny", false)] {
            let config = format!(
                r#"{{"rls": {{"cluster": "c", "domain": "d", "failureMode": "{mode}", "failureStatus": 500}}, "limits": [
                    {{"name": "t", "backend": "rls", "descriptor": [{{"key": "k", "value": "path"}}]}}]}}"#
            );
            let builder = Envoy::builder();
            let builder = match cluster {
                Some(cluster) => builder.cluster("c", cluster),
                None => builder,
            };
            let envoy = builder.start::<RateLimit>(config);
            let stream = envoy.request(Request::get("/"));
            assert_eq!(stream.upstream().is_some(), passes);
            if !passes {
                assert_eq!(stream.response().status, 500);
            }
        }
    }
}

#[test]
fn a_slow_service_is_waited_for_no_longer_than_said() {
    let envoy = start(r#", "timeout": "50ms""#, "");
    let stream = envoy.request(request());
    envoy.advance(Duration::from_millis(49));
    assert!(stream.is_paused());
    envoy.advance(Duration::from_millis(1));
    assert!(stream.upstream().is_some());
}

const LOCAL: &str = r#"{"name": "local", "key": [], "requests": 2, "per": "60s"},"#;

#[test]
fn a_request_that_the_service_denies_is_not_charged_here() {
    let envoy = start("", LOCAL);
    for _ in 0..5 {
        assert_eq!(answered(&envoy, Ok(OVER.to_vec())).response().status, 429);
    }
    for _ in 0..2 {
        let stream = answered(&envoy, Ok(OK.to_vec()));
        assert!(stream.upstream().is_some());
    }
    let stream = envoy.request(request());
    assert_eq!(stream.response().status, 429);
    assert!(envoy.calls().is_empty(), "the service is not asked for what is denied here");
}

#[test]
fn a_request_that_fails_is_not_charged_here() {
    let envoy = start(r#", "failureMode": "deny""#, LOCAL);
    for _ in 0..5 {
        assert_eq!(answered(&envoy, Err(14)).response().status, 503);
    }
    assert!(answered(&envoy, Ok(OK.to_vec())).upstream().is_some());
}

#[test]
fn limits_that_deny_nothing_are_not_waited_for() {
    let envoy = start(
        "",
        r#"{"name": "trial", "enforce": false, "backend": "rls", "descriptor": [{"key": "path", "value": "path"}]},"#,
    );
    let stream = envoy.request(request());
    let calls = envoy.calls();
    assert_eq!(calls.len(), 2);
    let (trial, real): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| call.body.windows(4).any(|window| window == b"path"));
    envoy.answer_grpc(trial[0].token, Ok(OVER.to_vec()));
    assert!(stream.is_paused());
    envoy.answer_grpc(real[0].token, Ok(OK.to_vec()));
    assert!(stream.upstream().is_some());
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.trial.shadow_denied_total"), 1);
}

#[test]
fn several_limits_are_one_question_and_the_status_tells_which() {
    let envoy =
        start("", r#"{"name": "path", "backend": "rls", "descriptor": [{"key": "path", "value": "path"}]},"#);
    let statuses = [field(2, b"\x08\x01"), field(2, b"\x08\x02\x22\x02\x08\x1e")].concat();
    let stream = answered(&envoy, Ok([OVER, &statuses].concat()));
    assert_eq!(stream.local_reply().unwrap().details, "rate_limit_tenant");
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.path.allowed_total"), 1);
}

/// The service has no way to take a charge back, so only what was charged here is.
#[test]
fn limits_of_different_cost_are_asked_apart_and_a_denial_of_either_charges_nothing_here() {
    let dear =
        r#"{"name": "dear", "backend": "rls", "cost": 5, "descriptor": [{"key": "path", "value": "path"}]},"#;
    for (denies, failure) in [(0, false), (1, false), (0, true), (1, true)] {
        let envoy = start(r#", "failureMode": "deny""#, &[LOCAL, dear].concat());
        for _ in 0..5 {
            let stream = envoy.request(request());
            let calls = envoy.calls();
            assert_eq!(calls.len(), 2);
            let bad = if failure { Err(14) } else { Ok(OVER.to_vec()) };
            envoy.answer_grpc(calls[1 - denies].token, Ok(OK.to_vec()));
            assert!(stream.is_paused());
            envoy.answer_grpc(calls[denies].token, bad);
            assert_eq!(stream.response().status, if failure { 503 } else { 429 });
        }
        // The other way about: the second answer comes when the request is over.
        let stream = envoy.request(request());
        let calls = envoy.calls();
        envoy.answer_grpc(calls[denies].token, Ok(OVER.to_vec()));
        assert_eq!(stream.response().status, 429);
        envoy.answer_grpc(calls[1 - denies].token, Ok(OK.to_vec()));
        let passes = || {
            let stream = envoy.request(request());
            envoy.calls().iter().for_each(|call| envoy.answer_grpc(call.token, Ok(OK.to_vec())));
            stream.upstream().is_some()
        };
        assert_eq!([passes(), passes(), passes()], [true, true, false], "two are left here");
    }
}

#[test]
fn without_a_value_the_limit_is_skipped() {
    let envoy = start("", "");
    assert!(envoy.request(Request::get("/")).upstream().is_some());
    assert!(envoy.calls().is_empty());
}

#[test]
fn a_client_that_goes_away_while_the_service_thinks_harms_nothing() {
    let envoy = start("", "");
    let stream = envoy.request(request());
    let token = envoy.call().token;
    stream.finish();
    drop(stream);
    if !envoy.calls().is_empty() {
        envoy.answer_grpc(token, Ok(OK.to_vec()));
    }
    assert!(answered(&envoy, Ok(OK.to_vec())).upstream().is_some());
}

#[test]
fn a_dry_run_asks_and_does_not_wait() {
    let config = format!(
        r#"{{"mode": "dryRun", "rls": {{"cluster": "{CLUSTER}", "domain": "d", "failureMode": "deny"}}, "limits": [
            {{"name": "t", "backend": "rls", "descriptor": [{{"key": "k", "value": "path"}}]}}]}}"#
    );
    let envoy = Envoy::builder().cluster(CLUSTER, Cluster::Healthy).start::<RateLimit>(config);
    let stream = envoy.request(Request::get("/"));
    assert!(stream.upstream().is_some());
    envoy.answer_grpc(envoy.call().token, Ok(OVER.to_vec()));
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.t.shadow_denied_total"), 1);
}

#[test]
fn a_grpc_client_is_told_that_the_service_is_not_there() {
    let envoy = start(r#", "failureMode": "deny""#, "");
    let stream = envoy.request(request().header("content-type", "application/grpc"));
    envoy.answer_grpc(envoy.call().token, Err(14));
    assert_eq!(stream.response().lines("grpc-status"), ["14"]);
}

#[test]
fn a_reply_of_failure_says_that_limiting_failed_and_not_that_a_limit_is_exceeded() {
    let body = |response: &str| {
        let config = format!(
            r#"{{"response": {{{response}}}, "rls": {{"cluster": "{CLUSTER}", "domain": "d", "failureMode": "deny", "failureStatus": 500}}, "limits": [
                {{"name": "t", "backend": "rls", "descriptor": [{{"key": "k", "value": "header:x-tenant"}}]}}]}}"#
        );
        let envoy = Envoy::builder().cluster(CLUSTER, Cluster::Healthy).start::<RateLimit>(config);
        let response = answered(&envoy, Err(14)).response();
        assert_eq!(response.status, 500);
        String::from_utf8(response.body).unwrap()
    };
    assert_eq!(body(""), "Rate limiting is not available");
    assert_eq!(body(r#""body": "Slow down.", "headers": {"x-a": "b"}"#), "Rate limiting is not available");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body(r#""problemJson": true, "body": "Slow down.""#))
            .unwrap(),
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "status": 500,
            "detail": "Rate limiting is not available",
        })
    );
}

#[test]
fn the_manifest_with_a_service_is_a_configuration() {
    let manifest = include_str!("../../../manifests/examples/rate-limit/wasmplugin.yaml");
    let manifest: serde_json::Value = serde_norway::from_str(manifest).unwrap();
    drop(Envoy::start::<RateLimit>(&manifest["spec"]["pluginConfig"]));
}
