//! An in-memory Envoy for the native tests of plugins.
