//! What `just` calls.

#[cfg(test)]
mod architecture;
mod attest;
mod callbacks;
mod changed;
mod check;
mod closure;
mod compile;
mod dist;
mod fold;
mod git;
mod imports;
mod list;
mod manifests;
mod names;
mod new;
mod oci;
mod overlays;
mod progress;
mod readme;
mod release;
#[cfg(test)]
mod sources;
mod toolchain;
mod trim;
mod validate;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::workspace::Workspace;

/// Builds, checks and describes the plugins. `just` lists what there is.
#[derive(Parser)]
#[command(name = "xtask")]
enum Command {
    /// Write the bill of materials and the provenance of a built plugin.
    Attest { plugin: String },
    /// Build plugins into dist/<plugin>/.
    Build {
        #[arg(required = true)]
        plugins: Vec<String>,
    },
    /// Build every plugin.
    BuildAll,
    /// List the plugins whose modules changed, with the reason.
    Changed {
        /// Since they parted from this commit; else from main.
        base: Option<String>,
    },
    /// Check the modules in dist/: imports, exports, paths, size. All plugins where none is named.
    CheckWasm { plugins: Vec<String> },
    /// Send a tour of requests through every plugin, chained in a real Envoy.
    Demo {
        /// Stay up afterwards, until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Print the path of Envoy, installed first where there is none.
    Envoy,
    /// Write dist/<plugin>/image/, an OCI layout, and say its digest.
    Image {
        #[arg(required = true)]
        plugins: Vec<String>,
        #[command(flatten)]
        options: oci::Options,
    },
    /// List the plugins.
    List {
        /// With the tags that a registry has of them: this one, or the one of Cargo.toml.
        #[arg(long)]
        registry: Option<Option<String>>,
    },
    /// Write the module of an image in a registry to a file.
    Pull {
        /// host/path:tag or host/path@sha256:…
        reference: String,
        /// Else dist/pulled/<name>.wasm.
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Push the images of what is in dist/ to a registry, tagged with their versions. All plugins where none is named.
    Push {
        plugins: Vec<String>,
        #[command(flatten)]
        options: oci::Options,
        /// Overwrite a version that is there with another digest.
        #[arg(long)]
        force: bool,
    },
    /// Put into a stage the release that another has.
    Promote {
        plugin: String,
        /// A stage, or `dist` for what `just image` made.
        from: String,
        to: String,
    },
    /// Release each plugin whose version has no tag.
    Release {
        /// Print the commands and run none.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the Envoy filter that istiod makes of a WasmPlugin.
    Render {
        /// A WasmPlugin.
        wasmplugin: PathBuf,
        /// The module that the agent would have fetched.
        #[arg(long, default_value = "/var/lib/istio/data/plugin.wasm")]
        module: PathBuf,
    },
    /// Serve a plugin's example until Ctrl-C.
    Run {
        plugin: String,
        #[arg(long, default_value_t = 10000)]
        port: u16,
    },
    /// Say whether Istio takes a plugin from these images, and why not.
    VerifyImage {
        /// References, or directories with an OCI layout.
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Print Istio's extraStatTags and Envoy's stats_tags for a configuration of custom-metrics.
    StatsTags {
        /// A pluginConfig, or a WasmPlugin.
        config: PathBuf,
    },
    /// Install the Rust target that plugins are built for, where it is missing.
    Target,
    /// Write manifests/base/, every plugin's place in the overlays, and the README's table of plugins.
    Manifests {
        /// Change nothing; fail where a file is not what it would be.
        #[arg(long)]
        check: bool,
    },
    /// Check WasmPlugins and TrafficExtensions: Istio's rules, the plugin's schema, and the plugin itself in Envoy.
    Validate {
        /// Files, directories (kustomizations in them are built), or - for standard input.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Start a plugin: a copy of ci/template.
    New {
        /// In kebab-case, such as cors-guard.
        name: String,
        /// One sentence.
        #[arg(long)]
        description: Option<String>,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let workspace = Workspace::load()?;
    match command {
        Command::Attest { plugin } => attest::write(&workspace, workspace.select(&[plugin])?[0]),
        Command::Build { plugins } => dist::build(&workspace, &workspace.select(&plugins)?),
        Command::BuildAll => dist::build(&workspace, &workspace.select(&[])?),
        Command::Changed { base } => changed::print(&workspace, base.as_deref()),
        Command::CheckWasm { plugins } => check::check_all(&workspace, &workspace.select(&plugins)?),
        Command::Demo { keep } => harness::demo::run(keep),
        Command::Envoy => {
            println!("{}", harness::locate()?.display());
            Ok(())
        }
        Command::Image { plugins, options } => oci::image(&workspace, &workspace.select(&plugins)?, &options),
        Command::List { registry: None } => list::print(&workspace),
        Command::List { registry: Some(registry) } => oci::list(&workspace, registry.as_deref()),
        Command::Pull { reference, output } => oci::pull(&workspace, &reference, output),
        Command::Push { plugins, options, force } => {
            oci::push(&workspace, &workspace.select(&plugins)?, &options, force)
        }
        Command::Promote { plugin, from, to } => release::promote(&workspace, &plugin, &from, &to),
        Command::Release { dry_run } => release::run(&workspace, dry_run),
        Command::Render { wasmplugin, module } => {
            let yaml = std::fs::read_to_string(&wasmplugin)
                .with_context(|| format!("cannot read {}", wasmplugin.display()))?;
            println!("{:#}", harness::render::filter(&yaml, &module)?);
            Ok(())
        }
        Command::Run { plugin, port } => harness::run::run(&plugin, port),
        Command::StatsTags { config } => {
            let yaml = std::fs::read_to_string(&config)
                .with_context(|| format!("cannot read {}", config.display()))?;
            let tags = harness::stats_tags::print(&yaml);
            print!("{}", tags.with_context(|| config.display().to_string())?);
            Ok(())
        }
        Command::VerifyImage { images } => oci::verify(&images),
        Command::Target => toolchain::ensure_target(&workspace.root),
        Command::Manifests { check: true } => manifests::check(&workspace),
        Command::Manifests { check: false } => manifests::write(&workspace),
        Command::Validate { paths } => validate::run(&workspace, &paths),
        Command::New { name, description } => new::create(&workspace, &name, description.as_deref()),
    }
}
