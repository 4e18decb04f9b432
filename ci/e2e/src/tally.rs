//! What a suite did, for `docs/testing.md`.

use std::fmt;

/// The figures of a suite; printed, they are one line.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What they are of.
    pub suite: &'static str,
    /// Listeners that had all of it.
    pub listeners: usize,
    /// Different situations.
    pub cases: usize,
    /// Good and bad ones.
    pub requests: u64,
    /// Bad requests, swaps of a plugin, services that were stopped.
    pub faults: u64,
    /// Good requests without their answer.
    pub lost: u64,
    /// Signs of dead VMs.
    pub traps: usize,
}

impl Tally {
    /// Of nothing yet.
    #[must_use]
    pub fn new(suite: &'static str) -> Self {
        Self { suite, ..Self::default() }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, listeners, cases, requests, faults, lost, traps } = self;
        write!(
            formatter,
            "{suite}: {listeners} listeners, {cases} cases, {requests} requests, {faults} faults, {lost} lost, {traps} traps"
        )
    }
}
