//! The plugin as it ships, in the in-memory Envoy.

use std::collections::BTreeSet;
use std::time::Duration;

use plugin_testkit::hostile::overwrites;
use plugin_testkit::{Envoy, Headers, Request, Response, SharedData};
use swimlane_tagging::SwimlaneTagging;

/// The tutorial's four lines.
const TRUSTED: &str = r#"{"header": "x-swimlane", "defaultLane": "production", "incoming": {"trust": "always"},
    "split": {"key": ["header:x-user-id"], "lanes": [{"name": "canary", "percent": 10}]}}"#;
const MESH: &str = r#"{"lanes": ["production", "canary", "blue"], "defaultLane": "", "incoming": {"trust": "always"},
    "propagate": {"mesh": {"enabled": true}}}"#;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn untrusted() -> String {
    TRUSTED.replace("always", "never")
}

fn metric(envoy: &Envoy, rest: &str) -> u64 {
    envoy.metric(&format!("wasm_filter.swimlane_tagging.{rest}"))
}

/// The hostcalls of the second request of a kind, by when its metrics are defined; without the counting.
fn cost(config: &str, request: &Request) -> Vec<String> {
    let envoy = Envoy::start::<SwimlaneTagging>(config);
    drop(envoy.request(request.clone()));
    let calls = envoy.request(request.clone()).hostcalls();
    calls.into_iter().filter(|call| !call.starts_with("metric.")).collect()
}

#[test]
fn cases() {
    plugin_testkit::cases::<SwimlaneTagging>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn a_kept_tag_costs_one_read() {
    let envoy = Envoy::start::<SwimlaneTagging>(TRUSTED);
    let request = Request::get("/").header("x-swimlane", "canary");
    drop(envoy.request(request.clone()));
    let stream = envoy.request(request);
    assert_eq!(
        stream.take_hostcalls(),
        [
            "property request.headers.x-swimlane",
            "metric.add wasm_filter.swimlane_tagging.component.canary.tagged_total",
            "metric.add wasm_filter.swimlane_tagging.component.incoming.decided_total",
            "set_property swimlane",
        ]
    );
    stream.respond(Response::new(200));
    assert!(stream.hostcalls().is_empty(), "{:?}", stream.hostcalls());
}

#[test]
fn a_split_costs_the_reads_of_its_key_and_one_write() {
    let lines = "property request.headers.x-swimlane";
    for (config, lane) in [(TRUSTED, lines), (&untrusted(), "get x-swimlane")] {
        assert_eq!(
            cost(config, &Request::get("/").header("x-user-id", "11")),
            [lane, "get x-user-id", "set x-swimlane", "set_property swimlane"]
        );
    }
    let own = Request::get("/").header("x-user-id", "11").header("x-swimlane", "blue");
    assert_eq!(
        cost(&untrusted(), &own),
        ["get x-swimlane", lines, "get x-user-id", "set x-swimlane", "set_property swimlane"]
    );
}

#[test]
fn what_is_right_already_is_not_written() {
    let own = Request::get("/").header("x-user-id", "11").header("x-swimlane", "canary");
    assert_eq!(
        cost(&untrusted(), &own),
        ["get x-swimlane", "property request.headers.x-swimlane", "get x-user-id", "set_property swimlane"]
    );
}

#[test]
fn a_client_is_looked_up_only_where_it_sent_a_tag() {
    let config = TRUSTED.replace(r#""always""#, r#"{"clientIps": ["10.0.0.0/8"]}"#);
    assert!(!cost(&config, &Request::get("/")).contains(&"property source.address".to_owned()));
    let tagged = Request::get("/").header("x-swimlane", "canary").from("10.1.2.3");
    assert_eq!(
        cost(&config, &tagged),
        [
            "get x-swimlane",
            "property request.headers.x-swimlane",
            "property source.address",
            "set_property swimlane"
        ]
    );
}

#[test]
fn the_clock_is_read_only_for_a_ramp_and_randomness_only_for_an_id() {
    let ramp = TRUSTED.replace(
        r#""percent": 10}]"#,
        r#""percent": 10}], "ramp": {"lane": "canary", "start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z", "from": 1, "to": 50}"#,
    );
    assert_eq!(cost(&ramp, &Request::get("/").header("x-user-id", "11"))[2], "wall_clock");
    assert!(!cost(&ramp, &Request::get("/")).contains(&"wall_clock".to_owned()));
    let cookie = TRUSTED.replace(r#""percent": 10}]"#, r#""percent": 10}], "noKey": "cookie""#);
    assert_eq!(
        cost(&cookie, &Request::get("/")),
        [
            "property request.headers.x-swimlane",
            "get x-user-id",
            "get cookie",
            "random 16",
            "set x-swimlane",
            "set_property swimlane"
        ]
    );
}

#[test]
fn a_plugin_that_is_off_costs_nothing() {
    assert!(cost(r#"{"mode": "off"}"#, &Request::get("/")).is_empty());
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let envoy = Envoy::start::<SwimlaneTagging>(TRUSTED.replacen('{', r#"{"mode": "dryRun","#, 1));
    let stream = envoy.request(Request::get("/").header("x-user-id", "11").header("x-swimlane", b"m\n"));
    assert_eq!(
        envoy.log_lines(),
        [r#"dryRun lane=production reason=unknown_lane rule=- sent="m\n" bucket=- status=-"#]
    );
    assert_eq!(stream.filter_state("swimlane"), None);
    assert_eq!(metric(&envoy, "component.unknown_lane.decided_total"), 1);
}

#[test]
fn the_lane_is_filter_state() {
    let envoy = Envoy::start::<SwimlaneTagging>(TRUSTED);
    let stream = envoy.request(Request::get("/").header("x-user-id", "11"));
    assert_eq!(stream.filter_state("swimlane").as_deref(), Some(&b"canary"[..]));
}

#[test]
fn a_claim_can_be_the_key() {
    let envoy = Envoy::start::<SwimlaneTagging>(TRUSTED.replace("header:x-user-id", "claim:sub"));
    let stream = envoy.request(Request::get("/").property(&["jwt_authn.payload"], r#"{"sub":"11"}"#));
    assert_eq!(stream.upstream().unwrap().lines("x-swimlane"), ["canary"]);
}

#[test]
fn what_happened_is_counted() {
    let envoy = Envoy::start::<SwimlaneTagging>(
        r#"{"lanes": ["production", "v1.2", "blue"], "incoming": {"trust": {"clientIps": ["10.0.0.0/8"]}},
            "overrides": [{"lane": "v1.2", "match": {"paths": [{"exact": "/o"}]}}],
            "rules": [{"name": "r", "lane": "blue", "match": {"paths": [{"exact": "/r"}]}}],
            "split": {"key": "query:u", "match": {"paths": [{"exact": "/s"}]}, "lanes": [{"name": "blue", "percent": 100}]}}"#,
    );
    let trusted = |lane: &str| Request::get("/").from("10.0.0.1").header("x-swimlane", lane);
    for request in [
        trusted("blue"),
        trusted("none"),
        Request::get("/").header("x-swimlane", "blue"),
        Request::get("/o"),
        Request::get("/r"),
        Request::get("/s?u=1"),
        Request::get("/s"),
        Request::get("/"),
    ] {
        envoy.exchange(request, Response::new(200));
    }
    for (rest, count) in [
        ("component.production.tagged_total", 4),
        ("component.v1_2.tagged_total", 1),
        ("component.blue.tagged_total", 3),
        ("component.incoming.decided_total", 1),
        ("component.unknown_lane.decided_total", 1),
        ("component.override.decided_total", 1),
        ("component.rule.decided_total", 1),
        ("component.split.decided_total", 1),
        ("component.no_key.decided_total", 1),
        ("component.default.decided_total", 2),
        ("untrusted_total", 1),
        ("unknown_lane_total", 1),
        ("correlated_total", 0),
    ] {
        assert_eq!(metric(&envoy, rest), count, "{rest}");
    }
}

#[test]
fn a_reply_says_why_in_its_details() {
    for (trust, status, details) in
        [("never", 403, "swimlane_tagging_untrusted"), ("always", 400, "swimlane_tagging_unknown_lane")]
    {
        let incoming = format!(r#"{{"trust": "{trust}", "untrusted": "reject", "unknownLane": "reject"}}"#);
        let envoy = Envoy::start::<SwimlaneTagging>(format!(
            r#"{{"incoming": {incoming}, "echo": {{"responseHeader": "x-lane"}}}}"#
        ));
        let stream = envoy.request(Request::get("/").header("x-swimlane", "x"));
        let reply = stream.local_reply().unwrap();
        assert_eq!((reply.status, reply.details.as_str()), (status, details));
        assert!(stream.response().lines("x-lane").is_empty());
    }
}

/// The tag is gone before the next plugin sees the request, whatever that one does with it.
#[test]
fn a_clients_own_tag_is_gone_on_every_path() {
    let mut seen = 0;
    for config in [
        r#"{"defaultLane": ""}"#,
        r#"{"split": {"key": "header:x-user-id", "lanes": [{"name": "canary", "percent": 10}]}}"#,
        r#"{"rules": [{"name": "r", "lane": "blue"}]}"#,
        r#"{"lanes": ["production", "evil"], "defaultLane": ""}"#,
    ] {
        let envoy = Envoy::start::<SwimlaneTagging>(config);
        for request in [
            Request::get("/"),
            Request::new("OPTIONS", "*"),
            Request::new("CONNECT", "").without(":path"),
            Request::post("/").body("x").header("content-type", "application/grpc"),
            Request::get("/").header("x-user-id", "11"),
            Request::get("/").header("connection", "upgrade").header("upgrade", "websocket"),
        ] {
            for lines in [&[&b"evil"[..]][..], &[b"evil", b"canary"], &[b"\xff\x80"], &[b""]] {
                let request =
                    lines.iter().fold(request.clone(), |request, line| request.header("x-swimlane", line));
                let Some(upstream) = envoy.request(request).upstream() else { continue };
                let tags = upstream.lines("x-swimlane");
                assert!(
                    tags.len() <= 1 && !tags.iter().any(|tag| tag == "evil" || tag.is_empty()),
                    "{tags:?}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= 4 * 5 * 4, "{seen}");
}

#[test]
fn any_bytes_pass() {
    let envoy = Envoy::start::<SwimlaneTagging>(
        r#"{"incoming": {"trust": "always"}, "propagate": {"baggage": "swimlane"}, "bucketHeader": "b",
            "rules": [{"name": "r", "lane": "blue", "match": {"cookies": [{"name": "a", "regex": "x"}]}}],
            "split": {"key": ["header:x-user-id", "cookie:c"], "lanes": [{"name": "canary", "percent": 10}]}}"#,
    );
    let hostile = Request::new("\u{1}", b"\xff\xfe")
        .header("x-swimlane", b"\xff")
        .header("x-user-id", b"\xff\x80")
        .header("cookie", b"a=\xff; c=\xfe")
        .header("baggage", b"\xff,=,;");
    let upstream = envoy.request(hostile).upstream().unwrap();
    assert_eq!(upstream.lines("x-swimlane"), ["production"]);
    assert_eq!(upstream.header("baggage"), Some(&b"\xff,=,;,swimlane=production"[..]));
}

#[test]
fn a_request_without_pseudo_headers_is_none_of_our_business() {
    let envoy = Envoy::start::<SwimlaneTagging>(TRUSTED);
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).response().status, 404);
    envoy.log_only();
}

#[test]
fn a_ramp_follows_the_clock() {
    let envoy = Envoy::start::<SwimlaneTagging>(
        r#"{"split": {"key": "header:x-user-id", "lanes": [{"name": "canary"}],
            "ramp": {"lane": "canary", "start": "2026-01-05T00:00:00Z", "end": "2026-01-05T10:00:00Z", "from": 0, "to": 100}}}"#,
    );
    let canary = || {
        let stream = envoy.request(Request::get("/").header("x-user-id", "alice"));
        stream.upstream().unwrap().lines("x-swimlane") == ["canary"]
    };
    // Alice has bucket 3094: three hours and a little more than five minutes.
    for (minutes, expected) in [(0, false), (185, false), (1, true), (600, true)] {
        envoy.advance(Duration::from_secs(minutes * 60));
        assert_eq!(canary(), expected, "{minutes}");
    }
}

#[test]
fn a_new_browser_gets_an_id_and_keeps_its_lane() {
    let envoy = Envoy::start::<SwimlaneTagging>(
        r#"{"split": {"key": "header:x-user-id", "noKey": "cookie", "lanes": [{"name": "canary", "percent": 50}]}}"#,
    );
    let mut ids = BTreeSet::new();
    for _ in 0..50 {
        let first = envoy.exchange(Request::get("/"), Response::new(200));
        let cookie = first.response.lines("set-cookie").concat();
        let pair = cookie.split(';').next().unwrap().to_owned();
        assert!(ids.insert(pair.clone()), "{pair}");
        let again = envoy.exchange(Request::get("/").header("cookie", &pair), Response::new(200));
        assert!(again.response.lines("set-cookie").is_empty());
        let lane = |seen: &plugin_testkit::Exchange| seen.upstream.as_ref().unwrap().lines("x-swimlane");
        assert_eq!(lane(&first), lane(&again));
    }
}

#[test]
fn a_clients_own_lane_that_cannot_be_removed_ends_the_request() {
    let config = r#"{"defaultLane": "", "bucketHeader": "x-bucket", "propagate": {"baggage": "swimlane"},
        "split": {"key": "header:x-user-id", "lanes": [{"name": "canary", "percent": 100}]}}"#;
    for (call, user) in [
        ("remove x-swimlane", ""),
        ("remove x-bucket", ""),
        ("remove baggage", ""),
        ("set x-swimlane", "11"),
        ("set x-bucket", "11"),
        ("set baggage", "11"),
    ] {
        for content_type in ["text/plain", "application/grpc"] {
            let envoy = Envoy::start::<SwimlaneTagging>(config);
            let request = || {
                let own = Request::get("/").header("x-swimlane", "blue").header("x-bucket", "1");
                own.header("baggage", "swimlane=blue")
                    .header("x-user-id", user)
                    .header("content-type", content_type)
            };
            assert!(envoy.request(request()).upstream().is_some(), "{call}");
            envoy.refuse(call);
            let stream = envoy.request(request());
            assert!(stream.upstream().is_none(), "{call}");
            assert_eq!(stream.local_reply().unwrap().details, "request_header_not_removed", "{call}");
            let is_grpc = content_type == "application/grpc";
            assert_eq!(stream.response().lines("grpc-status"), ["13"][..usize::from(is_grpc)], "{call}");
        }
    }
}

#[test]
fn a_lane_in_the_trailers_of_a_request_never_reaches_the_upstream() {
    for (config, names) in [
        (r#"{"bucketHeader": "x-bucket"}"#, &["x-a"][..]),
        (r#"{"bucketHeader": "x-bucket", "incoming": {"trust": "always"}}"#, &["x-a"]),
        (r#"{"mode": "dryRun", "bucketHeader": "x-bucket"}"#, &["x-a", "x-swimlane", "x-bucket"]),
        (r#"{"mode": "off", "bucketHeader": "x-bucket"}"#, &["x-a", "x-swimlane", "x-bucket"]),
    ] {
        let envoy = Envoy::start::<SwimlaneTagging>(config);
        let trailers = [("x-a", "1"), ("x-swimlane", "canary"), ("x-bucket", "1")];
        let request = trailers
            .iter()
            .fold(Request::post("/").body("x"), |request, (name, value)| request.trailer(name, value));
        let seen = envoy.request(request).upstream().unwrap().trailers;
        assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{config}");
    }
    let envoy = Envoy::start::<SwimlaneTagging>("{}");
    envoy.refuse("request_trailers.remove x-swimlane");
    let stream = envoy.request(Request::post("/").body("x").trailer("x-swimlane", "canary"));
    assert!(stream.upstream().is_none());
    assert_eq!(stream.local_reply().unwrap().details, "request_header_not_removed");
}

#[test]
fn an_address_that_decides_about_trust_and_can_be_forged_is_warned_about() {
    const WARNING: &str = "clientIp: on a sidecar or waypoint, source.address is";
    let is_warned = |config: &str, node: &str| {
        let builder = Envoy::builder().property(&["xds", "node", "id"], node);
        builder.start::<SwimlaneTagging>(config).log_lines().iter().any(|line| line.starts_with(WARNING))
    };
    let (sidecar, gateway) = ("sidecar~10.0.0.1~a.b~b.svc", "router~10.0.0.1~a.b~b.svc");
    for config in [
        r#"{"incoming": {"trust": {"clientIps": ["10.0.0.0/8"]}}}"#,
        r#"{"overrides": [{"lane": "a", "match": {"clientIps": ["10.0.0.0/8"]}}]}"#,
        r#"{"rules": [{"name": "a", "lane": "a", "match": {"any": [{"clientIps": ["10.0.0.0/8"]}]}}]}"#,
        r#"{"split": {"key": "header:x-a", "match": {"clientIps": ["10.0.0.0/8"]}, "lanes": [{"name": "a", "percent": 1}]}}"#,
    ] {
        assert!(is_warned(config, sidecar), "{config}");
        assert!(!is_warned(config, gateway), "{config}");
    }
    assert!(!is_warned(TRUSTED, sidecar));
    assert!(!is_warned(
        r#"{"clientIp": {"source": "xForwardedFor"}, "incoming": {"trust": {"clientIps": ["10.0.0.0/8"]}}}"#,
        sidecar
    ));
}

mod mesh {
    use super::*;

    /// A sidecar with as many workers as wanted.
    fn sidecar(config: &str) -> Envoy {
        Envoy::start::<SwimlaneTagging>(config)
    }

    fn outbound() -> Request {
        Request::get("/").property(&["xds", "listener_direction"], 2_i64.to_le_bytes())
    }

    fn enter(envoy: &Envoy, lane: &str, id: (&str, &str)) {
        let request = Request::get("/").header("x-swimlane", lane).header(id.0, id.1);
        envoy.exchange(request, Response::new(200));
    }

    fn lane(envoy: &Envoy, request: Request) -> Option<String> {
        envoy.request(request).upstream().and_then(|seen| seen.lines("x-swimlane").pop())
    }

    fn config(more: &str) -> String {
        MESH.replace(r#""enabled": true"#, &format!(r#""enabled": true, {more}"#))
    }

    #[test]
    fn a_lane_crosses_an_application_that_copies_one_of_the_ids() {
        let envoy = sidecar(&config(r#""ownLane": []"#));
        let request_id = "6c3b1b46-2b5c-4f0e-9d3a-2f1b7c9d8e10";
        let entering = Request::get("/").header("x-swimlane", "canary").header("traceparent", TRACE);
        envoy.exchange(entering.header("x-request-id", request_id), Response::new(200));
        for (name, value) in [
            ("traceparent", TRACE),
            ("traceparent", "cc-0af7651916cd43dd8448eb211c80319c-0000000000000001-00-more"),
            ("b3", "0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1"),
            ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c"),
            ("x-request-id", request_id),
            ("x-request-id", "6c3b1b46-2b5c-9f0e-9d3a-2f1b7c9d8e10"),
        ] {
            assert_eq!(
                lane(&envoy, outbound().header(name, value)).as_deref(),
                Some("canary"),
                "{name}: {value}"
            );
        }
        assert_eq!(lane(&envoy, outbound().header("x-request-id", "another")), None);
        assert_eq!(lane(&envoy, outbound()), None);
        assert_eq!(metric(&envoy, "correlated_total"), 6);
    }

    #[test]
    fn a_lane_that_the_application_set_stays() {
        let envoy = sidecar(MESH);
        enter(&envoy, "canary", ("x-request-id", "r1"));
        for own in ["blue", "something-else"] {
            let request = outbound().header("x-request-id", "r1").header("x-swimlane", own);
            assert_eq!(lane(&envoy, request).as_deref(), Some(own));
        }
        assert_eq!(metric(&envoy, "component.application.decided_total"), 2);
        assert_eq!(metric(&envoy, "unknown_lane_total"), 1);
    }

    #[test]
    fn a_request_of_the_applications_own_gets_the_lane_of_the_pod() {
        // The label `lane` of the in-memory pod is blue.
        assert_eq!(lane(&sidecar(MESH), outbound()).as_deref(), Some("blue"));
        let unknown = sidecar(&config(r#""ownLane": ["literal:none"]"#));
        assert_eq!(lane(&unknown, outbound()), None);
    }

    #[test]
    fn an_id_is_remembered_for_its_ttl_and_at_most_half_as_long_again() {
        let envoy = sidecar(&config(r#""ownLane": [], "ttl": "4s""#));
        let leaving = || lane(&envoy, outbound().header("x-request-id", "r1"));
        let millis = |millis| envoy.advance(Duration::from_millis(millis));
        enter(&envoy, "canary", ("x-request-id", "r1"));
        millis(1_999);
        // Another request of the same trace: its lane, too, is there for the whole ttl.
        enter(&envoy, "canary", ("x-request-id", "r1"));
        millis(3_999);
        assert_eq!(leaving().as_deref(), Some("canary"));
        millis(2_001);
        assert_eq!(leaving(), None);
    }

    #[test]
    fn whatever_a_neighbour_writes_the_table_recovers() {
        const ROW: &str = "swimlane-tagging/x-swimlane/1/0";
        let config = config(r#""ownLane": [], "slots": 4, "ttl": "60s""#);
        let stored = {
            let envoy = sidecar(&config);
            for id in ["a", "b", "c", "d"] {
                enter(&envoy, "blue", ("x-request-id", id));
            }
            envoy.shared_data().get(ROW).unwrap()
        };
        for row in overwrites(&stored) {
            let envoy = sidecar(&config);
            envoy.shared_data().set(ROW, &row);
            let lane_of = |id: &str| lane(&envoy, outbound().header("x-request-id", id));
            let known = lane_of("a");
            assert!(matches!(known.as_deref(), None | Some("blue")), "{known:?}");
            // After a second, as many ids as there are slots are remembered.
            envoy.advance(Duration::from_secs(1));
            let ids = ["r1", "r2", "r3", "r4"];
            ids.iter().for_each(|id| enter(&envoy, "canary", ("x-request-id", id)));
            for id in ids {
                assert_eq!(lane_of(id).as_deref(), Some("canary"), "{id}: {}", row.escape_ascii());
            }
            envoy.advance(Duration::from_secs(90));
            assert!(["a", "b", "c", "d"].iter().all(|id| lane_of(id).is_none()), "{}", row.escape_ascii());
        }
    }

    #[test]
    fn without_a_clock_nothing_is_remembered_and_nothing_recalled() {
        let shared = SharedData::default();
        let start =
            |config: &str| Envoy::builder().shared_data(shared.clone()).start::<SwimlaneTagging>(config);
        let config = config(r#""ownLane": [], "slots": 4"#);
        let (working, failing) = (start(&config), start(&config));
        failing.fail_clocks();
        enter(&working, "blue", ("x-request-id", "r1"));
        enter(&failing, "canary", ("x-request-id", "r1"));
        assert_eq!(metric(&failing, "correlation_lost_total"), 1);
        let leaving = |envoy: &Envoy| lane(envoy, outbound().header("x-request-id", "r1"));
        assert_eq!(leaving(&failing), None);
        assert_eq!(leaving(&working).as_deref(), Some("blue"), "the other worker's entry is as it was");
    }

    #[test]
    fn a_client_that_repeats_its_ids_drives_nobody_out() {
        let envoy = sidecar(&config(r#""ownLane": [], "slots": 4"#));
        enter(&envoy, "blue", ("x-request-id", "victim"));
        for number in 0..1000 {
            let lane = if number % 2 == 0 { "canary" } else { "production" };
            enter(&envoy, lane, ("x-request-id", ["a", "b", "c"][number % 3]));
        }
        let leaving = lane(&envoy, outbound().header("x-request-id", "victim"));
        assert_eq!(leaving.as_deref(), Some("blue"));
    }

    /// The application's own header and its baggage name a lane that there is not here; both are its affair.
    #[test]
    fn an_unknown_lane_of_the_application_keeps_its_baggage_member() {
        let config = MESH.replace(r#""propagate": {"#, r#""propagate": {"baggage": "swimlane", "#);
        let envoy = sidecar(&config);
        let request =
            outbound().header("x-swimlane", "elsewhere").header("baggage", "a=1,swimlane=elsewhere");
        let upstream = envoy.request(request).upstream().unwrap();
        assert_eq!(upstream.lines("x-swimlane"), ["elsewhere"]);
        assert_eq!(upstream.lines("baggage"), ["a=1,swimlane=elsewhere"]);
        // A known one is written to the baggage, and no lane at all takes the member away.
        let request = outbound().header("x-swimlane", "canary").header("baggage", "a=1,swimlane=elsewhere");
        let upstream = envoy.request(request).upstream().unwrap();
        assert_eq!(upstream.lines("baggage"), ["a=1,swimlane=canary"]);
        let untagged = sidecar(&config.replace(r#""enabled": true"#, r#""enabled": true, "ownLane": []"#));
        let upstream = untagged.request(outbound().header("baggage", "a=1,swimlane=x")).upstream().unwrap();
        assert_eq!(upstream.lines("baggage"), ["a=1"]);
    }

    #[test]
    fn mesh_mode_that_trusts_nobody_is_warned_about() {
        const WARNING: &str = "propagate.mesh: with incoming.trust: never, the lane that a request enters with is removed and \
                               only lanes that this proxy assigns are carried; sidecars behind a gateway need always";
        let warned = |config: &str| sidecar(config).log_lines().contains(&WARNING.to_owned());
        assert!(warned(&MESH.replace("always", "never")));
        assert!(!warned(MESH));
        assert!(!warned(
            &MESH.replace("always", "never").replace(r#""enabled": true"#, r#""enabled": false"#)
        ));
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_nothing() {
        let envoy = sidecar(MESH);
        enter(&envoy, "canary", ("x-request-id", "r1"));
        envoy.set_wall_clock(Duration::from_secs(4_000_000_000));
        assert_eq!(lane(&envoy, outbound().header("x-request-id", "r1")).as_deref(), Some("canary"));
    }

    #[test]
    fn another_worker_finds_it() {
        let one = sidecar(MESH);
        let other = Envoy::builder().shared_data(one.shared_data()).start::<SwimlaneTagging>(MESH);
        enter(&one, "canary", ("x-request-id", "r1"));
        assert_eq!(lane(&other, outbound().header("x-request-id", "r1")).as_deref(), Some("canary"));
    }

    /// Both ids lie in the only row there is.
    #[test]
    fn a_write_of_another_worker_is_not_lost() {
        let one = sidecar(&config(r#""slots": 4"#));
        let key = "swimlane-tagging/x-swimlane/1/0";
        let with_other = {
            let other = sidecar(&config(r#""slots": 4"#));
            enter(&other, "blue", ("x-request-id", "r2"));
            other.shared_data().get(key).unwrap()
        };
        one.shared_data().before_next_write(move |data| data.set(key, with_other));
        enter(&one, "canary", ("x-request-id", "r1"));
        for (id, expected) in [("r1", "canary"), ("r2", "blue")] {
            assert_eq!(lane(&one, outbound().header("x-request-id", id)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_table_is_bounded_and_no_request_gets_anothers_lane() {
        let envoy = sidecar(&config(r#""ownLane": [], "slots": 4096"#));
        let lane_of = |n: u32| if n.is_multiple_of(2) { "canary" } else { "blue" };
        for n in 0..20_000 {
            enter(&envoy, lane_of(n), ("x-request-id", &format!("id-{n}")));
        }
        let mut found = 0;
        for n in 0..20_000 {
            if let Some(lane) = lane(&envoy, outbound().header("x-request-id", format!("id-{n}"))) {
                assert_eq!(lane, lane_of(n));
                found += 1;
            }
        }
        assert!((3500..=4096).contains(&found), "{found}");
        let table = envoy.shared_data();
        let keys = table.keys();
        let bytes: usize = keys.iter().map(|key| key.len() + table.get(key).unwrap().len()).sum();
        println!("{found} lanes in {} rows, {bytes} bytes", keys.len());
        assert_eq!(keys.len(), 1024);
        assert!(keys.iter().all(|key| key.starts_with("swimlane-tagging/x-swimlane/1/")));
        assert!(bytes <= 1024 * (40 + 4 * (17 + 63)), "{bytes}");
    }

    #[test]
    fn a_row_that_somebody_else_wrote_is_no_lane() {
        let envoy = sidecar(&config(r#""ownLane": [], "slots": 4"#));
        for row in [&b""[..], b"\xff", &[0xff; 200], &[0; 200]] {
            envoy.shared_data().set("swimlane-tagging/x-swimlane/1/0", row);
            assert_eq!(lane(&envoy, outbound().header("x-request-id", "r1")), None);
            enter(&envoy, "canary", ("x-request-id", "r1"));
            assert_eq!(lane(&envoy, outbound().header("x-request-id", "r1")).as_deref(), Some("canary"));
        }
    }

    #[test]
    fn two_lanes_of_one_trace_are_counted_and_the_last_one_wins() {
        let envoy = sidecar(MESH);
        enter(&envoy, "canary", ("traceparent", TRACE));
        enter(&envoy, "blue", ("traceparent", TRACE));
        assert_eq!(lane(&envoy, outbound().header("traceparent", TRACE)).as_deref(), Some("blue"));
        assert_eq!(metric(&envoy, "correlation_conflict_total"), 1);
    }

    /// Its listeners are outbound, and who comes is a client, not an application.
    #[test]
    fn a_gateway_ignores_mesh_mode() {
        let config = MESH.replace("always", "never");
        let envoy = Envoy::builder()
            .property(&["xds", "node", "id"], "router~10.0.0.1~gateway.istio-system~x")
            .start::<SwimlaneTagging>(config);
        for _ in 0..2 {
            assert_eq!(lane(&envoy, outbound().header("x-swimlane", "canary")), None);
        }
        let ignored = |line: &&String| line.as_str() == "propagate.mesh is ignored: this proxy is a gateway";
        assert_eq!(envoy.log_lines().iter().filter(ignored).count(), 1);
    }

    #[test]
    fn a_dry_run_remembers_nothing() {
        let envoy = sidecar(&MESH.replacen('{', r#"{"mode": "dryRun","#, 1));
        enter(&envoy, "canary", ("x-request-id", "r1"));
        assert!(envoy.shared_data().keys().is_empty());
    }

    #[test]
    fn what_it_costs() {
        let envoy = sidecar(&config(r#""slots": 4"#));
        let cost = |request: Request| {
            let calls = envoy.request(request).hostcalls();
            calls.into_iter().filter(|call| !call.starts_with("metric.")).collect::<Vec<_>>()
        };
        let entering = Request::get("/").header("x-swimlane", "canary").header("traceparent", TRACE);
        assert_eq!(
            cost(entering.clone()),
            [
                "property xds.listener_direction",
                "property request.headers.x-swimlane",
                "set_property swimlane",
                "monotonic_clock",
                "get traceparent",
                "shared.get swimlane-tagging/x-swimlane/1/0",
                "shared.set swimlane-tagging/x-swimlane/1/0",
                "get x-request-id",
            ]
        );
        let again = cost(entering);
        assert!(!again.iter().any(|call| call.starts_with("shared.set")), "{again:?}");
        let leaving = outbound().header("traceparent", TRACE);
        assert_eq!(cost(leaving.clone())[1], "property xds.node.id");
        assert_eq!(
            cost(leaving),
            [
                "property xds.listener_direction",
                "property request.headers.x-swimlane",
                "monotonic_clock",
                "get traceparent",
                "shared.get swimlane-tagging/x-swimlane/1/0",
                "set x-swimlane",
                "set_property swimlane",
            ]
        );
    }
}
