//! A plugin's place in `manifests/overlays/<stage>/`: started once and then the operator's, listed for ever.
//!
//! ```text
//! overlays/prod/kustomization.yaml             generated: every plugin of the stage
//! overlays/prod/<plugin>/kustomization.yaml    started:   what this stage changes
//! overlays/prod/<plugin>/scope.yaml            started:   whom it concerns
//! overlays/prod/<plugin>/release.yaml          started, then written by `just release` and `just promote`
//! ```

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::validate::UNRELEASED;
use crate::workspace::{Plugin, Workspace};

const GENERATED: &str = "# Written by `just manifests`.\n";
const HEAD: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
/// The stage whose plugins lie beside those of production, for workloads that have the label of the canary.
const CANARY: &str = "canary";

type File = (PathBuf, String);

/// `manifests/base/<plugin>/kustomization.yaml`.
pub fn base(plugin: &Plugin) -> String {
    let name = &plugin.name;
    format!(
        "{GENERATED}{HEAD}resources:
- wasmplugin.yaml
# Without {name} requests pass as if it had never been: Argo CD asks before it removes it.
commonAnnotations:
  argocd.argoproj.io/sync-options: Prune=confirm,Delete=confirm
"
    )
}

/// `manifests/overlays/<stage>/kustomization.yaml` of every stage.
pub fn stages(workspace: &Workspace) -> Result<Vec<File>> {
    let list: String = workspace.plugins.iter().map(|plugin| format!("- {}\n", plugin.name)).collect();
    let file = |stage: String| {
        (dir(workspace, &stage).join("kustomization.yaml"), format!("{GENERATED}{HEAD}resources:\n{list}"))
    };
    Ok(names(workspace)?.into_iter().map(file).collect())
}

/// What every plugin has in every stage until somebody changes it.
pub fn started(workspace: &Workspace) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for stage in names(workspace)? {
        for plugin in &workspace.plugins {
            let dir = dir(workspace, &stage).join(&plugin.name);
            files.push((dir.join("kustomization.yaml"), kustomization(plugin, &stage)));
            files.push((dir.join("scope.yaml"), scope(plugin, &stage)));
            files.push((dir.join("release.yaml"), unreleased(workspace, plugin)));
        }
    }
    Ok(files)
}

/// The patch that puts an image into a stage.
pub fn release(plugin: &Plugin, version: &str, image: &str) -> String {
    format!(
        "apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: {}
  labels: {{app.kubernetes.io/version: {version}}}
spec:
  url: oci://{image}
",
        plugin.name
    )
}

/// Where that patch lies.
pub fn release_file(workspace: &Workspace, plugin: &Plugin, stage: &str) -> Result<PathBuf> {
    let stages = names(workspace)?;
    ensure!(
        stages.iter().any(|known| known == stage),
        "there is no stage {stage:?}; there are {}",
        stages.join(", ")
    );
    Ok(dir(workspace, stage).join(&plugin.name).join("release.yaml"))
}

fn unreleased(workspace: &Workspace, plugin: &Plugin) -> String {
    let image = format!("{}@sha256:{UNRELEASED}", workspace.image(plugin));
    release(plugin, "unreleased", &image)
}

fn kustomization(plugin: &Plugin, stage: &str) -> String {
    let name = &plugin.name;
    let suffix = if stage == CANARY { "nameSuffix: -canary\n" } else { "" };
    format!(
        "{HEAD}resources:
- ../../../base/{name}
components:
- ../../../components/smoke
{suffix}patches:
- path: release.yaml
- path: scope.yaml
"
    )
}

fn scope(plugin: &Plugin, stage: &str) -> String {
    let name = &plugin.name;
    let track = if stage == CANARY { CANARY } else { "stable" };
    format!(
        "# Pods with this label, and no others: a selector cannot say `not canary`.
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: {name}
spec:
  selector:
    matchLabels: {{wasm.example.com/{name}: {track}}}
"
    )
}

fn dir(workspace: &Workspace, stage: &str) -> PathBuf {
    workspace.root.join("manifests/overlays").join(stage)
}

/// The directories of `manifests/overlays/`.
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let overlays = workspace.root.join("manifests/overlays");
    let entries = fs::read_dir(&overlays).with_context(|| overlays.display().to_string())?;
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}
