//! Waiting for what will happen, without guessing when.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and gives up after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("not within {limit:?}: {what}");
        }
        thread::sleep(PAUSE);
    }
}
