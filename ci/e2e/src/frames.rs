//! HTTP/2 frame by frame, for what no library would send.

use std::io::Read;
use std::net::TcpStream;

use anyhow::{Result, ensure};

/// How a client begins: the preface, and empty SETTINGS.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const LARGEST_FRAME: usize = 16_384;

/// Kinds of frames.
pub const DATA: u8 = 0;
/// A header block.
pub const HEADERS: u8 = 1;
/// The end of a stream that is given up.
pub const RST_STREAM: u8 = 3;
/// The settings of one side.
pub const SETTINGS: u8 = 4;
/// The end of a connection.
pub const GOAWAY: u8 = 7;
/// More room for the other side.
pub const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags of frames: the last one of its stream.
pub const END_STREAM: u8 = 1;
/// The last one of its header block.
pub const END_HEADERS: u8 = 4;

/// A header line.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// A frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without its tables: every field as it stands (RFC 7541, section 6.2.2).
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(*text);
        }
    }
    block
}

/// A number with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        block.push(value as u8);
        return;
    }
    block.push(127);
    value -= 127;
    while value > 127 {
        block.push((value % 128) as u8 | 128);
        value /= 128;
    }
    block.push(value as u8);
}

/// HEADERS, and as many CONTINUATIONs as it takes.
#[must_use]
pub fn headers(stream: u32, flags: u8, fields: &[Field]) -> Vec<u8> {
    let block = block(fields);
    let mut pieces = block.chunks(LARGEST_FRAME).peekable();
    let mut frames = Vec::new();
    let mut kind = HEADERS;
    loop {
        let piece = pieces.next().unwrap_or_default();
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let first = if kind == HEADERS { flags } else { 0 };
        frames.extend(frame(kind, end | first, stream, piece));
        if end != 0 {
            return frames;
        }
        kind = CONTINUATION;
    }
}

/// Reads until a stream has ended, in whichever way, or the connection has.
pub fn conclusion(stream: &mut TcpStream) -> Result<()> {
    loop {
        let mut head = [0; 9];
        match stream.read_exact(&mut head) {
            Err(error) => {
                let open =
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                ensure!(!open, "neither an answer nor an end");
                return Ok(());
            }
            Ok(()) => {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                let _ = stream.read_exact(&mut payload);
                let (kind, flags) = (head[3], head[4]);
                let ended = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
                if ended || matches!(kind, RST_STREAM | GOAWAY) {
                    return Ok(());
                }
            }
        }
    }
}
