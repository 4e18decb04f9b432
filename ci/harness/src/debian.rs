//! Programs out of Debian's packages, unpacked under `.tools/`: nothing is installed, and no daemon is started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::workspace_root;

/// A program that a Debian package has.
pub struct DebianProgram {
    /// What it is called in `PATH` and in the package's `usr/bin`.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
    /// The environment variable that names it.
    pub variable: &'static str,
}

impl DebianProgram {
    /// The file that the variable names, else the program in `PATH`, else that of the package.
    ///
    /// # Errors
    /// Where the variable names no file, or the package is not to be had.
    pub fn locate(&self) -> Result<PathBuf> {
        let Self { program, variable, .. } = self;
        if let Some(path) = env::var_os(variable).map(PathBuf::from) {
            ensure!(path.is_file(), "${variable} is {}, which is no file", path.display());
            return Ok(path);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        match env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file()) {
            Some(found) => Ok(found),
            None => self.unpacked(),
        }
    }

    /// The program of the package, unpacked once.
    fn unpacked(&self) -> Result<PathBuf> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock();
        let Self { program, package, variable } = self;
        let tools = workspace_root().join(".tools");
        let place = tools.join(package);
        let binary = place.join("usr/bin").join(program);
        if binary.is_file() {
            return Ok(binary);
        }
        eprintln!(
            "No {program} in ${variable} or PATH: unpacking Debian's package {package} into {}, once.",
            place.display()
        );
        fs::create_dir_all(&tools)?;
        // Beside its final place, so that an interrupted download is never taken for a whole one.
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&tools)?;
        let run = |program: &str, arguments: &[&str]| self.run(unfinished.path(), program, arguments);
        let download = || run("apt-get", &["download", "--quiet", package]);
        if download().is_err() {
            // The lists of packages may be missing or old. Only root may update them.
            let updated = run("apt-get", &["update", "--quiet"]);
            download().map_err(|error| match updated {
                Ok(()) => error,
                Err(update) => error.context(update),
            })?;
        }
        let deb = fs::read_dir(unfinished.path())?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get download left no package")?;
        run("dpkg", &["-x", &deb.to_string_lossy(), "unpacked"])?;
        let _ = fs::rename(unfinished.path().join("unpacked"), &place);
        ensure!(binary.is_file(), "Debian's package {package} has no usr/bin/{program}");
        Ok(binary)
    }

    fn run(&self, directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
        let advice = format!("install {}, or set ${}", self.program, self.variable);
        let output = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .output()
            .with_context(|| format!("cannot run {program}: {advice}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {}: {}; {advice}", arguments.join(" "), said.trim());
        }
        Ok(())
    }
}
