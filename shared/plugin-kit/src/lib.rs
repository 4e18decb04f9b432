//! What every plugin in this repository ships with.
//!
//! The kit knows no plugin and holds no plugin's configuration. It wraps the host so that nothing a client, a
//! configuration or the host says can panic, and it gives all plugins one vocabulary.

pub mod config;
pub mod headers;
pub mod hostcalls;
mod plugin;
pub mod reply;
mod shell;

pub use plugin::{Callbacks, Plugin, root_context};
#[doc(hidden)]
pub use proxy_wasm;

#[cfg(test)]
use plugin_testkit as _;
