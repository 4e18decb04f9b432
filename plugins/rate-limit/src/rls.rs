//! The messages of `envoy.service.ratelimit.v3`, by hand: `prost` costs 14 KiB more.

use plugin_kit::protobuf::{field, varint};

/// What the service is asked.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// And how.
pub const METHOD: &str = "ShouldRateLimit";

/// A key and a value, each of any bytes.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What the service answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether the request is over a limit.
    pub over: bool,
    /// Of each descriptor, in order; some services send none.
    pub statuses: Vec<Status>,
    /// For the client.
    pub response_headers: Vec<Pair>,
    /// For the upstream.
    pub request_headers: Vec<Pair>,
    /// The body of a denial.
    pub body: Vec<u8>,
}

/// What the service says of one descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is over its limit.
    pub over: bool,
    /// So many in so many seconds; `None`: there is no limit for it.
    pub policy: Option<(u64, u64)>,
    /// How many are left.
    pub remaining: u64,
    /// In nanoseconds.
    pub reset: Option<u64>,
}

/// A `RateLimitRequest` with these descriptors.
pub fn request<'a>(domain: &str, descriptors: impl Iterator<Item = &'a [u8]>, hits: u64) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, domain.as_bytes());
    for descriptor in descriptors {
        field(&mut message, 2, descriptor);
    }
    message.push(3 << 3);
    varint(&mut message, hits);
    message
}

/// One more entry of a descriptor. Texts of protobuf are UTF-8 and servers refuse others, so what a client sent is made
/// that.
pub fn entry(descriptor: &mut Vec<u8>, key: &str, value: &[u8]) {
    let mut entry = Vec::new();
    field(&mut entry, 1, key.as_bytes());
    field(&mut entry, 2, String::from_utf8_lossy(value).as_bytes());
    field(descriptor, 1, &entry);
}

#[inline(never)]
/// Reads a `RateLimitResponse`; `None` where it is not one, is empty, or has no code, which is no answer.
pub fn answer(message: &[u8]) -> Option<Answer> {
    let (mut answer, mut code) = (Answer::default(), 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Number(number)) => code = number,
            (2, Value::Bytes(bytes)) => answer.statuses.push(status(bytes)?),
            (3, Value::Bytes(bytes)) => answer.response_headers.push(header(bytes)?),
            (4, Value::Bytes(bytes)) => answer.request_headers.push(header(bytes)?),
            (5, Value::Bytes(bytes)) => answer.body = bytes.to_vec(),
            _ => {}
        }
    }
    answer.over = over(code)?;
    Some(answer)
}

/// `Code`: OK or OVER_LIMIT; UNKNOWN is no answer.
fn over(code: u64) -> Option<bool> {
    match code {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    }
}

fn status(message: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Number(number)) => status.over = number == 2,
            (2, Value::Bytes(bytes)) => status.policy = policy(bytes)?,
            (3, Value::Number(number)) => status.remaining = number,
            (4, Value::Bytes(bytes)) => status.reset = Some(duration(bytes)?),
            _ => {}
        }
    }
    Some(status)
}

/// `RateLimit`: requests per unit, and the unit in seconds.
fn policy(message: &[u8]) -> Option<Option<(u64, u64)>> {
    let (mut requests, mut unit) = (0, 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Number(number)) => requests = number,
            (2, Value::Number(number)) => unit = number,
            _ => {}
        }
    }
    let seconds = match unit {
        1 => 1,
        2 => 60,
        3 => 3600,
        4 => 86_400,
        5 => 30 * 86_400,
        6 => 365 * 86_400,
        7 => 7 * 86_400,
        _ => return Some(None),
    };
    Some(Some((requests, seconds)))
}

/// `google.protobuf.Duration`, in nanoseconds; a negative one is none.
fn duration(message: &[u8]) -> Option<u64> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Number(number)) => seconds = number,
            (2, Value::Number(number)) => nanos = number,
            _ => {}
        }
    }
    let positive = |number: u64| if number > i64::MAX as u64 { 0 } else { number };
    Some(positive(seconds).saturating_mul(1_000_000_000).saturating_add(positive(nanos)))
}

/// `HeaderValue`.
fn header(message: &[u8]) -> Option<Pair> {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => name = bytes.to_vec(),
            (2 | 3, Value::Bytes(bytes)) if !bytes.is_empty() => value = bytes.to_vec(),
            _ => {}
        }
    }
    Some((name, value))
}

/// The fields of a message; `None` where it goes wrong, and then no more.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// `fixed32` and `fixed64`: none of ours.
    Other,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let size = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(size)?)
            }
            5 => self.skip(4)?,
            _ => return None,
        };
        (tag > 7).then_some((tag >> 3, value))
    }

    fn skip(&mut self, size: usize) -> Option<Value<'a>> {
        self.take(size).map(|_| Value::Other)
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(value)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64_u32).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_as_the_protocol_says() {
        let mut descriptor = Vec::new();
        entry(&mut descriptor, "tenant", b"acme");
        assert_eq!(
            request("edge", [&descriptor[..]].into_iter(), 300),
            b"\x0a\x04edge\x12\x10\x0a\x0e\x0a\x06tenant\x12\x04acme\x18\xac\x02"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_made_one() {
        let mut descriptor = Vec::new();
        entry(&mut descriptor, "k", b"\xff");
        assert!(descriptor.windows(3).any(|window| window == "\u{fffd}".as_bytes()));
    }

    #[test]
    fn an_answer_is_read() {
        // statuses {code: OVER_LIMIT, current_limit {5, MINUTE}, limit_remaining: 0, duration_until_reset {30s}}
        let status = b"\x08\x02\x12\x04\x08\x05\x10\x02\x22\x02\x08\x1e";
        let header = b"\x0a\x01a\x12\x01b";
        let raw_header = b"\x0a\x01c\x1a\x01\xff";
        let mut message = vec![0x08, 2];
        field(&mut message, 2, status);
        field(&mut message, 3, header);
        field(&mut message, 4, raw_header);
        field(&mut message, 5, b"no");
        field(&mut message, 6, b"dynamic metadata is skipped");
        let read = answer(&message).unwrap();
        assert!(read.over);
        assert_eq!(
            read.statuses,
            [Status { over: true, policy: Some((5, 60)), remaining: 0, reset: Some(30_000_000_000) }]
        );
        assert_eq!(read.response_headers, [(b"a".to_vec(), b"b".to_vec())]);
        assert_eq!(read.request_headers, [(b"c".to_vec(), b"\xff".to_vec())]);
        assert_eq!(read.body, b"no");
        assert_eq!(answer(b"\x08\x01"), Some(Answer::default()));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for message in [
            &b""[..],
            b"\x08\x00",
            b"\x08\x03",
            b"\x08",
            b"\x08\x01\x12\x05\x08",
            b"\x0f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"garbage",
            b"\x08\x01\x12\x02\x12\x09",
        ] {
            assert_eq!(answer(message), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(message: Vec<u8>) {
            let _ = answer(&message);
        }
    }
}
