//! The rules, compiled, and what they decide about a request.

use std::rc::Rc;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::header_ops::{FilledEdits, HeaderEdits};
use plugin_kit::headers::HeaderName;
use plugin_kit::hostcalls::Bytes;
use plugin_kit::matching::{Ambiguities, Ambiguity, Captures, Condition, Spellings, below};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::template::{Syntax, Template};

use crate::config::{Config, OnViolation, Respond, Rule, Safety, Then};
use crate::index::{Entry, Index, Key};
use crate::query::{QueryEdits, merge};
use crate::redirect::{Redirection, is_authority};
use crate::reverse::{Hosts, Reversal};
use crate::rewrite::PathRewrite;
use crate::safety::Violation;

/// How many rules in a row may `continue`.
const MAX_CHAIN: usize = 10;

/// All rules of a configuration.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<CompiledRule>,
    index: Index,
    /// The conditions of the rules that reject requests: a path that one of them matches in another spelling is ambiguous.
    rejecting: Vec<Condition>,
    /// Whether some rule has a condition on the path.
    reads_path: bool,
    unmatched_request: HeaderEdits,
    unmatched_response: HeaderEdits,
    safety: Safety,
}

#[derive(Debug)]
struct CompiledRule {
    condition: Condition,
    /// Whether the rule responds with an error, and so must hold however a server reads the request.
    rejects: bool,
    /// Whether the condition depends on path, host or method.
    reads_target: bool,
    /// Whether anything uses what the path is caught into.
    uses_captures: bool,
    action: Action,
    host: Option<Template>,
    query: QueryEdits,
    request_headers: HeaderEdits,
    response_headers: HeaderEdits,
    reverse: Option<Rc<Reversal>>,
    then: Then,
}

#[derive(Debug)]
enum Action {
    Nothing,
    Rewrite(PathRewrite),
    Redirect(Redirection),
    Respond { status: u16, body: String, headers: Vec<(HeaderName, Template)> },
}

/// What a rule did: the metric that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The rule's `match` holds.
    Matched,
    /// Path, query or host changed.
    Rewritten,
    /// The client got a redirect.
    Redirected,
    /// The client got an answer.
    Responded,
    /// The result was not safe.
    Rejected(Violation),
}

/// What becomes of a request.
#[derive(Debug, Default)]
pub struct Decision {
    /// The answer, if the request goes no further.
    pub reply: Option<Reply>,
    /// The new `:path`.
    pub target: Option<Bytes>,
    /// The new `:authority`.
    pub authority: Option<Bytes>,
    /// Operations on the request's headers.
    pub request_headers: FilledEdits,
    /// Operations on the response's headers.
    pub response_headers: FilledEdits,
    /// What to undo in the response, in the order it was done.
    pub reversals: Vec<(Rc<Reversal>, Hosts)>,
    /// What each rule did; none at all means that no rule matched.
    pub effects: Vec<(usize, Effect)>,
    /// Why servers may read the request differently, where a rule depended on it.
    pub ambiguity: Option<Ambiguity>,
}

/// The result of a rule that matched.
enum Applied {
    /// Its effect, if it has one to count.
    Effect(Option<Effect>),
    /// A redirect to the current URL: the rules after it are evaluated as if it were not there.
    Nothing,
}

impl Rules {
    /// Compiles the rules.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let count = config.rules.len();
        if count > config.limits.max_rules {
            let message = format!("{count} rules; limits.maxRules allows {}", config.limits.max_rules);
            return Err(ConfigError::new(message)).at("rules");
        }
        let mut rules = Vec::with_capacity(count);
        for (index, rule) in config.rules.iter().enumerate() {
            let compiled = check_name(rule, config.rules.get(..index).unwrap_or_default())
                .and_then(|()| CompiledRule::new(rule, config.limits.max_regex_bytes));
            rules.push(compiled.at_index(index).at("rules")?);
        }
        let none: [&str; 0] = [];
        let unmatched = &config.default;
        let entries: Vec<Entry> = rules.iter().map(CompiledRule::entry).collect();
        Ok(Self {
            index: Index::new(&entries),
            rejecting: rules.iter().filter(|rule| rule.rejects).map(|rule| rule.condition.clone()).collect(),
            reads_path: rules.iter().any(|rule| rule.condition.reads_path() || rule.prefix().is_some()),
            rules,
            unmatched_request: unmatched.request_headers.compile(&none).at("requestHeaders").at("default")?,
            unmatched_response: unmatched
                .response_headers
                .compile(&none)
                .at("responseHeaders")
                .at("default")?,
            safety: config.safety.clone(),
        })
    }

    /// Decides what becomes of a request.
    pub fn decide(&self, request: &Request) -> Decision {
        let mut decision = Decision::default();
        let mut state = State { path: None, query: None };
        let mut ambiguities = Ambiguities::new(request, &self.rejecting, self.reads_path);
        let mut candidates = self.index.rules(|| request.path(), || ambiguities.of_path().is_some());
        let mut next = candidates.next(0);
        let mut chained = 0_usize;
        while let Some(index) = next
            && let Some(rule) = self.rules.get(index)
        {
            let after = index.saturating_add(1);
            next = candidates.next(after);
            let Some(captures) = rule.matches(request, state.path.as_deref(), &ambiguities) else { continue };
            decision.effects.push((index, Effect::Matched));
            let mut then = rule.then;
            chained = chained.saturating_add(1);
            match rule.apply(request, captures, &mut state, &self.safety, &mut decision) {
                Ok(Applied::Nothing) => {
                    then = Then::Continue;
                    chained = chained.saturating_sub(1);
                }
                Ok(Applied::Effect(effect)) => decision.effects.extend(effect.map(|effect| (index, effect))),
                Err(violation) => {
                    decision.effects.push((index, Effect::Rejected(violation)));
                    if let OnViolation::Status(status) = self.safety.on_violation {
                        let details = format!("path_rewrite_{}", violation.as_str());
                        decision.reply = Some(Reply::new(status).details(details));
                    }
                }
            }
            if decision.reply.is_some() || then == Then::Stop || chained >= MAX_CHAIN {
                break;
            }
            if let Some(path) = &state.path {
                decision.ambiguity = decision.ambiguity.or(ambiguities.found());
                ambiguities = ambiguities.with_path(path);
                candidates = self.index.rules(|| path, || ambiguities.of_path().is_some());
                next = candidates.next(after);
            }
        }
        decision.ambiguity = decision.ambiguity.or(ambiguities.found());
        if decision.effects.is_empty() {
            let none = Captures::default();
            decision.request_headers = self.unmatched_request.fill(request, &none);
            decision.response_headers = self.unmatched_response.fill(request, &none);
        }
        decision.target = state.target(request);
        decision
    }
}

/// Path and query so far; `None`: as the client sent them.
struct State {
    path: Option<Bytes>,
    query: Option<Option<Bytes>>,
}

impl State {
    fn target(self, request: &Request) -> Option<Bytes> {
        if self.path.is_none() && self.query.is_none() {
            return None;
        }
        let mut target = self.path.unwrap_or_else(|| request.path().to_vec());
        if let Some(query) = self.query.unwrap_or_else(|| request.query().map(<[u8]>::to_vec)) {
            target.push(b'?');
            target.extend(query);
        }
        (target != request.target()).then_some(target)
    }
}

impl CompiledRule {
    fn new(rule: &Rule, max_regex_bytes: usize) -> Result<Self, ConfigError> {
        let actions = [
            ("rewrite", rule.rewrite.is_some()),
            ("redirect", rule.redirect.is_some()),
            ("respond", rule.respond.is_some()),
        ];
        let given: Vec<&str> = actions.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            return Err(ConfigError::new(format!("{} exclude each other", given.join(" and "))));
        }
        check_fields(rule)?;
        let rejects = rule.respond.as_ref().is_some_and(|respond| respond.status >= 400);
        let spellings = if rejects { Spellings::Checked } else { Spellings::Ignored };
        let condition = rule.matches.compile_with(max_regex_bytes, spellings).at("match")?;
        let caught = condition.capture_names();
        let action = match (&rule.rewrite, &rule.redirect, &rule.respond) {
            (Some(rewrite), _, _) => {
                Action::Rewrite(PathRewrite::compile(rewrite, &caught, max_regex_bytes).at("rewrite")?)
            }
            (_, Some(redirect), _) => {
                Action::Redirect(Redirection::compile(redirect, &caught).at("redirect")?)
            }
            (_, _, Some(respond)) => compile_respond(respond, &caught).at("respond")?,
            (None, None, None) => Action::Nothing,
        };
        let rewrite = match &action {
            Action::Rewrite(rewrite) => Some(rewrite),
            _ => None,
        };
        // A rewrite by regular expression makes captures of its own, which take the place of the match's.
        let own = rewrite.map(PathRewrite::names).unwrap_or_default();
        let caught = if own.is_empty() { caught } else { own };
        Ok(Self {
            rejects,
            reads_target: condition.reads_target(),
            uses_captures: !caught.is_empty(),
            host: match &rule.host {
                Some(host) => Some(Template::new(host, &caught, Syntax::Plain).at("host")?),
                None => None,
            },
            query: QueryEdits::compile(&rule.query, &caught).at("query")?,
            request_headers: rule.request_headers.compile(&caught).at("requestHeaders")?,
            response_headers: rule.response_headers.compile(&caught).at("responseHeaders")?,
            reverse: match &rule.reverse {
                Some(reverse) => {
                    Some(Rc::new(Reversal::compile(reverse, rewrite, rule.host.is_some()).at("reverse")?))
                }
                None => None,
            },
            then: rule.then,
            condition,
            action,
        })
    }

    fn entry(&self) -> Entry<'_> {
        let keys = match self.prefix() {
            Some(prefix) => vec![Key::Prefix(prefix)],
            None => self.condition.paths().iter().map(Key::of).collect::<Option<_>>().unwrap_or_default(),
        };
        Entry { keys, rejects: self.rejects }
    }

    /// The prefix of `rewrite.prefix.from`, which is a condition too.
    fn prefix(&self) -> Option<&[u8]> {
        match &self.action {
            Action::Rewrite(rewrite) => rewrite.condition(),
            _ => None,
        }
    }

    /// The captures of the path, if the rule applies. Where path or host are ambiguous, a rule that rejects requests
    /// applies if some server may read the request so, and any other rule only if every server does.
    fn matches(&self, request: &Request, path: Option<&[u8]>, ambiguities: &Ambiguities) -> Option<Captures> {
        if self.rejects {
            let applies = self.condition.matches_some_reading(ambiguities);
            return applies.then(|| self.capture(request, path).unwrap_or_default());
        }
        if let Some(prefix) = self.prefix()
            && (below(path.unwrap_or_else(|| request.path()), prefix).is_none()
                || ambiguities.of_path().is_some())
        {
            return None;
        }
        let captures = self.capture(request, path)?;
        (!self.reads_target || self.condition.matches_every_reading(ambiguities)).then_some(captures)
    }

    fn capture(&self, request: &Request, path: Option<&[u8]>) -> Option<Captures> {
        if self.uses_captures {
            return self.condition.capture(request, path);
        }
        self.condition.matches_path(request, path).then(Captures::default)
    }

    fn apply(
        &self,
        request: &Request,
        mut captures: Captures,
        state: &mut State,
        safety: &Safety,
        decision: &mut Decision,
    ) -> Result<Applied, Violation> {
        let path = state.path.as_deref().unwrap_or_else(|| request.path());
        let query = match &state.query {
            Some(query) => query.as_deref(),
            None => request.query(),
        };
        // The target of `CONNECT` and of `OPTIONS *` is not a path: it stays as it is, and so does its host.
        let has_path = path.starts_with(b"/");
        let mut new_path = None;
        let mut new_query = None;
        if let Action::Rewrite(rewrite) = &self.action {
            let produced = match rewrite {
                _ if !has_path => None,
                rewrite => rewrite.apply(path, query, request, &captures, safety.max_path_bytes)?,
            };
            if let PathRewrite::Regex { .. } = rewrite {
                captures =
                    produced.as_ref().and_then(|produced| produced.captures.clone()).unwrap_or_default();
            }
            if let Some(produced) = &produced {
                new_path = Some(safety.path(&produced.path)?);
                if let Some(written) = &produced.query {
                    let written = safety.bytes(written)?;
                    let kept = if produced.has_request_query { None } else { query };
                    new_query = Some(merge(Some(&written), kept));
                } else if produced.has_request_query {
                    new_query = Some(None);
                }
            }
        }
        if has_path && !self.query.is_empty() {
            let query = new_query.as_ref().map_or(query, Option::as_deref);
            new_query = Some(self.query.apply(query, request, &captures));
        }
        let effect = match &self.action {
            Action::Redirect(redirection) => {
                let query = new_query.as_ref().map_or(query, Option::as_deref);
                if has_path {
                    decision.reply = redirection.reply(request, path, query, &captures, safety)?;
                }
                if decision.reply.is_none() {
                    return Ok(Applied::Nothing);
                }
                Some(Effect::Redirected)
            }
            Action::Respond { status, body, headers } => {
                let reply = Reply::new(*status).details("path_rewrite_respond").body(body.as_str());
                let header = |reply: Reply, (name, value): &(HeaderName, Template)| {
                    reply.header(name.as_str(), value.fill(request, &captures))
                };
                decision.reply = Some(headers.iter().fold(reply, header));
                Some(Effect::Responded)
            }
            Action::Rewrite(_) | Action::Nothing => {
                if new_path.is_some() || new_query.is_some() {
                    let query = new_query.as_ref().map_or(query, Option::as_deref);
                    safety.length(new_path.as_deref().unwrap_or(path), query)?;
                }
                let host = self.host.as_ref().filter(|_| has_path);
                let authority = host.map(|host| host.fill(request, &captures));
                if authority.as_deref().is_some_and(|authority| !is_authority(authority)) {
                    return Err(Violation::Host);
                }
                let changed = new_path.as_deref().is_some_and(|new| new != path)
                    || new_query.as_ref().is_some_and(|new| new.as_deref() != query)
                    || authority.is_some();
                if let Some(reversal) = &self.reverse {
                    let upstream = authority.as_ref().or(decision.authority.as_ref());
                    decision.reversals.push((Rc::clone(reversal), hosts(reversal, request, upstream)));
                }
                decision.authority = authority.or(decision.authority.take());
                changed.then_some(Effect::Rewritten)
            }
        };
        decision.request_headers.extend(self.request_headers.fill(request, &captures));
        decision.response_headers.extend(self.response_headers.fill(request, &captures));
        state.path = new_path.or(state.path.take());
        state.query = new_query.or(state.query.take());
        Ok(Applied::Effect(effect))
    }
}

/// Whom the client asked; read only where a `location` may have to be undone.
fn hosts(reversal: &Reversal, request: &Request, upstream: Option<&Bytes>) -> Hosts {
    if !reversal.wants_location() {
        return Hosts { scheme: Bytes::new(), client: Bytes::new(), upstream: Bytes::new() };
    }
    let read = |name: &str| request.header(name).map(|value| value.to_vec()).unwrap_or_default();
    let client = read(":authority");
    Hosts { scheme: read(":scheme"), upstream: upstream.unwrap_or(&client).clone(), client }
}

/// Refuses fields that would have no effect.
fn check_fields(rule: &Rule) -> Result<(), ConfigError> {
    let no_effect = |field: &str, message: &str| Err(ConfigError::new(message)).at(field);
    if rule.redirect.is_some() && rule.host.is_some() {
        return no_effect("host", "has no effect with redirect; set redirect.host");
    }
    let action = match (&rule.redirect, &rule.respond) {
        (Some(_), _) => "redirect",
        (_, Some(_)) => "respond",
        (None, None) => return Ok(()),
    };
    let message = format!("has no effect with {action}: the request is not forwarded");
    if rule.host.is_some() {
        return no_effect("host", &message);
    }
    if rule.respond.is_some() && !rule.query.is_empty() {
        return no_effect("query", &message);
    }
    if !rule.request_headers.is_empty() {
        return no_effect("requestHeaders", &message);
    }
    if rule.reverse.is_some() {
        return no_effect("reverse", &message);
    }
    Ok(())
}

fn compile_respond(respond: &Respond, captures: &[String]) -> Result<Action, ConfigError> {
    if !(200..=599).contains(&respond.status) {
        return Err(ConfigError::new(format!("must be from 200 to 599, not {}", respond.status)))
            .at("status");
    }
    if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
        let message = format!("must be empty: a response with status {} has no content", respond.status);
        return Err(ConfigError::new(message)).at("body");
    }
    let headers = respond.headers.iter().map(|(name, value)| {
        let header = HeaderName::writable(name).at(name).at("headers")?;
        Ok((header, Template::new(value, captures, Syntax::Plain).at(name).at("headers")?))
    });
    let headers = headers.collect::<Result<_, ConfigError>>()?;
    Ok(Action::Respond { status: respond.status, body: respond.body.clone(), headers })
}

fn check_name(rule: &Rule, before: &[Rule]) -> Result<(), ConfigError> {
    let well_formed = !rule.name.is_empty()
        && rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !well_formed {
        let message = format!("{} must be of lower-case letters, digits and hyphens", quoted(&rule.name));
        return Err(ConfigError::new(message)).at("name");
    }
    if let Some(first) = before.iter().position(|known| known.name == rule.name) {
        let message = format!("{} is the name of rules[{first}] already", quoted(&rule.name));
        return Err(ConfigError::new(message)).at("name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(config: &str) -> Rules {
        let config: Config = plugin_kit::config::parse(config.as_bytes()).unwrap();
        Rules::compile(&config).unwrap()
    }

    fn request(target: &str) -> Request {
        Request::detached(&[
            (":method", b"GET"),
            (":scheme", b"https"),
            (":authority", b"shop.example.com"),
            (":path", target.as_bytes()),
        ])
    }

    fn decide(config: &str, target: &str) -> Decision {
        compile(config).decide(&request(target))
    }

    fn target(config: &str, target: &str) -> Option<String> {
        decide(config, target).target.map(|target| String::from_utf8(target).unwrap())
    }

    #[test]
    fn the_first_match_wins() {
        let config = r#"{"rules":[
            {"name":"a","match":{"paths":[{"prefix":"/a"}]},"rewrite":{"full":"/1"}},
            {"name":"b","rewrite":{"full":"/2"}}]}"#;
        assert_eq!(target(config, "/a").as_deref(), Some("/1"));
        assert_eq!(target(config, "/b").as_deref(), Some("/2"));
        assert_eq!(decide(config, "/a").effects, [(0, Effect::Matched), (0, Effect::Rewritten)]);
    }

    #[test]
    fn a_chain_sees_the_new_path_and_ends() {
        let config = r#"{"rules":[
            {"name":"a","rewrite":{"prefix":{"from":"/a","to":"/b"}},"then":"continue"},
            {"name":"b","rewrite":{"prefix":{"from":"/b","to":"/c"}},"then":"continue"},
            {"name":"c","match":{"paths":[{"prefix":"/a"}]},"rewrite":{"full":"/no"}}]}"#;
        assert_eq!(target(config, "/a/x?y=1").as_deref(), Some("/c/x?y=1"));
        let rules: Vec<String> = (0..20)
            .map(|number| {
                format!(r#"{{"name":"r{number}","rewrite":{{"addPrefix":"/x"}},"then":"continue"}}"#)
            })
            .collect();
        let config = format!(r#"{{"rules":[{}]}}"#, rules.join(","));
        assert_eq!(target(&config, "/a").unwrap().matches("/x").count(), MAX_CHAIN);
    }

    proptest::proptest! {
        /// The index leaves out only rules that would not match.
        #[test]
        fn with_the_index_the_same_rules_match_as_without(
            kinds in proptest::collection::vec((0..10_usize, "(/[ab]{1,2}){1,3}", proptest::bool::ANY), 8..24),
            paths in proptest::collection::vec("(/([abA]|%61){0,2}){1,4}|[*]?", 8),
        ) {
            let rule = |(number, (kind, path, goes_on)): (usize, &(usize, String, bool))| {
                let matched = match kind {
                    0 => serde_json::json!({"paths": [{"exact": path}]}),
                    1 => serde_json::json!({"paths": [{"prefix": path}, {"exact": "/b"}]}),
                    2 => serde_json::json!({"paths": [{"regex": format!("^{path}(/|$)")}, {"suffix": "/b"}]}),
                    3 => serde_json::json!({"paths": [{"regex": format!("{path}$")}]}),
                    4 => serde_json::json!({"paths": [{"stringPrefix": path}]}),
                    5 => serde_json::json!({"paths": [{"template": format!("{path}/{{x}}")}]}),
                    7 => serde_json::json!({"paths": [{"exact": path}]}),
                    8 => serde_json::json!({"paths": [{"prefix": path}, {"exact": "/b/"}]}),
                    9 => serde_json::json!({"paths": [{"regex": format!("^{path}$")}]}),
                    _ => serde_json::json!({}),
                };
                let rewrite = match kind % 3 {
                    0 => serde_json::json!({"prefix": {"from": path, "to": "/a"}}),
                    1 => serde_json::json!({"addPrefix": "/b"}),
                    _ => serde_json::json!({"regex": {"pattern": "/a$", "replacement": "/b"}}),
                };
                let then = if *goes_on { "continue" } else { "stop" };
                let mut rule = serde_json::json!({"name": format!("r{number}"), "match": matched, "then": then});
                match kind {
                    7.. => rule["respond"] = serde_json::json!({"status": 403}),
                    _ => rule["rewrite"] = rewrite,
                }
                rule
            };
            let rules: Vec<_> = kinds.iter().enumerate().map(rule).collect();
            let config = serde_json::json!({ "rules": rules }).to_string();
            let indexed = compile(&config);
            let none: Vec<Entry> = indexed.rules.iter().map(|_| Entry::default()).collect();
            let scanned = Rules { index: Index::new(&none), ..compile(&config) };
            for path in &paths {
                let (indexed, scanned) = (indexed.decide(&request(path)), scanned.decide(&request(path)));
                assert_eq!(indexed.effects, scanned.effects, "{path} {config}");
                assert_eq!(indexed.target, scanned.target, "{path} {config}");
                assert_eq!(indexed.reply, scanned.reply, "{path} {config}");
            }
        }
    }

    #[test]
    fn a_question_mark_in_a_replacement_is_merged_with_the_query() {
        for (rewrite, from, to) in [
            (r#"{"full":"/new?a=1"}"#, "/x?b=2", "/new?a=1&b=2"),
            (r#"{"full":"/new?a=1"}"#, "/x", "/new?a=1"),
            (r#"{"full":"/new?"}"#, "/x?b=2", "/new?b=2"),
            (r#"{"full":"/new"}"#, "/x?b=2&a=%7e&b", "/new?b=2&a=%7e&b"),
            (r#"{"full":"/new?a b#c"}"#, "/x", "/new?a%20b%23c"),
            (
                r#"{"regex":{"pattern":"x\\?b=(.)","replacement":"y?c=$1","target":"pathAndQuery"}}"#,
                "/x?b=2",
                "/y?c=2",
            ),
            (r#"{"regex":{"pattern":"\\?.*","replacement":"","target":"pathAndQuery"}}"#, "/x?b=2", "/x"),
        ] {
            let config = format!(r#"{{"rules":[{{"name":"r","rewrite":{rewrite}}}]}}"#);
            assert_eq!(target(&config, from).as_deref(), Some(to), "{rewrite} {from}");
        }
    }

    #[test]
    fn captures_reach_the_rewrite_the_host_and_the_headers() {
        let config = r#"{"rules":[{"name":"r",
            "match":{"paths":[{"template":"/users/{id}/files/{rest=**}"}]},
            "rewrite":{"template":"/files/{id}/{rest}"},"host":"${id}.internal"}]}"#;
        let decision = decide(config, "/users/7/files/a/b%20c");
        assert_eq!(decision.target.unwrap(), b"/files/7/a/b%20c");
        assert_eq!(decision.authority.unwrap(), b"7.internal");
        let named = r#"{"rules":[{"name":"r","match":{"paths":[{"regex":"^/old/(?<rest>.*)$"}]},
            "redirect":{"status":308,"path":"/new/${rest}"}}]}"#;
        assert_eq!(
            decide(named, "/old/x?y=1").reply,
            Some(Reply::new(308).details("path_rewrite_redirect").header("location", "/new/x?y=1"))
        );
    }

    #[test]
    fn a_result_that_is_not_safe_is_refused_or_dropped() {
        let rule = r#"{"name":"r","rewrite":{"regex":{"pattern":"^/api","replacement":""}}}"#;
        let config = format!(r#"{{"rules":[{rule}]}}"#);
        let decision = decide(&config, "/api/..%2f..");
        assert_eq!(decision.reply, Some(Reply::new(400).details("path_rewrite_dot_segment")));
        assert_eq!(decision.effects, [(0, Effect::Matched), (0, Effect::Rejected(Violation::DotSegment))]);
        let pass = format!(r#"{{"rules":[{rule}],"safety":{{"onViolation":"pass"}}}}"#);
        let decision = decide(&pass, "/api/..%2f..");
        assert_eq!((decision.reply, decision.target), (None, None));
    }

    #[test]
    fn a_request_without_a_path_is_not_rewritten() {
        let config =
            r#"{"rules":[{"name":"r","rewrite":{"full":"/x"},"host":"a.b","query":{"set":{"src":"gw"}}}]}"#;
        for path in ["*", ""] {
            let decision = decide(config, path);
            assert_eq!((decision.target, decision.authority), (None, None), "{path}");
            assert_eq!(decision.effects, [(0, Effect::Matched)], "{path}");
        }
        let redirect = r#"{"rules":[{"name":"r","redirect":{"status":301,"scheme":"http"}}]}"#;
        assert_eq!(decide(redirect, "*").reply, None);
    }

    #[test]
    fn a_request_without_a_path_is_not_ambiguous() {
        let config =
            r#"{"rules":[{"name":"r","match":{"paths":[{"prefix":"/admin"}]},"respond":{"status":403}}]}"#;
        for (target, is_rejected) in [("", false), ("*", false), ("http://h/admin", true), ("admin", true)] {
            assert_eq!(decide(config, target).reply.is_some(), is_rejected, "{target}");
        }
    }

    #[test]
    fn captures_of_a_regex_that_does_not_match_are_empty() {
        let config = r#"{"rules":[{"name":"r","match":{"paths":[{"regex":"^/(secret)/(.*)$"}]},
            "rewrite":{"regex":{"pattern":"^/v([0-9])/(.*)$","replacement":"/$2"}},
            "host":"h${1}.internal","query":{"set":{"v":"${1}"}}}]}"#;
        let decision = decide(config, "/secret/x");
        assert_eq!(decision.authority.unwrap(), b"h.internal");
        assert_eq!(decision.target.unwrap(), b"/secret/x?v=");
    }

    #[test]
    fn a_target_may_be_as_long_as_allowed_and_no_longer() {
        for (rewrite, from, expected) in [
            (r#""rewrite":{"full":"/1234567"}"#, "/", Ok("/1234567")),
            (r#""rewrite":{"full":"/12345678"}"#, "/", Err(())),
            (r#""rewrite":{"full":"/12345"}"#, "/?a", Ok("/12345?a")),
            (r#""rewrite":{"full":"/123456"}"#, "/?a", Err(())),
            (r#""query":{"set":{"a":"1"}}"#, "/12", Ok("/12?a=1")),
            (r#""query":{"set":{"a":"1"}}"#, "/1234", Err(())),
            (r#""redirect":{"status":301,"path":"/1234567"}"#, "/", Ok("/1234567")),
            (r#""redirect":{"status":301,"path":"/123456"}"#, "/?a", Err(())),
        ] {
            let config = format!(r#"{{"rules":[{{"name":"r",{rewrite}}}],"safety":{{"maxPathBytes":8}}}}"#);
            let decision = decide(&config, from);
            let too_long = Reply::new(400).details("path_rewrite_too_long");
            let redirect = |to: &str| Reply::new(301).details("path_rewrite_redirect").header("location", to);
            match (expected, decision.target) {
                (Ok(to), Some(target)) => assert_eq!(target, to.as_bytes(), "{rewrite} {from}"),
                (Ok(to), None) => assert_eq!(decision.reply, Some(redirect(to)), "{rewrite} {from}"),
                (Err(()), _) => assert_eq!(decision.reply, Some(too_long), "{rewrite} {from}"),
            }
        }
    }

    #[test]
    fn a_replacement_that_is_cut_is_refused_though_its_result_would_be_short() {
        let config = r#"{"rules":[{"name":"r","rewrite":{"regex":{"pattern":"a","replacement":"//////////"}}}],
            "safety":{"maxPathBytes":30}}"#;
        assert_eq!(target(config, "/aa").as_deref(), Some("/"));
        assert_eq!(decide(config, "/aaab").reply, Some(Reply::new(400).details("path_rewrite_too_long")));
    }

    #[test]
    fn a_redirect_to_the_current_url_leaves_the_request_to_the_next_rule() {
        let config = r#"{"rules":[{"name":"a","redirect":{"status":301,"path":"/a"}},
            {"name":"b","rewrite":{"full":"/b"}}]}"#;
        assert_eq!(target(config, "/a").as_deref(), Some("/b"));
        assert!(decide(config, "/c").reply.is_some());
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        let config = r#"{"rules":[{"name":"r","host":"${query:h}"}]}"#;
        assert_eq!(decide(config, "/?h=a.b").authority.unwrap(), b"a.b");
        assert_eq!(decide(config, "/?h=a/b").reply, Some(Reply::new(400).details("path_rewrite_host")));
    }
}
