//! What a test sends: requests and responses, of any bytes.

use crate::host::{HeaderMap, Kind, properties::joined};

/// Headers, body chunks, trailers.
pub(crate) type Parts = (HeaderMap, Vec<Vec<u8>>, HeaderMap);

#[derive(Clone, Debug)]
struct Message {
    headers: HeaderMap,
    chunks: Vec<Vec<u8>>,
    trailers: HeaderMap,
    streamed: bool,
    unfinished: bool,
}

impl Message {
    fn new(kind: Kind) -> Self {
        Self {
            headers: HeaderMap::new(kind),
            chunks: Vec::new(),
            trailers: HeaderMap::new(kind),
            streamed: false,
            unfinished: false,
        }
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            self.headers.set(name, value);
        } else {
            self.headers.add(name, value);
        }
    }

    /// Adds the header that tells where the body ends, unless the test did.
    fn into_parts(mut self) -> Parts {
        let framed =
            ["content-length", "transfer-encoding"].iter().any(|name| self.headers.get(name).is_some());
        if !self.chunks.is_empty() && !framed {
            if self.streamed {
                self.headers.add("transfer-encoding", b"chunked");
            } else {
                self.headers.add("content-length", self.chunks.concat().len().to_string().as_bytes());
            }
        }
        (self.headers, self.chunks, self.trailers)
    }
}

/// The builder methods that requests and responses share.
macro_rules! message {
    ($builder:ident) => {
        impl $builder {
            /// One more header line; a pseudo header is replaced.
            pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
                self.message.header(name, value.as_ref());
                self
            }

            /// Leaves a header out, pseudo headers too.
            pub fn without(mut self, name: &str) -> Self {
                self.message.headers.remove(name);
                self
            }

            /// A body of known length; an empty one is none.
            pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
                let body = body.as_ref();
                self.message.chunks = if body.is_empty() { Vec::new() } else { vec![body.to_vec()] };
                self
            }

            /// A body that arrives in pieces and does not say how long it is.
            pub fn chunks<C: AsRef<[u8]>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
                self.message.chunks = chunks.into_iter().map(|chunk| chunk.as_ref().to_vec()).collect();
                self.message.streamed = true;
                self
            }

            /// Leaves the body open: more of it comes later, as by [`Stream::send`](crate::Stream::send), or never.
            pub fn unfinished(mut self) -> Self {
                self.message.unfinished = true;
                self
            }

            pub(crate) const fn is_unfinished(&self) -> bool {
                self.message.unfinished
            }

            /// One more trailer line.
            pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
                self.message.trailers.add(name, value.as_ref());
                self
            }

            pub(crate) fn into_parts(self) -> Parts {
                self.message.into_parts()
            }
        }
    };
}

/// A request.
#[derive(Clone, Debug)]
#[must_use]
pub struct Request {
    message: Message,
    pub(crate) client: Option<String>,
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// A request to `shop.example.com`.
    pub fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        let mut message = Message::new(Kind::Request);
        message.header(":authority", b"shop.example.com");
        message.header(":path", path.as_ref());
        message.header(":method", method.as_bytes());
        message.header(":scheme", b"http");
        Self { message, client: None, properties: Vec::new() }
    }

    /// `GET`.
    pub fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    /// `POST`.
    pub fn post(path: impl AsRef<[u8]>) -> Self {
        Self::new("POST", path)
    }

    /// `:authority`, on HTTP/1.1 `host`.
    pub fn authority(self, authority: impl AsRef<[u8]>) -> Self {
        self.header(":authority", authority)
    }

    /// Says what a property of this stream is, in every phase. Numbers are 8 bytes, little endian.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.push((joined(path), value.as_ref().to_vec()));
        self
    }

    /// The client's address; a port is added where there is none.
    pub fn from(mut self, client: &str) -> Self {
        self.client = Some(with_port(client));
        self
    }
}

message!(Request);

/// A response, of the upstream or to a call.
#[derive(Clone, Debug)]
#[must_use]
pub struct Response {
    message: Message,
}

impl Response {
    /// An empty response of this status.
    pub fn new(status: u16) -> Self {
        let mut message = Message::new(Kind::Response);
        message.header(":status", status.to_string().as_bytes());
        Self { message }
    }
}

message!(Response);

pub(crate) fn with_port(client: &str) -> String {
    match client.parse::<std::net::IpAddr>() {
        Ok(address) => std::net::SocketAddr::new(address, 40_000).to_string(),
        Err(_) => client.into(),
    }
}
