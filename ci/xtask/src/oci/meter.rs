//! How far an upload is; a log gets one line a layer.

use indicatif::{ProgressBar, ProgressStyle};
use oci::Blob;

use super::build::size;

pub struct Meter(ProgressBar);

impl Meter {
    pub fn start(plugin: &str, blob: &Blob) -> Self {
        let bytes = blob.bytes.len() as u64;
        let bar = ProgressBar::new(bytes);
        if bar.is_hidden() {
            eprintln!("{plugin}: sending {}, {}", blob.media_type, size(bytes));
        }
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
        {
            bar.set_style(style);
        }
        bar.set_message(format!("{plugin}: {}", blob.media_type));
        Self(bar)
    }

    /// To be called with the bytes that are sent.
    pub fn counter(&self) -> impl Fn(usize) + Send + 'static {
        let bar = self.0.clone();
        move |bytes| bar.inc(bytes as u64)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
