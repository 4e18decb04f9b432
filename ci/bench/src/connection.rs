//! A client's connection that costs the client next to nothing: bytes made beforehand go out, an answer's end is found.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use plugin_cases::Request;

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::with_capacity(16 << 10) })
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// Waits for the answer, and says its status.
    pub fn receive(&mut self) -> Result<u16> {
        loop {
            if let Some(status) = self.receive_part()? {
                return Ok(status);
            }
        }
    }

    /// Reads once; the status, when the whole answer is there.
    pub fn receive_part(&mut self) -> Result<Option<u16>> {
        let mut part = [0; 16 << 10];
        let size = self.stream.read(&mut part)?;
        ensure!(size > 0, "Envoy closed a connection");
        self.bytes.extend(&part[..size]);
        let Some((status, size)) = answer(&self.bytes)? else { return Ok(None) };
        ensure!(self.bytes.len() == size, "more than one answer to one request");
        self.bytes.clear();
        Ok(Some(status))
    }
}

/// The status and the size of the answer that these bytes begin with, when it is whole.
fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status: u16 = head.get(9..12).context("an answer without a status")?.parse()?;
    let start = end + 4;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let size = if let Some(length) = length {
        start + length.parse::<usize>()?
    } else if head.contains("\r\ntransfer-encoding: chunked") {
        let Some(size) = chunks(&bytes[start..])? else { return Ok(None) };
        start + size
    } else {
        ensure!(status == 204 || status == 304, "an answer without a length:\n{head}");
        start
    };
    Ok((bytes.len() >= size).then_some((status, size)))
}

/// The size of the chunks that these bytes begin with, the last one included.
fn chunks(bytes: &[u8]) -> Result<Option<usize>> {
    let mut size = 0;
    loop {
        let rest = bytes.get(size..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let chunk = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        size += end + 2 + chunk + 2;
        if chunk == 0 {
            return Ok(Some(size));
        }
    }
}

/// A request's bytes.
pub fn encode(request: &Request) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, request.authority);
    for (name, value) in request.headers.lines() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = &request.body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(request.body.as_deref().unwrap_or_default());
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(answer(whole).unwrap(), Some((200, whole.len())));
        assert_eq!(answer(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn an_answer_in_chunks_ends_with_an_empty_one() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nb\r\n\r\n0\r\n\r\nok67\r\n0\r\n\r\n";
        for size in 0..whole.len() {
            assert_eq!(answer(&whole[..size]).unwrap(), None, "{size}");
        }
        assert_eq!(answer(whole).unwrap(), Some((200, whole.len())));
    }
}
