//! JSON Patch (RFC 6902) with three more operations: `set` makes the parents it needs, `rename` keeps a member's place,
//! `merge` is RFC 7386.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::matching::Captures;
use plugin_kit::request::Request;

use crate::config::{self, OnPatchError, Op};
use crate::document::Value;
use crate::equal::equal;
use crate::json::{self, MAX_DEPTH};
use crate::merge::merge;
use crate::pointer::{Pointer, Step};
use crate::value::{BoundTexts, Value as Template};

/// Compiled operations, in order; all of them take place, or none.
#[derive(Debug)]
pub struct Patch {
    operations: Vec<Operation>,
    skips: bool,
}

#[derive(Debug)]
struct Operation {
    path: Pointer,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Add(Template),
    Remove,
    Replace(Template),
    Move(Pointer),
    Copy(Pointer),
    Test(Template),
    Set(Template),
    Rename(Step),
    Merge(Template),
}

/// The texts of a patch's values, of which only the time is not known yet.
#[derive(Debug)]
pub struct BoundPatch(Vec<Option<BoundTexts>>);

/// The values of a patch, as JSON.
#[derive(Debug)]
pub struct Values(Vec<Vec<u8>>);

/// What stopped a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which operation.
    pub operation: usize,
    /// Why.
    pub cause: Cause,
}

/// Why an operation cannot take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A path leads to nothing.
    Absent,
    /// A path leads into what is no object, or to no place in an array.
    NoPlace,
    /// `test` found another value.
    Different,
    /// It would nest deeper than [`MAX_DEPTH`].
    Depth,
    /// Copies would be larger than `maxBodyBytes`.
    Size,
}

impl Cause {
    /// For log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NoPlace => "no_place",
            Self::Different => "different",
            Self::Depth => "too_deep",
            Self::Size => "too_large",
        }
    }
}

impl Patch {
    /// Compiles the operations. `values` are the texts of their values, as the configuration writes them.
    ///
    /// # Errors
    /// Where a pointer or template is wrong, or a field is missing.
    pub fn compile(
        operations: &[config::Operation],
        values: &[&[u8]],
        on_error: OnPatchError,
        captures: &[String],
    ) -> Result<Self, ConfigError> {
        if operations.is_empty() {
            return Err(ConfigError::new("needs at least one operation"));
        }
        let compile = |(index, operation): (usize, &config::Operation)| {
            let value = values.get(index).copied().unwrap_or_default();
            Operation::compile(operation, value, captures).at_index(index)
        };
        let operations = operations.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { operations, skips: on_error == OnPatchError::Skip })
    }

    /// Fills in all but the time.
    pub fn bind(&self, request: &Request, captures: &Captures) -> BoundPatch {
        let bind = |operation: &Operation| Some(operation.value()?.bind(request, captures));
        BoundPatch(self.operations.iter().map(bind).collect())
    }

    /// Fills in the time, which is `now` since the Unix epoch.
    pub fn fill(&self, bound: &BoundPatch, now: Duration) -> Values {
        let values =
            self.operations.iter().zip(&bound.0).map(|(operation, texts)| match (operation.value(), texts) {
                (Some(value), Some(texts)) => value.fill(texts, now),
                _ => Vec::new(),
            });
        Values(values.collect())
    }

    /// Changes a document. `budget` is how many bytes may still be copied.
    ///
    /// # Errors
    /// Where an operation cannot take place, and is not to be skipped; the document is then half changed.
    pub fn apply<'a>(
        &'a self,
        document: &mut Value<'a>,
        values: &'a Values,
        budget: &mut usize,
    ) -> Result<(), Failure> {
        for (index, (operation, value)) in self.operations.iter().zip(&values.0).enumerate() {
            let before = self.skips.then(|| document.clone());
            match (operation.apply(document, value, budget), before) {
                (Ok(()), _) => {}
                (Err(cause), Some(before)) if cause != Cause::Different => *document = before,
                (Err(cause), _) => return Err(Failure { operation: index, cause }),
            }
        }
        Ok(())
    }

    /// Whether it only tests.
    pub fn changes_nothing(&self) -> bool {
        self.operations.iter().all(|operation| matches!(operation.kind, Kind::Test(_)))
    }
}

impl Operation {
    fn compile(
        operation: &config::Operation,
        value: &[u8],
        captures: &[String],
    ) -> Result<Self, ConfigError> {
        let config::Operation { op, path, from, to, value: given } = operation;
        let path = match (path, op) {
            (Some(path), _) => Pointer::new(path).at("path")?,
            (None, Op::Merge) => Pointer(Vec::new()),
            (None, _) => return Err(ConfigError::new("is missing")).at("path"),
        };
        let wants = match op {
            Op::Remove => "",
            Op::Move | Op::Copy => "from",
            Op::Rename => "to",
            Op::Add | Op::Replace | Op::Test | Op::Set | Op::Merge => "value",
        };
        for (field, is_given) in [("from", from.is_some()), ("to", to.is_some()), ("value", given.is_given())]
        {
            if field == wants && !is_given {
                return Err(ConfigError::new("is missing")).at(field);
            }
        }
        let from =
            Pointer::new(from.as_deref().filter(|_| wants == "from").unwrap_or_default()).at("from")?;
        if matches!(op, Op::Remove | Op::Rename) && path.0.is_empty() {
            return Err(ConfigError::new("must not be the whole document")).at("path");
        }
        if *op == Op::Move && path.0.starts_with(&from.0) && path != from {
            return Err(ConfigError::new("must not lie inside of from")).at("path");
        }
        let value = || Template::new(value, captures).at("value");
        let kind = match op {
            Op::Add => Kind::Add(value()?),
            Op::Remove => Kind::Remove,
            Op::Replace => Kind::Replace(value()?),
            Op::Move => Kind::Move(from),
            Op::Copy => Kind::Copy(from),
            Op::Test => Kind::Test(value()?),
            Op::Set => Kind::Set(value()?),
            Op::Rename => Kind::Rename(Step::of_name(to.as_deref().unwrap_or_default())),
            Op::Merge => Kind::Merge(value()?),
        };
        Ok(Self { path, kind })
    }

    fn value(&self) -> Option<&Template> {
        match &self.kind {
            Kind::Add(value)
            | Kind::Replace(value)
            | Kind::Test(value)
            | Kind::Set(value)
            | Kind::Merge(value) => Some(value),
            Kind::Remove | Kind::Move(_) | Kind::Copy(_) | Kind::Rename(_) => None,
        }
    }

    fn apply<'a>(
        &'a self,
        document: &mut Value<'a>,
        value: &'a [u8],
        budget: &mut usize,
    ) -> Result<(), Cause> {
        match &self.kind {
            Kind::Add(_) => self.add(document, Value::Raw(value)),
            Kind::Remove => self.remove(document, &self.path).map(drop),
            Kind::Replace(_) => {
                self.check_depth(&Value::Raw(value))?;
                *document.walk(&self.path.0).ok_or(Cause::Absent)? = Value::Raw(value);
                Ok(())
            }
            Kind::Move(from) if *from == self.path => document.walk(&from.0).map(drop).ok_or(Cause::Absent),
            Kind::Move(from) => {
                let moved = self.remove(document, from)?;
                self.add(document, moved)
            }
            Kind::Copy(from) => {
                let copied = document.walk(&from.0).ok_or(Cause::Absent)?.clone();
                let weight = self.check_depth(&copied)?;
                *budget = budget.checked_sub(weight).ok_or(Cause::Size)?;
                self.add(document, copied)
            }
            Kind::Test(_) => {
                let mut found = Vec::new();
                document.walk(&self.path.0).ok_or(Cause::Different)?.write(&mut found);
                if equal(&found, value) { Ok(()) } else { Err(Cause::Different) }
            }
            Kind::Set(_) => {
                self.check_depth(&Value::Raw(value))?;
                set(document, &self.path.0, Value::Raw(value))
            }
            Kind::Rename(to) => {
                let (parents, from) = self.path.split_last().ok_or(Cause::NoPlace)?;
                let renamed = document.walk(parents).ok_or(Cause::Absent)?.rename(from, to);
                if renamed { Ok(()) } else { Err(Cause::Absent) }
            }
            Kind::Merge(_) => {
                self.check_depth(&Value::Raw(value))?;
                match document.walk(&self.path.0) {
                    Some(target) => {
                        merge(target, value);
                        Ok(())
                    }
                    None => {
                        let mut merged = Value::Raw(b"null");
                        merge(&mut merged, value);
                        set(document, &self.path.0, merged)
                    }
                }
            }
        }
    }

    fn add<'a>(&'a self, document: &mut Value<'a>, value: Value<'a>) -> Result<(), Cause> {
        self.check_depth(&value)?;
        let Some((parents, last)) = self.path.split_last() else {
            *document = value;
            return Ok(());
        };
        let parent = document.walk(parents).ok_or(Cause::Absent)?;
        match parent.open() {
            Value::Object(_) => {
                parent.set_member(&last.name, &last.quoted, value);
                Ok(())
            }
            Value::Array(items) => {
                let index = if last.is_end() { Some(items.len()) } else { last.index };
                let index = index.filter(|&index| index <= items.len()).ok_or(Cause::NoPlace)?;
                items.insert(index, value);
                Ok(())
            }
            Value::Raw(_) => Err(Cause::NoPlace),
        }
    }

    fn remove<'a>(&self, document: &mut Value<'a>, path: &Pointer) -> Result<Value<'a>, Cause> {
        let (parents, last) = path.split_last().ok_or(Cause::NoPlace)?;
        document.walk(parents).and_then(|parent| parent.take(last)).ok_or(Cause::Absent)
    }

    /// The weight of a value that is to be at `path`.
    fn check_depth(&self, value: &Value<'_>) -> Result<usize, Cause> {
        value.weigh(MAX_DEPTH.saturating_sub(self.path.0.len())).ok_or(Cause::Depth)
    }
}

/// Puts a value where `steps` lead, and objects on the way where there is nothing.
fn set<'a>(target: &mut Value<'a>, steps: &'a [Step], value: Value<'a>) -> Result<(), Cause> {
    let Some((step, rest)) = steps.split_first() else {
        *target = value;
        return Ok(());
    };
    if target.step(step).is_none() {
        let empty = Value::Object(Vec::new());
        match target {
            Value::Object(_) => {
                target.set_member(&step.name, &step.quoted, empty);
            }
            Value::Array(items) if step.is_end() || step.index == Some(items.len()) => {
                items.push(empty);
                let last = items.last_mut().ok_or(Cause::NoPlace)?;
                return set(last, rest, value);
            }
            _ => return Err(Cause::NoPlace),
        }
    }
    set(target.step(step).ok_or(Cause::NoPlace)?, rest, value)
}

/// The texts of the values in `patch` of the rule that `rule` leads to in the text of a configuration; empty where
/// there is none.
///
/// They are taken from the text, as a number is there as it was written.
pub fn values_of<'a>(configuration: &'a [u8], side: &str, rule: usize) -> Vec<&'a [u8]> {
    let member = |text: &'a [u8], wanted: &str| -> Option<&'a [u8]> {
        let members = json::members(text)?;
        members
            .into_iter()
            .find(|(name, _)| json::decode(name).is_some_and(|name| name == wanted))
            .map(|(_, v)| v)
    };
    let operations = || {
        let configuration = json::check(configuration).ok()?;
        let rules = json::items(member(configuration, side)?)?;
        json::items(member(rules.get(rule)?, "patch")?)
    };
    let operations = operations().unwrap_or_default();
    operations.into_iter().map(|operation| member(operation, "value").unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(on_error: OnPatchError, patch: &str, document: &str) -> Result<String, Failure> {
        let configuration = format!(r#"{{"request": [{{"name": "r", "patch": {patch}}}]}}"#);
        let config: config::Config = plugin_kit::config::parse(configuration.as_bytes()).unwrap();
        let values = values_of(configuration.as_bytes(), "request", 0);
        let patch = Patch::compile(&config.request[0].patch, &values, on_error, &[]).unwrap();
        let bound = patch.bind(&Request::detached(&[]), &Captures::default());
        let values = patch.fill(&bound, Duration::ZERO);
        let mut value = Value::Raw(json::check(document.as_bytes()).unwrap());
        patch.apply(&mut value, &values, &mut 100)?;
        let mut written = Vec::new();
        value.write(&mut written);
        Ok(String::from_utf8(written).unwrap())
    }

    fn one(operation: &str, document: &str) -> Result<String, Cause> {
        patched(OnPatchError::Pass, &format!("[{operation}]"), document).map_err(|failure| failure.cause)
    }

    #[test]
    fn set_makes_the_way_and_replaces_what_is_there() {
        let set = |path: &str, document: &str| {
            one(&format!(r#"{{"op": "set", "path": "{path}", "value": 1.0}}"#), document)
        };
        for (path, document, expected) in [
            ("/a/b/c", "{}", r#"{"a":{"b":{"c":1.0}}}"#),
            ("/a/b", r#"{"a":{"x":2}}"#, r#"{"a":{"x":2,"b":1.0}}"#),
            ("/a", r#"{"a":0,"b":2}"#, r#"{"a":1.0,"b":2}"#),
            ("/a/1", r#"{"a":[1,2,3]}"#, r#"{"a":[1,1.0,3]}"#),
            ("/a/-", r#"{"a":[1]}"#, r#"{"a":[1,1.0]}"#),
            ("/a/1/b", r#"{"a":[1]}"#, r#"{"a":[1,{"b":1.0}]}"#),
            ("/a/-/b/c", r#"{"a":[]}"#, r#"{"a":[{"b":{"c":1.0}}]}"#),
            ("", "[]", "1.0"),
            ("/a/1", "{}", r#"{"a":{"1":1.0}}"#),
        ] {
            assert_eq!(set(path, document).as_deref(), Ok(expected), "{path} {document}");
        }
        for (path, document) in [("/a/b", r#"{"a":1}"#), ("/a/2", r#"{"a":[1]}"#), ("/a/x/b", r#"{"a":[1]}"#)]
        {
            assert_eq!(set(path, document), Err(Cause::NoPlace), "{path} {document}");
        }
    }

    #[test]
    fn every_operation_says_why_it_cannot_take_place() {
        for (operation, cause) in [
            (r#"{"op": "add", "path": "/x/y", "value": 1}"#, Cause::Absent),
            (r#"{"op": "add", "path": "/n/y", "value": 1}"#, Cause::NoPlace),
            (r#"{"op": "add", "path": "/l/2", "value": 1}"#, Cause::NoPlace),
            (r#"{"op": "add", "path": "/l/01", "value": 1}"#, Cause::NoPlace),
            (r#"{"op": "remove", "path": "/l/1"}"#, Cause::Absent),
            (r#"{"op": "remove", "path": "/l/-"}"#, Cause::Absent),
            (r#"{"op": "replace", "path": "/x", "value": 1}"#, Cause::Absent),
            (r#"{"op": "move", "from": "/x", "path": "/y"}"#, Cause::Absent),
            (r#"{"op": "move", "from": "/x", "path": "/x"}"#, Cause::Absent),
            (r#"{"op": "copy", "from": "/x", "path": "/y"}"#, Cause::Absent),
            (r#"{"op": "test", "path": "/x", "value": null}"#, Cause::Different),
            (r#"{"op": "rename", "path": "/x", "to": "y"}"#, Cause::Absent),
            (r#"{"op": "rename", "path": "/l/0", "to": "y"}"#, Cause::Absent),
            (r#"{"op": "merge", "path": "/n/y", "value": {}}"#, Cause::NoPlace),
        ] {
            assert_eq!(one(operation, r#"{"n":1,"l":[1]}"#), Err(cause), "{operation}");
        }
    }

    #[test]
    fn an_operation_that_is_skipped_leaves_nothing_behind() {
        let patch = r#"[{"op": "move", "from": "/a", "path": "/x/y"}, {"op": "remove", "path": "/b"}, {"op": "set", "path": "/c", "value": 1}]"#;
        assert_eq!(patched(OnPatchError::Skip, patch, r#"{"a":0}"#).as_deref(), Ok(r#"{"a":0,"c":1}"#));
        let failure = patched(OnPatchError::Pass, patch, r#"{"a":0,"x":{}}"#).unwrap_err();
        assert_eq!(failure, Failure { operation: 1, cause: Cause::Absent });
        let tested = r#"[{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}]"#;
        let failure = patched(OnPatchError::Skip, tested, r#"{"a":0}"#).unwrap_err();
        assert_eq!(failure, Failure { operation: 0, cause: Cause::Different });
    }

    #[test]
    fn a_result_is_bounded_as_a_body_is() {
        let deep = ["[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)].concat();
        let wrap = r#"{"op": "move", "from": "/a", "path": "/b/c"}"#;
        let document = |depth: usize| {
            let nested = ["[".repeat(depth), "]".repeat(depth)].concat();
            format!(r#"{{"a":{nested},"b":{{}}}}"#)
        };
        assert!(one(wrap, &document(MAX_DEPTH - 2)).is_ok());
        assert_eq!(one(wrap, &document(MAX_DEPTH - 1)), Err(Cause::Depth));
        assert!(one(r#"{"op": "replace", "path": "", "value": 1}"#, &deep).is_ok());
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(101));
        assert_eq!(one(r#"{"op": "copy", "from": "/a", "path": "/b"}"#, &long), Err(Cause::Size));
    }
}
