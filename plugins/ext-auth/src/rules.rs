//! Which requests the service is asked about, and what happens to them without its answer.

use plugin_kit::config::{At, ConfigError};
use plugin_kit::matching::Condition;
use plugin_kit::path::is_plain;
use plugin_kit::request::Request;

use crate::config::{Config, Failure};

/// The rules; the first that matches counts.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<(Condition, Way)>,
    default: Failure,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It passes.
    Pass,
    /// The service is asked; without an answer, this.
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
                let message = "means nothing where the service is not asked";
                return Err(ConfigError::new(message)).at("failure").at_index(index).at("rules");
            }
            let condition = rule.matches.compile().at("match").at_index(index).at("rules")?;
            let way = match rule.ask {
                true => Way::Ask(rule.failure.unwrap_or(config.failure)),
                false => Way::Pass,
            };
            rules.push((condition, way));
        }
        Ok(Self { rules, default: config.failure })
    }

    /// The way of this request.
    #[must_use]
    pub fn way(&self, request: &Request) -> Way {
        let found = self.rules.iter().find(|(condition, way)| {
            condition.matches(request) && (!self.is_lenient(*way) || is_plain(request.path()))
        });
        found.map_or(Way::Ask(self.default), |(_, way)| *way)
    }

    /// Whether a way is easier than that of a request that no rule means.
    fn is_lenient(&self, way: Way) -> bool {
        match way {
            Way::Pass => true,
            Way::Ask(failure) => failure == Failure::Allow && self.default == Failure::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Rules, ConfigError> {
        Rules::compile(&Config { rules: serde_json::from_str(json).unwrap(), ..Config::default() })
    }

    fn way(rules: &Rules, path: &str) -> Way {
        rules.way(&Request::detached(&[(":path", path.as_bytes())]))
    }

    #[test]
    fn the_first_rule_that_matches_counts_and_without_one_the_service_is_asked() {
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
            ("", Way::Ask(Failure::Deny)),
        ] {
            assert_eq!(way(&rules, path), expected, "{path}");
        }
    }

    #[test]
    fn an_odd_path_is_never_meant_by_a_rule_that_asks_for_less() {
        let rules =
            rules(r#"[{"match": {"paths": [{"prefix": "/open"}]}, "ask": false}, {"failure": "allow"}]"#)
                .unwrap();
        for path in ["/open/../admin", "/open/%2e%2e/admin", "/open//admin", "/open;a/b", "/open\\..\\admin"]
        {
            assert_eq!(way(&rules, path), Way::Ask(Failure::Deny), "{path}");
        }
        assert_eq!(way(&rules, "/open/a"), Way::Pass);
    }

    #[test]
    fn a_failure_without_a_question_is_refused() {
        let failed = rules(r#"[{}, {"ask": false, "failure": "allow"}]"#).unwrap_err().to_string();
        assert_eq!(failed, "rules[1].failure: means nothing where the service is not asked");
    }
}
