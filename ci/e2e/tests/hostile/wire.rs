//! A connection on which anything can be said.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Message, eventually};

const LIMIT: Duration = Duration::from_secs(10);

pub fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Sends, as far as the other side lets us.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Waits until the process on the other side has read everything that was sent, or the connection has ended.
pub fn wait_until_read(stream: &TcpStream) -> Result<()> {
    const ESTABLISHED: &str = "01";
    let hex = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())),
        IpAddr::V6(_) => bail!("{address} is not in /proc/net/tcp"),
    };
    let ends = [hex(stream.peer_addr()?)?, hex(stream.local_addr()?)?];
    eventually("what was sent is read", LIMIT, || {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let unread = table.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let is_it = [fields.next()?, fields.next()?] == ends && fields.next()? == ESTABLISHED;
            let (_, unread) = fields.next()?.split_once(':')?;
            is_it.then(|| unread.to_owned())
        });
        unread.is_none_or(|unread| unread.bytes().all(|digit| digit == b'0')).then_some(())
    })
}

/// Everything until the other side hangs up, in whichever way; an error where it does not.
pub fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(error).with_context(|| format!("still open after {LIMIT:?} and {:?}", shown(&answer)))
        }
        _ => Ok(answer),
    }
}

/// At least one byte of the answer.
pub fn first_bytes(stream: &mut TcpStream) -> Result<()> {
    stream.read_exact(&mut [0]).context("no answer")
}

/// Hangs up with a reset, as what crashed or has a firewall before it does.
pub fn reset(stream: TcpStream) -> Result<()> {
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _guard = runtime.enter();
    tokio::net::TcpStream::from_std(stream)?.set_zero_linger()?;
    Ok(())
}

/// A request that passes, with more header lines and the first line of its own method.
pub fn good(welcome: &Message, method: &str, headers: &str) -> Vec<u8> {
    let mut bytes = [method.as_bytes(), b" ", &welcome.path, b" HTTP/1.1\r\nhost: "].concat();
    bytes.extend([welcome.authority.as_bytes(), b"\r\n"].concat());
    for (name, value) in &welcome.headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend([headers.as_bytes(), b"\r\n"].concat());
    bytes
}

pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(300).collect()
}
