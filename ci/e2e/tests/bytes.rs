//! What a client sends is bytes, and none of them decides whether a plugin lives.

use e2e::{Scene, Stage};
use harness::Reply;

const KIB: usize = 1024;

#[test]
fn no_bytes_kill_a_plugin() {
    let stage = Stage::set().unwrap();
    for scene in &stage.scenes {
        let before = welcome(&stage, scene);
        for (what, bytes) in hostile() {
            let answer =
                stage.client(scene).raw(&bytes).unwrap_or_else(|e| panic!("{}, {what}: {e:#}", scene.name));
            assert!(answer.starts_with(b"HTTP/1.1 "), "{}, {what}: {:?}", scene.name, head(&answer));
            let trapped = answer.starts_with(b"HTTP/1.1 503");
            assert!(!trapped, "{}, {what}: {:?}", scene.name, head(&answer));
            assert_eq!(welcome(&stage, scene), before, "{}, after {what}", scene.name);
            stage.check_alive().unwrap_or_else(|dead| panic!("{}, {what}: {dead}", scene.name));
        }
    }
}

fn welcome(stage: &Stage, scene: &Scene) -> u16 {
    let seen = stage.exchange(&stage.client(scene), &scene.welcome, Reply::default()).unwrap();
    assert!(seen.upstream.is_some(), "{}: not reached, {:?}", scene.name, seen.response);
    seen.response.status
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let long_path = format!("/{}?{}", "a/".repeat(2 * KIB), "q=%ff&".repeat(KIB / 2));
    let many_cookies = "cookie: a=\"b; c=%ff; =; ;;\r\n".repeat(100);
    let one_cookie: String = (0..100).map(|n| format!("c{n}={n}; ")).collect();
    vec![
        ("values that are not UTF-8", request("GET / HTTP/1.1", EVERYWHERE_FF)),
        (
            "a header of 60 KiB",
            request("GET / HTTP/1.1", &[b"x-long: ", &b"a".repeat(60 * KIB)[..], b"\r\n"].concat()),
        ),
        (
            "60 KiB of token",
            request(
                "GET / HTTP/1.1",
                &[b"authorization: Bearer ", &b"a.".repeat(30 * KIB)[..], b"\r\n"].concat(),
            ),
        ),
        ("100 lines of cookies", request("GET / HTTP/1.1", many_cookies.as_bytes())),
        ("100 cookies in a line", request("GET / HTTP/1.1", format!("cookie: {one_cookie}\r\n").as_bytes())),
        ("a path of 8 KiB", request(&format!("GET {long_path} HTTP/1.1"), b"")),
        ("no path: OPTIONS *", request("OPTIONS * HTTP/1.1", b"")),
        ("no path: CONNECT", request("CONNECT shop.example.com:443 HTTP/1.1", b"")),
        ("an absolute URI", request("GET http://shop.example.com HTTP/1.1", b"")),
        ("a path that is not UTF-8", request("GET /\u{ff}\u{fe} HTTP/1.1", b"")),
        ("broken escapes", request("GET /%zz/%2?a=%&%ff=%c3%28&&== HTTP/1.1", b"")),
        ("a method of its own", request("FROB / HTTP/1.1", b"")),
        (
            "an empty value",
            request(
                "GET / HTTP/1.1",
                b"authorization:\r\ncookie:\r\nx-swimlane:\r\ntraceparent:\r\nbaggage:\r\n",
            ),
        ),
        (
            "an authority with a strange port",
            b"GET / HTTP/1.1\r\nhost: [::1]:99999999\r\nconnection: close\r\n\r\n".to_vec(),
        ),
    ]
}

/// In every header that a plugin may read.
const EVERYWHERE_FF: &[u8] = b"x-a: \xff\r\n\
    cookie: \xff=\xff; a=\xfe\xff\r\n\
    authorization: Bearer \xff.\xff.\xff\r\n\
    x-forwarded-for: \xff, 1.2.3.4\r\n\
    x-user-id: \xff\r\n\
    x-swimlane: \xff\r\n\
    x-trace-id: \xff\r\n\
    x-request-id: \xff\r\n\
    traceparent: \xff\r\n\
    baggage: \xff=\xff\r\n\
    user-agent: \xff\r\n\
    content-type: \xff\r\n\
    x-tenant: \xff\r\n";

fn request(line: &str, headers: &[u8]) -> Vec<u8> {
    let start = format!("{line}\r\nhost: shop.example.com\r\nconnection: close\r\n");
    [start.as_bytes(), headers, b"\r\n"].concat()
}

fn head(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(300).collect()
}
