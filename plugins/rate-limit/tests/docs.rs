//! The schema and the README say what the types say; `BLESS=1` writes them.

use rate_limit::RateLimit;

#[test]
fn schema_and_readme_are_current() {
    plugin_testkit::docs::<RateLimit>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn what_is_read_is_what_is_described() {
    use rate_limit::config::*;
    plugin_kit::assert_fields_are_those_of_the_schema!(
        Config,
        Exempt,
        Limit,
        CostHeader,
        Override,
        ChargeWhen,
        DescriptorEntry,
        Rls,
        Response
    );
    plugin_kit::assert_choices_are_those_of_the_schema!(
        Algorithm,
        Backend,
        Charge,
        FailureMode,
        OnMissingKey,
        RateLimitHeaders
    );
}
