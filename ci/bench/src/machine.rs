//! Where it is measured, and with what.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use crate::report::Machine;

impl Machine {
    /// This one.
    pub fn here() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let envoy = harness::locate()?;
        let version = said(&envoy.to_string_lossy(), &["--version"])?;
        Ok(Self {
            date: said("date", &["-u", "+%F"])?,
            processor: processor.map_or("an unknown processor", |(_, name)| name).into(),
            cores: thread::available_parallelism()?.get(),
            kernel: said("uname", &["-sr"])?,
            // envoy  version: <commit>/<version>/…
            envoy: version
                .split('/')
                .find(|part| part.starts_with(|first: char| first.is_ascii_digit()) && part.contains('.'))
                .unwrap_or(&version)
                .into(),
            rustc: said("rustc", &["--version"])?,
        })
    }
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
