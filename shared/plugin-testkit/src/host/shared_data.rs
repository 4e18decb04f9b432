//! The table that all plugins of one proxy share, with the compare-and-set rules of Envoy.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_wasm::types::Status;

use super::{Host, HostResult};

/// The process-wide table. Clones are the same table, so that several in-memory Envoys can be the workers of one proxy.
#[derive(Clone, Debug, Default)]
pub struct SharedData(Arc<Mutex<Table>>);

/// Another worker, between a plugin's read and its write.
type Interference = Box<dyn FnOnce(&SharedData) + Send>;

#[derive(Default)]
struct Table {
    values: HashMap<String, (Vec<u8>, u32)>,
    last_cas: u32,
    interference: Option<Interference>,
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(&self.values).finish()
    }
}

impl SharedData {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.table().values.get(key).map(|(value, _)| value.clone())
    }

    /// Writes a value, as another plugin or worker might.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) {
        let _ = self.compare_and_set(key, value.as_ref(), 0);
    }

    /// Every key, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.table().values.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Calls `other` just before the plugin's next write: another worker between a read and a write.
    pub fn before_next_write(&self, other: impl FnOnce(&Self) + Send + 'static) {
        self.table().interference = Some(Box::new(other));
    }

    fn compare_and_set(&self, key: &str, value: &[u8], cas: u32) -> HostResult<()> {
        let mut table = self.table();
        if let Some((_, current)) = table.values.get(key)
            && cas != 0
            && cas != *current
        {
            return Err(Status::CasMismatch);
        }
        table.last_cas = table.last_cas.checked_add(1).unwrap_or(1);
        let cas = table.last_cas;
        table.values.insert(key.into(), (value.to_vec(), cas));
        Ok(())
    }
}

impl Host {
    pub(crate) fn get_shared_data(&mut self, key: &str) -> HostResult<(Vec<u8>, u32)> {
        self.trace(format!("shared.get {key}"));
        self.shared_data.table().values.get(key).cloned().ok_or(Status::NotFound)
    }

    pub(crate) fn set_shared_data(&mut self, key: &str, value: &[u8], cas: u32) -> HostResult<()> {
        self.trace(format!("shared.set {key}"));
        let interference = self.shared_data.table().interference.take();
        if let Some(other) = interference {
            other(&self.shared_data);
        }
        self.shared_data.compare_and_set(key, value, cas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_where_the_key_exists_and_ignored_where_it_does_not() {
        let data = SharedData::default();
        assert_eq!(data.compare_and_set("k", b"1", u32::MAX), Ok(()));
        assert_eq!(data.compare_and_set("k", b"2", u32::MAX), Err(Status::CasMismatch));
        assert_eq!(data.compare_and_set("k", b"2", 1), Ok(()));
        assert_eq!(data.compare_and_set("k", b"3", 1), Err(Status::CasMismatch));
        assert_eq!(data.compare_and_set("k", b"", 0), Ok(()));
        assert_eq!(data.get("k"), Some(Vec::new()));
        assert_eq!(data.keys(), ["k"]);
    }
}
