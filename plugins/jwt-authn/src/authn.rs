//! From a request to a decision.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use log::debug;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::clock;
use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::HeaderName;
use plugin_kit::request::Request;

use crate::cache::Cache;
use crate::callout::{Outlook, Remote};
use crate::challenge::Denial;
use crate::compact::{self, Compact, Token};
use crate::config::{Config, CryptoOffload, Limits};
use crate::crypto::Crypto;
use crate::extract::{Found, Source};
use crate::jwks_fetch::SetHash;
use crate::reject::Reject;
use crate::rules::{self, Otherwise, Requirement, Rules};
use crate::verify::{KeySet, Provider, verify_with};

/// Wrong signatures are cached, too, so that one that is sent again costs next to nothing.
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
    /// By which provider, and which of its key sets.
    refused: RefCell<Cache<(usize, SetHash)>>,
    caches: bool,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is: a place in the list of providers.
    provider: usize,
    /// With which keys.
    key_set: SetHash,
    /// What is in it.
    pub token: Rc<Token>,
    /// What the upstream is told.
    pub headers: Vec<(HeaderName, Vec<u8>)>,
}

/// A token that was taken apart, and the providers that have verified it, each with the key set that it used: a key that
/// is removed from its set no longer counts.
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

/// Both clocks; `None` for one that fails.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the epoch.
    pub wall: Option<Duration>,
    /// Since an arbitrary start; read only where [`Authn::fetches_keys`].
    pub monotonic: Option<Duration>,
}

impl Now {
    /// The time by which cache entries expire: without a clock all of them have.
    fn of_cache(&self) -> Duration {
        self.wall.unwrap_or(clock::END_OF_TIME)
    }
}

/// Whether a request may still wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// It has not waited.
    First,
    /// It has waited, or cannot: it is decided with the keys that there are.
    Last,
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

/// How far a request has come.
#[derive(Debug)]
pub enum Step<'a> {
    /// It is decided.
    Decided(Decision<'a>),
    /// It waits for the key sets of these providers; only in the first round.
    Pending(Vec<usize>),
}

impl<'a> Step<'a> {
    /// The decision; a request that would wait is denied.
    #[must_use]
    pub fn decided(self) -> Decision<'a> {
        match self {
            Self::Decided(decision) => decision,
            Self::Pending(_) => Decision::new(Outcome::Denied(Denial::new(Reject::JwksUnavailable))),
        }
    }
}

impl Decision<'_> {
    const fn new(outcome: Outcome) -> Self {
        Self { outcome, taken: Vec::new(), cache_hit: None }
    }
}

/// Why a token is not verified.
enum Refusal {
    /// It was rejected, by the provider that came furthest.
    Rejected(Reject, Option<usize>),
    /// The keys of these providers may verify it once they have been fetched.
    Pending(Vec<usize>),
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject, None)
    }
}

/// The result of one provider.
enum Verdict {
    Verified(Rc<Verified>),
    Rejected(Reject),
    /// The token is in order, but no key of this set verifies it.
    NoKey(Reject, Rc<KeySet>),
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

    /// Logs a warning for each choice that is easily a mistake.
    pub fn warn_of_mistakes(&self, client_ip: &ClientIp) {
        for provider in &self.providers {
            provider.warn_of_mistakes();
        }
        self.rules.warn_of_mistakes(client_ip);
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
        self.providers.iter().filter_map(Provider::remote)
    }

    /// How long a request waits for the key sets of these providers.
    #[must_use]
    pub fn patience(&self, providers: &[usize]) -> Duration {
        let timeout = |index: &usize| Some(self.providers.get(*index)?.remote()?.timeout());
        providers.iter().filter_map(timeout).max().unwrap_or_default()
    }

    /// The providers whose key sets are being fetched at `now`.
    #[must_use]
    pub fn fetching(&self, now: Duration) -> Vec<usize> {
        let is_pending = |provider: &Provider| provider.remote().is_some_and(|remote| remote.is_pending(now));
        let providers = self.providers.iter().enumerate();
        providers.filter(|(_, provider)| is_pending(provider)).map(|(index, _)| index).collect()
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

    /// Decides; `now` is called only where a token is verified.
    pub fn decide(&self, request: &Request, round: Round, now: impl FnOnce() -> Now) -> Step<'_> {
        let requirement = match self.rules.requirement(request) {
            Ok(Some(requirement)) => requirement,
            Ok(None) => return Step::Decided(Decision::new(Outcome::Open)),
            Err(_) if self.rules.lets_pass(request) => return Step::Decided(Decision::new(Outcome::Open)),
            Err(ambiguity) => {
                debug!("ambiguous request: {}", ambiguity.as_str());
                return Step::Decided(Decision::new(Outcome::Denied(Denial::new(Reject::Ambiguous))));
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
            ([Found::Token(token)], [(_, owners)]) => self.verify(token, owners, round, &now(), &cache_hit),
            ([_], _) => Err(Reject::Malformed.into()),
            _ => Err(Reject::Multiple.into()),
        };
        let verified = match verified {
            Ok(verified) => Ok(verified),
            Err(Refusal::Rejected(reject, provider)) => Err((reject, provider)),
            Err(Refusal::Pending(_)) if self.rules.lets_pass(request) => {
                return Step::Decided(Decision::new(Outcome::Open));
            }
            Err(Refusal::Pending(providers)) => return Step::Pending(providers),
        };
        let cache_hit = cache_hit.get();
        let outcome = self.outcome(requirement, verified);
        if matches!(outcome, Outcome::Denied(_)) && self.rules.lets_pass(request) {
            return Step::Decided(Decision { cache_hit, ..Decision::new(Outcome::Open) });
        }
        let taken = self.to_be_taken(&outcome, &places);
        Step::Decided(Decision { outcome, taken, cache_hit })
    }

    fn outcome(
        &self,
        requirement: &Requirement,
        verified: Result<Rc<Verified>, (Reject, Option<usize>)>,
    ) -> Outcome {
        let (reject, provider, scope) = match verified {
            Ok(verified) => match requirement.check(&verified.token.claims) {
                Ok(()) => return Outcome::Verified(verified),
                Err(insufficient) => (insufficient.reject, Some(verified.provider), insufficient.scope),
            },
            Err((reject, provider)) => (reject, provider, None),
        };
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
            _ => !owners.is_empty() && owners.iter().all(forwards),
        };
        places.iter().filter(|(_, owners)| !is_forwarded(owners)).map(|(source, _)| *source).collect()
    }

    /// Whether the token is one of these providers'. What the caches hold saves work and decides nothing: each provider
    /// checks the token in turn, as if it had never been seen.
    fn verify(
        &self,
        text: &[u8],
        owners: &[usize],
        round: Round,
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
        let mut furthest = (Reject::Issuer, None);
        let mut keep_furthest = |reject: Reject, owner| {
            let (before, provider) = furthest;
            if provider.is_none() || reject.progress() > before.progress() {
                furthest = (reject, Some(owner));
            }
        };
        let mut without_key = Vec::new();
        for &owner in owners {
            let Some(provider) = self.providers.get(owner) else { continue };
            match self.verify_for(owner, provider, &seen, now) {
                Verdict::Verified(verified) => return Ok(verified),
                Verdict::Rejected(reject) => keep_furthest(reject, owner),
                Verdict::NoKey(reject, keys) => {
                    keep_furthest(reject, owner);
                    without_key.push((owner, keys.hash));
                }
            }
        }
        // Not before all providers had their turn: the token of one must not make another one fetch.
        let mut pending = Vec::new();
        for (owner, seen_set) in without_key {
            let (Some(provider), Some(monotonic)) = (self.providers.get(owner), now.monotonic) else {
                continue;
            };
            let Some(remote) = provider.remote() else { continue };
            if let Some(newest) = remote.newest(monotonic).filter(|newest| newest.hash != seen_set) {
                match self.verify_signature(owner, provider, &seen, &newest, now) {
                    Ok(verified) => return Ok(verified),
                    Err(reject) => keep_furthest(reject, owner),
                }
            }
            let outlook = match round {
                Round::First => remote.look_for_key(monotonic),
                Round::Last => remote.outlook(monotonic),
            };
            match outlook {
                Outlook::Pending => pending.push(owner),
                Outlook::Unavailable => keep_furthest(Reject::JwksUnavailable, owner),
                Outlook::Settled => {}
            }
        }
        if !pending.is_empty() {
            return Err(Refusal::Pending(pending));
        }
        let (reject, provider) = furthest;
        Err(Refusal::Rejected(reject, provider))
    }

    fn verify_for(&self, owner: usize, provider: &Provider, seen: &Seen<'_>, now: &Now) -> Verdict {
        let token = &seen.known.token;
        let checked = provider.check(token).and_then(|_| token.claims.check_times(&provider.times, now.wall));
        if let Err(reject) = checked {
            return Verdict::Rejected(reject);
        }
        let Some(keys) = provider.keys(now.monotonic) else {
            return Verdict::Rejected(Reject::JwksUnavailable);
        };
        match self.verify_signature(owner, provider, seen, &keys, now) {
            Ok(verified) => Verdict::Verified(verified),
            Err(reject) => Verdict::NoKey(reject, keys),
        }
    }

    /// Whether one of the keys has signed a token that is otherwise in order.
    fn verify_signature(
        &self,
        owner: usize,
        provider: &Provider,
        seen: &Seen<'_>,
        keys: &KeySet,
        now: &Now,
    ) -> Result<Rc<Verified>, Reject> {
        let Seen { text, parts, known, cache_hit } = seen;
        let token = &known.token;
        if let Some(verified) = known.verified_by(owner, keys.hash) {
            return Ok(verified);
        }
        if self.refused.borrow_mut().get(text, now.of_cache()) == Some((owner, keys.hash)) {
            cache_hit.set(Some(true));
            return Err(Reject::Signature);
        }
        let algorithm = provider.algorithm(token)?;
        let split;
        let parts = match parts {
            Some(parts) => parts,
            None => {
                split = compact::split(text, self.limits.token_bytes)?;
                &split
            }
        };
        let kid = token.header.kid.as_deref();
        if let Err(reject) = verify_with(&keys.keys, kid, parts, algorithm, &self.crypto) {
            if reject == Reject::Signature && self.caches {
                self.refused.borrow_mut().insert(text, (owner, keys.hash), now.of_cache());
            }
            return Err(reject);
        }
        let verified = Rc::new(Verified {
            provider: owner,
            key_set: keys.hash,
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
    fn verified_by(&self, provider: usize, key_set: SetHash) -> Option<Rc<Verified>> {
        let verified = self.verified.borrow();
        let by = |known: &&Rc<Verified>| known.provider == provider && known.key_set == key_set;
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
