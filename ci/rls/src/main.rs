//! A rate limit service for the tests: Limitador's engine behind `envoy.service.ratelimit.v3.RateLimitService`.
//!
//! Prints its address, and serves until it is killed. The descriptor entry `fault` asks for a faulty answer.

mod messages;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::Parser;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use limitador::RateLimiter;
use limitador::limit::{Context, Limit};
use prost::Message;
use tokio::net::TcpListener;

use crate::messages::{Code, HeaderValue as Header, RateLimitRequest, RateLimitResponse};

const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const COUNTERS: u64 = 10_000;
const INVALID_ARGUMENT: u32 = 3;
const UNIMPLEMENTED: u32 = 12;

/// Limits each value of an entry of the first descriptor.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The domain.
    #[arg(long, default_value = "edge")]
    domain: String,
    /// The descriptor's key; each of its values is counted apart.
    #[arg(long, default_value = "tenant")]
    key: String,
    /// How many in each window.
    #[arg(long, default_value_t = 3)]
    requests: u64,
    /// How long that is.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Say nothing of when a window ends, as Limitador's server does unless it is told to.
    #[arg(long)]
    no_headers: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let limiter = RateLimiter::new(COUNTERS);
    let variable = format!("descriptors[0].{}", arguments.key);
    limiter.add_limit(Limit::new(
        arguments.domain.as_str(),
        arguments.requests,
        arguments.seconds,
        Vec::<limitador::limit::Predicate>::new(),
        vec![variable.as_str().try_into().map_err(|_| anyhow::anyhow!("not a key: {variable}"))?],
    ));
    let service = Arc::new(Service { limiter, headers: !arguments.no_headers });
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, std::convert::Infallible>(service.serve(request).await) }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

struct Service {
    limiter: RateLimiter,
    headers: bool,
}

impl Service {
    async fn serve(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
        if request.uri().path() != METHOD {
            return answer(Err(UNIMPLEMENTED));
        }
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        match body.map_err(anyhow::Error::from).and_then(message) {
            Ok(request) => answer(self.decide(&request).await),
            Err(_) => answer(Err(INVALID_ARGUMENT)),
        }
    }

    async fn decide(&self, request: &RateLimitRequest) -> Result<Bytes, u32> {
        let descriptors: Vec<HashMap<String, String>> = request
            .descriptors
            .iter()
            .map(|descriptor| {
                descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
            })
            .collect();
        let fault = descriptors.iter().find_map(|descriptor| descriptor.get("fault")).map(String::as_str);
        match fault {
            Some("slow") => tokio::time::sleep(Duration::from_secs(5)).await,
            Some("garbage") => return Ok(Bytes::from_static(b"\xff\xfe\xfd garbage")),
            Some("empty") => return Ok(Bytes::new()),
            Some("unknown") => return Ok(Bytes::from_static(b"\x08\x00")),
            Some("error") => return Err(13),
            _ => {}
        }
        let mut context = Context::default();
        context.list_binding("descriptors".into(), descriptors);
        let hits = u64::from(request.hits_addend.max(1));
        let domain = request.domain.as_str().into();
        let mut checked =
            self.limiter.check_rate_limited_and_update(&domain, &context, hits).map_err(|_| 14_u32)?;
        let code = if checked.limited { Code::OverLimit } else { Code::Ok };
        let headers = if self.headers { checked.response_header() } else { HashMap::new() };
        let response = RateLimitResponse {
            overall_code: code.into(),
            response_headers_to_add: headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
        };
        Ok(response.encode_to_vec().into())
    }
}

/// The message of a unary call: a flag, four bytes of length, and the message.
fn message(mut body: Bytes) -> Result<RateLimitRequest> {
    if body.len() < 5 || body.get_u8() != 0 {
        bail!("not an uncompressed message");
    }
    let size = body.get_u32() as usize;
    RateLimitRequest::decode(body.get(..size).context("half a message")?).context("not a RateLimitRequest")
}

fn answer(answer: Result<Bytes, u32>) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
    let mut framed = BytesMut::new();
    let status = match answer {
        Ok(message) => {
            framed.put_u8(0);
            framed.put_u32(u32::try_from(message.len()).unwrap_or_default());
            framed.put(message);
            0
        }
        Err(status) => status,
    };
    let trailers = HeaderMap::from_iter(
        [("grpc-status".parse().ok(), HeaderValue::from(status))]
            .into_iter()
            .filter_map(|(name, value)| Some((name?, value))),
    );
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
