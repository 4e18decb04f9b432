//! From a request to a decision.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::HeaderName;
use plugin_kit::request::Request;

use crate::cache::{self, Cache};
use crate::callout::Remote;
use crate::challenge::Denial;
use crate::claims::Claims;
use crate::compact::{self, Compact};
use crate::config::{Config, CryptoOffload, Limits};
use crate::crypto::Crypto;
use crate::extract::{Found, Source};
use crate::reject::Reject;
use crate::rules::{Otherwise, Requirement, Rules};
use crate::verify::{Keys, Provider};

/// Signatures that were wrong are remembered, too, so that sending one again costs next to nothing.
const REFUSED_ENTRIES: usize = 128;
const REFUSED_AGE: Duration = Duration::from_secs(10);

/// The compiled configuration.
#[derive(Debug)]
pub struct Authn {
    providers: Vec<Provider>,
    rules: Rules,
    limits: Limits,
    crypto: Crypto,
    verified: RefCell<Cache<Rc<Verified>>>,
    refused: RefCell<Cache<()>>,
    caches: bool,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is: a place in the list of providers.
    provider: usize,
    claims: Rc<Claims>,
    /// As JSON.
    pub payload: Vec<u8>,
    /// What the upstream is told.
    pub headers: Vec<(HeaderName, Vec<u8>)>,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the epoch.
    pub wall: Duration,
    /// Since whenever.
    pub monotonic: Duration,
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Decision<'a> {
    /// Whether it goes on.
    pub outcome: Outcome,
    /// Where tokens were found that the upstream must not get.
    pub taken: Vec<&'a Source>,
    /// Whether the token was in the cache, if it was looked for there.
    pub cache_hit: Option<bool>,
}

/// Whether a request goes on.
#[derive(Debug)]
pub enum Outcome {
    /// No token was looked for.
    Open,
    /// There is no valid one, and that will do.
    Anonymous,
    /// There is one.
    Verified(Rc<Verified>),
    /// It does not go on.
    Denied(Denial),
}

/// A token that was turned down, and by which provider.
struct Refusal {
    reject: Reject,
    provider: Option<usize>,
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self { reject, provider: None }
    }
}

impl Authn {
    /// Compiles the configuration.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(plugin: &str, config: &Config) -> Result<Self, ConfigError> {
        check_bounds(config)?;
        if config.providers.is_empty() {
            return Err(ConfigError::new("is empty; there is nobody to issue tokens")).at("providers");
        }
        let mut providers: Vec<Provider> = Vec::new();
        for (index, provider) in config.providers.iter().enumerate() {
            let compiled = Provider::compile(plugin, provider, config).at_index(index).at("providers")?;
            if let Some(first) = providers.iter().position(|known| known.name == compiled.name) {
                let message = format!("{} is the name of providers[{first}] already", quoted(&compiled.name));
                return Err(ConfigError::new(message)).at("name").at_index(index).at("providers");
            }
            providers.push(compiled);
        }
        check_outputs(config, &providers)?;
        Ok(Self {
            providers,
            rules: Rules::compile(config)?,
            limits: config.limits,
            crypto: match config.crypto_offload {
                CryptoOffload::Auto => Crypto::probe(),
                CryptoOffload::Never => Crypto::rust(),
            },
            verified: RefCell::new(Cache::new(config.token_cache.entries, config.token_cache.max_ttl.0)),
            refused: RefCell::new(Cache::new(REFUSED_ENTRIES.min(config.token_cache.entries), REFUSED_AGE)),
            caches: config.token_cache.entries > 0,
        })
    }

    /// Every header that any provider may fill, once.
    #[must_use]
    pub fn identity_headers(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = Vec::new();
        for name in self.providers.iter().flat_map(|provider| provider.outputs.names()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The key sets that are fetched.
    pub fn remotes(&self) -> impl Iterator<Item = &Rc<Remote>> {
        self.providers.iter().filter_map(|provider| match &provider.keys {
            Keys::Fetched(remote) => Some(remote),
            Keys::Fixed(_) => None,
        })
    }

    /// Who verifies what.
    #[must_use]
    pub fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    /// Decides; `now` is when the request came.
    pub fn decide(&self, request: &Request, now: impl FnOnce() -> Now) -> Decision<'_> {
        let open = Decision { outcome: Outcome::Open, taken: Vec::new(), cache_hit: None };
        let Some(requirement) = self.rules.requirement(request) else { return open };
        let mut found = Vec::new();
        let mut places: Vec<(&Source, &[usize])> = Vec::new();
        for (source, owners) in &requirement.sources {
            let before = found.len();
            source.find(request, &mut found);
            if found.len() > before {
                places.push((source, owners));
            }
        }
        let cache_hit = Cell::new(None);
        let verified = match (found.as_slice(), places.as_slice()) {
            ([], _) => Err(Reject::Missing.into()),
            ([Found::Token(token)], [(_, owners)]) => self.verify(token, owners, &now(), &cache_hit),
            ([_], _) => Err(Reject::Malformed.into()),
            _ => Err(Reject::Multiple.into()),
        };
        let outcome = self.outcome(requirement, verified);
        let taken = self.to_be_taken(&outcome, &places);
        Decision { outcome, taken, cache_hit: cache_hit.get() }
    }

    fn outcome(&self, requirement: &Requirement, verified: Result<Rc<Verified>, Refusal>) -> Outcome {
        let (refusal, scope) = match verified {
            Ok(verified) => match requirement.check(&verified.claims) {
                Ok(()) => return Outcome::Verified(verified),
                Err(insufficient) => {
                    let provider = Some(verified.provider);
                    (Refusal { reject: insufficient.reject, provider }, insufficient.scope)
                }
            },
            Err(refusal) => (refusal, None),
        };
        let Refusal { reject, provider } = refusal;
        match (requirement.otherwise, reject) {
            (Otherwise::MissingOrInvalid, _) | (Otherwise::Missing, Reject::Missing) => {
                return Outcome::Anonymous;
            }
            _ => {}
        }
        let provider = provider.and_then(|index| self.providers.get(index));
        let status = match (reject, provider) {
            (Reject::JwksUnavailable, Some(provider)) => provider.unavailable_status,
            _ => reject.status(),
        };
        Outcome::Denied(Denial {
            reject,
            status,
            scope,
            provider: provider.map(|provider| provider.name.clone()),
        })
    }

    /// Whose token it is says whether it is forwarded; one that is nobody's, only where everybody forwards.
    fn to_be_taken<'a>(&self, outcome: &Outcome, places: &[(&'a Source, &[usize])]) -> Vec<&'a Source> {
        let forwards =
            |index: &usize| self.providers.get(*index).is_some_and(|provider| provider.forward_token);
        let is_forwarded = |owners: &[usize]| match outcome {
            Outcome::Verified(verified) => forwards(&verified.provider),
            _ => owners.iter().all(forwards),
        };
        places.iter().filter(|(_, owners)| !is_forwarded(owners)).map(|(source, _)| *source).collect()
    }

    /// Whether the token is one of these providers'.
    fn verify(
        &self,
        token: &[u8],
        owners: &[usize],
        now: &Now,
        cache_hit: &Cell<Option<bool>>,
    ) -> Result<Rc<Verified>, Refusal> {
        if token.len() > self.limits.token_bytes {
            return Err(Reject::TooLarge.into());
        }
        if self.caches {
            let known = owners.iter().find_map(|&owner| self.cached(token, owner, now));
            cache_hit.set(Some(known.is_some()));
            if let Some(known) = known {
                return known;
            }
        }
        let compact = compact::split(token, self.limits.token_bytes, self.limits.json_depth)?;
        let claims = Rc::new(compact.claims(self.limits.json_depth)?);
        let mut furthest = Refusal::from(Reject::Issuer);
        for &owner in owners {
            let Some(provider) = self.providers.get(owner) else { continue };
            match self.verify_for(owner, provider, token, &compact, &claims, now) {
                Ok(verified) => return Ok(verified),
                Err(reject)
                    if furthest.provider.is_none() || reject.progress() > furthest.reject.progress() =>
                {
                    furthest = Refusal { reject, provider: Some(owner) };
                }
                Err(_) => {}
            }
        }
        Err(furthest)
    }

    /// What is known of a token; its times are looked at again.
    fn cached(&self, token: &[u8], owner: usize, now: &Now) -> Option<Result<Rc<Verified>, Refusal>> {
        let provider = self.providers.get(owner)?;
        let key = cache::key(owner, provider.keys(now.monotonic)?.generation, token);
        let refusal = |reject| Refusal { reject, provider: Some(owner) };
        if let Some(verified) = self.verified.borrow_mut().get(&key, now.monotonic) {
            let times = verified.claims.check_times(&provider.times, now.wall);
            return Some(times.map(|()| verified).map_err(refusal));
        }
        self.refused.borrow_mut().get(&key, now.monotonic).map(|()| Err(refusal(Reject::Signature)))
    }

    fn verify_for(
        &self,
        owner: usize,
        provider: &Provider,
        token: &[u8],
        compact: &Compact<'_>,
        claims: &Rc<Claims>,
        now: &Now,
    ) -> Result<Rc<Verified>, Reject> {
        let algorithm = provider.check(compact, claims)?;
        claims.check_times(&provider.times, now.wall)?;
        let keys = provider.keys(now.monotonic).ok_or(Reject::JwksUnavailable)?;
        let checked = provider.check_signature(compact, algorithm, &keys, &self.crypto, now.monotonic);
        let key = || cache::key(owner, keys.generation, token);
        if let Err(reject) = checked {
            if reject == Reject::Signature && self.caches {
                self.refused.borrow_mut().insert(key(), (), now.monotonic);
            }
            return Err(reject);
        }
        let verified = Rc::new(Verified {
            provider: owner,
            headers: provider.outputs.of(&claims.all, compact.payload_text),
            claims: Rc::clone(claims),
            payload: compact.payload.clone(),
        });
        if self.caches {
            self.verified.borrow_mut().insert(key(), Rc::clone(&verified), now.monotonic);
        }
        Ok(verified)
    }
}

fn check_bounds(config: &Config) -> Result<(), ConfigError> {
    let bound = |field: &str, value: usize, least: usize, most: usize| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(ConfigError::new(format!("must be from {least} to {most}, not {value}"))).at(field)
    };
    let policy = &config.key_policy;
    bound("minRsaBits", policy.min_rsa_bits, 1_024, 16_384).at("keyPolicy")?;
    bound("maxRsaBits", policy.max_rsa_bits, policy.min_rsa_bits, 16_384).at("keyPolicy")?;
    let limits = &config.limits;
    bound("tokenBytes", limits.token_bytes, 64, 1 << 20).at("limits")?;
    bound("jwksBytes", limits.jwks_bytes, 64, 1 << 22).at("limits")?;
    bound("keys", limits.keys, 1, 1_000).at("limits")?;
    bound("jsonDepth", limits.json_depth, 1, 64).at("limits")?;
    bound("entries", config.token_cache.entries, 0, 100_000).at("tokenCache")
}

/// An output that a token comes from would be removed before it is read.
fn check_outputs(config: &Config, providers: &[Provider]) -> Result<(), ConfigError> {
    let mut places = vec!["cookie".to_owned()];
    for (index, provider) in config.providers.iter().enumerate() {
        for source in Source::compile(provider).at_index(index).at("providers")? {
            if let Source::Header(name, _) = source {
                places.push(name.as_str().to_owned());
            }
        }
    }
    for (index, provider) in providers.iter().enumerate() {
        if let Some(name) =
            provider.outputs.names().find(|name| places.iter().any(|place| place == name.as_str()))
        {
            let message =
                format!("{} is where tokens come from; it cannot be an output", quoted(name.as_str()));
            return Err(ConfigError::new(message)).at_index(index).at("providers");
        }
    }
    Ok(())
}
