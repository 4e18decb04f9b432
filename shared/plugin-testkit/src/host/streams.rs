//! A request and its response on their way through the plugin.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use plugin_cases::{SeenRequest, SeenResponse};
use proxy_wasm::types::Status;

use super::{Clock, Deferred, HeaderMap, Host, HostResult, Line, LocalReply};

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// A part of a message that has not yet been given to the plugin.
#[derive(Debug)]
pub(crate) enum Part {
    Headers { end: bool },
    Body { chunk: Vec<u8>, end: bool },
    Trailers,
}

/// A message on its way through the plugin.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) headers: Option<HeaderMap>,
    trailers: Option<HeaderMap>,
    /// Whether the plugin may use the map: from its callback until it lets go of it.
    pub(crate) headers_open: bool,
    pub(crate) trailers_open: bool,
    /// The body as far as the plugin has not let go of it.
    pub(crate) buffer: Vec<u8>,
    pub(crate) buffer_open: bool,
    pub(crate) rewritten: bool,
    /// The body as far as it has passed.
    pub(crate) sent: Vec<u8>,
    pub(crate) todo: VecDeque<Part>,
    /// `Pause` in a headers or trailers callback: nothing more is given to the plugin.
    pub(crate) stopped: bool,
    /// `Pause` in a body callback: the body is held back and what follows is given to the plugin.
    pub(crate) held: bool,
    pub(crate) headers_passed: bool,
    /// Nothing more will happen.
    pub(crate) over: bool,
}

impl Flow {
    pub(crate) const fn new() -> Self {
        Self {
            headers: None,
            trailers: None,
            headers_open: false,
            trailers_open: false,
            buffer: Vec::new(),
            buffer_open: false,
            rewritten: false,
            sent: Vec::new(),
            todo: VecDeque::new(),
            stopped: false,
            held: false,
            headers_passed: false,
            over: false,
        }
    }

    /// Bodies end as those of HTTP/1.1 do: with an empty chunk, which is the end.
    pub(crate) fn start(headers: HeaderMap, chunks: Vec<Vec<u8>>, trailers: HeaderMap) -> Self {
        let mut flow = Self::new();
        let with_trailers = trailers.len() > 0;
        flow.todo.push_back(Part::Headers { end: chunks.is_empty() && !with_trailers });
        let with_body = !chunks.is_empty();
        flow.todo.extend(chunks.into_iter().map(|chunk| Part::Body { chunk, end: false }));
        if with_trailers {
            flow.todo.push_back(Part::Trailers);
        } else if with_body {
            flow.todo.push_back(Part::Body { chunk: Vec::new(), end: true });
        }
        flow.headers = Some(headers);
        flow.trailers = Some(trailers);
        flow
    }

    pub(crate) fn next(&mut self) -> Option<Part> {
        if self.stopped || self.over { None } else { self.todo.pop_front() }
    }

    pub(crate) const fn is_paused(&self) -> bool {
        !self.over && (self.stopped || self.held)
    }

    /// Whether everything has passed.
    pub(crate) fn has_passed(&self) -> bool {
        !self.over && !self.stopped && !self.held && self.headers_passed && self.todo.is_empty()
    }

    /// Envoy lets go of the maps at once, and of the message after the callback.
    pub(crate) fn close(&mut self) {
        self.headers_open = false;
        self.trailers_open = false;
        self.buffer_open = false;
    }

    pub(crate) fn stop(&mut self) {
        self.close();
        self.over = true;
    }

    pub(crate) fn pass_body(&mut self) {
        self.held = false;
        self.buffer_open = false;
        self.sent.append(&mut self.buffer);
    }

    /// What was buffered while the stream was stopped comes as one chunk.
    pub(crate) fn resume(&mut self) {
        if self.held {
            self.pass_body();
        }
        if self.stopped {
            self.stopped = false;
            self.headers_passed = true;
            let mut merged: Option<(Vec<u8>, bool)> = None;
            let mut rest = VecDeque::new();
            for part in self.todo.drain(..) {
                match part {
                    Part::Body { chunk, end } => {
                        let (body, ended) = merged.get_or_insert_default();
                        body.extend(chunk);
                        *ended |= end;
                    }
                    other => rest.push_back(other),
                }
            }
            if let Some((chunk, end)) = merged {
                rest.push_front(Part::Body { chunk, end });
            }
            self.todo = rest;
        }
        self.close();
    }

    pub(super) fn readable_headers(&self, logging: bool) -> Option<&HeaderMap> {
        self.headers.as_ref().filter(|_| self.headers_open || logging)
    }

    pub(super) fn readable_trailers(&self, logging: bool) -> Option<&HeaderMap> {
        self.trailers.as_ref().filter(|trailers| self.trailers_open || logging && trailers.len() > 0)
    }

    pub(super) fn open_headers(&mut self) -> Option<&mut HeaderMap> {
        self.headers.as_mut().filter(|_| self.headers_open)
    }

    pub(super) fn open_trailers(&self) -> Option<&HeaderMap> {
        self.readable_trailers(false)
    }

    pub(super) fn open_trailers_mut(&mut self) -> Option<&mut HeaderMap> {
        self.trailers.as_mut().filter(|_| self.trailers_open)
    }

    pub(crate) fn trailers_len(&self) -> usize {
        self.trailers.as_ref().map_or(0, HeaderMap::len)
    }

    pub(crate) fn trailers(&self) -> Vec<Line> {
        self.trailers.as_ref().map(HeaderMap::plain).unwrap_or_default()
    }
}

/// A stream: one HTTP context of the plugin.
pub(crate) struct StreamState {
    pub(crate) root: u32,
    pub(crate) started: Clock,
    pub(crate) client: String,
    pub(crate) is_grpc: bool,
    pub(crate) is_head: bool,
    pub(crate) request: Flow,
    pub(crate) response: Flow,
    /// `on_log` is running.
    pub(crate) logging: bool,
    /// The stream has ended, and `on_log` is next.
    pub(crate) ended: bool,
    /// The plugin's context exists.
    pub(crate) alive: bool,
    /// A local reply was asked for.
    pub(crate) replied: bool,
    pub(crate) was_reset: bool,
    pub(crate) local_reply: Option<LocalReply>,
    pub(crate) upstream: Option<SeenRequest>,
    pub(crate) seen_response: Option<SeenResponse>,
    pub(crate) code: Option<u16>,
    pub(crate) code_details: Option<String>,
    /// When the upstream was asked and how long it took, on the monotonic clock.
    pub(crate) asked_upstream: Option<Duration>,
    pub(crate) upstream_took: Option<Duration>,
    /// `wasm.*` of the filter state.
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the test says that properties are, by path.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) trace: Vec<String>,
    pub(crate) allocations: u64,
}

impl StreamState {
    pub(crate) fn new(root: u32, started: Clock, client: String) -> Self {
        Self {
            root,
            started,
            client,
            is_grpc: false,
            is_head: false,
            request: Flow::new(),
            response: Flow::new(),
            logging: false,
            ended: false,
            alive: true,
            replied: false,
            was_reset: false,
            local_reply: None,
            upstream: None,
            seen_response: None,
            code: None,
            code_details: None,
            asked_upstream: None,
            upstream_took: None,
            filter_state: BTreeMap::new(),
            properties: BTreeMap::new(),
            trace: Vec::new(),
            allocations: 0,
        }
    }

    pub(crate) const fn flow(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }
}

impl Host {
    pub(crate) fn continue_stream(&mut self, stream: u32) -> HostResult<()> {
        let (name, side) = match stream {
            0 => ("request", Side::Request),
            1 => ("response", Side::Response),
            _ => return Err(Status::BadArgument),
        };
        self.trace(format!("continue {name}"));
        let context = self.effective;
        if let Some(stream) = self.effective_stream_mut() {
            stream.request.close();
            self.deferred.push_back((context, Deferred::Continue(side)));
        }
        Ok(())
    }

    pub(crate) fn close_stream(&mut self, stream: u32) -> HostResult<()> {
        self.trace(format!("close {}", if stream == 0 { "request" } else { "response" }));
        self.deferred.push_back((self.effective, Deferred::Reset));
        Ok(())
    }
}
