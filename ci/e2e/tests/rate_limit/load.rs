//! Many connections that ask as fast as they are answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How many answers there were of each status.
pub type Statuses = BTreeMap<u16, usize>;

/// Sends `requests` over that many connections at once; `header` makes the lines of the request of a number.
pub fn load(
    runtime: &Runtime,
    address: SocketAddr,
    connections: usize,
    requests: usize,
    header: fn(usize) -> String,
) -> Result<Statuses> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    runtime.block_on(async {
        let first = NEXT.fetch_add(requests, Ordering::Relaxed);
        let next = std::sync::Arc::new(AtomicUsize::new(first));
        let mut clients = Vec::new();
        for _ in 0..connections {
            let next = std::sync::Arc::clone(&next);
            clients.push(tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut statuses = Statuses::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + requests {
                        return Ok::<_, anyhow::Error>(statuses);
                    }
                    *statuses.entry(connection.ask(&header(number - first)).await?).or_default() += 1;
                }
            }));
        }
        let mut all = Statuses::new();
        for client in clients {
            for (status, count) in client.await?? {
                *all.entry(status).or_default() += count;
            }
        }
        Ok(all)
    })
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new() })
    }

    /// The status of the answer.
    async fn ask(&mut self, header: &str) -> Result<u16> {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some((status, size)) = answer(&self.bytes)? {
                self.bytes.drain(..size);
                return Ok(status);
            }
            let read = self.stream.read_buf(&mut self.bytes).await?;
            ensure!(read > 0, "the connection was closed");
        }
    }
}

/// The status and the size of a whole answer.
fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let status = head.get(9..12).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let size = end + 4 + length.map_or(Ok(0), str::parse)?;
    Ok((bytes.len() >= size).then_some((status, size)))
}
