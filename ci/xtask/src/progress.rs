//! What a person waiting at a terminal sees; a log gets one line.

use std::time::Duration;

use indicatif::ProgressBar;

pub struct Progress(ProgressBar);

impl Progress {
    pub fn start(what: String) -> Self {
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            eprintln!("{what}");
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Whether there is a terminal.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
