//! Which images Istio's agent takes a module from: the rules of its `imagefetcher.go` and `cache.go`.

use std::fmt;

use anyhow::Result;

use crate::archive::{self, Unreadable};
use crate::document::{
    DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Document, Index, Manifest, OCI_LAYER, WASM_LAYER, digest,
};

/// Where manifests and blobs come from.
pub trait Store {
    /// The manifest or index of this digest.
    fn document(&self, digest: &str) -> Result<Vec<u8>>;
    /// The blob of this digest.
    fn blob(&self, digest: &str) -> Result<Vec<u8>>;
}

/// A module that a proxy would load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// As what it was taken.
    pub shape: Shape,
    /// Of the manifest: what a `WasmPlugin` must pin.
    pub digest: String,
    /// The module.
    pub wasm: Vec<u8>,
}

/// What an image can be taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An OCI image with `plugin.wasm` in its last layer.
    Compat,
    /// The same with Docker's media types.
    Docker,
    /// Two layers, one of them the module.
    Artifact,
}

/// Why Istio takes no module from an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What the reference leads to is no manifest.
    NoManifest(String),
    /// An index without linux/amd64.
    NoPlatform {
        /// What it has.
        offers: Vec<String>,
    },
    /// An index, by its own digest: the agent compares with the digest of the manifest that it took out of it.
    PinnedIndex {
        /// The digest of that manifest.
        manifest: String,
    },
    /// A Docker manifest that is no plugin's.
    Docker(Flaw),
    /// An OCI manifest that is a plugin's in neither form.
    Oci {
        /// What speaks against the image.
        compat: Flaw,
        /// What speaks against the artifact.
        artifact: Flaw,
    },
    /// Fetched, and then found to be something else.
    NotWasm {
        /// Where it was.
        shape: Shape,
        /// Whether it is a gzip.
        gzip: bool,
    },
}

/// What speaks against one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is nothing to look into.
    NoLayers,
    /// Only one type is looked into.
    LastLayer {
        /// Its type.
        is: String,
        /// What it must be.
        must: &'static str,
    },
    /// The type is right, and the content is not.
    Layer(Unreadable),
    /// An artifact has two.
    Layers(usize),
    /// Neither of the two is the module.
    NoModule {
        /// Their types.
        are: Vec<String>,
    },
}

/// What Istio's agent makes of `document`, which a tag or, where it is `pinned`, a digest led to.
///
/// An error is not about the image: it could not be read.
pub fn judge(store: &impl Store, document: &[u8], pinned: Option<&str>) -> Result<Result<Accepted, Refused>> {
    let (document, manifest) = match Document::parse(document) {
        Err(error) => return Ok(Err(Refused::NoManifest(error.to_string()))),
        Ok(Document::Manifest(manifest)) => (document.to_vec(), manifest),
        Ok(Document::Index(index)) => {
            let Some(child) = index.manifests.iter().find(|child| is_for_linux_amd64(child)) else {
                return Ok(Err(Refused::NoPlatform { offers: platforms(&index) }));
            };
            let document = store.document(&child.digest)?;
            match Document::parse(&document) {
                Ok(Document::Manifest(manifest)) => (document, manifest),
                Ok(Document::Index(_)) => {
                    return Ok(Err(Refused::NoManifest("an index in an index".into())));
                }
                Err(error) => return Ok(Err(Refused::NoManifest(error.to_string()))),
            }
        }
    };
    let digest = digest(&document);
    if pinned.is_some_and(|pinned| pinned != digest) {
        return Ok(Err(Refused::PinnedIndex { manifest: digest }));
    }
    let (shape, wasm) = match module(store, &manifest)? {
        Ok(found) => found,
        Err(refused) => return Ok(Err(refused)),
    };
    if !is_wasm(&wasm) {
        return Ok(Err(Refused::NotWasm { shape, gzip: wasm.starts_with(b"\x1f\x8b") }));
    }
    Ok(Ok(Accepted { shape, digest, wasm }))
}

fn module(store: &impl Store, manifest: &Manifest) -> Result<Result<(Shape, Vec<u8>), Refused>> {
    if manifest.media_type.as_deref() == Some(DOCKER_MANIFEST) {
        let module = image(store, manifest, DOCKER_LAYER)?;
        return Ok(module.map(|wasm| (Shape::Docker, wasm)).map_err(Refused::Docker));
    }
    let compat = match image(store, manifest, OCI_LAYER)? {
        Ok(wasm) => return Ok(Ok((Shape::Compat, wasm))),
        Err(flaw) => flaw,
    };
    Ok(match artifact(store, manifest)? {
        Ok(wasm) => Ok((Shape::Artifact, wasm)),
        Err(artifact) => Err(Refused::Oci { compat, artifact }),
    })
}

fn image(store: &impl Store, manifest: &Manifest, must: &'static str) -> Result<Result<Vec<u8>, Flaw>> {
    let Some(last) = manifest.layers.last() else { return Ok(Err(Flaw::NoLayers)) };
    if last.media_type != must {
        return Ok(Err(Flaw::LastLayer { is: last.media_type.clone(), must }));
    }
    Ok(archive::plugin(&store.blob(&last.digest)?).map_err(Flaw::Layer))
}

fn artifact(store: &impl Store, manifest: &Manifest) -> Result<Result<Vec<u8>, Flaw>> {
    let layers = &manifest.layers;
    if layers.len() != 2 {
        return Ok(Err(Flaw::Layers(layers.len())));
    }
    match layers.iter().find(|layer| layer.media_type == WASM_LAYER) {
        Some(layer) => store.blob(&layer.digest).map(Ok),
        None => {
            let are = layers.iter().map(|layer| layer.media_type.clone()).collect();
            Ok(Err(Flaw::NoModule { are }))
        }
    }
}

fn is_wasm(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes.starts_with(b"\0asm")
}

/// Wherever the agent itself runs.
fn is_for_linux_amd64(child: &Descriptor) -> bool {
    child.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
}

fn platforms(index: &Index) -> Vec<String> {
    let platforms = index.manifests.iter().filter_map(|child| child.platform.as_ref());
    platforms.map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect()
}

impl Refused {
    /// What to do instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoManifest(_) => "a tag or a digest of an image manifest".into(),
            Self::NoPlatform { .. } => {
                "one manifest and no index, as `just push` makes, or a linux/amd64 entry".into()
            }
            Self::PinnedIndex { manifest } => format!("the digest of the manifest in the index, @{manifest}"),
            Self::NotWasm { shape: Shape::Artifact, gzip: true } => {
                format!("the module itself in the {WASM_LAYER} layer, not compressed")
            }
            Self::NotWasm { .. } => "a module that begins with \\0asm".into(),
            Self::Docker(Flaw::Layer(_)) | Self::Oci { compat: Flaw::Layer(_), .. } => {
                format!("a last layer that is a tar.gz with {}", archive::FILE)
            }
            Self::Docker(_) => format!("a last layer of type {DOCKER_LAYER}, or an OCI manifest throughout"),
            Self::Oci { .. } => format!(
                "a last layer of type {OCI_LAYER} with {} (`just push`), or just two layers, one of them {WASM_LAYER} \
                 (`just push --artifact`)",
                archive::FILE
            ),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest(error) => write!(formatter, "it is no image manifest: {error}"),
            Self::NoPlatform { offers } => write!(
                formatter,
                "the index has no child with platform linux/amd64, only {}",
                if offers.is_empty() { "nothing".into() } else { offers.join(", ") }
            ),
            Self::PinnedIndex { manifest } => write!(
                formatter,
                "checksum mismatch: the digest is an index's, and is compared with that of the manifest in it, {manifest}"
            ),
            Self::Docker(flaw) => write!(formatter, "as a Docker image: {flaw}"),
            Self::Oci { compat, artifact } => {
                write!(formatter, "as an image: {compat}; as an artifact: {artifact}")
            }
            Self::NotWasm { shape, gzip } => write!(
                formatter,
                "what is fetched from the {shape} is no WebAssembly{}",
                if *gzip { ", but a gzip" } else { "" }
            ),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => write!(formatter, "it has no layers"),
            Self::LastLayer { is, must } => write!(formatter, "the last layer is {is}, not {must}"),
            Self::Layer(error) => write!(formatter, "{error}"),
            Self::Layers(count) => write!(formatter, "number of layers must be 2 but got {count}"),
            Self::NoModule { are } => {
                write!(formatter, "no layer is {WASM_LAYER}; they are {}", are.join(" and "))
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Compat => "OCI image",
            Self::Docker => "Docker image",
            Self::Artifact => "artifact",
        })
    }
}

#[cfg(test)]
mod tests;
