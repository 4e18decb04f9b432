//! A client that sends what it is told, to the byte, and never waits for longer than ten seconds (for
//! a load: two minutes).

mod http1;
mod http2;
mod load;

use std::collections::BTreeMap;
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
/// Thousands of requests on a busy machine.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

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

    /// Sends requests over that many connections at a time, on each one after the other, and says how many answers had
    /// which status. HTTP/1.1, whose connections stay open: no request and no answer may close one, nor is a HEAD.
    pub fn load(&self, connections: usize, messages: Vec<Message>) -> Result<BTreeMap<u16, u64>> {
        let mut shares: Vec<Vec<Message>> = vec![Vec::new(); connections.max(1)];
        let count = shares.len();
        for (index, message) in messages.into_iter().enumerate() {
            shares[index % count].push(message);
        }
        let client = *self;
        let share = |messages: Vec<Message>| async move {
            let stream = client.connect(Ipv4Addr::LOCALHOST).await?;
            load::send(stream, messages).await
        };
        block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for messages in shares {
                tasks.spawn(tokio::time::timeout(LOAD_LIMIT, share(messages)));
            }
            let mut statuses = BTreeMap::new();
            while let Some(done) = tasks.join_next().await {
                for (status, number) in done?.with_context(|| format!("not done within {LOAD_LIMIT:?}"))?? {
                    *statuses.entry(status).or_insert(0) += number;
                }
            }
            Ok(statuses)
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    #[test]
    fn every_request_of_a_load_is_answered() {
        let upstream = Upstream::start().unwrap();
        let messages = (0..500).map(|number| Message::get(format!("/{number}"))).collect();
        let statuses = Client::new(upstream.address()).load(3, messages).unwrap();
        assert_eq!(statuses, BTreeMap::from([(200, 500)]));
    }
}
