//! Public keys in PEM: `PUBLIC KEY`, `RSA PUBLIC KEY`, and the key in a `CERTIFICATE`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::keys::{Key, KeyPolicy, Shape, Unfit};

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const ED25519: &[u8] = b"\x2b\x65\x70";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0]`, which a certificate has its version in.
const VERSION: u8 = 0xa0;

/// The keys of every block.
///
/// # Errors
/// Where there is none, or one is of no kind that is known.
pub fn read(text: &str, policy: &KeyPolicy) -> Result<Vec<Key>, Unfit> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, body) = block.split_once("-----").ok_or("a BEGIN line without an end")?;
        let (body, after) = body.split_once("-----END ").ok_or("a block without an END line")?;
        rest = after;
        let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).map_err(|_| "a block that is not base64")?;
        let key = match label {
            "PUBLIC KEY" => public_key(&der, policy),
            "RSA PUBLIC KEY" => rsa(&der, policy),
            "CERTIFICATE" => certificate(&der, policy),
            _ => return Err(format!("{} is not a public key", plugin_kit::config::quoted(label))),
        };
        keys.push(key?);
    }
    if keys.is_empty() {
        return Err("no -----BEGIN PUBLIC KEY-----, RSA PUBLIC KEY or CERTIFICATE".into());
    }
    Ok(keys)
}

fn not_der() -> Unfit {
    "a block that is not a public key in DER".into()
}

/// One value, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `SubjectPublicKeyInfo`.
fn public_key(der: &[u8], policy: &KeyPolicy) -> Result<Key, Unfit> {
    let parts = || {
        let (info, _) = value(der, SEQUENCE)?;
        let (algorithm, rest) = value(info, SEQUENCE)?;
        let (kind, parameters) = value(algorithm, OBJECT_ID)?;
        let (bits, _) = value(rest, BIT_STRING)?;
        // No unused bits.
        Some((kind, parameters, bits.strip_prefix(&[0])?))
    };
    let (kind, parameters, key) = parts().ok_or_else(not_der)?;
    match kind {
        RSA => rsa(key, policy),
        ED25519 => Key::ed25519(key),
        EC => {
            let shape = match value(parameters, OBJECT_ID) {
                Some((P256, _)) => Shape::P256,
                Some((P384, _)) => Shape::P384,
                _ => return Err("an elliptic curve that is neither P-256 nor P-384".into()),
            };
            let point = key.strip_prefix(&[4]).ok_or("a point that is compressed")?;
            let (x, y) = point.split_at_checked(point.len().div_ceil(2)).ok_or_else(not_der)?;
            Key::point(shape, x, y)
        }
        _ => Err("a public key of an unknown kind".into()),
    }
}

fn rsa(der: &[u8], policy: &KeyPolicy) -> Result<Key, Unfit> {
    let parts = || {
        let (numbers, _) = value(der, SEQUENCE)?;
        let (modulus, rest) = value(numbers, INTEGER)?;
        Some((modulus, value(rest, INTEGER)?.0))
    };
    let (modulus, exponent) = parts().ok_or_else(not_der)?;
    Key::rsa(modulus, exponent, policy)
}

/// The key in a certificate. Its dates and its signature are not looked at: who configures it vouches for it.
fn certificate(der: &[u8], policy: &KeyPolicy) -> Result<Key, Unfit> {
    let key = || {
        let (whole, _) = value(der, SEQUENCE)?;
        let (mut rest, _) = value(whole, SEQUENCE)?;
        if let Some((_, after)) = value(rest, VERSION) {
            rest = after;
        }
        // Serial number, signature algorithm, issuer, validity, subject.
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
            rest = value(rest, tag)?.1;
        }
        Some(rest)
    };
    public_key(key().ok_or_else(not_der)?, policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: KeyPolicy = KeyPolicy { min_rsa_bits: 2048, max_rsa_bits: 8192 };

    fn shapes(text: &str) -> Result<Vec<Shape>, Unfit> {
        Ok(read(text, &POLICY)?.iter().map(|key| key.shape).collect())
    }

    #[test]
    fn reads_what_openssl_writes() {
        let text = include_str!("../tests/vectors/public-keys.pem");
        assert_eq!(
            shapes(text),
            Ok(vec![Shape::Rsa, Shape::P256, Shape::P384, Shape::Ed25519, Shape::Rsa, Shape::Rsa])
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, reason) in [
            ("", "no -----BEGIN PUBLIC KEY-----, RSA PUBLIC KEY or CERTIFICATE"),
            ("-----BEGIN PUBLIC KEY", "a BEGIN line without an end"),
            ("-----BEGIN PUBLIC KEY-----\nAA==", "a block without an END line"),
            ("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", "a block that is not base64"),
            (
                "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
                "a block that is not a public key in DER",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMIP///8=\n-----END CERTIFICATE-----",
                "a block that is not a public key in DER",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----",
                "\"PRIVATE KEY\" is not a public key",
            ),
        ] {
            assert_eq!(shapes(text).unwrap_err(), reason, "{text}");
        }
    }
}
