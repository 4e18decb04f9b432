//! The rules, compiled, and what they decide about a request.

use std::rc::Rc;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::header_ops::{FilledEdits, HeaderEdits};
use plugin_kit::headers::HeaderName;
use plugin_kit::hostcalls::Bytes;
use plugin_kit::matching::{Captures, Condition, Spellings};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::template::{Syntax, Template};

use crate::config::{Config, OnViolation, Respond, Rule, Safety, Then};
use crate::index::{Index, Key};
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
    unmatched_request: HeaderEdits,
    unmatched_response: HeaderEdits,
    safety: Safety,
}

#[derive(Debug)]
struct CompiledRule {
    condition: Condition,
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
        let keys: Vec<Vec<Key>> = rules.iter().map(CompiledRule::keys).collect();
        Ok(Self {
            index: Index::new(&keys),
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
        let mut meant = self.index.rules(|| request.path());
        let mut next = meant.next(0);
        while let Some(index) = next
            && let Some(rule) = self.rules.get(index)
        {
            let after = index.saturating_add(1);
            next = meant.next(after);
            let Some(captures) = rule.matches(request, state.path.as_deref()) else { continue };
            decision.effects.push((index, Effect::Matched));
            match rule.apply(request, captures, &mut state, &self.safety, &mut decision) {
                Ok(None) => {}
                Ok(Some(effect)) => decision.effects.push((index, effect)),
                Err(violation) => {
                    decision.effects.push((index, Effect::Rejected(violation)));
                    if let OnViolation::Status(status) = self.safety.on_violation {
                        let details = format!("path_rewrite_{}", violation.as_str());
                        decision.reply = Some(Reply::new(status).details(details));
                    }
                }
            }
            let matched = decision.effects.iter().filter(|(_, effect)| *effect == Effect::Matched).count();
            if decision.reply.is_some() || rule.then == Then::Stop || matched >= MAX_CHAIN {
                break;
            }
            if let Some(path) = &state.path {
                meant = self.index.rules(|| path);
                next = meant.next(after);
            }
        }
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
        let condition = rule.matches.compile_with(max_regex_bytes, Spellings::Ignored).at("match")?;
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
        if rule.reverse.is_some() && !matches!(action, Action::Rewrite(_) | Action::Nothing) {
            return Err(ConfigError::new("there is nothing to undo: the upstream is not asked"))
                .at("reverse");
        }
        let rewrite = match &action {
            Action::Rewrite(rewrite) => Some(rewrite),
            _ => None,
        };
        // A rewrite by regular expression makes captures of its own, which take the place of the match's.
        let own = rewrite.map(PathRewrite::names).unwrap_or_default();
        let caught = if own.is_empty() { caught } else { own };
        Ok(Self {
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

    /// What the path must be for the rule to be meant, one of these; none at all: anything may do.
    fn keys(&self) -> Vec<Key<'_>> {
        if let Action::Rewrite(PathRewrite::Prefix { from, .. }) = &self.action
            && !from.is_empty()
        {
            return vec![Key::Prefix(from)];
        }
        let keys = self.condition.paths().iter().map(Key::of).collect::<Option<_>>();
        keys.unwrap_or_default()
    }

    /// What the path was caught into, if the rule is meant.
    fn matches(&self, request: &Request, path: Option<&[u8]>) -> Option<Captures> {
        if let Action::Rewrite(rewrite) = &self.action
            && !rewrite.applies_to(path.unwrap_or_else(|| request.path()))
        {
            return None;
        }
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
    ) -> Result<Option<Effect>, Violation> {
        let path = state.path.as_deref().unwrap_or_else(|| request.path());
        let query = match &state.query {
            Some(query) => query.as_deref(),
            None => request.query(),
        };
        let mut new_path = None;
        let mut new_query = None;
        // `OPTIONS *` and `CONNECT` have no path to change.
        if path.starts_with(b"/")
            && let Action::Rewrite(rewrite) = &self.action
            && let Some(produced) = rewrite.apply(path, query, request, &captures, safety.max_path_bytes)
        {
            new_path = Some(safety.path(&produced.path)?);
            if let Some(own) = produced.captures {
                captures = own;
            }
            if let Some(written) = &produced.query {
                let written = safety.bytes(written)?;
                let kept = if produced.has_request_query { None } else { query };
                new_query = Some(merge(Some(&written), kept));
            } else if produced.has_request_query {
                new_query = Some(None);
            }
        }
        if !self.query.is_empty() {
            let query = new_query.as_ref().map_or(query, Option::as_deref);
            new_query = Some(self.query.apply(query, request, &captures));
        }
        let effect = match &self.action {
            Action::Redirect(redirection) => {
                let query = new_query.as_ref().map_or(query, Option::as_deref);
                decision.reply = redirection.reply(request, path, query, &captures, safety)?;
                // Not a redirect after all: the client is where it would lead.
                if decision.reply.is_none() {
                    return Ok(None);
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
                let path_and_query = [
                    new_path.as_deref().unwrap_or(path),
                    new_query.as_ref().map_or(query, Option::as_deref).unwrap_or_default(),
                ];
                if new_path.is_some() || new_query.is_some() {
                    safety.length(&path_and_query.join(&b'?'))?;
                }
                let authority = self.host.as_ref().map(|host| host.fill(request, &captures));
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
        Ok(effect)
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

fn compile_respond(respond: &Respond, captures: &[String]) -> Result<Action, ConfigError> {
    if !(200..=599).contains(&respond.status) {
        return Err(ConfigError::new(format!("must be from 200 to 599, not {}", respond.status)))
            .at("status");
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
            kinds in proptest::collection::vec((0..7_usize, "(/[ab]{1,2}){1,3}", proptest::bool::ANY), 8..24),
            paths in proptest::collection::vec("(/[ab]{0,2}){1,4}|[*]?", 8),
        ) {
            let rule = |(number, (kind, path, goes_on)): (usize, &(usize, String, bool))| {
                let matched = match kind {
                    0 => serde_json::json!({"paths": [{"exact": path}]}),
                    1 => serde_json::json!({"paths": [{"prefix": path}, {"exact": "/b"}]}),
                    2 => serde_json::json!({"paths": [{"regex": format!("^{path}(/|$)")}, {"suffix": "/b"}]}),
                    3 => serde_json::json!({"paths": [{"regex": format!("{path}$")}]}),
                    4 => serde_json::json!({"paths": [{"stringPrefix": path}]}),
                    5 => serde_json::json!({"paths": [{"template": format!("{path}/{{x}}")}]}),
                    _ => serde_json::json!({}),
                };
                let rewrite = match kind % 3 {
                    0 => serde_json::json!({"prefix": {"from": path, "to": "/a"}}),
                    1 => serde_json::json!({"addPrefix": "/b"}),
                    _ => serde_json::json!({"regex": {"pattern": "/a$", "replacement": "/b"}}),
                };
                let then = if *goes_on { "continue" } else { "stop" };
                serde_json::json!({"name": format!("r{number}"), "match": matched, "rewrite": rewrite, "then": then})
            };
            let rules: Vec<_> = kinds.iter().enumerate().map(rule).collect();
            let config = serde_json::json!({ "rules": rules }).to_string();
            let indexed = compile(&config);
            let none = vec![Vec::new(); indexed.rules.len()];
            let scanned = Rules { index: Index::new(&none), ..compile(&config) };
            for path in &paths {
                let (indexed, scanned) = (indexed.decide(&request(path)), scanned.decide(&request(path)));
                assert_eq!(indexed.effects, scanned.effects, "{path} {config}");
                assert_eq!(indexed.target, scanned.target, "{path} {config}");
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
        let rule = r#"{"name":"r","rewrite":{"prefix":{"from":"/api","to":"/"}}}"#;
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
        let config = r#"{"rules":[{"name":"r","rewrite":{"full":"/x"}}]}"#;
        assert_eq!(target(config, "*"), None);
        assert_eq!(target(config, ""), None);
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        let config = r#"{"rules":[{"name":"r","host":"${query:h}"}]}"#;
        assert_eq!(decide(config, "/?h=a.b").authority.unwrap(), b"a.b");
        assert_eq!(decide(config, "/?h=a/b").reply, Some(Reply::new(400).details("path_rewrite_host")));
    }
}
