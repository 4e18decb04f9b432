//! What the in-memory Envoy knows, and what it answers to a plugin's hostcalls.
//!
//! The state of a worker is current only while a callback runs; that is how the imports, which have no argument for
//! it, find it. Nothing here calls the plugin: see [`crate::worker`].

mod buffers;
mod callouts;
mod clock;
mod headers;
mod metrics;
pub(crate) mod properties;
mod replies;
mod shared_data;
mod streams;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proxy_wasm::types::{LogLevel, Status};

pub(crate) use callouts::{Answering, Callouts};
pub use callouts::{Call, Cluster};
pub(crate) use clock::{Clock, Random};
pub(crate) use headers::{HeaderMap, Kind, Line};
pub(crate) use metrics::Metrics;
pub use replies::LocalReply;
pub use shared_data::SharedData;
pub(crate) use streams::{Flow, Part, Side, StreamState};

use crate::abi::memory;

/// What a hostcall answers.
pub(crate) type HostResult<T> = Result<T, Status>;

/// What a foreign function does: arguments to results.
pub(crate) type Foreign = Rc<dyn Fn(&[u8]) -> HostResult<Vec<u8>>>;

/// A root context.
pub(crate) struct Root {
    /// The period, and when it next ends on the monotonic clock.
    pub(crate) tick: Option<(Duration, Duration)>,
}

/// What a hostcall asked for and Envoy does once the callback has returned.
pub(crate) enum Deferred {
    Reply(LocalReply),
    Continue(Side),
    Reset,
}

/// One worker: a VM with its contexts, and the Envoy around it.
pub(crate) struct Host {
    /// The callbacks that the module exports.
    pub(crate) callbacks: &'static [&'static str],
    /// The context that hostcalls are about.
    pub(crate) effective: u32,
    /// The root context of new streams.
    pub(crate) root: u32,
    pub(crate) roots: BTreeMap<u32, Root>,
    pub(crate) streams: BTreeMap<u32, StreamState>,
    pub(crate) deferred: VecDeque<(u32, Deferred)>,
    /// What `on_configure` can read.
    pub(crate) configuration: Vec<u8>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) shared_data: SharedData,
    pub(crate) metrics: Metrics,
    pub(crate) callouts: Callouts,
    /// What the test says that properties are, by path.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) foreign: BTreeMap<String, Foreign>,
    /// The client of requests that do not name theirs.
    pub(crate) client: String,
    pub(crate) log_level: LogLevel,
    pub(crate) logs: Vec<(LogLevel, String)>,
    /// The hostcalls that are about no stream.
    pub(crate) trace: Vec<String>,
    /// What the plugin did that it must never do.
    pub(crate) faults: Vec<String>,
    /// The hostcalls that fail, as they are traced.
    pub(crate) refused: BTreeSet<String>,
}

impl Host {
    pub(crate) fn trace(&mut self, line: String) {
        match self.effective_stream_mut() {
            Some(stream) => stream.trace.push(line),
            None => self.trace.push(line),
        }
    }

    pub(crate) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    pub(crate) fn effective_stream(&self) -> Option<&StreamState> {
        self.streams.get(&self.effective)
    }

    pub(crate) fn effective_stream_mut(&mut self) -> Option<&mut StreamState> {
        self.streams.get_mut(&self.effective)
    }

    /// The root of the effective context, or itself.
    pub(crate) fn effective_root(&self) -> u32 {
        self.effective_stream().map_or(self.effective, |stream| stream.root)
    }

    pub(crate) fn set_effective_context(&mut self, context: u32) -> HostResult<()> {
        let known = self.roots.contains_key(&context) || self.streams.contains_key(&context);
        self.effective = if known { context } else { return Err(Status::BadArgument) };
        Ok(())
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: String) {
        if (level as u32) < self.log_level as u32 {
            return;
        }
        self.trace(format!("log {}", name_of(level)));
        self.logs.push((level, message));
    }

    pub(crate) fn foreign_function(&mut self, name: &str) -> HostResult<Foreign> {
        self.trace(format!("foreign {name}"));
        if name == "clear_route_cache" && !self.foreign.contains_key(name) {
            return Ok(Rc::new(|_| Ok(Vec::new())));
        }
        self.foreign.get(name).cloned().ok_or(Status::NotFound)
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<Rc<RefCell<Host>>>> = const { RefCell::new(Vec::new()) };
}

/// Calls with the state of the worker whose callback is running; `None` where none is.
pub(crate) fn with<R>(call: impl FnOnce(&mut Host) -> R) -> Option<R> {
    let _uncounted = memory::counting(false);
    let host = CURRENT.try_with(|current| current.borrow().last().cloned()).ok()??;
    // A panic of our own is logged through the SDK while the state is still borrowed.
    let mut host = host.try_borrow_mut().ok()?;
    Some(call(&mut host))
}

/// Whether a callback is running on this thread.
pub(crate) fn is_in_callback() -> bool {
    CURRENT.with(|current| !current.borrow().is_empty())
}

/// `host` is current, and `context` is what its hostcalls are about, until this is dropped.
pub(crate) struct Entered {
    previous: u32,
    allocated: u64,
    context: u32,
    _counting: memory::Switched,
}

pub(crate) fn enter(host: &Rc<RefCell<Host>>, context: u32) -> Entered {
    let previous = std::mem::replace(&mut host.borrow_mut().effective, context);
    CURRENT.with(|current| current.borrow_mut().push(Rc::clone(host)));
    if (host.borrow().log_level as u32) < LogLevel::Info as u32 {
        proxy_wasm::set_log_level(reported_level());
    }
    Entered { previous, context, allocated: memory::counted(), _counting: memory::counting(true) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let allocated = memory::counted() - self.allocated;
        if let Some(host) = CURRENT.with(|current| current.borrow_mut().pop())
            && let Ok(mut host) = host.try_borrow_mut()
        {
            host.effective = self.previous;
            if let Some(stream) = host.streams.get_mut(&self.context) {
                stream.allocations += allocated;
            }
        }
    }
}

/// Numbers of contexts and calls. They are never reused: the SDK keeps its contexts by thread, and test threads are
/// reused.
pub(crate) fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The most verbose level that any test of this process asked for. The SDK's logger is one for all threads, so each
/// worker tells it this, and drops what is below its own level itself.
static MOST_VERBOSE: AtomicU32 = AtomicU32::new(LogLevel::Info as u32);

pub(crate) fn want_level(level: LogLevel) {
    static FIRST: Once = Once::new();
    MOST_VERBOSE.fetch_min(level as u32, Ordering::Relaxed);
    // The SDK installs its logger at the first call, and two of those at a time would panic.
    FIRST.call_once(|| proxy_wasm::set_log_level(reported_level()));
}

pub(crate) fn reported_level() -> LogLevel {
    level(MOST_VERBOSE.load(Ordering::Relaxed))
}

pub(crate) fn level(level: u32) -> LogLevel {
    match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4 => LogLevel::Error,
        _ => LogLevel::Critical,
    }
}

pub(crate) fn name_of(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Critical => "critical",
    }
}
