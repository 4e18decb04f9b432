//! What the operator writes.

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds, Table};
use plugin_kit::matching::{AmbiguousPaths, Match};

/// The configuration of ext-auth.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Config {
    /// `enforce`, `dryRun` (asks, counts and logs, but holds and denies nothing; `onAllow.upstreamHeaders` of clients are
    /// removed all the same) or `off`. Default `enforce`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub mode: Mode,
    /// Ignored, but that what was cached before it changed is not used; changing it makes Istio push the configuration
    /// again, which revives a VM that died under `FAIL_CLOSE`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config_revision: String,
    /// Whose address the service is told, and what `clientIp` means in matches and templates.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub client_ip: ClientIp,
    /// Who is asked, and what it is told.
    pub service: Service,
    /// What comes of an answer of 200 to 299.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_allow: OnAllow,
    /// What comes of an answer of 300 to 499, which is a denial.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_deny: OnDeny,
    /// What happens where the service gives no answer: `deny`, or `allow`, which lets through whoever can make the
    /// service fail. Default `deny`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub failure: Failure,
    /// With `failure: deny`: the HTTP status, 400 to 599. Default 503.
    pub failure_status: Option<u16>,
    /// Keeps answers, for all workers of the proxy; requests that wait for the same answer ask once. Absent: every
    /// request asks.
    pub cache: Option<Cache>,
    /// What happens to requests whose path or authority reads differently to different servers (dot segments, `//`, `\`,
    /// `;`, encoded delimiters, overlong or invalid escapes, a path that matches only if case is ignored, a malformed
    /// authority): `reject`, with 400 and only where `rules` have a condition on path, host or method; or `allow`, then
    /// the service is called and the strictest `failure` of all rules applies. A method that is not upper case is always
    /// rejected. Default `reject`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ambiguous_paths: AmbiguousPaths,
    /// The first rule that matches says what is special about a request; where none does, it is asked about.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub rules: Vec<Rule>,
}

plugin_kit::fields!(Config {
    "mode" => mode,
    "configRevision" => config_revision,
    "clientIp" => client_ip,
    "service" required => service,
    "onAllow" => on_allow,
    "onDeny" => on_deny,
    "failure" => failure,
    "failureStatus" => failure_status,
    "cache" => cache,
    "ambiguousPaths" => ambiguous_paths,
    "rules" => rules,
});

/// The service that decides, and what it is told: exactly one of `forwardAuth` and `pathPrefix`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Service {
    /// The Envoy cluster: `outbound|PORT||HOST` in Istio.
    pub cluster: String,
    /// What the service sees as `:authority`. Default: with `forwardAuth` host and port of an Istio cluster name, with
    /// `pathPrefix` that of the request.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub authority: String,
    /// A `GET` of one path, which is told the request in headers, as by Traefik's `forwardAuth` and nginx's
    /// `auth_request`: `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`, `X-Original-Method` and `-URL`.
    pub forward_auth: Option<ForwardAuth>,
    /// The request's own method, and its own path behind this prefix, as by Envoy's `ext_authz` (`path_prefix`). Paths
    /// that are not the same to everyone (dot segments, `//`, `\`, `;`, odd escapes) are denied with 400.
    pub path_prefix: Option<String>,
    /// How long a request waits at most, for another one's answer too; up to 60s. Default `300ms`.
    pub timeout: Option<Seconds>,
    /// The headers of the request that the service gets, every line of them. Default `[authorization]`.
    pub request_headers: Option<Vec<String>>,
    /// More headers that the service gets; templates. One that is empty is left out.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub set_headers: Table,
    /// When a worker stops asking for a while.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub breaker: Breaker,
}

plugin_kit::fields!(Service {
    "cluster" required => cluster,
    "authority" => authority,
    "forwardAuth" => forward_auth,
    "pathPrefix" => path_prefix,
    "timeout" => timeout,
    "requestHeaders" => request_headers,
    "setHeaders" => set_headers,
    "breaker" => breaker,
});

/// One path that is told the request in headers.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct ForwardAuth {
    /// The path, with a query where one is wanted.
    pub path: String,
}

plugin_kit::fields!(ForwardAuth {
    "path" required => path,
});

/// When a worker stops calling the service: it counts failures in a row.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Breaker {
    /// After so many failures in a row; 0 never. Default 5.
    pub failures: Option<u32>,
    /// For how long nothing is asked, and `failure` decides at once; then one request tries. Default `1s`.
    pub open_for: Option<Seconds>,
}

plugin_kit::fields!(Breaker {
    "failures" => failures,
    "openFor" => open_for,
});

/// What comes of an answer that allows.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct OnAllow {
    /// The headers of the answer that the upstream gets; `x-auth-*` is all with this beginning. A client's own headers
    /// of these names never reach the upstream, whatever becomes of the request.
    pub upstream_headers: Vec<String>,
    /// The headers of the answer that are added to the response; `*` at the end as above.
    pub client_headers: Vec<String>,
}

plugin_kit::fields!(OnAllow {
    "upstreamHeaders" => upstream_headers,
    "clientHeaders" => client_headers,
});

/// What comes of an answer that denies: the client gets its status.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct OnDeny {
    /// The headers of the answer that the client gets too; `*` at the end as above. For logins list `set-cookie`.
    /// Default `[content-type, location, www-authenticate]`.
    pub client_headers: Option<Vec<String>>,
    /// Whether the client gets the body of the answer, if it is of 64 KiB at most. Default true.
    pub body: Option<bool>,
}

plugin_kit::fields!(OnDeny {
    "clientHeaders" => client_headers,
    "body" => body,
});

/// What happens without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum Failure {
    /// The request is denied with `failureStatus`.
    #[default]
    Deny,
    /// The request passes.
    Allow,
}

plugin_kit::choices!(Failure {
    "deny" => Deny,
    "allow" => Allow,
});

/// How long answers are used again, and for which requests.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Cache {
    /// How long an answer that allows is used, up to 1h.
    pub ttl: Seconds,
    /// The same for denials of 401 and 403; others, redirects among them, are never kept. `0s`: none is. Default `5s`,
    /// or `ttl` where that is shorter.
    pub deny_ttl: Option<Seconds>,
    /// `respect`: `Cache-Control` of the answer can shorten the time (`max-age`, `s-maxage`) or forbid keeping it
    /// (`no-store`, `no-cache`, `private`), never prolong it. `ignore`: for services whose framework forbids it without
    /// meaning it. Default `respect`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub cache_control: CacheControl,
    /// The parts of the request that make a difference to the service, beside the headers that it gets: `method`,
    /// `scheme`, `host`, `path`, `query`, `clientIp`. Leave out only what it does not look at. Default: all.
    pub key: Option<Vec<KeyPart>>,
    /// Those of `requestHeaders` and `setHeaders` that make no difference, such as `x-request-id`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ignore_headers: Vec<String>,
    /// How many answers are kept at most, rounded up to a multiple of 4. Their memory is never given back. Default 4096.
    pub entries: Option<u32>,
    /// An answer of more bytes is not kept. Default 4096.
    pub entry_bytes: Option<u32>,
}

plugin_kit::fields!(Cache {
    "ttl" required => ttl,
    "denyTtl" => deny_ttl,
    "cacheControl" => cache_control,
    "key" => key,
    "ignoreHeaders" => ignore_headers,
    "entries" => entries,
    "entryBytes" => entry_bytes,
});

/// Whether the service has a say in how long its answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum CacheControl {
    /// It has.
    #[default]
    Respect,
    /// It has not.
    Ignore,
}

plugin_kit::choices!(CacheControl {
    "respect" => Respect,
    "ignore" => Ignore,
});

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum KeyPart {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority`, as the client wrote it.
    Host,
    /// The path without its query, as the client wrote it.
    Path,
    /// The query.
    Query,
    /// The client's address.
    ClientIp,
}

plugin_kit::choices!(KeyPart {
    "method" => Method,
    "scheme" => Scheme,
    "host" => Host,
    "path" => Path,
    "query" => Query,
    "clientIp" => ClientIp,
});

/// What is special about some requests.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rule {
    /// Which requests. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
    /// `false`: the service is not asked, the request passes. Default true.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ask: bool,
    /// As `failure` outside the rules, for these requests. Default: that one.
    pub failure: Option<Failure>,
}

plugin_kit::fields!(Rule {
    "match" => matches,
    "ask" => ask,
    "failure" => failure,
});

impl Default for Rule {
    fn default() -> Self {
        Self { matches: Match::default(), ask: true, failure: None }
    }
}
