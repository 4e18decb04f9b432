//! Changes to the query that leave every other parameter's bytes alone.

use std::borrow::Cow;

use plugin_kit::config::{At, ConfigError, Table};
use plugin_kit::matching::Captures;
use plugin_kit::percent;
use plugin_kit::query::parameters;
use plugin_kit::request::Request;
use plugin_kit::template::{Syntax, Template};

use crate::config::QueryOps;

/// Compiled changes.
#[derive(Clone, Debug, Default)]
pub struct QueryEdits {
    remove: Vec<Vec<u8>>,
    rename: Vec<(Vec<u8>, Vec<u8>)>,
    set: Vec<(Vec<u8>, Template)>,
    add: Vec<(Vec<u8>, Template)>,
}

impl QueryEdits {
    /// Compiles the changes; the templates may use the captures of these names.
    pub fn compile(ops: &QueryOps, captures: &[String]) -> Result<Self, ConfigError> {
        let templates = |field: &str, values: &Table| {
            let compile = |(name, value): (&str, &str)| {
                let template = Template::new(value, captures, Syntax::Plain).at(name).at(field)?;
                Ok((name.as_bytes().to_vec(), template))
            };
            values.iter().map(compile).collect::<Result<Vec<_>, ConfigError>>()
        };
        Ok(Self {
            remove: ops.remove.iter().map(|name| name.as_bytes().to_vec()).collect(),
            rename: ops
                .rename
                .iter()
                .map(|names| (names.from.clone().into(), names.to.clone().into()))
                .collect(),
            set: templates("set", &ops.set)?,
            add: templates("add", &ops.add)?,
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The changed query; `None` where nothing is left of it.
    pub fn apply(&self, query: Option<&[u8]>, request: &Request, captures: &Captures) -> Option<Vec<u8>> {
        let mut pieces: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut set: Vec<(&[u8], Option<Vec<u8>>)> = self
            .set
            .iter()
            .map(|(name, value)| (name.as_slice(), Some(pair(name, &value.fill(request, captures)))))
            .collect();
        // Empty pieces (`a&&b`) are no parameters, and stay.
        let sent = query.filter(|query| !query.is_empty());
        for raw in sent.into_iter().flat_map(|query| query.split(|&byte| byte == b'&')) {
            let Some(parameter) = parameters(raw).next() else {
                pieces.push(raw.into());
                continue;
            };
            let mut name = parameter.name();
            if self.remove.iter().any(|removed| *removed == *name) {
                continue;
            }
            let mut piece = Cow::Borrowed(raw);
            if let Some((_, to)) = self.rename.iter().find(|(from, _)| *from == *name) {
                piece = [&percent::encode(to), parameter.raw_value()].concat().into();
                name = to.into();
            }
            match set.iter_mut().find(|(set, _)| *set == &*name) {
                Some((_, value)) => pieces.extend(value.take().map(Cow::Owned)),
                None => pieces.push(piece),
            }
        }
        pieces.extend(set.into_iter().filter_map(|(_, value)| value).map(Cow::Owned));
        let added = self.add.iter().map(|(name, value)| pair(name, &value.fill(request, captures)));
        pieces.extend(added.map(Cow::Owned));
        let changed = pieces.join(&b'&');
        if changed.is_empty() && query != Some(b"") { None } else { Some(changed) }
    }
}

/// Splits what a rule wrote into path and query at the first `?`. A fragment stays: the safety check encodes it.
pub fn split(written: &[u8]) -> (&[u8], Option<&[u8]>) {
    match written.iter().position(|&byte| byte == b'?').and_then(|at| written.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (written, None),
    }
}

/// Joins two queries.
pub fn merge(first: Option<&[u8]>, second: Option<&[u8]>) -> Option<Vec<u8>> {
    match (first, second) {
        (Some(first), Some(second)) if !first.is_empty() && !second.is_empty() => {
            Some([first, second].join(&b'&'))
        }
        (Some(query), None | Some(b"")) | (None | Some(b""), Some(query)) => Some(query.to_vec()),
        _ => None,
    }
}

fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    [percent::encode(name), percent::encode(value)].join(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(json: &str, query: Option<&str>) -> Option<String> {
        let ops: QueryOps = plugin_kit::config::parse(json.as_bytes()).unwrap();
        let request = Request::detached(&[("x-a", b"1 2&3")]);
        let edits = QueryEdits::compile(&ops, &[]).unwrap();
        let edited = edits.apply(query.map(str::as_bytes), &request, &Captures::default());
        edited.map(|query| String::from_utf8(query).unwrap())
    }

    #[test]
    fn untouched_parameters_keep_bytes_and_order() {
        for (json, query, expected) in [
            (r#"{"remove":["debug"]}"#, Some("b=%7e+x&debug=1&a&b=2&debug"), Some("b=%7e+x&a&b=2")),
            (r#"{"remove":["a"]}"#, Some("a=1"), None),
            (r#"{"set":{"src":"gw"}}"#, Some("a=1"), Some("a=1&src=gw")),
            (r#"{"set":{"src":"gw"}}"#, None, Some("src=gw")),
            (r#"{"set":{"b":"x"}}"#, Some("a=1&b=2&c=3&b=4"), Some("a=1&b=x&c=3")),
            (r#"{"add":{"b":"x"}}"#, Some("b=2"), Some("b=2&b=x")),
            (r#"{"rename":[{"from":"q","to":"query"}]}"#, Some("q=%41&x=1&q"), Some("query=%41&x=1&query")),
            (r#"{"set":{"v":"${header:x-a}"}}"#, None, Some("v=1%202%263")),
            (r#"{"remove":["a b"]}"#, Some("a%20b=1&a+b=2&c=3"), Some("c=3")),
            (r#"{"remove":["x"]}"#, Some("a=1&&b&"), Some("a=1&&b&")),
            (r#"{"remove":["a"]}"#, Some("a=1&&b&"), Some("&b&")),
            (r#"{"remove":["x"]}"#, Some(""), Some("")),
            (r#"{"remove":["x"]}"#, None, None),
            (r#"{"set":{"src":"gw"}}"#, Some(""), Some("src=gw")),
            (r#"{"set":{"a":"1"}}"#, Some("&a=1&&"), Some("&a=1&&")),
        ] {
            assert_eq!(apply(json, query).as_deref(), expected, "{json} {query:?}");
        }
    }

    #[test]
    fn queries_are_joined_by_an_ampersand() {
        for (first, second, merged) in [
            (Some("a=1"), Some("b=2"), Some("a=1&b=2")),
            (Some("a=1"), None, Some("a=1")),
            (None, Some("b=2"), Some("b=2")),
            (Some(""), Some("b=2"), Some("b=2")),
            (Some("a=1"), Some(""), Some("a=1")),
            (None, None, None),
        ] {
            let found = merge(first.map(str::as_bytes), second.map(str::as_bytes));
            assert_eq!(found.as_deref(), merged.map(str::as_bytes), "{first:?} {second:?}");
        }
    }
}
