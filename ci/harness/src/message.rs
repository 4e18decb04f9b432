//! What the client sends and what the upstream answers, as bytes.

use std::net::Ipv4Addr;

use bytes::Bytes;

/// A request, sent as it stands: nothing is checked, encoded or put in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The method.
    pub method: String,
    /// With the query.
    pub path: Vec<u8>,
    /// `:authority`, on HTTP/1.1 `host`.
    pub authority: String,
    /// More header lines.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; `None` sends no content-length.
    pub body: Option<Bytes>,
    /// Header lines behind the body, which HTTP/1.1 then sends in chunks.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The client's address.
    pub from: Ipv4Addr,
}

impl Message {
    /// `GET path` of shop.example.com.
    pub fn get(path: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), ..Self::from(&plugin_cases::Request::default()) }
    }

    /// `POST path` of shop.example.com.
    pub fn post(path: impl Into<Vec<u8>>, body: impl Into<Bytes>) -> Self {
        Self { method: "POST".into(), body: Some(body.into()), ..Self::get(path) }
    }

    /// One more header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// One more line behind the body.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.into(), value.as_ref().to_vec()));
        self
    }
}

impl From<&plugin_cases::Request> for Message {
    fn from(request: &plugin_cases::Request) -> Self {
        Self {
            method: request.method.clone(),
            path: request.path.clone().into_bytes(),
            authority: request.authority.clone(),
            headers: lines(&request.headers),
            body: request.body.clone().map(Bytes::from),
            trailers: Vec::new(),
            from: request.from,
        }
    }
}

/// What the upstream answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Bytes::new() }
    }
}

impl From<&plugin_cases::Answer> for Reply {
    fn from(answer: &plugin_cases::Answer) -> Self {
        Self {
            status: answer.status,
            headers: lines(&answer.headers),
            body: Bytes::from(answer.body.clone()),
        }
    }
}

fn lines(headers: &plugin_cases::Headers) -> Vec<(String, Vec<u8>)> {
    headers.lines().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
}
