//! HTTP/2 frame by frame: what no library would send.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};
use e2e::frames::{
    DATA, END_HEADERS, END_STREAM, Field, GOAWAY, HEADERS, PREFACE, RST_STREAM, WINDOW_UPDATE, frame, headers,
};

use crate::Case;
use crate::wire::{open, reset, send};

type OwnField = (Vec<u8>, Vec<u8>);

const GET: [Field; 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.example.com"), (b":path", b"/")];
const POST: [Field; 4] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"shop.example.com"),
    (b":path", b"/orders"),
];

/// Reads until a stream has ended, in whichever way, or the connection has.
fn conclusion(stream: &mut TcpStream) -> Result<()> {
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

fn concluded(address: SocketAddr, frames: &[u8]) -> Result<()> {
    let mut stream = open(address)?;
    send(&mut stream, &[PREFACE, frames].concat());
    conclusion(&mut stream)
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |what: &str, frames: Vec<u8>| {
        cases.push(Case::new(what, move |address| concluded(address, &frames)));
    };
    for (what, fields) in heads() {
        let fields: Vec<Field> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        add(what, headers(1, END_STREAM, &fields));
    }
    let with = |more: &[Field<'static>]| [&POST[..], more].concat();
    let body = |fields: &[Field], after: &[u8]| [&headers(1, 0, fields)[..], after].concat();
    let data = |flags: u8, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let trailers = |fields: &[Field]| headers(1, END_STREAM, fields);
    let grpc: [Field; 2] = [(b"content-type", b"application/grpc"), (b"te", b"trailers")];
    add("more than content-length", body(&with(&[(b"content-length", b"1")]), &data(END_STREAM, b"abc")));
    add("less than content-length", body(&with(&[(b"content-length", b"9")]), &data(END_STREAM, b"abc")));
    add("an empty DATA at the end", body(&POST, &[data(0, b"ab"), data(END_STREAM, b"")].concat()));
    add("100 empty DATA", body(&POST, &[data(0, b"").repeat(100), data(END_STREAM, b"a")].concat()));
    add("trailers", body(&POST, &[data(0, b"ab"), trailers(&[(b"x-t", b"\xff")])].concat()));
    add("trailers alone", body(&POST, &trailers(&[(b"x-user-id", b"root"), (b"x-swimlane", b"canary")])));
    add(
        "trailers with a pseudo-header",
        body(&POST, &[data(0, b"ab"), trailers(&[(b":path", b"/admin")])].concat()),
    );
    add("trailers with line ends", body(&POST, &trailers(&[(b"x-t", b"a\r\nb")])));
    add("HEADERS after the end", [headers(1, END_STREAM, &POST), trailers(&[(b"a", b"b")])].concat());
    add("gRPC without a message", body(&with(&grpc), &data(END_STREAM, b"")));
    add("gRPC of garbage", body(&with(&grpc), &data(END_STREAM, b"\xff\xff\xff\xff\xff")));
    add("gRPC with a timeout that is none", {
        body(
            &with(&[grpc[0], grpc[1], (b"grpc-timeout", b"999999999999S")]),
            &data(END_STREAM, b"\0\0\0\0\0"),
        )
    });
    add("DATA on a stream that is not open", frame(DATA, END_STREAM, 1, b"ab"));
    add("a window beyond its bounds", body(&POST, &frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])));
    add("a block that is not HPACK", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 20]));
    cases.extend(leaving());
    cases
}

/// Streams that their client gives up.
fn leaving() -> Vec<Case> {
    let cancel = |stream: u32| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let silent = [&GET[..], &[(b"x-fault", b"no answer")]].concat();
    let endless = [&GET[..], &[(b"x-fault", b"no end")]].concat();
    let given_up = |what: &'static str, frames: Vec<u8>| {
        Case::new(what, move |address| {
            let mut stream = open(address)?;
            let after = headers(99, END_STREAM, &GET);
            send(&mut stream, &[PREFACE, &frames, &after].concat());
            // The last stream is answered, or the connection was too bad for that.
            conclusion(&mut stream)
        })
    };
    let many = |first: u32, fields: &[Field], flags: u8| {
        let streams = (0..30).map(|number| first + 2 * number);
        streams
            .flat_map(|stream| [headers(stream, flags, fields), cancel(stream)].concat())
            .collect::<Vec<u8>>()
    };
    vec![
        given_up("cancelled before the body", [headers(1, 0, &POST), cancel(1)].concat()),
        given_up(
            "cancelled within the body",
            [headers(1, 0, &POST), frame(DATA, 0, 1, b"half"), cancel(1)].concat(),
        ),
        given_up(
            "cancelled while the application is silent",
            [headers(1, END_STREAM, &silent), cancel(1)].concat(),
        ),
        given_up("cancelled within an answer", [headers(1, END_STREAM, &endless), cancel(1)].concat()),
        given_up("30 streams cancelled at once", many(1, &GET, END_STREAM)),
        given_up("30 bodies cancelled at once", many(1, &POST, 0)),
        given_up("30 waiting streams cancelled", many(1, &silent, END_STREAM)),
        Case::new("a connection reset with open streams", move |address| {
            let mut stream = open(address)?;
            let waiting: Vec<u8> =
                (0..10).flat_map(|number| headers(1 + 2 * number, END_STREAM, &silent)).collect();
            send(&mut stream, &[PREFACE, &waiting].concat());
            reset(stream)
        }),
        Case::new("a connection that says goodbye with an open body", |address| {
            let mut stream = open(address)?;
            let goodbye = frame(GOAWAY, 0, 0, &[0; 8]);
            send(&mut stream, &[PREFACE, &headers(1, 0, &POST)[..], &goodbye].concat());
            Ok(())
        }),
    ]
}

/// Header blocks of one request.
fn heads() -> Vec<(&'static str, Vec<OwnField>)> {
    let own = |fields: &[Field]| -> Vec<OwnField> {
        fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    let without = |name: &[u8]| own(&GET).into_iter().filter(|(field, _)| field != name).collect::<Vec<_>>();
    let with = |fields: &[Field]| [own(&GET), own(fields)].concat();
    let but = |name: &[u8], value: &[u8]| {
        let mut fields = own(&GET);
        fields.iter_mut().filter(|(field, _)| field == name).for_each(|(_, old)| *old = value.to_vec());
        fields
    };
    let many: Vec<_> = (0..200).map(|number| (format!("x-{number}").into_bytes(), b"1".to_vec())).collect();
    let crumbs: Vec<_> =
        (0..100).map(|number| (b"cookie".to_vec(), format!("c{number}=\"").into_bytes())).collect();
    let long = vec![b'a'; 60 << 10];
    let everywhere: Vec<_> = [
        "authorization",
        "cookie",
        "x-forwarded-for",
        "x-user-id",
        "x-swimlane",
        "baggage",
        "traceparent",
        "user-agent",
    ]
    .into_iter()
    .map(|name| (name.as_bytes().to_vec(), b"\xff\xfe=\xff;".to_vec()))
    .collect();
    vec![
        ("no :path", without(b":path")),
        ("no :method", without(b":method")),
        ("no :scheme", without(b":scheme")),
        ("no :authority", without(b":authority")),
        ("no pseudo-headers", own(&[(b"x-a", b"b")])),
        ("no headers", Vec::new()),
        ("an empty :path", but(b":path", b"")),
        ("a :path without a slash", but(b":path", b"admin")),
        ("a :path of *", but(b":path", b"*")),
        ("a :path with a space", but(b":path", b"/a b HTTP/1.1")),
        ("a :path with line ends", but(b":path", b"/a\r\nx-b: c")),
        ("a :path with a fragment", but(b":path", b"/a#b?c")),
        ("a :path that is not UTF-8", but(b":path", b"/\xff")),
        ("an empty :method", but(b":method", b"")),
        ("a :method that is not UTF-8", but(b":method", b"\xff")),
        ("a :scheme of its own", but(b":scheme", b"gopher")),
        ("an :authority that is not UTF-8", but(b":authority", b"\xff")),
        ("an :authority with a user", but(b":authority", b"user:password@shop.example.com")),
        ("a host beside :authority", with(&[(b"host", b"evil.example.com")])),
        ("two :path", with(&[(b":path", b"/admin")])),
        ("a pseudo-header after a header", [own(&[(b"x-a", b"b")]), own(&GET)].concat()),
        ("a pseudo-header of its own", with(&[(b":user", b"root")])),
        ("a :status", with(&[(b":status", b"200")])),
        ("a name in upper case", with(&[(b"X-User-Id", b"root")])),
        ("an empty name", with(&[(b"", b"b")])),
        ("a name with a space", with(&[(b"x a", b"b")])),
        ("a value with line ends", with(&[(b"x-a", b"b\r\nx-user-id: root")])),
        ("a value with a NUL", with(&[(b"x-a", b"a\0b")])),
        ("connection", with(&[(b"connection", b"close")])),
        ("transfer-encoding", with(&[(b"transfer-encoding", b"chunked")])),
        ("te that is not trailers", with(&[(b"te", b"gzip")])),
        ("CONNECT", own(&[(b":method", b"CONNECT"), (b":authority", b"shop.example.com:443")])),
        ("CONNECT with a path", but(b":method", b"CONNECT")),
        ("a WebSocket", [but(b":method", b"CONNECT"), own(&[(b":protocol", b"websocket")])].concat()),
        ("OPTIONS *", [but(b":method", b"OPTIONS"), own(&[(b":path", b"*")])].concat()),
        ("200 headers", [own(&GET), many].concat()),
        ("100 crumbs of cookies", [own(&GET), crumbs].concat()),
        ("a header of 60 KiB", with(&[(b"x-long", &long)])),
        ("a header of 120 KiB", with(&[(b"x-long", &long.repeat(2))])),
        ("values that are not UTF-8", [own(&GET), everywhere].concat()),
        (
            "every value empty",
            with(&[(b"authorization", b""), (b"cookie", b""), (b"x-swimlane", b""), (b"baggage", b"")]),
        ),
    ]
}
