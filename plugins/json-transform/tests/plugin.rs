//! The plugin as it ships, in the in-memory Envoy.

use json_transform::JsonTransform;

#[test]
fn cases() {
    plugin_testkit::cases::<JsonTransform>(env!("CARGO_MANIFEST_DIR"));
}
