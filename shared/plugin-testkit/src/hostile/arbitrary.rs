//! Messages of bytes that mean something to somebody.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Answer, Exchange};
use crate::message::{Request, Response};

/// What parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"a",
    b"A",
    b"0",
    b"1",
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"/",
    b"//",
    b"..",
    b".",
    b"%2e",
    b"%2f",
    b"%",
    b"%ff",
    b"%00",
    b"\xff",
    b"\xc3\xa9",
    b"\0",
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b"=",
    b";",
    b",",
    b":",
    b"\"",
    b"\\",
    b"'",
    b"&",
    b"?",
    b"#",
    b"+",
    b"*",
    b"|",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"$",
    b"$1",
    b"<",
    b">",
    b"@",
    b"-",
    b"_",
    b"Bearer ",
    b"bearer ",
    b"Basic ",
    b"eyJhbGciOiJFUzI1NiJ9",
    b"e30",
    b"00-",
    b"swimlane=",
    b"canary",
    b"127.0.0.1",
    b"::1",
    b"::ffff:1.2.3.4",
    b"[::1]:80",
    b"application/json",
    b"application/grpc",
    b"null",
    b"true",
    b"{\"a\":[1]}",
    b"/banana/418",
    b"/shop",
    b"/orders/7",
    b"/limited/login",
    b"/app",
    b"/users/7",
    b"session=",
    b"lane=blue",
    b"gzip",
];

const NAMES: &[&str] = &[
    "accept",
    "authorization",
    "b3",
    "baggage",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "grpc-timeout",
    "origin",
    "referer",
    "te",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-a",
    "x-auth-user",
    "x-b3-traceid",
    "x-forwarded-for",
    "x-original-path",
    "x-request-id",
    "x-swimlane",
    "x-tenant",
    "x-trace-id",
    "x-user-id",
];

const RESPONSE_NAMES: &[&str] = &[
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-message",
    "grpc-status",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "set-cookie",
    "vary",
    "x-a",
    "x-swimlane",
    "x-trace-id",
];

const PROPERTIES: &[&[&str]] = &[
    &["source", "address"],
    &["source", "port"],
    &["request", "duration"],
    &["request", "total_size"],
    &["request", "protocol"],
    &["response", "code"],
    &["response", "code_details"],
    &["response", "flags"],
    &["response", "total_size"],
    &["response", "grpc_status"],
    &["xds", "node", "metadata", "LABELS", "version"],
    &["jwt_authn.payload"],
    &["metadata"],
];

pub(super) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let short = || vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![8 => short(), 1 => vec(any::<u8>(), 0..40), 1 => (short(), 1..400_usize).prop_map(|(text, times)| text.repeat(times))]
}

fn method() -> impl Strategy<Value = &'static str> {
    select(&["GET", "POST", "PUT", "OPTIONS", "HEAD", "CONNECT", "FROB", ""][..])
}

fn request() -> impl Strategy<Value = Request> {
    let path = prop_oneof![4 => bytes().prop_map(|rest| [b"/", &rest[..]].concat()), 1 => bytes()];
    let head = (
        method(),
        path,
        vec((select(NAMES), bytes()), 0..8),
        proptest::option::of(select(&[":path", ":method", ":authority", ":scheme"][..])),
    );
    let rest =
        (vec(bytes(), 0..4), vec((select(NAMES), bytes()), 0..2), vec((select(PROPERTIES), bytes()), 0..3));
    (head, rest).prop_map(|((method, path, headers, absent), (chunks, trailers, properties))| {
        let mut request = Request::new(method, path);
        request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        if !chunks.is_empty() {
            request = request.chunks(chunks);
        }
        request = trailers.into_iter().fold(request, |request, (name, value)| request.trailer(name, value));
        request =
            properties.into_iter().fold(request, |request, (path, value)| request.property(path, value));
        absent.into_iter().fold(request, Request::without)
    })
}

pub(super) fn response() -> impl Strategy<Value = Response> {
    let headers = vec((select(RESPONSE_NAMES), bytes()), 0..6);
    (200_u16..1000, headers, vec(bytes(), 0..4), vec((select(RESPONSE_NAMES), bytes()), 0..2)).prop_map(
        |(status, headers, chunks, trailers)| {
            let mut response = Response::new(status);
            response =
                headers.into_iter().fold(response, |response, (name, value)| response.header(name, value));
            if !chunks.is_empty() {
                response = response.chunks(chunks);
            }
            trailers.into_iter().fold(response, |response, (name, value)| response.trailer(name, value))
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => response().prop_map(Answer::Http),
        3 => vec(any::<u8>(), 0..60).prop_map(Answer::Grpc),
        1 => any::<u32>().prop_map(Answer::Fails),
        1 => Just(Answer::Never),
    ]
}

pub(super) fn exchange() -> impl Strategy<Value = Exchange> {
    (request(), response(), vec(answer(), 0..3), proptest::bool::weighted(0.1))
        .prop_map(|(request, response, answers, leaves)| Exchange { request, response, answers, leaves })
}

/// What a neighbour does to a stored value.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Bytes(Vec<u8>),
    Cut(prop::sample::Index),
    Flipped(prop::sample::Index, u8),
    Longer(Vec<u8>),
}

impl Stored {
    /// The value after it.
    pub(super) fn of(&self, value: Option<Vec<u8>>) -> Vec<u8> {
        let mut value = value.unwrap_or_default();
        match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Cut(at) => value.truncate(at.index(value.len() + 1)),
            Self::Flipped(..) if value.is_empty() => {}
            Self::Flipped(at, mask) => {
                let at = at.index(value.len());
                value[at] ^= mask;
            }
            Self::Longer(bytes) => value.extend(bytes),
        }
        value
    }
}

pub(super) fn stored() -> impl Strategy<Value = Stored> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Stored::Bytes),
        any::<prop::sample::Index>().prop_map(Stored::Cut),
        (any::<prop::sample::Index>(), 1..=u8::MAX).prop_map(|(at, mask)| Stored::Flipped(at, mask)),
        vec(any::<u8>(), 1..40).prop_map(Stored::Longer),
    ]
}
