//! The configuration as the operator writes it.

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds, Table};
use plugin_kit::matching::{AmbiguousPaths, Match};

/// The configuration of ext-auth.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Config {
    /// `enforce`, `dryRun` or `off`. `dryRun` calls the service, counts and logs, but pauses and denies nothing; a
    /// client's own `onAllow.upstreamHeaders` are removed even so. Default `enforce`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub mode: Mode,
    /// A new value clears the cache, and makes Istio push the configuration again, which revives a VM that died under
    /// `FAIL_CLOSE`. Otherwise ignored.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub config_revision: String,
    /// The client's address: for the service, for the key of the cache, and for `clientIp` in matches and templates.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub client_ip: ClientIp,
    /// The service that decides, and the calls to it.
    pub service: Service,
    /// What happens after a response of 200 to 299, which allows the request.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_allow: OnAllow,
    /// What happens after a response of 300 to 499, which denies the request.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_deny: OnDeny,
    /// What happens if the service makes no decision: `deny`, or `allow`, with which every client that can make the
    /// service fail passes. Requests that pass then have `x-envoy-auth-failure-mode-allowed: true`. Default `deny`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub failure: Failure,
    /// With `failure: deny`: the HTTP status, 400 to 599. Default 503.
    pub failure_status: Option<u16>,
    /// Caches responses for all workers of the proxy. Requests that need the same response make one call. Absent: every
    /// request makes its own call.
    pub cache: Option<Cache>,
    /// What happens to requests whose path or authority reads differently to different servers (dot segments, `//`,
    /// `\`, `;`, encoded delimiters, overlong or invalid escapes, a path that matches only if case is ignored, a
    /// malformed authority): `reject`, with 400 and only where `rules` have a condition on path, host or method; or
    /// `allow`, then the service is called and the strictest `failure` of all rules applies. A method that is not upper
    /// case is always rejected. Default `reject`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ambiguous_paths: AmbiguousPaths,
    /// The first rule that matches applies. Requests that no rule matches are checked.
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

/// The service that decides, and the calls to it: exactly one of `forwardAuth` and `pathPrefix`.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Service {
    /// The Envoy cluster: `outbound|PORT||HOST` in Istio.
    pub cluster: String,
    /// `:authority` of the calls. Default: with `forwardAuth` host and port of an Istio cluster name, with `pathPrefix`
    /// the authority of the request.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub authority: String,
    /// Calls are a `GET` of one path with the request in headers, as by Traefik's `forwardAuth` and nginx's
    /// `auth_request`: `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`, `X-Original-Method` and `-URL`.
    pub forward_auth: Option<ForwardAuth>,
    /// Calls have the request's own method, and its own path behind this prefix, as by Envoy's `ext_authz`
    /// (`path_prefix`). Ambiguous paths are rejected with 400, whatever `ambiguousPaths` says, as they could leave the
    /// prefix.
    pub path_prefix: Option<String>,
    /// The timeout of every call, up to 60s. A request that waits for the call of another one waits as long, and then
    /// makes its own call. Default `300ms`.
    pub timeout: Option<Seconds>,
    /// The headers of the request that the service gets as the client sent them, every line of them. Default
    /// `[authorization]`.
    pub request_headers: Option<Vec<String>>,
    /// More headers that the service gets; templates. An empty one is left out.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub set_headers: Table,
    /// When a worker stops calling the service for a while.
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

/// One path that gets the request in headers.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct ForwardAuth {
    /// The path, with an optional query.
    pub path: String,
}

plugin_kit::fields!(ForwardAuth {
    "path" required => path,
});

/// When a worker stops calling the service. Only calls of requests with `failure: deny` count, and only those are
/// stopped.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct Breaker {
    /// After so many calls in a row that failed to connect, were reset or timed out; 0: never. A response of the
    /// service never counts, whatever its status. Default 5.
    pub failures: Option<u32>,
    /// For how long requests are denied without a call; then one request makes a call. Default `1s`.
    pub open_for: Option<Seconds>,
}

plugin_kit::fields!(Breaker {
    "failures" => failures,
    "openFor" => open_for,
});

/// What happens after a response that allows the request.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct OnAllow {
    /// The headers of the response that the upstream gets; `x-auth-*` means every name that starts with `x-auth-`. A
    /// client's own headers and trailers of these names are removed before rules and templates read the request.
    pub upstream_headers: Vec<String>,
    /// The headers of the service's response that are added to the response to the client; `*` at the end as above.
    pub client_headers: Vec<String>,
}

plugin_kit::fields!(OnAllow {
    "upstreamHeaders" => upstream_headers,
    "clientHeaders" => client_headers,
});

/// What happens after a response that denies the request: the client gets its status.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct OnDeny {
    /// The headers of the response that the client gets; `*` at the end as above. For logins list `set-cookie`. Default
    /// `[content-type, location, www-authenticate]`.
    pub client_headers: Option<Vec<String>>,
    /// Whether the client gets the body of the response, up to 64 KiB. Default true.
    pub body: Option<bool>,
}

plugin_kit::fields!(OnDeny {
    "clientHeaders" => client_headers,
    "body" => body,
});

/// What happens without a decision.
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

/// For how long and for which requests responses are cached.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Cache {
    /// For how long a response that allows is cached, up to 1h.
    pub ttl: Seconds,
    /// The same for denials of 401 and 403; other denials and redirects are never cached. `0s`: no denial is cached.
    /// Default `5s`, or `ttl` if that is shorter.
    pub deny_ttl: Option<Seconds>,
    /// `respect`: `Cache-Control` of the response can shorten the time (`max-age`, `s-maxage`) or forbid caching
    /// (`no-store`, `no-cache`, `private`), and never prolongs it. `ignore`: for services whose framework forbids
    /// caching by default. Default `respect`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub cache_control: CacheControl,
    /// The parts of the request that the cache's key has besides the headers that the service gets: `method`, `scheme`,
    /// `host`, `path`, `query`, `clientIp`. Leave out only those that never change the decision. Default: all.
    pub key: Option<Vec<KeyPart>>,
    /// Those of `requestHeaders` and `setHeaders` that are not a part of the key, such as `x-request-id`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ignore_headers: Vec<String>,
    /// How many responses are cached at most, rounded up to a multiple of 4. Their memory is never freed. Default 4096.
    pub entries: Option<u32>,
    /// A response of more bytes is not cached. Default 4096.
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

/// Whether `Cache-Control` of a response counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum CacheControl {
    /// It can shorten the time and forbid caching.
    #[default]
    Respect,
    /// It is ignored.
    Ignore,
}

plugin_kit::choices!(CacheControl {
    "respect" => Respect,
    "ignore" => Ignore,
});

/// A part of the key.
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

/// Whether and how some requests are checked.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Rule {
    /// Which requests. Absent: all.
    #[cfg_attr(feature = "schema", schemars(default, rename = "match"))]
    pub matches: Match,
    /// `false`: requests pass without a check. Default true.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ask: bool,
    /// As `failure` outside of the rules, for these requests. Default: `failure` outside of the rules.
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
