//! stub
pub mod claims;
pub mod compact;
pub mod crypto;
pub mod json;
pub mod jwks;
pub mod keys;
pub mod pem;
pub mod reject;
pub mod secret;
#[cfg(test)]
use plugin_testkit as _;
use {jsonwebtoken as _, log as _, proxy_wasm as _};
