//! A repository in a registry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError as Failure, OciErrorCode as Code};
use oci_client::manifest::OciDescriptor;
use tokio::runtime::Runtime;

pub use oci_client::Reference;

use crate::credentials::Credentials;
use crate::document::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest};
use crate::image::Blob;
use crate::rules::Store;

const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);
/// A step of the progress that is shown.
const PIECE: usize = 64 * 1024;
const TAGS_A_PAGE: usize = 1000;

/// Reads `host/path:tag`, `host/path@sha256:…` or both, with `oci://` or without.
pub fn reference(text: &str) -> Result<Reference> {
    let bare = text.strip_prefix("oci://").unwrap_or(text);
    bare.parse().with_context(|| {
        format!("{text:?} is no reference to an image; it must be host/path:tag or host/path@sha256:…")
    })
}

/// The repository of a reference.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    reference: Reference,
    credentials: Credentials,
}

impl Remote {
    /// Looks for credentials; nothing is sent yet.
    pub fn open(reference: Reference) -> Result<Self> {
        let registry = reference.resolve_registry();
        let credentials = Credentials::find(registry)?;
        let protocol = if is_loopback(registry) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            // One PUT a blob: not every registry takes chunks.
            use_monolithic_push: true,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            ..ClientConfig::default()
        };
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(client.store_auth_if_needed(registry, &credentials.auth));
        Ok(Self { runtime, client, reference, credentials })
    }

    /// What was asked for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The digest of what the reference leads to, if it is there.
    pub fn digest(&self) -> Result<Option<String>> {
        self.digest_of(&self.reference)
    }

    /// The digest of what a tag leads to.
    pub fn digest_of_tag(&self, tag: &str) -> Result<Option<String>> {
        let reference = Reference::with_tag(
            self.reference.registry().to_owned(),
            self.reference.repository().to_owned(),
            tag.to_owned(),
        );
        self.digest_of(&reference)
    }

    fn digest_of(&self, reference: &Reference) -> Result<Option<String>> {
        let digest = self.client.fetch_manifest_digest(reference, &self.credentials.auth);
        self.unless_absent(self.runtime.block_on(digest))
    }

    /// The tags of the repository, if it is there.
    pub fn tags(&self) -> Result<Option<Vec<String>>> {
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().map(String::as_str);
            let page =
                self.client.list_tags(&self.reference, &self.credentials.auth, Some(TAGS_A_PAGE), last);
            let Some(page) = self.unless_absent(self.runtime.block_on(page))? else { return Ok(None) };
            let before = tags.len();
            // A registry that knows no pages sends all tags again.
            for tag in page.tags {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
            if tags.len() == before {
                return Ok(Some(tags));
            }
        }
    }

    /// The manifest or index that the reference leads to.
    pub fn get(&self) -> Result<Vec<u8>> {
        self.document_of(&self.reference)
    }

    fn document_of(&self, reference: &Reference) -> Result<Vec<u8>> {
        let types = &[OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
        let document = self.client.pull_manifest_raw(reference, &self.credentials.auth, types);
        let (document, _) = self.runtime.block_on(document).map_err(|failure| self.explain(failure))?;
        if let Some(named) = reference.digest() {
            let is = digest(&document);
            ensure!(is == named, "{reference} has the digest {is}");
        }
        Ok(document.into())
    }

    /// Whether a blob need not be sent.
    pub fn has(&self, blob: &Blob) -> Result<bool> {
        let exists = self.client.blob_exists(&self.reference, &blob.digest);
        self.runtime.block_on(exists).map_err(|failure| self.explain(failure))
    }

    /// Sends a blob, and tells how many bytes are on their way.
    pub fn send(&self, blob: &Blob, sent: impl Fn(usize) + Send + 'static) -> Result<()> {
        let bytes = Arc::new(Bytes::copy_from_slice(&blob.bytes));
        let size = bytes.len();
        let pieces = (0..size).step_by(PIECE).map(move |start| {
            let piece = bytes.slice(start..size.min(start + PIECE));
            sent(piece.len());
            Ok(piece)
        });
        let push = self.client.push_blob_stream(
            &self.reference,
            stream::iter(pieces),
            &blob.digest,
            Some(size as u64),
        );
        self.runtime.block_on(push).map_err(|failure| self.explain(failure))?;
        Ok(())
    }

    /// Has the reference lead to `manifest`, whose blobs are there.
    pub fn publish(&self, manifest: &Blob) -> Result<()> {
        let media_type = manifest.media_type.parse()?;
        let push = self.client.push_manifest_raw(&self.reference, manifest.bytes.clone(), media_type);
        self.runtime.block_on(push).map_err(|failure| self.explain(failure))?;
        Ok(())
    }

    fn unless_absent<T>(&self, answer: Result<T, Failure>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if is_absent(&failure) => Ok(None),
            Err(failure) => Err(self.explain(failure)),
        }
    }

    /// Says who was asked for what, as whom.
    fn explain(&self, failure: Failure) -> Error {
        let registry = self.reference.resolve_registry();
        if is_refusal(&failure) {
            return Error::msg(format!(
                "{registry} does not let us into {}; it was asked {}. `docker login {registry}` writes credentials.",
                self.reference.repository(),
                self.credentials
            ));
        }
        if is_absent(&failure) {
            return Error::msg(format!("there is no {}", self.reference));
        }
        Error::new(failure).context(format!("asking {registry}"))
    }
}

impl Store for Remote {
    fn document(&self, digest: &str) -> Result<Vec<u8>> {
        self.document_of(&self.reference.clone_with_digest(digest.to_owned()))
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let descriptor = OciDescriptor { digest: digest.to_owned(), ..OciDescriptor::default() };
        let pull = self.client.pull_blob(&self.reference, &descriptor, &mut bytes);
        self.runtime.block_on(pull).map_err(|failure| self.explain(failure))?;
        Ok(bytes)
    }
}

/// Registries on this machine speak plain HTTP.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

fn codes(failure: &Failure) -> Vec<&Code> {
    match failure {
        Failure::RegistryError { envelope, .. } => envelope.errors.iter().map(|error| &error.code).collect(),
        _ => Vec::new(),
    }
}

fn is_absent(failure: &Failure) -> bool {
    let unknown = [Code::ManifestUnknown, Code::NameUnknown, Code::NotFound, Code::BlobUnknown];
    matches!(failure, Failure::ServerError { code: 404, .. } | Failure::ImageManifestNotFoundError(_))
        || codes(failure).iter().any(|code| unknown.contains(code))
}

fn is_refusal(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::UnauthorizedError { .. }
            | Failure::AuthenticationFailure(_)
            | Failure::ServerError { code: 401 | 403, .. }
    ) || matches!(failure, Failure::RequestError(error) if error.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403)))
        || codes(failure).iter().any(|code| matches!(code, Code::Unauthorized | Code::Denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_istio_writes_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = reference(&format!("oci://ghcr.io/org/guard:1.2.3@{digest}")).unwrap();
        assert_eq!((pinned.registry(), pinned.repository()), ("ghcr.io", "org/guard"));
        assert_eq!((pinned.tag(), pinned.digest()), (Some("1.2.3"), Some(&*digest)));
        let error = reference("oci://ghcr.io/Org/Guard").unwrap_err().to_string();
        assert!(error.contains("must be host/path:tag"), "{error}");
    }

    #[test]
    fn only_this_machine_is_asked_in_plain_text() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["ghcr.io", "registry.internal:5000", "localhost.example.com", "10.0.0.1:5000"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
