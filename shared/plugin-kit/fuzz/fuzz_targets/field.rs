//! A protobuf field of any bytes.
#![no_main]

use plugin_testkit as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert!(plugin_kit::hostile::field(bytes)));
