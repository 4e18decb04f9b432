//! The rate limit service of `ci/rls`, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A service that ends with this value.
pub struct Service {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Service {
    /// Builds it, if need be, and starts it, on an address where no client takes the port when it has gone. One that an
    /// Envoy takes would ask itself.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::at("127.0.0.78:0", arguments)
    }

    /// Starts it where another one was.
    pub fn at(address: &str, arguments: &[&str]) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "--package", "rls"]).status()?;
        ensure!(built.success(), "rls does not build");
        // target/debug/deps/<test>-… is this test.
        let test = std::env::current_exe()?;
        let binary = test.ancestors().nth(2).context("no target directory")?.join("rls");
        let mut process = Command::new(&binary)
            .args(["--listen", address])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().parse().context("not an address")? })
    }

    /// Takes its time away, as an overloaded machine or a debugger does: connections stay, and nobody answers.
    pub fn stop(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Gives it back.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let command = format!("kill -{signal} {}", self.process.id());
        ensure!(Command::new("sh").args(["-c", &command]).status()?.success(), "{command}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
