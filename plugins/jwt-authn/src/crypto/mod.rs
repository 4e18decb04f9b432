//! Verifying signatures, through `jsonwebtoken`'s `CryptoProvider`: one in the host, one in Rust.
//!
//! The providers are handed on by reference and never installed: `install_default` is one for the whole process, and
//! two `WasmPlugin`s of one image, one of them with `cryptoOffload: never`, share a process.

mod host;
mod rust;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

/// RustCrypto.
pub const RUST: &CryptoProvider =
    &CryptoProvider { signer_factory: no_signer, verifier_factory: rust::verifier, key_utils: NO_KEY_UTILS };

/// The host's own, for what it can do; where it has no answer, RustCrypto's is the one that counts.
pub const HOST: &CryptoProvider =
    &CryptoProvider { signer_factory: no_signer, verifier_factory: host::verifier, key_utils: NO_KEY_UTILS };

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
    pub fn verify(
        &self,
        algorithm: Algorithm,
        key: &DecodingKey,
        signed: &[u8],
        signature: &Vec<u8>,
    ) -> bool {
        let provider = if self.offloaded.contains(&algorithm) { HOST } else { RUST };
        let verifier: Result<Box<dyn JwtVerifier>> = (provider.verifier_factory)(&algorithm, key);
        verifier.is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
    }
}
