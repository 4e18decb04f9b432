//! A plugin's image: one manifest, no index, and nothing in it that a second build would change.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use crate::archive;
use crate::document::{
    Descriptor, Manifest, OCI_CONFIG, OCI_EMPTY, OCI_LAYER, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER, digest,
};

/// The two forms that Istio takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What `FROM scratch` and `COPY plugin.wasm ./` make: every registry and every Istio takes it.
    Compat,
    /// Two layers of their own types, as ORAS pushes them.
    Artifact,
}

/// What an image says of itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The plugin's name, which is also its `pluginName`.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// The release.
    pub version: String,
    /// As SPDX writes them.
    pub licenses: Option<String>,
    /// Where the source is.
    pub source: Option<String>,
}

/// Bytes with a type and a name.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is.
    pub media_type: &'static str,
    /// `sha256:` and 64 digits.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// An image, whole.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its digest is the image's.
    pub manifest: Blob,
    /// The configuration, then the layers.
    pub blobs: Vec<Blob>,
}

impl Blob {
    /// Names `bytes`.
    pub fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: digest(&bytes), bytes }
    }

    /// Write keys in alphabetical order: serde_json keeps the order or sorts, as another crate's features have it.
    fn json(media_type: &'static str, value: &serde_json::Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    /// What refers to it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.into(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
            ..Descriptor::default()
        }
    }

    fn file(&self, name: &str) -> Descriptor {
        let annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), name.to_owned())]);
        Descriptor { annotations, ..self.descriptor() }
    }
}

impl Image {
    /// The image of a module.
    pub fn new(wasm: &[u8], about: &About, form: Form) -> Result<Self> {
        match form {
            Form::Compat => Self::compat(wasm, about),
            Form::Artifact => Self::artifact(wasm, about),
        }
    }

    fn compat(wasm: &[u8], about: &About) -> Result<Self> {
        let tar = archive::tar(archive::FILE, wasm)?;
        let layer = Blob::new(OCI_LAYER, archive::gzip(&tar)?);
        // Istio's fetcher asks an index for linux/amd64 wherever it runs; other tools read it here.
        let config = json!({
            "architecture": "amd64",
            "config": {},
            "os": "linux",
            "rootfs": {"diff_ids": [digest(&tar)], "type": "layers"},
        });
        let config = Blob::json(OCI_CONFIG, &config);
        let mut annotations = about.annotations();
        annotations.insert("module.wasm.image/variant".into(), "compat".into());
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.into()),
            artifact_type: None,
            config: Some(config.descriptor()),
            layers: vec![layer.descriptor()],
            annotations,
        };
        Self::of(&manifest, vec![config, layer])
    }

    fn artifact(wasm: &[u8], about: &About) -> Result<Self> {
        let host = json!({
            "abiVersions": ["v0.2.1"],
            "config": {"root_ids": [about.title]},
            "type": "envoy_proxy",
        });
        let empty = Blob::new(OCI_EMPTY, b"{}".to_vec());
        let host = Blob::json(WASM_CONFIG, &host);
        let module = Blob::new(WASM_LAYER, wasm.to_vec());
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.into()),
            artifact_type: Some(WASM_CONFIG.into()),
            config: Some(empty.descriptor()),
            // With these names `oras pull` writes files.
            layers: vec![host.file("runtime-config.json"), module.file(archive::FILE)],
            annotations: about.annotations(),
        };
        Self::of(&manifest, vec![empty, host, module])
    }

    fn of(manifest: &Manifest, blobs: Vec<Blob>) -> Result<Self> {
        Ok(Self { manifest: Blob::new(OCI_MANIFEST, serde_json::to_vec(manifest)?), blobs })
    }

    /// What a `WasmPlugin` pins.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }
}

impl About {
    /// No `created` and no `revision`: the same module of another day or another commit is the same image.
    fn annotations(&self) -> BTreeMap<String, String> {
        let Self { title, description, version, licenses, source } = self;
        let all = [
            ("title", Some(title)),
            ("description", Some(description)),
            ("version", Some(version)),
            ("licenses", licenses.as_ref()),
            ("source", source.as_ref()),
        ];
        let said = all.into_iter().filter_map(|(key, value)| Some((key, value?)));
        said.filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    fn about() -> About {
        About {
            title: "cors-guard".into(),
            description: "Guards.".into(),
            version: "1.2.3".into(),
            licenses: Some("Apache-2.0".into()),
            source: None,
        }
    }

    fn manifest(image: &Image) -> Value {
        serde_json::from_slice(&image.manifest.bytes).unwrap()
    }

    // They change with flate2, with tar and with the order of a key, and then so would the digest of every release.
    #[test]
    fn the_digests_are_what_they_always_were() {
        for (form, digest) in [
            (Form::Compat, "sha256:13019e080a80ffec8eb257f6e396775855593669d10b4bd6b2169c28bb3f0e46"),
            (Form::Artifact, "sha256:7b1b368471de4b8671cef87728fd3a1f0480b10d5cb87107a1d4dc18eb59a180"),
        ] {
            assert_eq!(Image::new(WASM, &about(), form).unwrap().digest(), digest, "{form:?}");
        }
    }

    #[test]
    fn an_image_says_what_it_is() {
        let image = Image::new(WASM, &about(), Form::Compat).unwrap();
        let annotations = json!({
            "module.wasm.image/variant": "compat",
            "org.opencontainers.image.description": "Guards.",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": "cors-guard",
            "org.opencontainers.image.version": "1.2.3",
        });
        assert_eq!(manifest(&image)["annotations"], annotations);
    }

    #[test]
    fn an_artifact_has_the_layers_that_oras_would_push() {
        let manifest = manifest(&Image::new(WASM, &about(), Form::Artifact).unwrap());
        assert_eq!(manifest["artifactType"], WASM_CONFIG);
        let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().collect();
        assert_eq!([&layers[0]["mediaType"], &layers[1]["mediaType"]], [WASM_CONFIG, WASM_LAYER]);
        assert_eq!(layers[1]["annotations"]["org.opencontainers.image.title"], "plugin.wasm");
    }

    #[test]
    fn the_configuration_names_the_layer_as_it_is_unpacked() {
        let image = Image::new(WASM, &about(), Form::Compat).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&image.blobs[0].bytes).unwrap();
        let tar = archive::tar("plugin.wasm", WASM).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&tar));
        assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    }
}
