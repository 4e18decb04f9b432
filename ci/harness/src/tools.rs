//! Programs that tests need, installed once into `.tools/`. Nothing outside that directory is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::workspace_root;

/// The directory `name` of `.tools/`. `install` fills it, in another place, if it does not exist: an interrupted
/// installation is never taken for a complete one.
///
/// # Errors
/// Where `install` fails.
pub fn install_once(name: &str, package: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let tools = workspace_root().join(".tools");
    let place = tools.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    eprintln!("Installing {package} into {}, once.", place.display());
    fs::create_dir_all(&tools)?;
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&tools)?;
    install(unfinished.path())?;
    // Another process may have been faster.
    let _ = fs::rename(unfinished.path(), &place);
    ensure!(place.is_dir(), "cannot install {package} into {}", place.display());
    Ok(place)
}

/// Runs a step of an installation.
///
/// # Errors
/// `advice`, where the program is missing or fails, and its error output.
pub fn run_step(command: &mut Command, advice: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}: {advice}"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}; {advice}", arguments.join(" "), stderr.trim());
    }
    Ok(())
}
