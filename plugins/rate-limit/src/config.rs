//! What the operator writes.

use std::fmt;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds, Table};
use plugin_kit::matching::Match;
use plugin_kit::source::SourceList;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// The configuration of rate-limit: `limits`, or the short form of `maxRequests` and `windowSeconds`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Config {
    /// `enforce`, `dryRun` (decides, counts and logs, but changes and denies nothing) or `off`. Default `enforce`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config_revision: String,
    /// Whose counters these are: the same store shares them, whatever the plugin's instance. Default: the instance.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub store: String,
    /// How many keys the table in shared data holds at most, rounded up to a multiple of 32. Its memory is never given
    /// back. Default 65536.
    pub max_keys: Option<u32>,
    /// What `clientIp` means in keys and matches.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub client_ip: ClientIp,
    /// Requests that no limit applies to.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub exempt: Vec<Exempt>,
    /// Every limit whose `match` holds applies; a request that one of them denies is charged to none of those that are
    /// counted here.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub limits: Vec<Limit>,
    /// The rate limit service of the limits with `backend: rls`.
    pub rls: Option<Rls>,
    /// What a denied client gets, and the headers of every response.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub response: Response,
    /// The short form: so many requests of each client address in a window, with `X-RateLimit-*` headers.
    pub max_requests: Option<u64>,
    /// The short form: how long the window is, in seconds. Default 60.
    pub window_seconds: Option<u64>,
}

plugin_kit::fields!(Config {
    "mode" => mode,
    "configRevision" => config_revision,
    "store" => store,
    "maxKeys" => max_keys,
    "clientIp" => client_ip,
    "exempt" => exempt,
    "limits" => limits,
    "rls" => rls,
    "response" => response,
    "maxRequests" => max_requests,
    "windowSeconds" => window_seconds,
});

/// Requests that are not limited.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Exempt {
    /// Which requests. An empty one is every request.
    #[cfg_attr(feature = "schema", schemars(rename = "match"))]
    pub matches: Match,
}

plugin_kit::fields!(Exempt {
    "match" required => matches,
});

/// One limit.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Limit {
    /// Unique, `[a-z0-9-]`; the label in metrics and the name of the policy in `RateLimit` headers.
    pub name: String,
    /// Which requests. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
    /// What is counted apart: each part is a value source or a list of them. `[]` is one bucket for all requests.
    pub key: Option<Vec<SourceList>>,
    /// What happens where a part of the key has no value: `skip` (the limit does not apply, so a client that can leave
    /// the value out is not limited), `deny`, or `empty` (all such requests share a bucket). Default `skip`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_missing_key: OnMissingKey,
    /// Who counts: `local` (this proxy, all of its workers) or `rls` (the rate limit service). Default `local`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub backend: Backend,
    /// `gcra` (even spacing with a burst), `fixedWindow` (aligned to the clock; twice the limit can pass around a
    /// boundary) or `slidingWindow` (two windows, weighted). Default `gcra`.
    pub algorithm: Option<Algorithm>,
    /// How many requests (units of `cost`) in each `per`. Zero denies all.
    pub requests: Option<u64>,
    /// The time that `requests` is about.
    pub per: Option<Seconds>,
    /// With `gcra`: how many at once after a pause. Default `requests`.
    pub burst: Option<u64>,
    /// What a request costs: a number, or what a header says. Default 1.
    pub cost: Option<Cost>,
    /// Other rates for some values of the first part of the key.
    pub overrides: Option<Vec<Override>>,
    /// `false` counts what it would deny, and denies nothing; clients see nothing of it. Default true.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub enforce: bool,
    /// When it is charged: with the `request`, or with the `response`, where a request passes as long as anything is
    /// left, and requests under way at the same time may overdraw. Default `request`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub charge: Charge,
    /// With `charge: response`: which responses are charged. Absent: all, and requests whose client went away too.
    pub charge_when: Option<ChargeWhen>,
    /// With `backend: rls`: the descriptor that the service gets.
    pub descriptor: Option<Vec<DescriptorEntry>>,
}

plugin_kit::fields!(Limit {
    "name" required => name,
    "match" => matches,
    "key" => key,
    "onMissingKey" => on_missing_key,
    "backend" => backend,
    "algorithm" => algorithm,
    "requests" => requests,
    "per" => per,
    "burst" => burst,
    "cost" => cost,
    "overrides" => overrides,
    "enforce" => enforce,
    "charge" => charge,
    "chargeWhen" => charge_when,
    "descriptor" => descriptor,
});

impl Default for Limit {
    fn default() -> Self {
        Self {
            name: String::new(),
            matches: Match::default(),
            key: None,
            on_missing_key: OnMissingKey::default(),
            backend: Backend::default(),
            algorithm: None,
            requests: None,
            per: None,
            burst: None,
            cost: None,
            overrides: None,
            enforce: true,
            charge: Charge::default(),
            charge_when: None,
            descriptor: None,
        }
    }
}

/// What happens where a part of a key has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum OnMissingKey {
    /// The limit does not apply.
    #[default]
    Skip,
    /// The request is denied.
    Deny,
    /// The part is empty: all such requests share a bucket.
    Empty,
}

plugin_kit::choices!(OnMissingKey {
    "skip" => Skip,
    "deny" => Deny,
    "empty" => Empty,
});

/// Who counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Backend {
    /// This proxy, all of its workers together.
    #[default]
    Local,
    /// A rate limit service.
    Rls,
}

plugin_kit::choices!(Backend {
    "local" => Local,
    "rls" => Rls,
});

/// How a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Algorithm {
    /// The generic cell rate algorithm: a token bucket without a timer.
    #[default]
    Gcra,
    /// A count that starts anew at each multiple of `per` since 1970.
    FixedWindow,
    /// The count of this window, and of the one before the share that a window ending now would still cover.
    SlidingWindow,
}

plugin_kit::choices!(Algorithm {
    "gcra" => Gcra,
    "fixedWindow" => FixedWindow,
    "slidingWindow" => SlidingWindow,
});

/// What a request costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Always this.
    Fixed(u32),
    /// What a header says.
    Header(CostHeader),
}

/// What a request costs, by a header: of the request, or with `charge: response` of the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct CostHeader {
    /// The header; a whole number. A request's own cannot go below 1.
    pub header: String,
    /// The cost where the header is absent or not a number. Default 1.
    pub default: Option<u32>,
    /// The most that it can be. Default: no bound but the limit itself.
    pub max: Option<u32>,
}

plugin_kit::fields!(CostHeader {
    "header" required => header,
    "default" => default,
    "max" => max,
});

/// Another rate for some values.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Override {
    /// A value of the first part of the key, or a prefix with `*` after it. Exact ones come first, then the longest.
    pub value: String,
    /// How many requests in each `per`. Zero denies all.
    pub requests: u64,
    /// Default: that of the limit.
    pub per: Option<Seconds>,
    /// With `gcra`. Default: `requests`.
    pub burst: Option<u64>,
}

plugin_kit::fields!(Override {
    "value" required => value,
    "requests" required => requests,
    "per" => per,
    "burst" => burst,
});

/// When a limit is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Charge {
    /// Before the request goes on.
    #[default]
    Request,
    /// When the response is known.
    Response,
}

plugin_kit::choices!(Charge {
    "request" => Request,
    "response" => Response,
});

/// Which responses are charged.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct ChargeWhen {
    /// These HTTP statuses, 100 to 599.
    pub statuses: Vec<u16>,
}

plugin_kit::fields!(ChargeWhen {
    "statuses" required => statuses,
});

/// One entry of a descriptor.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct DescriptorEntry {
    /// Its key, as the service knows it.
    pub key: String,
    /// Its value: a value source or a list of them; `literal:TEXT` is a constant. Where there is none, `onMissingKey`.
    pub value: SourceList,
}

plugin_kit::fields!(DescriptorEntry {
    "key" required => key,
    "value" required => value,
});

/// A rate limit service: `envoy.service.ratelimit.v3.RateLimitService`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rls {
    /// The Envoy cluster, HTTP/2: `outbound|PORT||HOST` in Istio.
    pub cluster: String,
    /// What the service sees as `:authority`. Default: host and port of an Istio cluster name.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub authority: String,
    /// The domain, as the service knows it.
    pub domain: String,
    /// How long a request waits at most. Default `20ms`.
    pub timeout: Option<Seconds>,
    /// What happens without an answer that can be used: `allow` or `deny`. Default `allow`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub failure_mode: FailureMode,
    /// With `failureMode: deny`: the HTTP status, 400 to 599. Default 503.
    pub failure_status: Option<u16>,
    /// How long a denial is remembered at most, `0s` to `24h`; until then the service is not called for its descriptor.
    /// Default `60s`.
    pub max_remember: Option<Seconds>,
}

plugin_kit::fields!(Rls {
    "cluster" required => cluster,
    "authority" => authority,
    "domain" required => domain,
    "timeout" => timeout,
    "failureMode" => failure_mode,
    "failureStatus" => failure_status,
    "maxRemember" => max_remember,
});

/// What happens without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum FailureMode {
    /// The request passes.
    #[default]
    Allow,
    /// The request is denied with `failureStatus`.
    Deny,
}

plugin_kit::choices!(FailureMode {
    "allow" => Allow,
    "deny" => Deny,
});

/// What a denied client gets, and the headers of every response.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Response {
    /// The HTTP status of a denial, 400 to 599. gRPC clients get `RESOURCE_EXHAUSTED`. Default 429.
    pub status: Option<u16>,
    /// The body of a denial. Default `Rate limit exceeded`.
    pub body: Option<String>,
    /// Denials have a body of `application/problem+json` instead, with `body` as its detail. Default false.
    pub problem_json: bool,
    /// More headers of a denial.
    pub headers: Table,
    /// `ietf` (`RateLimit`, `RateLimit-Policy`), `xRateLimit` (`X-RateLimit-Limit`, `-Remaining`, `-Reset`) or `none`;
    /// on every response. Default `ietf`, and `xRateLimit` with the short form.
    pub rate_limit_headers: Option<RateLimitHeaders>,
    /// Whether denials have `Retry-After`, in seconds. Default true.
    pub retry_after: Option<bool>,
}

plugin_kit::fields!(Response {
    "status" => status,
    "body" => body,
    "problemJson" => problem_json,
    "headers" => headers,
    "rateLimitHeaders" => rate_limit_headers,
    "retryAfter" => retry_after,
});

/// Which headers tell clients what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum RateLimitHeaders {
    /// `RateLimit` and `RateLimit-Policy`, of every limit that applied.
    #[default]
    Ietf,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit with the least left.
    XRateLimit,
    /// None.
    None,
}

plugin_kit::choices!(RateLimitHeaders {
    "ietf" => Ietf,
    "xRateLimit" => XRateLimit,
    "none" => None,
});

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrHeader;
        impl<'de> Visitor<'de> for NumberOrHeader {
            type Value = Cost;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number from 1, or {header: NAME, default: 1, max: 50}")
            }

            fn visit_u64<E: Error>(self, cost: u64) -> Result<Cost, E> {
                match u32::try_from(cost) {
                    Ok(cost @ 1..) => Ok(Cost::Fixed(cost)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(cost), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Cost, A::Error> {
                CostHeader::deserialize(MapAccessDeserializer::new(members)).map(Cost::Header)
            }
        }
        deserializer.deserialize_any(NumberOrHeader)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Cost {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let header = generator.subschema_for::<CostHeader>();
        schemars::json_schema!({"oneOf": [{"type": "integer", "minimum": 1}, header]})
    }
}
