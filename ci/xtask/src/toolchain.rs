//! The target that modules are built for, installed where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What Envoy's WASI is: `wasm32-unknown-unknown` has no clock, no random numbers and no `std::env`.
pub const TARGET: &str = "wasm32-wasip1";

/// Adds the target to the toolchain that `rust-toolchain.toml` names, once.
pub fn ensure_target(root: &Path) -> Result<()> {
    if PathBuf::from(rustc(root, &["--print", "target-libdir", "--target", TARGET])?).is_dir() {
        return Ok(());
    }
    eprintln!("installing the Rust target {TARGET} with rustup: plugins are built for it");
    let status = Command::new("rustup").args(["target", "add", TARGET]).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("rustup target add {TARGET} failed"),
        Err(_) => bail!("this Rust has no target {TARGET}, and there is no rustup to add it"),
    }
}

/// Where the toolchain lies.
pub fn sysroot(root: &Path) -> Result<String> {
    rustc(root, &["--print", "sysroot"])
}

/// The commit of the compiler, by which the standard library's own paths begin.
pub fn commit(root: &Path) -> Result<String> {
    let version = rustc(root, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    Ok(commit.context("rustc -vV prints no commit-hash")?.to_owned())
}

fn rustc(root: &Path, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).args(arguments).current_dir(root).output().context("running rustc")?;
    if !output.status.success() {
        bail!("rustc {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
