//! Finding a registry, and fetching one where there is none.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::workspace_root;

const PROGRAM: &str = "docker-registry";

/// `$REGISTRY_BINARY`, else `docker-registry` of `PATH`, else Debian's package of that name, unpacked under `.tools/`.
pub fn locate() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if let Some(path) = env::var_os("REGISTRY_BINARY").map(PathBuf::from) {
        ensure!(path.is_file(), "$REGISTRY_BINARY is {}, which is no file", path.display());
        return Ok(path);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file()) {
        Some(found) => Ok(found),
        None => from_package(),
    }
}

fn from_package() -> Result<PathBuf> {
    let tools = workspace_root().join(".tools");
    let unpacked = tools.join(PROGRAM);
    let binary = unpacked.join("usr/bin").join(PROGRAM);
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!(
        "No {PROGRAM} in $REGISTRY_BINARY or PATH: unpacking Debian's package into {}, once.",
        unpacked.display()
    );
    fs::create_dir_all(&tools)?;
    // Beside its final place, so that an interrupted download is never taken for a whole one.
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&tools)?;
    let download = || run(unfinished.path(), "apt-get", &["download", "--quiet", PROGRAM]);
    if download().is_err() {
        // The lists of packages may be missing or old. Only root may update them.
        let updated = run(unfinished.path(), "apt-get", &["update", "--quiet"]);
        download().map_err(|error| match updated {
            Ok(()) => error,
            Err(update) => error.context(update),
        })?;
    }
    let package = fs::read_dir(unfinished.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    run(unfinished.path(), "dpkg", &["-x", &package.to_string_lossy(), "unpacked"])?;
    let _ = fs::rename(unfinished.path().join("unpacked"), &unpacked);
    ensure!(binary.is_file(), "cannot unpack {PROGRAM} into {}", unpacked.display());
    Ok(binary)
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(program).args(arguments).current_dir(directory).output().with_context(|| {
            format!("cannot run {program}: install {PROGRAM}, or set $REGISTRY_BINARY to Docker's registry")
        })?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
