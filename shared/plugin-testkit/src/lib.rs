//! An in-memory Envoy for the native tests of plugins.
//!
//! A test links this crate, which *defines* the imports of a Proxy-Wasm module and drives the exports of the SDK. So a
//! plugin is tested as it ships, without a trait between it and the host: pausing and resuming, ticks, calls, the
//! phases in which a header map exists, and what each request costs in hostcalls.
//!
//! ```ignore
//! let envoy = Envoy::start::<PathRewrite>(r#"{"rules": []}"#);
//! let stream = envoy.request(Request::get("/banana"));
//! assert_eq!(stream.hostcalls(), ["get :path"]);
//! assert_eq!(stream.upstream().unwrap().path, "/banana");
//! stream.respond(Response::new(200).body("yellow"));
//! ```
//!
//! What a trace of hostcalls says: `get x-a`, `set x-a`, `add x-a`, `remove x-a`, `pairs`, `set_pairs`, each with
//! `response.`, `call.`, `request_trailers.`, `response_trailers.` or `call_trailers.` before it where the map is not
//! that of the request's headers; `property a.b`, `set_property a`, `shared.get k`, `shared.set k`, `metric.define n`,
//! `metric.add n`, `metric.record n`, `metric.get n`, `reply 403`, `http_call cluster`, `grpc_call cluster`,
//! `grpc_cancel`, `wall_clock`, `monotonic_clock`, `random 16`, `foreign f`, `continue request`, `close request`,
//! `buffer request_body`, `set_buffer request_body`, `tick_period 1000`, `log info`.
//!
//! A plugin that panics ends the test process, as `extern "C"` does not unwind; stderr then has the name of the test
//! and what the plugin said. Log lines are printed too, which the test harness shows for tests that fail.

mod abi;
mod cases;
#[cfg(feature = "schema")]
mod docs;
mod envoy;
mod events;
mod host;
pub mod hostile;
mod message;
mod seen;
mod stream;
mod worker;

pub use cases::cases;
#[cfg(feature = "schema")]
pub use docs::{docs, shared_docs};
pub use envoy::{Builder, Envoy};
pub use host::{Call, Cluster, LocalReply, SharedData};
pub use message::{Request, Response};
pub use plugin_cases::{Exchange, SeenRequest, SeenResponse};
pub use proxy_wasm::types::{LogLevel, Status};
pub use seen::Headers;
pub use stream::Stream;

/// How often this thread allocates in `call`.
pub fn allocations(call: impl FnOnce()) -> u64 {
    let before = abi::memory::counted();
    let counting = abi::memory::counting(true);
    call();
    drop(counting);
    abi::memory::counted() - before
}
