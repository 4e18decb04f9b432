//! Whether a module may ship: it loads into every Envoy we support, it says nothing of who built it, and it is small.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};

use crate::callbacks::ALWAYS;
use crate::dist::kib;
use crate::imports::is_offered;
use crate::workspace::{Plugin, Workspace};

pub fn check_all(workspace: &Workspace, plugins: &[&Plugin]) -> Result<()> {
    let paths = paths_of_this_machine(workspace);
    let mut refused = Vec::new();
    for plugin in plugins {
        let path = workspace.dist(plugin).join("plugin.wasm");
        let wasm = fs::read(&path).with_context(|| format!("{}: run `just build {0}` first", plugin.name))?;
        let wrong =
            check(&wasm, plugin.metadata.max_kib, &paths).with_context(|| path.display().to_string())?;
        if wrong.is_empty() {
            println!(
                "{}: {} of {} KiB, loads and leaks nothing",
                plugin.name,
                kib(wasm.len()),
                plugin.metadata.max_kib
            );
        }
        refused.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", plugin.name)));
    }
    if !refused.is_empty() {
        bail!("{}", refused.join("\n"));
    }
    Ok(())
}

/// What is wrong with a module, a sentence each.
fn check(wasm: &[u8], max_kib: u64, paths: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut wrong = missing_imports(wasm)?;
    let mut missing = BTreeSet::from_iter(ALWAYS.iter().copied());
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                missing.remove(export?.name);
            }
        }
    }
    wrong.extend(missing.iter().map(|name| format!("does not export {name}, which Envoy needs")));
    for path in paths {
        if let Some(at) = wasm.windows(path.len()).position(|window| window == path.as_bytes()) {
            let rest = &wasm[at..wasm.len().min(at + 120)];
            let text: String =
                rest.iter().map(|byte| *byte as char).take_while(|c| c.is_ascii_graphic()).collect();
            wrong.push(format!("contains a path of the machine that built it: {text}"));
        }
    }
    if kib(wasm.len()) > max_kib {
        wrong.push(format!("is {} KiB; maxKib in its Cargo.toml allows {max_kib}", kib(wasm.len())));
    }
    Ok(wrong)
}

/// The imports without which Envoy does not load a module, a sentence each.
pub fn missing_imports(wasm: &[u8]) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                if !is_offered(import.module, import.name) {
                    missing.push(format!(
                        "imports {}.{}, which Envoy does not have",
                        import.module, import.name
                    ));
                }
            }
        }
    }
    Ok(missing)
}

/// What no module may contain: where anything lies here, and how homes begin anywhere.
fn paths_of_this_machine(workspace: &Workspace) -> BTreeSet<String> {
    let mut paths: BTreeSet<String> =
        ["/root/", "/home/", "/Users/", "C:\\Users"].into_iter().map(Into::into).collect();
    let variables =
        ["CARGO_HOME", "RUSTUP_HOME", "HOME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let here = [&workspace.root, &workspace.target].map(|path| path.display().to_string());
    paths.extend(variables.chain(here).filter(|path| path.len() > 3));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(extra: &str, without: &str) -> Vec<u8> {
        let exports: String = ALWAYS
            .iter()
            .filter(|name| **name != without && **name != "memory")
            .map(|name| format!("(func (export {name:?}))"))
            .collect();
        wat::parse_str(format!("(module {extra} (memory (export \"memory\") 1) {exports})")).unwrap()
    }

    fn wrong(wasm: &[u8]) -> Vec<String> {
        check(wasm, 1, &BTreeSet::from(["/root/".to_owned(), "/src/checkout".to_owned()])).unwrap()
    }

    #[test]
    fn a_good_module_is_good() {
        let imports =
            r#"(import "env" "proxy_log" (func)) (import "wasi_snapshot_preview1" "random_get" (func))"#;
        assert_eq!(wrong(&module(imports, "")), Vec::<String>::new());
    }

    #[test]
    fn an_import_that_envoy_lacks_is_named() {
        let imports = r#"(import "env" "proxy_get_shared_data_keys" (func))
            (import "__wbindgen_placeholder__" "__wbindgen_throw" (func))"#;
        assert_eq!(
            wrong(&module(imports, "")),
            [
                "imports env.proxy_get_shared_data_keys, which Envoy does not have",
                "imports __wbindgen_placeholder__.__wbindgen_throw, which Envoy does not have",
            ]
        );
    }

    #[test]
    fn a_missing_export_is_named() {
        assert_eq!(
            wrong(&module("", "proxy_on_configure")),
            ["does not export proxy_on_configure, which Envoy needs"]
        );
    }

    #[test]
    fn a_path_of_this_machine_is_shown() {
        let data = r#"(memory 1) (data (i32.const 0) "x\00/src/checkout/src/lib.rs\00y")"#;
        let wasm = wat::parse_str(format!("(module {data})")).unwrap();
        let wrong = wrong(&wasm);
        assert!(
            wrong.contains(
                &"contains a path of the machine that built it: /src/checkout/src/lib.rs".to_owned()
            ),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_module_over_its_budget_is_refused() {
        let data = format!("(@custom \"padding\" {:?})", "x".repeat(2000));
        assert_eq!(wrong(&module(&data, "")), ["is 3 KiB; maxKib in its Cargo.toml allows 1"]);
    }
}
