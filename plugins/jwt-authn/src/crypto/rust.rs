//! Verifying in Rust, with RustCrypto.

use ed25519_dalek::VerifyingKey as Ed25519;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use p256::ecdsa::signature::Verifier as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::digest::FixedOutputReset;
use sha2::digest::const_oid::AssociatedOid;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A key, ready to be used for one algorithm.
struct Ready {
    algorithm: Algorithm,
    key: Kind,
}

enum Kind {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(Ed25519),
    Secret(Vec<u8>),
}

/// The key for this algorithm, if they go together.
pub fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let kind = ready(*algorithm, key).ok_or_else(|| new_error(ErrorKind::InvalidKeyFormat))?;
    Ok(Box::new(Ready { algorithm: *algorithm, key: kind }))
}

fn ready(algorithm: Algorithm, key: &DecodingKey) -> Option<Kind> {
    match (key.family(), key.kind(), algorithm) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }, _) => {
            let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
            Some(Kind::Rsa(RsaPublicKey::new_with_size_limits(n, e, 1024..=16_384).ok()?))
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point), Algorithm::ES256) => {
            Some(Kind::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?))
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point), Algorithm::ES384) => {
            Some(Kind::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?))
        }
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(key), Algorithm::EdDSA) => {
            Some(Kind::Ed25519(Ed25519::from_bytes(key.as_slice().try_into().ok()?).ok()?))
        }
        (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret), _) => {
            Some(Kind::Secret(secret.clone()))
        }
        _ => None,
    }
}

impl JwtVerifier for Ready {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ready {
    fn verify(&self, signed: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        if self.is_valid(signed, signature) { Ok(()) } else { Err(Error::new()) }
    }
}

impl Ready {
    fn is_valid(&self, signed: &[u8], signature: &[u8]) -> bool {
        match (&self.key, self.algorithm) {
            (Kind::Rsa(key), Algorithm::RS256) => pkcs1::<Sha256>(key, signed, signature),
            (Kind::Rsa(key), Algorithm::RS384) => pkcs1::<Sha384>(key, signed, signature),
            (Kind::Rsa(key), Algorithm::RS512) => pkcs1::<Sha512>(key, signed, signature),
            (Kind::Rsa(key), Algorithm::PS256) => pss::<Sha256>(key, signed, signature),
            (Kind::Rsa(key), Algorithm::PS384) => pss::<Sha384>(key, signed, signature),
            (Kind::Rsa(key), Algorithm::PS512) => pss::<Sha512>(key, signed, signature),
            (Kind::P256(key), Algorithm::ES256) => {
                let signature = p256::ecdsa::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
            (Kind::P384(key), Algorithm::ES384) => {
                let signature = p384::ecdsa::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
            (Kind::Ed25519(key), Algorithm::EdDSA) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok())
            }
            (Kind::Secret(secret), Algorithm::HS256) => mac::<Hmac<Sha256>>(secret, signed, signature),
            (Kind::Secret(secret), Algorithm::HS384) => mac::<Hmac<Sha384>>(secret, signed, signature),
            (Kind::Secret(secret), Algorithm::HS512) => mac::<Hmac<Sha512>>(secret, signed, signature),
            _ => false,
        }
    }
}

fn pkcs1<D: Digest + AssociatedOid>(key: &RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    key.verify(Pkcs1v15Sign::new::<D>(), &D::digest(signed), signature).is_ok()
}

fn pss<D: Digest + FixedOutputReset>(key: &RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    // The salt is as long as the hash (RFC 7518, section 3.5).
    let scheme = Pss::<D>::new_with_salt(<D as Digest>::output_size());
    key.verify(scheme, &D::digest(signed), signature).is_ok()
}

/// In constant time.
fn mac<M: Mac + KeyInit>(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else { return false };
    mac.update(signed);
    mac.verify_slice(signature).is_ok()
}
