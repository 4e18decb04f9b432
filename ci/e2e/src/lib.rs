//! What the tests in Envoy share: a stage with every plugin, what misbehaves around them, and the figures.

mod connection;
mod faulty;
pub mod frames;
mod key_server;
mod service;
mod stage;
mod tally;

pub use connection::{Answer, Connection};
pub use faulty::{FAULTS, FaultyApplication};
pub use key_server::{KeyServer, State};
pub use service::Service;
pub use stage::{Scene, Stage};
pub use tally::Tally;
