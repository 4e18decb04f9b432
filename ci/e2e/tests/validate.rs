//! A plugin is asked about a configuration without serving anything, and what it refuses is told in its words. The
//! examples of all plugins are asked by `just validate manifests`.

use std::collections::BTreeMap;
use std::path::Path;

use harness::{Plugin, validate};
use serde_json::{Value, json};

fn asked(plugin: &Plugin, config: &Value, module: &Path) -> Result<(), Vec<String>> {
    let wasm_plugin = plugin.wasm_plugin(&plugin.name, config, &BTreeMap::new()).unwrap();
    validate(&wasm_plugin.filter(module), &[]).unwrap()
}

#[test]
fn a_plugin_takes_its_example_and_says_what_is_wrong_with_another() {
    let plugin = Plugin::named("template").unwrap();
    let module = plugin.module().unwrap();
    let mut config = plugin.example().unwrap();
    assert_eq!(asked(&plugin, &config, &module), Ok(()));
    config["noSuchField"] = json!(1);
    let said = asked(&plugin, &config, &module).unwrap_err();
    assert!(said.len() == 1 && said[0].contains("noSuchField"), "{said:?}");
}

#[test]
fn a_module_that_is_none_is_refused() {
    let module = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(module.path(), b"\0asm").unwrap();
    let plugin = Plugin::named("template").unwrap();
    assert_ne!(asked(&plugin, &json!({}), module.path()).unwrap_err(), Vec::<String>::new());
}
