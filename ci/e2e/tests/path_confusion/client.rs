//! Requests as they are written, over connections that stay open.

use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::Connection;
use e2e::frames::{
    DATA, END_STREAM, Field, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, headers,
};

use crate::corpus::Spelling;

const LIMIT: Duration = Duration::from_secs(20);

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Http1,
    Http2,
}

pub const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// The handler of a server that ran, and the path that it received.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ran {
    pub handler: String,
    pub path: String,
}

/// A client of one listener.
pub struct Client {
    address: SocketAddr,
    protocol: Protocol,
    fields: Vec<(&'static str, String)>,
    http1: Option<Connection>,
    http2: Option<Http2>,
}

impl Client {
    /// Sends `fields` with every request.
    pub fn new(address: SocketAddr, protocol: Protocol, fields: Vec<(&'static str, String)>) -> Self {
        Self { address, protocol, fields, http1: None, http2: None }
    }

    /// Sends a request and returns the handler that ran, if any did.
    pub fn send(&mut self, spelling: &Spelling) -> Result<Option<Ran>> {
        let body = match self.protocol {
            // Pseudo-headers exist in HTTP/2 only.
            Protocol::Http1 if spelling.fields.iter().any(|(name, _)| name.starts_with(':')) => {
                return Ok(None);
            }
            Protocol::Http1 => self.http1(spelling)?,
            Protocol::Http2 => self.http2(spelling)?,
        };
        Ok(ran(&String::from_utf8_lossy(&body)))
    }

    fn http1(&mut self, spelling: &Spelling) -> Result<Vec<u8>> {
        let mut request = [spelling.method.as_bytes(), b" ", &spelling.target, b" HTTP/1.1\r\n"].concat();
        let host = [("host", spelling.authority.as_str())];
        let own = self.fields.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in host.into_iter().chain(spelling.fields.iter().copied()).chain(own) {
            request.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        request.extend(b"\r\n");
        // Envoy may have closed the connection after the response before.
        let known = self.http1.take();
        let again = known.and_then(|mut connection| Some((connection.ask(&request).ok()?, connection)));
        let (answer, connection) = match again {
            Some(both) => both,
            None => {
                let mut connection = Connection::to(self.address)?;
                (connection.ask(&request)?, connection)
            }
        };
        if answer.header("connection") != Some("close") {
            self.http1 = Some(connection);
        }
        Ok(answer.body)
    }

    fn http2(&mut self, spelling: &Spelling) -> Result<Vec<u8>> {
        let mut fields = vec![
            (&b":method"[..], spelling.method.as_bytes()),
            (b":scheme", b"http"),
            (b":authority", spelling.authority.as_bytes()),
            (b":path", &spelling.target),
        ];
        let (pseudo, others): (Vec<_>, Vec<_>) =
            spelling.fields.iter().partition(|(name, _)| name.starts_with(':'));
        for (name, value) in pseudo.into_iter().chain(others) {
            fields.push((name.as_bytes(), value.as_bytes()));
        }
        fields.extend(self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let known = self.http2.take();
        let again = known.and_then(|mut connection| Some((connection.ask(&fields).ok()??, connection)));
        let (outcome, connection) = match again {
            Some(both) => both,
            None => {
                let mut connection = Http2::to(self.address)?;
                // Envoy closes the connection of a malformed request.
                let Some(outcome) = connection.ask(&fields)? else { return Ok(Vec::new()) };
                (outcome, connection)
            }
        };
        if outcome.open {
            self.http2 = Some(connection);
        }
        Ok(outcome.body)
    }
}

/// Reads what a handler of a server writes: its name, and the path.
fn ran(body: &str) -> Option<Ran> {
    let (handler, path) = body.trim_end_matches(['\r', '\n']).split_once(' ')?;
    let known = ["admin", "public", "fallback"].contains(&handler);
    known.then(|| Ran { handler: handler.into(), path: path.into() })
}

struct Http2 {
    stream: TcpStream,
    next: u32,
}

struct Outcome {
    body: Vec<u8>,
    /// Whether the connection serves more requests.
    open: bool,
}

impl Http2 {
    fn to(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let window = frame(WINDOW_UPDATE, 0, 0, &0x3fff_ffff_u32.to_be_bytes());
        stream.write_all(&[PREFACE, &window].concat())?;
        Ok(Self { stream, next: 1 })
    }

    /// Sends a request and reads until its stream ends; `None` where the connection is closed before.
    fn ask(&mut self, fields: &[Field]) -> Result<Option<Outcome>> {
        let id = self.next;
        self.next += 2;
        self.stream.write_all(&headers(id, END_STREAM, fields))?;
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Err(closed) if matches!(closed.kind(), UnexpectedEof | ConnectionReset) => return Ok(None),
                read => read.context("no response")?,
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload)?;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                GOAWAY => return Ok(Some(Outcome { body, open: false })),
                SETTINGS if flags == 0 => self.stream.write_all(&frame(SETTINGS, 1, 0, &[]))?,
                RST_STREAM if stream == id => return Ok(Some(Outcome { body, open: true })),
                DATA if stream == id => body.extend(payload),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && stream == id && flags & END_STREAM != 0 {
                return Ok(Some(Outcome { body, open: true }));
            }
        }
    }
}
