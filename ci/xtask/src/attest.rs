//! What is said of a released image: a bill of materials (CycloneDX) and its provenance (SLSA).

use std::env;
use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::Package;
use serde_json::{Value, json};

use crate::closure::Graph;
use crate::git::git;
use crate::workspace::{Plugin, Workspace};

/// Writes `sbom.cdx.json` and `provenance.json` beside the module.
pub fn write(workspace: &Workspace, plugin: &Plugin) -> Result<()> {
    let graph = Graph::load(workspace)?;
    let dist = workspace.dist(plugin);
    let write = |name: &str, value: Value| {
        let path = dist.join(name);
        fs::write(&path, format!("{value:#}\n")).with_context(|| path.display().to_string())
    };
    write("sbom.cdx.json", sbom(plugin, &graph.of(plugin)?))?;
    write("provenance.json", provenance(plugin, git(&workspace.root, &["rev-parse", "HEAD"])?.trim()))
}

fn sbom(plugin: &Plugin, crates: &[&Package]) -> Value {
    let mut components: Vec<Value> = crates
        .iter()
        .filter(|package| *package.name != plugin.name)
        .map(|package| component(package))
        .collect();
    components.sort_by_key(|component| component["bom-ref"].to_string());
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": plugin.name, "version": plugin.version}},
        "components": components,
    })
}

fn component(package: &Package) -> Value {
    let Package { name, version, .. } = package;
    let mut component = json!({
        "type": "library",
        "bom-ref": format!("{name}@{version}"),
        "name": name,
        "version": version,
    });
    // What lies in this repository is in no registry.
    if package.source.is_some() {
        component["purl"] = format!("pkg:cargo/{name}@{version}").into();
    }
    if let Some(license) = &package.license {
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    component
}

/// The predicate of SLSA provenance 1.0; what GitHub's runner says of itself where there is one.
fn provenance(plugin: &Plugin, commit: &str) -> Value {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let (server, repository) = (variable("GITHUB_SERVER_URL"), variable("GITHUB_REPOSITORY"));
    let source = format!("git+{server}/{repository}@{}", variable("GITHUB_REF"));
    let run = format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID"));
    json!({
        "buildDefinition": {
            "buildType": "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
            "externalParameters": {"plugin": plugin.name, "version": plugin.version},
            "resolvedDependencies": [{"uri": source, "digest": {"gitCommit": commit}}],
        },
        "runDetails": {
            "builder": {"id": format!("{server}/{}", variable("GITHUB_WORKFLOW_REF"))},
            "metadata": {"invocationId": run},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_names_what_is_linked_and_not_what_tests() {
        let workspace = Workspace::load().unwrap();
        let graph = Graph::load(&workspace).unwrap();
        let plugin = &workspace.template;
        let sbom = sbom(plugin, &graph.of(plugin).unwrap());
        let names: Vec<_> = sbom["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"proxy-wasm") && names.contains(&"plugin-kit"), "{names:?}");
        assert!(!names.contains(&"plugin-testkit") && !names.contains(&"template"), "{names:?}");
    }
}
