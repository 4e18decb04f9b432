//! HTTP/1.1 by hand: libraries refuse to send what this client must be able to send.

use anyhow::{Context, Result};
use plugin_cases::SeenResponse;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::message::Message;
use crate::wire::{Body, Head, Incoming, Until};

pub async fn send(stream: TcpStream, message: &Message) -> Result<SeenResponse> {
    let (reader, mut writer) = stream.into_split();
    let request = encode(message);
    // A proxy may answer before it has read everything; then writing fails, and the answer is what counts.
    let write = async {
        let _ = writer.write_all(&request).await;
    };
    let (response, ()) = tokio::join!(receive(reader, message.method == "HEAD"), write);
    response
}

pub fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(message.method.as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(&message.path);
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    let mut line = |name: &str, value: &[u8]| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    };
    line("host", message.authority.as_bytes());
    for (name, value) in &message.headers {
        line(name, value);
    }
    let framed = message.headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
    });
    let body = message.body.as_deref().unwrap_or_default();
    if !message.trailers.is_empty() {
        line("transfer-encoding", b"chunked");
        bytes.extend_from_slice(b"\r\n");
        if !body.is_empty() {
            bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n");
        for (name, value) in &message.trailers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        return bytes;
    }
    if message.body.is_some() && !framed {
        line("content-length", body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

async fn receive(reader: OwnedReadHalf, bodiless: bool) -> Result<SeenResponse> {
    let mut incoming = Incoming::new(reader);
    loop {
        let head = incoming.head().await?.context("the connection was closed without an answer")?;
        let status = status_of(&head)?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let bodiless = bodiless || matches!(status, 101 | 204 | 304);
        let body =
            if bodiless { Body::default() } else { incoming.body(&head.headers, Until::Closed).await? };
        return Ok(SeenResponse { status, headers: head.headers, body: body.bytes });
    }
}

pub fn status_of(head: &Head) -> Result<u16> {
    let status = head.line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    str::from_utf8(status)?.parse().with_context(|| format!("not HTTP: {head:?}"))
}
