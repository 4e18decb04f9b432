//! An upstream that answers as it is told and remembers what it saw.

mod http1;
mod http2;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use plugin_cases::{Exchange, SeenRequest};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::message::{Message, Reply};
use crate::runtime::{block_on, spawn};

/// Ties a request that the upstream sees to the one that was sent; taken off what is recorded.
const CASE_ID: &str = "x-case-id";

/// An HTTP server in this process: HTTP/1.1, and HTTP/2 where the other side begins with it.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    answers: Mutex<HashMap<String, Reply>>,
    seen: Mutex<HashMap<String, SeenRequest>>,
    calls: Mutex<Option<Calls>>,
}

/// What comes without an exchange, while somebody wants to know.
#[derive(Default)]
struct Calls {
    answers: VecDeque<Reply>,
    seen: Vec<SeenRequest>,
}

impl Upstream {
    /// Answers each exchange as that says, and anything else with a description of what it saw.
    pub fn start() -> Result<Self> {
        let listener = block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let upstream = Self { address: listener.local_addr()?, ledger: Arc::default() };
        let ledger = Arc::clone(&upstream.ledger);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(serve(stream, Arc::clone(&ledger)));
            }
        });
        Ok(upstream)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request through `client`, answers it with `reply` should it come here, and tells both ends' story.
    pub fn exchange(&self, client: &Client, message: &Message, reply: Reply) -> Result<Exchange> {
        let id = self.ledger.next.fetch_add(1, Ordering::Relaxed).to_string();
        lock(&self.ledger.answers).insert(id.clone(), reply);
        let response = client.send(&message.clone().header(CASE_ID, &id));
        lock(&self.ledger.answers).remove(&id);
        let upstream = lock(&self.ledger.seen).remove(&id);
        let response = response.with_context(|| match &upstream {
            Some(seen) => format!("the upstream saw {} {}", seen.method, seen.path),
            None => "the upstream was not reached".into(),
        })?;
        Ok(Exchange { upstream, response, calls: Vec::new() })
    }

    /// From now on answers what comes without an exchange like this, in order, and takes notes.
    pub fn expect_calls(&self, answers: impl IntoIterator<Item = Reply>) {
        let answers = answers.into_iter().collect();
        *lock(&self.ledger.calls) = Some(Calls { answers, seen: Vec::new() });
    }

    /// What has come since [`Upstream::expect_calls`]; no more notes are taken.
    pub fn take_calls(&self) -> Vec<SeenRequest> {
        lock(&self.ledger.calls).take().unwrap_or_default().seen
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>) {
    let _ = stream.set_nodelay(true);
    let mut first = [0; 4];
    let _ = stream.peek(&mut first).await;
    if &first == b"PRI " {
        http2::serve(stream, ledger).await;
    } else {
        // What ends a connection early is on the other side, and is seen there.
        let _ = http1::serve(stream, &ledger).await;
    }
}

impl Ledger {
    /// Notes the request and finds its answer.
    fn answer(&self, mut seen: SeenRequest) -> Reply {
        let id = seen.headers.iter().position(|(name, _)| name == CASE_ID);
        let id = id.map(|at| String::from_utf8_lossy(&seen.headers.remove(at).1).into_owned());
        let answer = id.and_then(|id| lock(&self.answers).get(&id).cloned().map(|reply| (id, reply)));
        let Some((id, reply)) = answer else {
            let mut calls = lock(&self.calls);
            let Some(calls) = calls.as_mut() else { return describe(&seen) };
            let reply = calls.answers.pop_front().unwrap_or_else(|| describe(&seen));
            calls.seen.push(seen);
            return reply;
        };
        lock(&self.seen).insert(id, seen);
        reply
    }
}

fn describe(seen: &SeenRequest) -> Reply {
    let mut headers = Map::new();
    for (name, value) in &seen.headers {
        let line = Value::String(String::from_utf8_lossy(value).into_owned());
        match headers.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(lines) => lines.push(line),
            other => *other = line,
        }
    }
    let seen = json!({
        "method": seen.method,
        "path": seen.path,
        "authority": seen.authority,
        "headers": headers,
        "body": String::from_utf8_lossy(&seen.body),
    });
    Reply {
        status: 200,
        headers: vec![("content-type".into(), b"application/json".to_vec())],
        body: format!("{seen:#}\n").into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_what_was_seen() {
        let upstream = Upstream::start().unwrap();
        let path = b"/a;b?c=\"<d>\"".to_vec();
        let sent = Message::post(path, &b"up\0"[..])
            .header("x-a", b"\xff")
            .header("x-a", b"two")
            .trailer("x-t", "1");
        let reply = Reply {
            status: 418,
            headers: vec![("x-b".into(), b"\xfe".to_vec())],
            body: b"down\0"[..].into(),
        };
        let seen = upstream.exchange(&Client::new(upstream.address()), &sent, reply).unwrap();
        let request = seen.upstream.unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a;b?c=\"<d>\""));
        assert_eq!(request.authority, "shop.example.com");
        assert_eq!(request.headers[..2], sent.headers[..]);
        assert_eq!(request.body, b"up\0");
        assert_eq!(request.trailers, sent.trailers);
        assert_eq!(seen.response.status, 418);
        assert_eq!(seen.response.headers[0], ("x-b".into(), b"\xfe".to_vec()));
        assert_eq!(seen.response.body, b"down\0");
    }

    #[test]
    fn what_nobody_asked_for_is_described() {
        let upstream = Upstream::start().unwrap();
        for client in [Client::new(upstream.address()), Client::http2(upstream.address())] {
            let seen = client.send(&Message::get("/a").header("x-a", "1")).unwrap();
            let described: Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(described["path"], "/a");
            assert_eq!(described["headers"]["x-a"], json!(["1"]));
        }
    }
}
