//! A real Envoy, configured as Istio would, between a client that can send anything and an upstream that records what
//! it saw. The end-to-end tests, the demo and the benchmarks stand on it; it reads files and runs binaries and links
//! nothing that ships.
//!
//! ```no_run
//! use harness::{Bootstrap, Client, Listener, Message, Reply, Upstream};
//!
//! # fn main() -> anyhow::Result<()> {
//! let upstream = Upstream::start()?;
//! let envoy = Bootstrap::new()
//!     .cluster("upstream", upstream.address())
//!     .listener(Listener::new("shop"))
//!     .start()?;
//! let client = Client::new(envoy.address("shop"));
//! let seen = upstream.exchange(&client, &Message::get("/a"), Reply::default())?;
//! assert_eq!(seen.upstream.unwrap().path, "/a");
//! # Ok(())
//! # }
//! ```

pub mod cases;
pub mod demo;
pub mod render;
pub mod run;
pub mod stats_tags;

mod bootstrap;
mod chain;
mod client;
mod debian;
mod envoy;
mod eventually;
mod message;
mod promtool;
mod registry;
mod runtime;
mod services;
mod tools;
mod upstream;
mod validate;
mod wire;
mod workspace;

pub use bootstrap::{Bootstrap, Direction, Listener};
pub use chain::{Link, chain};
pub use client::Client;
pub use debian::DebianProgram;
pub use envoy::{Envoy, Refused, locate};
pub use eventually::eventually;
pub use message::{Message, Reply};
pub use promtool::Promtool;
pub use registry::Registry;
pub use runtime::until_interrupted;
pub use services::Services;
pub use tools::{install_once, run_step};
pub use upstream::Upstream;
pub use validate::validate;
pub use workspace::{Plugin, another, plugins, workspace_root};
