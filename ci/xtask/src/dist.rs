//! `dist/<plugin>/`: the module and the WasmPlugin, as they ship.

use std::fs;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::workspace::{Plugin, Workspace};
use crate::{compile, manifests, toolchain, trim};

pub fn build(workspace: &Workspace, plugins: &[&Plugin]) -> Result<()> {
    toolchain::ensure_target(&workspace.root)?;
    for plugin in plugins {
        build_one(workspace, plugin).with_context(|| format!("building {}", plugin.name))?;
    }
    Ok(())
}

fn build_one(workspace: &Workspace, plugin: &Plugin) -> Result<()> {
    let linked = compile::compile(workspace, plugin)?;
    let trimmed = trim::trim(&fs::read(&linked).with_context(|| linked.display().to_string())?)?;

    let dist = workspace.dist(plugin);
    let module = dist.join("plugin.wasm");
    if fs::read(&module).ok().as_deref() != Some(&trimmed.wasm) {
        // An image of another module; its digest would name the wrong one.
        let _ = fs::remove_dir_all(dist.join("image"));
    }
    let digest = fs::read_to_string(dist.join("image/digest")).ok();
    let manifest = manifests::wasm_plugin(workspace, plugin, digest.as_deref().map(str::trim))?;
    fs::create_dir_all(&dist)?;
    fs::write(module, &trimmed.wasm)?;
    fs::write(dist.join("wasmplugin.yaml"), manifest)?;
    println!(
        "{}: {} of {} KiB, sha256 {}, {}",
        plugin.name,
        kib(trimmed.wasm.len()),
        plugin.metadata.max_kib,
        &sha256(&trimmed.wasm)[..12],
        trimmed.callbacks.join(" "),
    );
    Ok(())
}

/// Rounded up, as a budget wants it.
pub fn kib(bytes: usize) -> u64 {
    bytes.div_ceil(1024) as u64
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
