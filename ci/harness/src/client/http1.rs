//! HTTP/1.1 by hand: libraries refuse to send what this client must be able to send.

use anyhow::{Context, Result, bail, ensure};
use plugin_cases::SeenResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::message::Message;

const MOST_HEADERS: usize = 2048;

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

fn encode(message: &Message) -> Vec<u8> {
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
    if let (Some(body), false) = (&message.body, framed) {
        line("content-length", body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(message.body.as_deref().unwrap_or_default());
    bytes
}

async fn receive(reader: OwnedReadHalf, bodiless: bool) -> Result<SeenResponse> {
    let mut incoming = Incoming { reader, bytes: Vec::new() };
    loop {
        let (status, headers) = incoming.head().await?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let bodiless = bodiless || matches!(status, 101 | 204 | 304);
        let body = if bodiless { Vec::new() } else { incoming.body(&headers).await? };
        return Ok(SeenResponse { status, headers, body });
    }
}

struct Incoming {
    reader: OwnedReadHalf,
    bytes: Vec<u8>,
}

impl Incoming {
    async fn head(&mut self) -> Result<(u16, Vec<(String, Vec<u8>)>)> {
        loop {
            let mut headers = vec![httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) =
                head.parse(&self.bytes).with_context(|| format!("not HTTP: {}", self.shown()))?
            {
                let status = head.code.context("no status")?;
                let headers = head
                    .headers
                    .iter()
                    .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
                    .collect();
                self.bytes.drain(..length);
                return Ok((status, headers));
            }
            ensure!(self.more().await?, "the connection was closed after {:?}", self.shown());
        }
    }

    async fn body(&mut self, headers: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
        let header = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks().await;
        }
        if let Some(length) = header("content-length") {
            let length = length.parse().with_context(|| format!("content-length: {length}"))?;
            return self.exactly(length).await;
        }
        while self.more().await? {}
        Ok(std::mem::take(&mut self.bytes))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("size of a chunk: {line:?}"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size).await?);
            ensure!(self.line().await?.is_empty(), "a chunk is longer than its size");
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.bytes.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8(line)?);
            }
            ensure!(self.more().await?, "the connection was closed between chunks");
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.bytes.len() < length {
            if !self.more().await? {
                bail!("the connection was closed after {} of {length} bytes", self.bytes.len());
            }
        }
        Ok(self.bytes.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<bool> {
        Ok(self.reader.read_buf(&mut self.bytes).await? > 0)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.bytes).chars().take(200).collect()
    }
}
