//! Running a plugin's `tests/cases.yaml` natively.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use plugin_cases::{Case, Failure, Group, Host, load};
use plugin_kit::Callbacks;
use serde_json::Value;

use crate::abi::memory;
use crate::envoy::Envoy;
use crate::host::Cluster;
use crate::message::{Request, Response};

/// Runs `tests/cases.yaml` of the plugin in `directory`; a group without a configuration gets `example.yaml`.
///
/// # Panics
/// Where a case fails, with every failure; where a file is missing; where no case ran.
#[track_caller]
pub fn cases<P: Callbacks>(directory: impl AsRef<Path>) {
    let directory = directory.as_ref();
    let groups = load(&directory.join("tests/cases.yaml")).unwrap_or_else(|error| panic!("{error:#}"));
    let mut ran = 0;
    let mut failures = Vec::new();
    for group in &groups {
        let configuration = match &group.config {
            Some(configuration) => configuration.clone(),
            None => example(&directory.join("example.yaml")),
        };
        run::<P>(group, &configuration, &mut ran, &mut failures);
    }
    assert!(ran > 0, "{}: no case ran", directory.display());
    assert!(failures.is_empty(), "{} of {ran} cases failed\n{}", failures.len(), shown(&failures));
}

fn run<P: Callbacks>(group: &Group, configuration: &Value, ran: &mut usize, failures: &mut Vec<Failure>) {
    static ENVIRONMENT: Mutex<()> = Mutex::new(());
    let _locked = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    memory::with_env(&group.env, || {
        let clusters = group.cases.iter().flat_map(|case| &case.calls).map(|call| &call.cluster);
        let builder =
            clusters.fold(Envoy::builder(), |builder, name| builder.cluster(name, Cluster::Healthy));
        let envoy = builder.try_start::<P>(configuration).unwrap_or_else(|lines| {
            panic!("the plugin refused its configuration {configuration}: {}", lines.join("; "))
        });
        for case in &group.cases {
            let exchange = |case: &Case| {
                let exchange = || {
                    let answers = case.calls.iter().map(|call| answer(&call.answer)).collect();
                    envoy.try_exchange(request(&case.request), answers, answer(&case.answer))
                };
                let exchange =
                    catch_unwind(AssertUnwindSafe(exchange)).unwrap_or_else(|panic| Err(message(&panic)));
                exchange.map_err(anyhow::Error::msg)
            };
            if let Some(result) = case.run(Host::Native, exchange) {
                *ran += 1;
                failures.extend(result.err());
            }
        }
    });
}

fn example(path: &Path) -> Value {
    let text = std::fs::read_to_string(path);
    let text = text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn request(request: &plugin_cases::Request) -> Request {
    let body = request.body.as_deref().unwrap_or_default();
    let sent = Request::new(&request.method, &request.path)
        .authority(&request.authority)
        .from(&request.from.to_string())
        .body(body);
    request.headers.lines().fold(sent, |sent, (name, value)| sent.header(name, value))
}

fn answer(answer: &plugin_cases::Answer) -> Response {
    let response = Response::new(answer.status).body(&answer.body);
    answer.headers.lines().fold(response, |response, (name, value)| response.header(name, value))
}

/// What the plugin must never do is a panic of ours.
fn message(panic: &Box<dyn Any + Send>) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".into())
}

fn shown(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
