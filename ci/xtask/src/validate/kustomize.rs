//! Building a kustomization, with whatever kustomize there is.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// `kustomize build` or `kubectl kustomize`.
pub struct Kustomize(PathBuf);

impl Kustomize {
    /// `$KUSTOMIZE`, `$KUBECTL`, `kustomize` or `kubectl` of `PATH`, else the kubectl of Debian's package in `.tools/`.
    pub fn locate(root: &Path) -> Result<Self> {
        let found = Self::find(root)?;
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

    fn find(root: &Path) -> Result<Self> {
        for name in ["KUSTOMIZE", "KUBECTL"] {
            if let Some(path) = env::var_os(name) {
                return Ok(Self(path.into()));
            }
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let in_path =
            |program: &str| env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
        match in_path("kustomize").or_else(|| in_path("kubectl")) {
            Some(program) => Ok(Self(program)),
            None => Ok(Self(from_debian(root)?)),
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

fn from_debian(root: &Path) -> Result<PathBuf> {
    let home = root.join(".tools/kubernetes-client");
    let program = home.join("usr/bin/kubectl");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!(
        "No kustomize or kubectl in $KUSTOMIZE, $KUBECTL or PATH: unpacking Debian's kubernetes-client into .tools, once."
    );
    std::fs::create_dir_all(&home)?;
    let download = tempfile::tempdir_in(&home)?;
    let wanted = "install kubectl 1.24 or newer, or set $KUBECTL";
    let got = run(Command::new("apt-get")
        .args(["download", "--quiet", "kubernetes-client"])
        .current_dir(&download));
    let package = std::fs::read_dir(&download)?.filter_map(Result::ok).next();
    let package = package.with_context(|| match got {
        Ok(output) => format!("{}: {wanted}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("{error:#}: {wanted}"),
    })?;
    let unpacked = run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&home))?;
    ensure!(
        unpacked.status.success() && program.is_file(),
        "kubernetes-client has no usr/bin/kubectl: {wanted}"
    );
    Ok(program)
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
