//! One runtime for the process, so that tests are plain functions.

use std::future::Future;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("the operating system gives us threads"));

pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(future);
}

/// Waits for Ctrl-C.
pub fn until_interrupted() -> Result<()> {
    block_on(tokio::signal::ctrl_c()).context("cannot wait for Ctrl-C")
}
