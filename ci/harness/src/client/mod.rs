//! A client that sends what it is told, to the byte, and never waits for longer than ten seconds.

mod http1;
mod http2;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use plugin_cases::SeenResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::message::Message;
use crate::runtime::block_on;

const LIMIT: Duration = Duration::from_secs(10);

/// A client of one address; each request is a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
    http2: bool,
}

impl Client {
    /// Speaks HTTP/1.1.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, http2: false }
    }

    /// Speaks HTTP/2, without asking before.
    pub fn http2(address: SocketAddr) -> Self {
        Self { address, http2: true }
    }

    /// Sends a request and reads the response.
    pub fn send(&self, message: &Message) -> Result<SeenResponse> {
        block_on(limited(async {
            let stream = self.connect(message.from).await?;
            if self.http2 { http2::send(stream, message).await } else { http1::send(stream, message).await }
        }))
    }

    /// Sends bytes and reads until the other side closes, so they had better ask for that.
    pub fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        block_on(limited(async {
            let mut stream = self.connect(Ipv4Addr::LOCALHOST).await?;
            stream.write_all(bytes).await?;
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer).await {
                Err(reset) if answer.is_empty() => Err(reset.into()),
                _ => Ok(answer),
            }
        }))
    }

    async fn connect(&self, from: Ipv4Addr) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into()).with_context(|| format!("cannot be a client at {from}"))?;
        let stream = socket
            .connect(self.address)
            .await
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn limited<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, work).await.with_context(|| format!("no answer within {LIMIT:?}"))?
}
