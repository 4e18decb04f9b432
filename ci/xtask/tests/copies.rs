//! What only holds if it holds elsewhere: digests that repeat, and a plugin that did not exist a minute ago.

mod copy;

use copy::Copy;

#[test]
#[ignore = "builds a module twice; just test-copies"]
fn the_same_module_comes_out_of_two_directories() {
    let home = tempfile::tempdir().unwrap();
    let [one, other] = ["a", "a/longer/way/down"].map(|path| {
        let copy = Copy::of_this_checkout(home.path().join(path).join("checkout"));
        copy.xtask(&["build", "template"]);
        copy.read("dist/template/plugin.wasm")
    });
    assert!(one == other, "{} bytes here, {} bytes there", one.len(), other.len());
}

#[test]
#[ignore = "builds and tests a plugin; just test-copies"]
fn a_new_plugin_builds_and_passes_its_tests() {
    let home = tempfile::tempdir().unwrap();
    let copy = Copy::of_this_checkout(home.path().join("checkout"));
    copy.xtask(&["new", "cors-guard", "--description", "Refuses \"other\" origins."]);
    let manifest = String::from_utf8(copy.read("plugins/cors-guard/Cargo.toml")).unwrap();
    assert!(manifest.contains(r#"description = "Refuses \"other\" origins.""#), "{manifest}");
    copy.xtask(&["build", "cors-guard"]);
    copy.xtask(&["check-wasm", "cors-guard"]);
    copy.cargo(&["test", "--locked", "--package", "cors-guard"]);
}
