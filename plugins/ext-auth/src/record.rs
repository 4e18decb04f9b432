//! Responses of the service as bytes, for the cache.

use plugin_kit::hostcalls::Bytes;

use crate::check_response::CheckResponse;
use crate::names::Lines;

const ALLOW: u8 = 0;
const DENY: u8 = 1;

/// Writes a response.
#[must_use]
pub fn write(response: &CheckResponse) -> Bytes {
    let mut bytes = Bytes::new();
    match response {
        CheckResponse::Allow { upstream, client } => {
            bytes.push(ALLOW);
            write_lines(&mut bytes, upstream);
            write_lines(&mut bytes, client);
        }
        CheckResponse::Deny { status, headers, body } => {
            bytes.push(DENY);
            bytes.extend(status.to_le_bytes());
            write_lines(&mut bytes, headers);
            bytes.extend(body);
        }
    }
    bytes
}

/// Reads a response; `None` if the bytes are not one.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<CheckResponse> {
    let (&kind, mut rest) = bytes.split_first()?;
    match kind {
        ALLOW => {
            let (upstream, client) = (read_lines(&mut rest)?, read_lines(&mut rest)?);
            rest.is_empty().then_some(CheckResponse::Allow { upstream, client })
        }
        DENY => {
            let (status, mut rest) = rest.split_first_chunk()?;
            let status = u16::from_le_bytes(*status);
            let headers = read_lines(&mut rest)?;
            (300..=499).contains(&status).then(|| CheckResponse::Deny {
                status,
                headers,
                body: rest.to_vec(),
            })
        }
        _ => None,
    }
}

fn write_lines(bytes: &mut Bytes, lines: &Lines) {
    write_number(bytes, lines.len());
    for (name, value) in lines {
        for text in [name.as_bytes(), value] {
            write_number(bytes, text.len());
            bytes.extend(text);
        }
    }
}

/// No header of a response has 4 GiB.
fn write_number(bytes: &mut Bytes, number: usize) {
    bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn read_lines(rest: &mut &[u8]) -> Option<Lines> {
    let count = read_number(rest)?;
    let mut lines = Lines::new();
    for _ in 0..count {
        let name = String::from_utf8(read_text(rest)?.to_vec()).ok()?;
        lines.push((name, read_text(rest)?.to_vec()));
    }
    Some(lines)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_number(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

fn read_number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines() -> impl Strategy<Value = Lines> {
        prop::collection::vec(("[a-z-]{0,9}", prop::collection::vec(any::<u8>(), 0..9)), 0..4)
    }

    fn response() -> impl Strategy<Value = CheckResponse> {
        let allow =
            (lines(), lines()).prop_map(|(upstream, client)| CheckResponse::Allow { upstream, client });
        let deny = (300..=499_u16, lines(), prop::collection::vec(any::<u8>(), 0..9))
            .prop_map(|(status, headers, body)| CheckResponse::Deny { status, headers, body });
        prop_oneof![allow, deny]
    }

    proptest! {
        #[test]
        fn reads_what_was_written(response in response()) {
            prop_assert_eq!(read(&write(&response)), Some(response));
        }

        #[test]
        fn reads_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_truncated_response_that_allows_is_none(response in response(), cut in 1_usize..64) {
            let bytes = write(&response);
            let half = &bytes[..bytes.len().saturating_sub(cut)];
            if matches!(response, CheckResponse::Allow { .. }) {
                prop_assert_eq!(read(half), None);
            }
        }
    }
}
