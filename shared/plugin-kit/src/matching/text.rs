//! String operators: `exact`, `oneOf`, `prefix`, `suffix`, `contains`, `regex`, `present`, with `ignoreCase` and `invert`.

use crate::config::{At, ConfigError};
use crate::matching::path::same;
use crate::pattern::{self, Pattern};

/// Declares what an operator is applied to, beside the operators. (`flatten` would spoil the error messages.)
macro_rules! with_operators {
    ($(#[$doc:meta])* $name:ident, $(#[$subject_doc:meta])* $subject:ident $subject_name:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields))]
        pub struct $name {
            $(#[$subject_doc])*
            pub $subject: String,
            /// Is this value.
            pub exact: Option<String>,
            /// Is one of these values.
            pub one_of: Option<Vec<String>>,
            /// Begins with this.
            pub prefix: Option<String>,
            /// Ends with this.
            pub suffix: Option<String>,
            /// Has this somewhere.
            pub contains: Option<String>,
            /// Matches this regular expression, unanchored unless you write `^` and `$`.
            pub regex: Option<String>,
            /// Is there (`true`) or is not (`false`).
            pub present: Option<bool>,
            /// Upper and lower case ASCII letters are the same. Default false.
            #[cfg_attr(feature = "schema", schemars(default))]
            pub ignore_case: bool,
            /// True where no value is as said. Default false.
            #[cfg_attr(feature = "schema", schemars(default))]
            pub invert: bool,
        }

        crate::fields!($name {
            $subject_name required => $subject,
            "exact" => exact,
            "oneOf" => one_of,
            "prefix" => prefix,
            "suffix" => suffix,
            "contains" => contains,
            "regex" => regex,
            "present" => present,
            "ignoreCase" => ignore_case,
            "invert" => invert,
        });

        impl $name {
            /// Compiles the operator.
            ///
            /// # Errors
            /// Where there is not exactly one operator, or its value is wrong.
            pub fn compile_operator(&self) -> Result<TextCondition, ConfigError> {
                self.compile_with_case(self.ignore_case)
            }

            pub(crate) fn compile_with_case(&self, ignore_case: bool) -> Result<TextCondition, ConfigError> {
                Operators {
                    exact: self.exact.as_deref(),
                    one_of: self.one_of.as_deref(),
                    prefix: self.prefix.as_deref(),
                    suffix: self.suffix.as_deref(),
                    contains: self.contains.as_deref(),
                    regex: self.regex.as_deref(),
                    present: self.present,
                }
                .compile(ignore_case, self.invert)
            }
        }
    };
}

with_operators! {
    /// A header, query parameter or cookie and what its value must be. Of several values of one name any may match;
    /// with `invert`, none may.
    NamedMatch,
    /// The name of the header, query parameter or cookie.
    name "name"
}
with_operators! {
    /// A value source and what its value must be.
    SourceMatch,
    /// The value source, such as `property:xds.node.metadata.LABELS.version`.
    source "source"
}

struct Operators<'a> {
    exact: Option<&'a str>,
    one_of: Option<&'a [String]>,
    prefix: Option<&'a str>,
    suffix: Option<&'a str>,
    contains: Option<&'a str>,
    regex: Option<&'a str>,
    present: Option<bool>,
}

impl Operators<'_> {
    fn compile(self, ignore_case: bool, invert: bool) -> Result<TextCondition, ConfigError> {
        let bytes =
            |text: &str| if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() }.into_bytes();
        let mut operators = Vec::new();
        operators.extend(self.exact.map(|text| Operator::OneOf(vec![bytes(text)])));
        operators
            .extend(self.one_of.map(|texts| Operator::OneOf(texts.iter().map(|text| bytes(text)).collect())));
        operators.extend(self.prefix.map(|text| Operator::Prefix(bytes(text))));
        operators.extend(self.suffix.map(|text| Operator::Suffix(bytes(text))));
        operators.extend(self.contains.map(|text| Operator::Contains(bytes(text))));
        if let Some(text) = self.regex {
            operators.push(Operator::Regex(Pattern::new(text, ignore_case, pattern::MAX_BYTES).at("regex")?));
        }
        operators.extend(self.present.map(Operator::Present));
        let count = operators.len();
        match operators.pop() {
            Some(operator) if count == 1 => Ok(TextCondition { operator, ignore_case, invert }),
            _ => Err(ConfigError::new(format!(
                "needs exactly one of exact, oneOf, prefix, suffix, contains, regex, present, not {count}"
            ))),
        }
    }
}

/// A compiled string operator.
#[derive(Clone, Debug)]
pub struct TextCondition {
    operator: Operator,
    ignore_case: bool,
    invert: bool,
}

#[derive(Clone, Debug)]
enum Operator {
    OneOf(Vec<Vec<u8>>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    Regex(Pattern),
    Present(bool),
}

impl TextCondition {
    /// Whether the values of one name are as said. `any` asks its argument about each of them until one is right.
    pub fn holds(&self, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
        let found = any(&mut |value| self.is(value));
        let wanted = match self.operator {
            Operator::Present(present) => found == present,
            _ => found,
        };
        wanted != self.invert
    }

    fn is(&self, value: &[u8]) -> bool {
        let equal = |one: &[u8], other: &[u8]| same(one, other, self.ignore_case);
        match &self.operator {
            Operator::OneOf(texts) => texts.iter().any(|text| equal(value, text)),
            Operator::Prefix(text) => value.get(..text.len()).is_some_and(|start| equal(start, text)),
            Operator::Suffix(text) => {
                let from = value.len().checked_sub(text.len());
                from.and_then(|from| value.get(from..)).is_some_and(|end| equal(end, text))
            }
            Operator::Contains(text) => {
                text.is_empty() || value.windows(text.len()).any(|part| equal(part, text))
            }
            Operator::Regex(pattern) => pattern.is_match(value),
            Operator::Present(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, values: &[&[u8]]) -> bool {
        let json = format!("{{\"name\":\"n\",{operator}}}");
        let condition: NamedMatch = serde_json::from_str(&json).unwrap();
        condition.compile_operator().unwrap().holds(|is| values.iter().any(|value| is(value)))
    }

    #[test]
    fn each_operator_says_what_it_means() {
        for (operator, value, expected) in [
            (r#""exact":"a""#, "a", true),
            (r#""exact":"a""#, "A", false),
            (r#""exact":"a","ignoreCase":true"#, "A", true),
            (r#""oneOf":["a","b"]"#, "b", true),
            (r#""oneOf":[]"#, "b", false),
            (r#""prefix":"ab""#, "abc", true),
            (r#""prefix":"ab""#, "a", false),
            (r#""suffix":"bc""#, "abc", true),
            (r#""suffix":"BC","ignoreCase":true"#, "abc", true),
            (r#""suffix":"abcd""#, "abc", false),
            (r#""contains":"b""#, "abc", true),
            (r#""contains":"""#, "", true),
            (r#""contains":"BOT","ignoreCase":true"#, "Googlebot/2", true),
            (r#""regex":"^9""#, "91", true),
            (r#""regex":"^9""#, "19", false),
            (r#""present":true"#, "", true),
            (r#""present":false"#, "", false),
        ] {
            assert_eq!(holds(operator, &[value.as_bytes()]), expected, "{operator} {value}");
            let inverted = format!("{operator},\"invert\":true");
            assert_eq!(holds(&inverted, &[value.as_bytes()]), !expected, "{inverted} {value}");
        }
    }

    #[test]
    fn any_of_several_values_may_match_and_none_when_inverted() {
        assert!(holds(r#""exact":"b""#, &[b"a", b"b"]));
        assert!(!holds(r#""exact":"b","invert":true"#, &[b"a", b"b"]));
    }

    #[test]
    fn without_a_value_only_absence_and_inversion_hold() {
        assert!(!holds(r#""exact":"""#, &[]));
        assert!(holds(r#""exact":"","invert":true"#, &[]));
        assert!(holds(r#""present":false"#, &[]));
        assert!(!holds(r#""present":true"#, &[]));
    }

    #[test]
    fn exactly_one_operator_is_wanted() {
        for json in [r#"{"name":"n"}"#, r#"{"name":"n","exact":"a","prefix":"b"}"#] {
            let condition: NamedMatch = serde_json::from_str(json).unwrap();
            assert!(condition.compile_operator().is_err(), "{json}");
        }
    }
}
