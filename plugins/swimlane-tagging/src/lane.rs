//! The lanes there are. What is none of them is never passed on.

use plugin_kit::config::{At, ConfigError, quoted};

use crate::config::Config;
use crate::mesh::MAX_LANE_BYTES;

/// One of [`Lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(usize);

/// The allow-list.
#[derive(Debug)]
pub struct Lanes(Vec<String>);

impl Lanes {
    /// The lanes of `lanes`, or those that the rest of the configuration names.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let Some(listed) = &config.lanes else { return Self::named(config) };
        if listed.is_empty() {
            return Err(ConfigError::new("is empty; leave it out for the lanes that are named elsewhere"))
                .at("lanes");
        }
        let mut lanes = Self(Vec::new());
        for (index, name) in listed.iter().enumerate() {
            let result = match lanes.find(name.as_bytes()) {
                Some(_) => Err(ConfigError::new(format!("{} is given twice", quoted(name)))),
                None => lanes.add(name),
            };
            result.at_index(index).at("lanes")?;
        }
        Ok(lanes)
    }

    fn named(config: &Config) -> Result<Self, ConfigError> {
        let mut lanes = Self(Vec::new());
        if !config.default_lane.is_empty() {
            lanes.add(&config.default_lane).at("defaultLane")?;
        }
        for (index, item) in config.overrides.iter().enumerate() {
            lanes.add(&item.lane).at("lane").at_index(index).at("overrides")?;
        }
        for (index, rule) in config.rules.iter().enumerate() {
            lanes.add(&rule.lane).at("lane").at_index(index).at("rules")?;
        }
        let shares = config.split.iter().flat_map(|split| &split.lanes);
        for (index, share) in shares.enumerate() {
            lanes.add(&share.name).at("name").at_index(index).at("lanes").at("split")?;
        }
        if config.propagate.mesh.enabled && lanes.0.len() < 2 {
            return Err(ConfigError::new("mesh mode carries lanes that others decided, so list them"))
                .at("lanes");
        }
        Ok(lanes)
    }

    fn add(&mut self, name: &str) -> Result<(), ConfigError> {
        let well_formed = !name.is_empty()
            && name.len() <= MAX_LANE_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !well_formed {
            let message = "is not a lane: letters, digits, '-', '_' and '.', from 1 to 63 of them";
            return Err(ConfigError::new(format!("{} {message}", quoted(name))));
        }
        if self.find(name.as_bytes()).is_none() {
            self.0.push(name.to_owned());
        }
        Ok(())
    }

    /// The lane that a part of the configuration names.
    pub fn known(&self, name: &str) -> Result<Lane, ConfigError> {
        self.find(name.as_bytes()).ok_or_else(|| {
            ConfigError::new(format!("{} is none of lanes: {}", quoted(name), self.0.join(", ")))
        })
    }

    /// The lane of this name, as a request has it.
    pub fn find(&self, name: &[u8]) -> Option<Lane> {
        self.0.iter().position(|known| known.as_bytes() == name).map(Lane)
    }

    /// Its name.
    pub fn name(&self, lane: Lane) -> &str {
        self.0.get(lane.0).map_or("", String::as_str)
    }

    /// Every name, in the order of [`Lane::index`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Lane {
    /// Its place among [`Lanes::names`].
    pub fn index(self) -> usize {
        self.0
    }
}
