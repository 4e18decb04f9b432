//! `{repeat: 100, item: …}`: a hundred rules without a hundred lines.

use serde_json::Value;

/// What is replaced by the number of a copy, from 0.
const NUMBER: &str = "<n>";

/// Puts the copies in the place of every `{repeat: N, item: X}` that stands in a list.
pub fn expand(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().flat_map(copies).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), expand(value))).collect())
        }
        other => other.clone(),
    }
}

fn copies(item: &Value) -> Vec<Value> {
    match (item["repeat"].as_u64(), &item["item"]) {
        (Some(count), copied) if !copied.is_null() => {
            (0..count).map(|number| expand(&numbered(copied, &number.to_string()))).collect()
        }
        _ => vec![expand(item)],
    }
}

fn numbered(value: &Value, number: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(NUMBER, number)),
        Value::Array(items) => Value::Array(items.iter().map(|item| numbered(item, number)).collect()),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.replace(NUMBER, number), numbered(value, number)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_is_repeated_with_its_number() {
        let rules = json!({"rules": [{"repeat": 2, "item": {"name": "r<n>", "set": {"x-<n>": 1}}}, {"name": "last"}]});
        let expanded = json!({"rules": [
            {"name": "r0", "set": {"x-0": 1}},
            {"name": "r1", "set": {"x-1": 1}},
            {"name": "last"}]});
        assert_eq!(expand(&rules), expanded);
    }
}
