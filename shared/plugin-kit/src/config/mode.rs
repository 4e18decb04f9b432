//! `mode`: whether a plugin acts, only watches, or is off.

/// What a plugin does with its decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Mode {
    /// Decides and acts.
    #[default]
    Enforce,
    /// Decides, counts and logs, but changes and denies nothing.
    DryRun,
    /// Does nothing at all.
    Off,
}

crate::choices!(Mode { "enforce" => Enforce, "dryRun" => DryRun, "off" => Off });
