//! Which rules apply to a message, and what they make of its body.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::matching::{Captures, Condition};
use plugin_kit::request::Request;
use plugin_kit::status::Statuses;

use crate::config::{self, OnPatchError};
use crate::document::Value;
use crate::json::{self, Flaw};
use crate::media::MediaTypes;
use crate::patch::{self, BoundPatch, Failure, Patch};

/// The rules for one direction.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

/// A compiled rule.
#[derive(Debug)]
struct Rule {
    condition: Condition,
    uses_captures: bool,
    statuses: Option<Statuses>,
    types: MediaTypes,
    patch: Patch,
    rejects: bool,
}

/// A rule that a message is meant by, with what it needs of the request.
#[derive(Debug)]
pub struct Chosen {
    /// Its index.
    pub rule: usize,
    patch: BoundPatch,
}

/// What the rules made of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The new body; `None` where it stays as it is.
    pub body: Option<Vec<u8>>,
    /// The rules that were applied, in order, and what stopped them.
    pub rules: Vec<(usize, Result<(), Failure>)>,
    /// A rule wants the message to be refused.
    pub is_refused: bool,
}

impl Rules {
    /// Compiles the rules that `side` has in a configuration, whose text is `configuration`.
    ///
    /// # Errors
    /// Points at what is wrong, from `side` on.
    pub fn compile(rules: &[config::Rule], side: &str, configuration: &[u8]) -> Result<Self, ConfigError> {
        let compile = |(index, rule): (usize, &config::Rule)| {
            let values = patch::values_of(configuration, side, index);
            Rule::compile(rule, &values).at_index(index).at(side)
        };
        rules.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules that a request, or the response to it, is meant by. `essence` is the media type, where it is known.
    pub fn choose(&self, request: &Request, essence: Option<&[u8]>) -> Vec<Chosen> {
        let choose = |(index, rule): (usize, &Rule)| {
            if essence.is_some_and(|essence| !rule.types.has(essence)) {
                return None;
            }
            let captures = if rule.uses_captures {
                rule.condition.capture(request, None)?
            } else {
                rule.condition.matches(request).then(Captures::default)?
            };
            Some(Chosen { rule: index, patch: rule.patch.bind(request, &captures) })
        };
        self.0.iter().enumerate().filter_map(choose).collect()
    }

    /// Whether some rule is for the request, whatever its body is.
    pub fn concern(&self, request: &Request) -> bool {
        self.0.iter().any(|rule| rule.condition.matches(request))
    }

    /// Keeps the rules for responses of this status.
    pub fn keep_status(&self, chosen: &mut Vec<Chosen>, status: u16) {
        self.keep(chosen, |rule| rule.statuses.as_ref().is_none_or(|statuses| statuses.has(status)));
    }

    /// Keeps the rules for bodies of this media type.
    pub fn keep_type(&self, chosen: &mut Vec<Chosen>, essence: &[u8]) {
        self.keep(chosen, |rule| rule.types.has(essence));
    }

    fn keep(&self, chosen: &mut Vec<Chosen>, is_kept: impl Fn(&Rule) -> bool) {
        chosen.retain(|chosen| self.0.get(chosen.rule).is_some_and(&is_kept));
    }

    /// Applies rules to a body; `now` is the time since the Unix epoch, `max_copied` a bound for what copies add.
    ///
    /// # Errors
    /// Where the body is not JSON.
    pub fn transform(
        &self,
        chosen: &[Chosen],
        body: &[u8],
        now: Duration,
        max_copied: usize,
    ) -> Result<Outcome, Flaw> {
        let rules = chosen.iter().filter_map(|chosen| self.0.get(chosen.rule).map(|rule| (chosen, rule)));
        let filled: Vec<_> =
            rules.map(|(chosen, rule)| (chosen.rule, rule, rule.patch.fill(&chosen.patch, now))).collect();
        let mut document = Value::Raw(json::check(body)?);
        let mut outcome = Outcome { body: None, rules: Vec::new(), is_refused: false };
        let mut budget = max_copied;
        let mut is_changed = false;
        for (index, rule, values) in &filled {
            let before = document.clone();
            let applied = rule.patch.apply(&mut document, values, &mut budget);
            match applied {
                Ok(()) => is_changed |= !rule.patch.changes_nothing(),
                Err(_) => {
                    document = before;
                    outcome.is_refused |= rule.rejects;
                }
            }
            outcome.rules.push((*index, applied));
        }
        if is_changed {
            let mut written = Vec::with_capacity(body.len());
            document.write(&mut written);
            outcome.body = Some(written);
        }
        Ok(outcome)
    }
}

impl Rule {
    fn compile(rule: &config::Rule, values: &[&[u8]]) -> Result<Self, ConfigError> {
        let condition = rule.matches.compile().at("match")?;
        let captures = condition.capture_names();
        let statuses = match &rule.when.statuses {
            Some(statuses) => Some(Statuses::compile(statuses).at("statuses").at("when")?),
            None => None,
        };
        let types = MediaTypes::compile(rule.when.content_types.as_deref()).at("contentTypes").at("when")?;
        let patch = Patch::compile(&rule.patch, values, rule.on_patch_error, &captures).at("patch")?;
        Ok(Self {
            condition,
            uses_captures: !captures.is_empty(),
            statuses,
            types,
            patch,
            rejects: rule.on_patch_error == OnPatchError::Reject,
        })
    }
}

/// Checks what concerns the rules of both directions together.
///
/// # Errors
/// Where a name is not well formed or is there twice, or a request is to have a status.
pub fn check(config: &config::Config) -> Result<(), ConfigError> {
    let mut known: Vec<&str> = Vec::new();
    for (side, rules) in [("request", &config.request), ("response", &config.response)] {
        for (index, rule) in rules.iter().enumerate() {
            check_name(&rule.name, &known).at("name").at_index(index).at(side)?;
            known.push(&rule.name);
            if side == "request" && rule.when.statuses.is_some() {
                let message = "is for responses only: a request has no status";
                return Err(ConfigError::new(message)).at("statuses").at("when").at_index(index).at(side);
            }
        }
    }
    Ok(())
}

fn check_name(name: &str, known: &[&str]) -> Result<(), ConfigError> {
    let well_formed = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !well_formed {
        let message = format!("{} must be of lower-case letters, digits and hyphens", quoted(name));
        return Err(ConfigError::new(message));
    }
    if known.contains(&name) {
        return Err(ConfigError::new(format!("{} is the name of another rule already", quoted(name))));
    }
    Ok(())
}
