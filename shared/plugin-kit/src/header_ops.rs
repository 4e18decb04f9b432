//! Header operations: `remove`, `rename`, `copy`, `set`, `setIfAbsent`, `add`, in this order.
//!
//! Values are filled in first and written later, so that all of them see the request as the client sent it, and so
//! that what a response needs of the request is at hand when the request's headers are no longer readable.

use serde::Deserialize;

use crate::config::{At, ConfigError, Table};
use crate::headers::{HeaderName, Headers};
use crate::hostcalls::{Bytes, HostResult};
use crate::matching::Captures;
use crate::request::Request;
use crate::template::{Syntax, Template};

/// Header operations as a configuration writes them.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderOps {
    /// Removes every line.
    pub remove: Vec<String>,
    /// Moves every line to another name.
    pub rename: Vec<FromTo>,
    /// Writes every line under another name too.
    pub copy: Vec<FromTo>,
    /// Makes this the only line; a template.
    pub set: Table,
    /// Adds this line where there is none; a template.
    pub set_if_absent: Table,
    /// Adds one more line; a template.
    pub add: Table,
}

/// Two names.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromTo {
    /// The name to read.
    pub from: String,
    /// The name to write.
    pub to: String,
}

/// Compiled header operations.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    edits: Vec<Edit<Template>>,
}

/// Header operations whose values are filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilledEdits {
    edits: Vec<Edit<Bytes>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Edit<V> {
    Remove(HeaderName),
    Rename { from: HeaderName, to: HeaderName },
    Copy { from: HeaderName, to: HeaderName },
    Set(HeaderName, V),
    SetIfAbsent(HeaderName, V),
    Add(HeaderName, V),
}

impl HeaderOps {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { remove, rename, copy, set, set_if_absent, add } = self;
        let tables = [set, set_if_absent, add];
        remove.is_empty()
            && rename.is_empty()
            && copy.is_empty()
            && tables.iter().all(|table| table.is_empty())
    }

    /// Compiles the operations; the templates may use the captures of these names.
    ///
    /// # Errors
    /// Where a name may not be written or a template is wrong.
    pub fn compile<S: AsRef<str>>(&self, captures: &[S]) -> Result<HeaderEdits, ConfigError> {
        let mut edits = Vec::new();
        for (index, name) in self.remove.iter().enumerate() {
            edits.push(Edit::Remove(HeaderName::writable(name).at_index(index).at("remove")?));
        }
        for (index, names) in self.rename.iter().enumerate() {
            let (from, to) = names.compile(HeaderName::writable).at_index(index).at("rename")?;
            edits.push(Edit::Rename { from, to });
        }
        for (index, names) in self.copy.iter().enumerate() {
            let (from, to) = names.compile(HeaderName::new).at_index(index).at("copy")?;
            edits.push(Edit::Copy { from, to });
        }
        type Constructor = fn(HeaderName, Template) -> Edit<Template>;
        let kinds: [(&str, &Table, Constructor); 3] = [
            ("set", &self.set, Edit::Set),
            ("setIfAbsent", &self.set_if_absent, Edit::SetIfAbsent),
            ("add", &self.add, Edit::Add),
        ];
        for (field, headers, edit) in kinds {
            for (name, value) in headers.iter() {
                let header = HeaderName::writable(name).at(name).at(field)?;
                edits.push(edit(header, Template::new(value, captures, Syntax::Plain).at(name).at(field)?));
            }
        }
        Ok(HeaderEdits { edits })
    }
}

impl FromTo {
    fn compile(
        &self,
        from: fn(&str) -> Result<HeaderName, ConfigError>,
    ) -> Result<(HeaderName, HeaderName), ConfigError> {
        Ok((from(&self.from).at("from")?, HeaderName::writable(&self.to).at("to")?))
    }
}

impl HeaderEdits {
    /// Fills the values in.
    #[must_use]
    pub fn fill(&self, request: &Request, captures: &Captures) -> FilledEdits {
        let fill = |template: &Template| template.fill(request, captures);
        let edits = self.edits.iter().map(|edit| match edit {
            Edit::Remove(name) => Edit::Remove(name.clone()),
            Edit::Rename { from, to } => Edit::Rename { from: from.clone(), to: to.clone() },
            Edit::Copy { from, to } => Edit::Copy { from: from.clone(), to: to.clone() },
            Edit::Set(name, value) => Edit::Set(name.clone(), fill(value)),
            Edit::SetIfAbsent(name, value) => Edit::SetIfAbsent(name.clone(), fill(value)),
            Edit::Add(name, value) => Edit::Add(name.clone(), fill(value)),
        });
        FilledEdits { edits: edits.collect() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}

impl FilledEdits {
    /// Appends operations, to be done after these.
    pub fn extend(&mut self, more: Self) {
        self.edits.extend(more.edits);
    }

    /// Appends one header to set.
    pub fn set(&mut self, name: HeaderName, value: Bytes) {
        self.edits.push(Edit::Set(name, value));
    }

    /// Writes to a header map. A value that cannot be written leaves its header absent, never the client's own in place.
    ///
    /// # Errors
    /// The first refusal of the host to remove a header. The other operations are done all the same.
    pub fn apply(&self, headers: Headers) -> HostResult<()> {
        self.edits.iter().map(|edit| edit.apply(headers)).fold(Ok(()), HostResult::and)
    }
}

impl Edit<Bytes> {
    /// Fails where a line stays that was to go; a line that could not be added is only missing.
    fn apply(&self, headers: Headers) -> HostResult<()> {
        match self {
            Self::Remove(name) => headers.remove(name.as_str()),
            Self::Rename { from, to } if from == to => Ok(()),
            Self::Rename { from, to } => {
                copy_lines(headers, from, to)?;
                headers.remove(from.as_str())
            }
            Self::Copy { from, to } => copy_lines(headers, from, to),
            Self::Set(name, value) => {
                headers.set(name.as_str(), value).or_else(|_| headers.remove(name.as_str()))
            }
            Self::SetIfAbsent(name, _) if headers.get(name.as_str()).is_some() => Ok(()),
            Self::SetIfAbsent(name, value) | Self::Add(name, value) => {
                let _ = headers.add(name.as_str(), value);
                Ok(())
            }
        }
    }
}

/// Writes the lines of one name under another, in place of the lines there.
fn copy_lines(headers: Headers, from: &HeaderName, to: &HeaderName) -> HostResult<()> {
    if from == to || headers.get(from.as_str()).is_none() {
        return Ok(());
    }
    headers.remove(to.as_str())?;
    for (name, value) in headers.pairs().iter() {
        if name == headers.listed(from.as_str()).as_bytes() {
            let _ = headers.add(to.as_str(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(json: &str) -> Result<HeaderEdits, ConfigError> {
        serde_json::from_str::<HeaderOps>(json).unwrap().compile(&["1"])
    }

    #[test]
    fn the_order_is_fixed_whatever_the_order_in_the_text() {
        let edits =
            compile(r#"{"add":{"e":"2"},"set":{"c":"${1}"},"remove":["a"],"copy":[{"from":"A","to":"b"}]}"#);
        let filled = edits.unwrap().fill(&Request::detached(&[]), &Captures::default());
        let name = |name: &str| HeaderName::new(name).unwrap();
        assert_eq!(
            filled.edits,
            [
                Edit::Remove(name("a")),
                Edit::Copy { from: name("a"), to: name("b") },
                Edit::Set(name("c"), Bytes::new()),
                Edit::Add(name("e"), b"2".to_vec()),
            ]
        );
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for (json, message) in [
            (r#"{"remove":["a","Host"]}"#, "remove[1]: \"host\" must not be written by a rule"),
            (r#"{"set":{":path":"/"}}"#, "set.:path: \":path\" is not the name of a header"),
            (
                r#"{"add":{"content-length":"1"}}"#,
                "add.content-length: \"content-length\" must not be written by a rule",
            ),
            (r#"{"setIfAbsent":{"x":"${9}"}}"#, "setIfAbsent.x: there is no group \"9\""),
            (
                r#"{"rename":[{"from":"te","to":"x"}]}"#,
                "rename[0].from: \"te\" must not be written by a rule",
            ),
            (r#"{"copy":[{"from":"host","to":"a b"}]}"#, "copy[0].to: \"a b\" is not the name of a header"),
        ] {
            assert_eq!(compile(json).unwrap_err().to_string(), message);
        }
    }
}
