//! Mistakes that would matter, made on purpose in a copy of this checkout: a test that names them fails.

use std::fs;
use std::path::Path;

use crate::copy::Copy;

struct Mutant {
    what: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    package: &'static str,
    caught_by: &'static str,
}

const MUTANTS: [Mutant; 4] = [
    Mutant {
        what: "an unwrap on what a client sends",
        file: "plugins/path-rewrite/src/lib.rs",
        right: "let request = Request::current(plugin.client_ip);",
        wrong: "let request = Request::current(plugin.client_ip);\n        let _ = REQUEST.get(\"x-a\").map(|value| String::from_utf8(value).unwrap());",
        package: "path-rewrite",
        caught_by: "any_request_ends_whatever_the_application_answers",
    },
    Mutant {
        what: "no check for CR and LF",
        file: "shared/plugin-kit/src/headers.rs",
        right: r"value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())",
        wrong: "!value.contains(&0)",
        package: "plugin-kit",
        caught_by: "a_value_that_would_split_a_header_is_not_written",
    },
    Mutant {
        what: "a write that another worker's may be lost by",
        file: "plugins/rate-limit/src/store.rs",
        right: "Some(cas) => shared_data::swap(&self.key, value, cas),",
        wrong: "Some(_) => shared_data::swap(&self.key, value, 0),",
        package: "rate-limit",
        caught_by: "a_worker_that_lost_a_race_decides_again",
    },
    Mutant {
        what: "a client's identity header left in",
        file: "plugins/jwt-authn/src/lib.rs",
        right: "if !written && REQUEST.get(name.as_str()).is_some() {",
        wrong: "if written && REQUEST.get(name.as_str()).is_none() {",
        package: "jwt-authn",
        caught_by: "a_clients_own_identity_never_reaches_the_upstream",
    },
];

#[test]
fn every_mistake_can_be_made() {
    for Mutant { what, file, right, .. } in MUTANTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let times = fs::read_to_string(path).unwrap().matches(right).count();
        assert_eq!(times, 1, "{what}: {file} has other code now; make the mistake in that");
    }
}

#[test]
#[ignore = "builds plugins with mistakes; just mutants"]
fn every_mistake_is_caught_by_a_test_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let copy = Copy::of_this_checkout(home.path().join("checkout"));
    for Mutant { what, file, right, wrong, package, caught_by } in MUTANTS {
        let good = String::from_utf8(copy.read(file)).unwrap();
        let line = format!("cargo test --quiet --package {package} -- {caught_by}");
        let (passed, said) = copy.outcome(&line);
        assert!(passed && said.contains("1 passed"), "without a mistake: {line}\n{said}");
        copy.write(file, &good.replace(right, wrong));
        let (passed, said) = copy.outcome(&line);
        copy.write(file, &good);
        assert!(!passed, "{what} is not caught by {caught_by}:\n{said}");
        assert!(!said.contains("could not compile"), "{what}:\n{said}");
        assert!(said.contains(caught_by), "{what}: {said}");
        println!("{what}: caught by {caught_by}");
    }
}
