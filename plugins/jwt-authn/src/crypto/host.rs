//! Verifying in the host, with Envoy's foreign function `verify_signature` (BoringSSL): 15 to 50 µs for RS256 and ES256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use plugin_kit::hostcalls;
use plugin_kit::protobuf::field;

use crate::crypto::RUST;

// Signatures of "probe", made by tests/vectors/generate.py.
include!("../../tests/vectors/probe.rs");

const FUNCTION: &str = "verify_signature";
const PROBE: &[u8] = b"probe";
/// `result: true` in a `VerifySignatureResult`.
const VALID: &[u8] = &[8, 1];
/// What Envoy says of a signature that it has compared; of a key that it cannot read it says something else.
const COMPARED: &[u8] = b"verify digest";

/// What the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Invalid,
    /// It has no such function, cannot read the key, or answers what is not understood.
    None,
}

struct Offloaded {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A verifier for what the host can do.
pub fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    hash(*algorithm).ok_or_else(|| new_error(ErrorKind::UnsupportedAlgorithm))?;
    Ok(Box::new(Offloaded { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Offloaded {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Offloaded {
    fn verify(&self, signed: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        match ask(self.algorithm, &self.key, signed, signature) {
            Verdict::Valid => Ok(()),
            Verdict::Invalid => Err(Error::new()),
            Verdict::None => {
                let verifier =
                    (RUST.verifier_factory)(&self.algorithm, &self.key).map_err(|_| Error::new())?;
                verifier.verify(signed, signature)
            }
        }
    }
}

/// The algorithms of which the host tells a good signature from a bad one.
pub fn probe() -> Vec<Algorithm> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let rsa = DecodingKey::from_rsa_raw_components(&decode(RSA_MODULUS), &[1, 0, 1]);
    let p256 = DecodingKey::from_ec_der(&decode(P256_POINT));
    let p384 = DecodingKey::from_ec_der(&decode(P384_POINT));
    let vectors = [
        (Algorithm::RS256, &rsa, RS256),
        (Algorithm::RS384, &rsa, RS384),
        (Algorithm::RS512, &rsa, RS512),
        (Algorithm::ES256, &p256, ES256),
        (Algorithm::ES384, &p384, ES384),
    ];
    let knows = |(algorithm, key, signature): &(Algorithm, &DecodingKey, &str)| {
        let signature = decode(signature);
        ask(*algorithm, key, PROBE, &signature) == Verdict::Valid
            && ask(*algorithm, key, b"prove", &signature) == Verdict::Invalid
    };
    vectors.into_iter().filter(knows).map(|(algorithm, ..)| algorithm).collect()
}

fn ask(algorithm: Algorithm, key: &DecodingKey, signed: &[u8], signature: &[u8]) -> Verdict {
    let Some((hash, key, signature)) = hash(algorithm).and_then(|hash| {
        let (key, signature) = in_der(algorithm, key, signature)?;
        Some((hash, key, signature))
    }) else {
        return Verdict::None;
    };
    let mut arguments = Vec::new();
    for (number, value) in [(1, hash.as_bytes()), (2, &key), (3, &signature), (4, signed)] {
        field(&mut arguments, number, value);
    }
    match hostcalls::call_foreign_function(FUNCTION, &arguments) {
        Ok(result) if result == VALID => Verdict::Valid,
        Ok(result) if result.windows(COMPARED.len()).any(|part| part == COMPARED) => Verdict::Invalid,
        _ => Verdict::None,
    }
}

/// The name of the hash, for algorithms that the host might know: its RSA is PKCS #1 v1.5, and it has no Ed25519.
const fn hash(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::RS256 | Algorithm::ES256 => Some("sha256"),
        Algorithm::RS384 | Algorithm::ES384 => Some("sha384"),
        Algorithm::RS512 => Some("sha512"),
        _ => None,
    }
}

/// Key and signature as the host wants them; `None` also for an ECDSA signature whose numbers are out of range.
fn in_der(algorithm: Algorithm, key: &DecodingKey, signature: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    // AlgorithmIdentifier: object id and parameters.
    const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    const P256: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    match (algorithm, key.kind()) {
        (
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512,
            DecodingKeyKind::RsaModulusExponent { n, e },
        ) => {
            let numbers = sequence(&[&integer(n), &integer(e)]);
            Some((public_key(RSA, &numbers), signature.to_vec()))
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            p256::ecdsa::Signature::from_slice(signature).ok()?;
            Some((public_key(P256, point), point_signature(signature)?))
        }
        (Algorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => {
            p384::ecdsa::Signature::from_slice(signature).ok()?;
            Some((public_key(P384, point), point_signature(signature)?))
        }
        _ => None,
    }
}

/// `SubjectPublicKeyInfo`.
fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &tagged(0x03, &[&[0], key].concat())])
}

/// `r` and `s` as an `ECDSA-Sig-Value`.
fn point_signature(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(signature.len().div_ceil(2))?;
    Some(sequence(&[&integer(r), &integer(s)]))
}

/// The shortest `INTEGER` of this value, which is not negative.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    match digits.first() {
        Some(first) if *first < 0x80 => tagged(0x02, digits),
        _ => tagged(0x02, &[&[0], digits].concat()),
    }
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = length.get(zeros..).unwrap_or_default();
    let mut der = vec![tag];
    match digits {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        _ => {
            der.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            der.extend_from_slice(digits);
        }
    }
    der.extend_from_slice(value);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_short_as_der_wants_them() {
        for (number, der) in [
            (&[0, 0, 1][..], &[2, 1, 1][..]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0x7f, 0xff], &[2, 2, 0x7f, 0xff]),
            (&[0, 0], &[2, 1, 0]),
        ] {
            assert_eq!(integer(number), der);
        }
        assert_eq!(tagged(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(tagged(4, &[])[..], [4, 0]);
    }

    #[test]
    fn the_key_that_the_host_gets_is_the_one_that_was_read() {
        let pem = include_str!("../../tests/vectors/public-keys.pem");
        let policy = crate::keys::KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 };
        let keys = crate::pem::read(pem, &policy).unwrap();
        let blocks: Vec<&str> = pem.split("-----BEGIN PUBLIC KEY-----").skip(1).collect();
        let signature = |length: usize| vec![1; length];
        for (key, block, algorithm, length) in [
            (&keys[0], blocks[0], Algorithm::RS256, 256),
            (&keys[1], blocks[1], Algorithm::ES256, 64),
            (&keys[2], blocks[2], Algorithm::ES384, 96),
        ] {
            let body: String = block.split("-----").next().unwrap().split_whitespace().collect();
            let expected = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
            let (der, _) = in_der(algorithm, &key.material, &signature(length)).unwrap();
            assert_eq!(der, expected, "{algorithm:?}");
        }
    }

    #[test]
    fn the_probe_is_what_rust_takes_for_valid() {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let rsa = DecodingKey::from_rsa_raw_components(&decode(RSA_MODULUS), &[1, 0, 1]);
        let p256 = DecodingKey::from_ec_der(&decode(P256_POINT));
        let p384 = DecodingKey::from_ec_der(&decode(P384_POINT));
        for (algorithm, key, signature) in [
            (Algorithm::RS256, &rsa, RS256),
            (Algorithm::RS384, &rsa, RS384),
            (Algorithm::RS512, &rsa, RS512),
            (Algorithm::ES256, &p256, ES256),
            (Algorithm::ES384, &p384, ES384),
        ] {
            let verifier = (RUST.verifier_factory)(&algorithm, key).unwrap();
            assert!(verifier.verify(PROBE, &decode(signature)).is_ok(), "{algorithm:?}");
            assert!(verifier.verify(b"prove", &decode(signature)).is_err(), "{algorithm:?}");
        }
    }
}
