//! An upstream that always answers the same, after a while that is always the same.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use plugin_cases::Answer;

/// Listens as long as the process lives; a thread for each connection, as timers of runtimes count in milliseconds.
/// Requests must have no body.
pub fn serve(answer: &Answer, delay: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let answer: Arc<[u8]> = encode(answer).into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // What ends a connection is on the other side, and is seen there.
            thread::spawn(move || handle(stream, &answer, delay));
        }
    });
    Ok(address)
}

fn handle(mut stream: TcpStream, answer: &[u8], delay: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        let size = stream.read(&mut part)?;
        if size == 0 {
            return Ok(());
        }
        bytes.extend(&part[..size]);
        if bytes.ends_with(b"\r\n\r\n") {
            bytes.clear();
            if !delay.is_zero() {
                thread::sleep(delay);
            }
            stream.write_all(answer)?;
        }
    }
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} \r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in answer.headers.lines() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&answer.body);
    text.into_bytes()
}
