//! Carrying lanes from requests that enter a sidecar to those that leave it, in the table that all workers share.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::HeaderName;
use plugin_kit::hostcalls::Bytes;
use plugin_kit::request::Request;
use plugin_kit::shared_data;

use crate::config::Mesh;
use crate::mesh::{self, Id, WAYS};

/// The format of the rows; see [`mesh`].
const FORMAT: u32 = 1;

/// A fixed number of rows, of which each holds the lanes of a few ids.
#[derive(Debug)]
pub struct Correlation {
    header: HeaderName,
    rows: u32,
    ttl: Duration,
}

/// What remembering a lane came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// How many of the request's ids had another lane.
    pub conflicts: u32,
    /// How many could not be written, because other workers were always faster, or the clock failed.
    pub lost: u32,
}

impl Correlation {
    /// Checks the bounds.
    pub fn compile(config: &Mesh, header: &HeaderName) -> Result<Self, ConfigError> {
        if !(4..=1 << 20).contains(&config.slots) {
            return Err(ConfigError::new(format!("must be from 4 to 1048576, not {}", config.slots)))
                .at("slots");
        }
        if config.ttl.0.is_zero() {
            return Err(ConfigError::new("must be more than nothing")).at("ttl");
        }
        let ways = u32::try_from(WAYS).unwrap_or(1);
        Ok(Self { header: header.clone(), rows: config.slots.div_ceil(ways), ttl: config.ttl.0 })
    }

    /// Writes the lane under every id of a request that enters; without the time, under none.
    pub fn remember(&self, request: &Request, lane: &str, now: Option<Duration>) -> Remembered {
        let mut result = Remembered::default();
        for find in Id::SOURCES {
            let Some(id) = find(request) else { continue };
            let Some(now) = now else {
                result.lost = result.lost.saturating_add(1);
                continue;
            };
            let written = shared_data::update(&self.key(id), |row| {
                let written = mesh::insert(row.unwrap_or_default(), id, lane, now, self.ttl);
                (written.row, written.conflict)
            });
            match written {
                Ok(conflict) => result.conflicts = result.conflicts.saturating_add(conflict.into()),
                Err(shared_data::Contended) => result.lost = result.lost.saturating_add(1),
            }
        }
        result
    }

    /// The lane under the first known id of a request that leaves.
    pub fn recall(&self, request: &Request, now: Option<Duration>) -> Option<Bytes> {
        let now = now?;
        Id::SOURCES.iter().find_map(|find| {
            let id = find(request)?;
            let (row, _) = shared_data::get(&self.key(id)).ok().flatten()?;
            mesh::find(&row, id, now, self.ttl).map(<[u8]>::to_vec)
        })
    }

    fn key(&self, id: Id) -> String {
        shared_data::key(crate::NAME, self.header.as_str(), FORMAT, &id.row(self.rows).to_string())
    }
}
