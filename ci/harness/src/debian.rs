//! Programs out of Debian's packages, unpacked under `.tools/`: nothing is installed, and no daemon is started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tools::{install_once, run_step};

/// A program that a Debian package has.
pub struct DebianProgram {
    /// Its name in `PATH` and in `usr/bin` or `usr/sbin` of the package.
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
        let Self { program, package, variable } = self;
        let place =
            install_once(package, &format!("Debian's package {package}"), |place| self.unpack(place))?;
        let found = ["usr/bin", "usr/sbin"].map(|dir| place.join(dir).join(program));
        found.into_iter().find(|path| path.is_file()).with_context(|| {
            format!("Debian's package {package} has no {program}: install it, or set ${variable}")
        })
    }

    fn unpack(&self, place: &Path) -> Result<()> {
        let Self { program, package, variable } = self;
        let advice = format!("install {program}, or set ${variable}");
        let run = |program: &str, arguments: &[&str]| {
            run_step(Command::new(program).args(arguments).current_dir(place), &advice)
        };
        let download = || run("apt-get", &["download", "--quiet", package]);
        if download().is_err() {
            // The lists of packages may be missing or old. Only root may update them.
            let updated = run("apt-get", &["update", "--quiet"]);
            download().map_err(|error| match updated {
                Ok(()) => error,
                Err(update) => error.context(update),
            })?;
        }
        let deb = fs::read_dir(place)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get download left no package")?;
        run("dpkg", &["-x", &deb.to_string_lossy(), "."])?;
        fs::remove_file(deb)?;
        Ok(())
    }
}
