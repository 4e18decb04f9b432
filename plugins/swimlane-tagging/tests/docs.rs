//! The schema and the README say what the types say; `BLESS=1` writes them.

use swimlane_tagging::SwimlaneTagging;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<SwimlaneTagging>(env!("CARGO_MANIFEST_DIR"));
}
