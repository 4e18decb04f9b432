//! What every plugin in this repository ships with.
//!
//! The kit knows no plugin and holds no plugin's configuration. It wraps the host so that nothing a client, a
//! configuration or the host says can panic, and it gives all plugins one vocabulary.

pub mod body;
pub mod callout;
pub mod cidr;
pub mod claims;
pub mod client_ip;
pub mod clock;
pub mod config;
pub mod cookies;
pub mod header_ops;
pub mod headers;
pub mod hostcalls;
#[doc(hidden)]
pub mod hostile;
pub mod json;
pub mod matching;
pub mod metrics;
pub mod pairs;
pub mod pattern;
pub mod percent;
mod plugin;
pub mod property;
pub mod protobuf;
pub mod query;
pub mod random;
pub mod reply;
pub mod request;
pub mod shared_data;
pub mod source;
pub mod status;
pub mod stream;
pub mod template;

pub use plugin::{Callbacks, Plugin, root_context};
#[doc(hidden)]
pub use proxy_wasm;
#[cfg(feature = "schema")]
#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use serde;

#[cfg(test)]
use plugin_testkit as _;
