//! Verifying signatures: in the host where it can, else in Rust, through `jsonwebtoken`'s `CryptoProvider`.
//!
//! The provider is handed on by reference and never installed: its one signer and its key utilities are none, and
//! `install_default` is one for the whole process.

pub mod host;
mod rust;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use crate::keys::Key;

/// RustCrypto.
pub const RUST: &CryptoProvider =
    &CryptoProvider { signer_factory: no_signer, verifier_factory: rust::verifier, key_utils: NO_KEY_UTILS };

/// What `jsonwebtoken` would do with JWKs, which are read here; its own stand-ins panic.
const NO_KEY_UTILS: KeyUtils = KeyUtils {
    rsa_pub_components_from_private_key: |_| Err(unsupported()),
    rsa_pub_components_from_public_key: |_| Err(unsupported()),
    ec_pub_components_from_private_key: |_, _| Err(unsupported()),
    ed_pub_components_from_private_key: |_, _| Err(unsupported()),
    compute_digest: |_, _| Err(unsupported()),
};

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(unsupported())
}

/// Which algorithms the host verifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crypto {
    offloaded: Vec<Algorithm>,
}

impl Crypto {
    /// Everything in Rust.
    #[must_use]
    pub fn rust() -> Self {
        Self::default()
    }

    /// Asks the host about a good and a bad signature of each algorithm that it might know; what it gets right it is
    /// trusted with.
    #[must_use]
    pub fn probe() -> Self {
        Self { offloaded: host::probe() }
    }

    /// The algorithms that the host verifies.
    #[must_use]
    pub fn offloaded(&self) -> &[Algorithm] {
        &self.offloaded
    }

    /// Whether `signature` is that of `signed` under `key`. Whatever else happens is a no.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, key: &Key, signed: &[u8], signature: &Vec<u8>) -> bool {
        let offloaded = key.public.as_deref().filter(|_| self.offloaded.contains(&algorithm));
        // Where the host has no answer, RustCrypto's is the one that counts.
        offloaded
            .and_then(|public| host::verify(algorithm, public, signed, signature))
            .unwrap_or_else(|| in_rust(algorithm, &key.material, signed, signature))
    }
}

fn in_rust(algorithm: Algorithm, key: &DecodingKey, signed: &[u8], signature: &Vec<u8>) -> bool {
    let verifier: Result<Box<dyn JwtVerifier>> = (RUST.verifier_factory)(&algorithm, key);
    verifier.is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
}

#[cfg(test)]
#[path = "../../tests/host_crypto/mod.rs"]
mod host_crypto;
#[cfg(test)]
#[path = "../../tests/signer/mod.rs"]
mod signer;

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use plugin_testkit::Envoy;

    use super::*;
    use crate::compact::{Header, split};
    use crate::keys::{KeyPolicy, algorithm};
    use plugin_kit::json;

    const POLICY: KeyPolicy = KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 };

    /// Calls with every kind of crypto: in Rust; in a host that can; in one that cannot read keys; in one that lies.
    fn everywhere(check: impl Fn(&str, &Crypto)) {
        check("rust", &Crypto::rust());
        let envoy = Envoy::without_plugin();
        let stream = envoy.request(plugin_testkit::Request::get("/"));
        stream.within(|| assert_eq!(Crypto::probe(), Crypto::rust(), "there is no such function"));
        envoy.set_foreign_function("verify_signature", host_crypto::verify_signature);
        stream.within(|| {
            let host = Crypto::probe();
            assert_eq!(host.offloaded().len(), 5);
            check("host", &host);
        });
        let host = Crypto { offloaded: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::ES384] };
        for (what, answer) in [
            ("fails", Err(plugin_testkit::Status::InternalFailure)),
            ("reads no key", Ok(host_crypto::error("Failed to initialize digest verify."))),
            ("says nothing", Ok(Vec::new())),
            ("says something else", Ok(vec![8, 1, 0])),
        ] {
            envoy.set_foreign_function("verify_signature", move |_| answer.clone());
            stream.within(|| {
                check(what, &host);
                assert_eq!(Crypto::probe(), Crypto::rust(), "a host that {what}");
            });
        }
        for answer in [vec![8, 1], host_crypto::error("Failed to verify digest")] {
            envoy.set_foreign_function("verify_signature", move |_| Ok(answer.clone()));
            stream.within(|| {
                assert_eq!(Crypto::probe(), Crypto::rust(), "a host that does not tell them apart")
            });
        }
    }

    fn jwk(text: &str) -> Key {
        Key::from_jwk(&json::parse(text.as_bytes(), 8).unwrap(), &POLICY).unwrap()
    }

    const FRODO: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
    const JOE: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    /// Section, key, and the parts of the token.
    fn published() -> Vec<(&'static str, Key, String)> {
        let rsa_a2 = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, signer::OTHER_RSA_N);
        let oct = |secret: &str| jwk(&format!(r#"{{"kty":"oct","k":"{secret}"}}"#));
        vec![
            (
                "RFC 7515 A.1",
                oct(signer::SECRET),
                format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            ),
            (
                "RFC 7515 A.2",
                jwk(&rsa_a2),
                format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"),
            ),
            (
                "RFC 7515 A.3",
                jwk(&signer::p256_jwk("")),
                format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
            ),
            (
                "RFC 8037 A.4",
                jwk(&signer::ed25519_jwk("")),
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".into(),
            ),
            (
                "RFC 7520 4.1",
                jwk(&signer::rsa_jwk("bilbo.baggins@hobbiton.example")),
                format!("eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{FRODO}.MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"),
            ),
            (
                "RFC 7520 4.2",
                jwk(&signer::rsa_jwk("bilbo.baggins@hobbiton.example")),
                format!("eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.{FRODO}.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"),
            ),
            (
                "RFC 7520 4.4",
                oct("hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"),
                format!("eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.{FRODO}.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"),
            ),
        ]
    }

    fn verifies(key: &Key, token: &str, crypto: &Crypto) -> bool {
        let parts = split(token.as_bytes(), 16_384).unwrap();
        let header = signer::decode(token.split('.').next().unwrap());
        let algorithm = algorithm(&Header::read(&header, 8).unwrap().alg).unwrap();
        key.allows(algorithm) && crypto.verify(algorithm, key, parts.signed, &parts.signature)
    }

    /// The token with one character of a part changed.
    fn tampered(token: &str, part: usize) -> String {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let at = parts[part].len() / 2;
        let other = if &parts[part][at..=at] == "A" { "B" } else { "A" };
        parts[part].replace_range(at..=at, other);
        parts.join(".")
    }

    #[test]
    fn what_the_rfcs_publish_is_valid_in_host_and_rust() {
        everywhere(|what, crypto| {
            for (section, key, token) in published() {
                assert!(verifies(&key, &token, crypto), "{section}, {what}");
                assert!(!verifies(&key, &tampered(&token, 1), crypto), "{section}, payload, {what}");
                assert!(!verifies(&key, &tampered(&token, 2), crypto), "{section}, signature, {what}");
            }
        });
    }

    /// RFC 7520, section 4.3 and RFC 7515, appendix A.4: `jsonwebtoken` has no such algorithm.
    #[test]
    fn es512_is_not_supported() {
        assert_eq!(algorithm("ES512"), None);
        let p521 = r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#;
        assert_eq!(
            Key::from_jwk(&json::parse(p521.as_bytes(), 8).unwrap(), &POLICY).unwrap_err(),
            "an unknown crv"
        );
    }

    /// CVE-2022-21449 and CVE-2020-28042, and what else is no number from 1 to the order of the curve.
    #[test]
    fn a_psychic_signature_is_nobodys() {
        const ORDERS: [(&str, &str); 2] = [
            ("ES256", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
            (
                "ES384",
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            ),
        ];
        everywhere(|what, crypto| {
            for (name, order) in ORDERS {
                let size = order.len() / 2;
                let order: Vec<u8> =
                    (0..size).map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap()).collect();
                let key = jwk(&if name == "ES256" { signer::p256_jwk("") } else { signer::p384_jwk("") });
                let good = signer::sign(name, b"x");
                let is_valid = |signature: &[u8]| {
                    crypto.verify(algorithm(name).unwrap(), &key, b"x", &signature.to_vec())
                };
                assert!(is_valid(&good), "{name}, {what}");
                let (r, s) = good.split_at(size);
                let zero = vec![0; size];
                let maximum = vec![0xff; size];
                for (r, s) in [
                    (&zero[..], &zero[..]),
                    (&zero, s),
                    (r, &zero),
                    (&order, s),
                    (r, &order),
                    (&order, &order),
                    (&maximum, s),
                    (r, &maximum),
                ] {
                    assert!(!is_valid(&[r, s].concat()), "{name}, {what}: {r:?} {s:?}");
                }
                let der = [&[0x30, 0x06, 2, 1, 1, 2, 1, 1][..]].concat();
                for signature in [&good[1..], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[], &der]
                {
                    assert!(!is_valid(signature), "{name}, {what}: {} bytes", signature.len());
                }
                assert!(!is_valid(&[&[0], r, &[0], s].concat()), "{name}, {what}: longer numbers");
            }
        });
    }

    #[test]
    fn an_rsa_signature_is_as_long_as_the_key() {
        everywhere(|what, crypto| {
            let key = jwk(&signer::rsa_jwk(""));
            for name in ["RS256", "PS256"] {
                let good = signer::sign(name, b"x");
                let is_valid = |signature: &[u8]| {
                    crypto.verify(algorithm(name).unwrap(), &key, b"x", &signature.to_vec())
                };
                assert!(is_valid(&good), "{name}, {what}");
                for signature in [&[][..], &good[1..], &[&[0], &good[..]].concat(), &[0; 256], &[0xff; 256]] {
                    assert!(!is_valid(signature), "{name}, {what}: {} bytes", signature.len());
                }
            }
        });
    }

    /// `verify` of ed25519-dalek takes these for anybody's.
    #[test]
    fn a_forgery_under_a_small_order_key_is_not_valid() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = [&identity[..], &[0; 32]].concat();
        let key = DecodingKey::from_ed_der(&identity);
        assert!(!in_rust(Algorithm::EdDSA, &key, b"anything", &forged));
    }

    #[test]
    fn a_key_and_an_algorithm_that_do_not_go_together_are_not_valid() {
        let rsa = jwk(&signer::rsa_jwk(""));
        for algorithm in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            everywhere(|what, crypto| {
                assert!(!crypto.verify(algorithm, &rsa, b"x", &vec![0; 64]), "{algorithm:?}, {what}");
            });
        }
        let short = DecodingKey::from_ed_der(&[1; 31]);
        assert!(!in_rust(Algorithm::EdDSA, &short, b"x", &vec![0; 64]));
    }
}
