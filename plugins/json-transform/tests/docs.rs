//! The schema and the README say what the types say; `BLESS=1` writes them.

use json_transform::JsonTransform;
use json_transform::config::{AcceptEncoding, Config, MaxBufferedBytes, OnPatchError, Op, Rule, Unfit, When};

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<JsonTransform>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn what_is_read_is_what_is_described() {
    plugin_kit::assert_fields_are_those_of_the_schema!(Config, MaxBufferedBytes, Rule, When);
    plugin_kit::assert_choices_are_those_of_the_schema!(Unfit, AcceptEncoding, OnPatchError, Op);
}
