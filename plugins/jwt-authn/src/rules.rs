//! What is required where.

use std::cmp::Reverse;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::json::Json;
use plugin_kit::matching::{Ambiguity, AmbiguousPaths, Condition, FirstMatch, Match};
use plugin_kit::request::Request;

use crate::claims::Claims;
use crate::config::{self, Config};
use crate::extract::Source;
use crate::outputs::compile_path;
use crate::reject::Reject;

/// What is required where; the first rule that matches counts.
#[derive(Debug)]
pub struct Rules {
    rules: FirstMatch<Requirement>,
    /// What an ambiguous request must have; `None`: it is rejected.
    for_ambiguous: Option<Requirement>,
    bypass_cors_preflight: bool,
    /// Whether a rule might look at a header that is an output.
    pub read_headers: bool,
}

/// What a request must have.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// No token is looked for.
    none: bool,
    /// What else will do.
    pub otherwise: Otherwise,
    /// Where tokens are looked for, and whose tokens will do there: places in the list of providers.
    pub sources: Vec<(Source, Vec<usize>)>,
    claims: Vec<(Vec<String>, Wanted)>,
    scopes: Vec<Wanted>,
}

/// What will do where there is no valid token, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Otherwise {
    /// Nothing.
    Nothing,
    /// That there is none.
    Missing,
    /// Whatever there is.
    MissingOrInvalid,
}

#[derive(Clone, Debug)]
enum Wanted {
    AnyOf(Vec<String>),
    AllOf(Vec<String>),
}

/// Why a token that is valid does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insufficient {
    /// [`Reject::Claims`] or [`Reject::Scope`].
    pub reject: Reject,
    /// The scopes that would.
    pub scope: Option<String>,
}

impl Rules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let mut rules = Vec::new();
        for (index, rule) in config.rules.iter().enumerate() {
            let condition = rule.matches.compile().at("match").at_index(index).at("rules")?;
            let requirement = Requirement::compile(&rule.requires, config);
            rules.push((condition, requirement.at("requires").at_index(index).at("rules")?));
        }
        let any = config::Requires::default();
        let default = config.default_require.as_ref().unwrap_or(&any);
        let default = Requirement::compile(default, config).at("defaultRequire")?;
        let rules = FirstMatch::new(rules, default);
        Ok(Self {
            for_ambiguous: match config.ambiguous_paths {
                AmbiguousPaths::Reject => None,
                AmbiguousPaths::Allow => Some(Requirement::all_of(rules.all())),
            },
            rules,
            bypass_cors_preflight: config.bypass_cors_preflight,
            read_headers: config.rules.iter().any(|rule| reads_headers(&rule.matches)),
        })
    }

    /// Logs a warning for each choice that is easily a mistake.
    pub fn warn_of_mistakes(&self, client_ip: &ClientIp) {
        self.rules.warn_if_default_is_lenient("defaultRequire", Requirement::strictness);
        if self.rules.conditions().any(Condition::reads_client_ip) {
            client_ip.warn_if_forgeable();
        }
    }

    /// What this request must have; `None`: nothing.
    ///
    /// # Errors
    /// Why the request is rejected as ambiguous.
    pub fn requirement(&self, request: &Request) -> Result<Option<&Requirement>, Ambiguity> {
        let requirement =
            match (self.rules.find_unambiguous(request, |requirement| requirement.none), &self.for_ambiguous)
            {
                (Ok(requirement), _) => requirement,
                (Err(ambiguity), Some(all)) if ambiguity != Ambiguity::Method => all,
                (Err(ambiguity), _) => return Err(ambiguity),
            };
        Ok((!requirement.none).then_some(requirement))
    }

    /// Whether a request passes without what it must have.
    #[must_use]
    pub fn lets_pass(&self, request: &Request) -> bool {
        self.bypass_cors_preflight && is_preflight(request)
    }
}

/// Whether a match might look at a header that is an output.
fn reads_headers(matches: &Match) -> bool {
    let Match { hosts: _, methods: _, paths: _, headers, query: _, cookies: _, client_ips, values, any, not } =
        matches;
    headers.is_some() || client_ips.is_some() || values.is_some() || any.is_some() || not.is_some()
}

/// What only a CORS preflight has together.
pub const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

/// The Fetch standard's CORS-preflight request.
fn is_preflight(request: &Request) -> bool {
    let has = |name: &str| request.header(name).is_some_and(|value| !value.is_empty());
    request.header(":method").is_some_and(|method| *method == *b"OPTIONS") && PREFLIGHT.into_iter().all(has)
}

impl Requirement {
    fn compile(requires: &config::Requires, config: &Config) -> Result<Self, ConfigError> {
        let config::Requires {
            none,
            provider,
            any_of,
            allow_missing,
            allow_missing_or_invalid,
            claims,
            scopes,
        } = requires;
        let wants = provider.is_some() || any_of.is_some() || !claims.is_empty() || scopes.is_some();
        if *none && (wants || *allow_missing || *allow_missing_or_invalid) {
            return Err(ConfigError::new("none stands alone"));
        }
        if *allow_missing && *allow_missing_or_invalid {
            return Err(ConfigError::new("allowMissing and allowMissingOrInvalid exclude each other"));
        }
        let index = |name: &String| {
            let found = config.providers.iter().position(|provider| provider.name == *name);
            found.ok_or_else(|| {
                let names: Vec<&str> =
                    config.providers.iter().map(|provider| provider.name.as_str()).collect();
                ConfigError::new(format!("{} is not a provider; there is {}", quoted(name), names.join(", ")))
            })
        };
        let providers = match (provider, any_of) {
            (Some(_), Some(_)) => return Err(ConfigError::new("provider and anyOf exclude each other")),
            (Some(name), None) => vec![index(name).at("provider")?],
            (None, Some(names)) if names.is_empty() => {
                return Err(ConfigError::new("is empty; leave it out for any provider")).at("anyOf");
            }
            (None, Some(names)) => {
                let providers =
                    names.iter().enumerate().map(|(at, name)| index(name).at_index(at).at("anyOf"));
                providers.collect::<Result<_, _>>()?
            }
            (None, None) => (0..config.providers.len()).collect(),
        };
        let mut sources: Vec<(Source, Vec<usize>)> = Vec::new();
        for &owner in &providers {
            let Some(provider) = config.providers.get(owner) else { continue };
            // What is wrong with them, the provider has been told.
            for source in Source::compile(provider).at_index(owner).at("providers")? {
                match sources.iter_mut().find(|(known, _)| *known == source) {
                    Some((_, owners)) => owners.push(owner),
                    None => sources.push((source, vec![owner])),
                }
            }
        }
        Ok(Self {
            none: *none,
            otherwise: match (allow_missing, allow_missing_or_invalid) {
                (_, true) => Otherwise::MissingOrInvalid,
                (true, false) => Otherwise::Missing,
                (false, false) => Otherwise::Nothing,
            },
            sources,
            claims: compile_claims(claims)?,
            scopes: match scopes {
                Some(scopes) => vec![Wanted::scopes(scopes).at("scopes")?],
                None => Vec::new(),
            },
        })
    }

    /// Orders requirements by the requests without a valid token that pass.
    fn strictness(&self) -> impl PartialOrd + use<> {
        Reverse((self.none, self.otherwise))
    }

    /// What satisfies each of these. Where they accept no provider in common, no token does.
    fn all_of<'a>(requirements: impl Iterator<Item = &'a Self>) -> Self {
        let mut all: Option<Self> = None;
        for requirement in requirements.filter(|requirement| !requirement.none) {
            let Some(all) = &mut all else {
                all = Some(requirement.clone());
                continue;
            };
            all.otherwise = all.otherwise.min(requirement.otherwise);
            all.claims.extend(requirement.claims.iter().cloned());
            all.scopes.extend(requirement.scopes.iter().cloned());
            let accepts =
                |owner: &usize| requirement.sources.iter().any(|(_, owners)| owners.contains(owner));
            for (_, owners) in &mut all.sources {
                owners.retain(accepts);
            }
        }
        all.unwrap_or(Self {
            none: true,
            otherwise: Otherwise::MissingOrInvalid,
            sources: Vec::new(),
            claims: Vec::new(),
            scopes: Vec::new(),
        })
    }

    /// Whether the claims of a valid token will do.
    ///
    /// # Errors
    /// Which of them do not.
    pub fn check(&self, claims: &Claims) -> Result<(), Insufficient> {
        for (path, wanted) in &self.claims {
            if !wanted.is_in(&claims.all.find(path).map(values).unwrap_or_default()) {
                return Err(Insufficient { reject: Reject::Claims, scope: None });
            }
        }
        let scopes = scopes(&claims.all);
        match self.scopes.iter().find(|wanted| !wanted.is_in(&scopes)) {
            Some(wanted) => {
                Err(Insufficient { reject: Reject::Scope, scope: Some(wanted.items().join(" ")) })
            }
            None => Ok(()),
        }
    }
}

fn compile_claims(rules: &[config::ClaimRule]) -> Result<Vec<(Vec<String>, Wanted)>, ConfigError> {
    let compile = |rule: &config::ClaimRule| {
        let path = compile_path(&rule.claim, &rule.claim_path)?;
        Ok((path, Wanted::new(&rule.any_of, &rule.all_of)?))
    };
    rules.iter().enumerate().map(|(index, rule)| compile(rule).at_index(index).at("claims")).collect()
}

impl Wanted {
    fn new(any_of: &Option<Vec<String>>, all_of: &Option<Vec<String>>) -> Result<Self, ConfigError> {
        match (any_of, all_of) {
            (Some(items), None) if !items.is_empty() => Ok(Self::AnyOf(items.clone())),
            (None, Some(items)) if !items.is_empty() => Ok(Self::AllOf(items.clone())),
            _ => Err(ConfigError::new("needs exactly one of anyOf, allOf, and that not empty")),
        }
    }

    /// As [`Wanted::new`]; scopes also go into the challenge (RFC 6749, section 3.3).
    fn scopes(rule: &config::ScopeRule) -> Result<Self, ConfigError> {
        let wanted = Self::new(&rule.any_of, &rule.all_of)?;
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        match wanted.items().iter().find(|scope| scope.is_empty() || !scope.bytes().all(allowed)) {
            Some(scope) => Err(ConfigError::new(format!("{} is not a scope", quoted(scope)))),
            None => Ok(wanted),
        }
    }

    fn items(&self) -> &[String] {
        match self {
            Self::AnyOf(items) | Self::AllOf(items) => items,
        }
    }

    fn is_in(&self, values: &[&str]) -> bool {
        let has = |item: &String| values.contains(&item.as_str());
        match self {
            Self::AnyOf(items) => items.iter().any(has),
            Self::AllOf(items) => items.iter().all(has),
        }
    }
}

/// What a claim says: itself, or the items of a list.
fn values(claim: &Json) -> Vec<&str> {
    match claim {
        Json::List(items) => items.iter().filter_map(Json::scalar).collect(),
        other => other.scalar().into_iter().collect(),
    }
}

/// The scopes of `scope` (RFC 8693, section 4.2) and `scp` (Entra, Okta), each a list or a text with spaces.
fn scopes(claims: &Json) -> Vec<&str> {
    let both = [claims.member("scope"), claims.member("scp")];
    both.into_iter().flatten().flat_map(values).flat_map(|text| text.split(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_kit::json;

    fn rules(config: &str) -> Rules {
        let config = format!(
            r#"{{"providers": [
                {{"name": "one", "jwksUri": "https://one/"}},
                {{"name": "two", "jwksUri": "https://two/", "fromCookies": ["t"]}}], {config}}}"#
        );
        Rules::compile(&plugin_kit::config::parse(config.as_bytes()).unwrap()).unwrap()
    }

    fn request(path: &str) -> Request {
        Request::detached(&[(":path", path.as_bytes()), (":method", b"GET"), (":authority", b"a")])
    }

    fn providers(rules: &Rules, path: &str) -> Option<Vec<usize>> {
        let request = request(path);
        let requirement = rules.requirement(&request).unwrap()?;
        let mut providers: Vec<usize> =
            requirement.sources.iter().flat_map(|(_, owners)| owners.iter().copied()).collect();
        providers.dedup();
        Some(providers)
    }

    #[test]
    fn the_first_rule_that_matches_counts_and_without_one_the_default() {
        let rules = rules(
            r#""rules": [
                {"match": {"paths": [{"exact": "/healthz"}]}, "requires": {"none": true}},
                {"match": {"paths": [{"prefix": "/a"}]}, "requires": {"provider": "two"}},
                {"match": {"paths": [{"prefix": "/a/b"}]}, "requires": {"none": true}}],
               "defaultRequire": {"anyOf": ["two", "one"]}"#,
        );
        assert_eq!(providers(&rules, "/healthz"), None);
        assert_eq!(providers(&rules, "/healthz?access_token=x"), None);
        assert_eq!(providers(&rules, "/a/b"), Some(vec![1]));
        assert_eq!(providers(&rules, "/other"), Some(vec![1, 0]));
    }

    #[test]
    fn without_a_default_any_provider_will_do() {
        assert_eq!(providers(&rules(r#""rules": []"#), "/"), Some(vec![0, 1]));
    }

    const AMBIGUOUS: [&str; 22] = [
        "//admin",
        "/../admin",
        "/..",
        "/./x",
        "/.",
        "/%2e%2e/admin",
        "/.%2E/admin",
        "/%2fadmin",
        "/..%2Fadmin",
        "/%5cadmin",
        "/..%5Cadmin",
        "/\\admin",
        "/x;a=b",
        "/..;/admin",
        "/%3b/x",
        "/%252e%252e/admin",
        "/%252fadmin",
        "/%00",
        "/x%0a",
        "/\u{1}",
        "/%25%32%65",
        "/%c0%ae%c0%ae/admin",
    ];

    #[test]
    fn an_ambiguous_path_is_rejected_where_paths_decide() {
        let rules = rules(
            r#""rules": [
                {"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}},
                {"match": {"paths": [{"prefix": "/soft"}]}, "requires": {"allowMissing": true, "provider": "two"}}]"#,
        );
        assert_eq!(providers(&rules, "/public/x%20y/%c3%a9?next=//a/../b;c%2f"), None);
        assert_eq!(providers(&rules, "/soft/a"), Some(vec![1]));
        for prefix in ["/public", "/soft", ""] {
            for path in AMBIGUOUS {
                let request = request(&format!("{prefix}{path}"));
                assert!(rules.requirement(&request).is_err(), "{prefix}{path}");
            }
        }
        for path in ["/Public/x", "/%70ublic", "/SOFT", "admin", ""] {
            assert!(rules.requirement(&request(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_any_other_where_one_requirement_covers_all_paths() {
        for config in [
            r#""rules": []"#,
            r#""rules": [{"match": {"headers": [{"name": "x-a", "present": true}]}, "requires": {"none": true}}]"#,
        ] {
            let rules = rules(config);
            for path in AMBIGUOUS {
                assert_eq!(providers(&rules, path), Some(vec![0, 1]), "{config} {path}");
            }
        }
    }

    #[test]
    fn an_ambiguous_path_that_is_allowed_must_satisfy_every_rule_and_the_default() {
        let config = |default: &str| {
            format!(
                r#""ambiguousPaths": "allow", "defaultRequire": {default}, "rules": [
                    {{"match": {{"paths": [{{"prefix": "/public"}}]}}, "requires": {{"none": true}}}},
                    {{"match": {{"paths": [{{"prefix": "/soft"}}]}}, "requires": {{"allowMissing": true}}}},
                    {{"match": {{"paths": [{{"prefix": "/admin"}}]}}, "requires":
                        {{"provider": "one", "claims": [{{"claim": "role", "anyOf": ["admin"]}}]}}}},
                    {{"match": {{"paths": [{{"prefix": "/orders"}}]}}, "requires": {{"scopes": {{"allOf": ["a"]}}}}}}]"#
            )
        };
        let all = rules(&config(r#"{"scopes": {"allOf": ["b"]}}"#));
        let request = request("//admin");
        let requirement = all.requirement(&request).unwrap().unwrap();
        assert_eq!(requirement.otherwise, Otherwise::Nothing);
        assert_eq!(providers(&all, "//admin"), Some(vec![0]));
        for (claims, expected) in [
            (r#"{"role": "admin", "scope": "a b"}"#, Ok(())),
            (r#"{"role": "user", "scope": "a b"}"#, Err(Reject::Claims)),
            (r#"{"role": "admin", "scope": "b"}"#, Err(Reject::Scope)),
            (r#"{"role": "admin", "scope": "a"}"#, Err(Reject::Scope)),
        ] {
            let claims = Claims::read(json::parse(claims.as_bytes(), 8).unwrap()).unwrap();
            let checked = requirement.check(&claims).map_err(|insufficient| insufficient.reject);
            assert_eq!(checked, expected, "{claims:?}");
        }
        let none_in_common = rules(&config(r#"{"provider": "two"}"#));
        assert_eq!(providers(&none_in_common, "//admin"), Some(Vec::new()));
    }

    #[test]
    fn a_method_that_is_not_upper_case_is_rejected_whatever_the_rules() {
        for config in [r#""rules": []"#, r#""ambiguousPaths": "allow""#] {
            let request = Request::detached(&[(":path", b"/"), (":method", b"post"), (":authority", b"a")]);
            assert_eq!(rules(config).requirement(&request).unwrap_err(), Ambiguity::Method, "{config}");
        }
    }

    #[test]
    fn a_preflight_needs_both_of_its_headers() {
        let rules = rules(r#""rules": []"#);
        let passes = |headers: &[(&str, &[u8])]| rules.lets_pass(&Request::detached(headers));
        let (options, origin) = ((":method", &b"OPTIONS"[..]), ("origin", &b"https://a"[..]));
        let method = ("access-control-request-method", &b"PUT"[..]);
        assert!(passes(&[options, origin, method]));
        for headers in [&[options, origin][..], &[options, method], &[(":method", b"GET"), origin, method]] {
            assert!(!passes(headers));
        }
    }

    #[test]
    fn claims_and_scopes_are_looked_for_where_issuers_put_them() {
        let rules = rules(
            r#""rules": [{"requires": {
                "claims": [{"claim": "realm_access.roles", "anyOf": ["admin", "root"]}, {"claimPath": ["a.b"], "allOf": ["1", "true"]}],
                "scopes": {"allOf": ["read", "write"]}}}]"#,
        );
        let request = request("/");
        let requirement = rules.requirement(&request).unwrap().unwrap();
        let check = |claims: &str| {
            let claims = Claims::read(json::parse(claims.as_bytes(), 8).unwrap()).unwrap();
            requirement.check(&claims).map_err(|insufficient| insufficient.reject)
        };
        let roles = r#""realm_access":{"roles":["user","admin"]},"a.b":[1,true,2]"#;
        for scopes in [
            r#""scope":"read write""#,
            r#""scp":["write","read"]"#,
            r#""scope":"read","scp":"write x""#,
            r#""scope":["read write"]"#,
        ] {
            assert_eq!(check(&format!("{{{roles},{scopes}}}")), Ok(()), "{scopes}");
        }
        for scopes in [r#""scope":"read""#, r#""scope":"read writes""#, r#""scope":"read,write""#, r#""x":1"#]
        {
            assert_eq!(check(&format!("{{{roles},{scopes}}}")), Err(Reject::Scope), "{scopes}");
        }
        for roles in [
            r#""realm_access":{"roles":"administrator"},"a.b":[1,true]"#,
            r#""realm_access.roles":["admin"],"a.b":[1,true]"#,
            r#""realm_access":{"roles":"admin"},"a.b":1"#,
            r#""realm_access":{"roles":[["admin"]]},"a.b":[1,true]"#,
        ] {
            assert_eq!(
                check(&format!("{{{roles},\"scope\":\"read write\"}}")),
                Err(Reject::Claims),
                "{roles}"
            );
        }
        assert_eq!(
            check(&format!(
                "{{{}}}",
                r#""realm_access":{"roles":"admin"},"a.b":[true,1],"scope":"read write""#
            )),
            Ok(())
        );
    }

    #[test]
    fn a_place_is_looked_at_once_for_all_its_providers() {
        let rules = rules(r#""rules": []"#);
        let request = request("/");
        let requirement = rules.requirement(&request).unwrap().unwrap();
        let owners: Vec<&[usize]> = requirement.sources.iter().map(|(_, owners)| owners.as_slice()).collect();
        assert_eq!(owners, [&[0][..], &[0], &[1]]);
    }
}
