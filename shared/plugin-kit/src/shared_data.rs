//! Data shared by all workers of one proxy, and by every plugin in it: prefix the keys with [`key`].
//!
//! Keys can never be deleted and there is no expiry: use a fixed number of them.

use crate::hostcalls::{self, Bytes, HostError, HostResult};

/// Another worker wrote first, [`RETRIES`] times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended;

/// How often [`update`] tries again. With eight workers on one key, three retries in 400,000 updates were seen.
pub const RETRIES: usize = 64;

/// On a key that exists no write has this number, so writing with it succeeds only where the key is absent
/// (`shared_data.cc`: the number is compared only where there is a value).
const ABSENT: u32 = u32::MAX;

/// A key of this plugin's own: `plugin/store/format version/name`.
///
/// Istio gives every plugin of a proxy the same table, and data outlives the binary that wrote it: count `version` up
/// when the format of the values changes.
#[must_use]
pub fn key(plugin: &str, store: &str, version: u32, name: &str) -> String {
    format!("{plugin}/{store}/{version}/{name}")
}

/// A value, and the number of its last write.
///
/// # Errors
/// What the host answers.
pub fn get(key: &str) -> HostResult<Option<(Bytes, u32)>> {
    hostcalls::shared_data(key)
}

/// Writes a value if the key is absent: of several workers exactly one gets `true`.
///
/// # Errors
/// What the host answers.
pub fn insert(key: &str, value: &[u8]) -> HostResult<bool> {
    written(hostcalls::set_shared_data(key, value, ABSENT))
}

/// Writes a value if nobody has written since [`get`] gave `cas`.
///
/// # Errors
/// What the host answers.
pub fn swap(key: &str, value: &[u8], cas: u32) -> HostResult<bool> {
    written(hostcalls::set_shared_data(key, value, cas))
}

fn written(result: HostResult<()>) -> HostResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(HostError::CasMismatch) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads, changes and writes a value such that no update of another worker is lost.
///
/// `change` gets what is stored (`None` at first), may run several times, and says what to store (`None`: leave it)
/// and what to return.
///
/// # Errors
/// [`Contended`] when other workers were always faster; also where the host refuses.
pub fn update<T>(
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> (Option<Bytes>, T),
) -> Result<T, Contended> {
    for _ in 0..RETRIES {
        let stored = get(key).map_err(|_| Contended)?;
        let (value, result) = change(stored.as_ref().map(|(bytes, _)| bytes.as_slice()));
        let Some(value) = value else { return Ok(result) };
        let done = match stored {
            Some((_, cas)) => swap(key, &value, cas),
            None => insert(key, &value),
        };
        if done.map_err(|_| Contended)? {
            return Ok(result);
        }
    }
    Err(Contended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_plugin_store_and_format() {
        assert_eq!(key("rate-limit", "edge", 2, "17"), "rate-limit/edge/2/17");
    }
}
