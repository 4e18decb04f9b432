//! The schema and the README say what the types say; `BLESS=1` writes them.

use ext_auth::ExtAuth;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<ExtAuth>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn what_is_read_is_what_is_described() {
    use ext_auth::config::*;
    plugin_kit::assert_fields_are_those_of_the_schema!(
        Config,
        Service,
        ForwardAuth,
        Breaker,
        OnAllow,
        OnDeny,
        Cache,
        Rule
    );
    plugin_kit::assert_choices_are_those_of_the_schema!(Failure, CacheControl, KeyPart);
}
