//! What only Envoy can answer about swimlane-tagging: where a tagged request goes, and lanes across a sidecar.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use harness::{Bootstrap, Client, Direction, Envoy, Listener, Message, Plugin, Reply, Upstream, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(10);

fn filter(plugin: &str, config: &Value) -> Value {
    Plugin::named(plugin).unwrap().filter(plugin, config).unwrap()
}

fn tagging(config: &Value) -> Value {
    filter("swimlane-tagging", config)
}

#[test]
fn a_tagged_request_takes_the_route_of_its_lane() {
    let config = json!({"rules": [{"name": "qa", "lane": "canary", "match": {"cookies": [{"name": "qa", "present": true}]}}]});
    let (canary, production) = (Upstream::start().unwrap(), Upstream::start().unwrap());
    let of_the_lane = json!({
        "match": {"prefix": "/", "headers": [{"name": "x-swimlane", "string_match": {"exact": "canary"}}]},
        "route": {"cluster": "canary"},
    });
    let listener =
        Listener::new("shop").discovered(tagging(&config)).raw_route(of_the_lane).route("/", "production");
    let envoy = Bootstrap::new()
        .cluster("canary", canary.address())
        .cluster("production", production.address())
        .listener(listener)
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let reached = |upstream: &Upstream, message: &Message| {
            upstream.exchange(&client, message, Reply::default()).unwrap().upstream.is_some()
        };
        assert!(reached(&canary, &Message::get("/").header("cookie", "qa=1")));
        assert!(reached(&production, &Message::get("/")));
        assert!(reached(&production, &Message::get("/").header("x-swimlane", "canary")));
    }
}

#[test]
fn the_example_manifests_load() {
    let module = Plugin::named("swimlane-tagging").unwrap().module().unwrap();
    let mut bootstrap = Bootstrap::new().cluster("upstream", Upstream::start().unwrap().address());
    for name in ["gateway", "sidecar"] {
        let path = harness::workspace_root().join(format!("manifests/examples/swimlane/{name}.yaml"));
        let manifest = std::fs::read_to_string(path).unwrap();
        let filter = harness::render::filter(&manifest, &module).unwrap();
        bootstrap = bootstrap.listener(Listener::new(name).discovered(filter));
    }
    bootstrap.start().unwrap().check_configured().unwrap();
}

/// The access log is written after everything: what it shows is what every later filter saw.
#[test]
fn a_clients_own_tag_is_gone_also_when_another_plugin_denies() {
    let deny = json!({"rules": [{"name": "deny", "respond": {"status": 403}}]});
    let upstream = Upstream::start().unwrap();
    let listener = Listener::new("shop")
        .discovered(tagging(&json!({})))
        .discovered(filter("path-rewrite", &deny))
        .access_log("tag=%REQ(x-swimlane)% state=%FILTER_STATE(wasm.swimlane:PLAIN)% status=%RESPONSE_CODE%");
    let envoy = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener).start().unwrap();
    envoy.check_configured().unwrap();
    let client = Client::new(envoy.address("shop"));
    let message = Message::get("/").header("x-swimlane", "canary").header("X-Swimlane", "blue");
    let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
    assert_eq!((seen.upstream, seen.response.status), (None, 403));
    let log = eventually("the access log is written", LIMIT, || {
        std::fs::read_to_string(envoy.directory().join("access.log")).ok().filter(|log| log.ends_with('\n'))
    });
    assert_eq!(log.unwrap(), "tag=production state=production status=403\n");
}

/// A pod: Envoy with an inbound and an outbound listener, and an application between them that copies one header.
struct Pod {
    envoy: Envoy,
    /// The requests that reached the application and wait for what it does.
    waiting: Receiver<Call>,
}

/// A request at the application: the only header it copies, and where its answer goes.
struct Call {
    copied: (&'static str, String),
    stream: TcpStream,
}

impl Pod {
    fn start(mesh: Value) -> Self {
        let application = TcpListener::bind("127.0.0.1:0").unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = json!({
            "lanes": ["canary", "blue"], "defaultLane": "", "incoming": {"trust": "always"},
            "propagate": {"mesh": {"enabled": true, "ownLane": []}},
        });
        for (field, value) in mesh.as_object().unwrap() {
            config["propagate"]["mesh"][field] = value.clone();
        }
        let listener = |name: &str, direction: Direction| {
            let listener = Listener::new(name).direction(direction).discovered(tagging(&config));
            listener.route("/", name)
        };
        let envoy = Bootstrap::new()
            .concurrency(2)
            .raw_cluster(unlimited("inbound", application.local_addr().unwrap()))
            .raw_cluster(unlimited("outbound", elsewhere.local_addr().unwrap()))
            .listener(listener("inbound", Direction::Inbound))
            .listener(listener("outbound", Direction::Outbound))
            .start()
            .unwrap();
        envoy.check_configured().unwrap();
        let (arrived, waiting) = channel();
        std::thread::spawn(move || receive(&application, &arrived));
        std::thread::spawn(move || tell_lanes(&elsewhere));
        Self { envoy, waiting }
    }

    /// Sends a request with these headers to the application.
    fn enter(&self, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = connect(self.envoy.address("inbound"));
        send(&mut stream, headers);
        stream
    }

    /// The lane of a request that the application makes with this header.
    fn leave(&self, copied: (&str, &str)) -> String {
        let mut stream = connect(self.envoy.address("outbound"));
        send(&mut stream, &[copied]);
        read_body(&mut BufReader::new(stream))
    }

    fn metric(&self, rest: &str) -> u64 {
        self.envoy.stat(&format!("wasmcustom.wasm_filter.swimlane_tagging.{rest}")).unwrap_or_default()
    }
}

/// A cluster without Envoy's bound of 1024 connections.
fn unlimited(name: &str, address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    let many = json!({"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": socket}}}]}],
        },
    })
}

/// The application takes requests in; a connection is good for one.
fn receive(listener: &TcpListener, arrived: &Sender<Call>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let Some(head) = read_head(&mut BufReader::new(&stream)) else { continue };
        let header = |name: &str| head.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.clone());
        let copied = match (header("traceparent"), header("x-request-id")) {
            (Some(trace), _) => ("traceparent", trace),
            (None, Some(id)) => ("x-request-id", id),
            (None, None) => continue,
        };
        if arrived.send(Call { copied, stream }).is_err() {
            return;
        }
    }
}

/// The other service answers with the lane it sees.
fn tell_lanes(listener: &TcpListener) {
    for stream in listener.incoming().map_while(Result::ok) {
        std::thread::spawn(move || {
            let mut writer = stream.try_clone().unwrap();
            let mut reader = BufReader::new(stream);
            while let Some(head) = read_head(&mut reader) {
                let lanes: Vec<_> = head.into_iter().filter(|(name, _)| name == "x-swimlane").collect();
                let lanes: Vec<_> = lanes.into_iter().map(|(_, value)| value).collect();
                answer(&mut writer, &lanes.join(","));
            }
        });
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn send(stream: &mut TcpStream, headers: &[(&str, &str)]) {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\n{lines}\r\n").as_bytes()).unwrap();
}

fn answer(stream: &mut TcpStream, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(head.as_bytes());
}

/// The header lines of a message without a body, or before it.
fn read_head(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Some(headers) };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead) -> String {
    let head = read_head(reader).expect("there is an answer");
    let length =
        head.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse().unwrap());
    let mut body = vec![0; length.unwrap_or_default()];
    std::io::Read::read_exact(reader, &mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn trace(number: usize) -> String {
    format!("00-{:032x}-00f067aa0ba902b7-01", number as u128 + 1)
}

fn request_id(number: usize) -> String {
    format!("{number:08x}-2b5c-4f0e-9d3a-2f1b7c9d8e10")
}

#[test]
fn a_lane_crosses_an_application_that_copies_only_an_id() {
    let pod = Pod::start(json!({}));
    for (number, lane) in [(1, "canary"), (2, "blue")] {
        for copied in [("traceparent", trace(number)), ("x-request-id", request_id(number))] {
            let mut client = pod.enter(&[("x-swimlane", lane), (copied.0, &copied.1)]);
            let mut call = pod.waiting.recv_timeout(LIMIT).unwrap();
            assert_eq!(call.copied, copied);
            assert_eq!(pod.leave((copied.0, &copied.1)), lane);
            answer(&mut call.stream, "done");
            assert_eq!(read_body(&mut BufReader::new(&mut client)), "done");
        }
    }
    assert_eq!(pod.leave(("x-request-id", "unknown")), "");
    assert_eq!(pod.metric("correlated_total"), 4);
}

#[test]
fn a_lane_that_the_application_set_is_not_overwritten() {
    let pod = Pod::start(json!({}));
    let _client = pod.enter(&[("x-swimlane", "canary"), ("x-request-id", &request_id(1))]);
    let _call = pod.waiting.recv_timeout(LIMIT).unwrap();
    let mut stream = connect(pod.envoy.address("outbound"));
    send(&mut stream, &[("x-request-id", &request_id(1)), ("x-swimlane", "blue")]);
    assert_eq!(read_body(&mut BufReader::new(stream)), "blue");
    assert_eq!(pod.leave(("x-request-id", &request_id(1))), "canary");
}

#[test]
fn an_expired_slot_gives_no_lane() {
    let ttl = Duration::from_secs(1);
    let pod = Pod::start(json!({"ttl": "1s"}));
    let id = request_id(1);
    let entered = Instant::now();
    let _client = pod.enter(&[("x-swimlane", "canary"), ("x-request-id", &id)]);
    let _call = pod.waiting.recv_timeout(LIMIT).unwrap();
    eventually("the lane expires", LIMIT, || {
        let lane = pod.leave(("x-request-id", &id));
        assert!(lane == "canary" || entered.elapsed() >= ttl, "after {:?}", entered.elapsed());
        lane.is_empty().then_some(())
    })
    .unwrap();
}

/// Envoy drops trailers of HTTP/1.1 unless `enable_trailers` is set.
#[test]
fn a_lane_in_the_trailers_of_a_request_never_reaches_the_upstream() {
    let upstream = Upstream::start().unwrap();
    for trust in ["never", "always"] {
        let config = json!({"incoming": {"trust": trust}, "bucketHeader": "x-bucket"});
        let listener = Listener::new("shop").permissive().discovered(tagging(&config));
        let envoy = Bootstrap::new()
            .http2_cluster("upstream", upstream.address())
            .listener(listener)
            .start()
            .unwrap();
        envoy.check_configured().unwrap();
        for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
            let message = Message::post("/", "body").trailer("x-a", "1").trailer("x-swimlane", "canary");
            let message = message.trailer("x-bucket", "7");
            let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
            let trailers = seen.upstream.unwrap().trailers;
            assert_eq!(trailers, [("x-a".to_owned(), b"1".to_vec())], "{trust}");
        }
    }
}

const REQUESTS: usize = 10_000;

/// How many requests can be open at a time: each is two connections, of this process and of Envoy.
fn open_at_a_time() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files: usize = files.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024);
    (files.saturating_sub(2000) / 2).clamp(100, REQUESTS)
}

fn lane_of(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "canary" } else { "blue" }
}

#[test]
fn of_10_000_requests_of_two_lanes_none_gets_the_others() {
    let pod = Pod::start(json!({"slots": 262_144}));
    let started = Instant::now();
    let at_a_time = open_at_a_time();
    let numbers: Vec<usize> = (0..REQUESTS).collect();
    let (mut right, mut none) = (0, 0);
    for wave in numbers.chunks(at_a_time) {
        let enter = |number: usize| match number / 2 % 2 {
            0 => pod.enter(&[("x-swimlane", lane_of(number)), ("traceparent", &trace(number))]),
            _ => pod.enter(&[("x-swimlane", lane_of(number)), ("x-request-id", &request_id(number))]),
        };
        // All of them are inside before the first one leaves. The application's queue of connections is short.
        let (mut clients, mut calls) = (Vec::new(), Vec::new());
        for few in wave.chunks(100) {
            clients.extend(few.iter().map(|&number| (number, enter(number))));
            calls.extend(few.iter().map(|_| pod.waiting.recv_timeout(LIMIT).unwrap()));
        }
        let outbound = pod.envoy.address("outbound");
        std::thread::scope(|scope| {
            let share = calls.len().div_ceil(8);
            let mut calls = calls.into_iter();
            loop {
                let batch: Vec<Call> = calls.by_ref().take(share).collect();
                if batch.is_empty() {
                    break;
                }
                scope.spawn(move || {
                    let mut writer = connect(outbound);
                    let mut reader = BufReader::new(writer.try_clone().unwrap());
                    for mut call in batch {
                        send(&mut writer, &[(call.copied.0, &call.copied.1)]);
                        answer(&mut call.stream, &read_body(&mut reader));
                    }
                });
            }
        });
        for (number, client) in clients {
            match read_body(&mut BufReader::new(client)).as_str() {
                "" => none += 1,
                lane => {
                    assert_eq!(lane, lane_of(number), "request {number}");
                    right += 1;
                }
            }
        }
    }
    println!("{right} with their lane, {none} without, {at_a_time} at a time, in {:?}", started.elapsed());
    assert!(none <= REQUESTS / 1000, "{none} had to make room");
    assert!(pod.envoy.deaths().unwrap().is_empty());
}
