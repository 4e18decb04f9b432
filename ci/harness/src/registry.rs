//! A running OCI registry.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::debian::DebianProgram;
use crate::eventually::eventually;

const START: Duration = Duration::from_secs(30);
const LAST_LINES: usize = 20;

/// A registry on a loopback port; it and what was pushed to it end with this value.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    directory: TempDir,
    address: String,
}

impl Registry {
    /// Starts one that lets everybody in.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts one that asks for a user: a line of `htpasswd -B`.
    pub fn start_for(user: &str) -> Result<Self> {
        Self::start_with(Some(user))
    }

    fn start_with(user: Option<&str>) -> Result<Self> {
        let registry = DebianProgram {
            program: "docker-registry",
            package: "docker-registry",
            variable: "REGISTRY_BINARY",
        };
        let binary = registry.locate()?;
        let directory = tempfile::Builder::new().prefix("registry-").tempdir()?;
        let place = |file: &str| directory.path().join(file);
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": place("data")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        if let Some(user) = user {
            fs::write(place("htpasswd"), format!("{user}\n"))?;
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": place("htpasswd")}});
        }
        // JSON is YAML too.
        fs::write(place("config.yml"), config.to_string())?;
        let log = fs::File::create(place("log"))?;
        let process = Command::new(&binary)
            .arg("serve")
            .arg(place("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut registry = Self { process, directory, address: String::new() };
        registry.wait_until_it_listens()?;
        Ok(registry)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let mut exited = None;
        let listens = eventually("the registry listens", START, || {
            exited = self.process.try_wait().ok().flatten();
            if exited.is_some() {
                return Some(String::new());
            }
            listens_at(&log(self.directory.path()))
        });
        if let Some(status) = exited {
            bail!("the registry ended with {status}:\n{}", self.last_lines());
        }
        self.address = listens.with_context(|| format!("the registry's log:\n{}", self.last_lines()))?;
        Ok(())
    }

    /// `127.0.0.1` and the port, as the host of a reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn last_lines(&self) -> String {
        let log = log(self.directory.path());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("The last lines of the registry's log:\n{}", self.last_lines());
        }
    }
}

fn log(directory: &Path) -> String {
    fs::read(directory.join("log"))
        .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// It says so once, with the port that it was given.
fn listens_at(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
    // The line may be written in halves.
    rest.contains('\n').then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_off_the_log() {
        let line = "time=\"2026-01-01T00:00:00Z\" level=info msg=\"listening on 127.0.0.1:40123\" go.version=go1.19\n";
        assert_eq!(listens_at(line).as_deref(), Some("127.0.0.1:40123"));
        assert_eq!(listens_at(&line[..line.len() - 30]), None);
    }
}
