//! One plugin, one cargo: built together, plugins would share features, and their digests would depend on each other.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CargoOpt, MetadataCommand};

use crate::progress::Progress;
use crate::toolchain::{self, TARGET};
use crate::workspace::{Plugin, Workspace};

/// Builds `plugin` and says where the linked module is.
pub fn compile(workspace: &Workspace, plugin: &Plugin) -> Result<PathBuf> {
    let target = workspace.target.join("wasm");
    let progress = Progress::start(format!("building {}", plugin.name));
    let output = cargo()
        .args(["build", "--quiet", "--locked", "--release", "--target", TARGET, "--package", &plugin.name])
        .args(["--color", if progress.is_shown() { "always" } else { "auto" }])
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", remap(workspace)?)
        .current_dir(&workspace.root)
        .output()
        .context("running cargo")?;
    drop(progress);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("cargo build failed");
    }
    Ok(target.join(TARGET).join("release").join(plugin.name.replace('-', "_")).with_extension("wasm"))
}

/// Cargo, without what in the environment would change the module.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "RUSTFLAGS" || text == "CARGO_INCREMENTAL" || text.starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The flags that keep the directories of this machine out of the module, the more particular later: the last that
/// matches is applied.
fn remap(workspace: &Workspace) -> Result<OsString> {
    let root = &workspace.root;
    let sysroot = PathBuf::from(toolchain::sysroot(root)?);
    let mut paths = Vec::new();
    if let Some(home) = std::env::home_dir().filter(|home| home.parent().is_some()) {
        paths.push((home, "home".to_owned()));
    }
    paths.push((sysroot.clone(), "rust".to_owned()));
    paths.push((sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{}", toolchain::commit(root)?)));
    paths.extend(crates(root)?.into_iter().map(|dir| (dir, "crates".to_owned())));
    paths.push((root.clone(), ".".to_owned()));
    paths.push((workspace.target.join("wasm"), "target".to_owned()));

    let mut flags = OsString::new();
    for (from, to) in paths {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}

/// The directories that hold the sources of dependencies; their names carry a hash of the registry's address.
fn crates(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()])
        .exec()
        .context("cargo metadata --locked")?;
    let foreign = metadata.packages.iter().filter(|package| package.source.is_some());
    Ok(foreign.filter_map(|package| package.manifest_path.ancestors().nth(2)).map(Into::into).collect())
}
