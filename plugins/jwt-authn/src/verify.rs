//! A provider: whose tokens it takes, and whether a token is one of them.

use std::rc::Rc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use log::warn;
use plugin_kit::config::{At, ConfigError, quoted};

use crate::callout::{Location, Remote};
use crate::claims::{Claims, Times};
use crate::compact::{Compact, Token, normalized_type};
use crate::config;
use crate::crypto::Crypto;
use crate::extract::Source;
use crate::jwks::{self, SetPolicy};
use crate::jwks_fetch::{Schedule, SetHash};
use crate::keys::{ALGORITHMS, Key, algorithm, shortest_secret};
use crate::outputs::{Outputs, claim_path};
use crate::pem;
use crate::reject::Reject;
use crate::secret::Secret;

/// How many keys are tried for a token that does not name one.
const MAX_TRIES: usize = 10;

/// The keys of a provider at one time.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// The identity of the set; zeros for keys of the configuration.
    pub hash: SetHash,
    /// At least one.
    pub keys: Rc<[Key]>,
    /// On the monotonic clock.
    pub usable_until: Duration,
}

/// Where keys come from.
#[derive(Debug)]
pub enum Keys {
    /// From the configuration.
    Fixed(Rc<KeySet>),
    /// From a URL.
    Fetched(Rc<Remote>),
}

/// Whose tokens are taken, and how they are checked.
#[derive(Debug)]
pub struct Provider {
    /// What rules and logs call it.
    pub name: String,
    /// None: any.
    issuers: Vec<String>,
    audiences: Option<Vec<String>>,
    algorithms: Vec<Algorithm>,
    token_types: Option<Vec<String>>,
    required_claims: Vec<Vec<String>>,
    /// What it wants of the times.
    pub times: Times,
    /// Its keys.
    pub keys: Keys,
    /// The HTTP status while it has none.
    pub unavailable_status: u16,
    /// Whether a token may be a query parameter.
    takes_from_query: bool,
    /// What the upstream gets.
    pub outputs: Outputs,
    /// Whether it also gets the token.
    pub forward_token: bool,
}

impl Provider {
    /// Compiles a provider; keys that are in the configuration are read here.
    ///
    /// # Errors
    /// Points at what is wrong, from the provider on.
    pub fn compile(
        plugin: &str,
        provider: &config::Provider,
        config: &config::Config,
    ) -> Result<Self, ConfigError> {
        let well_formed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if provider.name.is_empty() || !provider.name.bytes().all(well_formed) {
            let message = format!("{} must be of letters, digits, '-', '_' and '.'", quoted(&provider.name));
            return Err(ConfigError::new(message)).at("name");
        }
        let issuers = match (&provider.issuer, &provider.issuers) {
            (Some(_), Some(_)) => return Err(ConfigError::new("issuer and issuers exclude each other")),
            (Some(issuer), None) => vec![issuer.clone()],
            (None, Some(issuers)) => not_empty(issuers).at("issuers")?.to_vec(),
            (None, None) => Vec::new(),
        };
        if let Some(index) = issuers.iter().position(String::is_empty) {
            let field = if provider.issuer.is_some() { "issuer" } else { "issuers" };
            let empty = Err(ConfigError::new("is empty; leave it out for any issuer"));
            return if provider.issuer.is_some() { empty.at(field) } else { empty.at_index(index).at(field) };
        }
        if let Some(audiences) = &provider.audiences {
            not_empty(audiences).at("audiences")?;
        }
        if !matches!(provider.on_jwks_unavailable, 401 | 503) {
            let message = format!("must be 503 or 401, not {}", provider.on_jwks_unavailable);
            return Err(ConfigError::new(message)).at("onJwksUnavailable");
        }
        let (algorithms, keys) = compile_keys(plugin, provider, config)?;
        Ok(Self {
            name: provider.name.clone(),
            issuers,
            audiences: provider.audiences.clone(),
            algorithms,
            token_types: match &provider.token_types {
                Some(types) => {
                    Some(not_empty(types).at("tokenTypes")?.iter().map(|typ| normalized_type(typ)).collect())
                }
                None => None,
            },
            required_claims: provider.required_claims.iter().map(|claim| claim_path(claim)).collect(),
            times: Times {
                skew: provider.clock_skew.0,
                require_expiration: provider.require_expiration,
                max_lifetime: provider.max_lifetime.map(|seconds| seconds.0),
            },
            keys,
            unavailable_status: provider.on_jwks_unavailable,
            takes_from_query: Source::compile(provider)?.iter().any(|source| source.param().is_some()),
            outputs: Outputs::compile(provider)?,
            forward_token: provider.forward_original_token,
        })
    }

    /// Logs a warning for each choice that is easily a mistake.
    pub fn warn_of_mistakes(&self) {
        let Self { name, issuers, audiences, takes_from_query, .. } = self;
        if issuers.is_empty() {
            warn!("provider {name}: without issuer, tokens of any issuer that the keys verify are accepted");
        }
        if audiences.is_none() {
            warn!(
                "provider {name}: without audiences, tokens that were issued for other services are accepted"
            );
        }
        if *takes_from_query {
            warn!(
                "provider {name}: tokens in the query are accepted, where logs and Referer headers show them; \
                 fromHeaders alone avoids that"
            );
        }
    }

    /// Whether a token says that it is of this provider.
    #[must_use]
    pub fn issues(&self, claims: &Claims) -> bool {
        self.issuers.is_empty() || claims.issuer.as_ref().is_some_and(|issuer| self.issuers.contains(issuer))
    }

    /// The keys at `now`, on the monotonic clock; none that are fetched while that clock fails.
    #[must_use]
    pub fn keys(&self, now: Option<Duration>) -> Option<Rc<KeySet>> {
        match &self.keys {
            Keys::Fixed(keys) => Some(Rc::clone(keys)),
            Keys::Fetched(remote) => remote.keys(now?),
        }
    }

    /// The key set that is fetched.
    #[must_use]
    pub const fn remote(&self) -> Option<&Rc<Remote>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Fetched(remote) => Some(remote),
        }
    }

    /// The algorithm of a token, where it is allowed.
    ///
    /// # Errors
    /// [`Reject::Alg`].
    pub fn algorithm(&self, token: &Token) -> Result<Algorithm, Reject> {
        let allowed = |algorithm: &Algorithm| self.algorithms.contains(algorithm);
        algorithm(&token.header.alg).filter(allowed).ok_or(Reject::Alg)
    }

    /// Everything but times and signature; it costs nothing, so it comes first.
    ///
    /// # Errors
    /// Why the token is not taken.
    pub fn check(&self, token: &Token) -> Result<(), Reject> {
        let claims = &token.claims;
        if !self.issues(claims) {
            return Err(Reject::Issuer);
        }
        self.algorithm(token)?;
        if let Some(types) = &self.token_types
            && !types.contains(&token.header.token_type())
        {
            return Err(Reject::Type);
        }
        if let Some(wanted) = &self.audiences
            && !claims.audiences.iter().flatten().any(|audience| wanted.contains(audience))
        {
            return Err(Reject::Audience);
        }
        if !self.required_claims.iter().all(|path| claims.all.find(path).is_some()) {
            return Err(Reject::RequiredClaim);
        }
        Ok(())
    }
}

/// Verifies with the keys that `kid`, the token's, may mean.
///
/// # Errors
/// [`Reject::UnknownKid`], [`Reject::Alg`], [`Reject::Signature`].
pub fn verify_with(
    keys: &[Key],
    kid: Option<&str>,
    token: &Compact<'_>,
    algorithm: Algorithm,
    crypto: &Crypto,
) -> Result<(), Reject> {
    // A key without a name is meant by any name.
    let is_meant = |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
    let mut meant = keys.iter().filter(is_meant).peekable();
    if meant.peek().is_none() {
        return Err(Reject::UnknownKid);
    }
    let mut fitting = meant.filter(|key| key.allows(algorithm)).take(MAX_TRIES).peekable();
    if fitting.peek().is_none() {
        return Err(Reject::Alg);
    }
    let verified = fitting.any(|key| crypto.verify(algorithm, key, token.signed, &token.signature));
    if verified { Ok(()) } else { Err(Reject::Signature) }
}

fn not_empty(items: &[String]) -> Result<&[String], ConfigError> {
    if items.is_empty() {
        return Err(ConfigError::new("is empty and would take nothing; leave it out to take anything"));
    }
    Ok(items)
}

fn compile_keys(
    plugin: &str,
    provider: &config::Provider,
    config: &config::Config,
) -> Result<(Vec<Algorithm>, Keys), ConfigError> {
    let given = [
        ("jwks", provider.jwks.is_some()),
        ("jwksUri", provider.jwks_uri.is_some()),
        ("publicKeyPem", provider.public_key_pem.is_some()),
        ("secret", provider.secret.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if given.len() != 1 {
        let found = if given.is_empty() { "none".into() } else { given.join(" and ") };
        return Err(ConfigError::new(format!(
            "needs exactly one of jwks, jwksUri, publicKeyPem, secret, not {found}"
        )));
    }
    if provider.jwks_cluster.is_some() && provider.jwks_uri.is_none() {
        return Err(ConfigError::new("needs a jwksUri")).at("jwksCluster");
    }
    let algorithms = compile_algorithms(provider)?;
    let secrets = algorithms.iter().filter_map(|algorithm| shortest_secret(*algorithm)).max();
    let key_policy = crate::keys::KeyPolicy {
        min_rsa_bits: config.key_policy.min_rsa_bits,
        max_rsa_bits: config.key_policy.max_rsa_bits,
    };
    let policy = SetPolicy {
        keys: key_policy,
        max_keys: config.limits.keys,
        max_bytes: config.limits.jwks_bytes,
        secrets: secrets.is_some(),
    };
    let keys = if let Some(uri) = &provider.jwks_uri {
        let location = Location::new(uri, provider.jwks_cluster.as_deref()).at("jwksUri")?;
        let cache = &provider.jwks_cache;
        for (field, seconds) in [("ttl", cache.ttl), ("minRefetchInterval", cache.min_refetch_interval)] {
            if seconds.0 < Duration::from_secs(1) {
                return Err(ConfigError::new("must be at least 1s")).at(field).at("jwksCache");
            }
        }
        let schedule = Schedule {
            ttl: cache.ttl.0,
            stale_for: cache.stale_for.0,
            key_interval: cache.refetch_on_unknown_kid.then_some(cache.min_refetch_interval.0),
            timeout: provider.timeout.0,
        };
        return Ok((
            algorithms,
            Keys::Fetched(Rc::new(Remote::new(plugin, &provider.name, location, schedule, policy))),
        ));
    } else if let Some(text) = &provider.jwks {
        let set = jwks::read(text.as_bytes(), &policy).map_err(ConfigError::new).at("jwks")?;
        for reason in &set.skipped {
            warn!("a key of provider {} is left out: {reason}", provider.name);
        }
        set.keys
    } else if let Some(text) = &provider.public_key_pem {
        pem::read(text, &key_policy).map_err(ConfigError::new).at("publicKeyPem")?
    } else if let Some(secrets) = &provider.secret {
        compile_secrets(&secrets.list).at("secret")?
    } else {
        Vec::new()
    };
    let field = given.first().copied().unwrap_or_default();
    if let Some(useless) = algorithms
        .iter()
        .find(|algorithm| provider.algorithms.is_some() && !keys.iter().any(|key| key.allows(**algorithm)))
    {
        let name = name_of(*useless);
        let reason = match shortest_secret(*useless) {
            Some(least) if keys.iter().any(Key::is_secret) => {
                format!("a secret for {name} has at least {least} bytes")
            }
            _ => format!("no key for {name}, which algorithms names"),
        };
        return Err(ConfigError::new(reason)).at(field);
    }
    Ok((
        algorithms,
        Keys::Fixed(Rc::new(KeySet {
            hash: SetHash::default(),
            keys: keys.into(),
            usable_until: Duration::MAX,
        })),
    ))
}

/// Keys without a name, so each of them is tried.
fn compile_secrets(secrets: &[Secret]) -> Result<Vec<Key>, ConfigError> {
    let compile = |secret: &Secret| Key::secret(&secret.read()?).map_err(ConfigError::new);
    match secrets {
        [] => Err(ConfigError::new("is empty; give at least one secret")),
        [secret] => Ok(vec![compile(secret)?]),
        _ if secrets.len() > MAX_TRIES => {
            Err(ConfigError::new(format!("must have at most {MAX_TRIES} secrets, got {}", secrets.len())))
        }
        _ => secrets.iter().enumerate().map(|(index, secret)| compile(secret).at_index(index)).collect(),
    }
}

fn name_of(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

fn compile_algorithms(provider: &config::Provider) -> Result<Vec<Algorithm>, ConfigError> {
    let Some(names) = &provider.algorithms else {
        if provider.secret.is_some() {
            return Err(ConfigError::new("name HS256, HS384 or HS512 to go with the secret"))
                .at("algorithms");
        }
        let asymmetric = ALGORITHMS.iter().filter(|(_, algorithm)| shortest_secret(*algorithm).is_none());
        return Ok(asymmetric.map(|(_, algorithm)| *algorithm).collect());
    };
    let mut algorithms = Vec::new();
    for (index, name) in not_empty(names).at("algorithms")?.iter().enumerate() {
        let known = || {
            let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
            ConfigError::new(format!("{} is not one of {}", quoted(name), names.join(", ")))
        };
        let algorithm = algorithm(name).ok_or_else(known).at_index(index).at("algorithms")?;
        let symmetric = shortest_secret(algorithm).is_some();
        let reason = if symmetric && (provider.jwks_uri.is_some() || provider.public_key_pem.is_some()) {
            Some("is for shared secrets; public keys never are")
        } else if !symmetric && provider.secret.is_some() {
            Some("is for public keys; a secret never is one")
        } else if algorithms.iter().any(|other| shortest_secret(*other).is_some() != symmetric) {
            Some("cannot stand beside the others: HS* is for shared secrets, the rest for public keys")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(ConfigError::new(format!("{name} {reason}"))).at_index(index).at("algorithms");
        }
        algorithms.push(algorithm);
    }
    Ok(algorithms)
}
