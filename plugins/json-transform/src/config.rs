//! What the operator writes.

use std::fmt;
use std::time::Duration;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds};
use plugin_kit::matching::Match;
use plugin_kit::status::StatusPattern;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The configuration of json-transform.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Config {
    /// `enforce`, `dryRun` (decides, counts and logs, but changes and denies nothing; bodies pass as they come) or `off`. Default `enforce`.
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    pub config_revision: String,
    /// What `clientIp` means in matches and values.
    pub client_ip: ClientIp,
    /// Rules for the bodies of requests. All that match are applied, in this order.
    pub request: Vec<Rule>,
    /// Rules for the bodies of responses. All that match are applied, in this order.
    pub response: Vec<Rule>,
    /// Larger bodies are not changed, in bytes; 1 to 16777216. Default 1048576.
    pub max_body_bytes: usize,
    /// The memory for all bodies that one worker is collecting. When it is used up, the body that has waited longest for
    /// its next bytes is dropped: a request is answered with 503, and a response breaks off.
    pub max_buffered_bytes: MaxBufferedBytes,
    /// The longest time that a body may take to arrive, from its first byte on; 1s to 1h. After it a request is answered
    /// with 408, and a response breaks off. If neither `onTooLarge` nor `onUnsupported` is `reject`, a body that still
    /// arrives passes as it is. Default `30s`.
    pub body_timeout: Seconds,
    /// What becomes of a larger body: it passes as it is (`pass`), or is refused (`reject`): 413 for a request, 502 for a
    /// response. Default `pass`.
    pub on_too_large: Unfit,
    /// What becomes of a body that is not JSON, whatever its `content-type` says: it passes as it is (`pass`), or is
    /// refused (`reject`): 400 for a request, and a response breaks off. Default `pass`.
    pub on_parse_error: Unfit,
    /// Whether a body passes as it is (`pass`) or is refused (`reject`: 415 for a request, 502 for a response) if a rule is
    /// for it and it cannot be transformed: it has no media type or several, a charset other than UTF-8 or a content
    /// coding; it is a request's and of another media type than those of the rules; or it is a part of a response (206).
    /// `pass` also leaves bodies with an announced `trailer` and responses with `cache-control: no-transform` alone.
    /// Default `reject` for requests if `onTooLarge`, `onParseError` or the `onPatchError` of a request rule is `reject`,
    /// else `pass`.
    pub on_unsupported: Option<Unfit>,
    /// Whether a request whose response is to be changed may ask for a compressed one, which no rule can change:
    /// `remove` takes its `accept-encoding` away, `keep` leaves it. Default `remove`.
    pub accept_encoding: AcceptEncoding,
}

impl Config {
    /// Whether requests with a body that cannot be transformed are refused.
    pub fn rejects_unsupported_requests(&self) -> bool {
        let rejects = self.on_too_large == Unfit::Reject
            || self.on_parse_error == Unfit::Reject
            || self.request.iter().any(|rule| rule.on_patch_error == OnPatchError::Reject);
        self.on_unsupported.map_or(rejects, |given| given == Unfit::Reject)
    }

    /// Whether responses with a body that cannot be transformed are refused.
    pub fn rejects_unsupported_responses(&self) -> bool {
        self.on_unsupported == Some(Unfit::Reject)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            config_revision: String::new(),
            client_ip: ClientIp::default(),
            request: Vec::new(),
            response: Vec::new(),
            max_body_bytes: 1 << 20,
            max_buffered_bytes: MaxBufferedBytes::default(),
            body_timeout: Seconds(Duration::from_secs(30)),
            on_too_large: Unfit::default(),
            on_parse_error: Unfit::default(),
            on_unsupported: None,
            accept_encoding: AcceptEncoding::default(),
        }
    }
}

plugin_kit::fields!(Config {
    "mode" => mode,
    "configRevision" => config_revision,
    "clientIp" => client_ip,
    "request" => request,
    "response" => response,
    "maxBodyBytes" => max_body_bytes,
    "maxBufferedBytes" => max_buffered_bytes,
    "bodyTimeout" => body_timeout,
    "onTooLarge" => on_too_large,
    "onParseError" => on_parse_error,
    "onUnsupported" => on_unsupported,
    "acceptEncoding" => accept_encoding,
});

/// The memory for bodies, in bytes; `maxBodyBytes` to 268435456.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct MaxBufferedBytes {
    /// For bodies of requests. Default 67108864.
    pub requests: usize,
    /// For bodies of responses. Default 67108864.
    pub responses: usize,
}

impl Default for MaxBufferedBytes {
    fn default() -> Self {
        Self { requests: 64 << 20, responses: 64 << 20 }
    }
}

plugin_kit::fields!(MaxBufferedBytes { "requests" => requests, "responses" => responses });

/// What becomes of a body that cannot be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Unfit {
    /// It passes as it is.
    #[default]
    Pass,
    /// It is refused.
    Reject,
}

plugin_kit::choices!(Unfit { "pass" => Pass, "reject" => Reject });

/// What becomes of `accept-encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum AcceptEncoding {
    /// It is removed.
    #[default]
    Remove,
    /// It stays.
    Keep,
}

plugin_kit::choices!(AcceptEncoding { "remove" => Remove, "keep" => Keep });

/// A rule.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rule {
    /// Unique, `[a-z0-9-]`; the name in metrics and log lines.
    pub name: String,
    /// Which requests, or responses to which requests. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
    /// Which bodies. Absent: all of JSON.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub when: When,
    /// The operations, in order: a JSON Patch (RFC 6902), and `set`, `rename` and `merge`.
    pub patch: Vec<Operation>,
    /// What becomes of the body where an operation cannot take place, such as `remove` of what is not there: the rule
    /// changes nothing (`pass`), the operation is left out (`skip`; a `test` that fails still ends the rule), or the
    /// message is refused (`reject`): 422 for a request, and a response breaks off. Default `pass`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_patch_error: OnPatchError,
}

plugin_kit::fields!(Rule {
    "name" required => name,
    "match" => matches,
    "when" => when,
    "patch" required => patch,
    "onPatchError" => on_patch_error,
});

/// Which bodies.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct When {
    /// Statuses (`404`) and classes of them (`2xx`); for responses only. Absent: all.
    pub statuses: Option<Vec<StatusPattern>>,
    /// Media types, each with at most one `*`; parameters and case do not count. Default `application/json` and
    /// `*+json`. Streams of many documents and gRPC are never changed.
    pub content_types: Option<Vec<String>>,
}

plugin_kit::fields!(When { "statuses" => statuses, "contentTypes" => content_types });

/// What becomes of a rule when one of its operations cannot take place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum OnPatchError {
    /// The rule changes nothing.
    #[default]
    Pass,
    /// The operation is left out.
    Skip,
    /// The message is refused.
    Reject,
}

plugin_kit::choices!(OnPatchError { "pass" => Pass, "skip" => Skip, "reject" => Reject });

/// An operation. Members that it does not know are ignored, as RFC 6902 wants it.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Operation {
    /// `add`, `remove`, `replace`, `move`, `copy` and `test` as in RFC 6902; `set` (`add` that makes the objects on the
    /// way, and replaces an item of an array), `rename` (another name for a member, in its place), `merge` (RFC 7386).
    pub op: Op,
    /// Where: a JSON Pointer (RFC 6901), such as `/items/0/name`. For `merge` it may be absent: the whole document.
    pub path: Option<String>,
    /// For `move` and `copy`: from where.
    pub from: Option<String>,
    /// For `rename`: the new name.
    pub to: Option<String>,
    /// For `add`, `replace`, `test`, `set` and `merge`: any JSON. Its texts are templates, so write `$$` for a dollar.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub value: Given,
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Operation;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an operation")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Operation, A::Error> {
                let mut operation = Operation::default();
                let mut has_op = false;
                while let Some(name) = members.next_key::<String>()? {
                    match name.as_str() {
                        "op" => {
                            operation.op = members.next_value()?;
                            has_op = true;
                        }
                        "path" => operation.path = members.next_value()?,
                        "from" => operation.from = members.next_value()?,
                        "to" => operation.to = members.next_value()?,
                        "value" => operation.value = members.next_value()?,
                        _ => {
                            members.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                if has_op { Ok(operation) } else { Err(A::Error::missing_field("op")) }
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Op {
    /// Puts a value into an object or, before an item, into an array.
    #[default]
    Add,
    /// Takes a value away.
    Remove,
    /// Puts a value in the place of another.
    Replace,
    /// Takes a value away and adds it elsewhere.
    Move,
    /// Adds a value elsewhere too.
    Copy,
    /// Ends the rule where there is another value.
    Test,
    /// Adds or replaces a value, with the objects on the way.
    Set,
    /// Gives a member another name.
    Rename,
    /// Merges an object.
    Merge,
}

plugin_kit::choices!(Op {
    "add" => Add,
    "remove" => Remove,
    "replace" => Replace,
    "move" => Move,
    "copy" => Copy,
    "test" => Test,
    "set" => Set,
    "rename" => Rename,
    "merge" => Merge,
});

/// Any JSON, `null` too. Only that it was given is kept: the value is compiled from the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given(bool);

impl Given {
    /// Whether there was a value.
    pub const fn is_given(self) -> bool {
        self.0
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self(true))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Given {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Any".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}
