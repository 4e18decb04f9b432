//! What stands in a cases file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One configuration and the cases that are run on it, in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// `pluginConfig`; absent: the plugin's `example.yaml`.
    pub config: Option<serde_json::Value>,
    /// `vmConfig.env`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// A request and what becomes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// What the client sends.
    #[serde(default)]
    pub request: Request,
    /// What the plugin asks other services meanwhile, cluster by cluster in order; nothing else is asked.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What the upstream must see.
    pub upstream: Option<ExpectedRequest>,
    /// What the upstream answers.
    #[serde(default)]
    pub answer: Answer,
    /// What the client must get from the upstream.
    pub response: Option<Expected>,
    /// What the client must get from the plugin, without the upstream being asked.
    pub reply: Option<Expected>,
    /// How often the request is sent; each time the same must happen.
    #[serde(default = "once")]
    pub times: u32,
    /// Where a case makes sense in one host only.
    pub only: Option<Only>,
}

/// Why a case is left out in one of the hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Only {
    /// The host that runs it.
    pub host: Host,
    /// The reason.
    pub because: String,
}

/// What a case is run in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Host {
    /// The testkit.
    Native,
    /// The real Envoy.
    Envoy,
}

/// What the client sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Request {
    /// `GET` unless given.
    pub method: String,
    /// With the query.
    pub path: String,
    /// `:authority`, on HTTP/1.1 `host`.
    pub authority: String,
    /// More header lines.
    pub headers: Headers,
    /// The body.
    pub body: Option<String>,
    /// The client's address: one of 127.0.0.0/8, so that a real client can have it too.
    pub from: Ipv4Addr,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            authority: "shop.example.com".into(),
            headers: Headers::default(),
            body: None,
            from: Ipv4Addr::LOCALHOST,
        }
    }
}

/// A call of the plugin to a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// The cluster; those that no case of a file calls do not exist.
    pub cluster: String,
    /// What the service must see.
    #[serde(default)]
    pub request: ExpectedRequest,
    /// What it answers.
    #[serde(default)]
    pub answer: Answer,
}

/// What the upstream answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Answer {
    /// 200 unless given.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// The body.
    pub body: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: Headers::default(), body: String::new() }
    }
}

/// Header lines, by name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Headers(BTreeMap<String, OneOrMany>);

impl Headers {
    /// Every line: name and value.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| {
            values.as_slice().iter().map(move |value| (name.as_str(), value.as_str()))
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// What the upstream must see; what is absent here is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExpectedRequest {
    /// The method.
    pub method: Option<String>,
    /// With the query.
    pub path: Option<String>,
    /// `:authority`.
    pub authority: Option<String>,
    /// Headers that must be there, each with just these lines.
    pub headers: BTreeMap<String, Header>,
    /// Headers that must not be there.
    pub absent: Vec<String>,
    /// The body.
    pub body: Option<Body>,
}

/// What the client must get; what is absent here is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expected {
    /// The HTTP status.
    pub status: Option<u16>,
    /// Headers that must be there, each with just these lines.
    pub headers: BTreeMap<String, Header>,
    /// Headers that must not be there.
    pub absent: Vec<String>,
    /// The body.
    pub body: Option<Body>,
}

/// What a body must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Body {
    /// Just this.
    Exact(String),
    /// `{regex: ...}`: text that matches.
    Regex {
        /// Unanchored.
        regex: String,
    },
}

/// What a header must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Header {
    /// Just this line.
    One(String),
    /// Just these lines.
    Many(Vec<String>),
    /// `{regex: ...}`: one line that matches.
    Regex {
        /// Unanchored.
        regex: String,
    },
    /// `{sameAsUpstream: true}`: the line of the same header that the upstream saw.
    #[serde(rename_all = "camelCase")]
    SameAsUpstream {
        /// Always true.
        same_as_upstream: bool,
    },
}

fn once() -> u32 {
    1
}

/// Reads a `cases.yaml`.
///
/// # Errors
/// Where the file is missing or is not in the vocabulary.
pub fn load(path: &Path) -> Result<Vec<Group>> {
    let groups: Vec<Group> = read(path)?;
    for case in groups.iter().flat_map(|group| &group.cases) {
        case.check_shape().with_context(|| format!("{}: {}", path.display(), case.name))?;
    }
    Ok(groups)
}

/// Reads a `tour.yaml`: cases for the configuration of the plugin's `WasmPlugin`, with every other plugin in the chain.
///
/// # Errors
/// Where the file is missing or is not in the vocabulary.
pub fn load_tour(path: &Path) -> Result<Vec<Case>> {
    let cases: Vec<Case> = read(path)?;
    for case in &cases {
        case.check_shape().with_context(|| format!("{}: {}", path.display(), case.name))?;
    }
    Ok(cases)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_norway::from_str(&text).with_context(|| format!("{}", path.display()))
}

impl Case {
    /// Whether this case is run in `host`.
    pub fn runs_in(&self, host: Host) -> bool {
        self.only.as_ref().is_none_or(|only| only.host == host)
    }

    fn check_shape(&self) -> Result<()> {
        let reached = self.upstream.is_some() || self.response.is_some();
        ensure!(reached || self.reply.is_some(), "a case expects an `upstream`, a `response` or a `reply`");
        ensure!(!(reached && self.reply.is_some()), "a `reply` says that the upstream is not reached");
        Ok(())
    }
}
