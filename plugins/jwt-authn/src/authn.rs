//! From a request to a decision.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use log::debug;
use plugin_kit::clock;
use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::HeaderName;
use plugin_kit::request::Request;

use crate::cache::Cache;
use crate::callout::Remote;
use crate::challenge::Denial;
use crate::compact::{self, Compact, Token};
use crate::config::{Config, CryptoOffload, Limits};
use crate::crypto::Crypto;
use crate::extract::{Found, Source};
use crate::reject::Reject;
use crate::rules::{self, Otherwise, Requirement, Rules};
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
    verified: RefCell<Cache<Rc<Known>>>,
    /// By which provider, and which generation of its keys.
    refused: RefCell<Cache<(usize, u64)>>,
    caches: bool,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is: a place in the list of providers.
    provider: usize,
    /// With which keys.
    generation: u64,
    /// What is in it.
    pub token: Rc<Token>,
    /// What the upstream is told.
    pub headers: Vec<(HeaderName, Vec<u8>)>,
}

/// A token that was taken apart, and the providers that have verified it. A key that was removed takes with it what it
/// has verified, as each has the generation of the keys with it.
#[derive(Debug)]
struct Known {
    token: Rc<Token>,
    verified: RefCell<Vec<Rc<Verified>>>,
}

/// A token of a request.
struct Seen<'a> {
    text: &'a [u8],
    /// `None` where it was known already.
    parts: Option<Compact<'a>>,
    known: Rc<Known>,
    cache_hit: &'a Cell<Option<bool>>,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the epoch; `None` where the clock fails.
    pub wall: Option<Duration>,
    /// Since whenever; zero where [`Authn::fetches_keys`] is false.
    pub monotonic: Duration,
}

impl Now {
    /// The time by which cache entries expire: without a clock all of them have.
    fn of_cache(&self) -> Duration {
        self.wall.unwrap_or(clock::END_OF_TIME)
    }
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

    /// Whether a decision might look at one of [`Authn::identity_headers`].
    #[must_use]
    pub fn reads_identity(&self) -> bool {
        let is_read = |name: &HeaderName| rules::PREFLIGHT.contains(&name.as_str());
        self.rules.read_headers || self.identity_headers().iter().any(is_read)
    }

    /// The key sets that are fetched.
    pub fn remotes(&self) -> impl Iterator<Item = &Rc<Remote>> {
        self.providers.iter().filter_map(|provider| match &provider.keys {
            Keys::Fetched(remote) => Some(remote),
            Keys::Fixed(_) => None,
        })
    }

    /// Whether a decision depends on the age of key sets.
    #[must_use]
    pub fn fetches_keys(&self) -> bool {
        self.remotes().next().is_some()
    }

    /// Who verifies what.
    #[must_use]
    pub fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    /// Decides; `now` is when the request came.
    pub fn decide(&self, request: &Request, now: impl FnOnce() -> Now) -> Decision<'_> {
        let open = Decision { outcome: Outcome::Open, taken: Vec::new(), cache_hit: None };
        let requirement = match self.rules.requirement(request) {
            Ok(Some(requirement)) => requirement,
            Ok(None) => return open,
            Err(_) if self.rules.lets_pass(request) => return open,
            Err(ambiguity) => {
                debug!("ambiguous request: {}", ambiguity.as_str());
                let denial = Denial { reject: Reject::Ambiguous, status: 400, scope: None, provider: None };
                return Decision { outcome: Outcome::Denied(denial), ..open };
            }
        };
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
        if matches!(outcome, Outcome::Denied(_)) && self.rules.lets_pass(request) {
            return Decision { cache_hit: cache_hit.get(), ..open };
        }
        let taken = self.to_be_taken(&outcome, &places);
        Decision { outcome, taken, cache_hit: cache_hit.get() }
    }

    fn outcome(&self, requirement: &Requirement, verified: Result<Rc<Verified>, Refusal>) -> Outcome {
        let (refusal, scope) = match verified {
            Ok(verified) => match requirement.check(&verified.token.claims) {
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

    /// Whether the token is one of these providers'. What is known of it saves work and decides nothing: each provider
    /// is asked in turn, as if the token had never been seen.
    fn verify(
        &self,
        text: &[u8],
        owners: &[usize],
        now: &Now,
        cache_hit: &Cell<Option<bool>>,
    ) -> Result<Rc<Verified>, Refusal> {
        if text.len() > self.limits.token_bytes {
            return Err(Reject::TooLarge.into());
        }
        let known = self.verified.borrow_mut().get(text, now.of_cache());
        if self.caches {
            cache_hit.set(Some(known.is_some()));
        }
        let seen = match known {
            Some(known) => Seen { text, parts: None, known, cache_hit },
            None => {
                let parts = compact::split(text, self.limits.token_bytes)?;
                let token = Rc::new(parts.read(self.limits.json_depth)?);
                let known = Rc::new(Known { token, verified: RefCell::default() });
                Seen { text, parts: Some(parts), known, cache_hit }
            }
        };
        let mut furthest = Refusal::from(Reject::Issuer);
        for &owner in owners {
            let Some(provider) = self.providers.get(owner) else { continue };
            match self.verify_for(owner, provider, &seen, now) {
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

    fn verify_for(
        &self,
        owner: usize,
        provider: &Provider,
        seen: &Seen<'_>,
        now: &Now,
    ) -> Result<Rc<Verified>, Reject> {
        let Seen { text, parts, known, cache_hit } = seen;
        let token = &known.token;
        let algorithm = provider.check(token)?;
        token.claims.check_times(&provider.times, now.wall)?;
        let keys = provider.keys(now.monotonic).ok_or(Reject::JwksUnavailable)?;
        if let Some(verified) = known.verified_by(owner, keys.generation) {
            return Ok(verified);
        }
        if self.refused.borrow_mut().get(text, now.of_cache()) == Some((owner, keys.generation)) {
            cache_hit.set(Some(true));
            return Err(Reject::Signature);
        }
        let split;
        let parts = match parts {
            Some(parts) => parts,
            None => {
                split = compact::split(text, self.limits.token_bytes)?;
                &split
            }
        };
        let kid = token.header.kid.as_deref();
        let checked = provider.check_signature(kid, parts, algorithm, &keys, &self.crypto, now.monotonic);
        if let Err(reject) = checked {
            if reject == Reject::Signature && self.caches {
                self.refused.borrow_mut().insert(text, (owner, keys.generation), now.of_cache());
            }
            return Err(reject);
        }
        let verified = Rc::new(Verified {
            provider: owner,
            generation: keys.generation,
            headers: provider.outputs.of(&token.claims.all, parts.payload),
            token: Rc::clone(token),
        });
        if self.caches {
            known.add(&verified);
            self.verified.borrow_mut().insert(text, Rc::clone(known), now.of_cache());
        }
        Ok(verified)
    }
}

impl Known {
    fn verified_by(&self, provider: usize, generation: u64) -> Option<Rc<Verified>> {
        let verified = self.verified.borrow();
        let by = |known: &&Rc<Verified>| known.provider == provider && known.generation == generation;
        verified.iter().find(by).map(Rc::clone)
    }

    /// A provider's older keys no longer count.
    fn add(&self, verified: &Rc<Verified>) {
        let mut all = self.verified.borrow_mut();
        all.retain(|known| known.provider != verified.provider);
        all.push(Rc::clone(verified));
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
