//! The in-memory Envoy: one worker with one plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use plugin_cases::Exchange;
use plugin_kit::config::ConfigError;
use plugin_kit::{Callbacks, Plugin};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel, Status};

use crate::host::{
    self, Call, Callouts, Clock, Cluster, Host, Metrics, Random, SharedData, properties::joined,
};
use crate::message::{Request, Response, with_port};
use crate::stream::Stream;
use crate::worker::Worker;

/// What an [`Envoy`] starts with.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    log_level: LogLevel,
    shared_data: SharedData,
    seed: u64,
    properties: BTreeMap<Vec<u8>, Vec<u8>>,
    clusters: BTreeMap<String, Cluster>,
}

impl Builder {
    /// Log lines below this level are dropped; `Info` unless given.
    pub const fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// The table of another worker of the same proxy.
    pub fn shared_data(mut self, shared_data: SharedData) -> Self {
        self.shared_data = shared_data;
        self
    }

    /// What the random numbers start from.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// As [`Envoy::set_property`], for `on_configure` too.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(joined(path), value.as_ref().to_vec());
        self
    }

    /// As [`Envoy::set_cluster`], for `on_configure` too.
    pub fn cluster(mut self, name: &str, cluster: Cluster) -> Self {
        self.clusters.insert(name.into(), cluster);
        self
    }

    /// Starts the plugin; a configuration is JSON, and an empty text is none.
    ///
    /// # Errors
    /// The lines that the plugin logged when it refused its configuration.
    pub fn try_start<P: Callbacks>(self, configuration: impl fmt::Display) -> Result<Envoy, Vec<String>> {
        host::want_level(self.log_level);
        let worker = Worker::new(Host {
            callbacks: P::CALLBACKS,
            effective: 0,
            root: 0,
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            deferred: Default::default(),
            configuration: Vec::new(),
            clock: Clock::new(),
            random: Random(self.seed),
            shared_data: self.shared_data,
            metrics: Metrics::default(),
            callouts: Callouts { clusters: self.clusters, ..Callouts::default() },
            properties: self.properties,
            foreign: BTreeMap::new(),
            client: with_port("127.0.0.1"),
            log_level: self.log_level,
            logs: Vec::new(),
            trace: Vec::new(),
            faults: Vec::new(),
            refused: BTreeSet::new(),
        });
        let envoy = Envoy { worker };
        if envoy.configure::<P>(&configuration) { Ok(envoy) } else { Err(envoy.log_lines()) }
    }

    /// Starts the plugin.
    ///
    /// # Panics
    /// Where the plugin refuses the configuration, with what it logged.
    #[track_caller]
    pub fn start<P: Callbacks>(self, configuration: impl fmt::Display) -> Envoy {
        self.try_start::<P>(&configuration).unwrap_or_else(|lines| {
            panic!("the plugin refused its configuration {configuration}: {}", lines.join("; "))
        })
    }
}

/// One worker with one plugin.
///
/// Several can be used at a time: they are the workers of one proxy if they share their [`SharedData`].
pub struct Envoy {
    worker: Worker,
}

impl Envoy {
    /// More than the defaults.
    pub fn builder() -> Builder {
        Builder {
            log_level: LogLevel::Info,
            shared_data: SharedData::default(),
            seed: 1,
            properties: BTreeMap::new(),
            clusters: BTreeMap::new(),
        }
    }

    /// Starts plugin `P` with this configuration: JSON, as text or as a `serde_json::Value`; an empty text is none.
    ///
    /// # Panics
    /// Where the plugin refuses the configuration, with what it logged.
    #[track_caller]
    pub fn start<P: Callbacks>(configuration: impl fmt::Display) -> Self {
        Self::builder().start::<P>(configuration)
    }

    /// Starts no plugin: streams pause at their headers, so that [`Stream::within`] can do what a plugin would.
    pub fn without_plugin() -> Self {
        Self::start::<Idle>("")
    }

    /// What plugin `P` logs when it refuses this configuration.
    ///
    /// # Panics
    /// Where it accepts it.
    #[track_caller]
    pub fn refused<P: Callbacks>(configuration: impl fmt::Display) -> Vec<String> {
        match Self::builder().try_start::<P>(&configuration) {
            Ok(_) => panic!("the plugin accepted the configuration {configuration}"),
            Err(lines) => lines,
        }
    }

    fn configure<P: Callbacks>(&self, configuration: impl fmt::Display) -> bool {
        proxy_wasm::set_root_context(plugin_kit::root_context::<P>);
        let Some(root) = self.worker.configure(configuration.to_string().into_bytes()) else { return false };
        let mut host = self.worker.host();
        host.root = root;
        host.callbacks = P::CALLBACKS;
        drop(host);
        self.worker.retire_roots();
        true
    }

    /// A new configuration for the streams to come. Refused (`false`), the one before stays.
    #[track_caller]
    pub fn reconfigure<P: Callbacks>(&self, configuration: impl fmt::Display) -> bool {
        let accepted = self.configure::<P>(configuration);
        self.worker.check();
        accepted
    }

    /// Sends a request, up to where the plugin pauses, answers, or lets all of it pass.
    #[track_caller]
    pub fn request(&self, request: Request) -> Stream {
        let id = self.worker.request(request);
        self.worker.check();
        Stream::new(self.worker.clone(), id)
    }

    /// A request on its whole way: to the upstream, which answers `response`, and back.
    ///
    /// # Panics
    /// Where the plugin pauses and nothing lets the stream go on.
    #[track_caller]
    pub fn exchange(&self, request: Request, response: Response) -> Exchange {
        self.try_exchange(request, Vec::new(), response).unwrap_or_else(|stuck| panic!("{stuck}"))
    }

    #[track_caller]
    pub(crate) fn try_exchange(
        &self,
        request: Request,
        answers: Vec<Response>,
        response: Response,
    ) -> Result<Exchange, String> {
        let stream = self.request(request);
        let mut calls = Vec::new();
        for answer in answers {
            let Some(call) = self.calls().into_iter().next() else { break };
            self.answer(call.token, answer);
            calls.push(call.into());
        }
        if stream.upstream().is_some() {
            stream.respond(response);
        }
        if stream.is_paused() {
            return Err(format!("the stream is paused; pending calls: {:?}", self.calls()));
        }
        stream.finish();
        Ok(Exchange { upstream: stream.upstream(), response: stream.response(), calls })
    }

    /// A request that Envoy itself turned away as malformed: the plugin gets `on_log` only, without request headers.
    #[track_caller]
    pub fn log_only(&self) -> Stream {
        let id = self.worker.log_only(None);
        self.worker.check();
        Stream::new(self.worker.clone(), id)
    }

    /// A request that an earlier filter answered: the plugin gets `on_log` only, with the headers of both.
    #[track_caller]
    pub fn log_only_of(&self, request: Request, response: Response) -> Stream {
        let id = self.worker.log_only(Some((request, response)));
        self.worker.check();
        Stream::new(self.worker.clone(), id)
    }

    /// Calls as if from a callback of the root context, so that hostcalls are answered.
    pub fn within<R>(&self, call: impl FnOnce() -> R) -> R {
        let root = self.worker.host().root;
        self.worker.within(root, call)
    }

    /// The hostcalls so far that were about no stream: of `on_configure`, of ticks, of answers to the plugin's own calls.
    pub fn hostcalls(&self) -> Vec<String> {
        self.worker.host().trace.clone()
    }

    /// As [`Envoy::hostcalls`], and forgets them.
    pub fn take_hostcalls(&self) -> Vec<String> {
        std::mem::take(&mut self.worker.host().trace)
    }

    /// What was logged so far.
    pub fn logs(&self) -> Vec<(LogLevel, String)> {
        self.worker.host().logs.clone()
    }

    /// What was logged so far, without the levels.
    pub fn log_lines(&self) -> Vec<String> {
        self.logs().into_iter().map(|(_, line)| line).collect()
    }

    /// A counter or gauge; 0 where there is none of that name.
    pub fn metric(&self, name: &str) -> u64 {
        self.worker.host().metrics.value(name)
    }

    /// What a histogram recorded.
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        self.worker.host().metrics.histogram(name)
    }

    /// Every counter and gauge, by name.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.worker.host().metrics.values()
    }

    /// The table that plugins share.
    pub fn shared_data(&self) -> SharedData {
        self.worker.host().shared_data.clone()
    }

    /// Says what a property is, in every phase and for every stream. Numbers are 8 bytes, little endian.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.worker.host().properties.insert(joined(path), value.as_ref().to_vec());
    }

    /// The address of clients, for requests that do not name theirs.
    pub fn set_client(&self, client: &str) {
        self.worker.host().client = with_port(client);
    }

    /// What is known about a cluster; those that are never named here do not exist.
    pub fn set_cluster(&self, name: &str, cluster: Cluster) {
        self.worker.host().callouts.clusters.insert(name.into(), cluster);
    }

    /// Offers a foreign function.
    pub fn set_foreign_function(
        &self,
        name: &str,
        function: impl Fn(&[u8]) -> Result<Vec<u8>, Status> + 'static,
    ) {
        self.worker.host().foreign.insert(name.into(), Rc::new(function));
    }

    /// The wall clock, since the Unix epoch: 2026-01-05T00:00:00Z until a test moves it.
    pub fn wall_clock(&self) -> Duration {
        self.worker.host().clock.wall
    }

    /// From now on both clocks give the plugin an error.
    pub fn fail_clocks(&self) {
        self.worker.host().clock.fails = true;
    }

    /// From now on the host refuses to read or change headers by this call, written as [`Stream::hostcalls`] shows it:
    /// `remove x-user-id`, `request_trailers.remove x-user-id`.
    pub fn refuse(&self, call: &str) {
        self.worker.host().refused.insert(call.into());
    }

    /// Steps the wall clock; the monotonic one, and with it ticks and timeouts, goes on as before.
    pub fn set_wall_clock(&self, since_epoch: Duration) {
        self.worker.host().clock.wall = since_epoch;
    }

    /// Lets time pass: ticks and timeouts happen when they are due, in order.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        self.worker.advance(by);
        self.worker.check();
    }

    /// One tick, now.
    #[track_caller]
    pub fn tick(&self) {
        self.worker.tick();
        self.worker.check();
    }

    /// The calls that wait for their answers, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<_> = self.worker.host().callouts.pending.values().cloned().collect();
        calls.sort_by_key(|call| call.token / 2);
        calls
    }

    /// The only call that waits for its answer.
    ///
    /// # Panics
    /// Where there is none, or more than one.
    #[track_caller]
    pub fn call(&self) -> Call {
        match <[Call; 1]>::try_from(self.calls()) {
            Ok([call]) => call,
            Err(calls) => panic!("not one call is pending, but {}: {calls:?}", calls.len()),
        }
    }

    /// Answers an HTTP call. A cluster that cannot be reached answers 503, too.
    #[track_caller]
    pub fn answer(&self, token: u32, response: Response) {
        self.worker.answer(token, Some(response));
        self.worker.check();
    }

    /// Resets an HTTP call: the plugin gets a callback without headers.
    #[track_caller]
    pub fn reset_call(&self, token: u32) {
        self.worker.answer(token, None);
        self.worker.check();
    }

    /// Answers a gRPC call with a message, or with the status of its failure.
    #[track_caller]
    pub fn answer_grpc(&self, token: u32, answer: Result<Vec<u8>, u32>) {
        self.worker.answer_grpc(token, answer);
        self.worker.check();
    }
}

/// See [`Envoy::without_plugin`].
struct Idle;

impl Plugin for Idle {
    type Config = serde_json::Value;
    type Filter = IdleFilter;

    fn new(_: serde_json::Value) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn filter(&self) -> IdleFilter {
        IdleFilter
    }
}

impl Callbacks for Idle {
    const CALLBACKS: &'static [&'static str] = &["on_http_request_headers", "on_http_response_headers"];
}

struct IdleFilter;

impl Context for IdleFilter {}

impl HttpContext for IdleFilter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Streams that are still open keep theirs.
            self.worker.host().root = 0;
            self.worker.retire_roots();
        }
    }
}
