//! What only holds if it holds elsewhere: digests that repeat, a plugin that did not exist a minute ago, and tests that
//! fail where they should.

mod copy;
mod guide;
mod mutants;

use copy::Copy;
use guide::{Step, steps};

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
#[ignore = "builds a plugin and runs it in Envoy; just test-copies"]
fn the_guide_to_a_new_plugin_ends_with_one_that_works() {
    let home = tempfile::tempdir().unwrap();
    let copy = Copy::of_this_checkout(home.path().join("checkout"));
    let guide = String::from_utf8(copy.read("docs/adding-a-plugin.md")).unwrap();
    let mut said = String::new();
    for step in steps(&guide) {
        match step {
            Step::Write { path, content } => copy.write(&path, &content),
            Step::Run(commands) => commands.iter().for_each(|command| said += &copy.shell(command)),
        }
    }
    for sentence in ["✓ our own page may ask", "✓ a foreign page may not"] {
        assert!(said.contains(sentence), "{said}");
    }
    let manifest = String::from_utf8(copy.read("manifests/base/cors-guard/wasmplugin.yaml")).unwrap();
    assert!(manifest.contains("pluginName: cors-guard"), "{manifest}");
}
