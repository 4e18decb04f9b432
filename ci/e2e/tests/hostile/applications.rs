//! Applications that answer badly, and other filters that answer before or after the plugins.

use anyhow::{Result, ensure};
use e2e::FAULTS;
use harness::Message;

use crate::Case;
use crate::wire::{answer, first_bytes, good, open, send, shown};

pub fn cases(welcome: &Message) -> Vec<Case> {
    let mut cases = Vec::new();
    for &(fault, what) in FAULTS {
        for method in ["GET", "POST"] {
            let body = if method == "POST" { "content-length: 2\r\n" } else { "" };
            let head = good(welcome, method, &format!("connection: close\r\nx-fault: {fault}\r\n{body}"));
            let request = if method == "POST" { [&head[..], b"{}"].concat() } else { head };
            cases.push(Case::new(format!("{fault}, to a {method}"), move |address| {
                let mut stream = open(address)?;
                send(&mut stream, &request);
                match what.lasts() {
                    true => Ok(()),
                    false => answer(&mut stream).map(drop),
                }
            }));
        }
    }
    for when in ["earlier", "later"] {
        for (what, headers, body) in [
            ("", "", ""),
            (" of a body", "content-length: 2\r\n", "{}"),
            (" of a body that never comes", "content-length: 2\r\n", ""),
            (" of gRPC", "content-type: application/grpc\r\ncontent-length: 0\r\n", ""),
            (" of a WebSocket", "upgrade: websocket\r\n", ""),
        ] {
            let connection = if what.contains("WebSocket") { "upgrade, close" } else { "close" };
            let headers = format!("connection: {connection}\r\nx-refused: {when}\r\n{headers}");
            let request = [&good(welcome, "POST", &headers)[..], body.as_bytes()].concat();
            cases.push(Case::new(format!("refused {when}{what}"), move |address| {
                let mut stream = open(address)?;
                send(&mut stream, &request);
                refused(&answer(&mut stream)?)
            }));
        }
        let request = good(welcome, "GET", &format!("x-refused: {when}\r\n"));
        cases.push(Case::new(format!("refused {when}, and again on the same connection"), move |address| {
            let mut stream = open(address)?;
            for _ in 0..2 {
                send(&mut stream, &request);
                first_bytes(&mut stream)?;
            }
            Ok(())
        }));
    }
    cases
}

/// By the other filter, or by the plugin before it: what matters is that there is one whole answer.
fn refused(answer: &[u8]) -> Result<()> {
    ensure!(answer.starts_with(b"HTTP/1.1 "), "answered {:?}", shown(answer));
    ensure!(!answer.starts_with(b"HTTP/1.1 503"), "answered {:?}", shown(answer));
    Ok(())
}
