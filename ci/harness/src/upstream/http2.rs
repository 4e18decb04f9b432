//! HTTP/2, where the other side begins with it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use plugin_cases::SeenRequest;
use tokio::net::TcpStream;

use super::Ledger;
use crate::message::Reply;

const LARGEST_HEADERS: u32 = 1 << 20;

pub async fn serve(stream: TcpStream, ledger: Arc<Ledger>) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let ledger = Arc::clone(&ledger);
        async move {
            let (head, body) = request.into_parts();
            let (body, trailers) = match body.collect().await {
                Ok(body) => {
                    let trailers = body.trailers().cloned().unwrap_or_default();
                    (body.to_bytes().to_vec(), trailers)
                }
                Err(_) => Default::default(),
            };
            Ok::<_, Infallible>(respond(&ledger.answer(record(&head, body, &trailers))))
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(LARGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn record(head: &http::request::Parts, body: Vec<u8>, trailers: &http::HeaderMap) -> SeenRequest {
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let lines = |map: &http::HeaderMap| {
        map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    };
    SeenRequest {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority,
        headers: lines(&head.headers),
        body,
        trailers: lines(trailers),
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
