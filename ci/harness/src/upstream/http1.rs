//! HTTP/1.1 by hand: libraries refuse to read what a proxy may well send.

use anyhow::{Context, Result};
use plugin_cases::SeenRequest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Ledger;
use crate::message::Reply;
use crate::wire::{Body, Head, Incoming, Until};

pub async fn serve(stream: TcpStream, ledger: &Ledger) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut incoming = Incoming::new(reader);
    while let Some(head) = incoming.head().await? {
        let body = incoming.body(&head.headers, Until::Now).await?;
        let seen = record(head, body)?;
        let bodiless = seen.method == "HEAD";
        writer.write_all(&encode(&ledger.answer(seen), bodiless)).await?;
    }
    Ok(())
}

fn record(mut head: Head, body: Body) -> Result<SeenRequest> {
    let line = String::from_utf8_lossy(&head.line).into_owned();
    let (method, rest) = line.split_once(' ').with_context(|| format!("not HTTP: {line}"))?;
    // What is between the first and the last space is the path, though it must not hold a space itself.
    let (path, _version) = rest.rsplit_once(' ').with_context(|| format!("not HTTP: {line}"))?;
    let mut authority = String::new();
    head.headers.retain(|(name, value)| {
        let host = name == "host";
        if host {
            authority = String::from_utf8_lossy(value).into_owned();
        }
        !host
    });
    Ok(SeenRequest {
        method: method.into(),
        path: path.into(),
        authority,
        headers: head.headers,
        body: body.bytes,
        trailers: body.trailers,
    })
}

fn encode(reply: &Reply, bodiless: bool) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} \r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let bodiless = bodiless || matches!(reply.status, 204 | 304);
    if reply.status != 204 {
        bytes.extend(format!("content-length: {}\r\n", reply.body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    if !bodiless {
        bytes.extend(&reply.body);
    }
    bytes
}
