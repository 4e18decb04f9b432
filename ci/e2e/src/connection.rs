//! A client that keeps its connection, as proxies do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const LIMIT: Duration = Duration::from_secs(20);

/// A connection that stays open.
pub struct Connection(BufReader<TcpStream>);

/// A whole answer.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first line of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Opens one.
    pub fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request, which closes nothing, and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.0.get_mut().write_all(request)?;
        let status = self.line()?.get(9..12).context("no status")?.parse()?;
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = self.bytes(length.parse()?)?;
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).context("no size of a chunk")?;
                answer.body.extend(self.bytes(size)?);
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        }
        Ok(answer)
    }

    fn bytes(&mut self, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.ends_with("\r\n") {
            bail!("the connection was closed after {line:?}");
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }
}
