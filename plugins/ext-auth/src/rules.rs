//! Which requests are checked, and what happens to them if the service makes no decision.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::matching::{Ambiguity, AmbiguousPaths, Condition, FirstMatch};
use plugin_kit::request::Request;

use crate::config::{Config, Failure};

/// The rules; the first that matches applies.
#[derive(Debug)]
pub struct Rules {
    rules: FirstMatch<Way>,
    /// Applies to an ambiguous request; `None`: it is rejected.
    for_ambiguous: Option<Way>,
}

/// What a rule says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It passes without a check.
    Pass,
    /// It is checked; this happens without a decision.
    Ask(Failure),
}

impl Rules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let mut rules = Vec::new();
        for (index, rule) in config.rules.iter().enumerate() {
            if !rule.ask && rule.failure.is_some() {
                let message = "has no effect with ask: false";
                return Err(ConfigError::new(message)).at("failure").at_index(index).at("rules");
            }
            let condition = rule.matches.compile().at("match").at_index(index).at("rules")?;
            let way = match rule.ask {
                true => Way::Ask(rule.failure.unwrap_or(config.failure)),
                false => Way::Pass,
            };
            rules.push((condition, way));
        }
        let rules = FirstMatch::new(rules, Way::Ask(config.failure));
        let denies = rules.all().any(|way| *way == Way::Ask(Failure::Deny));
        Ok(Self {
            rules,
            for_ambiguous: match config.ambiguous_paths {
                AmbiguousPaths::Reject => None,
                AmbiguousPaths::Allow => Some(Way::Ask(if denies { Failure::Deny } else { Failure::Allow })),
            },
        })
    }

    /// Whether the client's address decides.
    #[must_use]
    pub fn read_client_ip(&self) -> bool {
        self.rules.conditions().any(Condition::reads_client_ip)
    }

    /// What the rules say about this request.
    ///
    /// # Errors
    /// Why the request is rejected as ambiguous.
    pub fn way(&self, request: &Request) -> Result<Way, Ambiguity> {
        match (self.rules.find_unambiguous(request, |way| *way == Way::Pass), self.for_ambiguous) {
            (Ok(way), _) => Ok(*way),
            (Err(ambiguity), Some(way)) if ambiguity != Ambiguity::Method => Ok(way),
            (Err(ambiguity), _) => Err(ambiguity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Rules, ConfigError> {
        Rules::compile(&Config { rules: serde_json::from_str(json).unwrap(), ..Config::default() })
    }

    fn way(rules: &Rules, path: &str) -> Result<Way, Ambiguity> {
        let headers = [(":method", &b"GET"[..]), (":authority", b"a"), (":path", path.as_bytes())];
        rules.way(&Request::detached(&headers))
    }

    #[test]
    fn the_first_rule_that_matches_applies_and_other_requests_are_checked() {
        let rules = rules(
            r#"[{"match": {"paths": [{"prefix": "/open"}]}, "ask": false},
                {"match": {"paths": [{"prefix": "/soft"}]}, "failure": "allow"},
                {"match": {"paths": [{"prefix": "/soft/hard"}]}, "failure": "deny"}]"#,
        )
        .unwrap();
        for (path, expected) in [
            ("/open/a?b", Way::Pass),
            ("/soft/hard", Way::Ask(Failure::Allow)),
            ("/", Way::Ask(Failure::Deny)),
        ] {
            assert_eq!(way(&rules, path), Ok(expected), "{path}");
        }
    }

    const AMBIGUOUS: [&str; 7] = [
        "/open/../admin",
        "/open/%2e%2e/admin",
        "/open//admin",
        "/open;a/b",
        "/open\\..\\admin",
        "/Open/x",
        "/%6fpen/x",
    ];

    #[test]
    fn an_ambiguous_path_is_rejected_where_paths_decide() {
        let rules = rules(r#"[{"match": {"paths": [{"prefix": "/open"}]}, "ask": false}]"#).unwrap();
        for path in AMBIGUOUS {
            assert!(way(&rules, path).is_err(), "{path}");
        }
        assert_eq!(way(&rules, "/open/a"), Ok(Way::Pass));
    }

    #[test]
    fn an_ambiguous_path_that_is_allowed_gets_the_strictest_failure_of_all_rules() {
        for (rule_failure, default, expected) in [
            ("deny", Failure::Allow, Failure::Deny),
            ("allow", Failure::Deny, Failure::Deny),
            ("allow", Failure::Allow, Failure::Allow),
        ] {
            let json = format!(
                r#"[{{"match": {{"paths": [{{"prefix": "/open"}}]}}, "ask": false}},
                    {{"match": {{"paths": [{{"prefix": "/a"}}]}}, "failure": "{rule_failure}"}}]"#
            );
            let config = Config {
                rules: serde_json::from_str(&json).unwrap(),
                failure: default,
                ambiguous_paths: AmbiguousPaths::Allow,
                ..Config::default()
            };
            let rules = Rules::compile(&config).unwrap();
            for path in AMBIGUOUS {
                assert_eq!(way(&rules, path), Ok(Way::Ask(expected)), "{path}");
            }
        }
    }

    #[test]
    fn failure_with_ask_false_is_rejected() {
        let failed = rules(r#"[{}, {"ask": false, "failure": "allow"}]"#).unwrap_err().to_string();
        assert_eq!(failed, "rules[1].failure: has no effect with ask: false");
    }
}
