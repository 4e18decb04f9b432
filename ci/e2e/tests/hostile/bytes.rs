//! Requests of HTTP/1, well formed or not.

use anyhow::{Result, ensure};

use crate::Case;
use crate::wire::{answer, open, send, shown};

const KIB: usize = 1024;

pub fn cases() -> Vec<Case> {
    let asked = asked().into_iter().map(|(what, bytes)| {
        Case::new(what, move |address| {
            let mut stream = open(address)?;
            send(&mut stream, &bytes);
            judge(&answer(&mut stream)?)
        })
    });
    asked.collect()
}

/// There is an answer, and it is not the one of a dead VM.
fn judge(answer: &[u8]) -> Result<()> {
    ensure!(answer.starts_with(b"HTTP/1."), "answered {:?}", shown(answer));
    ensure!(!answer.starts_with(b"HTTP/1.1 503"), "answered {:?}", shown(answer));
    Ok(())
}

fn asked() -> Vec<(&'static str, Vec<u8>)> {
    let long_path = format!("/{}?{}", "a/".repeat(2 * KIB), "q=%ff&".repeat(KIB / 2));
    let many_cookies = "cookie: a=\"b; c=%ff; =; ;;\r\n".repeat(100);
    let one_cookie: String = (0..100).map(|number| format!("c{number}={number}; ")).collect();
    let many: String = (0..200).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let too_many: String = (0..1500).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let hops = "1.2.3.4, ".repeat(KIB);
    let get = |headers: &str| request("GET / HTTP/1.1", headers.as_bytes());
    let post = |headers: &str, body: &[u8]| {
        [&request("POST /orders HTTP/1.1", headers.as_bytes())[..], body].concat()
    };
    vec![
        ("values that are not UTF-8", request("GET / HTTP/1.1", &everywhere(b"\xff"))),
        ("values that are empty", request("GET / HTTP/1.1", &everywhere(b""))),
        ("values of one space and a tab", request("GET / HTTP/1.1", &everywhere(b" \t"))),
        ("values of punctuation", request("GET / HTTP/1.1", &everywhere(b"=;,\"\\.%&|:{}[]"))),
        ("values of digits", request("GET / HTTP/1.1", &everywhere(&b"9".repeat(100)))),
        ("every header twice", request("GET / HTTP/1.1", &[everywhere(b"a"), everywhere(b"\xff")].concat())),
        ("every header of 2 KiB", request("GET / HTTP/1.1", &everywhere(&b"a.".repeat(KIB)))),
        ("a header of 60 KiB", get(&format!("x-long: {}\r\n", "a".repeat(60 * KIB)))),
        ("a header of 200 KiB", get(&format!("x-long: {}\r\n", "a".repeat(200 * KIB)))),
        ("60 KiB of token", get(&format!("authorization: Bearer {}\r\n", "a.".repeat(30 * KIB)))),
        ("200 headers", get(&many)),
        ("1500 headers", get(&too_many)),
        ("100 lines of cookies", get(&many_cookies)),
        ("100 cookies in a line", get(&format!("cookie: {one_cookie}\r\n"))),
        ("1024 hops", get(&format!("x-forwarded-for: {hops}\r\n"))),
        ("a path of 8 KiB", request(&format!("GET {long_path} HTTP/1.1"), b"")),
        ("OPTIONS *", request("OPTIONS * HTTP/1.1", b"")),
        ("GET *", request("GET * HTTP/1.1", b"")),
        ("CONNECT", request("CONNECT shop.example.com:443 HTTP/1.1", b"")),
        ("CONNECT to nowhere", request("CONNECT : HTTP/1.1", b"")),
        ("an absolute URI", request("GET http://shop.example.com HTTP/1.1", b"")),
        ("an absolute URI of another host", request("GET http://evil.example.com//a/../b HTTP/1.1", b"")),
        ("a path that is not UTF-8", request("GET /\u{ff}\u{fe} HTTP/1.1", b"")),
        ("broken escapes", request("GET /%zz/%2?a=%&%ff=%c3%28&&== HTTP/1.1", b"")),
        ("encoded controls", request("GET /%00%0d%0aSet-Cookie:%20a=b?x=%0d%0a HTTP/1.1", b"")),
        ("dots and slashes", request("GET //..%2f..%5c/;/..;/%2e%2e//\\ HTTP/1.1", b"")),
        ("a query of nothing but &", request(&format!("GET /?{} HTTP/1.1", "&".repeat(4 * KIB)), b"")),
        ("a method of its own", request("FROB / HTTP/1.1", b"")),
        ("a method of 1 KiB", request(&format!("{} / HTTP/1.1", "A".repeat(KIB)), b"")),
        ("HEAD", request("HEAD / HTTP/1.1", b"")),
        ("TRACE", request("TRACE / HTTP/1.1", b"")),
        (
            "a preflight",
            request("OPTIONS / HTTP/1.1", b"origin: \xff\r\naccess-control-request-method: \xff\r\n"),
        ),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\nhost: shop.example.com\r\n\r\n".to_vec()),
        ("HTTP/1.0 without a host", b"GET / HTTP/1.0\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("HTTP/3.0", b"GET / HTTP/3.0\r\nhost: a\r\n\r\n".to_vec()),
        ("no host", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec()),
        ("two hosts", request("GET / HTTP/1.1", b"host: b\r\n")),
        ("an empty host", b"GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n".to_vec()),
        (
            "a host with a strange port",
            b"GET / HTTP/1.1\r\nhost: [::1]:99999999\r\nconnection: close\r\n\r\n".to_vec(),
        ),
        ("a host that is not UTF-8", b"GET / HTTP/1.1\r\nhost: \xff\r\nconnection: close\r\n\r\n".to_vec()),
        ("a NUL in a value", request("GET / HTTP/1.1", b"x-a: a\0b\r\n")),
        ("a bare CR in a value", request("GET / HTTP/1.1", b"x-a: a\rb\r\n")),
        ("bare LFs", b"GET / HTTP/1.1\nhost: a\nconnection: close\n\n".to_vec()),
        ("a folded header", get("x-a: b\r\n c\r\n")),
        ("a header without a colon", get("x-a\r\n")),
        ("a header without a name", get(": b\r\n")),
        ("a space before the colon", get("x-a : b\r\n")),
        ("a name that is not UTF-8", request("GET / HTTP/1.1", b"x-\xff: b\r\n")),
        ("a name with an underscore", get("x_swimlane: canary\r\nx_user_id: root\r\n")),
        (
            "headers that are connection's own",
            get("connection: x-swimlane, x-user-id, authorization\r\nx-swimlane: a\r\n"),
        ),
        ("an upgrade to something", get("connection: upgrade\r\nupgrade: frob/1\r\n")),
        (
            "an upgrade to h2c",
            get("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: \r\n"),
        ),
        ("two lengths", post("content-length: 1\r\ncontent-length: 2\r\n", b"ab")),
        ("a length and chunks", post("content-length: 5\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n")),
        ("a length that is none", post("content-length: -1\r\n", b"")),
        ("a length beyond 64 bits", post("content-length: 99999999999999999999\r\n", b"")),
        ("a coding that is none", post("transfer-encoding: xchunked\r\n", b"0\r\n\r\n")),
        ("a size of a chunk that is none", post("transfer-encoding: chunked\r\n", b"zz\r\n\r\n")),
        (
            "a size of a chunk beyond 64 bits",
            post("transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\nab\r\n"),
        ),
        ("an extension of a chunk of 16 KiB", {
            post(
                "transfer-encoding: chunked\r\n",
                format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(16 * KIB)).as_bytes(),
            )
        }),
        (
            "trailers",
            post("transfer-encoding: chunked\r\n", b"2\r\nab\r\n0\r\nx-user-id: \xff\r\nx-t:\r\n\r\n"),
        ),
        ("many trailers", {
            post("transfer-encoding: chunked\r\n", format!("1\r\na\r\n0\r\n{many}\r\n").as_bytes())
        }),
        ("a body of one byte a chunk", {
            post(
                "transfer-encoding: chunked\r\n",
                format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(KIB)).as_bytes(),
            )
        }),
        ("a GET with a body", [&get("content-length: 2\r\n")[..], b"ab"].concat()),
        ("100-continue at once", post("expect: 100-continue\r\ncontent-length: 2\r\n", b"ab")),
        ("an expectation of its own", post("expect: 200-ok\r\ncontent-length: 2\r\n", b"ab")),
        (
            "gRPC over HTTP/1",
            post("content-type: application/grpc\r\nte: trailers\r\ncontent-length: 5\r\n", b"\0\0\0\0\xff"),
        ),
        (
            "gRPC-Web",
            post("content-type: application/grpc-web+proto\r\ncontent-length: 5\r\n", b"\0\xff\xff\xff\xff"),
        ),
        (
            "JSON that ends early",
            post("content-type: application/json\r\ncontent-length: 9\r\n", b"{\"a\": [1,"),
        ),
        (
            "JSON that is not UTF-8",
            post("content-type: application/json\r\ncontent-length: 9\r\n", b"{\"a\":\"\xff\"}"),
        ),
        ("JSON of 64 KiB of brackets", {
            let deep = "[".repeat(64 * KIB);
            post(
                &format!("content-type: application/json\r\ncontent-length: {}\r\n", deep.len()),
                deep.as_bytes(),
            )
        }),
        (
            "an encoding that it is not in",
            post("content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n", b"{}"),
        ),
        ("2 MiB of body", {
            let body = vec![b'a'; 2 << 20];
            post(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()), &body)
        }),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n".to_vec()),
        ("nothing but line ends", b"\r\n\r\n\r\nconnection: close\r\n\r\n".to_vec()),
    ]
}

/// Lines of every header that a plugin may read, with this value.
fn everywhere(value: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for name in NAMES {
        lines.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    lines.extend(
        [b"cookie: ", value, b"=", value, b"; lane=", value, b"; swim_uid=", value, b"\r\n"].concat(),
    );
    lines.extend([b"authorization: Bearer ", value, b".", value, b".", value, b"\r\n"].concat());
    lines.extend([b"baggage: ", value, b"=", value, b",swimlane=", value, b"\r\n"].concat());
    lines
}

const NAMES: [&str; 24] = [
    "accept",
    "accept-encoding",
    "authorization",
    "b3",
    "baggage",
    "content-type",
    "cookie",
    "grpc-timeout",
    "origin",
    "referer",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-a",
    "x-auth-user",
    "x-b3-traceid",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-original-path",
    "x-request-id",
    "x-swimlane",
    "x-tenant",
    "x-trace-id",
    "x-user-id",
];

fn request(line: &str, headers: &[u8]) -> Vec<u8> {
    let start = format!("{line}\r\nhost: shop.example.com\r\nconnection: close\r\n");
    [start.as_bytes(), headers, b"\r\n"].concat()
}
