//! One Envoy with one worker: a listener for every subject, and one without a filter for every group.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Bootstrap, Envoy, Listener};
use plugin_cases::Answer;
use serde_json::{Map, Value, json};

use crate::connection::encode;
use crate::load::Target;
use crate::service;
use crate::subject::Group;

const UPSTREAM: &str = "upstream";
/// The body of an answer that a variant leaves open, in bytes: responses have one, and modules may want to see it.
const BODY: usize = 1_024;

/// What is behind the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Envoy itself, as a direct response: nothing but the filters differs.
    DirectResponse,
    /// An upstream of this address.
    Upstream(SocketAddr),
}

/// A running Envoy with its listeners.
pub struct Stage {
    /// It.
    pub envoy: Envoy,
    requests: Vec<Vec<Vec<u8>>>,
    statuses: Vec<(u16, u16)>,
}

impl Stage {
    /// Starts Envoy.
    pub fn set(groups: &[Group], behind: Behind) -> Result<Self> {
        let upstream = match behind {
            Behind::Upstream(address) => address,
            Behind::DirectResponse => service::serve(&Answer::default(), Duration::ZERO)?,
        };
        let mut bootstrap = Bootstrap::new().log_level("wasm:warning").cluster(UPSTREAM, upstream);
        for (name, address) in services(groups)? {
            bootstrap = bootstrap.cluster(&name, address);
        }
        for (index, group) in groups.iter().enumerate() {
            let direct = behind == Behind::DirectResponse && !group.variant.forward;
            let route = if direct { answer(&group.variant.answer) } else { forward() };
            bootstrap = bootstrap.listener(Listener::new(&bare(index)).raw_route(route.clone().into()));
            for (number, subject) in group.subjects.iter().enumerate() {
                let mut route = route.clone();
                merge(&mut route, &subject.route);
                let listener = Listener::new(&filtered(index, number)).raw_route(route.into());
                let add = |listener: Listener, filter: &Value| listener.filter(filter.clone());
                bootstrap = bootstrap.listener(subject.filters.iter().fold(listener, add));
            }
        }
        let requests = |group: &Group| group.variant.requests().iter().map(encode).collect();
        let statuses = |group: &Group| (group.variant.answer.status, group.variant.status());
        Ok(Self {
            envoy: bootstrap.start()?,
            requests: groups.iter().map(requests).collect(),
            statuses: groups.iter().map(statuses).collect(),
        })
    }

    /// The listener of a group that has no filter.
    pub fn bare(&self, group: usize) -> Target<'_> {
        self.target(&bare(group), group, self.statuses[group].0)
    }

    /// The listener of a subject.
    pub fn subject(&self, group: usize, subject: usize) -> Target<'_> {
        self.target(&filtered(group, subject), group, self.statuses[group].1)
    }

    fn target(&self, listener: &str, group: usize, status: u16) -> Target<'_> {
        Target { address: self.envoy.address(listener), requests: &self.requests[group], status }
    }
}

fn bare(group: usize) -> String {
    format!("{group}")
}

fn filtered(group: usize, subject: usize) -> String {
    format!("{group}.{subject}")
}

/// The clusters that filters call, with servers behind them.
fn services(groups: &[Group]) -> Result<BTreeMap<String, SocketAddr>> {
    let mut clusters = BTreeMap::new();
    for service in groups.iter().flat_map(|group| &group.variant.services) {
        let address = service::serve(&service.answer, Duration::ZERO)?;
        let known = clusters.insert(service.cluster.clone(), address);
        ensure!(known.is_none(), "two variants have a service {}", service.cluster);
    }
    Ok(clusters)
}

fn answer(answer: &Answer) -> Map<String, Value> {
    let headers = answer.headers.lines().map(|(name, value)| {
        json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
    });
    let body = if answer.body.is_empty() { "x".repeat(BODY) } else { answer.body.clone() };
    object(json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": answer.status, "body": {"inline_string": body}},
        "response_headers_to_add": headers.collect::<Vec<_>>(),
    }))
}

fn forward() -> Map<String, Value> {
    object(json!({"match": {"prefix": "/"}, "route": {"cluster": UPSTREAM, "timeout": "0s"}}))
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Adds fields, down to the bottom.
fn merge(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (into.get_mut(name), value) {
            (Some(Value::Object(into)), Value::Object(more)) => merge(into, more),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}
