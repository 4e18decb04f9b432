//! Where the in-memory Envoy meets the SDK: the only module of this crate that contains `unsafe`.
//!
//! The SDK's exports are declared `extern "C"` and cannot unwind, so a panic below them ends the process. What a
//! plugin does wrong is therefore recorded by the imports and raised by the test's own call, after the export returned.

pub(crate) mod exports;
mod imports;
pub(crate) mod memory;
