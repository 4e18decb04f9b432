//! What the tests in Envoy share: a stage with every plugin, an application that misbehaves, and the figures.

mod faulty;
mod stage;
mod tally;

pub use faulty::{FAULTS, FaultyApplication};
pub use stage::{Scene, Stage};
pub use tally::Tally;
