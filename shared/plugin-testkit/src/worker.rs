//! Calling the plugin: which callback comes next, and what Envoy does once it has returned.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use plugin_cases::{SeenRequest, SeenResponse};
use proxy_wasm::types::Action;

use crate::abi::exports;
use crate::host::{self, Deferred, Flow, HeaderMap, Host, LocalReply, Part, Side, StreamState};
use crate::message::{Request, Response};

const PAUSE: u32 = Action::Pause as u32;

/// A handle on one worker.
#[derive(Clone)]
pub(crate) struct Worker(Rc<RefCell<Host>>);

impl Worker {
    pub(crate) fn new(host: Host) -> Self {
        Self(Rc::new(RefCell::new(host)))
    }

    pub(crate) fn host(&self) -> RefMut<'_, Host> {
        self.0.borrow_mut()
    }

    /// Calls with the hostcalls of this worker, about `context`.
    pub(crate) fn within<R>(&self, context: u32, call: impl FnOnce() -> R) -> R {
        let _entered = host::enter(&self.0, context);
        call()
    }

    pub(crate) fn exports(&self, callback: &str) -> bool {
        self.host().callbacks.contains(&callback)
    }

    /// Ends what a test asked for: the test fails if the plugin did what it must never do.
    #[track_caller]
    pub(crate) fn check(&self) {
        let faults = std::mem::take(&mut self.host().faults);
        assert!(faults.is_empty(), "the plugin did what it must not do: {}", faults.join("; "));
    }

    /// A new root context with this configuration; `None` where the plugin refused it.
    pub(crate) fn configure(&self, configuration: Vec<u8>) -> Option<u32> {
        let root = host::next_number();
        let size = configuration.len();
        {
            let mut host = self.host();
            host.configuration = configuration;
            host.roots.insert(root, host::Root { tick: None });
        }
        self.within(root, || exports::proxy_on_context_create(root, 0));
        let accepted = self
            .within(root, || exports::proxy_on_vm_start(root, 0) && exports::proxy_on_configure(root, size));
        if !accepted {
            self.delete_root(root);
            return None;
        }
        self.settle();
        Some(root)
    }

    pub(crate) fn delete_root(&self, root: u32) {
        self.host().roots.remove(&root);
        self.within(root, || exports::proxy_on_delete(root));
    }

    /// Deletes the roots of earlier configurations that no stream needs any more.
    pub(crate) fn retire_roots(&self) {
        let retired: Vec<u32> = {
            let host = self.host();
            let needed = |root| root == host.root || host.streams.values().any(|s| s.alive && s.root == root);
            host.roots.keys().copied().filter(|root| !needed(*root)).collect()
        };
        retired.into_iter().for_each(|root| self.delete_root(root));
    }

    /// A context, before anything has happened to it.
    pub(crate) fn create_stream(&self, client: Option<String>) -> u32 {
        let id = host::next_number();
        let root = {
            let mut host = self.host();
            let root = host.root;
            let client = client.unwrap_or_else(|| host.client.clone());
            let stream = StreamState::new(root, host.clock, client);
            host.streams.insert(id, stream);
            root
        };
        self.within(id, || exports::proxy_on_context_create(id, root));
        id
    }

    pub(crate) fn request(&self, request: Request) -> u32 {
        let id = self.create_stream(request.client.clone());
        self.stream(id, |stream| stream.begin_request(request));
        self.run(id, Side::Request);
        id
    }

    pub(crate) fn respond(&self, id: u32, response: Response) {
        let now = self.host().clock.monotonic;
        self.stream(id, |stream| {
            stream.upstream_took = stream.asked_upstream.map(|asked| now - asked);
            stream.code_details = Some("via_upstream".into());
            stream.begin_response(response);
        });
        self.run(id, Side::Response);
    }

    /// What an access log handler gets of a request that never reached the plugin's filter.
    pub(crate) fn log_only(&self, seen: Option<(Request, Response)>) -> u32 {
        let client = seen.as_ref().and_then(|(request, _)| request.client.clone());
        let id = self.create_stream(client);
        self.stream(id, |stream| match seen {
            Some((request, response)) => {
                stream.begin_request(request);
                stream.begin_response(response);
            }
            None => {
                stream.begin_response(
                    Response::new(400).header("content-type", "text/plain").body("Bad Request"),
                );
                stream.code_details = Some("http1.codec_error".into());
            }
        });
        self.finish(id);
        id
    }

    pub(crate) fn stream<R>(&self, id: u32, call: impl FnOnce(&mut StreamState) -> R) -> R {
        call(self.host().streams.get_mut(&id).expect("the stream exists as long as its handle"))
    }

    fn flow<R>(&self, id: u32, side: Side, call: impl FnOnce(&mut Flow) -> R) -> R {
        self.stream(id, |stream| call(stream.flow(side)))
    }

    /// Gives the plugin one part of a message after the other, until it pauses or everything has passed.
    fn run(&self, id: u32, side: Side) {
        while let Some(part) = self.flow(id, side, Flow::next) {
            match part {
                Part::Headers { end } => self.headers(id, side, end),
                Part::Body { chunk, end } => self.body(id, side, &chunk, end),
                Part::Trailers => self.trailers(id, side),
            }
        }
        if self.flow(id, side, |flow| flow.has_passed()) {
            self.flow(id, side, Flow::stop);
            match side {
                Side::Request => self.route(id),
                Side::Response => self.complete(id),
            }
        }
    }

    /// Runs a callback if the module has it; `true` to go on, `None` where the message is no longer of interest.
    fn callback(&self, id: u32, side: Side, name: &str, call: impl FnOnce() -> u32) -> Option<bool> {
        let action = if self.exports(name) { self.within(id, call) } else { 0 };
        // Who says both that the stream goes on and that it pauses gets the former.
        let resumed = self.host().deferred.iter().any(|(stream, deferred)| {
            *stream == id && matches!(deferred, Deferred::Continue(resumed) if *resumed == side)
        });
        self.settle();
        (!self.flow(id, side, |flow| flow.over)).then_some(action != PAUSE || resumed)
    }

    fn headers(&self, id: u32, side: Side, end: bool) {
        let count = self.flow(id, side, |flow| {
            flow.headers_open = true;
            flow.headers.as_ref().map_or(0, HeaderMap::len)
        });
        let go_on = match side {
            Side::Request => self.callback(id, side, "on_http_request_headers", || {
                exports::proxy_on_request_headers(id, count, end)
            }),
            Side::Response => self.callback(id, side, "on_http_response_headers", || {
                exports::proxy_on_response_headers(id, count, end)
            }),
        };
        self.flow(id, side, |flow| match go_on {
            Some(true) => {
                flow.headers_open = false;
                flow.headers_passed = true;
            }
            Some(false) => flow.stopped = true,
            None => {}
        });
    }

    fn body(&self, id: u32, side: Side, chunk: &[u8], end: bool) {
        let size = self.flow(id, side, |flow| {
            flow.buffer_open = true;
            flow.buffer.extend(chunk);
            flow.buffer.len()
        });
        let go_on = match side {
            Side::Request => self
                .callback(id, side, "on_http_request_body", || exports::proxy_on_request_body(id, size, end)),
            Side::Response => self.callback(id, side, "on_http_response_body", || {
                exports::proxy_on_response_body(id, size, end)
            }),
        };
        self.flow(id, side, |flow| match go_on {
            Some(true) => flow.pass_body(),
            Some(false) => flow.held = true,
            None => {}
        });
    }

    fn trailers(&self, id: u32, side: Side) {
        let count = self.flow(id, side, |flow| {
            flow.trailers_open = true;
            flow.trailers_len()
        });
        let go_on = match side {
            Side::Request => self.callback(id, side, "on_http_request_trailers", || {
                exports::proxy_on_request_trailers(id, count)
            }),
            Side::Response => self.callback(id, side, "on_http_response_trailers", || {
                exports::proxy_on_response_trailers(id, count)
            }),
        };
        self.flow(id, side, |flow| match go_on {
            Some(true) => {
                flow.trailers_open = false;
                flow.pass_body();
            }
            Some(false) => flow.stopped = true,
            None => {}
        });
    }

    /// Does what the hostcalls of the last callback asked for.
    pub(crate) fn settle(&self) {
        loop {
            let Some((id, deferred)) = self.host().deferred.pop_front() else { return };
            if self.host().streams.get(&id).is_none_or(|stream| stream.ended) {
                continue;
            }
            match deferred {
                Deferred::Reply(reply) => self.reply(id, reply),
                Deferred::Continue(side) => {
                    if self.flow(id, side, |flow| flow.is_paused()) {
                        self.flow(id, side, Flow::resume);
                        self.run(id, side);
                    }
                }
                Deferred::Reset => self.stream(id, |stream| {
                    stream.request.stop();
                    stream.response.stop();
                    stream.was_reset = true;
                }),
            }
        }
    }

    /// A local reply passes the plugin's own response callbacks, unless a response is already among them.
    fn reply(&self, id: u32, reply: LocalReply) {
        let (headers, body) = self.stream(id, |stream| stream.complete(&reply));
        let started = self.stream(id, |stream| {
            // The plugin keeps the request's headers, which it has not let go of.
            stream.request.over = true;
            stream.code_details = Some(reply.details.clone());
            stream.local_reply = Some(reply);
            stream.response.headers.is_some()
        });
        if !started {
            self.stream(id, |stream| stream.begin_reply(headers, body));
            self.run(id, Side::Response);
        } else if self.flow(id, Side::Response, |flow| flow.headers_passed) {
            self.host().fault("a local reply after the headers of the response have been sent".into());
            self.flow(id, Side::Response, Flow::stop);
            self.stream(id, |stream| stream.was_reset = true);
        } else {
            self.flow(id, Side::Response, |flow| {
                flow.stop();
                flow.headers = Some(headers);
                flow.sent = body;
            });
            self.complete(id);
        }
    }

    /// The router: the request reaches the upstream, or is answered here.
    fn route(&self, id: u32) {
        let now = self.host().clock.monotonic;
        let (refused, smuggled) = self.stream(id, |stream| {
            let request = stream.request.headers.as_ref().expect("a request has headers");
            let bad =
                request.lines().iter().find(|(_, value)| value.iter().any(|byte| b"\r\n\0".contains(byte)));
            if let Some((name, _)) = bad {
                return (Some((503, format!("invalid header value for: {name}"))), None);
            }
            if request.get(":path").is_none() {
                return (Some((404, String::new())), None);
            }
            if request.get(":method").is_none() {
                return (Some((503, "missing required header: :method".into())), None);
            }
            let text =
                |name: &str| String::from_utf8_lossy(request.get(name).unwrap_or_default()).into_owned();
            stream.asked_upstream = Some(now);
            stream.upstream = Some(SeenRequest {
                method: text(":method"),
                path: text(":path"),
                authority: text(":authority"),
                headers: request.plain(),
                body: stream.request.sent.clone(),
                trailers: stream.request.trailers(),
            });
            (None, wrong_length(&stream.request))
        });
        if let Some(fault) = smuggled {
            self.host().fault(fault);
        }
        if let Some((status, body)) = refused {
            let reply = LocalReply { status, body: body.into_bytes(), ..LocalReply::default() };
            self.stream(id, |stream| {
                let (headers, body) = stream.complete(&reply);
                stream.code_details = Some("local_reply_of_the_router".into());
                stream.begin_reply(headers, body);
            });
            self.run(id, Side::Response);
        }
    }

    /// The client has the whole response.
    fn complete(&self, id: u32) {
        let wrong = self.stream(id, |stream| {
            let headers = stream.response.headers.as_ref().expect("a response has headers");
            let status = status_of(headers);
            stream.code = Some(status);
            stream.seen_response =
                Some(SeenResponse { status, headers: headers.plain(), body: stream.response.sent.clone() });
            if stream.is_head { None } else { wrong_length(&stream.response) }
        });
        if let Some(fault) = wrong {
            self.host().fault(fault);
        }
    }

    /// The end of a stream, as Envoy tells it: log, done, delete.
    pub(crate) fn finish(&self, id: u32) {
        if !self.stream(id, |stream| stream.alive) {
            return;
        }
        self.stream(id, |stream| {
            stream.request.close();
            stream.response.close();
            stream.ended = true;
            stream.logging = true;
        });
        if self.exports("on_log") {
            self.within(id, || exports::proxy_on_log(id));
        }
        self.stream(id, |stream| stream.logging = false);
        if self.exports("on_done") {
            self.within(id, || exports::proxy_on_done(id));
        }
        self.within(id, || exports::proxy_on_delete(id));
        self.stream(id, |stream| stream.alive = false);
        self.settle();
        self.retire_roots();
    }
}

impl StreamState {
    fn begin_request(&mut self, mut request: Request) {
        self.properties.extend(request.properties.drain(..));
        let (headers, chunks, trailers) = request.into_parts();
        let content_type = headers.get("content-type").unwrap_or_default();
        self.is_grpc = content_type == b"application/grpc" || content_type.starts_with(b"application/grpc+");
        self.is_head = headers.get(":method") == Some(b"HEAD");
        self.request = Flow::start(headers, chunks, trailers);
    }

    fn begin_response(&mut self, response: Response) {
        let (headers, chunks, trailers) = response.into_parts();
        self.code = Some(status_of(&headers));
        self.response = Flow::start(headers, chunks, trailers);
    }

    /// A local reply has its end in its last chunk.
    fn begin_reply(&mut self, headers: HeaderMap, body: Vec<u8>) {
        self.code = Some(status_of(&headers));
        self.response = Flow::new();
        self.response.headers = Some(headers);
        self.response.todo.push_back(Part::Headers { end: body.is_empty() });
        if !body.is_empty() {
            self.response.todo.push_back(Part::Body { chunk: body, end: true });
        }
    }
}

fn status_of(headers: &HeaderMap) -> u16 {
    let status = headers.get(":status").unwrap_or_default();
    std::str::from_utf8(status).ok().and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// A body that was rewritten under its old `content-length` corrupts the connection: the surplus is the next message.
fn wrong_length(flow: &Flow) -> Option<String> {
    let declared = flow.headers.as_ref()?.get("content-length")?;
    let declared = String::from_utf8_lossy(declared).into_owned();
    (flow.rewritten && declared != flow.sent.len().to_string())
        .then(|| format!("a body was set to {} bytes under content-length: {declared}", flow.sent.len()))
}
