//! Requests that wait for each other.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use plugin_kit::headers::REQUEST;
use plugin_kit::hostcalls::HostError;
use plugin_kit::reply::Reply;
use plugin_kit::stream::{self, StreamId};
use plugin_kit::{Callbacks, Plugin, config};
use plugin_testkit::{Envoy, Headers, Request};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

type Waiting = Rc<RefCell<Vec<StreamId>>>;

/// Holds every request until one for `/go` comes: the first then passes, all others are answered.
struct Gate(Waiting);

impl Plugin for Gate {
    type Config = serde::de::IgnoredAny;
    type Filter = Filter;

    fn new(_: Self::Config) -> Result<Self, config::ConfigError> {
        Ok(Self(Waiting::default()))
    }

    fn filter(&self) -> Filter {
        self.filter_of(StreamId::default())
    }

    fn filter_of(&self, stream: StreamId) -> Filter {
        Filter(stream, Rc::clone(&self.0))
    }
}

impl Callbacks for Gate {
    const CALLBACKS: &'static [&'static str] = &["on_http_request_headers"];
}

struct Filter(StreamId, Waiting);

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Self(own, waiting) = self;
        if REQUEST.get(":path").as_deref() != Some(b"/go") {
            waiting.borrow_mut().push(*own);
            return Action::Pause;
        }
        for (index, stream) in waiting.take().into_iter().enumerate() {
            match stream.enter() {
                Ok(()) if index == 0 => {
                    REQUEST.set("x-released", b"1").unwrap();
                    stream::resume_request();
                }
                Ok(()) => Reply::new(429).send(),
                Err(refused) => assert_eq!(refused, HostError::BadArgument),
            }
        }
        own.enter().unwrap();
        REQUEST.set("x-own", b"1").unwrap();
        Action::Continue
    }
}

#[test]
fn a_request_is_changed_answered_and_resumed_from_the_callback_of_another() {
    let envoy = Envoy::start::<Gate>("");
    let [first, gone, third] = ["/1", "/2", "/3"].map(|path| envoy.request(Request::get(path)));
    drop(gone);
    let go = envoy.request(Request::get("/go"));
    assert_eq!(first.upstream().unwrap().lines("x-released"), ["1"]);
    assert_eq!(third.local_reply().unwrap().status, 429);
    let go = go.upstream().unwrap();
    assert!(go.lines("x-own") == ["1"] && go.lines("x-released").is_empty());
}
