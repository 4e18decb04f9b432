//! What a person waiting at a terminal sees; a log gets one line.

use indicatif::{ProgressBar, ProgressStyle};

/// A part of the work that takes steps.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins.
    pub fn start(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_prefix(what);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}, {eta} left") {
            bar.set_style(style);
        }
        if bar.is_hidden() {
            eprintln!("{what}: {steps} steps");
        }
        Self(bar)
    }

    /// One more step.
    pub fn step(&self, doing: &str) {
        self.0.set_message(doing.to_owned());
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
