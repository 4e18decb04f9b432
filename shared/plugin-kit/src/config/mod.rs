//! From the bytes of `pluginConfig` to a plugin's `Config`, with errors that point at the field.

mod choice;
mod duration;
mod error;
mod fields;
mod mode;
mod node;
mod sensitive;
mod table;

use proxy_wasm::types::BufferType;
use serde::de::DeserializeOwned;

use crate::hostcalls::{self, Bytes};

pub use choice::{ChoiceName, Choices};
pub use duration::Seconds;
pub use error::{At, ConfigError, quoted};
pub use fields::{FieldName, Fields};
pub use mode::Mode;
pub use node::Node;
pub use sensitive::Sensitive;
pub use table::Table;

/// Reads a plugin's configuration: JSON, as Istio sends it.
///
/// Istio carries `pluginConfig` through a protobuf `Struct`, whose numbers are doubles, so `10.0` is accepted where an
/// integer is wanted. No configuration at all is an empty one.
///
/// # Errors
/// Where the text is not JSON, or a field is missing, unknown, given twice, or of the wrong type.
pub fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, ConfigError> {
    if raw.is_empty() {
        return T::deserialize(&Node::Map(Vec::new()))
            .map_err(|invalid| ConfigError::new(format!("no configuration was given; {invalid}")));
    }
    T::deserialize(&Node::parse(raw)?)
}

/// The text of the configuration that is being applied; readable in [`Plugin::new`](crate::Plugin::new) only.
#[must_use]
pub fn raw() -> Bytes {
    hostcalls::buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Example {
        rules: Vec<Rule>,
        #[serde(default)]
        ratio: f64,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Rule {
        max_requests: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    enum Kind {
        Plain,
        Exact(String),
        Range { from: u8, to: u8 },
    }

    fn ok(raw: &str) -> Example {
        parse(raw.as_bytes()).unwrap()
    }

    fn error(raw: &str) -> String {
        parse::<Example>(raw.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn accepts_integers_written_as_doubles() {
        let config = ok(r#"{"rules":[{"maxRequests":10.0}],"ratio":1}"#);
        assert_eq!(config, Example { rules: vec![Rule { max_requests: 10 }], ratio: 1.0, kind: None });
    }

    #[test]
    fn reads_the_three_shapes_of_an_enum() {
        assert_eq!(ok(r#"{"rules":[],"kind":"plain"}"#).kind, Some(Kind::Plain));
        assert_eq!(ok(r#"{"rules":[],"kind":{"exact":"x"}}"#).kind, Some(Kind::Exact("x".into())));
        assert_eq!(
            ok(r#"{"rules":[],"kind":{"range":{"from":1,"to":2.0}}}"#).kind,
            Some(Kind::Range { from: 1, to: 2 })
        );
    }

    #[test]
    fn an_error_points_at_the_field() {
        for (raw, message) in [
            (r#"{"rules":[{"maxRequests":1.5}]}"#, "rules[0].maxRequests: expected u32, not a fraction"),
            (r#"{"rules":[{"maxRequests":-1}]}"#, "rules[0].maxRequests: expected u32, not -1"),
            (r#"{"rules":[{"maxRequests":"1"}]}"#, "rules[0].maxRequests: expected u32, not \"1\""),
            (r#"{"rules":[{"maxRequests":true}]}"#, "rules[0].maxRequests: expected u32, not true"),
            (
                r#"{"rules":[{"maxRequests":null}]}"#,
                "rules[0].maxRequests: must not be null; leave it out for the default",
            ),
            (r#"{"rules":null}"#, "rules: must not be null; leave it out for the default"),
            (r#"{"rules":[],"kind":null}"#, "kind: must not be null; leave it out for the default"),
            (
                r#"{"rules":[],"kind":{"exact":null}}"#,
                "kind.exact: must not be null; leave it out for the default",
            ),
            (r#"{"rules":[],"kind":{"plain":null}}"#, "kind.plain: takes no value"),
            ("null", "must not be null; leave it out for the default"),
            (
                r#"{"rules":[{"maxRequests":1},{"maxRequest":1}]}"#,
                "rules[1].maxRequest: unknown field `maxRequest`, expected `maxRequests`",
            ),
            (r#"{"rules":[{}]}"#, "rules[0]: missing field `maxRequests`"),
            (r#"{"rules":{}}"#, "rules: expected a sequence, not a mapping"),
            (r#"{"rules":[1]}"#, "rules[0]: expected struct Rule, not 1"),
            (r#"{"rules":[],"kind":{"range":{"from":300,"to":2}}}"#, "kind.range.from: expected u8, not 300"),
            (
                r#"{"rules":[],"kind":{"prefix":"/"}}"#,
                "kind.prefix: unknown variant `prefix`, expected one of `plain`, `exact`, `range`",
            ),
            (
                r#"{"rules":[],"kind":{"exact":"a","range":{}}}"#,
                "kind: expected exactly one of its variants, not 2",
            ),
            (r#"{"rules":[],"rules":[]}"#, "rules: is given twice"),
        ] {
            assert_eq!(error(raw), message, "{raw}");
        }
    }

    #[test]
    fn without_a_configuration_the_error_says_so() {
        assert_eq!(error(""), "no configuration was given; missing field `rules`");
    }

    #[test]
    fn text_that_is_not_json_says_where() {
        assert_eq!(error("{\"rules\": }"), "not JSON: expected value at line 1 column 11");
        assert_eq!(error("\u{8}\u{1}"), "not JSON: expected value at line 1 column 1");
    }
}
