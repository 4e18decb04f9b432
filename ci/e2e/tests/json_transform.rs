//! What only Envoy can answer about json-transform: how bodies are framed, buffered and refused on the wire.

#[path = "json_transform/upstream.rs"]
mod upstream;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Upstream};
use serde_json::{Value, json};

use crate::upstream::{RawUpstream, in_chunks_of_three};

const MEBIBYTE: usize = 1 << 20;

fn start(config: &Value, upstream: SocketAddr) -> Envoy {
    start_workers(1, config, upstream)
}

fn start_workers(workers: u32, config: &Value, upstream: SocketAddr) -> Envoy {
    let filter = Plugin::named("json-transform").unwrap().filter("json-transform", config).unwrap();
    let listener = Listener::new("shop").discovered(filter);
    let bootstrap = Bootstrap::new().concurrency(workers).cluster("upstream", upstream);
    let envoy = bootstrap.listener(listener).start().unwrap();
    envoy.check_configured().unwrap();
    envoy
}

/// Adds a member to JSON below `/json`, both ways.
fn stamping(max_body_bytes: usize) -> Value {
    let rule = |name: &str| {
        json!([{
            "name": name,
            "match": {"paths": [{"prefix": "/json"}]},
            "patch": [{"op": "set", "path": "/stamp", "value": format!("{name} of ${{path}}")}],
        }])
    };
    json!({"request": rule("up"), "response": rule("down"), "maxBodyBytes": max_body_bytes})
}

/// An object of this many bytes, of numbers that no double holds.
fn document(bytes: usize) -> String {
    let number = "[123456789012345678901234567890,1.0,1e400]";
    let count = (bytes - 20) / (number.len() + 1);
    let list = vec![number; count].join(",");
    let padding = bytes - list.len() - r#"{"list":[],"pad":""}"#.len();
    format!(r#"{{"list":[{list}],"pad":"{}"}}"#, "x".repeat(padding))
}

fn stamped(document: &str, name: &str, path: &str) -> String {
    let (body, _) = document.rsplit_once('}').unwrap();
    let separator = if body.ends_with('{') { "" } else { "," };
    format!(r#"{body}{separator}"stamp":"{name} of {path}"}}"#)
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn post_in_chunks(path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    [head.into_bytes(), in_chunks_of_three(body.as_bytes())].concat()
}

/// Splits a stream of responses into their bodies; every byte must belong to one.
fn bodies(mut stream: &[u8]) -> Vec<String> {
    let mut bodies = Vec::new();
    while !stream.is_empty() {
        let end = stream.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&stream[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        stream = &stream[end..];
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = Vec::new();
        if let Some(length) = length {
            let (whole, rest) = stream.split_at(length.parse().unwrap());
            body.extend(whole);
            stream = rest;
        } else {
            loop {
                let end =
                    stream.windows(2).position(|window| window == b"\r\n").expect("the size of a chunk");
                let size = usize::from_str_radix(std::str::from_utf8(&stream[..end]).unwrap(), 16).unwrap();
                body.extend(&stream[end + 2..end + 2 + size]);
                stream = stream[end + 2 + size..].strip_prefix(b"\r\n").expect("the end of a chunk");
                if size == 0 {
                    break;
                }
            }
        }
        bodies.push(String::from_utf8(body).unwrap());
    }
    bodies
}

#[test]
fn no_byte_of_one_message_reaches_the_next() {
    let upstream = RawUpstream::start(|path| format!(r#"{{"path":"{path}"}}"#).into_bytes());
    let envoy = start(&stamping(MEBIBYTE), upstream.address());
    // Framed by length and by chunks, changed and not, JSON and not, small and large, in every order.
    let paths = ["/json/whole", "/json/chunks", "/other/whole", "/other/chunks"];
    let texts =
        ["{}".to_owned(), r#"{"a":1}"#.to_owned(), "not JSON".to_owned(), document(5000), document(100)];
    let mut sent = Vec::new();
    let mut expected = Vec::new();
    for round in 0..200 {
        let path = format!("{}/{round}", paths[round % paths.len()]);
        let text = &texts[round % texts.len()];
        let encode = if round % 3 == 0 { post_in_chunks } else { post };
        sent.extend(encode(&path, text));
        let is_changed = path.starts_with("/json") && text.starts_with('{');
        let body = if is_changed { stamped(text, "up", &path) } else { text.clone() };
        expected.push((path, body.into_bytes()));
    }
    sent.extend(b"GET /json/last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    expected.push(("/json/last".to_owned(), Vec::new()));
    let answers = bodies(&Client::new(envoy.address("shop")).raw(&sent).unwrap());

    let seen = upstream.seen();
    assert!(seen.strays.is_empty(), "{:?}", seen.strays);
    assert_eq!(seen.connections, 1, "all went over one connection");
    assert!(seen.requests == expected, "the upstream saw other requests than were sent");
    let answered: Vec<String> = expected
        .iter()
        .map(|(path, _)| {
            let plain = format!(r#"{{"path":"{path}"}}"#);
            if path.starts_with("/json") { stamped(&plain, "down", path) } else { plain }
        })
        .collect();
    assert_eq!(answers, answered);
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_mebibyte_in_chunks_of_three_bytes_is_changed_both_ways() {
    let upstream =
        RawUpstream::start(|path| document(if path == "/json" { MEBIBYTE } else { 100 }).into_bytes());
    let envoy = start(&stamping(MEBIBYTE), upstream.address());
    let mut sent = post_in_chunks("/json", &document(MEBIBYTE));
    sent.extend(b"GET /json/last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answers = bodies(&Client::new(envoy.address("shop")).raw(&sent).unwrap());
    let seen = upstream.seen();
    let sizes: Vec<usize> = seen.requests.iter().map(|(_, body)| body.len()).collect();
    assert_eq!(sizes.len(), 2, "{:?}", seen.strays);
    assert!(seen.requests[0].1 == stamped(&document(MEBIBYTE), "up", "/json").into_bytes());
    assert_eq!(answers.len(), 2);
    assert!(answers[0] == stamped(&document(MEBIBYTE), "down", "/json"));
    assert!(answers[1] == stamped(&document(100), "down", "/json/last"));
    assert!(envoy.deaths().unwrap().is_empty());
}

fn json_message(path: &str, body: String) -> Message {
    Message::post(path, body).header("content-type", "application/json")
}

fn json_reply(body: impl Into<Vec<u8>>) -> Reply {
    let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
    Reply { headers, body: body.into().into(), ..Reply::default() }
}

#[test]
fn a_larger_body_than_is_allowed_passes_as_it_is() {
    let upstream = Upstream::start().unwrap();
    let envoy = start(&stamping(10_000), upstream.address());
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        for size in [9_900, 10_100, 2 * MEBIBYTE] {
            let text = document(size);
            let message = json_message("/json", text.clone());
            let seen = upstream.exchange(&client, &message, json_reply(text.clone())).unwrap();
            let is_changed = size < 10_000;
            let expected = |name: &str| if is_changed { stamped(&text, name, "/json") } else { text.clone() };
            assert!(seen.upstream.unwrap().body == expected("up").into_bytes(), "{size}");
            assert!(seen.response.body == expected("down").into_bytes(), "{size}");
        }
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_body_that_the_proxy_cannot_buffer_is_changed_all_the_same() {
    let upstream = Upstream::start().unwrap();
    let envoy = start(&stamping(4 * MEBIBYTE), upstream.address());
    let text = document(2 * MEBIBYTE);
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let seen = upstream.exchange(&client, &json_message("/json", text.clone()), json_reply(text.clone()));
        let seen = seen.unwrap();
        assert!(seen.upstream.unwrap().body == stamped(&text, "up", "/json").into_bytes());
        assert!(seen.response.body == stamped(&text, "down", "/json").into_bytes());
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_response_that_is_refused_never_looks_whole() {
    let config = json!({
        "response": [{"name": "r", "patch": [{"op": "remove", "path": "/secret"}], "onPatchError": "skip"}],
        "onParseError": "reject",
        "onTooLarge": "reject",
        "maxBodyBytes": 1000,
    });
    let upstream = Upstream::start().unwrap();
    let envoy = start(&config, upstream.address());
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let exchange = |body: &str| upstream.exchange(&client, &Message::get("/"), json_reply(body));
        assert_eq!(exchange(r#"{"secret":1}"#).unwrap().response.body, b"{}");
        assert!(exchange(r#"{"secret":1"#).is_err(), "it is not JSON, and breaks off");
        let too_large = exchange(&document(2000)).unwrap().response;
        assert_eq!((too_large.status, too_large.body.as_slice()), (502, &b""[..]));
        assert_eq!(exchange(r#"{"secret":2}"#).unwrap().response.body, b"{}");
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn trailers_are_announced_or_the_message_is_refused() {
    let upstream = Upstream::start().unwrap();
    let envoy = start(&stamping(MEBIBYTE), upstream.address());
    let client = Client::http2(envoy.address("shop"));
    let send = |message: Message| upstream.exchange(&client, &message, Reply::default()).unwrap();
    let surprise = send(json_message("/json", "{}".into()).trailer("x-t", "1"));
    assert_eq!((surprise.response.status, surprise.upstream), (400, None));
    let announced = send(json_message("/json", "{}".into()).header("trailer", "x-t").trailer("x-t", "1"));
    assert_eq!(announced.upstream.unwrap().body, b"{}");
    let none = send(json_message("/json", "{}".into()));
    assert_eq!(none.upstream.unwrap().body, br#"{"stamp":"up of /json"}"#);
    assert!(envoy.deaths().unwrap().is_empty());
}

/// Takes a secret out of responses and stamps requests; nothing passes as it is.
fn refusing(body_timeout: &str) -> Value {
    json!({
        "request": [{"name": "up", "patch": [{"op": "set", "path": "/a", "value": 1}], "onPatchError": "reject"}],
        "response": [{
            "name": "down",
            "match": {"not": {"paths": [{"exact": "/upload"}]}},
            "patch": [{"op": "remove", "path": "/secret"}],
            "onPatchError": "skip",
        }],
        "onParseError": "reject",
        "onTooLarge": "reject",
        "bodyTimeout": body_timeout,
    })
}

/// An upload of so many bytes that lacks its last two, `"}`.
fn unfinished(address: SocketAddr, bytes: usize) -> TcpStream {
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[head.as_bytes(), b"{\"b\":\"", &vec![b'x'; bytes - 8]].concat()).unwrap();
    stream
}

/// The first line of a response; empty where there is none.
fn status_line(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn counted(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.wasm_filter.json_transform.{name}")).unwrap_or(0)
}

#[test]
fn unfinished_uploads_of_one_client_change_nothing_for_others() {
    for workers in [1, 4] {
        let upstream = Upstream::start().unwrap();
        let envoy = start_workers(workers, &refusing("1h"), upstream.address());
        let address = envoy.address("shop");
        let mut uploads: Vec<TcpStream> = (0..200).map(|_| unfinished(address, MEBIBYTE)).collect();
        for round in 0..40 {
            let client = if round % 2 == 0 { Client::new(address) } else { Client::http2(address) };
            let message = json_message("/api", r#"{"b":2}"#.into());
            let seen = upstream.exchange(&client, &message, json_reply(r#"{"secret":1}"#)).unwrap();
            assert_eq!(seen.response.body, b"{}", "{workers} workers, round {round}");
            assert_eq!(seen.upstream.unwrap().body, br#"{"b":2,"a":1}"#, "{workers} workers, round {round}");
        }
        assert_eq!(counted(&envoy, "component.responses.buffer_exhausted_total"), 0);
        if workers == 1 {
            let gone = counted(&envoy, "component.requests.buffer_exhausted_total");
            assert!((136..=140).contains(&gone), "64 MiB hold 64 of them: {gone} gave way");
            assert_eq!(status_line(&mut uploads[0]), "HTTP/1.1 503 Service Unavailable");
        }
        let last = uploads.last_mut().unwrap();
        last.write_all(b"\"}").unwrap();
        assert_eq!(status_line(last), "HTTP/1.1 200 OK", "{workers} workers");
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn an_upload_that_takes_too_long_is_answered_and_others_are_not() {
    let upstream = Upstream::start().unwrap();
    let envoy = start(&refusing("1s"), upstream.address());
    let mut slow = unfinished(envoy.address("shop"), 100);
    assert_eq!(status_line(&mut slow), "HTTP/1.1 408 Request Timeout");
    assert_eq!(counted(&envoy, "component.requests.body_timeout_total"), 1);
    let client = Client::new(envoy.address("shop"));
    let seen = upstream.exchange(&client, &json_message("/", "{}".into()), json_reply("{}")).unwrap();
    assert_eq!(seen.upstream.unwrap().body, br#"{"a":1}"#);
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_body_that_cannot_be_transformed_is_refused_where_nothing_may_pass() {
    let upstream = Upstream::start().unwrap();
    let envoy = start(&refusing("30s"), upstream.address());
    const JSON: (&str, &str) = ("content-type", "application/json");
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let send = |headers: &[(&str, &str)]| {
            let message = Message::post("/", "{}");
            let message = headers.iter().fold(message, |message, (name, value)| message.header(name, value));
            upstream.exchange(&client, &message, Reply::default()).unwrap()
        };
        for headers in [
            &[][..],
            &[("content-type", "text/json")],
            &[("content-type", "application/json; charset=latin1")],
            &[JSON, ("content-type", "text/plain")],
            &[("content-type", "application/grpc-web+json")],
            &[JSON, ("content-encoding", "x-none")],
            &[JSON, ("content-encoding", "identity"), ("content-encoding", "gzip")],
        ] {
            let seen = send(headers);
            assert_eq!((seen.response.status, &seen.upstream), (415, &None), "{headers:?}");
        }
        for headers in [
            &[JSON][..],
            &[JSON, ("trailer", "x")],
            &[JSON, ("content-encoding", "")],
            &[JSON, ("content-encoding", "identity, identity")],
        ] {
            assert_eq!(send(headers).upstream.unwrap().body, br#"{"a":1}"#, "{headers:?}");
        }
        let empty = upstream.exchange(&client, &Message::post("/", ""), Reply::default()).unwrap();
        assert_eq!(empty.response.status, 200, "without a body there is nothing to refuse");
    }
    let chunked = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let answer = Client::new(envoy.address("shop")).raw(chunked).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 415"), "{}", String::from_utf8_lossy(&answer));
    let upgrade = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n{}";
    let answer = Client::new(envoy.address("shop")).raw(upgrade).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 415"), "{}", String::from_utf8_lossy(&answer));
    assert!(envoy.deaths().unwrap().is_empty());
}
