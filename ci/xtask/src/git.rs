//! What the history says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

pub fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(root).output().context("running git")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The files that are not what they were where `base` and this branch parted; those that are not committed too.
pub fn changed_files(root: &Path, base: &str) -> Result<Vec<String>> {
    let parted = git(root, &["merge-base", base, "HEAD"])?;
    let mut files = git(root, &["diff", "--name-only", parted.trim()])?;
    files += &git(root, &["ls-files", "--others", "--exclude-standard"])?;
    Ok(files.lines().map(str::to_owned).collect())
}
