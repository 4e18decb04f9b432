//! What each plugin promises to keep while it is replaced.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use e2e::{Answer, KeyServer, State};
use harness::{Bootstrap, Envoy, Message, Plugin, eventually};
use plugin_cases::load_tour;
use serde_json::{Value, json};

use crate::signer;

const LIMIT: Duration = Duration::from_secs(20);
/// Fewer than any run sends.
const ADMITTED: u64 = 500;
const USERS: usize = 500;

type Request = dyn Fn(usize) -> Vec<u8> + Sync;
type Judge = dyn Fn(usize, &Answer) -> Result<()> + Sync;
type Audit = dyn Fn(&Envoy, u64) -> Result<()>;

/// A promise, and how to hold the plugin to it.
pub struct Promise {
    /// `pluginConfig`, but for its revision.
    pub config: Value,
    /// The request of this number.
    pub request: Box<Request>,
    /// Whether the answer to it is right.
    pub answer: Box<Judge>,
    /// Whether everything is, after so many requests.
    pub after: Box<Audit>,
    /// A cluster beside the upstream.
    pub cluster: Option<(&'static str, KeyServer)>,
}

impl Promise {
    /// The one of this plugin; of one that is not known here, that a good request is answered as ever.
    pub fn of(plugin: &Plugin) -> Result<Self> {
        match plugin.name.as_str() {
            "custom-metrics" => Ok(every_request_is_counted_once()),
            "jwt-authn" => Ok(whoever_has_a_token_passes()),
            "path-rewrite" => Ok(every_path_is_rewritten()),
            "rate-limit" => Ok(exactly_the_limit_is_admitted()),
            "swimlane-tagging" => Ok(every_user_keeps_the_lane()),
            _ => every_good_request_passes(plugin),
        }
    }

    pub fn add_clusters(&self, bootstrap: Bootstrap) -> Bootstrap {
        match &self.cluster {
            Some((name, server)) => bootstrap.cluster(name, server.address()),
            None => bootstrap,
        }
    }

    fn new(config: Value, request: impl Fn(usize) -> Vec<u8> + Sync + 'static) -> Self {
        let answer = |_, answer: &Answer| {
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok(())
        };
        Self {
            config,
            request: Box::new(request),
            answer: Box::new(answer),
            after: Box::new(|_, _| Ok(())),
            cluster: None,
        }
    }
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: shop.example.com\r\n{headers}\r\n").into_bytes()
}

fn every_request_is_counted_once() -> Promise {
    let config = json!({"metrics": [{"name": "shop_requests_total", "type": "counter", "labels": {"status": {"status": true}}}]});
    let after = |envoy: &Envoy, served: u64| {
        let counted = || -> u64 {
            // Not the plugin's own metrics, which have the name in theirs.
            let stats = envoy.stats("shop_requests_total").unwrap_or_default();
            stats
                .iter()
                .filter(|(name, _)| name.ends_with("shop_requests_total"))
                .map(|(_, value)| value)
                .sum()
        };
        // The last requests are counted when their streams have ended.
        let all = eventually("all is counted", LIMIT, || (counted() == served).then_some(()));
        ensure!(all.is_ok(), "counted {} of {served}", counted());
        Ok(())
    };
    Promise { after: Box::new(after), ..Promise::new(config, |number| get(&format!("/users/{number}"), "")) }
}

fn whoever_has_a_token_passes() -> Promise {
    let set = format!("{{\"keys\":[{}]}}", signer::ed25519_jwk("ed"));
    let server = KeyServer::start(State::Body(set));
    let config = json!({
        "providers": [{
            "name": "shop",
            "issuer": "https://issuer.example.com",
            "jwksUri": "http://issuer.example.com/certs",
            "jwksCluster": "issuer",
            "fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}],
            "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}],
        }],
    });
    let until = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()) + 3600;
    let token = |number: usize| {
        let claims =
            json!({"iss": "https://issuer.example.com", "sub": format!("user-{number}"), "exp": until});
        signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"ed"}"#, claims.to_string())
    };
    let tokens: Vec<String> = (0..20).map(token).collect();
    let request = move |number: usize| {
        get("/", &format!("authorization: Bearer {}\r\nx-user-id: root\r\n", tokens[number % tokens.len()]))
    };
    let answer = |number: usize, answer: &Answer| {
        ensure!(answer.status == 200, "status {}", answer.status);
        let seen: Value = serde_json::from_slice(&answer.body)?;
        let user = json!([format!("user-{}", number % 20)]);
        ensure!(seen["headers"]["x-user-id"] == user, "{}", seen["headers"]);
        Ok(())
    };
    Promise { answer: Box::new(answer), cluster: Some(("issuer", server)), ..Promise::new(config, request) }
}

fn every_path_is_rewritten() -> Promise {
    let config = json!({"rules": [{
        "name": "banana",
        "match": {"paths": [{"prefix": "/banana"}]},
        "rewrite": {"regex": {"pattern": "banana/([0-9]*)", "replacement": "status/$1"}},
    }]});
    let answer = |number: usize, answer: &Answer| {
        ensure!(answer.status == 200, "status {}", answer.status);
        let seen: Value = serde_json::from_slice(&answer.body)?;
        ensure!(seen["path"] == format!("/status/{number}"), "{}", seen["path"]);
        Ok(())
    };
    Promise {
        answer: Box::new(answer),
        ..Promise::new(config, |number| get(&format!("/banana/{number}"), ""))
    }
}

fn exactly_the_limit_is_admitted() -> Promise {
    let config = json!({"limits": [{"name": "all", "key": [], "requests": ADMITTED, "per": "366d"}]});
    let admitted = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&admitted);
    let answer = move |_, answer: &Answer| {
        match answer.status {
            200 => _ = seen.fetch_add(1, Ordering::Relaxed),
            429 => {}
            status => anyhow::bail!("status {status}"),
        }
        Ok(())
    };
    let after = move |_: &Envoy, served: u64| {
        let admitted = admitted.load(Ordering::Relaxed);
        ensure!(admitted == ADMITTED.min(served), "admitted {admitted} of {served}, the limit is {ADMITTED}");
        Ok(())
    };
    Promise { answer: Box::new(answer), after: Box::new(after), ..Promise::new(config, |_| get("/", "")) }
}

fn every_user_keeps_the_lane() -> Promise {
    let config = json!({
        "lanes": ["production", "canary"],
        "split": {"key": ["header:x-user-id"], "salt": "release-1", "lanes": [{"name": "canary", "percent": 50}]},
        "echo": {"responseHeader": "x-lane"},
    });
    let lanes: Mutex<HashMap<usize, String>> = Mutex::default();
    let answer = move |number: usize, answer: &Answer| {
        ensure!(answer.status == 200, "status {}", answer.status);
        let lane = answer.header("x-lane").unwrap_or_default();
        ensure!(matches!(lane, "production" | "canary"), "lane {lane:?}");
        let mut lanes = lanes.lock().map_err(|_| anyhow::anyhow!("a client failed"))?;
        let kept = lanes.entry(number % USERS).or_insert_with(|| lane.to_owned());
        ensure!(kept == lane, "user {} was in {kept}, and is in {lane}", number % USERS);
        Ok(())
    };
    let request = |number: usize| get("/app", &format!("x-user-id: user-{}\r\n", number % USERS));
    Promise { answer: Box::new(answer), ..Promise::new(config, request) }
}

/// With its example, and the first request of its tour that reaches the upstream.
fn every_good_request_passes(plugin: &Plugin) -> Result<Promise> {
    let tour = load_tour(&plugin.tour_yaml())?;
    let welcome = tour.iter().find(|case| case.reply.is_none()).map(|case| Message::from(&case.request));
    let welcome = welcome.unwrap_or_else(|| Message::get("/"));
    let request = move |_| {
        let mut bytes = [welcome.method.as_bytes(), b" ", &welcome.path, b" HTTP/1.1\r\n"].concat();
        bytes.extend([b"host: ", welcome.authority.as_bytes(), b"\r\n"].concat());
        for (name, value) in &welcome.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let body = welcome.body.as_deref().unwrap_or_default();
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        [&bytes[..], body].concat()
    };
    Ok(Promise::new(plugin.example()?, request))
}
