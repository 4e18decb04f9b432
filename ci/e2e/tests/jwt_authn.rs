//! What only Envoy can answer about jwt-authn: the verdicts of its own crypto, paths and headers as both versions of HTTP
//! carry them, and key sets on the wire.

#[path = "jwt_authn/keys.rs"]
mod keys;
#[path = "../../../plugins/jwt-authn/tests/signer/mod.rs"]
mod signer;

use std::time::SystemTime;

use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Upstream};
use plugin_cases::Exchange;
use serde_json::{Value, json};

fn filter(name: &str, config: &Value) -> Value {
    Plugin::named("jwt-authn").unwrap().filter(name, config).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are good for five minutes, but for what `change` replaces.
fn claims(change: &[(&str, Value)]) -> String {
    let mut claims =
        json!({"iss": "https://issuer.example.com", "aud": ["a", "b"], "sub": "alice", "exp": now() + 300});
    for (name, value) in change {
        claims[*name] = value.clone();
    }
    claims.to_string()
}

fn bearer(path: &str, token: &str) -> Message {
    Message::get(path).header("authorization", format!("Bearer {token}")).header("x-user-id", "root")
}

fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    headers.iter().filter(|(seen, _)| seen == name).map(|(_, value)| value.as_slice()).collect()
}

struct Shop {
    upstream: Upstream,
    envoy: Envoy,
}

impl Shop {
    fn exchange(&self, listener: &str, message: &Message) -> Exchange {
        self.exchange_with(&Client::new(self.envoy.address(listener)), listener, message)
    }

    /// With clients of HTTP/1 and of HTTP/2.
    fn exchange_both(&self, listener: &str, message: &Message) -> [Exchange; 2] {
        let address = self.envoy.address(listener);
        [Client::new(address), Client::http2(address)]
            .map(|client| self.exchange_with(&client, listener, message))
    }

    fn exchange_with(&self, client: &Client, listener: &str, message: &Message) -> Exchange {
        let seen = self.upstream.exchange(client, message, Reply::default()).unwrap();
        if let Some(upstream) = &seen.upstream {
            assert!(
                !header(&upstream.headers, "x-user-id").contains(&&b"root"[..]),
                "{listener}: {message:?}"
            );
        }
        seen
    }

    fn status(&self, listener: &str, message: &Message) -> u16 {
        self.exchange(listener, message).response.status
    }
}

fn provider(more: Value) -> Value {
    let mut provider = json!({
        "name": "p",
        "issuer": "https://issuer.example.com",
        "audiences": ["b"],
        "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
        "fromParams": ["access_token"],
        "fromCookies": ["session"],
        "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}],
    });
    for (name, value) in more.as_object().unwrap() {
        provider[name] = value.clone();
    }
    provider
}

fn config(more: Value) -> Value {
    json!({
        "providers": [provider(more)],
        "rules": [{"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}}],
    })
}

/// The cases in which the upstream is told who is asking.
const WITH_A_TOKEN: [&str; 4] = ["valid", "again", "in the query", "in a cookie"];

#[test]
fn every_algorithm_gives_the_same_verdicts_in_the_host_and_in_rust() {
    let other = format!(r#"{{"kid":"other","kty":"RSA","n":"{}","e":"AQAB"}}"#, signer::OTHER_RSA_N);
    let jwks = signer::jwks().replace("]}", &format!(",{other}]}}"));
    let upstream = Upstream::start().unwrap();
    let mut bootstrap = Bootstrap::new().cluster("upstream", upstream.address());
    for offload in ["auto", "never"] {
        let mut asymmetric = config(json!({"jwks": jwks}));
        let mut symmetric = config(json!({
            "algorithms": ["HS256"], "secret": {"value": signer::SECRET, "encoding": "base64url"}}));
        let mut published = json!({"providers": [
            {"name": "public", "issuer": "joe", "jwks": jwks, "clockSkew": "36500d"},
            {"name": "secret", "issuer": "joe", "algorithms": ["HS256"], "clockSkew": "36500d", "fromCookies": ["s"],
             "secret": {"value": signer::SECRET, "encoding": "base64url"}}]});
        for (name, config) in
            [("asymmetric", &mut asymmetric), ("symmetric", &mut symmetric), ("published", &mut published)]
        {
            config["cryptoOffload"] = json!(offload);
            let name = format!("{name}-{offload}");
            bootstrap = bootstrap.listener(Listener::new(&name).discovered(filter(&name, config)));
        }
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    assert!(shop.envoy.log().contains("verified in the host: [RS256, RS384, RS512, ES256, ES384]"));

    for algorithm in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let good = signer::token(algorithm, claims(&[]));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let mut flipped = signer::decode(signature);
        flipped[0] ^= 1;
        let payload = signer::encode(claims(&[("sub", json!("root"))]));
        let swapped = format!("{}.{payload}.{signature}", signed.split('.').next().unwrap());
        // A key of another kind; the HMAC's secret has no name, so there it is another secret.
        let wrong_key = if algorithm == "HS256" {
            format!("{signed}.{}", signer::encode(signer::hmac_sha256(&[7; 64], signed.as_bytes())))
        } else {
            let kid = if signer::kid(algorithm) == "rsa" { "other" } else { "rsa" };
            signer::with_header(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#), claims(&[]))
        };
        let changed = |name, value| bearer("/", &signer::token(algorithm, claims(&[(name, value)])));
        let preflight = Message {
            method: "OPTIONS".into(),
            ..Message::get("/")
                .header("origin", "https://a.example")
                .header("access-control-request-method", "PUT")
                .header("x-user-id", "root")
        };
        let cases = [
            ("valid", bearer("/", &good), 200),
            ("again", bearer("/", &good), 200),
            ("in the query", Message::get(format!("/?access_token={good}&a=b")), 200),
            ("in a cookie", Message::get("/").header("cookie", format!("a=b; session={good}")), 200),
            ("expired", changed("exp", json!(now() - 61)), 401),
            ("not yet valid", changed("nbf", json!(now() + 90)), 401),
            ("wrong issuer", changed("iss", json!("https://issuer.example.com/")), 401),
            ("wrong audience", changed("aud", json!("c")), 401),
            ("wrong key", bearer("/", &wrong_key), 401),
            ("tampered signature", bearer("/", &format!("{signed}.{}", signer::encode(&flipped))), 401),
            ("tampered signature again", bearer("/", &format!("{signed}.{}", signer::encode(&flipped))), 401),
            ("tampered payload", bearer("/", &swapped), 401),
            ("two tokens", bearer(&format!("/?access_token={good}"), &good), 400),
            ("two lines", bearer("/", &good).header("authorization", format!("Bearer {good}")), 400),
            ("none", Message::get("/").header("x-user-id", "root"), 401),
            ("preflight", preflight, 200),
            ("public path", Message::get("/public/a").header("x-user-id", "root"), 200),
            ("expired on a public path", bearer("/public", "x.y.z"), 200),
            ("ambiguous public path", Message::get("/public/..%2fadmin"), 400),
        ];
        let listener = if algorithm == "HS256" { "symmetric" } else { "asymmetric" };
        for (what, message, expected) in cases {
            for offload in ["auto", "never"] {
                let seen = shop.exchange(&format!("{listener}-{offload}"), &message);
                assert_eq!(seen.response.status, expected, "{algorithm}, {what}, {offload}: {seen:?}");
                let who = seen.upstream.iter().flat_map(|upstream| header(&upstream.headers, "x-user-id"));
                let known: &[&[u8]] = if WITH_A_TOKEN.contains(&what) { &[b"alice"] } else { &[] };
                assert_eq!(who.collect::<Vec<_>>(), known, "{algorithm}, {what}, {offload}");
            }
        }
    }

    // RFC 7515, appendix A, as published; their time was up in 2011, so the clocks are a century apart.
    let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let a1 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{payload}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let a2 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{payload}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let a3 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{payload}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    for offload in ["auto", "never"] {
        let listener = format!("published-{offload}");
        let cookie = |token: &str| Message::get("/").header("cookie", format!("s={token}"));
        let bearer = |token: &str| Message::get("/").header("authorization", format!("Bearer {token}"));
        assert_eq!(shop.status(&listener, &cookie(&a1)), 200, "A.1, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a2)), 200, "A.2, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a3)), 200, "A.3, {offload}");
        assert_eq!(shop.status(&listener, &bearer(&a3.replace("Kg6NU1Q", "Kg6NU1A"))), 401, "{offload}");
    }
    assert!(shop.envoy.deaths().unwrap().is_empty());
}

/// A listener with this configuration, and an upstream that speaks HTTP/2, so that trailers reach it.
fn shop(listeners: &[(&str, Value)]) -> Shop {
    let upstream = Upstream::start().unwrap();
    let mut bootstrap = Bootstrap::new().http2_cluster("upstream", upstream.address());
    for (name, config) in listeners {
        let listener = Listener::new(name).permissive().discovered(filter(name, config));
        bootstrap = bootstrap.listener(listener);
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    Shop { upstream, envoy }
}

/// Two issuers; a rule for administrators, one for one of the issuers, and one for a method.
fn with_rules(more: Value) -> Value {
    let provider = |name: &str| {
        let issuer = format!("https://{name}.example.com");
        let mut provider = provider(json!({"issuer": issuer, "jwks": signer::jwks()}));
        provider["name"] = json!(name);
        provider
    };
    let mut config = json!({
        "providers": [provider("corp"), provider("partner")],
        "rules": [
            {"match": {"paths": [{"prefix": "/admin"}]}, "requires": {"claims": [{"claim": "role", "anyOf": ["admin"]}]}},
            {"match": {"paths": [{"prefix": "/internal"}]}, "requires": {"provider": "corp"}},
            {"match": {"paths": [{"prefix": "/orders"}], "methods": ["POST"]}, "requires": {"scopes": {"allOf": ["write"]}}},
            {"match": {"paths": [{"prefix": "/public"}]}, "requires": {"provider": "corp", "allowMissing": true}}]});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn token_of(issuer: &str, more: &[(&str, Value)]) -> String {
    let issuer = json!(format!("https://{issuer}.example.com"));
    signer::token("EdDSA", claims(&[&[("iss", issuer)], more].concat()))
}

#[test]
fn no_spelling_of_a_path_escapes_its_rule() {
    let shop =
        shop(&[("rules", with_rules(json!({}))), ("one requirement", with_rules(json!({"rules": []})))]);
    let user = token_of("corp", &[("role", json!("user"))]);
    let partner = token_of("partner", &[]);
    let admin = token_of("corp", &[("role", json!("admin"))]);
    let get = |path: &str, token: &str| bearer(path, token);
    let method = |method: &str, token: &str| Message { method: method.into(), ..bearer("/orders", token) };
    for (message, expected) in [
        (get("/admin/users", &user), 403),
        (get("/admin/users", &admin), 200),
        (get("/internal/x", &partner), 401),
        (get("//admin/users", &user), 400),
        (get("/admin;x=1/users", &user), 400),
        (get("/;/admin/users", &user), 400),
        (get("/admin%2fusers", &user), 400),
        (get("/\\admin/users", &user), 400),
        (get("/admin%5cusers", &user), 400),
        (get("/Admin/users", &user), 400),
        (get("/admin%20/users", &user), 400),
        (get("/admin./users", &user), 400),
        (get("//internal/x", &partner), 400),
        (method("POST", &user), 403),
    ] {
        for seen in shop.exchange_both("rules", &message) {
            assert_eq!(seen.response.status, expected, "{message:?}");
            assert_eq!(seen.upstream.is_some(), expected == 200, "{message:?}");
            if expected == 400 {
                let body = String::from_utf8(seen.response.body).unwrap();
                assert!(body.starts_with(
                    r#"{"error":"invalid_request","error_description":"the request is ambiguous"#
                ));
            }
        }
    }
    // HTTP/1 of Envoy knows no method in lower case.
    let client = Client::http2(shop.envoy.address("rules"));
    let seen = shop.exchange_with(&client, "rules", &method("post", &user));
    assert_eq!((seen.response.status, seen.upstream), (400, None));
    let denied = shop.envoy.stats("component.ambiguous.denied_total").unwrap();
    assert_eq!(denied.values().sum::<u64>(), 21, "{denied:?}");

    for path in ["/a%2Fb", "/a;v=1", "/@scope%2fname", "//a"] {
        for (token, expected) in [(&user, 200), (&String::from("x"), 401)] {
            for seen in shop.exchange_both("one requirement", &bearer(path, token)) {
                assert_eq!(seen.response.status, expected, "{path}");
                assert_eq!(
                    seen.upstream.is_some_and(|upstream| upstream.path == path),
                    expected == 200,
                    "{path}"
                );
            }
        }
    }
    assert!(shop.envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_malformed_scheme_is_not_a_missing_token() {
    let shop = shop(&[("rules", with_rules(json!({})))]);
    assert_eq!(shop.status("rules", &Message::get("/public")), 200);
    let token = token_of("corp", &[]);
    for value in ["Bearer\tTOKEN", "Bearer:TOKEN", "Bearer\u{a0}TOKEN", "\u{a0}Bearer TOKEN", "bearer=TOKEN"]
    {
        let value = value.replace("TOKEN", &token);
        for path in ["/public", "/other"] {
            let message = Message::get(path).header("authorization", &value);
            for seen in shop.exchange_both("rules", &message) {
                assert_eq!((seen.response.status, seen.upstream), (401, None), "{value:?}");
            }
        }
    }
}

#[test]
fn identity_is_what_the_token_says_in_headers_and_in_trailers() {
    let shop = shop(&[("enforced", with_rules(json!({}))), ("dry", with_rules(json!({"mode": "dryRun"})))]);
    let spoofed = |message: Message| {
        let message = Message { method: "POST".into(), body: Some("a".into()), ..message };
        message
            .header("x-user-id", "root")
            .header("te", "trailers")
            .trailer("x-user-id", "root")
            .trailer("x-a", "1")
    };
    let of = |sub: &str| token_of("corp", &[("sub", json!(sub))]);
    for (listener, message, expected) in [
        ("enforced", Message::get("/public"), None),
        ("enforced", bearer("/", &of("alice")), Some("alice")),
        ("enforced", bearer("/", &of("al ice")), Some("al ice")),
        ("enforced", bearer("/", &of(" admin")), None),
        ("enforced", bearer("/", &of("admin\u{a0}")), None),
        ("enforced", bearer("/", &of(" ")), None),
        ("dry", Message::get("/"), None),
        ("dry", bearer("/", &of("alice")), None),
    ] {
        for seen in shop.exchange_both(listener, &spoofed(message.clone())) {
            let upstream = seen.upstream.unwrap();
            let users: Vec<&[u8]> = expected.iter().map(|user| user.as_bytes()).collect();
            assert_eq!(header(&upstream.headers, "x-user-id"), users, "{listener} {message:?}");
            assert_eq!(upstream.trailers, [("x-a".into(), b"1".to_vec())], "{listener} {message:?}");
            assert_eq!(upstream.body, b"a");
        }
    }
    assert!(shop.envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_claim_is_the_same_from_this_plugin_and_from_envoys_own_filter() {
    let claims = r#"{"iss":"i","exp":4102444800,"text":"12345678","yes":true,"no":false,"int":7,"neg":-3,"frac":0.5,
        "list":["a",1,true],"comma":["a,b"],"object":{"name":"r","n":5},"null":null,"white":" a"}"#;
    let names = [
        "text",
        "yes",
        "no",
        "int",
        "neg",
        "frac",
        "list",
        "comma",
        "object",
        "object.name",
        "object.n",
        "null",
        "white",
        "none",
    ];
    let token = signer::token("RS256", claims);
    let ours = filter("ours", &json!({"providers": [{"name": "p", "issuer": "i", "jwks": signer::jwks()}]}));
    let envoys = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"p": {
                "issuer": "i", "local_jwks": {"inline_string": signer::jwks()}, "payload_in_metadata": "payload"}},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]}});
    let set: serde_json::Map<String, Value> =
        names.iter().map(|name| (format!("x-{name}"), json!(format!("[${{claim:{name}}}]")))).collect();
    let reading = |name: &str| {
        let config = json!({"rules": [], "default": {"requestHeaders": {"set": set}}});
        Plugin::named("path-rewrite").unwrap().filter(name, &config).unwrap()
    };
    let upstream = Upstream::start().unwrap();
    let envoy = Bootstrap::new()
        .cluster("upstream", upstream.address())
        .listener(Listener::new("ours").discovered(ours).discovered(reading("after ours")))
        .listener(Listener::new("envoys").filter(envoys).discovered(reading("after envoys")))
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    let shop = Shop { upstream, envoy };
    let read = |listener: &str| {
        let seen =
            shop.exchange(listener, &Message::get("/").header("authorization", format!("Bearer {token}")));
        let headers = seen.upstream.unwrap().headers;
        names.map(|name| String::from_utf8(header(&headers, &format!("x-{name}"))[0].to_vec()).unwrap())
    };
    let expected = [
        "[12345678]",
        "[true]",
        "[false]",
        "[7]",
        "[-3]",
        "[0.5]",
        "[a,1,true]",
        "[]",
        "[]",
        "[r]",
        "[5]",
        "[]",
        "[ a]",
        "[]",
    ];
    assert_eq!(read("ours"), expected);
    assert_eq!(read("envoys"), expected);
}

#[test]
fn a_client_address_that_clients_choose_is_warned_of_on_a_sidecar() {
    let rules = json!([{"match": {"clientIps": ["10.0.0.0/8"]}, "requires": {"none": true}}]);
    let line = "clientIp: on a sidecar or waypoint, source.address is the last entry of x-forwarded-for";
    for (proxy, expected) in [("sidecar", true), ("waypoint", true), ("router", false)] {
        let envoy = Bootstrap::new()
            .proxy(proxy)
            .listener(
                Listener::new("shop")
                    .discovered(filter("shop", &with_rules(json!({"rules": rules}))))
                    .answering(),
            )
            .start()
            .unwrap();
        envoy.check_configured().unwrap();
        assert_eq!(envoy.log().contains(line), expected, "{proxy}");
    }
}
