//! Running a `cases.yaml`: what passes, and what is said of what does not.

mod probe;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use plugin_kit::headers::REQUEST;
use plugin_kit::reply::Reply;
use plugin_testkit::cases;
use probe::{Probe, always};
use proxy_wasm::types::Action;

/// The directory of a plugin that has this `tests/cases.yaml`.
fn plugin(name: &str, yaml: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(directory.join("tests")).unwrap();
    std::fs::write(directory.join("tests/cases.yaml"), yaml).unwrap();
    std::fs::write(directory.join("example.yaml"), "name: example").unwrap();
    directory
}

fn failure(name: &str, yaml: &str) -> String {
    let directory = plugin(name, yaml);
    let panic = catch_unwind(AssertUnwindSafe(|| cases::<Probe>(directory))).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[test]
fn a_request_and_its_answer_are_those_of_the_case() {
    always("on_http_request_headers", || {
        REQUEST.set("x-region", std::env::var("TESTKIT_REGION").unwrap_or_default().as_bytes()).unwrap();
        Action::Continue
    });
    cases::<Probe>(plugin(
        "passing",
        r#"
- env: {TESTKIT_REGION: eu}
  cases:
  - name: everything is passed on
    request: {method: POST, path: /a?b=c, authority: a.example.com, headers: {x-b: [two, lines]}, body: sent}
    upstream: {method: POST, path: /a?b=c, authority: a.example.com, headers: {x-b: [two, lines], x-region: eu}, body: sent}
    answer: {status: 302, headers: {location: /x}, body: moved}
    response: {status: 302, headers: {location: /x}, body: moved}
    times: 2
- config: {}
  cases:
  - name: the variables of another group are gone
    upstream: {headers: {x-region: ""}}
"#,
    ));
}

#[test]
fn every_failure_is_shown() {
    always("on_http_request_headers", || Action::Continue);
    let shown = failure(
        "failing",
        r"
- cases:
  - {name: passes, upstream: {path: /}}
  - {name: has another path, upstream: {path: /b}}
  - {name: is answered, reply: {status: 403}}
",
    );
    assert_eq!(
        shown,
        "2 of 3 cases failed\n\
         ✗ has another path\n    upstream path: expected \"/b\", saw \"/\"\n\
         ✗ is answered\n    the upstream was reached: GET /\n    status: expected 403, got 200"
    );
}

#[test]
fn a_request_that_waits_for_nothing_is_a_failure() {
    always("on_http_request_headers", || Action::Pause);
    let shown = failure("paused", "[{cases: [{name: waits, upstream: {path: /}}]}]");
    assert!(shown.contains("✗ waits\n    the stream is paused; pending calls: []"), "{shown}");
}

#[test]
fn what_a_plugin_must_never_do_is_a_failure_of_its_case() {
    always("on_http_request_headers", || {
        Reply::new(403).send();
        Reply::new(500).send();
        Action::Continue
    });
    let shown = failure("twice", "[{cases: [{name: is answered, reply: {status: 403}}]}]");
    assert!(shown.ends_with("✗ is answered\n    the plugin did what it must not do: a second local reply (500) to the same request"), "{shown}");
}

#[test]
fn a_file_whose_cases_all_run_elsewhere_is_a_failure() {
    let shown = failure(
        "elsewhere",
        "[{cases: [{name: n, upstream: {path: /}, only: {host: envoy, because: it re-routes}}]}]",
    );
    assert!(shown.ends_with("no case ran"), "{shown}");
}

#[test]
fn a_configuration_that_is_refused_is_a_failure() {
    let shown = failure("refused", "[{config: {name: bad}, cases: [{name: n, upstream: {path: /}}]}]");
    assert!(shown.contains("name: must not be \"bad\""), "{shown}");
}
