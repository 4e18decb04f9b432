//! An upstream that answers as it is told and remembers what it saw.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use plugin_cases::{Exchange, SeenRequest};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::message::{Message, Reply};
use crate::runtime::{block_on, spawn};

/// Ties a request that the upstream sees to the one that was sent; taken off what is recorded.
const CASE_ID: &str = "x-case-id";
const MOST_HEADERS: usize = 2048;
const LARGEST_HEADERS: u32 = 1 << 20;

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
        Ok(Exchange { upstream, response })
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>) {
    let _ = stream.set_nodelay(true);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().max_headers(MOST_HEADERS);
    server.http2().max_header_list_size(LARGEST_HEADERS);
    let service = service_fn(move |request| {
        let ledger = Arc::clone(&ledger);
        async move { ledger.answer(request).await }
    });
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

impl Ledger {
    async fn answer(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let id = head.headers.get(CASE_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let Ok(body) = body.collect().await else {
            return Ok(respond(&Reply { status: 400, ..Reply::default() }));
        };
        let seen = record(&head, body.to_bytes().to_vec());
        let answer = id.and_then(|id| lock(&self.answers).get(&id).cloned().map(|reply| (id, reply)));
        let Some((id, reply)) = answer else {
            return Ok(respond(&describe(&seen)));
        };
        lock(&self.seen).insert(id, seen);
        Ok(respond(&reply))
    }
}

fn record(head: &http::request::Parts, body: Vec<u8>) -> SeenRequest {
    let host = head.headers.get(http::header::HOST);
    let authority = head
        .uri
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()));
    SeenRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        authority: authority.unwrap_or_default(),
        headers: head
            .headers
            .iter()
            .filter(|(name, _)| name.as_str() != CASE_ID && *name != http::header::HOST)
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body,
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

fn respond(reply: &Reply) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name.as_str(), value.as_slice());
    }
    response.body(Full::new(reply.body.clone())).unwrap_or_else(|refused| {
        let mut response = http::Response::new(Full::new(Bytes::from(refused.to_string())));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
