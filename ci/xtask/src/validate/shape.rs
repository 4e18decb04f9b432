//! Where in a document we are, and what was found there.

use std::fmt;

use serde_json::{Map, Value};

/// What is wrong, or may bite, at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Such as `spec.vmConfig.env[1].value`.
    pub path: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Istio, the proxy or the plugin refuses it.
    Error,
    /// All take it, and someone will wonder.
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.severity == Severity::Warning { "warning: " } else { "" };
        if self.path.is_empty() {
            return write!(formatter, "{what}{}", self.message);
        }
        write!(formatter, "{what}{}: {}", self.path, self.message)
    }
}

#[derive(Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, path: path.into(), message: message.into() });
    }

    pub fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, path: path.into(), message: message.into() });
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// A value and the way to it. `null` is as good as absent, as it is for the API server.
#[derive(Clone)]
pub struct At<'a> {
    pub path: String,
    pub value: &'a Value,
}

impl<'a> At<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub fn get(&self, field: &str) -> Option<Self> {
        let value = self.value.get(field).filter(|value| !value.is_null())?;
        Some(Self { path: join(&self.path, field), value })
    }

    /// The object, once every field of it is a known one.
    pub fn object(&self, known: &[&str], findings: &mut Findings) -> Option<&'a Map<String, Value>> {
        let Value::Object(fields) = self.value else {
            findings.error(&self.path, format!("must be an object, not {}", kind(self.value)));
            return None;
        };
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            findings.error(join(&self.path, field), unknown(field, known));
        }
        Some(fields)
    }

    pub fn list(&self, findings: &mut Findings) -> Vec<Self> {
        let Value::Array(items) = self.value else {
            findings.error(&self.path, format!("must be a list, not {}", kind(self.value)));
            return Vec::new();
        };
        let item = |(at, value)| Self { path: format!("{}[{at}]", self.path), value };
        items.iter().enumerate().map(item).collect()
    }

    pub fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            let quoted = if self.value.is_object() || self.value.is_array() { "" } else { "; quote it" };
            findings.error(&self.path, format!("must be a string, not {}{quoted}", kind(self.value)));
        }
        text
    }

    /// A string of so many characters.
    pub fn sized(&self, least: usize, most: usize, findings: &mut Findings) -> Option<&'a str> {
        let text = self.text(findings)?;
        let length = text.chars().count();
        if (least..=most).contains(&length) {
            return Some(text);
        }
        findings.error(&self.path, format!("has {length} characters; {least} to {most} are allowed"));
        None
    }

    pub fn one_of(&self, values: &[&str], findings: &mut Findings) -> Option<&'a str> {
        let text = self.text(findings)?;
        if values.contains(&text) {
            return Some(text);
        }
        findings.error(&self.path, format!("{text:?} is not one of {}", values.join(", ")));
        None
    }

    pub fn integer(&self, least: i64, most: i64, findings: &mut Findings) -> Option<i64> {
        match self.value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(number) => {
                findings.error(&self.path, format!("{number} is not within {least} to {most}"));
                None
            }
            None => {
                findings.error(&self.path, format!("must be a whole number, not {}", kind(self.value)));
                None
            }
        }
    }
}

pub fn join(path: &str, field: &str) -> String {
    let plain = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (_, false) => format!("{path}[{field:?}]"),
        (true, true) => field.to_owned(),
        (false, true) => format!("{path}.{field}"),
    }
}

/// A message about a field that nobody knows.
pub fn unknown(field: &str, known: &[&str]) -> String {
    let score =
        |name: &&&str| (strsim::jaro_winkler(&field.to_lowercase(), &name.to_lowercase()) * 100.0) as u32;
    match known.iter().max_by_key(score).filter(|name| score(name) >= 80) {
        Some(nearest) => format!("unknown field; did you mean {nearest}?"),
        None => format!("unknown field; there are {}", known.join(", ")),
    }
}

pub fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
