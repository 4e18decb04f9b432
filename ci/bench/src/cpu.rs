//! What a thread has cost, and where it may run.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
#[cfg(target_os = "linux")]
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

const PAUSE: Duration = Duration::from_micros(200);
/// How long a worker is given to come to rest, in pauses.
const PATIENCE: u32 = 5_000;

/// Envoy's only worker thread.
pub struct Worker {
    task: PathBuf,
}

impl Worker {
    /// Of this Envoy.
    pub fn of(process: u32) -> Result<Self> {
        for task in tasks(process)? {
            if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "wrk:worker_0") {
                return Ok(Self { task });
            }
        }
        bail!("process {process} has no thread wrk:worker_0")
    }

    /// The CPU time it has had, in nanoseconds, once it sleeps: what it does after its last answer belongs to that, and
    /// the kernel's figure for a thread that runs is old.
    pub fn cpu_time(&self) -> Result<u64> {
        for _ in 0..PATIENCE {
            let stat = fs::read_to_string(self.task.join("stat"))?;
            if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
                let schedstat = fs::read_to_string(self.task.join("schedstat"))?;
                return schedstat
                    .split(' ')
                    .next()
                    .context("an empty schedstat")?
                    .parse()
                    .map_err(Into::into);
            }
            thread::sleep(PAUSE);
        }
        bail!("Envoy's worker never rests")
    }
}

/// The threads of a process.
fn tasks(process: u32) -> Result<Vec<PathBuf>> {
    let tasks =
        fs::read_dir(format!("/proc/{process}/task")).context("only Linux says what a thread costs")?;
    Ok(tasks.flatten().map(|task| task.path()).collect())
}

/// Where the load and Envoy run: on two cores, so that neither takes the other's time.
pub struct Cores(Option<(usize, usize)>);

#[cfg(target_os = "linux")]
impl Cores {
    /// Puts this thread, and those that it starts from now on, on one core, and keeps another for Envoy. Where there is
    /// one core only, it is shared.
    pub fn part() -> Result<Self> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let [first, .., last] = cores[..] else { return Ok(Self(None)) };
        sched_setaffinity(None, &only(first))?;
        Ok(Self(Some((first, last))))
    }

    /// Puts all threads of an Envoy on its core.
    pub fn give(&self, envoy: u32) -> Result<()> {
        let Some((_, core)) = self.0 else { return Ok(()) };
        for task in tasks(envoy)? {
            let id = task.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw);
            sched_setaffinity(id, &only(core))?;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Elsewhere cores are not chosen.
#[cfg(not(target_os = "linux"))]
impl Cores {
    /// Shares all of them.
    pub fn part() -> Result<Self> {
        Ok(Self(None))
    }

    /// Does nothing.
    pub fn give(&self, _envoy: u32) -> Result<()> {
        Ok(())
    }
}
