//! The schema and the README say what the types say; `BLESS=1` writes them.

use jwt_authn::JwtAuthn;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<JwtAuthn>(env!("CARGO_MANIFEST_DIR"));
}
