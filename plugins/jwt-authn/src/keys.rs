//! Typed keys: what a key may be used for is decided when it is read, never by a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use plugin_kit::json::Json;

use crate::crypto::host;

/// The algorithms there are, by the names that are compared, to the letter.
pub const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

/// The algorithm of this very name.
#[must_use]
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The shortest secret of an HMAC algorithm, in bytes (RFC 7518, section 3.2); `None` for the others.
#[must_use]
pub const fn shortest_secret(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

/// What kind of key it is, which says what it can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// RSA.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// HMAC, with so many bytes.
    Secret(usize),
}

/// A key that may be used.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name; without one it is tried whatever a token says.
    pub kid: Option<String>,
    /// What kind.
    pub shape: Shape,
    /// The only algorithm it is for, where it says so.
    algorithm: Option<Algorithm>,
    /// Itself.
    pub material: DecodingKey,
    /// Itself as the host wants it, if that might verify with it.
    pub public: Option<Vec<u8>>,
}

/// Which RSA keys are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// The shortest.
    pub min_rsa_bits: usize,
    /// The longest.
    pub max_rsa_bits: usize,
}

/// Why a key is not taken.
pub type Unfit = String;

impl Key {
    fn new(shape: Shape, material: DecodingKey) -> Self {
        Self { kid: None, shape, algorithm: None, material, public: None }
    }

    /// An RSA key of big-endian modulus and exponent.
    ///
    /// # Errors
    /// Where the policy, or arithmetic, does not take it.
    pub fn rsa(modulus: &[u8], exponent: &[u8], policy: &KeyPolicy) -> Result<Self, Unfit> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| {
            modulus
                .len()
                .saturating_mul(8)
                .saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(8))
        });
        let KeyPolicy { min_rsa_bits: min, max_rsa_bits: max } = *policy;
        if bits < min || bits > max {
            return Err(format!("an RSA key of {bits} bits; from {min} to {max} are taken"));
        }
        let value = exponent.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if exponent.len() > 5 || !is_odd(exponent) || !(3..1 << 33).contains(&value) {
            return Err("an RSA exponent that is even, below 3 or above 2^33".into());
        }
        if !is_odd(modulus) {
            return Err("an even RSA modulus".into());
        }
        let material = DecodingKey::from_rsa_raw_components(modulus, exponent);
        let public = Some(host::rsa(modulus, exponent));
        Ok(Self { public, ..Self::new(Shape::Rsa, material) })
    }

    /// A point, in coordinates of the curve's full length.
    ///
    /// # Errors
    /// Where it is not on the curve.
    pub fn point(shape: Shape, x: &[u8], y: &[u8]) -> Result<Self, Unfit> {
        let length = if shape == Shape::P256 { 32 } else { 48 };
        if x.len() != length || y.len() != length {
            return Err(format!("a coordinate is not of {length} bytes"));
        }
        let point = [&[4], x, y].concat();
        let (is_on_curve, public) = match shape {
            Shape::P256 => (p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).is_ok(), host::p256(&point)),
            Shape::P384 => (p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).is_ok(), host::p384(&point)),
            _ => (false, Vec::new()),
        };
        if !is_on_curve {
            return Err("a point that is not on the curve".into());
        }
        Ok(Self { public: Some(public), ..Self::new(shape, DecodingKey::from_ec_der(&point)) })
    }

    /// An Ed25519 key.
    ///
    /// # Errors
    /// Where it is not of 32 bytes, no point, or one of those under which anyone can sign.
    pub fn ed25519(key: &[u8]) -> Result<Self, Unfit> {
        let bytes = key.try_into().map_err(|_| "an Ed25519 key is 32 bytes")?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| "not a point of Ed25519")?;
        if key.is_weak() {
            return Err("an Ed25519 key of small order".into());
        }
        Ok(Self::new(Shape::Ed25519, DecodingKey::from_ed_der(bytes)))
    }

    /// A shared secret.
    ///
    /// # Errors
    /// Where it is too short for any HMAC.
    pub fn secret(secret: &[u8]) -> Result<Self, Unfit> {
        let length = secret.len();
        if length < 32 {
            return Err(format!("a secret of {length} bytes; HS256 needs 32"));
        }
        Ok(Self::new(Shape::Secret(length), DecodingKey::from_secret(secret)))
    }

    /// A JWK (RFC 7517). What it does not say it may do, it may; what it says it is for, it is for that only.
    ///
    /// # Errors
    /// Where it is not a key to verify with, of no kind that is known, or not well formed.
    pub fn from_jwk(jwk: &Json, policy: &KeyPolicy) -> Result<Self, Unfit> {
        let kid = optional(jwk, "kid")?.map(str::to_owned);
        let read = Self::read_jwk(jwk, policy);
        let mut key = read.map_err(|reason| match &kid {
            Some(kid) => format!("key {}: {reason}", plugin_kit::config::quoted(kid)),
            None => reason,
        })?;
        key.kid = kid;
        Ok(key)
    }

    fn read_jwk(jwk: &Json, policy: &KeyPolicy) -> Result<Self, Unfit> {
        if optional(jwk, "use")?.is_some_and(|usage| usage != "sig") {
            return Err("its use is not sig".into());
        }
        match jwk.member("key_ops") {
            None => {}
            Some(Json::List(operations)) if operations.iter().any(|one| one.as_str() == Some("verify")) => {}
            Some(_) => return Err("verify is not among its key_ops".into()),
        }
        let mut key = match (required(jwk, "kty")?, optional(jwk, "crv")?) {
            ("RSA", _) => Self::rsa(&decoded(jwk, "n")?, &decoded(jwk, "e")?, policy)?,
            ("EC", Some("P-256")) => Self::point(Shape::P256, &decoded(jwk, "x")?, &decoded(jwk, "y")?)?,
            ("EC", Some("P-384")) => Self::point(Shape::P384, &decoded(jwk, "x")?, &decoded(jwk, "y")?)?,
            ("OKP", Some("Ed25519")) => Self::ed25519(&decoded(jwk, "x")?)?,
            ("oct", _) => Self::secret(&decoded(jwk, "k")?)?,
            ("EC" | "OKP", _) => return Err("an unknown crv".into()),
            _ => return Err("an unknown kty".into()),
        };
        if let Some(name) = optional(jwk, "alg")? {
            match algorithm(name) {
                Some(algorithm) if key.allows(algorithm) => key.algorithm = Some(algorithm),
                _ => return Err("an alg that does not go with the key".into()),
            }
        }
        Ok(key)
    }

    /// Whether it verifies signatures of this algorithm.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
        let fits = match self.shape {
            Shape::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Shape::P256 => algorithm == ES256,
            Shape::P384 => algorithm == ES384,
            Shape::Ed25519 => algorithm == EdDSA,
            Shape::Secret(length) => {
                matches!(algorithm, HS256 | HS384 | HS512)
                    && shortest_secret(algorithm).is_some_and(|least| length >= least)
            }
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether it is a shared secret.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.shape, Shape::Secret(_))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn optional<'a>(jwk: &'a Json, name: &str) -> Result<Option<&'a str>, Unfit> {
    match jwk.member(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

fn required<'a>(jwk: &'a Json, name: &str) -> Result<&'a str, Unfit> {
    optional(jwk, name)?.ok_or_else(|| format!("without {name}"))
}

fn decoded(jwk: &Json, name: &str) -> Result<Vec<u8>, Unfit> {
    URL_SAFE_NO_PAD.decode(required(jwk, name)?).map_err(|_| format!("{name} is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_kit::json;

    const POLICY: KeyPolicy = KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 };
    const P256: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    const ED25519: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    const OCT: &str = r#""kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow""#;

    fn jwk(members: &str) -> Result<Key, Unfit> {
        Key::from_jwk(&json::parse(format!("{{{members}}}").as_bytes(), 8).unwrap(), &POLICY)
    }

    fn unfit(members: &str) -> String {
        jwk(members).err().unwrap_or_else(|| panic!("{members} was taken"))
    }

    fn rsa(bits: usize, exponent: &[u8]) -> Result<Key, Unfit> {
        let mut modulus = vec![0xff; bits / 8];
        modulus[0] = 0x80;
        Key::rsa(&modulus, exponent, &POLICY)
    }

    #[test]
    fn a_key_verifies_what_its_type_and_its_alg_say() {
        for (members, allowed) in [
            (P256.to_owned(), &["ES256"][..]),
            (ED25519.to_owned(), &["EdDSA"]),
            (OCT.to_owned(), &["HS256", "HS384", "HS512"]),
            (format!(r#"{OCT},"alg":"HS384""#), &["HS384"]),
            (
                format!(r#"{P256},"use":"sig","key_ops":["sign","verify"],"x5t":"?","d":"private""#),
                &["ES256"],
            ),
        ] {
            let key = jwk(&members).unwrap();
            let allows: Vec<&str> = ALGORITHMS
                .iter()
                .filter(|(_, algorithm)| key.allows(*algorithm))
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(allows, allowed, "{members}");
        }
        let rsa = rsa(2048, &[1, 0, 1]).unwrap();
        assert!(
            rsa.allows(Algorithm::PS512) && !rsa.allows(Algorithm::HS256) && !rsa.allows(Algorithm::ES256)
        );
    }

    #[test]
    fn a_secret_is_for_hashes_that_are_no_longer_than_it() {
        let key = Key::secret(&[0; 48]).unwrap();
        assert!(key.allows(Algorithm::HS384) && !key.allows(Algorithm::HS512));
        assert_eq!(Key::secret(&[0; 31]).unwrap_err(), "a secret of 31 bytes; HS256 needs 32");
        assert_eq!(unfit(r#""kty":"oct","k":"""#), "a secret of 0 bytes; HS256 needs 32");
    }

    #[test]
    fn a_key_that_is_for_something_else_is_not_taken() {
        for (members, reason) in [
            (format!(r#"{P256},"use":"enc""#), "its use is not sig"),
            (format!(r#"{P256},"key_ops":["sign"]"#), "verify is not among its key_ops"),
            (format!(r#"{P256},"key_ops":"verify""#), "verify is not among its key_ops"),
            (format!(r#"{P256},"alg":"ES384""#), "an alg that does not go with the key"),
            (format!(r#"{P256},"alg":"HS256""#), "an alg that does not go with the key"),
            (
                format!(r#"{P256},"alg":"ECDH-ES","kid":"k\n""#),
                r#"key "k\n": an alg that does not go with the key"#,
            ),
            (format!(r#"{P256},"use":1"#), "use is not a text"),
            (format!(r#"{P256},"kid":1"#), "kid is not a text"),
            (P256.replace("P-256", "P-384"), "a coordinate is not of 48 bytes"),
            (P256.replace("P-256", "secp256k1"), "an unknown crv"),
            (P256.replace("VEU", "VEV"), "x is not base64url"),
            (P256.replace("f83O", "f83P"), "a point that is not on the curve"),
            (P256.replace("\"EC\"", "\"RSA\""), "without n"),
            (ED25519.replace("Ed25519", "X25519"), "an unknown crv"),
            (
                ED25519.replace("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "11qY"),
                "an Ed25519 key is 32 bytes",
            ),
            (r#""kty":"AKP","alg":"ML-DSA-44""#.into(), "an unknown kty"),
            (r#""n":"AQ""#.into(), "without kty"),
        ] {
            assert_eq!(unfit(&members), reason, "{members}");
        }
    }

    #[test]
    fn weak_ed25519_keys_are_not_taken() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(Key::ed25519(&identity).unwrap_err(), "an Ed25519 key of small order");
        assert_eq!(Key::ed25519(&[0; 32]).unwrap_err(), "an Ed25519 key of small order");
        assert!(Key::ed25519(&[]).is_err() && Key::ed25519(&[1; 33]).is_err());
    }

    #[test]
    fn rsa_keys_are_neither_too_short_nor_too_long_and_have_a_sound_exponent() {
        for bits in [2048, 3072, 4096, 8192] {
            assert!(rsa(bits, &[1, 0, 1]).is_ok(), "{bits}");
        }
        assert_eq!(
            rsa(1024, &[1, 0, 1]).unwrap_err(),
            "an RSA key of 1024 bits; from 2048 to 8192 are taken"
        );
        assert_eq!(
            rsa(8200, &[1, 0, 1]).unwrap_err(),
            "an RSA key of 8200 bits; from 2048 to 8192 are taken"
        );
        let mut padded = vec![0; 128];
        padded.extend([0xff; 128]);
        assert!(Key::rsa(&padded, &[3], &POLICY).unwrap_err().contains("1024 bits"), "zeros are no bits");
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1]] {
            let reason = rsa(2048, exponent).unwrap_err();
            assert_eq!(reason, "an RSA exponent that is even, below 3 or above 2^33", "{exponent:?}");
        }
        assert!(rsa(2048, &[0, 3]).is_ok() && rsa(2048, &[1, 0, 0, 0, 1]).is_ok());
        assert_eq!(Key::rsa(&[0xfe; 256], &[3], &POLICY).unwrap_err(), "an even RSA modulus");
    }
}
