//! Finding promtool, Prometheus's own checks, and fetching it where there is none.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::workspace_root;

/// promtool, ready to be asked.
#[derive(Clone, Debug)]
pub struct Promtool(PathBuf);

impl Promtool {
    /// `$PROMTOOL`, else `promtool` of `PATH`, else that of Debian's package `prometheus`, unpacked into `.tools/`:
    /// nothing is installed, and no server is started.
    pub fn locate() -> Result<Self> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock();
        if let Some(path) = env::var_os("PROMTOOL").map(PathBuf::from) {
            ensure!(path.is_file(), "$PROMTOOL is {}, which is no file", path.display());
            return Ok(Self(path));
        }
        let in_path = env::var_os("PATH")
            .and_then(|path| env::split_paths(&path).map(|dir| dir.join("promtool")).find(|it| it.is_file()));
        match in_path {
            Some(path) => Ok(Self(path)),
            None => from_debian().map(Self).context("no promtool in $PROMTOOL or PATH, and none to be had"),
        }
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs it with these arguments and this input: everything it says, and whether it was content.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<(bool, String)> {
        let mut child = Command::new(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.0.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// Runs it with these arguments.
    ///
    /// # Errors
    /// What it says, where it is not content.
    pub fn check(&self, arguments: &[&str]) -> Result<String> {
        let (content, said) = self.run(arguments, "")?;
        ensure!(content, "promtool {}:\n{}", arguments.join(" "), said.trim());
        Ok(said)
    }
}

fn from_debian() -> Result<PathBuf> {
    let tools = workspace_root().join(".tools");
    let place = tools.join("prometheus");
    let binary = place.join("usr/bin/promtool");
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!(
        "No promtool in $PROMTOOL or PATH: unpacking Debian's package prometheus into {}, once.",
        place.display()
    );
    fs::create_dir_all(&tools)?;
    // Beside its final place, so that an interrupted download is never taken for a whole one.
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&tools)?;
    command("apt-get", &["download", "--quiet", "prometheus"], unfinished.path())?;
    let package = fs::read_dir(unfinished.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    command("dpkg", &["-x", &package.to_string_lossy(), "unpacked"], unfinished.path())?;
    let _ = fs::rename(unfinished.path().join("unpacked"), &place);
    ensure!(binary.is_file(), "Debian's package has no usr/bin/promtool");
    Ok(binary)
}

fn command(program: &str, arguments: &[&str], directory: &Path) -> Result<()> {
    const ADVICE: &str = "install Prometheus (https://prometheus.io/download), or set $PROMTOOL";
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .with_context(|| format!("cannot run {program}: {ADVICE}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}; {ADVICE}", arguments.join(" "), said.trim());
    }
    Ok(())
}
