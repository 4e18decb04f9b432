//! Which lane a request gets, and why. It asks of the request what it needs, when it needs it.

use std::time::Duration;

use plugin_kit::cidr::Cidr;
use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::HeaderName;
use plugin_kit::hostcalls::Bytes;
use plugin_kit::matching::Condition;
use plugin_kit::request::Request;
use plugin_kit::source::Sources;

use crate::config::{self, Config, NoKey, UnknownLane, Untrusted};
use crate::cookie::Cookie;
use crate::lane::{Lane, Lanes};
use crate::split::{Shares, bucket_of};

/// Everything that decides.
#[derive(Debug)]
pub struct Decider {
    header: HeaderName,
    trust: Trust,
    untrusted: Untrusted,
    unknown_lane: UnknownLane,
    default: Option<Lane>,
    overrides: Vec<(Lane, Condition)>,
    rules: Vec<(Lane, Condition)>,
    rule_names: Vec<String>,
    split: Option<Split>,
    own_lane: Option<Sources>,
    /// The lanes there are.
    pub lanes: Lanes,
}

#[derive(Debug)]
enum Trust {
    Never,
    Always,
    Clients(Vec<Cidr>),
}

#[derive(Debug)]
struct Split {
    condition: Condition,
    key: Sources,
    shares: Shares,
    no_key: NoKey,
    sticky_cookie: String,
}

/// What a decision may need beside the request; each is asked for only where it is needed.
#[derive(Clone, Copy)]
pub struct World {
    /// The wall clock.
    pub now: fn() -> Duration,
    /// 128 random bits.
    pub random: fn() -> Option<[u8; 16]>,
    /// A random id.
    pub uuid: fn() -> Option<String>,
}

/// Why a request has its lane: the label in metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It came with it, from somebody trusted.
    Incoming,
    /// It came with one that there is not, from somebody trusted.
    UnknownLane,
    /// It came with one that does not count, and such requests are rejected.
    Untrusted,
    /// An override.
    Override,
    /// A rule.
    Rule,
    /// The split, by its key.
    Split,
    /// The split, by chance.
    Random,
    /// The split found no key.
    NoKey,
    /// Nothing else decided.
    Default,
    /// It leaves a sidecar, and the application said it.
    Application,
    /// It leaves a sidecar, and belongs to a request that entered it.
    Correlated,
    /// It leaves a sidecar, and belongs to none.
    OwnLane,
}

impl Reason {
    /// Every reason, in the order of [`Reason::index`].
    pub const ALL: [Self; 12] = [
        Self::Incoming,
        Self::UnknownLane,
        Self::Untrusted,
        Self::Override,
        Self::Rule,
        Self::Split,
        Self::Random,
        Self::NoKey,
        Self::Default,
        Self::Application,
        Self::Correlated,
        Self::OwnLane,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::UnknownLane => "unknown_lane",
            Self::Untrusted => "untrusted",
            Self::Override => "override",
            Self::Rule => "rule",
            Self::Split => "split",
            Self::Random => "random",
            Self::NoKey => "no_key",
            Self::Default => "default",
            Self::Application => "application",
            Self::Correlated => "correlated",
            Self::OwnLane => "own_lane",
        }
    }

    /// Its place among [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its lane, if it gets one.
    pub lane: Option<Lane>,
    /// Why.
    pub reason: Reason,
    /// Which rule, if it was one.
    pub rule: Option<usize>,
    /// The HTTP status it is answered with, if it goes no further.
    pub rejected: Option<u16>,
    /// The lane it came with: every line of the header.
    pub sent: Option<Bytes>,
    /// It came with a lane that does not count.
    pub untrusted: bool,
    /// It came with a lane that counts and that there is not.
    pub unknown: bool,
    /// Where the split put it.
    pub bucket: Option<u16>,
    /// The id for the sticky cookie, where the client has none.
    pub new_id: Option<String>,
}

impl Decision {
    fn new(lane: Option<Lane>, reason: Reason) -> Self {
        Self {
            lane,
            reason,
            rule: None,
            rejected: None,
            sent: None,
            untrusted: false,
            unknown: false,
            bucket: None,
            new_id: None,
        }
    }
}

impl Decider {
    /// Compiles what decides.
    pub fn compile(config: &Config, header: &HeaderName, cookie: &Cookie) -> Result<Self, ConfigError> {
        let lanes = Lanes::compile(config)?;
        let default = match config.default_lane.as_str() {
            "" => None,
            name => Some(lanes.known(name).at("defaultLane")?),
        };
        let mut overrides = Vec::with_capacity(config.overrides.len());
        for (index, item) in config.overrides.iter().enumerate() {
            let compiled = compile_choice(&item.lane, &item.matches, &lanes);
            overrides.push(compiled.at_index(index).at("overrides")?);
        }
        let mut rules = Vec::with_capacity(config.rules.len());
        for (index, rule) in config.rules.iter().enumerate() {
            let compiled = check_name(rule, config.rules.get(..index).unwrap_or_default())
                .and_then(|()| compile_choice(&rule.lane, &rule.matches, &lanes));
            rules.push(compiled.at_index(index).at("rules")?);
        }
        let mesh = &config.propagate.mesh;
        let own_lane = match mesh.own_lane.0.is_empty() {
            true => None,
            false => Some(mesh.own_lane.compile().at("ownLane").at("mesh").at("propagate")?),
        };
        Ok(Self {
            header: header.clone(),
            trust: Trust::compile(&config.incoming.trust).at("trust").at("incoming")?,
            untrusted: config.incoming.untrusted,
            unknown_lane: config.incoming.unknown_lane,
            default,
            overrides,
            rules,
            rule_names: config.rules.iter().map(|rule| rule.name.clone()).collect(),
            split: match &config.split {
                Some(split) => Some(
                    Split::compile(split, header, cookie, &lanes, config.bucket_header.is_empty())
                        .at("split")?,
                ),
                None => None,
            },
            own_lane,
            lanes,
        })
    }

    /// Whether the client's address decides whose lane counts, or which one it is. (As a key of the split it only spreads
    /// requests.)
    pub fn reads_client_ip(&self) -> bool {
        let choices = self.overrides.iter().chain(&self.rules).map(|(_, condition)| condition);
        matches!(self.trust, Trust::Clients(_))
            || choices.chain(self.split.iter().map(|split| &split.condition)).any(Condition::reads_client_ip)
    }

    /// The lane that a request came with. Where clients are not trusted it has none most of the time, and the header
    /// itself says so for a third of what the list of its lines costs.
    fn sent(&self, request: &Request) -> Option<Bytes> {
        let name = self.header.as_str();
        if !matches!(self.trust, Trust::Always) {
            request.header(name)?;
        }
        request.joined_header(name)
    }

    /// A request that enters the proxy.
    pub fn incoming(&self, request: &Request, world: World) -> Decision {
        let sent = self.sent(request);
        let Some(name) = sent.as_deref().filter(|name| !name.is_empty()) else {
            return Decision { sent, ..self.choose(request, world) };
        };
        if !self.trust.covers(request) {
            let decision = match self.untrusted {
                Untrusted::Remove => self.choose(request, world),
                Untrusted::Reject => {
                    Decision { rejected: Some(403), ..Decision::new(None, Reason::Untrusted) }
                }
            };
            return Decision { untrusted: true, sent, ..decision };
        }
        let decision = match (self.lanes.find(name), self.unknown_lane) {
            (Some(lane), _) => Decision::new(Some(lane), Reason::Incoming),
            (None, UnknownLane::Default) => {
                Decision { unknown: true, ..Decision::new(self.default, Reason::UnknownLane) }
            }
            (None, UnknownLane::Reject) => {
                Decision { unknown: true, rejected: Some(400), ..Decision::new(None, Reason::UnknownLane) }
            }
        };
        Decision { sent, ..decision }
    }

    /// A request that the application behind a sidecar makes. `carried`: the lane of the request that it belongs to.
    pub fn outgoing(
        &self,
        request: &Request,
        world: World,
        carried: impl FnOnce() -> Option<Bytes>,
    ) -> Decision {
        let sent = request.joined_header(self.header.as_str());
        if let Some(name) = sent.as_deref().filter(|name| !name.is_empty()) {
            let lane = self.lanes.find(name);
            return Decision { unknown: lane.is_none(), sent, ..Decision::new(lane, Reason::Application) };
        }
        if let Some(lane) = carried().and_then(|name| self.lanes.find(&name)) {
            return Decision { sent, ..Decision::new(Some(lane), Reason::Correlated) };
        }
        let own = self.own_lane.as_ref().and_then(|sources| sources.value(request));
        if let Some(lane) = own.and_then(|name| self.lanes.find(&name)) {
            return Decision { sent, ..Decision::new(Some(lane), Reason::OwnLane) };
        }
        Decision { sent, ..self.choose(request, world) }
    }

    /// The name of a rule.
    pub fn rule(&self, at: usize) -> &str {
        self.rule_names.get(at).map_or("", String::as_str)
    }

    fn choose(&self, request: &Request, world: World) -> Decision {
        let first = |choices: &[(Lane, Condition)]| {
            choices.iter().position(|(_, condition)| condition.matches(request))
        };
        let lane = |choices: &[(Lane, Condition)], at: usize| choices.get(at).map(|(lane, _)| *lane);
        if let Some(at) = first(&self.overrides) {
            return Decision::new(lane(&self.overrides, at), Reason::Override);
        }
        if let Some(at) = first(&self.rules) {
            return Decision { rule: Some(at), ..Decision::new(lane(&self.rules, at), Reason::Rule) };
        }
        match &self.split {
            Some(split) if split.condition.matches(request) => split.choose(request, self.default, world),
            _ => Decision::new(self.default, Reason::Default),
        }
    }
}

impl Trust {
    fn compile(trust: &config::Trust) -> Result<Self, ConfigError> {
        let networks = match trust {
            config::Trust::Never => return Ok(Self::Never),
            config::Trust::Always => return Ok(Self::Always),
            config::Trust::ClientIps(networks) => networks,
        };
        if networks.is_empty() {
            return Err(ConfigError::new("is empty; say never")).at("clientIps");
        }
        let networks = networks.iter().enumerate();
        let networks = networks.map(|(index, network)| Cidr::new(network).at_index(index).at("clientIps"));
        networks.collect::<Result<_, _>>().map(Self::Clients)
    }

    fn covers(&self, request: &Request) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Clients(networks) => {
                let client = request.client_ip();
                client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
            }
        }
    }
}

impl Split {
    fn compile(
        split: &config::Split,
        header: &HeaderName,
        cookie: &Cookie,
        lanes: &Lanes,
        lanes_needed: bool,
    ) -> Result<Self, ConfigError> {
        if split.lanes.is_empty() && lanes_needed {
            return Err(ConfigError::new("is empty, and there is no bucketHeader either")).at("lanes");
        }
        let salt = split.salt.as_deref().unwrap_or(header.as_str());
        Ok(Self {
            condition: split.matches.compile().at("match")?,
            key: split.key.compile().at("key")?,
            shares: Shares::compile(split, salt, lanes)?,
            no_key: split.no_key,
            sticky_cookie: cookie.name().to_owned(),
        })
    }

    fn choose(&self, request: &Request, default: Option<Lane>, world: World) -> Decision {
        let decide = |bucket, reason| Decision {
            bucket: Some(bucket),
            ..Decision::new(self.shares.lane(bucket, world.now).or(default), reason)
        };
        if let Some(key) = self.key.value(request) {
            return decide(self.shares.bucket(&key), Reason::Split);
        }
        let chosen = match self.no_key {
            NoKey::Default => None,
            NoKey::Cookie => match request.cookie(&self.sticky_cookie) {
                Some(id) => Some(decide(self.shares.bucket(&id), Reason::Split)),
                None => (world.uuid)().map(|id| {
                    let decision = decide(self.shares.bucket(id.as_bytes()), Reason::Split);
                    Decision { new_id: Some(id), ..decision }
                }),
            },
            NoKey::Random => (world.random)().map(|bits| {
                let [a, b, c, d, ..] = bits;
                decide(bucket_of(u32::from_le_bytes([a, b, c, d])), Reason::Random)
            }),
        };
        chosen.unwrap_or_else(|| Decision::new(default, Reason::NoKey))
    }
}

fn compile_choice(
    lane: &str,
    matches: &plugin_kit::matching::Match,
    lanes: &Lanes,
) -> Result<(Lane, Condition), ConfigError> {
    Ok((lanes.known(lane).at("lane")?, matches.compile().at("match")?))
}

fn check_name(rule: &config::Rule, before: &[config::Rule]) -> Result<(), ConfigError> {
    let well_formed = !rule.name.is_empty()
        && rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !well_formed {
        let message = format!("{} must be lower-case letters, digits and '-'", quoted(&rule.name));
        return Err(ConfigError::new(message)).at("name");
    }
    if before.iter().any(|other| other.name == rule.name) {
        return Err(ConfigError::new(format!("{} is the name of two rules", quoted(&rule.name)))).at("name");
    }
    Ok(())
}
