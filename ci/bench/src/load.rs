//! Two loads: as much as there can be, and so much a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::Connection;

/// Enough that Envoy never waits for the client, few enough that its caches stay warm.
const CONNECTIONS: usize = 16;
/// An answer that takes longer is a failure, not a latency.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a load goes, and what must come back.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The listener.
    pub address: SocketAddr,
    /// The bytes that are sent, in turn.
    pub requests: &'a [Vec<u8>],
    /// The status of every answer.
    pub status: u16,
}

impl Target<'_> {
    fn request(&self, number: usize) -> &[u8] {
        self.requests.get(number % self.requests.len().max(1)).map(Vec::as_slice).unwrap_or_default()
    }

    fn check(&self, status: u16) -> Result<()> {
        ensure!(status == self.status, "answered {status}, expected {}", self.status);
        Ok(())
    }
}

/// Keep-alive connections, each with a request under way at all times.
pub struct Saturation<'a> {
    target: Target<'a>,
    connections: Vec<Connection>,
    sent: usize,
}

impl<'a> Saturation<'a> {
    /// Connects.
    pub fn open(target: Target<'a>) -> Result<Self> {
        let connect = |_| Connection::open(target.address);
        Ok(Self { target, connections: (0..CONNECTIONS).map(connect).collect::<Result<_>>()?, sent: 0 })
    }

    /// Sends that many requests, and has all of them answered: how long it took.
    pub fn run(&mut self, requests: usize) -> Result<Duration> {
        let start = Instant::now();
        let target = self.target;
        let first = self.connections.len().min(requests);
        for connection in &mut self.connections[..first] {
            connection.send(target.request(self.sent))?;
            self.sent += 1;
        }
        for number in 0..requests {
            let slot = number % self.connections.len();
            let connection = &mut self.connections[slot];
            target.check(connection.receive()?)?;
            if number + first < requests {
                connection.send(target.request(self.sent))?;
                self.sent += 1;
            }
        }
        Ok(start.elapsed())
    }
}

/// Sends `requests` at `rate` a second, whether answers come or not: how long each took, from when it was due. So an
/// answer that is late is late for those who waited behind it, too.
pub fn paced(target: Target, rate: u32, requests: usize) -> Result<Vec<Duration>> {
    let interval = Duration::from_secs(1) / rate;
    let mut idle: Vec<Connection> = Vec::new();
    let mut busy: Vec<(Connection, Instant)> = Vec::new();
    let mut latencies = Vec::with_capacity(requests);
    let start = Instant::now();
    let mut sent = 0;
    while latencies.len() < requests {
        let due = start + interval * sent as u32;
        let now = Instant::now();
        if sent < requests && now >= due {
            let mut connection = match idle.pop() {
                Some(connection) => connection,
                None => Connection::open(target.address)?,
            };
            connection.send(target.request(sent))?;
            busy.push((connection, due));
            sent += 1;
            continue;
        }
        let wait = if sent < requests { due - now } else { PATIENCE };
        for index in ready(&busy, wait)?.into_iter().rev() {
            let (connection, due) = &mut busy[index];
            if let Some(status) = connection.receive_part()? {
                target.check(status)?;
                latencies.push(due.elapsed());
                idle.push(busy.swap_remove(index).0);
            }
        }
    }
    Ok(latencies)
}

/// The connections that have something to read, in order; none where time is up.
fn ready(busy: &[(Connection, Instant)], wait: Duration) -> Result<Vec<usize>> {
    let mut sockets: Vec<PollFd> =
        busy.iter().map(|(connection, _)| PollFd::new(connection.socket(), PollFlags::IN)).collect();
    let count = poll(&mut sockets, Some(&Timespec::try_from(wait)?)).context("poll")?;
    ensure!(count > 0 || wait < PATIENCE, "no answer within {PATIENCE:?}");
    Ok((0..sockets.len()).filter(|index| !sockets[*index].revents().is_empty()).collect())
}
