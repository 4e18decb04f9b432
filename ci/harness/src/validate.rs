//! Whether Envoy would take a filter, without serving anything.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bootstrap::{Bootstrap, Listener};
use crate::envoy::locate;

/// Asks `envoy --mode validate`, which loads and configures the module; on a refusal, the errors it logged.
///
/// `environment` is what the proxy's container would have, for `host_env_keys`.
pub fn validate(filter: &Value, environment: &[(String, String)]) -> Result<Result<(), Vec<String>>> {
    let directory = tempfile::Builder::new().prefix("validate-").tempdir()?;
    let file = directory.path().join("bootstrap.json");
    // A static filter: what comes by ECDS is not looked at in this mode.
    let listener = Listener::new("validate").filter(filter.clone());
    let upstream = ([127, 0, 0, 1], 9).into();
    let bootstrap = Bootstrap::new().cluster("upstream", upstream).listener(listener);
    fs::write(&file, bootstrap.json(&|name| name.to_owned())?.to_string())?;
    let envoy = locate()?;
    let output = Command::new(&envoy)
        .arg("-c")
        .arg(&file)
        .args(["--mode", "validate", "-l", "warning", "--component-log-level", "wasm:error"])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", envoy.display()))?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(said(&String::from_utf8_lossy(&output.stderr), &String::from_utf8_lossy(&output.stdout))))
}

/// The plugin's own errors; where it had none, Envoy's.
fn said(log: &str, verdict: &str) -> Vec<String> {
    let errors: Vec<_> = log.lines().filter_map(|line| line.split_once("wasm log ")).collect();
    if !errors.is_empty() {
        // <instance> <root id>: message
        let message =
            |(_, rest): &(_, &str)| rest.split_once(": ").map_or(*rest, |(_, message)| message).to_owned();
        return errors.iter().map(message).collect();
    }
    let lines = log.lines().chain(verdict.lines());
    let told = lines.filter(|line| {
        line.contains("[error]") || line.contains("[critical]") || line.contains("error initializing")
    });
    told.map(|line| line.rsplit("] ").next().unwrap_or(line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_own_words_come_without_envoys() {
        let log = "\
[2026-01-01 00:00:00.000][1][error][wasm] [source/context.cc:1157] wasm log a: invalid configuration: x: no
[2026-01-01 00:00:00.000][1][critical][wasm] [source/wasm.cc:626] Plugin default.a failed to load
";
        assert_eq!(said(log, ""), ["invalid configuration: x: no"]);
    }

    #[test]
    fn without_any_envoy_speaks() {
        let log = "[2026-01-01 00:00:00.000][1][error][wasm] [source/wasm.cc:2] Failed to load Wasm code\n";
        assert_eq!(said(log, ""), ["Failed to load Wasm code"]);
    }
}
