//! What reads bytes of strangers, for the fuzzer and for property tests: none of it may panic, and what each says of the
//! bytes must fit what another way of reading them says.

use std::net::IpAddr;

use crate::cidr::Cidr;
use crate::claims;
use crate::client_ip::{ClientIp, ClientIpSource};
use crate::config::{self, Node, Seconds};
use crate::cookies::cookies;
use crate::matching::{Captures, Match, PathTemplate};
use crate::pattern::{MAX_BYTES, Pattern};
use crate::request::Request;
use crate::template::{Syntax, Template};
use crate::{percent, protobuf, query};

/// Percent-encoding: what is encoded comes back, and decoding only ever replaces three bytes by one.
#[must_use]
pub fn escapes(bytes: &[u8]) -> bool {
    let mut encoded = Vec::new();
    bytes.iter().for_each(|&byte| percent::encode_into(byte, &mut encoded));
    let decoded = percent::decode(bytes);
    let escapes = bytes.len().saturating_sub(decoded.len());
    percent::decode(&encoded) == bytes
        && escapes.is_multiple_of(2)
        && escapes <= bytes.iter().filter(|&&byte| byte == b'%').count().saturating_mul(2)
}

/// A query: its parameters are its pieces, and one that is not empty is found by its name, or an earlier one is.
#[must_use]
pub fn parameters(bytes: &[u8]) -> bool {
    let (path, query) = query::split(bytes);
    let whole = query.map_or(path.to_vec(), |query| [path, b"?", query].concat());
    let raw: Vec<&[u8]> = query::parameters(bytes).map(|parameter| parameter.raw).collect();
    let pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).collect();
    bytes.starts_with(&whole)
        && !whole.contains(&b'#')
        && raw == pieces
        && query::parameters(bytes).all(|parameter| {
            (parameter.value().is_empty() || query::first(bytes, &parameter.name()).is_some())
                && parameter.raw.ends_with(parameter.raw_value())
                && parameter.value().len() <= parameter.raw_value().len()
        })
}

/// Cookies: names and values are pieces of the line, and none has a separator.
#[must_use]
pub fn cookie_line(bytes: &[u8]) -> bool {
    let lies_within = |part: &[u8]| bytes.as_ptr_range().contains(&part.as_ptr()) || part.is_empty();
    cookies(bytes).all(|(name, value)| {
        lies_within(name)
            && lies_within(value)
            && !name.contains(&b'=')
            && !name.contains(&b';')
            && !value.contains(&b';')
    })
}

/// Networks and forwarded addresses: a network contains its own address, and who is forwarded is in the header.
#[must_use]
pub fn addresses(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let address: Option<IpAddr> = text.split('/').next().and_then(|address| address.parse().ok());
    let network_holds = match (Cidr::new(&text), address) {
        (Ok(network), Some(address)) => network.contains(address),
        (Ok(_), None) => false,
        (Err(_), _) => true,
    };
    let found = [1, 2, 32].map(|trusted_hops| {
        let rule = ClientIp { source: ClientIpSource::XForwardedFor, trusted_hops, ..ClientIp::default() };
        let request = Request::detached(&[("x-forwarded-for", bytes), ("x-forwarded-for", b"192.0.2.1")]);
        request.with_client_ip(rule).client_ip()
    });
    let [last, second, far] = found;
    let commas = bytes.iter().filter(|&&byte| byte == b',').count();
    network_holds
        && last.is_some_and(|address| address.to_string() == "192.0.2.1")
        && second.is_none_or(|address| address == address.to_canonical())
        && (far.is_none() || commas >= 30)
}

/// A template, and what it is filled with: the text between placeholders stays.
#[must_use]
pub fn template(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let request = Request::detached(&[("x-a", bytes), (":path", b"/a?b=c")]);
    let filled = |syntax| {
        let template = Template::new(&text, &["0", "1", "id"], syntax).ok()?;
        Some(template.fill(&request, &Captures::default()))
    };
    let plain = filled(Syntax::Plain);
    let _ = filled(Syntax::Replacement);
    text.contains('$') || plain.is_some_and(|filled| filled == text.as_bytes())
}

/// A path template before the first line end, a path after it: what is caught fills the template up to that path.
#[must_use]
pub fn path_template(bytes: &[u8]) -> bool {
    let mut halves = bytes.splitn(2, |&byte| byte == b'\n');
    let text = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let path = halves.next().unwrap_or_default();
    let Ok(template) = PathTemplate::new(&text) else { return true };
    let Some(values) = template.capture(path, false) else { return true };
    let mut values = values.into_iter();
    let filled: Vec<Vec<u8>> = text
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') { values.next().unwrap_or_default().to_vec() } else { segment.into() }
        })
        .collect();
    values.next().is_none() && filled.join(&b'/') == path
}

/// A regular expression before the first line end, a haystack after it: both questions have the same answer, and the
/// groups lie within the match or at least within the haystack.
#[must_use]
pub fn pattern(bytes: &[u8]) -> bool {
    let mut halves = bytes.splitn(2, |&byte| byte == b'\n');
    let text = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let haystack = halves.next().unwrap_or_default();
    let Ok(pattern) = Pattern::new(&text, false, MAX_BYTES) else { return true };
    let groups = pattern.captures_from(haystack, 0);
    let Some(found) = &groups else { return !pattern.is_match(haystack) };
    pattern.is_match(haystack)
        && found.len() == pattern.group_names().count()
        && found.iter().flatten().all(|group| haystack.get(group.clone()).is_some())
}

/// A configuration: a tree or an error of one line, also where something else is wanted.
#[must_use]
pub fn configuration(bytes: &[u8]) -> bool {
    let on_one_line = |error: config::ConfigError| !error.to_string().chars().any(|c| c.is_ascii_control());
    let condition: Result<Match, _> = config::parse(bytes);
    let durations: Result<Vec<Seconds>, _> = config::parse(bytes);
    Node::parse(bytes).map_or_else(on_one_line, |_| true)
        && condition.and_then(|condition| condition.compile().map(drop)).map_or_else(on_one_line, |()| true)
        && durations.map_or_else(on_one_line, |_| true)
}

/// A protobuf message of one field: it reads as it was written, and any bytes end.
#[must_use]
pub fn field(bytes: &[u8]) -> bool {
    let mut message = Vec::new();
    protobuf::field(&mut message, 1, bytes);
    protobuf::fields(bytes).count() <= bytes.len()
        && protobuf::fields(&message).eq([(1, protobuf::Value::Bytes(bytes))])
}

/// A token's payload, as jwt-authn and as Envoy's own filter leave it: a claim is UTF-8.
#[must_use]
pub fn claim(bytes: &[u8]) -> bool {
    ["sub", "roles"].into_iter().all(|name| {
        [claims::PAYLOAD, "metadata"].into_iter().all(|property| {
            let request = Request::detached(&[]).with_property(property, bytes);
            claims::get(&request, &[name.to_owned()]).is_none_or(|claim| String::from_utf8(claim).is_ok())
        })
    })
}
