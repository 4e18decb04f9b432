//! Header maps as Envoy keeps them: names in lower case, `host` is `:authority`, some duplicates are joined.

use proxy_wasm::types::Status;

use super::{Host, HostResult};

/// A header line: its name and its value.
pub(crate) type Line = (String, Vec<u8>);

/// Which headers a map holds; they differ in what Envoy joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// Headers that Envoy keeps in a slot each, so that further lines are appended to the first, with a comma.
const JOINED: &[&str] =
    &["connection", "content-length", "content-type", "transfer-encoding", "via", "x-request-id"];
const JOINED_IN_REQUESTS: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "expect",
    "grpc-timeout",
    "if-none-match",
    "origin",
    "referer",
    "te",
    "upgrade",
    "user-agent",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
const JOINED_IN_RESPONSES: &[&str] = &["date", "grpc-message", "grpc-status", "server"];

/// The lines of one message, in order, pseudo headers first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderMap {
    kind: Kind,
    lines: Vec<Line>,
}

impl HeaderMap {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, lines: Vec::new() }
    }

    pub(crate) fn of(kind: Kind, lines: impl IntoIterator<Item = Line>) -> Self {
        let mut map = Self::new(kind);
        for (name, value) in lines {
            map.add(&name, &value);
        }
        map
    }

    fn name(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        if self.kind == Kind::Request && name == "host" { ":authority".into() } else { name }
    }

    fn is_joined(&self, name: &str) -> bool {
        let more = match self.kind {
            Kind::Request => JOINED_IN_REQUESTS,
            Kind::Response => JOINED_IN_RESPONSES,
        };
        name.starts_with(':') || JOINED.contains(&name) || more.contains(&name)
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines without the pseudo headers.
    pub(crate) fn plain(&self) -> Vec<Line> {
        self.lines.iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let name = self.name(name);
        self.lines.iter().find(|(line, _)| *line == name).map(|(_, value)| value.as_slice())
    }

    /// Every line of a header, joined as the attributes `request.headers` and `response.headers` show them.
    pub(crate) fn all(&self, name: &str) -> Option<Vec<u8>> {
        let name = self.name(name);
        let values: Vec<&[u8]> =
            self.lines.iter().filter(|(line, _)| *line == name).map(|(_, value)| value.as_slice()).collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let name = self.name(name);
        if self.is_joined(&name)
            && let Some((_, first)) = self.lines.iter_mut().find(|(line, _)| *line == name)
        {
            first.push(b',');
            first.extend(value);
            return;
        }
        let at = if name.starts_with(':') {
            self.lines.iter().take_while(|(line, _)| line.starts_with(':')).count()
        } else {
            self.lines.len()
        };
        self.lines.insert(at, (name, value.to_vec()));
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let name = self.name(name);
        if self.is_joined(&name)
            && let Some((_, first)) = self.lines.iter_mut().find(|(line, _)| *line == name)
        {
            *first = value.to_vec();
            return;
        }
        self.remove(&name);
        self.add(&name, value);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let name = self.name(name);
        self.lines.retain(|(line, _)| *line != name);
    }
}

/// The ABI's format: count, a pair of sizes for each entry, then names and values with a NUL after each.
pub(crate) fn write_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Vec<u8> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut raw = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        raw.extend(number(name.as_ref().len()));
        raw.extend(number(value.as_ref().len()));
    }
    for (name, value) in pairs {
        raw.extend(name.as_ref());
        raw.push(0);
        raw.extend(value.as_ref());
        raw.push(0);
    }
    raw
}

/// Reads what [`write_pairs`] writes; nothing from what is not a serialized map, as Envoy.
pub(crate) fn read_pairs(raw: &[u8]) -> Vec<Line> {
    fn try_read(raw: &[u8]) -> Option<Vec<Line>> {
        let number = |at: usize| Some(u32::from_le_bytes(raw.get(at..at + 4)?.try_into().ok()?) as usize);
        let count = number(0)?;
        let mut at = 4 + count * 8;
        let mut pairs = Vec::new();
        for entry in 0..count {
            let (name, value) = (number(4 + entry * 8)?, number(8 + entry * 8)?);
            pairs.push((
                String::from_utf8_lossy(raw.get(at..at + name)?).into_owned(),
                raw.get(at + name + 1..at + name + 1 + value)?.to_vec(),
            ));
            at += name + value + 2;
        }
        Some(pairs)
    }
    try_read(raw).unwrap_or_default()
}

/// The maps by their numbers in the ABI, with what a trace calls them.
const MAPS: [&str; 8] = [
    "",
    "request_trailers.",
    "response.",
    "response_trailers.",
    "grpc_initial.",
    "grpc_trailing.",
    "call.",
    "call_trailers.",
];

impl Host {
    fn trace_map(&mut self, verb: &str, map: u32, name: &str) -> HostResult<()> {
        let prefix = MAPS.get(map as usize).copied().unwrap_or("?.");
        let space = if name.is_empty() { "" } else { " " };
        let call = format!("{prefix}{verb}{space}{}", name.to_ascii_lowercase());
        let is_refused = self.refused.contains(&call);
        self.trace(call);
        if is_refused { Err(Status::InternalFailure) } else { Ok(()) }
    }

    /// A map for reading: those of the current phase, and all of them in the log phase, where an absent one is empty.
    fn readable(&self, map: u32) -> HostResult<&HeaderMap> {
        let call = self.callouts.answering.as_ref();
        let stream = self.effective_stream();
        let map = match map {
            0 => stream.and_then(|stream| stream.request.readable_headers(stream.logging)),
            1 => stream.and_then(|stream| stream.request.open_trailers()),
            2 => stream.and_then(|stream| stream.response.readable_headers(stream.logging)),
            3 => stream.and_then(|stream| stream.response.readable_trailers(stream.logging)),
            6 => call.map(|answer| &answer.headers),
            7 => call.map(|answer| &answer.trailers),
            _ => None,
        };
        let is_logging = stream.is_some_and(|stream| stream.logging);
        map.ok_or(if is_logging { Status::NotFound } else { Status::BadArgument })
    }

    /// A map for writing: only those that the current callback may change.
    fn writable(&mut self, map: u32) -> HostResult<&mut HeaderMap> {
        let stream = self.effective_stream_mut().filter(|stream| !stream.logging);
        let map = stream.and_then(|stream| match map {
            0 => stream.request.open_headers(),
            1 => stream.request.open_trailers_mut(),
            2 => stream.response.open_headers(),
            3 => stream.response.open_trailers_mut(),
            _ => None,
        });
        map.ok_or(Status::BadArgument)
    }

    pub(crate) fn header(&mut self, map: u32, name: &str) -> HostResult<Vec<u8>> {
        self.trace_map("get", map, name)?;
        self.readable(map)?.get(name).map(<[u8]>::to_vec).ok_or(Status::NotFound)
    }

    /// Out of phase there are no pairs, and that is not an error.
    pub(crate) fn header_pairs(&mut self, map: u32) -> HostResult<Vec<u8>> {
        self.trace_map("pairs", map, "")?;
        Ok(self.readable(map).map(|map| write_pairs(map.lines())).unwrap_or_default())
    }

    pub(crate) fn set_header_pairs(&mut self, map: u32, pairs: &[u8]) -> HostResult<()> {
        self.trace_map("set_pairs", map, "")?;
        let map = self.writable(map)?;
        *map = HeaderMap::of(map.kind, read_pairs(pairs));
        Ok(())
    }

    pub(crate) fn set_header(&mut self, map: u32, name: &str, value: &[u8]) -> HostResult<()> {
        self.trace_map("set", map, name)?;
        self.writable(map)?.set(name, value);
        Ok(())
    }

    pub(crate) fn add_header(&mut self, map: u32, name: &str, value: &[u8]) -> HostResult<()> {
        self.trace_map("add", map, name)?;
        self.writable(map)?.add(name, value);
        Ok(())
    }

    pub(crate) fn remove_header(&mut self, map: u32, name: &str) -> HostResult<()> {
        self.trace_map("remove", map, name)?;
        self.writable(map)?.remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, &str)]) -> HeaderMap {
        HeaderMap::of(
            Kind::Request,
            lines.iter().map(|(name, value)| ((*name).into(), value.as_bytes().to_vec())),
        )
    }

    #[test]
    fn names_are_lower_case_and_host_is_the_authority() {
        let mut map = request(&[("X-A", "1"), ("Host", "a.example.com")]);
        assert_eq!(map.get("x-a"), Some(&b"1"[..]));
        map.set("HOST", b"b.example.com");
        assert_eq!(map.get(":authority"), Some(&b"b.example.com"[..]));
        assert_eq!(map, request(&[(":authority", "b.example.com"), ("x-a", "1")]));
    }

    #[test]
    fn a_second_authorization_line_is_appended_to_the_first() {
        let map = request(&[("authorization", "a"), ("authorization", "b"), ("x-a", "1"), ("x-a", "2")]);
        assert_eq!(map.get("authorization"), Some(&b"a,b"[..]));
        assert_eq!(map.get("x-a"), Some(&b"1"[..]));
        assert_eq!(map.all("x-a"), Some(b"1,2".to_vec()));
    }

    #[test]
    fn setting_leaves_one_line() {
        let mut map = request(&[("x-a", "1"), ("x-a", "2"), ("x-b", "3")]);
        map.set("x-a", b"4");
        assert_eq!(map, request(&[("x-b", "3"), ("x-a", "4")]));
    }

    #[test]
    fn pairs_can_be_read_back() {
        let pairs = [("a".to_owned(), b"\xff".to_vec()), (String::new(), Vec::new())];
        assert_eq!(read_pairs(&write_pairs(&pairs)), pairs);
        assert_eq!(read_pairs(b"\x02\0\0\0"), []);
    }
}
