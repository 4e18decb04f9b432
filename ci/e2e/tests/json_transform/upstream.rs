//! An upstream of few words: it keeps its connections, reads them byte by byte, and forgives nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What came in over all connections.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many connections there were.
    pub connections: usize,
    /// Every request: its path and its body.
    pub requests: Vec<(String, Vec<u8>)>,
    /// What was no request where one had to begin.
    pub strays: Vec<String>,
}

/// A server that answers every request with JSON: its path, in chunks of three bytes.
pub struct RawUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl RawUpstream {
    /// Starts it; `answer` makes the body of the answer to a path.
    pub fn start(answer: fn(&str) -> Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&upstream.seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                lock(&seen).connections += 1;
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, &seen, answer));
            }
        });
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came in so far.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, seen: &Mutex<Seen>, answer: fn(&str) -> Vec<u8>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(line) = line(&mut reader) {
        let words: Vec<&str> = line.split(' ').collect();
        let &["GET" | "POST", path, "HTTP/1.1"] = words.as_slice() else {
            lock(seen).strays.push(line);
            return;
        };
        let Some(body) = body(&mut reader) else {
            lock(seen).strays.push(format!("a body that is none, of {path}"));
            return;
        };
        lock(seen).requests.push((path.to_owned(), body));
        let mut response = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_vec();
        let json = answer(path);
        if path.contains("/whole") {
            response.extend(format!("content-length: {}\r\n\r\n", json.len()).into_bytes());
            response.extend(json);
        } else {
            response.extend(b"transfer-encoding: chunked\r\n\r\n");
            response.extend(in_chunks_of_three(&json));
        }
        if writer.write_all(&response).is_err() {
            return;
        }
    }
}

/// A body as HTTP/1.1 writes it in chunks.
pub fn in_chunks_of_three(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(body.len() * 3);
    for chunk in body.chunks(3) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    chunked
}

/// A line, without its end; `None` where the connection ended.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|&read| read > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

/// The body of a request, as its headers say; `None` where it is not as they say.
fn body(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut is_chunked = false;
    loop {
        let header = line(reader)?;
        match header.split_once(": ") {
            None if header.is_empty() => break,
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
            Some(_) => {}
            None => return None,
        }
    }
    let mut body = Vec::new();
    if !is_chunked {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        return Some(body);
    }
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        if !line(reader)?.is_empty() {
            return None;
        }
        if size == 0 {
            return Some(body);
        }
    }
}
