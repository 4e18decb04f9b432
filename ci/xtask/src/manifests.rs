//! The WasmPlugin of each plugin, out of its `Cargo.toml` and its `example.yaml`, and its place in every overlay.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_norway::Value;

use crate::overlays;
use crate::readme;
use crate::workspace::{Plugin, Workspace};

/// What an editor completes and checks an `example.yaml` by.
const SCHEMA: &str = "# yaml-language-server: $schema=config.schema.json";

/// Writes `manifests/base/<plugin>/` for every plugin, its place in the overlays, and the table of the README.
pub fn write(workspace: &Workspace) -> Result<()> {
    let started = overlays::started(workspace)?.into_iter().filter(|(path, _)| !path.exists());
    for (path, text) in generated(workspace)?.into_iter().chain(started) {
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(&path, text)?;
    }
    Ok(())
}

/// Compares what is committed with what [`write`] would write.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in generated(workspace)? {
        if fs::read_to_string(&path).ok() != Some(text) {
            stale.push(path.strip_prefix(&workspace.root)?.display().to_string());
        }
    }
    for (path, _) in overlays::started(workspace)? {
        if !path.exists() {
            stale.push(path.strip_prefix(&workspace.root)?.display().to_string());
        }
    }
    if !stale.is_empty() {
        bail!("not what Cargo.toml and example.yaml say, run `just manifests`: {}", stale.join(", "));
    }
    Ok(())
}

fn generated(workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let mut files = vec![readme::with_table(workspace)?];
    for plugin in &workspace.plugins {
        let base = workspace.root.join("manifests/base").join(&plugin.name);
        files.push((base.join("wasmplugin.yaml"), wasm_plugin(workspace, plugin, None)?));
        files.push((base.join("kustomization.yaml"), overlays::base(plugin)));
    }
    files.extend(overlays::stages(workspace)?);
    for plugin in workspace.plugins.iter().chain([&workspace.template]) {
        let path = plugin.dir.join("example.yaml");
        let text = example(workspace, plugin)?;
        files.push((path, if text.starts_with(SCHEMA) { text } else { format!("{SCHEMA}\n{text}") }));
    }
    Ok(files)
}

/// The text of a plugin's WasmPlugin; with the digest of its image where there is one, such as `sha256:…`.
pub fn wasm_plugin(workspace: &Workspace, plugin: &Plugin, digest: Option<&str>) -> Result<String> {
    let example = example(workspace, plugin)?;
    let image = match digest {
        Some(digest) => format!("{}@{digest}", workspace.image(plugin)),
        None => workspace.image(plugin),
    };
    render(plugin, &image, &example).with_context(|| format!("plugins/{}/example.yaml", plugin.name))
}

fn example(workspace: &Workspace, plugin: &Plugin) -> Result<String> {
    let path = plugin.dir.join("example.yaml");
    let shown = path.strip_prefix(&workspace.root).unwrap_or(&path).display();
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{shown} is missing: it must hold a pluginConfig that works, for the WasmPlugin and `just run`"
        ),
        example => example.with_context(|| shown.to_string()),
    }
}

fn render(plugin: &Plugin, image: &str, example: &str) -> Result<String> {
    match serde_norway::from_str(example)? {
        Value::Mapping(_) => {}
        _ => bail!("must be a mapping, the pluginConfig; `{{}}` is an empty one"),
    }
    if example.lines().any(|line| line == "---") {
        bail!("must not have a line `---`: it becomes a part of another document");
    }
    let name = &plugin.name;
    let mut yaml = format!(
        "# Written by `just manifests` from the plugin's Cargo.toml and example.yaml.
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: {name}
spec:
  url: oci://{image}
  pluginName: {name}
"
    );
    indent(&mut yaml, "  ", &serde_norway::to_string(&plugin.metadata)?);
    yaml.push_str("  pluginConfig:\n");
    indent(&mut yaml, "    ", example.strip_prefix(SCHEMA).map_or(example, str::trim_start));
    Ok(yaml)
}

fn indent(yaml: &mut String, by: &str, text: &str) {
    for line in text.lines() {
        if !line.is_empty() {
            yaml.push_str(by);
        }
        yaml.push_str(line);
        yaml.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Metadata;

    fn plugin(metadata: serde_json::Value) -> Plugin {
        let metadata = serde_json::from_value::<Metadata>(metadata).unwrap();
        let (name, version, description) = ("cors-guard".into(), "1.2.3".into(), String::new());
        Plugin { name, version, description, dir: PathBuf::new(), metadata }
    }

    fn parsed(metadata: serde_json::Value, example: &str) -> Value {
        let yaml = render(&plugin(metadata), "example.com/cors-guard:1.2.3", example).unwrap();
        serde_norway::from_str(&yaml).unwrap()
    }

    fn metadata() -> serde_json::Value {
        serde_json::json!({ "phase": "AUTHN", "priority": 100, "failStrategy": "FAIL_CLOSE", "maxKib": 1 })
    }

    #[test]
    fn says_what_cargo_toml_says() {
        let yaml = parsed(metadata(), "a: 1\n");
        assert_eq!(yaml["metadata"]["name"], "cors-guard");
        let spec = &yaml["spec"];
        assert_eq!(spec["url"], "oci://example.com/cors-guard:1.2.3");
        assert_eq!(spec["pluginName"], "cors-guard");
        assert_eq!(spec["phase"], "AUTHN");
        assert_eq!(spec["priority"], 100);
        assert_eq!(spec["failStrategy"], "FAIL_CLOSE");
        assert!(spec.get("match").is_none());
    }

    #[test]
    fn lists_the_matches() {
        let mut metadata = metadata();
        metadata["match"] = serde_json::json!([{ "mode": "SERVER", "ports": [{ "number": 80 }, { "number": 443 }] }, { "mode": "CLIENT" }]);
        let matches = &parsed(metadata, "a: 1\n")["spec"]["match"];
        assert_eq!(matches[0]["mode"], "SERVER");
        assert_eq!(matches[0]["ports"][1]["number"], 443);
        assert_eq!(matches[1]["mode"], "CLIENT");
    }

    #[test]
    fn keeps_the_example_with_its_comments() {
        let example = "# Why.\nrules:\n  - a: |\n      x\n\n      y\n";
        let text = render(&plugin(metadata()), "i", example).unwrap();
        assert!(
            text.ends_with(
                "  pluginConfig:\n    # Why.\n    rules:\n      - a: |\n          x\n\n          y\n"
            ),
            "{text}"
        );
        let config = &parsed(metadata(), example)["spec"]["pluginConfig"];
        assert_eq!(*config, serde_norway::from_str::<Value>(example).unwrap());
    }

    #[test]
    fn the_schema_of_the_example_is_not_that_of_the_manifest() {
        let text = render(&plugin(metadata()), "i", &format!("{SCHEMA}\na: 1\n")).unwrap();
        assert!(text.ends_with("  pluginConfig:\n    a: 1\n"), "{text}");
    }

    #[test]
    fn an_example_that_is_no_mapping_is_refused() {
        for example in ["", "- a\n", "# nothing\n"] {
            let error = render(&plugin(metadata()), "i", example).unwrap_err().to_string();
            assert!(error.starts_with("must be a mapping"), "{error}");
        }
    }
}
