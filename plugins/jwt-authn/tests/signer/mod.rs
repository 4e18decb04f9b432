//! An issuer for tests. Its keys are those of the RFCs, so nobody takes them for secret.
// The lints of what ships are not for an issuer that only tests have.
#![allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// RFC 7520, section 3.4.
const RSA_N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
const RSA_D: &str = "bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ";
const RSA_P: &str = "3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex_fp7AZ_9nRaO7HX_-SFfGQeutao2TDjDAWU4Vupk8rw9JR0AzZ0N2fvuIAmr_WCsmGpeNqQnev1T7IyEsnh8UMt-n5CafhkikzhEsrmndH6LxOrvRJlsPp6Zv8bUq0k";
const RSA_Q: &str = "uKE2dh-cTf6ERF4k4e_jy78GfPYUIaUyoSSJuBzp3Cubk3OCqs6grT8bR_cu0Dm1MZwWmtdqDyI95HrUeq3MP15vMMON8lHTeZu2lmKvwqW7anV5UzhM1iZ7z4yMkuUwFWoBvyY898EXvRD-hdqRxHlSqAZ192zB3pVFJ0s7pFc";
/// RFC 7515, appendix A.2: another one's.
pub const OTHER_RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
/// RFC 7515, appendix A.3.
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const P256_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
const P384_X: &str = "DdrLktnQt8op9P3qMmvQDQqJ_gKXLQK0BxIpFTaw8AbHZkzNBJ-1kCjZLFaZjZBm";
const P384_Y: &str = "WX0jeQ9-Bk379sFQf83tQllUChdHIt0d9IDNt9FR5g5RPD5PNiWlK4Lg69NW4iMD";
const P384_D: &str = "D_iDYY30SyqUslCAaetgMLxy5rLrwyPkBm8I7CVyipWowZz0o1r9A_ms_Z6KwOn4";
/// RFC 8037, appendix A.
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED25519_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
/// RFC 7515, appendix A.1.
pub const SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

/// Every asymmetric algorithm.
pub const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// The public keys, named `rsa`, `p256`, `p384` and `ed`.
pub fn jwks() -> String {
    format!(
        "{{\"keys\":[{},{},{},{}]}}",
        rsa_jwk("rsa"),
        p256_jwk("p256"),
        p384_jwk("p384"),
        ed25519_jwk("ed")
    )
}

/// The RSA key.
pub fn rsa_jwk(kid: &str) -> String {
    format!(r#"{{"kid":"{kid}","kty":"RSA","n":"{RSA_N}","e":"AQAB"}}"#)
}

/// The P-256 key.
pub fn p256_jwk(kid: &str) -> String {
    format!(r#"{{"kid":"{kid}","kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_Y}"}}"#)
}

/// The P-384 key.
pub fn p384_jwk(kid: &str) -> String {
    format!(r#"{{"kid":"{kid}","kty":"EC","crv":"P-384","x":"{P384_X}","y":"{P384_Y}"}}"#)
}

/// The Ed25519 key.
pub fn ed25519_jwk(kid: &str) -> String {
    format!(r#"{{"kid":"{kid}","kty":"OKP","crv":"Ed25519","x":"{ED25519_X}"}}"#)
}

/// The secret as a key set.
pub fn secret_jwks() -> String {
    format!(r#"{{"keys":[{{"kid":"hs","kty":"oct","k":"{SECRET}"}}]}}"#)
}

/// The key that signs with this algorithm.
pub fn kid(algorithm: &str) -> &'static str {
    match &algorithm[..2] {
        "RS" | "PS" => "rsa",
        "HS" => "hs",
        "Ed" => "ed",
        _ if algorithm == "ES256" => "p256",
        _ => "p384",
    }
}

/// A token with these claims.
pub fn token(algorithm: &str, claims: impl AsRef<[u8]>) -> String {
    with_header(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"{}"}}"#, kid(algorithm)), claims)
}

/// A token with this header, whatever it says, signed with this algorithm.
pub fn with_header(algorithm: &str, header: &str, claims: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// base64url.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url.
pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A signature.
pub fn sign(algorithm: &str, signed: &[u8]) -> Vec<u8> {
    match algorithm {
        "RS256" => rsa().sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(signed)).unwrap(),
        "RS384" => rsa().sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(signed)).unwrap(),
        "RS512" => rsa().sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(signed)).unwrap(),
        "PS256" => rsa()
            .sign_with_rng(&mut Counter(0), Pss::<Sha256>::new_with_salt(32), &Sha256::digest(signed))
            .unwrap(),
        "PS384" => rsa()
            .sign_with_rng(&mut Counter(0), Pss::<Sha384>::new_with_salt(48), &Sha384::digest(signed))
            .unwrap(),
        "PS512" => rsa()
            .sign_with_rng(&mut Counter(0), Pss::<Sha512>::new_with_salt(64), &Sha512::digest(signed))
            .unwrap(),
        "ES256" => {
            let signature: p256::ecdsa::Signature =
                p256::ecdsa::SigningKey::from_slice(&decode(P256_D)).unwrap().sign(signed);
            signature.to_bytes().to_vec()
        }
        "ES384" => {
            let signature: p384::ecdsa::Signature =
                p384::ecdsa::SigningKey::from_slice(&decode(P384_D)).unwrap().sign(signed);
            signature.to_bytes().to_vec()
        }
        "EdDSA" => {
            let key = ed25519_dalek::SigningKey::from_bytes(&decode(ED25519_D).try_into().unwrap());
            key.sign(signed).to_bytes().to_vec()
        }
        "HS256" => hmac_sha256(&decode(SECRET), signed),
        "HS384" => {
            let mut mac = Hmac::<Sha384>::new_from_slice(&decode(SECRET)).unwrap();
            mac.update(signed);
            mac.finalize().into_bytes().to_vec()
        }
        "HS512" => {
            let mut mac = Hmac::<Sha512>::new_from_slice(&decode(SECRET)).unwrap();
            mac.update(signed);
            mac.finalize().into_bytes().to_vec()
        }
        _ => Vec::new(),
    }
}

/// HS256 under any secret.
pub fn hmac_sha256(secret: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}

fn rsa() -> RsaPrivateKey {
    let number = |text| BoxedUint::from_be_slice_vartime(&decode(text));
    let e = BoxedUint::from_be_slice_vartime(&[1, 0, 1]);
    RsaPrivateKey::from_components(number(RSA_N), e, number(RSA_D), vec![number(RSA_P), number(RSA_Q)])
        .unwrap()
}

/// Random enough for a salt that nobody guesses at.
struct Counter(u64);

impl TryRng for Counter {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0 += 1;
        Ok(self.0 as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 += 1;
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0 += 1;
        bytes.fill(self.0 as u8);
        Ok(())
    }
}

impl TryCryptoRng for Counter {}
