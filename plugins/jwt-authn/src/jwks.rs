//! Key sets: a JWKS (RFC 7517, section 5), or a map from key ids to certificates, as Google and Firebase publish.

use plugin_kit::json::{self, Json};

use crate::keys::{Key, KeyPolicy};
use crate::pem;

/// Which sets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPolicy {
    /// Which keys.
    pub keys: KeyPolicy,
    /// How many, at most.
    pub max_keys: usize,
    /// How large, at most.
    pub max_bytes: usize,
    /// Whether shared secrets are taken. What a URL says is public: none can come from there.
    pub secrets: bool,
}

/// The keys of a set, and why others of it were left out.
#[derive(Debug)]
pub struct Set {
    /// At least one.
    pub keys: Vec<Key>,
    /// A sentence each.
    pub skipped: Vec<String>,
}

/// How deep a set may nest; more is in no key.
const MAX_DEPTH: usize = 16;

/// Reads a set; each key on its own, so that an odd one spoils no other.
///
/// # Errors
/// Where it is no set, or has no key that may be used.
pub fn read(text: &[u8], policy: &SetPolicy) -> Result<Set, String> {
    let SetPolicy { max_bytes, max_keys, .. } = *policy;
    if text.len() > max_bytes {
        return Err(format!("a key set of {} bytes; at most {max_bytes} are taken", text.len()));
    }
    let set = json::parse(text, MAX_DEPTH).map_err(|_| "not a key set: not JSON, or a member twice")?;
    let entries = match (set.member("keys"), &set) {
        (Some(Json::List(keys)), _) => keys.iter().map(|jwk| (None, jwk)).collect(),
        (None, Json::Map(members)) => members.iter().map(|(kid, text)| (Some(kid), text)).collect(),
        _ => Vec::new(),
    };
    if entries.len() > max_keys {
        return Err(format!("a key set of {} keys; at most {max_keys} are taken", entries.len()));
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (kid, entry) in entries {
        match (kid, entry) {
            (None, jwk) => match Key::from_jwk(jwk, &policy.keys) {
                Ok(key) if key.is_secret() && !policy.secrets => skipped.push("a shared secret".into()),
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(reason),
            },
            (Some(kid), Json::String(text)) => match pem::read(text, &policy.keys) {
                Ok(mut read) => {
                    read.iter_mut().for_each(|key| key.kid = Some(kid.clone()));
                    keys.append(&mut read);
                }
                Err(reason) => skipped.push(format!("key {}: {reason}", plugin_kit::config::quoted(kid))),
            },
            (Some(kid), _) => skipped.push(format!("key {}: not a text", plugin_kit::config::quoted(kid))),
        }
    }
    if keys.is_empty() {
        let reasons = if skipped.is_empty() { String::new() } else { format!(": {}", skipped.join("; ")) };
        return Err(format!("no key that may be used{reasons}"));
    }
    Ok(Set { keys, skipped })
}

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use super::*;

    const POLICY: SetPolicy = SetPolicy {
        keys: KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 },
        max_keys: 5,
        max_bytes: 10_000,
        secrets: false,
    };
    const GOOD: &str = r#"{"kid":"a","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    #[test]
    fn an_odd_key_is_skipped_and_the_others_stay() {
        let text = format!(
            r#"{{"keys":[{{"kty":"AKP"}},1,{{"kty":"RSA","kid":1}},{GOOD},{{"kty":"OKP","crv":"Ed25519","x":"AA"}}]}}"#
        );
        let set = read(text.as_bytes(), &POLICY).unwrap();
        assert_eq!(set.keys.len(), 1);
        assert_eq!(
            set.skipped,
            ["an unknown kty", "without kty", "kid is not a text", "an Ed25519 key is 32 bytes"]
        );
    }

    #[test]
    fn a_map_of_certificates_is_a_set() {
        let pem = include_str!("../tests/vectors/public-keys.pem");
        let certificate = pem.rfind("-----BEGIN").map(|at| &pem[at..]).unwrap();
        let mut text = String::from("{\"one\":");
        json::write_string(certificate, &mut text);
        text.push_str(",\"two\":\"nonsense\"}");
        let set = read(text.as_bytes(), &POLICY).unwrap();
        assert_eq!(set.keys[0].kid.as_deref(), Some("one"));
        assert_eq!(
            set.skipped,
            ["key \"two\": no -----BEGIN PUBLIC KEY-----, RSA PUBLIC KEY or CERTIFICATE"]
        );
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let many = format!(r#"{{"keys":[{}]}}"#, [GOOD; 6].join(","));
        let large = " ".repeat(10_001);
        for (text, reason) in [
            ("", "not a key set: not JSON, or a member twice"),
            ("<html>", "not a key set: not JSON, or a member twice"),
            (r#"{"keys":[],"keys":[]}"#, "not a key set: not JSON, or a member twice"),
            ("[]", "no key that may be used"),
            (r#"{"keys":[]}"#, "no key that may be used"),
            (r#"{"keys":{}}"#, "no key that may be used"),
            (
                r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
                "no key that may be used: a secret of 1 bytes; HS256 needs 32",
            ),
            (
                r#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#,
                "no key that may be used: a shared secret",
            ),
            (&many, "a key set of 6 keys; at most 5 are taken"),
            (&large, "a key set of 10001 bytes; at most 10000 are taken"),
        ] {
            assert_eq!(read(text.as_bytes(), &POLICY).unwrap_err(), reason, "{text}");
        }
    }
}
