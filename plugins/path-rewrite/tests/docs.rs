//! The schema and the README say what the types say; `BLESS=1` writes them.

use path_rewrite::PathRewrite;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<PathRewrite>(env!("CARGO_MANIFEST_DIR"));
}
