//! A key set of any bytes, and a token checked with its keys.
#![no_main]

use plugin_testkit as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(jwt_authn::hostile::jwks(bytes)));
