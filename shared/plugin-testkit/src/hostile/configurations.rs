//! Configurations near a good one, and far from it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::arbitrary;

/// A change of one value somewhere in a tree.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, Value),
    Remove(Index),
    Add(Index, String, Value),
    Double(Index),
}

impl Change {
    fn apply(&self, tree: &mut Value) {
        let (Self::Replace(at, _) | Self::Remove(at) | Self::Add(at, _, _) | Self::Double(at)) = self;
        let node = at.index(count(tree));
        let Some(node) = nth(tree, &mut node.clone()) else { return };
        match (self, node) {
            (Self::Replace(_, value), node) => *node = value.clone(),
            (Self::Remove(at), Value::Object(fields)) if !fields.is_empty() => {
                let name = fields.keys().nth(at.index(fields.len())).cloned().unwrap_or_default();
                fields.remove(&name);
            }
            (Self::Add(_, name, value), Value::Object(fields)) => {
                fields.insert(name.clone(), value.clone());
            }
            (Self::Double(at), Value::Array(items)) if !items.is_empty() => {
                let item = items[at.index(items.len())].clone();
                items.push(item);
            }
            _ => {}
        }
    }
}

fn count(tree: &Value) -> usize {
    1 + children(tree).map(count).sum::<usize>()
}

fn children(tree: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match tree {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn nth<'a>(tree: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(tree);
    }
    *left -= 1;
    match tree {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, left)),
        _ => None,
    }
}

fn text() -> impl Strategy<Value = String> {
    let known = select(
        &[
            "",
            "0s",
            "1h",
            "99999999999d",
            "-1s",
            "GET",
            "/",
            "/{a}/{b=**}",
            "/{a=**}/b",
            "(",
            "(a+)+$",
            "[z-a]",
            "$1",
            "${x}",
            "${uuid}",
            "${header:x-a|default:b}",
            "header:",
            "header:x-a",
            "claim:a.b",
            "cookie:a",
            "query:a",
            "pathSegment:0",
            "pathSegment:99999999999",
            "clientIp",
            "literal:",
            "env:A",
            "property:a.b",
            "10.0.0.0/8",
            "10.0.0.0/99",
            "::/0",
            "2026-01-05T00:00:00Z",
            "9999-99-99T99:99:99Z",
            "https://a/b",
            "*",
            "*.a",
            "x-a",
            ":path",
            "content-length",
            "a\r\nb",
        ][..],
    );
    prop_oneof![
        3 => known.prop_map(str::to_owned),
        1 => arbitrary::bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    let number = select(
        &[
            0.0,
            -1.0,
            0.5,
            1.0,
            100.0,
            101.0,
            65_536.0,
            4_294_967_295.0,
            4_294_967_296.0,
            9.0e15,
            1.8e19,
            -9.3e18,
            1.0e300,
        ][..],
    );
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => number.prop_map(|number| json!(number)),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        4 => text().prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), scalar()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => (any::<Index>(), value()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => (any::<Index>(), text(), scalar()).prop_map(|(at, name, value)| Change::Add(at, name, value)),
        1 => any::<Index>().prop_map(Change::Double),
    ]
}

/// The example with up to three changes.
pub(super) fn near(example: &Value) -> impl Strategy<Value = String> + use<> {
    let example = example.clone();
    vec(change(), 0..3).prop_map(move |changes| {
        let mut tree = example.clone();
        changes.iter().for_each(|change| change.apply(&mut tree));
        tree.to_string()
    })
}

/// Any text that somebody may take for a configuration.
pub(super) fn texts(example: &Value) -> impl Strategy<Value = String> + use<> {
    let whole = example.to_string();
    let cut = any::<Index>().prop_map(move |at| {
        let text = String::from_utf8_lossy(&whole.as_bytes()[..at.index(whole.len())]).into_owned();
        if text.is_empty() { "{".to_owned() } else { text }
    });
    let deep = (1..2000_usize, select(&["[", "{\"a\":"][..])).prop_map(|(depth, open)| open.repeat(depth));
    prop_oneof![
        10 => near(example),
        2 => value().prop_map(|value| value.to_string()),
        1 => cut,
        1 => deep,
        1 => "[ -~]{1,40}",
    ]
}

/// The names under keys that speak of clusters.
pub(super) fn clusters(tree: &Value, names: &mut Vec<String>) {
    if let Value::Object(fields) = tree {
        let named = fields.iter().filter(|(key, _)| key.to_ascii_lowercase().ends_with("cluster"));
        names.extend(named.filter_map(|(_, name)| name.as_str()).map(str::to_owned));
    }
    children(tree).for_each(|child| clusters(child, names));
}
