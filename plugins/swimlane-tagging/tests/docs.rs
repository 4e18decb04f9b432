//! The schema and the README say what the types say; `BLESS=1` writes them.

use swimlane_tagging::SwimlaneTagging;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<SwimlaneTagging>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn what_is_read_is_what_is_described() {
    use swimlane_tagging::config::*;
    plugin_kit::assert_fields_are_those_of_the_schema!(
        Config,
        Incoming,
        Override,
        Rule,
        Split,
        Share,
        Ramp,
        StickyCookie,
        Propagate,
        Mesh,
        Echo
    );
    plugin_kit::assert_choices_are_those_of_the_schema!(Algorithm, NoKey, UnknownLane, Untrusted, Vary);
}
