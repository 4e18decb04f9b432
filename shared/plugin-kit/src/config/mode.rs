//! `mode`: whether a plugin acts, only watches, or is off.

use serde::Deserialize;

/// What a plugin does with its decisions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// Decides and acts.
    #[default]
    Enforce,
    /// Decides, counts and logs, but changes and denies nothing.
    DryRun,
    /// Does nothing at all.
    Off,
}
