//! Building a kustomization, with whatever kustomize there is.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use harness::DebianProgram;
use serde_json::Value;

pub const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const KUBECTL: DebianProgram =
    DebianProgram { program: "kubectl", package: "kubernetes-client", variable: "KUBECTL" };

/// `kustomize build` or `kubectl kustomize`.
pub struct Kustomize(PathBuf);

impl Kustomize {
    /// `$KUSTOMIZE`, `$KUBECTL`, `kustomize` or `kubectl` of `PATH`, else the kubectl of Debian's package in `.tools/`.
    pub fn locate() -> Result<Self> {
        let found = Self::find()?;
        let version = if found.is_kubectl() { vec!["version", "--client"] } else { vec!["version"] };
        let said = run(Command::new(&found.0).args(version))?.stdout;
        // A kubectl names its kustomize from 1.24 on; what is in older ones has no components and replacements.
        ensure!(
            !found.is_kubectl() || String::from_utf8_lossy(&said).contains("Kustomize Version"),
            "{} is too old: set $KUBECTL to a kubectl of 1.24 or newer",
            found.0.display()
        );
        Ok(found)
    }

    fn find() -> Result<Self> {
        if let Some(path) = env::var_os("KUSTOMIZE") {
            return Ok(Self(path.into()));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let in_path = env::split_paths(&path).map(|dir| dir.join("kustomize")).find(|file| file.is_file());
        match in_path {
            Some(program) if env::var_os("KUBECTL").is_none() => Ok(Self(program)),
            _ => KUBECTL.locate().map(Self),
        }
    }

    /// The objects that `dir` makes.
    pub fn build(&self, dir: &Path) -> Result<String> {
        let verb = if self.is_kubectl() { "kustomize" } else { "build" };
        let output = run(Command::new(&self.0).arg(verb).arg(dir))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            // kubectl's way of saying "error:".
            bail!("{}", said.trim().rsplit("err=").next().unwrap_or_default());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn is_kubectl(&self) -> bool {
        self.0.file_name().is_some_and(|name| name.to_string_lossy().contains("kubectl"))
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().with_context(|| format!("cannot run {name}"))
}

/// The files that a kustomization patches with: parts of objects, and no objects themselves.
pub fn patches(dir: &Path, kustomization: &Value) -> Vec<PathBuf> {
    let lists = ["patches", "patchesJson6902", "patchesStrategicMerge"];
    let items = lists.iter().filter_map(|list| kustomization[list].as_array()).flatten();
    items
        .filter_map(|item| item.as_str().or_else(|| item["path"].as_str()))
        .map(|path| dir.join(path))
        .collect()
}

pub fn is_kustomization(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| FILES.contains(&name))
}
