//! The invariants of `docs/architecture.md` that can be read off the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::sources::Source;
use crate::workspace::{Plugin, Workspace};

fn workspace() -> Workspace {
    Workspace::load().unwrap()
}

fn plugins(workspace: &Workspace) -> impl Iterator<Item = &Plugin> {
    workspace.plugins.iter().chain([&workspace.template])
}

/// Every `.rs` under `dir`, parsed.
fn sources(dir: &Path) -> Vec<(PathBuf, Source)> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = Source::parse(&fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            sources.push((path, source));
        }
    }
    sources
}

fn declared_and_implemented(plugin: &Plugin) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut declared, mut implemented) = (BTreeSet::new(), BTreeSet::new());
    for (_, source) in sources(&plugin.dir.join("src")) {
        declared.extend(source.declared);
        implemented.extend(source.implemented);
    }
    (declared, implemented)
}

#[test]
fn plugins_declare_the_callbacks_that_they_implement() {
    let workspace = workspace();
    let mut wrong = Vec::new();
    for plugin in plugins(&workspace) {
        let (declared, implemented) = declared_and_implemented(plugin);
        for callback in implemented.difference(&declared) {
            wrong.push(format!("{}: implements {callback}; add it to plugin! in src/lib.rs", plugin.name));
        }
        for callback in declared.difference(&implemented) {
            wrong.push(format!(
                "{}: does not implement {callback}; take it out of plugin! in src/lib.rs",
                plugin.name
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn plugins_depend_on_shared_crates_only() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let directory =
            package.manifest_path.parent().unwrap().strip_prefix(&metadata.workspace_root).unwrap();
        let ships = directory.starts_with("plugins")
            || directory == "ci/template"
            || directory == "shared/plugin-kit";
        for dependency in &package.dependencies {
            let Some(path) = &dependency.path else { continue };
            let path = path.strip_prefix(&metadata.workspace_root).unwrap();
            let for_tests = path == "shared/plugin-testkit" || path == "shared/plugin-cases";
            let is_plugin = path.starts_with("plugins") || path == "ci/template";
            let is_shipped = ships && dependency.kind == DependencyKind::Normal;
            if is_plugin || (ships && !path.starts_with("shared")) || (is_shipped && for_tests) {
                wrong.push(format!("{directory}/Cargo.toml must not depend on {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_glue_of_a_plugin_speaks_to_the_proxy() {
    let workspace = workspace();
    for plugin in plugins(&workspace) {
        for (path, source) in sources(&plugin.dir.join("src")) {
            let name = path.file_name().unwrap().to_string_lossy();
            let is_glue = name == "lib.rs" || name.starts_with("callout");
            assert!(
                is_glue || !source.names_proxy_wasm,
                "{}: proxy_wasm belongs in lib.rs, or in callout*.rs",
                path.display()
            );
        }
    }
}

#[test]
fn plugins_have_no_statics() {
    let workspace = workspace();
    for plugin in plugins(&workspace) {
        for (path, source) in sources(&plugin.dir.join("src")) {
            assert!(
                source.statics.is_empty(),
                "{}: {}: two WasmPlugins of one image share a VM; keep it in the plugin",
                path.display(),
                source.statics.join(", ")
            );
        }
    }
}

#[test]
fn plugins_call_the_sdk_without_trait_objects() {
    let workspace = workspace();
    for plugin in plugins(&workspace) {
        for (path, source) in sources(&plugin.dir.join("src")) {
            assert!(
                !source.has_dyn_context,
                "{}: the build empties methods of the SDK that only a vtable refers to; use &impl Context",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_is_where_the_host_is_called() {
    let workspace = workspace();
    let kit = workspace.root.join("shared/plugin-kit/src");
    let allowed = [kit.join("hostcalls.rs"), kit.join("plugin.rs")];
    let testkit = workspace.root.join("shared/plugin-testkit");
    for dir in ["plugins", "shared", "ci/template"] {
        for (path, source) in sources(&workspace.root.join(dir)) {
            assert!(
                !source.has_unsafe || allowed.contains(&path) || path.starts_with(&testkit),
                "{}: unsafe belongs in shared/plugin-kit/src/hostcalls.rs",
                path.display()
            );
        }
    }
}

/// Between `<!-- tests -->` and `<!-- /tests -->`: functions in backticks, cases in quotes.
#[test]
fn the_tests_that_the_documents_name_are_there() {
    let root = workspace().root;
    let mut functions = BTreeSet::new();
    let mut cases = String::new();
    for dir in ["plugins", "shared", "ci"] {
        texts(&root.join(dir), &mut |path, text| {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
                functions.extend(names.map(str::to_owned));
            } else if path.ends_with("tests/cases.yaml") {
                cases += text;
            }
        });
    }
    let mut named = 0;
    for document in ["docs/testing.md", "SECURITY.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for part in text.split("<!-- tests -->").skip(1) {
            let part = part.split("<!-- /tests -->").next().unwrap_or_default();
            let is_name = |word: &&str| word.matches('_').count() > 1 && !word.contains(['.', '/', ' ']);
            for test in part.split('`').skip(1).step_by(2).filter(is_name) {
                assert!(functions.contains(test), "{document}: there is no test {test}");
                named += 1;
            }
            for case in part.split('"').skip(1).step_by(2).filter(|text| text.contains(' ')) {
                assert!(cases.contains(&format!("name: {case}")), "{document}: there is no case {case:?}");
                named += 1;
            }
        }
    }
    assert!(named > 0);
}

/// Every file of text under `dir`.
fn texts(dir: &Path, each: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.join("CACHEDIR.TAG").exists() {
            continue;
        } else if path.is_dir() {
            texts(&path, each);
        } else if let Ok(text) = fs::read_to_string(&path) {
            each(&path, &text);
        }
    }
}
