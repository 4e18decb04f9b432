//! What only Envoy can answer about path-rewrite: where a rewritten request goes, and what is on the wire.

use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Upstream};
use serde_json::{Value, json};

fn filter(config: &Value) -> Value {
    Plugin::named("path-rewrite").unwrap().filter("path-rewrite", config).unwrap()
}

fn start(config: &Value, upstream: &Upstream) -> (Envoy, Client) {
    let listener = Listener::new("shop").discovered(filter(config));
    let envoy = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener).start().unwrap();
    envoy.check_configured().unwrap();
    let client = Client::new(envoy.address("shop"));
    (envoy, client)
}

#[test]
fn a_rewritten_request_takes_the_route_of_its_new_path() {
    let config = json!({"rules": [{
        "name": "moved",
        "match": {"paths": [{"prefix": "/old"}]},
        "rewrite": {"prefix": {"from": "/old", "to": "/new"}},
    }]});
    let (old, new) = (Upstream::start().unwrap(), Upstream::start().unwrap());
    let listener = Listener::new("shop").discovered(filter(&config)).route("/new", "new").route("/", "old");
    let envoy = Bootstrap::new()
        .cluster("old", old.address())
        .cluster("new", new.address())
        .listener(listener)
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let reached = |upstream: &Upstream, path: &str| {
            let seen = upstream.exchange(&client, &Message::get(path), Reply::default()).unwrap();
            seen.upstream.map(|upstream| upstream.path)
        };
        assert_eq!(reached(&new, "/old/1?a=b").as_deref(), Some("/new/1?a=b"));
        assert_eq!(reached(&old, "/old/1?a=b"), None);
        assert_eq!(reached(&old, "/older").as_deref(), Some("/older"));
    }
}

const INJECTION: &str = "/x?q=1%0d%0aset-cookie:%20a=b";

#[test]
fn a_line_break_from_a_client_never_becomes_one_in_the_response() {
    let config = json!({"rules": [], "default": {"responseHeaders": {"set": {"x-q": "${query:q}"}}}});
    let upstream = Upstream::start().unwrap();
    let (envoy, client) = start(&config, &upstream);
    let raw = format!("GET {INJECTION} HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n");
    let answer = String::from_utf8(client.raw(raw.as_bytes()).unwrap()).unwrap();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("set-cookie")), "{head}");
    let http2 = Client::http2(envoy.address("shop")).send(&Message::get(INJECTION)).unwrap();
    assert_eq!(http2.status, 200, "the response is not lost");
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_line_break_from_a_client_never_becomes_one_in_the_request() {
    let config = json!({"rules": [], "default": {"requestHeaders": {"set": {"x-q": "${query:q}"}}}});
    let upstream = Upstream::start().unwrap();
    let (envoy, client) = start(&config, &upstream);
    for message in [Message::get(INJECTION), Message::get("/x?q=1%00")] {
        let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
        assert_eq!(seen.response.status, 200);
        let headers = seen.upstream.unwrap().headers;
        assert!(!headers.iter().any(|(name, _)| name == "set-cookie"), "{headers:?}");
        let clean = |value: &[u8]| !value.iter().any(|byte| b"\r\n\0".contains(byte));
        assert!(headers.iter().all(|(_, value)| clean(value)), "{headers:?}");
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_rule_rejects_every_spelling_of_its_path_and_host() {
    let config = json!({"rules": [
        {"name": "admin", "match": {"paths": [{"prefix": "/admin"}]}, "respond": {"status": 403}},
        {"name": "host", "match": {"hosts": ["admin.example.com"]}, "respond": {"status": 403}},
        {"name": "shop", "rewrite": {"prefix": {"from": "/shop", "to": "/v2"}}},
    ]});
    let upstream = Upstream::start().unwrap();
    let (envoy, _) = start(&config, &upstream);
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        let send = |message: &Message| upstream.exchange(&client, message, Reply::default()).unwrap();
        for path in [
            "/admin",
            "/ADMIN/x",
            "//admin",
            "/x/../admin",
            "/admin;x=1",
            "/;/admin",
            "/%61dmin",
            "/admin%2Fx",
            "/admin%5cx",
            "/%2561dmin",
            "/admin./x",
            "/admin%20/x",
            "/%c0%afadmin",
        ] {
            let seen = send(&Message::get(path));
            assert_eq!((seen.response.status, &seen.upstream), (403, &None), "{path}");
        }
        assert_eq!(send(&Message::get("/shop/a")).upstream.unwrap().path, "/v2/a");
    }
    let client = Client::new(envoy.address("shop"));
    for authority in ["ADMIN.example.com", "admin.example.com.", "admin.example.com..", "x@admin.example.com"]
    {
        let message = Message { authority: authority.into(), ..Message::get("/") };
        let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
        assert_eq!((seen.response.status, &seen.upstream), (403, &None), "{authority}");
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_request_with_trailers_passes_without_the_clients_original_path() {
    let config = json!({"rules": [{"name": "r", "rewrite": {"addPrefix": "/v2"}}]});
    let upstream = Upstream::start().unwrap();
    let (envoy, _) = start(&config, &upstream);
    let client = Client::http2(envoy.address("shop"));
    let message = Message::post("/a", "b").trailer("x-original-path", "/mine").trailer("x-t", "1");
    let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
    let request = seen.upstream.unwrap();
    assert_eq!((request.path.as_str(), request.body.as_slice()), ("/v2/a", &b"b"[..]));
    assert!(envoy.deaths().unwrap().is_empty());
}
