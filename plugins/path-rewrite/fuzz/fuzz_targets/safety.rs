//! A path of any bytes, in all settings of the safety check.
#![no_main]

use plugin_testkit as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(path_rewrite::hostile::safety(bytes)));
