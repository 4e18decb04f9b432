//! What the operator writes.

use std::time::Duration;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds};
use plugin_kit::matching::Match;
use plugin_kit::source::SourceList;
use serde::Deserialize;

/// The configuration of swimlane-tagging.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Config {
    /// `enforce`, `dryRun` (decides, counts and logs, but changes and denies nothing: a client's own tag passes too) or
    /// `off`.
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    pub config_revision: String,
    /// What `clientIp` means in matches, keys and `incoming.trust`.
    pub client_ip: ClientIp,
    /// The request header that holds the lane. Default `x-swimlane`.
    pub header: String,
    /// The lanes there are; a request with another one is handled by `incoming.unknownLane`. Default: the lanes that are
    /// named below. Letters, digits, `-`, `_` and `.`, at most 63.
    pub lanes: Option<Vec<String>>,
    /// The lane of requests for which nothing else decides. Default `production`. Empty: they get none.
    pub default_lane: String,
    /// What becomes of a lane that the request has already.
    pub incoming: Incoming,
    /// Lanes for particular requests, before all rules; the first that matches counts.
    pub overrides: Vec<Override>,
    /// Lanes by rule; the first that matches counts.
    pub rules: Vec<Rule>,
    /// Lanes by share, the same one each time for the same key. Absent: no split.
    pub split: Option<Split>,
    /// The cookie that `split.noKey: cookie` issues and reads.
    pub sticky_cookie: StickyCookie,
    /// How the lane goes on from here, beside the header.
    pub propagate: Propagate,
    /// Says the lane on the response. Absent: off.
    pub echo: Option<Echo>,
    /// When the response's `vary` names what the lane depends on. Default `auto`.
    pub vary: Vary,
    /// A request header for the bucket of the split, 0 to 9999, which Envoy's `weighted_clusters.header_name` can read.
    /// A client's own is removed. Empty: off.
    pub bucket_header: String,
}

plugin_kit::fields!(Config {
    "mode" => mode,
    "configRevision" => config_revision,
    "clientIp" => client_ip,
    "header" => header,
    "lanes" => lanes,
    "defaultLane" => default_lane,
    "incoming" => incoming,
    "overrides" => overrides,
    "rules" => rules,
    "split" => split,
    "stickyCookie" => sticky_cookie,
    "propagate" => propagate,
    "echo" => echo,
    "vary" => vary,
    "bucketHeader" => bucket_header,
});

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            config_revision: String::new(),
            client_ip: ClientIp::default(),
            header: "x-swimlane".into(),
            lanes: None,
            default_lane: "production".into(),
            incoming: Incoming::default(),
            overrides: Vec::new(),
            rules: Vec::new(),
            split: None,
            sticky_cookie: StickyCookie::default(),
            propagate: Propagate::default(),
            echo: None,
            vary: Vary::default(),
            bucket_header: String::new(),
        }
    }
}

/// What becomes of a lane that the request has already.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Incoming {
    /// Whose lane counts: `never` (a gateway, where anyone could write one), `always` (inside the mesh) or
    /// `{clientIps: [...]}`. Default `never`.
    pub trust: Trust,
    /// A lane that does not count is removed (`remove`), or the request is answered with 403 (`reject`). Default `remove`.
    pub untrusted: Untrusted,
    /// A lane that counts and is none of `lanes` becomes `defaultLane` (`default`), or the request is answered with 400
    /// (`reject`). Default `default`.
    pub unknown_lane: UnknownLane,
}

plugin_kit::fields!(Incoming {
    "trust" => trust,
    "untrusted" => untrusted,
    "unknownLane" => unknown_lane,
});

/// Whose lane counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// Nobody's.
    #[default]
    Never,
    /// Everybody's: whoever reaches this proxy chooses a lane.
    Always,
    /// That of clients in these networks, by the plugin's `clientIp`.
    ClientIps(Vec<String>),
}

/// What becomes of a lane that does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Untrusted {
    /// It is removed.
    #[default]
    Remove,
    /// The request is answered with 403.
    Reject,
}

plugin_kit::choices!(Untrusted {
    "remove" => Remove,
    "reject" => Reject,
});

/// What becomes of a lane that is none of `lanes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum UnknownLane {
    /// It becomes `defaultLane`.
    #[default]
    Default,
    /// The request is answered with 400.
    Reject,
}

plugin_kit::choices!(UnknownLane {
    "default" => Default,
    "reject" => Reject,
});

/// A lane for particular requests.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Override {
    /// The lane.
    pub lane: String,
    /// Which requests.
    #[cfg_attr(feature = "schema", schemars(rename = "match"))]
    pub matches: Match,
}

plugin_kit::fields!(Override {
    "lane" required => lane,
    "match" required => matches,
});

/// A lane by rule.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rule {
    /// Unique, `[a-z0-9-]`; the name in log lines.
    pub name: String,
    /// The lane.
    pub lane: String,
    /// Which requests. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
}

plugin_kit::fields!(Rule {
    "name" required => name,
    "lane" required => lane,
    "match" => matches,
});

/// Lanes by share.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Split {
    /// What a user is known by: a value source, or a list of which the first that yields a value counts.
    pub key: SourceList,
    /// What makes two splits independent. Changing it moves users. Default: the name of `header`.
    pub salt: Option<String>,
    /// How a key becomes a bucket. Default `murmur3`. Changing it moves users.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub algorithm: Algorithm,
    /// Which requests take part. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
    /// The shares, which take buckets in this order; the rest is `defaultLane`. A lane that grows keeps its users and
    /// takes some of the lanes after it, so list the one that grows last.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub lanes: Vec<Share>,
    /// A share that changes with time.
    pub ramp: Option<Ramp>,
    /// What happens without a key. Default `default`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub no_key: NoKey,
}

plugin_kit::fields!(Split {
    "key" required => key,
    "salt" => salt,
    "algorithm" => algorithm,
    "match" => matches,
    "lanes" => lanes,
    "ramp" => ramp,
    "noKey" => no_key,
});

/// How a key becomes a bucket of 0 to 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Algorithm {
    /// `murmur3_x86_32(salt ":" key) mod 10000`.
    #[default]
    Murmur3,
    /// Unleash's `flexibleRollout` with the salt as group id; in steps of 1 %.
    Unleash,
    /// GrowthBook's hash version 2 with the salt as seed.
    GrowthbookV2,
    /// `fnv1a32(salt ":" key) mod 10000`. Uneven on sequential ids.
    Fnv1a32,
    /// `crc32(salt ":" key) mod 10000`. Linear: two salts are not independent.
    Crc32,
}

plugin_kit::choices!(Algorithm {
    "murmur3" => Murmur3,
    "unleash" => Unleash,
    "growthbookV2" => GrowthbookV2,
    "fnv1a32" => Fnv1a32,
    "crc32" => Crc32,
});

/// The share of one lane.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Share {
    /// The lane.
    pub name: String,
    /// Per cent of the keys, in steps of 0.01. For the lane of `ramp` it does not count and may be absent.
    pub percent: Option<f64>,
}

plugin_kit::fields!(Share {
    "name" required => name,
    "percent" => percent,
});

/// A share that grows (or shrinks) in a straight line from `start` to `end`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Ramp {
    /// Which of `lanes`.
    pub lane: String,
    /// RFC 3339, such as `2026-01-05T00:00:00Z`. Before it, the share is `from`.
    pub start: String,
    /// RFC 3339. After it, the share is `to`.
    pub end: String,
    /// Per cent, in steps of 0.01.
    pub from: f64,
    /// Per cent, in steps of 0.01.
    pub to: f64,
}

plugin_kit::fields!(Ramp {
    "lane" required => lane,
    "start" required => start,
    "end" required => end,
    "from" required => from,
    "to" required => to,
});

/// What happens to a request that takes part in the split and has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum NoKey {
    /// It gets `defaultLane`.
    #[default]
    Default,
    /// The sticky cookie is its key; without one, it gets one.
    Cookie,
    /// It gets a random bucket, another one each time.
    Random,
}

plugin_kit::choices!(NoKey {
    "default" => Default,
    "cookie" => Cookie,
    "random" => Random,
});

/// The cookie that `noKey: cookie` issues and reads.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct StickyCookie {
    /// Its name. Default `swim_uid`.
    pub name: String,
    /// How long a browser keeps it. Default `30d`.
    pub max_age: Seconds,
    /// Default `/`.
    pub path: String,
    /// The domain whose every host gets it. Empty: only the host that set it.
    pub domain: String,
    /// `Lax`, `Strict` or `None`. Default `Lax`.
    pub same_site: SameSite,
    /// Only over TLS. Default true; browsers drop it on plain HTTP then.
    pub secure: bool,
    /// Not for scripts. Default true.
    pub http_only: bool,
}

plugin_kit::fields!(StickyCookie {
    "name" => name,
    "maxAge" => max_age,
    "path" => path,
    "domain" => domain,
    "sameSite" => same_site,
    "secure" => secure,
    "httpOnly" => http_only,
});

impl Default for StickyCookie {
    fn default() -> Self {
        Self {
            name: "swim_uid".into(),
            max_age: Seconds(Duration::from_secs(30 * 86_400)),
            path: "/".into(),
            domain: String::new(),
            same_site: SameSite::default(),
            secure: true,
            http_only: true,
        }
    }
}

/// With which requests from other sites a cookie goes along.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SameSite {
    /// With links.
    #[default]
    Lax,
    /// With none.
    Strict,
    /// With all; needs `secure`.
    None,
}

/// How the lane goes on from here, beside the header.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Propagate {
    /// The member of the W3C `baggage` header to set; others are left alone. Empty: off.
    pub baggage: String,
    /// From the request that enters a sidecar to those that leave it.
    pub mesh: Mesh,
}

plugin_kit::fields!(Propagate {
    "baggage" => baggage,
    "mesh" => mesh,
});

/// From the request that enters a sidecar to those that leave it, through an application that does not copy the lane's
/// header, but a trace header or `x-request-id`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Mesh {
    /// Default false. A gateway ignores it.
    pub enabled: bool,
    /// The lane of a request that leaves a sidecar and belongs to none that entered it. An empty list: off.
    /// Default `property:xds.node.metadata.LABELS.lane`, the label of the pod.
    pub own_lane: SourceList,
    /// How many ids are remembered, 4 to 1048576; more drive the oldest out. It bounds the memory, once per proxy.
    /// Default 4096.
    pub slots: u32,
    /// How long an id is remembered at least; it is at most half as long again. Default `60s`.
    pub ttl: Seconds,
}

plugin_kit::fields!(Mesh {
    "enabled" => enabled,
    "ownLane" => own_lane,
    "slots" => slots,
    "ttl" => ttl,
});

impl Default for Mesh {
    fn default() -> Self {
        Self {
            enabled: false,
            own_lane: SourceList(vec!["property:xds.node.metadata.LABELS.lane".into()]),
            slots: 4096,
            ttl: Seconds(Duration::from_secs(60)),
        }
    }
}

/// Says the lane on the response.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Echo {
    /// The response header to set.
    pub response_header: String,
}

plugin_kit::fields!(Echo {
    "responseHeader" required => response_header,
});

/// When the response's `vary` names the request headers that the lane depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Vary {
    /// Where the plugin itself makes the response depend on them: with `echo`, and with a cookie it sets.
    #[default]
    Auto,
    /// Always: the lanes' upstreams answer differently, and a shared cache is in front.
    Always,
    /// Never. A shared cache in front then mixes the lanes.
    Never,
}

plugin_kit::choices!(Vary {
    "auto" => Auto,
    "always" => Always,
    "never" => Never,
});
