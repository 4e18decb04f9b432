//! `verify_signature` as Envoy 1.40 was seen to answer: RSA (PKCS #1 v1.5) and ECDSA, keys and signatures in DER.
// The lints of what ships are not for a host that only tests have.
#![allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;

use plugin_testkit::Status;
use rsa::{BoxedUint, Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

const VALID: &[u8] = &[8, 1];

/// The function.
pub fn verify_signature(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let fields = fields(arguments).ok_or(Status::BadArgument)?;
    let field = |number| fields.get(&number).map(Vec::as_slice).unwrap_or_default();
    Ok(match verify(field(1), field(2), field(3), field(4)) {
        Some(true) => VALID.to_vec(),
        Some(false) => error("Failed to verify digest. Error code: 0"),
        None => error("Failed to initialize digest verify."),
    })
}

/// What Envoy answers about a key that it cannot read.
pub fn error(message: &str) -> Vec<u8> {
    [&[0x12, message.len() as u8], message.as_bytes()].concat()
}

fn verify(hash: &[u8], key: &[u8], signature: &[u8], text: &[u8]) -> Option<bool> {
    let digest = match hash {
        b"sha256" => Sha256::digest(text).to_vec(),
        b"sha384" => Sha384::digest(text).to_vec(),
        b"sha512" => Sha512::digest(text).to_vec(),
        _ => return None,
    };
    let (info, _) = tlv(key, 0x30)?;
    let (_, rest) = tlv(info, 0x30)?;
    let bits = tlv(rest, 0x03)?.0.strip_prefix(&[0])?;
    if bits.first() == Some(&4) {
        let (numbers, _) = tlv(signature, 0x30)?;
        let (r, rest) = tlv(numbers, 0x02)?;
        let (s, _) = tlv(rest, 0x02)?;
        let size = bits.len() / 2;
        let raw = [padded(r, size), padded(s, size)].concat();
        use p256::ecdsa::signature::hazmat::PrehashVerifier;
        return Some(if size == 32 {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?;
            key.verify_prehash(&digest, &p256::ecdsa::Signature::from_slice(&raw).ok()?).is_ok()
        } else {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?;
            key.verify_prehash(&digest, &p384::ecdsa::Signature::from_slice(&raw).ok()?).is_ok()
        });
    }
    let (numbers, _) = tlv(bits, 0x30)?;
    let (n, rest) = tlv(numbers, 0x02)?;
    let (e, _) = tlv(rest, 0x02)?;
    let number = BoxedUint::from_be_slice_vartime;
    let key = RsaPublicKey::new(number(n), number(e)).ok()?;
    let scheme = match hash {
        b"sha256" => Pkcs1v15Sign::new::<Sha256>(),
        b"sha384" => Pkcs1v15Sign::new::<Sha384>(),
        _ => Pkcs1v15Sign::new::<Sha512>(),
    };
    Some(key.verify(scheme, &digest, signature).is_ok())
}

fn padded(number: &[u8], size: usize) -> Vec<u8> {
    let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
    [vec![0; size - digits.len()], digits].concat()
}

fn tlv(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[first, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    (first == tag).then(|| rest.split_at_checked(length))?
}

fn fields(mut raw: &[u8]) -> Option<BTreeMap<u8, Vec<u8>>> {
    let mut fields = BTreeMap::new();
    while let Some((&tag, mut rest)) = raw.split_first() {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let (value, after) = rest.split_at_checked(length)?;
        fields.insert(tag >> 3, value.to_vec());
        raw = after;
    }
    Some(fields)
}
