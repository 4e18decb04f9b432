//! Clients that hang up, reset or dawdle, in every phase of a request.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::Result;
use harness::Message;

use crate::Case;
use crate::wire::{answer, first_bytes, good, open, reset, send, wait_until_read};

/// How long a client that dawdles waits between two bytes.
const DAWDLING: Duration = Duration::from_millis(2);

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// It hangs up.
    Closes,
    /// It crashes.
    Resets,
    /// It says that it has said everything.
    HalfCloses,
}

impl Exit {
    fn take(self, mut stream: TcpStream) -> Result<()> {
        match self {
            Self::Closes => drop(stream),
            Self::Resets => reset(stream)?,
            Self::HalfCloses => {
                stream.shutdown(Shutdown::Write)?;
                answer(&mut stream)?;
            }
        }
        Ok(())
    }
}

pub fn cases(welcome: &Message) -> Vec<Case> {
    let mut cases = Vec::new();
    for exit in [Exit::Closes, Exit::Resets, Exit::HalfCloses] {
        for (when, sent) in unfinished(welcome) {
            cases.push(Case::new(format!("{exit:?} {when}"), move |address| {
                let mut stream = open(address)?;
                send(&mut stream, &sent);
                // A reset overtakes what has not been read yet.
                wait_until_read(&stream)?;
                exit.take(stream)
            }));
        }
    }
    for exit in [Exit::Closes, Exit::Resets] {
        let endless = good(welcome, "GET", "x-fault: no end\r\n");
        cases.push(Case::new(format!("{exit:?} within an answer"), move |address| {
            let mut stream = open(address)?;
            send(&mut stream, &endless);
            first_bytes(&mut stream)?;
            exit.take(stream)
        }));
    }
    cases.extend(dawdling(welcome));
    cases
}

fn unfinished(welcome: &Message) -> Vec<(&'static str, Vec<u8>)> {
    let whole = good(welcome, "GET", "");
    let post = |headers: &str, body: &[u8]| [&good(welcome, "POST", headers)[..], body].concat();
    vec![
        ("before a word", Vec::new()),
        ("within the first line", whole[..6].to_vec()),
        ("within a header", whole[..whole.len() - 4].to_vec()),
        ("before the last line end", whole[..whole.len() - 1].to_vec()),
        ("while the application is silent", good(welcome, "GET", "x-fault: no answer\r\n")),
        ("before the body", post("content-length: 1000\r\n", b"")),
        ("within the body", post("content-length: 1000\r\n", b"half")),
        (
            "within a JSON body",
            post("content-type: application/json\r\ncontent-length: 1000\r\n", b"{\"a\":"),
        ),
        ("within a chunk", post("transfer-encoding: chunked\r\n", b"10\r\nhalf")),
        ("between chunks", post("transfer-encoding: chunked\r\n", b"2\r\nab\r\n")),
        ("within the trailers", post("transfer-encoding: chunked\r\n", b"2\r\nab\r\n0\r\nx-a: ")),
        ("instead of continuing", post("expect: 100-continue\r\ncontent-length: 2\r\n", b"")),
        ("after three requests at once", [&whole[..], &whole, &whole].concat()),
        (
            "while it upgrades to a WebSocket",
            good(welcome, "GET", "connection: upgrade\r\nupgrade: websocket\r\nx-fault: no answer\r\n"),
        ),
    ]
}

fn dawdling(welcome: &Message) -> Vec<Case> {
    let get = good(welcome, "GET", "connection: close\r\n");
    let post =
        [&good(welcome, "POST", "connection: close\r\ncontent-length: 20\r\n")[..], &[b'a'; 20]].concat();
    let json = [
        &good(
            welcome,
            "POST",
            "connection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n",
        )[..],
        &b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"[..],
    ]
    .concat();
    let slow = |what: &str, bytes: Vec<u8>| {
        Case::new(what, move |address| {
            let mut stream = open(address)?;
            let (most, last) = bytes.split_at(bytes.len().saturating_sub(40));
            send(&mut stream, most);
            for byte in last {
                send(&mut stream, &[*byte]);
                std::thread::sleep(DAWDLING);
            }
            answer(&mut stream).map(drop)
        })
    };
    let upgrade = good(
        welcome,
        "GET",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\nx-fault: an upgrade that nobody asked for\r\n",
    );
    vec![
        slow("a head byte by byte", get),
        slow("a body byte by byte", post),
        slow("chunks byte by byte", json),
        Case::new("a WebSocket, and bytes both ways", move |address| {
            let mut stream = open(address)?;
            send(&mut stream, &upgrade);
            first_bytes(&mut stream)?;
            send(&mut stream, b"\x81\x85\xff\xff\xff\xff\xff\xff\xff\xff\xff");
            let mut frames = [0; 64];
            let _ = stream.read(&mut frames);
            Ok(())
        }),
    ]
}
