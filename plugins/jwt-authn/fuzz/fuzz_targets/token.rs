//! A token of any bytes.
#![no_main]

use plugin_testkit as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(jwt_authn::hostile::token(bytes)));
