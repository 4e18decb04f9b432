//! Verifying in the host, with Envoy's foreign function `verify_signature` (BoringSSL): 15 to 50 µs for RS256 and ES256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use plugin_kit::hostcalls;
use plugin_kit::protobuf::field;

// Signatures of "probe", made by tests/vectors/generate.py.
include!("../../tests/vectors/probe.rs");

const FUNCTION: &str = "verify_signature";
const PROBE: &[u8] = b"probe";
/// `result: true` in a `VerifySignatureResult`.
const VALID: &[u8] = &[8, 1];
/// What Envoy says of a signature that it has compared; of a key that it cannot read it says something else.
const COMPARED: &[u8] = b"verify digest";

/// The algorithms of which the host tells a good signature from a bad one.
pub fn probe() -> Vec<Algorithm> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let rsa = rsa(&decode(RSA_MODULUS), &[1, 0, 1]);
    let (p256, p384) = (p256(&decode(P256_POINT)), p384(&decode(P384_POINT)));
    let vectors = [
        (Algorithm::RS256, &rsa, RS256),
        (Algorithm::RS384, &rsa, RS384),
        (Algorithm::RS512, &rsa, RS512),
        (Algorithm::ES256, &p256, ES256),
        (Algorithm::ES384, &p384, ES384),
    ];
    let knows = |(algorithm, key, signature): &(Algorithm, &Vec<u8>, &str)| {
        let signature = decode(signature);
        verify(*algorithm, key, PROBE, &signature) == Some(true)
            && verify(*algorithm, key, b"prove", &signature) == Some(false)
    };
    vectors.into_iter().filter(knows).map(|(algorithm, ..)| algorithm).collect()
}

/// What the host says of a signature; `key` is a `SubjectPublicKeyInfo`. `None`: it has no such function, cannot read the
/// key, or answers what is not understood.
pub fn verify(algorithm: Algorithm, key: &[u8], signed: &[u8], signature: &[u8]) -> Option<bool> {
    let hash = hash(algorithm)?;
    let der;
    let signature = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            der = point_signature(algorithm, signature)?;
            &der
        }
        _ => signature,
    };
    // Four tags and lengths.
    let fields = [hash.as_bytes(), key, signature, signed];
    let size = fields.iter().fold(4 * 4, |size: usize, field| size.saturating_add(field.len()));
    let mut arguments = Vec::with_capacity(size);
    for (number, value) in (1..).zip(fields) {
        field(&mut arguments, number, value);
    }
    match hostcalls::call_foreign_function(FUNCTION, &arguments) {
        Ok(result) if result == VALID => Some(true),
        Ok(result) if result.windows(COMPARED.len()).any(|part| part == COMPARED) => Some(false),
        _ => None,
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

/// An RSA key as the host wants it.
pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    public_key(RSA, &sequence(&[&integer(modulus), &integer(exponent)]))
}

/// A point of P-256 as the host wants it.
pub fn p256(point: &[u8]) -> Vec<u8> {
    const P256: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    public_key(P256, point)
}

/// A point of P-384 as the host wants it.
pub fn p384(point: &[u8]) -> Vec<u8> {
    const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    public_key(P384, point)
}

/// `SubjectPublicKeyInfo`; `algorithm` is the `AlgorithmIdentifier`, object id and parameters.
fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[algorithm, &tagged(0x03, &[&[0], key].concat())])
}

/// `r` and `s` as an `ECDSA-Sig-Value`; `None` where they are out of range.
fn point_signature(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        Algorithm::ES256 => drop(p256::ecdsa::Signature::from_slice(signature).ok()?),
        _ => drop(p384::ecdsa::Signature::from_slice(signature).ok()?),
    }
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
    use jsonwebtoken::DecodingKey;

    use super::*;
    use crate::crypto::RUST;

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
        for (key, block) in keys.iter().zip(blocks).take(3) {
            let body: String = block.split("-----").next().unwrap().split_whitespace().collect();
            let expected = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
            assert_eq!(key.public, Some(expected), "{:?}", key.shape);
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
