//! What the operator writes.

use std::fmt;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Table};
use plugin_kit::header_ops::{FromTo, HeaderOps};
use plugin_kit::matching::Match;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// The configuration of path-rewrite.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// `enforce`, `dryRun` (decides, counts and logs, but changes and denies nothing) or `off`. Default `enforce`.
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    pub config_revision: String,
    /// What `clientIp` means in matches and templates.
    pub client_ip: ClientIp,
    /// The first rule that matches is applied.
    pub rules: Vec<Rule>,
    /// What happens to requests that no rule matched.
    pub default: Unmatched,
    /// The header that keeps the client's path when a rule changed it. A client's own is removed. Empty: off. Default
    /// `x-original-path`.
    pub original_path_header: OriginalPathHeader,
    /// An id on the request, echoed on the response. Absent: off.
    pub trace_id: Option<TraceId>,
    /// A response header with this configuration, as the tutorials' demo has it. Empty: off.
    pub echo_config_header: String,
    /// What a rewritten path may look like; never applied to requests that no rule touched.
    pub safety: Safety,
    /// Bounds of the configuration itself.
    pub limits: Limits,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Unique, `[a-z0-9-]`; the label in metrics and logs.
    pub name: String,
    /// Which requests. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Changes the path; the route is picked again for the new one.
    pub rewrite: Option<Rewrite>,
    /// Answers with a redirect.
    pub redirect: Option<Redirect>,
    /// Answers from here.
    pub respond: Option<Respond>,
    /// Rewrites `:authority`; a template. Not for redirects and responses from here.
    pub host: Option<String>,
    /// Changes the query; parameters that are not named keep their bytes and their order.
    #[serde(default)]
    pub query: QueryOps,
    /// Operations on the request's headers. Not for redirects and responses from here.
    #[serde(default)]
    pub request_headers: HeaderOps,
    /// Operations on the response's headers.
    #[serde(default)]
    pub response_headers: HeaderOps,
    /// Undoes the rewrite in what the upstream answers.
    pub reverse: Option<Reverse>,
    /// `stop`, or `continue` with the next rule that matches the new path; at most 10 in a row.
    #[serde(default)]
    pub then: Then,
}

/// How a path is changed. Exactly one.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Rewrite {
    /// Replaces what a regular expression matches.
    Regex(RegexRewrite),
    /// Replaces a prefix of whole segments, as Gateway API's `ReplacePrefixMatch`. `from` is also a condition.
    Prefix(FromTo),
    /// Puts this before the path.
    AddPrefix(String),
    /// A new path with the variables of a template match: `/files/{id}/{rest}`. Values are encoded as in `full`.
    Template(String),
    /// A new path: a template of a path with `${…}`.
    Full(String),
}

/// A replacement by regular expression.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegexRewrite {
    /// Linear time, unanchored unless you write `^` and `$`.
    pub pattern: String,
    /// A template of a path that also knows `$1`, `$name` and `\1`.
    pub replacement: String,
    /// Every match, or the first only. Default true.
    #[serde(default = "yes")]
    pub all: bool,
    /// What the pattern sees. Default `path`.
    #[serde(default)]
    pub target: Target,
}

/// What a regular expression sees.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The path without the query.
    #[default]
    Path,
    /// Path and query: a parameter can then trigger the rewrite.
    PathAndQuery,
}

/// A redirect.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `http` or `https`. Empty: the client's.
    #[serde(default)]
    pub scheme: String,
    /// A template. Empty: the client's.
    #[serde(default)]
    pub host: String,
    /// A template of a path. A query in it is merged with the request's by `&`. Absent: the client's.
    pub path: Option<String>,
    /// Whether the query goes along. Default `keep`.
    #[serde(default)]
    pub query: RedirectQuery,
}

/// What becomes of the query in a redirect.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RedirectQuery {
    /// It goes along.
    #[default]
    Keep,
    /// It is left out.
    Strip,
}

/// An answer from the plugin.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Respond {
    /// The HTTP status, 200 to 599.
    pub status: u16,
    /// The body, as it is. Default empty; 204, 205 and 304 have none.
    #[serde(default)]
    pub body: String,
    /// Headers; the values are templates.
    #[serde(default)]
    pub headers: Table,
}

/// Changes to the query, in the order remove, rename, set, add. The values are templates.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QueryOps {
    /// Makes this the only parameter of its name, where the first one was, else at the end.
    pub set: Table,
    /// Adds one more parameter at the end.
    pub add: Table,
    /// Removes every parameter of these names.
    pub remove: Vec<String>,
    /// Gives every parameter of a name another one; the values keep their bytes.
    pub rename: Vec<FromTo>,
}

impl QueryOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let Self { set, add, remove, rename } = self;
        set.is_empty() && add.is_empty() && remove.is_empty() && rename.is_empty()
    }
}

/// What is undone in the response.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reverse {
    /// `location` and `content-location`: path and host as the client knows them. Needs a prefix rewrite or a `host`.
    pub location: bool,
    /// `Path` of `set-cookie`. Needs a prefix rewrite. Cookies whose name begins with `__Host-` keep theirs.
    pub cookie_path: bool,
    /// `Domain` of `set-cookie`: where it is `from`, it becomes `to`.
    pub cookie_domain: Option<FromTo>,
}

/// What follows a rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// Nothing.
    #[default]
    Stop,
    /// The next rule that matches the new path.
    Continue,
}

/// What happens to requests that no rule matched.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Unmatched {
    /// Operations on the request's headers.
    pub request_headers: HeaderOps,
    /// Operations on the response's headers.
    pub response_headers: HeaderOps,
}

/// The name of a header, `x-original-path` by default; empty: off.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OriginalPathHeader(pub String);

impl Default for OriginalPathHeader {
    fn default() -> Self {
        Self("x-original-path".into())
    }
}

/// The trace id.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceId {
    /// The header, on the request and on the response.
    pub header: String,
    /// How an id is made where the client sent none that is valid. Default `uuid`.
    #[serde(default)]
    pub generate: Generate,
    /// Whether the response carries it too, local replies included. Default true.
    #[serde(default = "yes")]
    pub echo: bool,
}

/// How an id is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Generate {
    /// A random UUID.
    #[default]
    Uuid,
    /// 32 hexadecimal digits.
    Hex32,
    /// Not at all: an invalid one is removed.
    None,
}

/// What a path that a rule made may look like.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Safety {
    /// `.`, `..`, `%2e%2e`, `..;` and their forms with `\`, `%2f`, `%5c`: `reject` or `resolve`. Default `reject`.
    pub dot_segments: DotSegments,
    /// `//`: `collapse`, `reject` or `keep`. Default `collapse`.
    pub double_slash: DoubleSlash,
    /// `%2f` and `%5c`: `keep` or `reject`. Default `keep`.
    pub encoded_slash: EncodedSlash,
    /// Controls, space, `" # < > \ ^ { | }`, the backtick and what is beyond ASCII: `encode` or `reject`. Default `encode`.
    pub unsafe_bytes: UnsafeBytes,
    /// The longest path with its query, in bytes. Default 8192.
    pub max_path_bytes: usize,
    /// What happens otherwise: an HTTP status for the client, or `pass`, which leaves the path as it was. Default 400.
    pub on_violation: OnViolation,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            dot_segments: DotSegments::Reject,
            double_slash: DoubleSlash::Collapse,
            encoded_slash: EncodedSlash::Keep,
            unsafe_bytes: UnsafeBytes::Encode,
            max_path_bytes: 8192,
            on_violation: OnViolation::Status(400),
        }
    }
}

/// What becomes of dot segments.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DotSegments {
    /// A violation.
    Reject,
    /// Removed as RFC 3986, section 5.2.4, says; a violation where that cannot be done.
    Resolve,
}

/// What becomes of empty segments.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DoubleSlash {
    /// One slash stays.
    Collapse,
    /// A violation.
    Reject,
    /// They stay.
    Keep,
}

/// What becomes of encoded slashes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum EncodedSlash {
    /// They stay.
    Keep,
    /// A violation.
    Reject,
}

/// What becomes of bytes that must not stand in a path.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnsafeBytes {
    /// Percent-encoded.
    Encode,
    /// A violation.
    Reject,
}

/// What a violation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// This HTTP status for the client.
    Status(u16),
    /// The path stays as it was.
    Pass,
}

impl<'de> Deserialize<'de> for OnViolation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusOrPass;
        impl Visitor<'_> for StatusOrPass {
            type Value = OnViolation;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an HTTP status from 400 to 599, or \"pass\"")
            }

            fn visit_u64<E: Error>(self, status: u64) -> Result<OnViolation, E> {
                match u16::try_from(status) {
                    Ok(status @ 400..=599) => Ok(OnViolation::Status(status)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(status), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OnViolation, E> {
                match text {
                    "pass" => Ok(OnViolation::Pass),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(StatusOrPass)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for OnViolation {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OnViolation".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [{"type": "integer", "minimum": 400, "maximum": 599}, {"const": "pass"}]
        })
    }
}

/// Bounds of the configuration.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// How many rules. Default 512.
    pub max_rules: usize,
    /// How long a regular expression, in bytes. Default 2048.
    pub max_regex_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_rules: 512, max_regex_bytes: 2048 }
    }
}

fn yes() -> bool {
    true
}
