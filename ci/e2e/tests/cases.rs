//! What the testkit says of every plugin, Envoy says too.

#[test]
fn every_case_holds_in_envoy() {
    let summary = harness::cases::run_all().unwrap();
    assert!(summary.failures.is_empty(), "\n{summary}");
    assert!(summary.cases > 0, "no plugin has a tests/cases.yaml");
    println!("{summary}");
}
