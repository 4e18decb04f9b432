//! What the operator writes.

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{Mode, Seconds, Sensitive};
use plugin_kit::matching::{AmbiguousPaths, Match};
use serde::Deserialize;
use std::time::Duration;

use crate::secret::Secrets;

/// The configuration of jwt-authn.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `enforce`; `dryRun` decides, counts and logs, denies nothing, and removes a client's own identity headers without
    /// writing any; `off` does nothing, so that a client's own identity headers reach the upstream.
    #[serde(default)]
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    #[serde(default)]
    pub config_revision: String,
    /// What `clientIp` means in matches. On a sidecar's inbound listener and on a waypoint `envoy` is an address that a
    /// client can choose, which is logged as a warning where an address decides.
    #[serde(default)]
    pub client_ip: ClientIp,
    /// Who issues tokens, and how they are checked.
    pub providers: Vec<Provider>,
    /// What is required where; the first rule that matches counts.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What is required where no rule matches. Default: a token of any of the providers. One that asks for less than a
    /// rule is logged as a warning.
    pub default_require: Option<Requires>,
    /// What happens to requests whose path or authority reads differently to different servers (dot segments, `//`, `\`,
    /// `;`, encoded delimiters, overlong or invalid escapes, a path that matches only if case is ignored, a malformed
    /// authority): `reject`, with 400 and only where `rules` have a condition on path, host or method; or `allow`, then
    /// they must satisfy all rules and `defaultRequire`. A method that is not upper case is always rejected. Default
    /// `reject`.
    #[serde(default)]
    pub ambiguous_paths: AmbiguousPaths,
    /// Lets CORS preflights (`OPTIONS` with `origin` and `access-control-request-method`) pass without a token, which
    /// browsers never send with them. Default true.
    #[serde(default = "yes")]
    pub bypass_cors_preflight: bool,
    /// Which RSA keys are taken.
    #[serde(default)]
    pub key_policy: KeyPolicy,
    /// Bounds of what is read.
    #[serde(default)]
    pub limits: Limits,
    /// Tokens that were verified, so that they are not verified again. Their times are checked whenever they come.
    #[serde(default)]
    pub token_cache: TokenCache,
    /// Who verifies RS* and ES*. Default `auto`.
    #[serde(default)]
    pub crypto_offload: CryptoOffload,
    /// What a client that is turned away is told.
    #[serde(default)]
    pub errors: Errors,
}

/// An issuer of tokens. The names follow those of `RequestAuthentication`'s `jwtRules`, so an entry can be pasted here.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Unique; what rules and logs call it.
    pub name: String,
    /// What `iss` must be, to the letter. Neither this nor `issuers`: any issuer, which is logged as a warning.
    pub issuer: Option<String>,
    /// As `issuer`, for several.
    pub issuers: Option<Vec<String>>,
    /// One of these must be in `aud`. Absent: whatever `aud` says, which is logged as a warning.
    pub audiences: Option<Vec<String>>,
    /// RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; HS256, HS384, HS512 with a secret. Default: every
    /// asymmetric one.
    pub algorithms: Option<Vec<String>>,
    /// A key set, inline.
    pub jwks: Option<String>,
    /// Where the key set is: `https://` or `http://`.
    pub jwks_uri: Option<String>,
    /// The Envoy cluster that leads there. Default `outbound|PORT||HOST` of `jwksUri`. What makes it https is the cluster.
    pub jwks_cluster: Option<String>,
    /// One or more PEM blocks: `PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`.
    pub public_key_pem: Option<String>,
    /// A shared secret, for HS256, HS384, HS512; or a list of at most 10, the current one first, then those before it.
    pub secret: Option<Sensitive<Secrets>>,
    /// How fetched keys are kept.
    #[serde(default)]
    pub jwks_cache: JwksCache,
    /// The HTTP status while there are no keys, and for a token that no key verifies where the keys may be outdated, as the
    /// last fetch failed: 503, or 401. Default 503.
    #[serde(default = "service_unavailable")]
    pub on_jwks_unavailable: u16,
    /// How long a fetch may take, and how long a request waits for one. Default 5s.
    #[serde(default = "five_seconds")]
    pub timeout: Seconds,
    /// Headers with the token.
    pub from_headers: Option<Vec<FromHeader>>,
    /// Query parameters with the token, which is logged as a warning: logs and `Referer` headers show them.
    pub from_params: Option<Vec<String>>,
    /// Cookies with the token. None of the three: `Authorization` with `Bearer`, and the parameter `access_token`.
    pub from_cookies: Option<Vec<String>>,
    /// Whether the upstream gets the token. Default false.
    #[serde(default)]
    pub forward_original_token: bool,
    /// How far the issuer's clock may be off. Default 60s.
    #[serde(default = "one_minute")]
    pub clock_skew: Seconds,
    /// Whether a token without `exp` is refused. Default true; without it a token may live for ever.
    #[serde(default = "yes")]
    pub require_expiration: bool,
    /// The most that may be between `iat` and `exp`, both of which are then required. Absent: no bound.
    pub max_lifetime: Option<Seconds>,
    /// What `typ` may be, without case and `application/`; `""` is none. Absent: anything, an ID token too.
    pub token_types: Option<Vec<String>>,
    /// Claims that every token must have; dots nest.
    #[serde(default)]
    pub required_claims: Vec<String>,
    /// A header with the payload, in base64url.
    pub output_payload_to_header: Option<String>,
    /// Pads it with `=`.
    #[serde(default)]
    pub payload_padding: bool,
    /// Headers with claims. A client's own headers of these names are removed from every request, and from its trailers. A
    /// claim that is empty, longer than 8 KiB, has control characters, or begins or ends with white space is not written.
    #[serde(default)]
    pub output_claim_to_headers: Vec<OutputClaim>,
}

/// How fetched keys are kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwksCache {
    /// How long a key set is good for; it is fetched again before that. Default 10m.
    pub ttl: Seconds,
    /// How much longer the last good one is used when it cannot be fetched. Default 24h; a key that was revoked lives on
    /// for as long.
    pub stale_for: Seconds,
    /// Whether a token that none of the keys verifies makes it be fetched: one with an unknown `kid`, or with a wrong
    /// signature, as a key may have been replaced under its `kid` or have none. Such a token waits for the answer, at most
    /// `timeout`. Default true.
    pub refetch_on_unknown_kid: bool,
    /// At most one such fetch in this time, whatever clients send; further such tokens are rejected at once. Default 30s.
    pub min_refetch_interval: Seconds,
}

impl Default for JwksCache {
    fn default() -> Self {
        Self {
            ttl: seconds(600),
            stale_for: seconds(86_400),
            refetch_on_unknown_kid: true,
            min_refetch_interval: seconds(30),
        }
    }
}

/// A header with a token.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token; one that ends in a space is a scheme, whose case is ignored. Default: nothing.
    #[serde(default)]
    pub prefix: String,
}

/// A header with a claim.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputClaim {
    /// Its name.
    pub header: String,
    /// The claim; dots nest. Either this or `claimPath`.
    pub claim: Option<String>,
    /// The claim, step by step, for names with dots.
    pub claim_path: Option<Vec<String>>,
    /// How a list is written. Default `csv`; an object is always JSON.
    #[serde(default)]
    pub array_format: ArrayFormat,
}

/// How a list is written into a header.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ArrayFormat {
    /// Its items joined by commas. A list is not written where an item has a comma, is empty, begins or ends with white
    /// space, or is a list or an object.
    #[default]
    Csv,
    /// JSON.
    Json,
}

/// What is required where.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which requests. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What.
    pub requires: Requires,
}

/// What a request must have.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Requires {
    /// Nothing.
    pub none: bool,
    /// A token of this provider.
    pub provider: Option<String>,
    /// A token of one of these. Neither: of any.
    pub any_of: Option<Vec<String>>,
    /// No token at all will do as well; an invalid one will not.
    pub allow_missing: bool,
    /// Whatever comes passes; only a valid token has outputs.
    pub allow_missing_or_invalid: bool,
    /// All of these must hold.
    pub claims: Vec<ClaimRule>,
    /// Scopes, of the claims `scope` and `scp`.
    pub scopes: Option<ScopeRule>,
}

/// What a claim, or an item of a claim that is a list, must be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRule {
    /// The claim; dots nest. Either this or `claimPath`.
    pub claim: Option<String>,
    /// The claim, step by step, for names with dots.
    pub claim_path: Option<Vec<String>>,
    /// At least one of these.
    pub any_of: Option<Vec<String>>,
    /// Every one of these.
    pub all_of: Option<Vec<String>>,
}

/// Which scopes a token must have.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeRule {
    /// At least one of these.
    pub any_of: Option<Vec<String>>,
    /// Every one of these.
    pub all_of: Option<Vec<String>>,
}

/// Which RSA keys are taken.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeyPolicy {
    /// The shortest. Default 2048; not below 1024.
    pub min_rsa_bits: usize,
    /// The longest. Default 8192; not above 16384.
    pub max_rsa_bits: usize,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self { min_rsa_bits: 2048, max_rsa_bits: 8192 }
    }
}

/// Bounds of what is read.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Of a token. Default 16384.
    pub token_bytes: usize,
    /// Of a key set. Default 262144.
    pub jwks_bytes: usize,
    /// In a key set. Default 100.
    pub keys: usize,
    /// How deep a token's JSON may nest. Default 32; not above 64.
    pub json_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { token_bytes: 16_384, jwks_bytes: 262_144, keys: 100, json_depth: 32 }
    }
}

/// Tokens that were verified.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TokenCache {
    /// How many, in each worker. Default 1000; 0 turns it off.
    pub entries: usize,
    /// How long one is kept. Default 60s. It goes at once when the key set changes.
    pub max_ttl: Seconds,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { entries: 1000, max_ttl: seconds(60) }
    }
}

/// Who verifies RS* and ES*.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum CryptoOffload {
    /// The host, where a probe shows that it can.
    #[default]
    Auto,
    /// The plugin.
    Never,
}

/// What a client that is turned away is told.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Errors {
    /// Of the body. Default `json`.
    pub format: ErrorFormat,
    /// `realm` of the challenge, a constant. Default `api`.
    pub realm: String,
}

impl Default for Errors {
    fn default() -> Self {
        Self { format: ErrorFormat::Json, realm: "api".into() }
    }
}

/// Of the body of a reply.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ErrorFormat {
    /// `{"error","error_description"}`.
    #[default]
    Json,
    /// The description.
    Text,
    /// No body.
    None,
}

const fn yes() -> bool {
    true
}

const fn service_unavailable() -> u16 {
    503
}

const fn seconds(seconds: u64) -> Seconds {
    Seconds(Duration::from_secs(seconds))
}

const fn five_seconds() -> Seconds {
    seconds(5)
}

const fn one_minute() -> Seconds {
    seconds(60)
}
