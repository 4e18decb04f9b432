//! One request and its response, as a test drives and sees them.

use plugin_cases::{SeenRequest, SeenResponse};

use crate::host::{LocalReply, Side, properties::joined};
use crate::message::Response;
use crate::worker::Worker;

/// A stream. Several can be open at a time; dropping it ends it.
pub struct Stream {
    worker: Worker,
    id: u32,
}

impl Stream {
    pub(crate) const fn new(worker: Worker, id: u32) -> Self {
        Self { worker, id }
    }

    /// Whether the plugin holds the request or the response back.
    pub fn is_paused(&self) -> bool {
        self.worker.stream(self.id, |stream| stream.request.is_paused() || stream.response.is_paused())
    }

    /// Whether the plugin reset the stream.
    pub fn is_reset(&self) -> bool {
        self.worker.stream(self.id, |stream| stream.was_reset)
    }

    /// The hostcalls about this stream so far.
    pub fn hostcalls(&self) -> Vec<String> {
        self.worker.stream(self.id, |stream| stream.trace.clone())
    }

    /// As [`Stream::hostcalls`], and forgets them.
    pub fn take_hostcalls(&self) -> Vec<String> {
        self.worker.stream(self.id, |stream| std::mem::take(&mut stream.trace))
    }

    /// How often the plugin allocated in the callbacks of this stream, the buffers that hostcalls returned included.
    pub fn allocations(&self) -> u64 {
        self.worker.stream(self.id, |stream| stream.allocations)
    }

    /// What the upstream saw; `None` as long as not all of the request has reached it.
    pub fn upstream(&self) -> Option<SeenRequest> {
        self.worker.stream(self.id, |stream| stream.upstream.clone())
    }

    /// What the plugin answered itself, as it asked for it; [`Stream::response`] is what came of it.
    pub fn local_reply(&self) -> Option<LocalReply> {
        self.worker.stream(self.id, |stream| stream.local_reply.clone())
    }

    /// The client sends more of a body that was left open; nothing happens where the request is over.
    #[track_caller]
    pub fn send(&self, chunk: impl AsRef<[u8]>) {
        self.worker.send(self.id, Side::Request, chunk.as_ref(), false);
        self.worker.check();
    }

    /// As [`Stream::send`], and ends the body.
    #[track_caller]
    pub fn send_last(&self, chunk: impl AsRef<[u8]>) {
        self.worker.send(self.id, Side::Request, chunk.as_ref(), true);
        self.worker.check();
    }

    /// The upstream sends more of a body that was left open; nothing happens where the response is over.
    #[track_caller]
    pub fn respond_more(&self, chunk: impl AsRef<[u8]>) {
        self.worker.send(self.id, Side::Response, chunk.as_ref(), false);
        self.worker.check();
    }

    /// As [`Stream::respond_more`], and ends the body.
    #[track_caller]
    pub fn respond_last(&self, chunk: impl AsRef<[u8]>) {
        self.worker.send(self.id, Side::Response, chunk.as_ref(), true);
        self.worker.check();
    }

    /// The upstream answers.
    ///
    /// # Panics
    /// Where the request has not reached the upstream, or there is a response already.
    #[track_caller]
    pub fn respond(&self, response: Response) {
        self.worker.stream(self.id, |stream| {
            assert!(!stream.ended, "the stream is finished");
            assert!(stream.upstream.is_some(), "the request has not reached the upstream");
            assert!(stream.response.headers.is_none(), "there is a response already");
        });
        self.worker.respond(self.id, response);
        self.worker.check();
    }

    /// What the client got.
    ///
    /// # Panics
    /// Where it has not got all of it.
    #[track_caller]
    pub fn response(&self) -> SeenResponse {
        self.worker
            .stream(self.id, |stream| stream.seen_response.clone())
            .unwrap_or_else(|| panic!("the client has not got its whole response"))
    }

    /// Says what a property of this stream is, in every phase. Numbers are 8 bytes, little endian.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_vec();
        self.worker.stream(self.id, |stream| stream.properties.insert(joined(path), value));
    }

    /// What the plugin wrote as filter state `wasm.<name>`.
    pub fn filter_state(&self, name: &str) -> Option<Vec<u8>> {
        self.worker.stream(self.id, |stream| stream.filter_state.get(name.as_bytes()).cloned())
    }

    /// Calls as if from a callback of this stream in its current phase, so that hostcalls are answered.
    pub fn within<R>(&self, call: impl FnOnce() -> R) -> R {
        let result = self.worker.within(self.id, call);
        self.worker.settle();
        result
    }

    /// Ends the stream: `on_log`, `on_done`, and the plugin's context is no more. A client may go at any time.
    #[track_caller]
    pub fn finish(&self) {
        self.worker.finish(self.id);
        self.worker.check();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.worker.finish(self.id);
            self.worker.host().streams.remove(&self.id);
            self.worker.check();
        }
    }
}
