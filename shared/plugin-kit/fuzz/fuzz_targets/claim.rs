//! A token's payload as JSON and as protobuf.
#![no_main]

use plugin_testkit as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(plugin_kit::hostile::claim(bytes)));
