//! A version in `Cargo.toml` without a tag is a release. What it takes is a script, printed or run.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::semver::Version;

use crate::changed;
use crate::git::git;
use crate::overlays;
use crate::workspace::{Plugin, Workspace};

/// Releases what is not released yet; `dry_run` prints the scripts instead.
pub fn run(workspace: &Workspace, dry_run: bool) -> Result<()> {
    let tags = git(&workspace.root, &["tag", "--list"])?;
    let tags: Vec<&str> = tags.lines().collect();
    let mut released = 0;
    for plugin in &workspace.plugins {
        let script = match state(plugin, &tags)? {
            State::Released(tag) => {
                if let Some((_, reason)) = changed::since(workspace, &tag, &[plugin])?.first() {
                    eprintln!(
                        "{}: {reason} changed since {tag}; a new version in its Cargo.toml releases it",
                        plugin.name
                    );
                }
                continue;
            }
            State::New => script(workspace, plugin)?,
        };
        released += 1;
        if dry_run {
            println!("{script}");
        } else {
            shell(workspace, &script).with_context(|| format!("releasing {}", plugin.name))?;
        }
    }
    if released == 0 {
        eprintln!("every version is released");
    }
    Ok(())
}

/// Puts into a stage what another has, or what `dist` has.
pub fn promote(workspace: &Workspace, plugin: &str, from: &str, to: &str) -> Result<()> {
    let plugin = workspace.select(&[plugin.to_owned()])?[0];
    let target = overlays::release_file(workspace, plugin, to)?;
    let text = if from == "dist" {
        let file = workspace.dist(plugin).join("image/digest");
        let digest = std::fs::read_to_string(&file)
            .with_context(|| format!("{}: run `just image {}` first", file.display(), plugin.name))?;
        overlays::release(plugin, &plugin.version, &format!("{}@{}", workspace.image(plugin), digest.trim()))
    } else {
        let source = overlays::release_file(workspace, plugin, from)?;
        std::fs::read_to_string(&source).with_context(|| source.display().to_string())?
    };
    ensure!(!text.contains(crate::validate::UNRELEASED), "{} is not released in {from} yet", plugin.name);
    std::fs::write(&target, text).with_context(|| target.display().to_string())
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    New,
    /// With this tag.
    Released(String),
}

fn state(plugin: &Plugin, tags: &[&str]) -> Result<State> {
    let prefix = format!("{}/v", plugin.name);
    let mut versions: Vec<Version> =
        tags.iter().filter_map(|tag| Version::parse(tag.strip_prefix(&prefix)?).ok()).collect();
    versions.sort();
    let version = Version::parse(&plugin.version)?;
    match versions.last() {
        Some(_) if versions.contains(&version) => Ok(State::Released(format!("{prefix}{version}"))),
        Some(newest) if *newest > version => {
            bail!(
                "{} is at {version}, but {newest} is released: the next version must be higher",
                plugin.name
            )
        }
        _ => Ok(State::New),
    }
}

fn script(workspace: &Workspace, plugin: &Plugin) -> Result<String> {
    let Plugin { name, version, .. } = plugin;
    let changelog = std::fs::read_to_string(plugin.dir.join("CHANGELOG.md")).unwrap_or_default();
    let is_told = changelog.lines().any(|line| line.starts_with("## ") && line.contains(version.as_str()));
    ensure!(
        is_told,
        "plugins/{name}/CHANGELOG.md has no heading for {version}: say what changes for who runs it"
    );
    let image = workspace.image(plugin);
    let repository = image.rsplit_once(':').map_or(image.as_str(), |(repository, _)| repository);
    Ok(format!(
        r#"# {name} {version}: there is no tag {name}/v{version}
./ci/just image {name}
./ci/just check-wasm {name}
./ci/just push {name}
image={repository}@$(cat dist/{name}/image/digest)
./ci/just verify-image "$image"
./ci/just attest {name}
cosign sign --yes "$image"
cosign attest --yes --type cyclonedx --predicate dist/{name}/sbom.cdx.json "$image"
cosign attest --yes --type slsaprovenance1 --predicate dist/{name}/provenance.json "$image"
git tag {name}/v{version}
git push origin {name}/v{version}
git switch --create release/{name}-v{version}
./ci/just promote {name} dist dev
./ci/just validate manifests/overlays/dev/{name}
git add manifests/overlays/dev/{name}
git commit --message "Release {name} {version} to dev"
git push origin HEAD
gh pr create --base main --fill
git switch --detach -
"#
    ))
}

/// Runs a script as `sh -eux` reads it.
fn shell(workspace: &Workspace, script: &str) -> Result<()> {
    let mut sh =
        Command::new("sh").args(["-eux"]).stdin(Stdio::piped()).current_dir(&workspace.root).spawn()?;
    sh.stdin.take().context("sh has a standard input")?.write_all(script.as_bytes())?;
    let status = sh.wait()?;
    ensure!(status.success(), "the script above ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(version: &str) -> Plugin {
        let workspace = Workspace::load().unwrap();
        Plugin { version: version.into(), ..workspace.template }
    }

    #[test]
    fn a_version_without_a_tag_is_a_release() {
        assert_eq!(state(&plugin("0.2.0"), &["template/v0.1.0", "other/v0.2.0"]).unwrap(), State::New);
        assert_eq!(state(&plugin("0.1.0"), &[]).unwrap(), State::New);
    }

    #[test]
    fn a_version_with_a_tag_is_released() {
        let tags = ["template/v0.10.0", "template/v0.9.0"];
        assert_eq!(state(&plugin("0.10.0"), &tags).unwrap(), State::Released("template/v0.10.0".into()));
    }

    #[test]
    fn a_version_that_goes_back_is_refused() {
        let error = state(&plugin("0.9.1"), &["template/v0.10.0"]).unwrap_err().to_string();
        assert_eq!(error, "template is at 0.9.1, but 0.10.0 is released: the next version must be higher");
    }

    #[test]
    fn a_version_that_the_changelog_does_not_tell_of_is_refused() {
        let workspace = Workspace::load().unwrap();
        let unknown = Plugin { version: "99.0.0".into(), ..workspace.plugins[0].clone() };
        let error = script(&workspace, &unknown).unwrap_err().to_string();
        assert!(error.contains("CHANGELOG.md has no heading for 99.0.0"), "{error}");
    }

    #[test]
    fn what_is_signed_and_attested_is_what_was_pushed() {
        let workspace = Workspace::load().unwrap();
        let plugin = &workspace.plugins[0];
        let script = script(&workspace, plugin).unwrap();
        let order = ["just push", "verify-image", "cosign sign", "git tag", "just promote", "gh pr create"];
        let places: Vec<_> = order.iter().map(|step| script.find(step).unwrap()).collect();
        assert!(places.is_sorted(), "{script}");
    }
}
