//! A document that is taken apart only along the ways that operations go; all else stays the bytes that came.
//!
//! Opening a container costs its length, and a pointer opens at most one at each of its steps, so an operation is
//! linear in the body.

use std::mem;

use crate::json;
use crate::pointer::Step;

/// A value in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// As it is written.
    Raw(&'a [u8]),
    /// An array that was opened.
    Array(Vec<Self>),
    /// An object that was opened; the names are in their quotes, as they are written.
    Object(Vec<(&'a [u8], Self)>),
}

impl<'a> Value<'a> {
    /// Takes an array or an object apart.
    pub fn open(&mut self) -> &mut Self {
        if let Self::Raw(text) = *self {
            if let Some(members) = json::members(text) {
                *self =
                    Self::Object(members.into_iter().map(|(name, value)| (name, Self::Raw(value))).collect());
            } else if let Some(items) = json::items(text) {
                *self = Self::Array(items.into_iter().map(Self::Raw).collect());
            }
        }
        self
    }

    /// What a step leads to.
    pub fn step(&mut self, step: &Step) -> Option<&mut Self> {
        self.open();
        match self {
            Self::Object(_) => self.member(&step.name),
            Self::Array(items) => items.get_mut(step.index?),
            Self::Raw(_) => None,
        }
    }

    /// The member of an object.
    pub fn member(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Object(members) = self.open() else { return None };
        let index = find(members, name)?;
        members.get_mut(index).map(|(_, value)| value)
    }

    /// What all steps lead to.
    pub fn walk(&mut self, steps: &[Step]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |value, step| value.step(step))
    }

    /// Takes what a step leads to out of its container.
    pub fn take(&mut self, step: &Step) -> Option<Self> {
        self.open();
        match self {
            Self::Object(_) => self.take_member(&step.name),
            Self::Array(items) => {
                let index = step.index.filter(|&index| index < items.len())?;
                Some(items.remove(index))
            }
            Self::Raw(_) => None,
        }
    }

    /// Takes a member out of an object.
    pub fn take_member(&mut self, name: &str) -> Option<Self> {
        let Self::Object(members) = self.open() else { return None };
        let index = find(members, name)?;
        Some(members.remove(index).1)
    }

    /// Makes `value` the member of an object of this name, in the place of the one it has or behind the last; `false`
    /// where this is no object.
    pub fn set_member(&mut self, name: &str, quoted: &'a [u8], value: Self) -> bool {
        let Self::Object(members) = self.open() else { return false };
        match find(members, name).and_then(|index| members.get_mut(index)) {
            Some((_, old)) => *old = value,
            None => members.push((quoted, value)),
        }
        true
    }

    /// Gives a member another name, in its place; whatever had that name goes.
    pub fn rename(&mut self, from: &Step, to: &'a Step) -> bool {
        let Self::Object(members) = self.open() else { return false };
        let Some(index) = find(members, &from.name) else { return false };
        let Some(entry) = members.get_mut(index) else { return false };
        let value = mem::replace(&mut entry.1, Self::Raw(b"null"));
        members.retain(|(name, _)| !is_named(name, &to.name));
        match find(members, &from.name).and_then(|index| members.get_mut(index)) {
            Some(entry) => *entry = (&to.quoted, value),
            // It keeps its name.
            None => members.insert(index.min(members.len()), (&to.quoted, value)),
        }
        true
    }

    /// How many bytes it is, at most; `None` where it nests more than `depth` deep.
    pub fn weigh(&self, depth: usize) -> Option<usize> {
        let separators = |count: usize| count.saturating_mul(2).saturating_add(2);
        match self {
            Self::Raw(text) => json::is_within(text, depth).then_some(text.len()),
            Self::Array(items) => {
                let inside = depth.checked_sub(1)?;
                items.iter().try_fold(separators(items.len()), |sum, item| {
                    Some(sum.saturating_add(item.weigh(inside)?))
                })
            }
            Self::Object(members) => {
                let inside = depth.checked_sub(1)?;
                members.iter().try_fold(separators(members.len()), |sum, (name, value)| {
                    Some(sum.saturating_add(name.len()).saturating_add(value.weigh(inside)?))
                })
            }
        }
    }

    /// Appends the text: what was not opened as it came, the rest without white space.
    pub fn write(&self, json: &mut Vec<u8>) {
        match self {
            Self::Raw(text) => json.extend_from_slice(text),
            Self::Array(items) => {
                json.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    item.write(json);
                }
                json.push(b']');
            }
            Self::Object(members) => {
                json.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    json.extend_from_slice(name);
                    json.push(b':');
                    value.write(json);
                }
                json.push(b'}');
            }
        }
    }
}

/// The member of this name. Of several the last one counts, as for most parsers, and the others go: what reads the
/// document next may be one that takes the first, and must not find there what an operation meant to change.
fn find<V>(members: &mut Vec<(&[u8], V)>, name: &str) -> Option<usize> {
    let last = members.iter().rposition(|(seen, _)| is_named(seen, name))?;
    let first = members.iter().position(|(seen, _)| is_named(seen, name))?;
    if first == last {
        return Some(last);
    }
    let mut index = 0_usize;
    members.retain(|(seen, _)| {
        let kept = index == last || !is_named(seen, name);
        index = index.saturating_add(1);
        kept
    });
    members.iter().position(|(seen, _)| is_named(seen, name))
}

fn is_named(quoted: &[u8], name: &str) -> bool {
    json::decode(quoted).is_some_and(|seen| seen == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pointer::Pointer;

    fn after(text: &str, change: impl FnOnce(&mut Value<'_>)) -> String {
        let mut value = Value::Raw(json::check(text.as_bytes()).unwrap());
        change(&mut value);
        let mut json = Vec::new();
        value.write(&mut json);
        String::from_utf8(json).unwrap()
    }

    fn steps(text: &str) -> Vec<Step> {
        Pointer::new(text).unwrap().0
    }

    #[test]
    fn what_is_beside_the_way_keeps_its_bytes() {
        let text = r#"{ "n" : 1.0, "a" : [ 1e400 , {"b": 2} ], "\u0061b" : "\/" }"#;
        let walked = after(text, |value| assert!(value.walk(&steps("/a/1/b")).is_some()));
        assert_eq!(walked, r#"{"n":1.0,"a":[1e400,{"b":2}],"\u0061b":"\/"}"#);
        assert_eq!(after(text, |value| assert!(value.walk(&[]).is_some())), text);
    }

    #[test]
    fn of_a_member_twice_the_last_one_counts_and_stays() {
        let text = r#"{"a":1,"b":2,"\u0061":{"x":1},"a":{"x":2}}"#;
        assert_eq!(
            after(text, |value| assert_eq!(value.walk(&steps("/a/x")), Some(&mut Value::Raw(b"2")))),
            r#"{"b":2,"a":{"x":2}}"#
        );
        let taken = after(text, |value| assert!(value.take(&steps("/a")[0]).is_some()));
        assert_eq!(taken, r#"{"b":2}"#);
        assert_eq!(
            after(text, |value| assert!(value.walk(&steps("/b")).is_some())),
            text,
            "it was not named"
        );
    }

    #[test]
    fn a_new_name_stays_in_its_place() {
        let rename = |text: &str, from: &str, to: &str| {
            let (from, to) = (Step::of_name(from), Step::of_name(to));
            let mut value = Value::Raw(json::check(text.as_bytes()).unwrap());
            let renamed = value.rename(&from, &to);
            let mut json = Vec::new();
            value.write(&mut json);
            renamed.then(|| String::from_utf8(json).unwrap())
        };
        assert_eq!(rename(r#"{"a":1,"b":2}"#, "a", "c").as_deref(), Some(r#"{"c":1,"b":2}"#));
        assert_eq!(rename(r#"{"c":0,"a":1,"c":2}"#, "a", "c").as_deref(), Some(r#"{"c":1}"#));
        assert_eq!(rename(r#"{"x":0,"a":1}"#, "a", "a").as_deref(), Some(r#"{"x":0,"a":1}"#));
        assert_eq!(rename(r#"{"a":1,"x":0,"a":2}"#, "a", "b").as_deref(), Some(r#"{"x":0,"b":2}"#));
        assert_eq!(rename(r#"{"b":1}"#, "a", "c"), None);
        assert_eq!(rename("[1]", "0", "c"), None);
    }

    #[test]
    fn what_nests_too_deep_has_no_weight() {
        let mut value = Value::Raw(br#"{"a":[[1]]}"#);
        assert_eq!(value.weigh(3), Some(11));
        assert_eq!(value.weigh(2), None);
        assert!(value.walk(&steps("/a/0/0")).is_some());
        assert!(value.weigh(3).is_some_and(|weight| weight >= 11));
        assert_eq!(value.weigh(2), None);
    }
}
