//! `pluginConfig` against the plugin's own JSON schema.

use std::fs;

use anyhow::{Context, Result};
use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::validate::shape::{Findings, join, kind, unknown};

pub struct Schema {
    text: Value,
    validator: Validator,
}

impl Schema {
    /// Reads `config.schema.json`.
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let validator = jsonschema::validator_for(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { text, validator })
    }

    /// What the schema has against `config`, which lies at `path`.
    pub fn check(&self, path: &str, config: &Value, findings: &mut Findings) {
        for error in self.validator.iter_errors(config) {
            self.tell(path, &error, findings);
        }
    }

    fn tell(&self, root: &str, error: &ValidationError, findings: &mut Findings) {
        let path = place(root, error);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.siblings(error);
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                for field in unexpected {
                    findings.error(join(&path, field), unknown(field, &known));
                }
            }
            Kind::Required { property } => {
                findings.error(join(&path, property.as_str().unwrap_or_default()), "is missing");
            }
            Kind::Enum { options } => {
                let options: Vec<_> = options.as_array().into_iter().flatten().map(plain).collect();
                findings
                    .error(path, format!("{} is not one of {}", kind(error.instance()), options.join(", ")));
            }
            Kind::Type { .. } => {
                findings.error(path, error.to_string());
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                match (words(context), nearest(context)) {
                    (Some(words), _) => {
                        let message =
                            format!("{} is not one of {}", kind(error.instance()), words.join(", "));
                        findings.error(path, message);
                    }
                    (None, Some(errors)) => errors.iter().for_each(|error| self.tell(root, error, findings)),
                    (None, None) => findings.error(path, error.to_string()),
                }
            }
            _ => findings.error(path, error.to_string()),
        }
    }

    /// The fields that the object of an `additionalProperties` error may have.
    fn siblings(&self, error: &ValidationError) -> Vec<String> {
        let schema = error.schema_path().as_str();
        let parent = schema.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.text.pointer(&format!("{parent}/properties"));
        properties.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }
}

/// The words of an enumeration whose variants are documented one by one.
fn words(context: &[Vec<ValidationError<'static>>]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for errors in context {
        match errors.first()?.kind() {
            Kind::Constant { expected_value } => words.push(plain(expected_value)),
            Kind::Enum { options } => words.extend(options.as_array()?.iter().map(plain)),
            _ => return None,
        }
    }
    Some(words)
}

/// The alternative that was met best: the one whose first error lies deepest.
fn nearest<'a>(context: &'a [Vec<ValidationError<'static>>]) -> Option<&'a Vec<ValidationError<'static>>> {
    let depth =
        |errors: &&Vec<ValidationError>| errors.first().map(|error| error.instance_path().iter().count());
    let is_null = |errors: &Vec<ValidationError>| matches!(errors.first().map(ValidationError::kind), Some(Kind::Type { kind }) if format!("{kind:?}").contains("Null"));
    context.iter().filter(|errors| !is_null(errors)).max_by_key(depth)
}

fn place(root: &str, error: &ValidationError) -> String {
    error.instance_path().iter().fold(root.to_owned(), |path, segment| match segment {
        LocationSegment::Property(name) => join(&path, &name),
        LocationSegment::Index(at) => format!("{path}[{at}]"),
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
