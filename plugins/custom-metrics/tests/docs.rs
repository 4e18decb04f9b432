//! The schema and the README say what the types say; `BLESS=1` writes them.

use custom_metrics::CustomMetrics;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<CustomMetrics>(env!("CARGO_MANIFEST_DIR"));
}
