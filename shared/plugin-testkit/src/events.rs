//! What happens to a worker besides requests: ticks, answers to calls, and time.

use std::time::Duration;

use crate::abi::exports;
use crate::host::{Answering, Call, HeaderMap, Kind};
use crate::message::Response;
use crate::worker::Worker;

/// What time brings; at the same time ticks come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Of a root context.
    Tick(u32),
    /// Of a call.
    Timeout(u32),
}

impl Worker {
    pub(crate) fn tick(&self) {
        let root = self.host().root;
        self.tick_root(root);
    }

    fn tick_root(&self, root: u32) {
        assert!(self.exports("on_tick"), "the plugin has no on_tick");
        self.within(root, || exports::proxy_on_tick(root));
        self.settle();
    }

    /// Moves the clocks, and lets happen on the way what is due: ticks and timeouts, in order.
    pub(crate) fn advance(&self, by: Duration) {
        let until = self.host().clock.monotonic + by;
        loop {
            let (due, event) = {
                let host = self.host();
                // The root of an earlier configuration ticks as long as one of its streams is open.
                let ticks =
                    host.roots.iter().filter_map(|(root, state)| Some((state.tick?.1, Event::Tick(*root))));
                let pending = host.callouts.pending.values();
                let timeouts = pending.filter_map(|call| Some((call.deadline?, Event::Timeout(call.token))));
                match timeouts.chain(ticks).min() {
                    Some(next) if next.0 <= until => next,
                    _ => break,
                }
            };
            let now = self.host().clock.monotonic;
            self.host().clock.advance(due.saturating_sub(now));
            match event {
                Event::Timeout(token) => self.time_out(token),
                Event::Tick(root) => {
                    if let Some((period, due)) =
                        self.host().roots.get_mut(&root).and_then(|root| root.tick.as_mut())
                    {
                        *due += *period;
                    }
                    if self.exports("on_tick") {
                        self.tick_root(root);
                    }
                }
            }
        }
        let now = self.host().clock.monotonic;
        self.host().clock.advance(until - now);
    }

    fn time_out(&self, token: u32) {
        let is_grpc = self.host().callouts.pending[&token].grpc.is_some();
        if is_grpc {
            self.answer_grpc(token, Err(14));
        } else {
            self.answer(token, Some(own_response(504, "upstream request timeout")));
        }
    }

    /// Envoy's own response to a call whose connection failed.
    pub(crate) fn fail(&self, token: u32) {
        let body = "upstream connect error or disconnect/reset before headers. reset reason: \
                    remote connection failure";
        self.answer(token, Some(own_response(503, body)));
    }

    /// Envoy's own response to a call that a circuit breaker of the cluster stops.
    pub(crate) fn overload(&self, token: u32) {
        let body = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
        self.answer(token, Some(own_response(503, body).header("x-envoy-overloaded", "true")));
    }

    fn take_call(&self, token: u32, is_grpc: bool) -> Call {
        let mut host = self.host();
        let call = host.callouts.pending.remove(&token);
        let call = call.unwrap_or_else(|| panic!("no call {token} is pending"));
        assert_eq!(call.grpc.is_some(), is_grpc, "call {token} is of the other kind: {call:?}");
        call
    }

    /// The answer to an HTTP call; `None`: the stream to the cluster was reset.
    pub(crate) fn answer(&self, token: u32, response: Option<Response>) {
        self.take_call(token, false);
        let (headers, body, trailers) = match response {
            Some(response) => {
                let (headers, chunks, trailers) = response.into_parts();
                (Some(headers), chunks.concat(), trailers)
            }
            None => (None, Vec::new(), HeaderMap::new(Kind::Response)),
        };
        let sizes = (headers.as_ref().map_or(0, HeaderMap::len), body.len(), trailers.len());
        self.host().callouts.answering = headers.map(|headers| Answering { headers, body, trailers });
        if self.exports("on_http_call_response") {
            let root = self.host().root;
            self.within(root, || {
                exports::proxy_on_http_call_response(root, token, sizes.0, sizes.1, sizes.2);
            });
        }
        self.host().callouts.answering = None;
        self.settle();
    }

    pub(crate) fn answer_grpc(&self, token: u32, answer: Result<Vec<u8>, u32>) {
        self.take_call(token, true);
        let exported = self.exports("on_grpc_call_response");
        let root = self.host().root;
        match answer {
            Ok(message) => {
                let size = message.len();
                self.host().callouts.message = Some(message);
                if exported {
                    self.within(root, || exports::proxy_on_grpc_receive(root, token, size));
                }
                self.host().callouts.message = None;
            }
            Err(status) => {
                self.host().callouts.status = status;
                if exported {
                    self.within(root, || exports::proxy_on_grpc_close(root, token, status));
                }
            }
        }
        self.settle();
    }
}

/// What Envoy responds to a call in the service's place.
fn own_response(status: u16, body: &str) -> Response {
    Response::new(status).header("content-type", "text/plain").body(body)
}
