//! HTTP/2 frames by hand, because libraries refuse to send malformed ones.

/// The start of a connection, with default settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const LARGEST_FRAME: usize = 16_384;

/// The type of a frame with a part of a body.
pub const DATA: u8 = 0;
/// The type of a frame with a field block.
pub const HEADERS: u8 = 1;
/// The type of a frame that ends a stream early.
pub const RST_STREAM: u8 = 3;
/// The type of a frame with settings.
pub const SETTINGS: u8 = 4;
/// The type of a frame that ends a connection.
pub const GOAWAY: u8 = 7;
/// The type of a frame for flow control.
pub const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The flag of a stream's last frame.
pub const END_STREAM: u8 = 1;
/// The flag of a field block's last frame.
pub const END_HEADERS: u8 = 4;

/// A name and a value.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS, and as many CONTINUATIONs as it takes.
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
