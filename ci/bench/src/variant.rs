//! `plugins/<name>/tests/bench.yaml`: what is measured of a plugin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use plugin_cases::{Answer, Call, Case, Expected, ExpectedRequest, Request};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::expand::expand;

/// A configuration of a plugin and a request, and what else does the same to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variant {
    /// What is measured, in a few words; unique in the plugin.
    pub name: String,
    /// `pluginConfig`; absent: the plugin's `example.yaml`. In its lists `{repeat: 100, item: …}` stands for that many
    /// copies, with the number of the copy in place of `<n>`.
    pub config: Option<Value>,
    /// `vmConfig.env`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the client sends.
    #[serde(default)]
    pub request: Request,
    /// Several requests instead, sent in turn.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// What the upstream must see, as in `cases.yaml`.
    pub upstream: Option<ExpectedRequest>,
    /// What the upstream answers.
    #[serde(default)]
    pub answer: Answer,
    /// What the client must get from the upstream.
    pub response: Option<Expected>,
    /// What the client must get from the filter, without the upstream being asked.
    pub reply: Option<Expected>,
    /// Whether requests are forwarded to an upstream instead of being answered by the route: for what is part of
    /// forwarding, such as `regex_rewrite`.
    #[serde(default)]
    pub forward: bool,
    /// Services that the filter calls.
    #[serde(default)]
    pub services: Vec<Service>,
    /// What else does the same, so that all of the above holds for it too.
    #[serde(default)]
    pub against: Vec<Counterpart>,
}

/// A service that a filter calls: a cluster of one HTTP/1.1 host.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The name of the cluster; unique among all variants.
    pub cluster: String,
    /// What it answers to every request.
    #[serde(default)]
    pub answer: Answer,
}

impl From<Call> for Service {
    fn from(call: Call) -> Self {
        Self { cluster: call.cluster, answer: call.answer }
    }
}

/// Envoy's own way, or a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counterpart {
    /// `Lua`, or the name of Envoy's filter.
    pub name: String,
    /// A script beside `bench.yaml`.
    pub lua: Option<PathBuf>,
    /// A filter as Envoy's API writes it, with `name` and `typed_config`.
    pub filter: Option<Value>,
    /// What is merged into the route, such as `{route: {regex_rewrite: …}}`.
    #[serde(default)]
    pub route: Map<String, Value>,
}

impl Variant {
    /// The variants of the `bench.yaml` in this directory; none where there is no such file.
    ///
    /// # Errors
    /// Where it is not in the vocabulary.
    pub fn load(directory: &Path) -> Result<Vec<Self>> {
        let path = directory.join("bench.yaml");
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut variants: Vec<Self> =
            serde_norway::from_str(&text).with_context(|| format!("{}", path.display()))?;
        for variant in &mut variants {
            variant.config = variant.config.as_ref().map(expand);
            for counterpart in &variant.against {
                let native = counterpart.filter.is_some() || !counterpart.route.is_empty();
                ensure!(
                    counterpart.lua.is_some() != native,
                    "{}: {}: {} needs lua, or else a filter or a route",
                    path.display(),
                    variant.name,
                    counterpart.name
                );
            }
        }
        Ok(variants)
    }

    /// A `GET /` that passes.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The status that the client gets.
    pub fn status(&self) -> u16 {
        let expected = self.reply.as_ref().or(self.response.as_ref());
        expected.and_then(|expected| expected.status).unwrap_or(self.answer.status)
    }

    /// What is sent, in turn.
    pub fn requests(&self) -> Vec<Request> {
        if self.requests.is_empty() { vec![self.request.clone()] } else { self.requests.clone() }
    }

    /// What must come of each request, as a case.
    pub fn cases(&self) -> Vec<Case> {
        let case = |request| Case {
            name: self.name.clone(),
            request,
            calls: Vec::new(),
            upstream: self.upstream.clone(),
            answer: self.answer.clone(),
            response: self.response.clone(),
            reply: self.reply.clone(),
            times: 1,
            only: None,
        };
        self.requests().into_iter().map(case).collect()
    }
}
