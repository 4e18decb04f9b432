//! The table that carries lanes from requests that enter a sidecar to those that leave it: its entries, on bytes.
//!
//! The host's table knows no expiry and frees nothing, so there is a fixed number of rows, and each holds up to
//! [`WAYS`] entries: the hash of an id (8 bytes), when it expires (8 bytes), the length of the lane (1 byte), the lane.

use std::time::Duration;

use plugin_kit::request::Request;
use plugin_kit::source::Source;

use crate::hash::fnv1a64;

/// How many entries a row holds: ids that share one do not drive each other out at once.
pub const WAYS: usize = 4;
/// The longest lane; entries are `17 + MAX_LANE_BYTES` bytes at most.
pub const MAX_LANE_BYTES: usize = 63;

/// Which request a lane belongs to: a hash of its trace id or of its request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub u64);

impl Id {
    /// Where the ids are that an application may copy, the trace's first.
    pub const SOURCES: [fn(&Request) -> Option<Self>; 2] = [
        |request| Source::TraceId.value(request).map(|id| Self::of_trace(&id)),
        |request| Source::RequestId.value(request).map(|id| Self::of_request(&id)),
    ];

    /// A 64-bit trace id is what a 128-bit one is with zeros before it.
    fn of_trace(id: &[u8]) -> Self {
        let significant = id.iter().position(|&digit| digit != b'0').unwrap_or_default();
        Self(fnv1a64(id.get(significant..).unwrap_or_default()))
    }

    /// Envoy writes its decision to trace into the 15th character of an `x-request-id` that is a UUID.
    fn of_request(id: &[u8]) -> Self {
        let mut id = id.to_vec();
        if id.len() == 36
            && let Some(digit) = id.get_mut(14)
        {
            *digit = b'x';
        }
        Self(fnv1a64(&id))
    }

    /// The row of this id.
    pub fn row(self, rows: u32) -> u32 {
        // Rows are fewer than 2^32, and so is the remainder.
        self.0.checked_rem(rows.into()).and_then(|row| u32::try_from(row).ok()).unwrap_or_default()
    }
}

/// One entry of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub id: Id,
    /// Milliseconds of the monotonic clock.
    pub expires: u64,
    pub lane: &'a [u8],
}

/// What became of an entry that was to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The new row; `None`: it may stay as it is.
    pub row: Option<Vec<u8>>,
    /// Another lane was there under the same id, and not yet expired.
    pub conflict: bool,
}

/// The lane of an id that has not expired.
pub fn find(row: &[u8], id: Id, now: Duration, ttl: Duration) -> Option<&[u8]> {
    entries(row).find(|entry| entry.id == id && is_alive(entry, now, ttl)).map(|entry| entry.lane)
}

/// Writes a lane: in place of the id's own entry, of one that has expired, or of the oldest.
///
/// An entry lasts for half the ttl longer than it must, so that a request of the same trace need not write it again as
/// long as the whole ttl is left.
pub fn insert(row: &[u8], id: Id, lane: &str, now: Duration, ttl: Duration) -> Written {
    let new = Entry { id, expires: millis(latest(now, ttl)), lane: lane.as_bytes() };
    let mut kept: Vec<Entry<'_>> = entries(row).filter(|entry| is_alive(entry, now, ttl)).collect();
    let own = kept.iter().position(|entry| entry.id == id).map(|at| kept.swap_remove(at));
    let conflict = own.is_some_and(|own| own.lane != new.lane);
    if own.is_some_and(|own| own.lane == new.lane && own.expires >= millis(now.saturating_add(ttl))) {
        return Written { row: None, conflict: false };
    }
    while kept.len() >= WAYS {
        let oldest = kept.iter().enumerate().min_by_key(|(_, entry)| entry.expires);
        let Some((oldest, _)) = oldest else { break };
        kept.swap_remove(oldest);
    }
    let mut written = Vec::with_capacity(row.len().saturating_add(32));
    for entry in kept.iter().chain([&new]) {
        written.extend(entry.id.0.to_le_bytes());
        written.extend(entry.expires.to_le_bytes());
        written.push(u8::try_from(entry.lane.len()).unwrap_or(u8::MAX));
        written.extend(entry.lane);
    }
    Written { row: Some(written), conflict }
}

/// Whether the entry has not expired. One that expires later than a worker could have written is not of this table; a
/// worker may have read its clock a little later than this one.
fn is_alive(entry: &Entry<'_>, now: Duration, ttl: Duration) -> bool {
    const LEEWAY: Duration = Duration::from_secs(1);
    millis(now) < entry.expires && entry.expires <= millis(latest(now, ttl).saturating_add(LEEWAY))
}

/// When an entry that is written now expires.
fn latest(now: Duration, ttl: Duration) -> Duration {
    now.saturating_add(ttl).saturating_add(ttl.checked_div(2).unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())
}

/// The entries of a row, up to where it is not in this format.
fn entries(row: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = row;
    std::iter::from_fn(move || {
        let (&id, after) = rest.split_first_chunk::<8>()?;
        let (&expires, after) = after.split_first_chunk::<8>()?;
        let (&length, after) = after.split_first()?;
        let (lane, after) = after.split_at_checked(length.into())?;
        rest = after;
        Some(Entry { id: Id(u64::from_le_bytes(id)), expires: u64::from_le_bytes(expires), lane })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);
    const TTL: Duration = Duration::from_secs(60);

    fn written(row: &[u8], id: u64, lane: &str, now: Duration) -> Vec<u8> {
        insert(row, Id(id), lane, now, TTL).row.unwrap()
    }

    fn ids(headers: &[(&str, &str)]) -> Vec<Id> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let request = Request::detached(&headers);
        Id::SOURCES.iter().filter_map(|find| find(&request)).collect()
    }

    #[test]
    fn a_lane_is_found_until_it_expires() {
        let row = written(b"", 7, "canary", NOW);
        assert_eq!(row.len(), 17 + 6);
        let found = |at| find(&row, Id(7), at, TTL);
        assert_eq!(found(NOW), Some(&b"canary"[..]));
        assert_eq!(found(NOW + TTL * 3 / 2 - Duration::from_millis(1)), Some(&b"canary"[..]));
        assert_eq!(found(NOW + TTL * 3 / 2), None);
        assert_eq!(found(NOW - Duration::from_secs(1)), Some(&b"canary"[..]), "another worker's clock");
        assert_eq!(found(NOW - Duration::from_millis(1001)), None, "nobody could have written it");
    }

    #[test]
    fn another_id_of_the_same_row_gets_nothing() {
        let row = written(b"", 7, "canary", NOW);
        for other in [8, 7 + (1 << 32), 7 | 1 << 63, 0] {
            assert_eq!(find(&row, Id(other), NOW, TTL), None, "{other}");
        }
    }

    #[test]
    fn a_full_row_drops_the_oldest() {
        let second = Duration::from_secs(1);
        let row = (0..5).fold(Vec::new(), |row, id| written(&row, id, "canary", NOW + second * id as u32));
        assert_eq!(entries(&row).count(), WAYS);
        assert_eq!(find(&row, Id(0), NOW + second * 4, TTL), None);
        assert!((1..5).all(|id| find(&row, Id(id), NOW + second * 4, TTL).is_some()));
    }

    #[test]
    fn what_has_expired_goes_first() {
        let row = written(&written(b"", 1, "blue", NOW), 2, "blue", NOW + TTL * 3 / 2);
        assert_eq!(entries(&row).map(|entry| entry.id).collect::<Vec<_>>(), [Id(2)]);
    }

    #[test]
    fn a_row_never_grows_beyond_its_bound() {
        let longest = "x".repeat(MAX_LANE_BYTES);
        let row = (0..1000).fold(Vec::new(), |row, id| written(&row, id, &longest, NOW));
        assert_eq!(row.len(), WAYS * (17 + MAX_LANE_BYTES));
    }

    #[test]
    fn the_last_of_two_lanes_wins_and_is_counted() {
        let row = written(b"", 7, "blue", NOW);
        let second = insert(&row, Id(7), "canary", NOW, TTL);
        assert!(second.conflict);
        assert_eq!(find(&second.row.unwrap(), Id(7), NOW, TTL), Some(&b"canary"[..]));
        assert!(!insert(&row, Id(7), "canary", NOW + TTL * 3 / 2, TTL).conflict);
    }

    #[test]
    fn a_young_entry_is_not_written_again() {
        let row = written(b"", 7, "blue", NOW);
        let again = |later| insert(&row, Id(7), "blue", NOW + Duration::from_secs(later), TTL).row.is_some();
        assert!(!again(30));
        assert!(again(31), "less than the ttl is left");
    }

    #[test]
    fn a_row_of_any_bytes_is_read() {
        for row in [&b"\xff"[..], &[0xff; 16], &[0xff; 17], &[0xff; 300], &[0; 100]] {
            let _ = find(row, Id(u64::MAX), NOW, TTL);
            let row = written(row, 7, "blue", NOW);
            assert_eq!(find(&row, Id(7), NOW, TTL), Some(&b"blue"[..]));
        }
    }

    #[test]
    fn a_request_is_known_by_its_trace_and_by_its_request_id() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
        let both = ids(&[("traceparent", &traceparent), ("x-request-id", "r1")]);
        assert_eq!(both.len(), 2);
        assert_eq!(ids(&[("traceparent", &traceparent.replace("b7ad", "0000"))]), both[..1]);
        assert_eq!(ids(&[("b3", &format!("{trace}-b7ad6b7169203331-1"))]), both[..1]);
        assert_eq!(ids(&[("x-b3-traceid", &trace.to_ascii_uppercase())]), both[..1]);
        assert_eq!(ids(&[("x-request-id", "r1")]), both[1..]);
        assert!(
            ids(&[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")]).is_empty()
        );
        assert!(ids(&[("x-request-id", "")]).is_empty());
    }

    #[test]
    fn a_short_trace_id_is_a_long_one_with_zeros() {
        let long = ids(&[("traceparent", "00-0000000000000000463ac35c9f6413ad-b7ad6b7169203331-01")]);
        assert_eq!(ids(&[("b3", "463ac35c9f6413ad-b7ad6b7169203331")]), long);
    }

    #[test]
    fn the_digit_that_envoy_changes_does_not_count() {
        let made = ids(&[("x-request-id", "6c3b1b46-2b5c-4f0e-9d3a-2f1b7c9d8e10")]);
        for rewritten in ["9", "a", "b"] {
            let id = format!("6c3b1b46-2b5c-{rewritten}f0e-9d3a-2f1b7c9d8e10");
            assert_eq!(ids(&[("x-request-id", &id)]), made);
        }
        assert_ne!(ids(&[("x-request-id", "6c3b1b46-2b5c-4f0e-9d3a-2f1b7c9d8e11")]), made);
        assert_ne!(
            ids(&[("x-request-id", "0123456789abcdeX")]),
            ids(&[("x-request-id", "0123456789abcdXX")])
        );
    }
}
