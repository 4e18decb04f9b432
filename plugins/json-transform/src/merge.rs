//! JSON Merge Patch (RFC 7386).

use crate::document::Value;
use crate::json;

/// Changes `target` as `patch` says: members are merged, `null` removes, everything else replaces.
pub fn merge<'a>(target: &mut Value<'a>, patch: &'a [u8]) {
    let Some(members) = json::members(patch) else {
        *target = Value::Raw(patch);
        return;
    };
    if !matches!(target.open(), Value::Object(_)) {
        *target = Value::Object(Vec::new());
    }
    for (quoted, patch) in members {
        // A configuration has no lone surrogates.
        let Some(name) = json::decode(quoted) else { continue };
        if patch == b"null" {
            target.take_member(&name);
        } else if let Some(old) = target.member(&name) {
            merge(old, patch);
        } else {
            let mut new = Value::Raw(b"null");
            merge(&mut new, patch);
            target.set_member(&name, quoted, new);
        }
    }
}
