//! Reading HTTP/1.1 as it is on the wire, without an opinion about it.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

const MOST_HEADERS: usize = 2048;

/// What arrives on a connection.
pub struct Incoming<R> {
    reader: R,
    bytes: Vec<u8>,
}

/// The first line, and the header lines in order with their names in lower case.
#[derive(Debug)]
pub struct Head {
    pub line: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What follows a head.
#[derive(Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// Lines behind a chunked body, their names in lower case.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, trailers: Vec::new() }
    }
}

/// How long a body is that does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A request's: there is none.
    Now,
    /// A response's: to the end of the connection.
    Closed,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, bytes: Vec::new() }
    }

    /// The next head; `None` where the connection was closed before it.
    pub async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.bytes, b"\r\n\r\n") {
                let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
                let line_end = find(&head, b"\r\n").unwrap_or(end);
                let mut headers = vec![httparse::EMPTY_HEADER; MOST_HEADERS];
                let parsed = httparse::parse_headers(&head[line_end + 2..], &mut headers)
                    .with_context(|| format!("not HTTP: {}", shown(&head)))?;
                let httparse::Status::Complete((_, headers)) = parsed else {
                    bail!("not HTTP: {}", shown(&head))
                };
                let headers = headers
                    .iter()
                    .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
                    .collect();
                return Ok(Some(Head { line: head[..line_end].to_vec(), headers }));
            }
            if !self.more().await? {
                ensure!(self.bytes.is_empty(), "the connection was closed after {:?}", shown(&self.bytes));
                return Ok(None);
            }
        }
    }

    /// The body that goes with these headers.
    pub async fn body(&mut self, headers: &[(String, Vec<u8>)], until: Until) -> Result<Body> {
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
            return Ok(self.exactly(length).await?.into());
        }
        if until == Until::Closed {
            while self.more().await? {}
            return Ok(std::mem::take(&mut self.bytes).into());
        }
        Ok(Body::default())
    }

    async fn chunks(&mut self) -> Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("size of a chunk: {line:?}"))?;
            if size == 0 {
                loop {
                    let line = self.line().await?;
                    if line.is_empty() {
                        return Ok(body);
                    }
                    let (name, value) = line.split_once(':').with_context(|| format!("trailer: {line:?}"))?;
                    body.trailers.push((name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
                }
            }
            body.bytes.extend(self.exactly(size).await?);
            ensure!(self.line().await?.is_empty(), "a chunk is longer than its size");
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = find(&self.bytes, b"\r\n") {
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
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    fn read(bytes: &[u8], until: Until) -> (Head, Body) {
        block_on(async {
            let mut incoming = Incoming::new(bytes);
            let head = incoming.head().await.unwrap().unwrap();
            let body = incoming.body(&head.headers, until).await.unwrap();
            (head, body)
        })
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (headers, body, until, expected) in [
            ("content-length: 2\r\n", "abcd", Until::Closed, "ab"),
            (
                "Transfer-Encoding: chunked\r\n",
                "2;x=y\r\nab\r\n1\r\nc\r\n0\r\nt: 1\r\n\r\nd",
                Until::Closed,
                "abc",
            ),
            ("", "abcd", Until::Closed, "abcd"),
            ("", "abcd", Until::Now, ""),
        ] {
            let (head, seen) = read(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").as_bytes(), until);
            assert_eq!(head.line, b"HTTP/1.1 200 OK");
            assert_eq!(String::from_utf8_lossy(&seen.bytes), expected, "{headers}");
        }
    }

    #[test]
    fn trailers_are_the_lines_behind_the_last_chunk() {
        let message =
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\nx-u:2\r\n\r\n";
        let (_, body) = read(message, Until::Now);
        assert_eq!(body.trailers, [("x-t".into(), b"1".to_vec()), ("x-u".into(), b"2".to_vec())]);
    }
}
