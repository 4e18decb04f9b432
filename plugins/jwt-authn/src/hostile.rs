//! What reads bytes of strangers, for the fuzzer and for property tests: none of it may panic, whatever comes.

use plugin_kit::json;

use crate::compact::{self, Header, Token};
use crate::crypto::Crypto;
use crate::jwks::{self, SetPolicy};
use crate::keys::{KeyPolicy, algorithm};
use crate::verify::verify_with;

const DEPTH: usize = 32;
const POLICY: SetPolicy = SetPolicy {
    keys: KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 },
    max_keys: 100,
    max_bytes: 262_144,
    secrets: true,
};

/// A token: what is well formed has two dots, and what is read as JSON is written as JSON that reads the same.
pub fn token(bytes: &[u8]) -> bool {
    let Ok(parts) = compact::split(bytes, 16_384) else { return true };
    let two_dots = bytes.iter().filter(|byte| **byte == b'.').count() == 2;
    let Ok(Token { claims, .. }) = parts.read(DEPTH) else { return two_dots };
    two_dots && json::parse(claims.all.to_json().as_bytes(), DEPTH) == Ok(claims.all)
}

/// A header: what is taken does not depend on white space around it.
pub fn header(bytes: &[u8]) -> bool {
    Header::read(bytes, DEPTH) == Header::read(&[b" ", bytes, b"\n"].concat(), DEPTH)
}

/// A key set, and a token checked with its keys: nobody but their owners has signed it.
pub fn jwks(bytes: &[u8]) -> bool {
    let Ok(set) = jwks::read(bytes, &POLICY) else { return true };
    let Ok(token) = compact::split(b"eyJhbGciOiJSUzI1NiJ9.e30.AAAA", 16_384) else { return false };
    let names = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"];
    names
        .into_iter()
        .filter_map(algorithm)
        .all(|algorithm| verify_with(&set.keys, None, &token, algorithm, &Crypto::rust()).is_err())
}
