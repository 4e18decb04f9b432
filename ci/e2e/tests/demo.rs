//! The tour through every plugin.

#[test]
fn the_demo_goes_as_expected() {
    harness::demo::run(false).unwrap();
}
