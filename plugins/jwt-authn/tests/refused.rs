//! Every mistake in a configuration is refused with one line that names the field and says what would be right.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod signer;

use jwt_authn::JwtAuthn;
use plugin_testkit::Envoy;

/// What follows `{"providers": [{"name": "p", "issuer": "i"`, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    ("}]}", "providers[0]: needs exactly one of jwks, jwksUri, publicKeyPem, secret, not none"),
    (
        r#", "jwks": "JWKS", "jwksUri": "https://a/"}]}"#,
        "providers[0]: needs exactly one of jwks, jwksUri, publicKeyPem, secret, not jwks and jwksUri",
    ),
    (r#", "jwks": "JWKS", "issuers": ["a"]}]}"#, "providers[0]: issuer and issuers exclude each other"),
    (
        r#", "jwks": "JWKS", "issuerr": "a"}]}"#,
        "providers[0].issuerr: unknown field `issuerr`, expected one of `name`, `issuer`, `issuers`, `audiences`, `algorithms`, `jwks`, `jwksUri`, `jwksCluster`, `publicKeyPem`, `secret`, `jwksCache`, `onJwksUnavailable`, `timeout`, `fromHeaders`, `fromParams`, `fromCookies`, `forwardOriginalToken`, `clockSkew`, `requireExpiration`, `maxLifetime`, `tokenTypes`, `requiredClaims`, `outputPayloadToHeader`, `payloadPadding`, `outputClaimToHeaders`",
    ),
    (
        r#", "jwks": "JWKS"}, {"name": "p", "issuer": "", "jwks": "JWKS"}]}"#,
        "providers[1].issuer: is empty; leave it out for any issuer",
    ),
    (
        r#", "jwks": "JWKS"}, {"name": "p", "issuers": ["a", ""], "jwks": "JWKS"}]}"#,
        "providers[1].issuers[1]: is empty; leave it out for any issuer",
    ),
    (
        r#", "jwks": "JWKS"}, {"name": "p", "jwks": "JWKS"}]}"#,
        "providers[1].name: \"p\" is the name of providers[0] already",
    ),
    (
        r#", "jwks": "JWKS"}, {"name": "a b", "jwks": "JWKS"}]}"#,
        "providers[1].name: \"a b\" must be of letters, digits, '-', '_' and '.'",
    ),
    (
        r#", "jwks": "JWKS", "audiences": []}]}"#,
        "providers[0].audiences: is empty and would take nothing; leave it out to take anything",
    ),
    (
        r#", "jwks": "JWKS", "algorithms": ["RS256", "none"]}]}"#,
        "providers[0].algorithms[1]: \"none\" is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512",
    ),
    (
        r#", "jwks": "JWKS", "algorithms": ["ES256", "HS256"]}]}"#,
        "providers[0].algorithms[1]: HS256 cannot stand beside the others: HS* is for shared secrets, the rest for public keys",
    ),
    (
        r#", "jwksUri": "https://a/", "algorithms": ["HS256"]}]}"#,
        "providers[0].algorithms[0]: HS256 is for shared secrets; public keys never are",
    ),
    (
        r#", "jwks": "JWKS", "algorithms": ["HS256"]}]}"#,
        "providers[0].jwks: no key for HS256, which algorithms names",
    ),
    (r#", "jwks": "{\"keys\":[]}"}]}"#, "providers[0].jwks: no key that may be used"),
    (r#", "jwks": "https://a/"}]}"#, "providers[0].jwks: not a key set: not JSON, or a member twice"),
    (
        r#", "jwks": "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"n\":\"AQ\",\"e\":\"AQAB\"}]}"}]}"#,
        "providers[0].jwks: no key that may be used: key \"k\": an RSA key of 1 bits; from 2048 to 8192 are taken",
    ),
    (r#", "jwks": "OCT"}]}"#, "providers[0].jwks: no key that may be used: a shared secret"),
    (
        r#", "publicKeyPem": "x"}]}"#,
        "providers[0].publicKeyPem: no -----BEGIN PUBLIC KEY-----, RSA PUBLIC KEY or CERTIFICATE",
    ),
    (
        r#", "secret": {"value": "0123456789abcdef0123456789abcdef"}}]}"#,
        "providers[0].algorithms: name HS256, HS384 or HS512 to go with the secret",
    ),
    (
        r#", "algorithms": ["RS256"], "secret": {"value": "0123456789abcdef0123456789abcdef"}}]}"#,
        "providers[0].algorithms[0]: RS256 is for public keys; a secret never is one",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": {"value": "short"}}]}"#,
        "providers[0].secret: a secret of 5 bytes; HS256 needs 32",
    ),
    (
        r#", "algorithms": ["HS256", "HS512"], "secret": {"value": "0123456789abcdef0123456789abcdef"}}]}"#,
        "providers[0].secret: a secret for HS512 has at least 64 bytes",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": {"value": "zz", "encoding": "hex"}}]}"#,
        "providers[0].secret.value: is not written in its encoding",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": {"fromEnv": "JWT_NOT_THERE"}}]}"#,
        "providers[0].secret.fromEnv: names a variable that vmConfig.env does not have",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": {}}]}"#,
        "providers[0].secret: needs exactly one of fromEnv, value",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": {"value": "a", "encoding": "base32"}}]}"#,
        "providers[0].secret: is invalid; what it contains is secret and not shown",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": []}]}"#,
        "providers[0].secret: is empty; give at least one secret",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": [{"value": "0123456789abcdef0123456789abcdef"}, {"value": "short"}]}]}"#,
        "providers[0].secret[1]: a secret of 5 bytes; HS256 needs 32",
    ),
    (
        r#", "algorithms": ["HS256"], "secret": [{"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}, {"value": "a"}]}]}"#,
        "providers[0].secret: must have at most 10 secrets, got 11",
    ),
    (
        r#", "jwksUri": "issuer.example.com"}]}"#,
        "providers[0].jwksUri: \"issuer.example.com\" is not a URI such as https://host/path",
    ),
    (r#", "jwks": "JWKS", "jwksCluster": "a"}]}"#, "providers[0].jwksCluster: needs a jwksUri"),
    (
        r#", "jwksUri": "https://a/", "jwksCache": {"ttl": 600}}]}"#,
        "providers[0].jwksCache.ttl: expected a duration such as \"100ms\", \"10s\", \"5m\", \"1h\" or \"7d\", not 600",
    ),
    (
        r#", "jwksUri": "https://a/", "jwksCache": {"minRefetchInterval": "0s"}}]}"#,
        "providers[0].jwksCache.minRefetchInterval: must be at least 1s",
    ),
    (
        r#", "jwks": "JWKS", "onJwksUnavailable": 200}]}"#,
        "providers[0].onJwksUnavailable: must be 503 or 401, not 200",
    ),
    (
        r#", "jwks": "JWKS", "fromHeaders": [{"name": "a b"}]}]}"#,
        "providers[0].fromHeaders[0].name: \"a b\" is not the name of a header",
    ),
    (r#", "jwks": "JWKS", "fromParams": [""]}]}"#, "providers[0].fromParams[0]: is empty"),
    (
        r#", "jwks": "JWKS", "fromCookies": ["a=b"]}]}"#,
        "providers[0].fromCookies[0]: \"a=b\" is not the name of a cookie",
    ),
    (
        r#", "jwks": "JWKS", "fromHeaders": []}]}"#,
        "providers[0]: fromHeaders, fromParams and fromCookies are empty: no token could come",
    ),
    (
        r#", "jwks": "JWKS", "outputClaimToHeaders": [{"header": "host", "claim": "sub"}]}]}"#,
        "providers[0].outputClaimToHeaders[0].header: \"host\" must not be written by a rule",
    ),
    (
        r#", "jwks": "JWKS", "outputClaimToHeaders": [{"header": "x-a"}]}]}"#,
        "providers[0].outputClaimToHeaders[0]: needs exactly one of claim, claimPath, and that not empty",
    ),
    (
        r#", "jwks": "JWKS", "outputClaimToHeaders": [{"header": "x-a", "claim": "a"}, {"header": "X-A", "claim": "b"}]}]}"#,
        "providers[0].outputClaimToHeaders[1].header: is an output already",
    ),
    (
        r#", "jwks": "JWKS", "outputPayloadToHeader": "authorization"}]}"#,
        "providers[0]: \"authorization\" is where tokens come from; it cannot be an output",
    ),
    (r#", "jwks": "JWKS"}], "rules": [{}]}"#, "rules[0]: missing field `requires`"),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"provider": "q"}}]}"#,
        "rules[0].requires.provider: \"q\" is not a provider; there is p",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"none": true, "provider": "p"}}]}"#,
        "rules[0].requires: none stands alone",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"provider": "p", "anyOf": ["p"]}}]}"#,
        "rules[0].requires: provider and anyOf exclude each other",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"anyOf": []}}]}"#,
        "rules[0].requires.anyOf: is empty; leave it out for any provider",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"allowMissing": true, "allowMissingOrInvalid": true}}]}"#,
        "rules[0].requires: allowMissing and allowMissingOrInvalid exclude each other",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"requires": {"claims": [{"claim": "a"}]}}]}"#,
        "rules[0].requires.claims[0]: needs exactly one of anyOf, allOf, and that not empty",
    ),
    (
        r#", "jwks": "JWKS"}], "defaultRequire": {"scopes": {"allOf": ["a b"]}}}"#,
        "defaultRequire.scopes: \"a b\" is not a scope",
    ),
    (
        r#", "jwks": "JWKS"}], "rules": [{"match": {"paths": [{"prefix": "admin"}]}, "requires": {}}]}"#,
        "rules[0].match.paths[0].prefix: \"admin\" must start with '/'",
    ),
    (
        r#", "jwks": "JWKS"}], "keyPolicy": {"minRsaBits": 512}}"#,
        "keyPolicy.minRsaBits: must be from 1024 to 16384, not 512",
    ),
    (
        r#", "jwks": "JWKS"}], "limits": {"jsonDepth": 1000}}"#,
        "limits.jsonDepth: must be from 1 to 64, not 1000",
    ),
    (
        r#", "jwks": "JWKS"}], "cryptoOffload": "always"}"#,
        "cryptoOffload: unknown variant `always`, expected `auto` or `never`",
    ),
    (
        r#", "jwks": "JWKS"}], "errors": {"realm": "a\"b"}}"#,
        "errors.realm: must be of printable ASCII without quotes and backslashes",
    ),
];

#[test]
fn each_mistake_is_named() {
    assert!(MISTAKES.len() >= 30);
    let (jwks, oct) = (signer::jwks().replace('"', "\\\""), signer::secret_jwks().replace('"', "\\\""));
    for (rest, line) in MISTAKES {
        let rest = rest.replace("JWKS", &jwks).replace("OCT", &oct);
        let config = format!(r#"{{"providers": [{{"name": "p", "issuer": "i"{rest}"#);
        assert_eq!(refused(&config), [format!("invalid configuration: {line}")], "{config}");
    }
}

/// What it logs, without the warnings about what it would do.
fn refused(config: &str) -> Vec<String> {
    let lines = Envoy::refused::<JwtAuthn>(config);
    lines
        .into_iter()
        .filter(|line| !line.starts_with("provider ") && !line.starts_with("a key of "))
        .collect()
}

#[test]
fn without_providers_there_is_nothing_to_do() {
    for (config, line) in [
        ("", "no configuration was given; missing field `providers`"),
        ("{}", "missing field `providers`"),
        (r#"{"providers": []}"#, "providers: is empty; there is nobody to issue tokens"),
        (r#"{"providers": [{}]}"#, "providers[0]: missing field `name`"),
        ("[]", "expected struct Config, not a sequence"),
    ] {
        assert_eq!(refused(config), [format!("invalid configuration: {line}")], "{config}");
    }
}

#[test]
fn no_error_shows_anything_of_a_secret() {
    const SECRET: &str = "SuperSecret-0123456789abcdef0123456789abcdef";
    for wrong in [
        r#""SECRET""#,
        r#"["SECRET"]"#,
        r#"[["SECRET"]]"#,
        r#"{"SECRET": 1}"#,
        r#"{"value": ["SECRET"]}"#,
        r#"{"value": {"SECRET": "SECRET"}}"#,
        r#"{"value": "SECRET", "encoding": "SECRET"}"#,
        r#"{"value": "SECRET", "encoding": "base64"}"#,
        r#"{"value": "SECRET", "encoding": "hex"}"#,
        r#"{"value": "SECRET", "fromEnv": "SECRET"}"#,
        r#"{"value": "SECRET", "fromEnv": null}"#,
        r#"{"fromEnv": "SECRET"}"#,
        r#"{"value": "SECRET", "value": "SECRET"}"#,
        r#"[{"value": "SECRET"}, "SECRET"]"#,
        r#"[{"value": "SECRET"}, {"value": "SECRET", "encoding": "base64"}]"#,
        r#"{"secret": {"value": "SECRET"}}"#,
        "17",
        "true",
    ] {
        let config = format!(
            r#"{{"providers": [{{"name": "p", "issuer": "i", "algorithms": ["HS256"], "secret": {}}}]}}"#,
            wrong.replace("SECRET", SECRET)
        );
        let lines = Envoy::refused::<JwtAuthn>(&config);
        let line = lines.iter().find(|line| line.starts_with("invalid configuration: ")).unwrap();
        assert!(line.contains("providers[0].secret"), "{wrong}: {line}");
        assert!(
            !lines.iter().any(|line| line.contains("SuperSecret") || line.contains("17")),
            "{wrong}: {lines:?}"
        );
    }
}
