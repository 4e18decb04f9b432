//! Property tests that hold for every plugin: whatever a client, an application, a configuration or a neighbour in the
//! shared data says, the plugin lives, answers, and lets nothing wait for ever.
//!
//! `PROPTEST_CASES` says how many cases each has; 256 unless given.

mod arbitrary;
mod configurations;

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use plugin_kit::Callbacks;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::envoy::{Builder, Envoy};
use crate::host::{Cluster, SharedData};
use crate::message::{Request, Response};

/// No callout takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The three properties as tests of a plugin, with its example and with more configurations for what that does not use:
/// `plugin_testkit::hostile!(PathRewrite);`
#[macro_export]
macro_rules! hostile {
    ($plugin:ty $(, $configuration:expr)*) => {
        #[test]
        fn any_configuration_is_taken_or_refused_with_a_reason() {
            $crate::hostile::any_configuration::<$plugin>(env!("CARGO_MANIFEST_DIR"), &[$($configuration),*]);
        }

        #[test]
        fn any_request_ends_whatever_the_application_answers() {
            $crate::hostile::any_request::<$plugin>(env!("CARGO_MANIFEST_DIR"), &[$($configuration),*]);
        }

        #[test]
        fn anything_in_the_shared_data_is_lived_with() {
            $crate::hostile::any_neighbour::<$plugin>(env!("CARGO_MANIFEST_DIR"), &[$($configuration),*]);
        }
    };
}

/// Texts, and good configurations with arbitrary changes. What is refused has one line that says why; what is taken works.
#[track_caller]
pub fn any_configuration<P: Callbacks>(directory: impl AsRef<Path>, more: &[&str]) {
    for good in configurations(directory, more) {
        check("configuration", configurations::texts(&good), |text| {
            match builder(&good).try_start::<P>(&text) {
                Ok(envoy) => visit(&envoy, &Exchange::plain()),
                Err(lines) => {
                    let is_reason = |line: &&String| line.starts_with("invalid configuration: ");
                    prop_assert_eq!(lines.iter().filter(is_reason).count(), 1, "{:?}", lines);
                    prop_assert!(lines.iter().all(|line| !line.contains('\n')), "{:?}", lines);
                    Ok(())
                }
            }
        });
    }
}

/// Requests, responses, properties and answers to callouts of any bytes, with good configurations and some near them.
#[track_caller]
pub fn any_request<P: Callbacks>(directory: impl AsRef<Path>, more: &[&str]) {
    for good in configurations(directory, more) {
        let started = builder(&good).start::<P>(&good);
        let input = (proptest::option::of(configurations::near(&good)), arbitrary::exchange());
        check("exchange", input, |(configuration, exchange)| {
            let other = configuration.and_then(|text| builder(&good).try_start::<P>(&text).ok());
            visit(other.as_ref().unwrap_or(&started), &exchange)
        });
    }
}

/// Any bytes under the keys that the plugin uses, before a request and before it starts.
#[track_caller]
pub fn any_neighbour<P: Callbacks>(directory: impl AsRef<Path>, more: &[&str]) {
    for good in configurations(directory, more) {
        check("neighbour", proptest::collection::vec(arbitrary::stored(), 1..4), |stored| {
            let table = SharedData::default();
            let start = || builder(&good).shared_data(table.clone()).start::<P>(&good);
            let envoy = start();
            for exchange in [Exchange::plain(), Exchange::of_a_user()] {
                visit(&envoy, &exchange)?;
                envoy.advance(PATIENCE);
                for change in &stored {
                    table.keys().iter().for_each(|key| table.set(key, change.of(table.get(key))));
                    visit(&envoy, &exchange)?;
                    envoy.advance(PATIENCE);
                    visit(&start(), &exchange)?;
                }
            }
            Ok(())
        });
    }
}

/// Bytes that another plugin may write over a value in shared data: none, zeros, ones, parts of the value and more than
/// it, the versions before and after, and the largest number in the place of any.
#[must_use]
pub fn overwrites(value: &[u8]) -> Vec<Vec<u8>> {
    let size = value.len();
    let mut all = vec![Vec::new(), b"\0".to_vec(), b"\xff".to_vec()];
    all.extend([0, 0xff].map(|byte| vec![byte; size]));
    all.extend([0, 0xff].map(|byte| vec![byte; 8 * size + 200]));
    all.extend([1, size / 2, size.saturating_sub(1)].map(|end| value[..end.min(size)].to_vec()));
    all.push([value, value].concat());
    for byte in [0, 0xff] {
        all.push([value, &[byte]].concat());
        for at in 0..size {
            let mut changed = value.to_vec();
            let end = size.min(at + 8);
            changed[at..end].fill(byte);
            all.push(changed);
        }
    }
    if let Some(version) = value.first() {
        for other in [version.wrapping_sub(1), version.wrapping_add(1)] {
            all.push([&[other], &value[1..]].concat());
        }
    }
    all
}

/// A request's way there and back, and what is answered to callouts on it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) response: Response,
    pub(crate) answers: Vec<Answer>,
    pub(crate) leaves: bool,
}

/// What becomes of a callout.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Http(Response),
    Grpc(Vec<u8>),
    Fails(u32),
    Never,
}

impl Exchange {
    fn plain() -> Self {
        Self { request: Request::get("/"), response: Response::new(200), answers: Vec::new(), leaves: false }
    }

    fn of_a_user() -> Self {
        let request = Request::get("/limited/api?a=b")
            .header("authorization", "Bearer a.b.c")
            .header("x-tenant", "acme")
            .header("x-user-id", "alice")
            .header("x-swimlane", "canary")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        Self { request, ..Self::plain() }
    }
}

/// Every request ends: it reaches the upstream, is answered, or waits for a callout that answers or times out.
fn visit(envoy: &Envoy, exchange: &Exchange) -> Result<(), TestCaseError> {
    let stream = envoy.request(exchange.request.clone());
    let mut answers = exchange.answers.iter();
    if exchange.leaves && stream.is_paused() {
        stream.finish();
    }
    for call in envoy.calls() {
        match (answers.next(), &call.grpc) {
            (Some(Answer::Http(response)), None) => envoy.answer(call.token, response.clone()),
            (Some(Answer::Fails(_)), None) => envoy.reset_call(call.token),
            (Some(Answer::Grpc(message)), Some(_)) => envoy.answer_grpc(call.token, Ok(message.clone())),
            (Some(Answer::Fails(status)), Some(_)) => envoy.answer_grpc(call.token, Err(*status)),
            _ => {}
        }
    }
    if stream.is_paused() && !exchange.leaves {
        envoy.advance(PATIENCE);
        prop_assert!(!stream.is_paused(), "it waits for ever: {:?}", stream.hostcalls());
    }
    if stream.upstream().is_some() && stream.local_reply().is_none() && !stream.is_reset() {
        stream.respond(exchange.response.clone());
        prop_assert!(!stream.is_paused(), "the response waits for ever: {:?}", stream.hostcalls());
    }
    stream.finish();
    envoy.log_only().finish();
    envoy.log_only_of(exchange.request.clone(), exchange.response.clone()).finish();
    Ok(())
}

/// `example.yaml` of the plugin in `directory`, and these.
fn configurations(directory: impl AsRef<Path>, more: &[&str]) -> Vec<Value> {
    let path = directory.as_ref().join("example.yaml");
    let example =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parse = |text: &str| serde_norway::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    [example.as_str()].iter().chain(more).map(|text| parse(text)).collect()
}

/// With every cluster that the configuration names.
fn builder(configuration: &Value) -> Builder {
    let mut names = Vec::new();
    configurations::clusters(configuration, &mut names);
    names.iter().fold(Envoy::builder(), |builder, name| builder.cluster(name, Cluster::Healthy))
}

/// As `proptest!` does, but a plugin that panics ends the process before proptest can say of what: a hook does.
#[track_caller]
fn check<S: Strategy<Value: Clone>>(
    what: &'static str,
    strategy: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    thread_local!(static CASE: RefCell<String> = const { RefCell::new(String::new()) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            CASE.with_borrow(|case| eprintln!("{case}"));
            before(panic);
        }));
    });
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&strategy, |value| {
        CASE.replace(format!("{what}: {value:#?}"));
        test(value)
    });
    CASE.take();
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
