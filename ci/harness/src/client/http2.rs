//! HTTP/2 with prior knowledge.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use plugin_cases::SeenResponse;
use tokio::net::TcpStream;

use crate::message::Message;
use crate::runtime::spawn;

const LARGEST_HEADERS: u32 = 1 << 20;

pub async fn send(stream: TcpStream, message: &Message) -> Result<SeenResponse> {
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(LARGEST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    spawn(async move {
        let _ = connection.await;
    });
    let uri = http::Uri::builder()
        .scheme("http")
        .authority(message.authority.as_str())
        .path_and_query(message.path.as_slice())
        .build()?;
    let mut request = http::Request::builder().method(message.method.as_str()).uri(uri);
    for (name, value) in &message.headers {
        request = request.header(name.as_str(), value.as_slice());
    }
    let body: Bytes = message.body.clone().unwrap_or_default();
    let mut trailers = http::HeaderMap::new();
    for (name, value) in &message.trailers {
        trailers.append(http::HeaderName::try_from(name)?, http::HeaderValue::try_from(value.as_slice())?);
    }
    let trailers = (!trailers.is_empty()).then_some(Ok(trailers));
    let body = Full::new(body).with_trailers(std::future::ready(trailers));
    let response = sender.send_request(request.body(body)?).await?;
    let (head, body) = response.into_parts();
    Ok(SeenResponse {
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    })
}
