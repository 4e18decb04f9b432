//! `dist/<plugin>/image/`: what is pushed, and its digest.

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use clap::Args;
use oci::{About, Form, Image, layout};

use crate::workspace::{Plugin, Workspace};

/// What `image` and `push` have in common.
#[derive(Args)]
pub struct Options {
    /// Where the plugins are published, as host/path; else what Cargo.toml says.
    #[arg(long)]
    pub registry: Option<String>,
    /// Two layers of their own types, as ORAS pushes them, instead of an image.
    #[arg(long)]
    pub artifact: bool,
}

impl Options {
    pub fn registry<'a>(&'a self, workspace: &'a Workspace) -> &'a str {
        self.registry.as_deref().unwrap_or(&workspace.registry).trim_end_matches('/')
    }

    fn form(&self) -> Form {
        if self.artifact { Form::Artifact } else { Form::Compat }
    }

    /// Where the image of a plugin is published, without its digest.
    pub fn reference(&self, workspace: &Workspace, plugin: &Plugin) -> String {
        format!("{}/{}:{}", self.registry(workspace), plugin.name, plugin.version)
    }
}

pub fn image(workspace: &Workspace, plugins: &[&Plugin], options: &Options) -> Result<()> {
    for plugin in plugins {
        let image = build(workspace, plugin, options)?;
        let layout = workspace.dist(plugin).join("image");
        println!("{} {}", plugin.name, plugin.version);
        println!("  layout  {}", layout.strip_prefix(&workspace.root).unwrap_or(&layout).display());
        println!("  digest  {}", image.digest());
        for blob in image.blobs.iter().chain([&image.manifest]) {
            println!("  {:>7}  {}", size(blob.bytes.len() as u64), blob.media_type);
        }
        println!("  url: oci://{}@{}", options.reference(workspace, plugin), image.digest());
    }
    Ok(())
}

/// Packs what the last build left in `dist/`.
pub fn build(workspace: &Workspace, plugin: &Plugin, options: &Options) -> Result<Image> {
    let dist = workspace.dist(plugin);
    let wasm = fs::read(dist.join("plugin.wasm"))
        .with_context(|| format!("{}: run `just build {0}` first", plugin.name))?;
    let image = Image::new(&wasm, &about(plugin)?, options.form())?;
    layout::write(&dist.join("image"), &image, &plugin.version)?;
    Ok(image)
}

fn about(plugin: &Plugin) -> Result<About> {
    let manifest = plugin.dir.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec()?;
    let package = metadata.packages.into_iter().find(|package| *package.name == plugin.name);
    let package = package.with_context(|| format!("{} is of another workspace", manifest.display()))?;
    Ok(About {
        title: plugin.name.clone(),
        description: plugin.description.clone(),
        version: plugin.version.clone(),
        licenses: package.license,
        source: package.repository,
    })
}

pub fn size(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes.div_ceil(1024)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!([size(0), size(1023), size(1024), size(1025)], ["0 B", "1023 B", "1 KiB", "2 KiB"]);
    }

    #[test]
    fn an_image_says_what_cargo_toml_says() {
        let workspace = Workspace::load().unwrap();
        let about = about(&workspace.template).unwrap();
        assert_eq!((about.title, about.version), ("template".into(), workspace.template.version));
        assert_eq!(about.licenses.as_deref(), Some("Apache-2.0"));
    }
}
