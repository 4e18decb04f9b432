//! Finding promtool, Prometheus's own checks, and fetching it where there is none.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::debian::DebianProgram;

/// promtool, ready to be asked.
#[derive(Clone, Debug)]
pub struct Promtool(PathBuf);

impl Promtool {
    /// `$PROMTOOL`, else `promtool` of `PATH`, else that of Debian's package `prometheus`, unpacked into `.tools/`:
    /// nothing is installed, and no server is started.
    pub fn locate() -> Result<Self> {
        let promtool = DebianProgram { program: "promtool", package: "prometheus", variable: "PROMTOOL" };
        promtool.locate().map(Self)
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
