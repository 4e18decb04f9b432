//! Whatever strangers send is read without a panic. A million cases take `PROPTEST_CASES=200000`.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

use jwt_authn::hostile::{header, jwks, token};
// It defines the hostcalls.
use plugin_testkit as _;
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that come close to JSON.
const JSON_LIKE: &str = "([\\[\\]{}:,\" \\\\]|\"[a-z\\\\u0-9]{0,6}\"|-?[0-9]{1,20}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?|true|false|null|\"(alg|kid|crit|b64|kty|crv|n|e|x|y|k|keys|use|iss|exp|aud)\":){0,40}";
/// Characters that come close to a token.
const TOKEN_LIKE: &str = "(ey[A-Za-z0-9_=+/-]{0,40}\\.?){0,6}|[A-Za-z0-9_.-]{0,80}";

/// What the fuzzer found worth keeping.
#[test]
fn the_corpora() {
    replay("token", token);
    replay("header", header);
    replay("jwks", jwks);
}

fn replay(target: &str, holds: fn(&[u8]) -> bool) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{target}");
    for file in files {
        assert!(holds(&std::fs::read(&file).unwrap()), "{}", file.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
    ))]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(token(&bytes) && header(&bytes) && jwks(&bytes));
    }

    #[test]
    fn nearly_json(text in JSON_LIKE) {
        prop_assert!(header(text.as_bytes()) && jwks(text.as_bytes()));
        let keys = format!("{{\"keys\":[{{{text}}}]}}");
        prop_assert!(jwks(keys.as_bytes()));
    }

    #[test]
    fn nearly_a_token(text in TOKEN_LIKE) {
        prop_assert!(token(text.as_bytes()));
    }

    #[test]
    fn a_token_around_nearly_json(head in JSON_LIKE, payload in JSON_LIKE) {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let head = format!("{{\"alg\":\"RS256\"{head}}}");
        let text = format!("{}.{}.AAAA", encode(&head), encode(&payload));
        prop_assert!(token(text.as_bytes()));
    }

    #[test]
    fn keys_of_any_bytes(n in vec(any::<u8>(), 0..300), e in vec(any::<u8>(), 0..9), x in vec(any::<u8>(), 0..50)) {
        use base64::Engine;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let (n, e, x) = (encode(&n), encode(&e), encode(&x));
        let text = format!(
            r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{e}"}},{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}},{{"kty":"EC","crv":"P-384","x":"{x}","y":"{x}"}},{{"kty":"OKP","crv":"Ed25519","x":"{x}"}},{{"kty":"oct","k":"{x}"}}]}}"#
        );
        prop_assert!(jwks(text.as_bytes()));
    }
}
