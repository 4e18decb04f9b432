//! A running Envoy.

mod locate;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use locate::locate;

use crate::bootstrap::{Bootstrap, Filter, ecds_file};
use crate::client::Client;
use crate::eventually::eventually;
use crate::message::Message;

/// Compiling every plugin of the chain takes a while on a busy machine.
const START: Duration = Duration::from_secs(120);
const LAST_LINES: usize = 40;
/// What is in the log when a VM has died.
const DEATH: [&str; 4] =
    ["Uncaught RuntimeError", "Proxy-Wasm plugin in-VM backtrace", "wasm trap", "panicked at"];

/// An Envoy process; it ends with this value, and its last log lines are shown where a test panics.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    directory: TempDir,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    discovered: Vec<(String, String)>,
    version: AtomicU64,
}

/// A plugin whose configuration Envoy did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `<namespace>.<name>` of the `WasmPlugin`.
    pub instance: String,
    /// What the log says about it.
    pub log: Vec<String>,
}

impl Envoy {
    pub(crate) fn start(bootstrap: Bootstrap) -> Result<Self> {
        let binary = locate()?;
        let directory = tempfile::Builder::new().prefix("envoy-").tempdir()?;
        let place = |file: &str| directory.path().join(file).to_string_lossy().into_owned();
        let discovered =
            bootstrap.listeners.iter().flat_map(|listener| &listener.filters).filter_map(discovered);
        let mut instances = Vec::new();
        for filter in discovered {
            let name = filter["name"].as_str().context("a filter without a name")?;
            let instance = filter["typed_config"]["config"]["name"].as_str().unwrap_or(name);
            write_ecds(directory.path(), filter, 0)?;
            instances.push((name.to_owned(), instance.to_owned()));
        }
        fs::write(place("bootstrap.json"), bootstrap.json(&place)?.to_string())?;
        let log = fs::File::create(place("envoy.log"))?;
        let process = Command::new(&binary)
            .args(["-c", &place("bootstrap.json"), "--admin-address-path", &place("admin")])
            .args(["--concurrency", &bootstrap.concurrency.to_string(), "--disable-hot-restart"])
            .args(["-l", "warning", "--component-log-level", &bootstrap.log_level])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut envoy = Self {
            process,
            directory,
            admin: ([127, 0, 0, 1], 0).into(),
            listeners: BTreeMap::new(),
            discovered: instances,
            version: AtomicU64::new(1),
        };
        envoy.wait_until_it_serves()?;
        Ok(envoy)
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        let address = self.directory.path().join("admin");
        let mut exited = None;
        let ready = eventually("Envoy serves", START, || {
            exited = self.process.try_wait().ok().flatten();
            if exited.is_some() {
                return Some(());
            }
            self.admin = fs::read_to_string(&address).ok()?.trim().parse().ok()?;
            let live = self.get("/ready").is_ok_and(|answer| answer.trim() == "LIVE");
            (live && self.stat("listener_manager.workers_started") == Some(1)).then_some(())
        });
        if let Some(status) = exited {
            bail!("Envoy ended with {status}:\n{}", self.log());
        }
        ready.with_context(|| format!("Envoy's log:\n{}", self.last_lines()))?;
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json")?)?;
        for listener in listeners["listener_statuses"].as_array().into_iter().flatten() {
            let name = listener["name"].as_str().context("a listener without a name")?;
            let port = listener["local_address"]["socket_address"]["port_value"].as_u64();
            let port = u16::try_from(port.context("a listener without a port")?)?;
            self.listeners.insert(name.into(), ([127, 0, 0, 1], port).into());
        }
        Ok(())
    }

    /// Where a listener listens.
    ///
    /// # Panics
    /// Where there is no such listener.
    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.listeners.get(listener) {
            Some(address) => *address,
            None => panic!("there is no listener {listener:?}, only {:?}", self.listeners.keys()),
        }
    }

    /// Where the admin interface is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Envoy's process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Configuration and logs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file of the log.
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join("envoy.log")
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read(self.log_file())
            .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks the admin interface.
    pub fn get(&self, path: &str) -> Result<String> {
        self.ask(&Message::get(path))
    }

    /// Tells the admin interface, such as `/logging?wasm=trace`.
    pub fn post(&self, path: &str) -> Result<String> {
        self.ask(&Message::post(path, ""))
    }

    fn ask(&self, message: &Message) -> Result<String> {
        let answer = Client::new(self.admin).send(message)?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status == 200, "{}: {} {body}", String::from_utf8_lossy(&message.path), answer.status);
        Ok(body)
    }

    /// The counters and gauges whose names contain `part`.
    pub fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>> {
        let stats = self.get("/stats")?;
        let pairs = stats.lines().filter_map(|line| line.rsplit_once(": "));
        Ok(pairs
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// One counter or gauge.
    pub fn stat(&self, name: &str) -> Option<u64> {
        self.stats(name).ok()?.remove(name)
    }

    /// How much of its memory is resident, in KiB: with what its allocator keeps, and what V8 takes to compile.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// How much its allocator has handed out, in KiB: shared data and all else but the modules' own memory.
    pub fn allocated_kib(&self) -> Result<u64> {
        let memory: Value = serde_json::from_str(&self.get("/memory")?)?;
        Ok(memory["allocated"].as_str().context("no allocated")?.parse::<u64>()? / 1024)
    }

    /// All metrics as Prometheus reads them.
    pub fn prometheus(&self) -> Result<String> {
        self.get("/stats/prometheus")
    }

    /// Replaces a filter that came by ECDS, by renaming a file over its file.
    pub fn push(&self, filter: &Value) -> Result<()> {
        write_ecds(self.directory.path(), filter, self.version.fetch_add(1, Ordering::Relaxed))
    }

    /// How often Envoy took a pushed filter, and how often it did not.
    pub fn updates(&self, filter: &Value) -> Result<(u64, u64)> {
        let name = filter["name"].as_str().unwrap_or_default();
        let stats = self.stats(&format!("{name}."))?;
        let count = |what: &str| {
            stats
                .iter()
                .find(|(stat, _)| stat.ends_with(&format!("{name}.{what}")))
                .map_or(0, |(_, value)| *value)
        };
        Ok((count("update_success"), count("update_rejected") + count("config_fail")))
    }

    /// The filters that came by ECDS and were not taken.
    pub fn refused(&self) -> Result<Vec<Refused>> {
        let log = self.log();
        let stats = self.stats("extension_config_discovery.http_filter.")?;
        let refused = |name: &str| {
            stats.iter().any(|(stat, value)| {
                *value > 0
                    && (stat.ends_with(&format!("{name}.update_rejected"))
                        || stat.ends_with(&format!("{name}.config_fail")))
            })
        };
        Ok(self
            .discovered
            .iter()
            .filter(|(name, _)| refused(name))
            .map(|(_, instance)| Refused { instance: instance.clone(), log: about(&log, instance) })
            .collect())
    }

    /// The signs that a VM died, from the log and the stats; none while all is well.
    pub fn deaths(&self) -> Result<Vec<String>> {
        let reloads = self.stats(".vm_reload")?;
        let reloads = reloads.into_iter().filter(|(_, value)| *value > 0);
        let mut signs: Vec<String> = reloads.map(|(name, value)| format!("{name}: {value}")).collect();
        let log = self.log();
        let lines = log.lines().filter(|line| DEATH.iter().any(|sign| line.contains(sign)));
        signs.extend(lines.map(str::to_owned));
        Ok(signs)
    }

    /// The end of the log, for a message about a failure.
    pub fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("The last lines of Envoy's log:\n{}", self.last_lines());
        }
    }
}

fn discovered(filter: &Filter) -> Option<&Value> {
    match filter {
        Filter::Static(_) => None,
        Filter::Discovered(filter) => Some(filter),
    }
}

/// The errors that came before Envoy gave up on this plugin. While a plugin is configured its log lines carry only its
/// `pluginName`, which other instances have too.
fn about(log: &str, instance: &str) -> Vec<String> {
    let verdict = format!("Plugin {instance} failed to load");
    let mut errors = Vec::new();
    for line in log.lines() {
        if line.ends_with(&verdict) {
            break;
        } else if line.contains(" failed to load") {
            errors.clear();
        } else if line.contains("[error]") {
            // [time][thread][level][component] [source:line] message
            errors.push(line.splitn(3, "] ").last().unwrap_or(line).to_owned());
        }
    }
    errors
}

fn write_ecds(directory: &Path, filter: &Value, version: u64) -> Result<()> {
    let name = filter["name"].as_str().context("a filter without a name")?;
    let discovery = json!({
        "version_info": version.to_string(),
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": name,
            "typed_config": filter["typed_config"],
        }],
    });
    let file = directory.join(ecds_file(name));
    let next = file.with_extension("next");
    fs::write(&next, discovery.to_string())?;
    // Envoy watches for renames: it never sees half a file.
    fs::rename(&next, &file).with_context(|| format!("cannot replace {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_plugin_that_was_refused() {
        let log = "\
[2026-01-01 00:00:00.000][1][error][wasm] [source/context.cc:1157] wasm log a: invalid configuration: x: no
[2026-01-01 00:00:00.000][1][critical][wasm] [source/wasm.cc:626] Plugin default.a-1 failed to load
[2026-01-01 00:00:00.000][1][debug][wasm] [source/wasm.cc:83] Base Wasm created 3 now active
[2026-01-01 00:00:00.000][1][error][wasm] [source/context.cc:1157] wasm log a: invalid configuration: y: no
[2026-01-01 00:00:00.000][1][critical][wasm] [source/wasm.cc:626] Plugin default.a-2 failed to load
";
        assert_eq!(about(log, "default.a-1"), ["wasm log a: invalid configuration: x: no"]);
        assert_eq!(about(log, "default.a-2"), ["wasm log a: invalid configuration: y: no"]);
    }
}
