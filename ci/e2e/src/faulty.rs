//! An application that answers as the header `x-fault` of the request says, and never well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;

/// Every fault, by name.
pub const FAULTS: &[(&str, Fault)] = &[
    ("it hangs up", Fault::Bytes(b"")),
    ("half a head", Fault::Bytes(b"HTTP/1.1 200 OK\r\nx-a: b")),
    ("half a body", Fault::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")),
    ("not HTTP", Fault::Bytes(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")),
    ("two lengths", Fault::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")),
    (
        "broken chunks",
        Fault::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n\r\n"),
    ),
    ("no end of chunks", Fault::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")),
    (
        "trailers",
        Fault::Bytes(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nab\r\n0\r\nx-t: \xff\r\nx-t: 2\r\n\r\n",
        ),
    ),
    (
        "informed twice",
        Fault::Bytes(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
    ),
    ("informed and left", Fault::Bytes(b"HTTP/1.1 103 Early Hints\r\nx-a: \xff\r\n\r\n")),
    (
        "an upgrade that nobody asked for",
        Fault::Bytes(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\xff\xff"),
    ),
    ("a status of its own", Fault::Bytes(b"HTTP/1.1 799 Odd\r\ncontent-length: 0\r\n\r\n")),
    ("a status that is none", Fault::Bytes(b"HTTP/1.1 9999 Odd\r\ncontent-length: 0\r\n\r\n")),
    ("HTTP/1.0", Fault::Bytes(b"HTTP/1.0 200 OK\r\n\r\nto the end")),
    ("204 with a body", Fault::Bytes(b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nab")),
    ("304 with a length", Fault::Bytes(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n")),
    (
        "bytes that are not UTF-8",
        Fault::Bytes(
            b"HTTP/1.1 200 OK\r\nlocation: http://\xff/\xff\r\nset-cookie: \xff=\xfe; Path=/\xff\r\nset-cookie: ;;=\r\ncontent-type: \xff\r\nvary: \xff\r\ncache-control: \xff\r\nx-swimlane: \xff\r\nx-trace-id: \xff\r\nratelimit: \xff\r\nratelimit-policy: \xff\r\ngrpc-status: \xff\r\ncontent-length: 2\r\n\r\n\xff\xfe",
        ),
    ),
    (
        "empty values",
        Fault::Bytes(
            b"HTTP/1.1 302 Found\r\nlocation:\r\nset-cookie:\r\ncontent-type:\r\nvary:\r\ncontent-length: 0\r\n\r\n",
        ),
    ),
    (
        "JSON that ends early",
        Fault::Bytes(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"a\": [1,"),
    ),
    (
        "JSON that is not UTF-8",
        Fault::Bytes(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"a\":\"\xff\"}"),
    ),
    (
        "an encoding that it is not in",
        Fault::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        ),
    ),
    (
        "a gRPC status that is none",
        Fault::Bytes(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 99999999999999999999\r\ngrpc-message: %ff\r\ncontent-length: 0\r\n\r\n",
        ),
    ),
    ("200 headers", Fault::Long { headers: 200, value: 10 }),
    ("a header of 50 KiB", Fault::Long { headers: 1, value: 50 << 10 }),
    ("a header of 70 KiB", Fault::Long { headers: 1, value: 70 << 10 }),
    ("byte by byte", Fault::Slow(b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 6\r\n\r\nslowly")),
    ("no answer", Fault::Silent),
    ("no end", Fault::Endless),
];

/// What it does.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answers with this, and hangs up.
    Bytes(&'static [u8]),
    /// Answers with this, a byte at a time.
    Slow(&'static [u8]),
    /// Answers with so many headers of so many bytes.
    Long {
        /// How many.
        headers: usize,
        /// How long each.
        value: usize,
    },
    /// Answers nothing until the other side hangs up.
    Silent,
    /// Sends a body until the other side hangs up.
    Endless,
}

impl Fault {
    /// Whether the client has to go first.
    #[must_use]
    pub fn lasts(self) -> bool {
        matches!(self, Self::Silent | Self::Endless)
    }
}

/// The application.
#[derive(Debug)]
pub struct FaultyApplication;

impl FaultyApplication {
    /// Where it listens, until the process ends.
    pub fn start() -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(address)
    }
}

/// What ends a connection early is on the other side, and is seen there.
fn serve(mut stream: TcpStream) -> Option<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let name = request.lines().find_map(|line| line.strip_prefix("x-fault: "))?;
    let (_, fault) = FAULTS.iter().find(|(known, _)| *known == name)?;
    match *fault {
        Fault::Bytes(bytes) => stream.write_all(bytes).ok()?,
        Fault::Slow(bytes) => {
            for byte in bytes {
                stream.write_all(&[*byte]).ok()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Fault::Long { headers, value } => {
            let lines: String =
                (0..headers).map(|number| format!("x-{number}: {}\r\n", "v".repeat(value))).collect();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n");
            stream.write_all(head.as_bytes()).ok()?;
        }
        Fault::Silent => while stream.read(&mut chunk).ok()? > 0 {},
        Fault::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            loop {
                stream.write_all(b"2\r\nab\r\n").ok()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Some(())
}
