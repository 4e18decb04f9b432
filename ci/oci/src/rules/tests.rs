//! Every shape that was measured with Istio's own fetcher.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Value, json};

use super::*;
use crate::archive::{gzip, tar};
use crate::document::{DOCKER_LIST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};

const WASM: &[u8] = b"\0asm\x01\0\0\0";
const CNCF: &str = "application/wasm";
const CNCF_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Default)]
struct Memory(HashMap<String, Vec<u8>>);

impl Store for Memory {
    fn document(&self, digest: &str) -> Result<Vec<u8>> {
        self.blob(digest)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        self.0.get(digest).cloned().with_context(|| digest.to_owned())
    }
}

impl Memory {
    fn put(&mut self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.0.insert(digest.clone(), bytes.to_vec());
        digest
    }

    fn manifest(&mut self, media_type: Option<&str>, layers: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let layers: Vec<Value> = layers
            .iter()
            .map(|(media_type, bytes)| {
                json!({"mediaType": media_type, "digest": self.put(bytes), "size": bytes.len()})
            })
            .collect();
        let config = json!({"mediaType": OCI_EMPTY, "digest": self.put(b"{}"), "size": 2});
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        if let Some(media_type) = media_type {
            manifest["mediaType"] = media_type.into();
        }
        manifest.to_string().into_bytes()
    }

    /// An index of one image, which is good, for each of these platforms.
    fn index(&mut self, platforms: &[Option<&str>]) -> Vec<u8> {
        let manifests: Vec<Value> = platforms
            .iter()
            .map(|platform| {
                let name = platform.unwrap_or_default();
                let manifest = self.manifest(None, &[(TAR, name.into()), (OCI_LAYER, layer("plugin.wasm"))]);
                let digest = self.put(&manifest);
                let mut entry = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len()});
                if let Some((os, architecture)) = platform.and_then(|platform| platform.split_once('/')) {
                    entry["platform"] = json!({"os": os, "architecture": architecture});
                }
                entry
            })
            .collect();
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string().into_bytes()
    }

    fn judge(&self, document: &[u8], pinned: Option<&str>) -> Result<Accepted, Refused> {
        judge(self, document, pinned).unwrap()
    }
}

fn layer(file: &str) -> Vec<u8> {
    gzip(&tar(file, WASM).unwrap()).unwrap()
}

fn verdict(media_type: Option<&str>, layers: &[(&str, Vec<u8>)]) -> Result<Shape, String> {
    let mut memory = Memory::default();
    let manifest = memory.manifest(media_type, layers);
    memory
        .judge(&manifest, None)
        .map(|accepted| {
            assert_eq!(accepted.wasm, WASM);
            assert_eq!(accepted.digest, digest(&manifest));
            accepted.shape
        })
        .map_err(|refused| refused.to_string())
}

fn wasm() -> (&'static str, Vec<u8>) {
    (WASM_LAYER, WASM.to_vec())
}

fn other() -> (&'static str, Vec<u8>) {
    ("application/json", b"{}".to_vec())
}

#[test]
fn an_artifact_has_two_layers_in_any_order() {
    for layers in [[wasm(), other()], [other(), wasm()], [wasm(), wasm()], [wasm(), (CNCF, b"x".to_vec())]] {
        assert_eq!(verdict(Some(OCI_MANIFEST), &layers), Ok(Shape::Artifact), "{layers:?}");
    }
    // The last layer is looked into first, and having no plugin.wasm it does not matter.
    assert_eq!(verdict(None, &[wasm(), (OCI_LAYER, layer("other"))]), Ok(Shape::Artifact));
}

#[test]
fn an_artifact_of_one_or_three_layers_is_refused() {
    for (layers, count) in [(vec![wasm()], 1), (vec![other(), other(), wasm()], 3)] {
        let error = verdict(Some(OCI_MANIFEST), &layers).unwrap_err();
        let expected = format!(
            "as an image: the last layer is {WASM_LAYER}, not {OCI_LAYER}; \
             as an artifact: number of layers must be 2 but got {count}"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn a_compressed_module_in_an_artifact_is_fetched_and_then_dropped() {
    let layers = [other(), (WASM_LAYER, gzip(WASM).unwrap())];
    let error = verdict(Some(OCI_MANIFEST), &layers).unwrap_err();
    assert_eq!(error, "what is fetched from the artifact is no WebAssembly, but a gzip");
}

#[test]
fn what_is_called_plugin_wasm_must_be_webassembly() {
    for content in [&b"<!doctype html>"[..], b"\0asm\x01", b""] {
        let layers = [(OCI_LAYER, gzip(&tar("plugin.wasm", content).unwrap()).unwrap())];
        let error = verdict(None, &layers).unwrap_err();
        assert_eq!(error, "what is fetched from the OCI image is no WebAssembly");
    }
}

#[test]
fn the_layout_of_the_cncf_is_refused() {
    let error = verdict(Some(OCI_MANIFEST), &[(CNCF, WASM.to_vec())]).unwrap_err();
    assert!(error.starts_with("as an image: the last layer is application/wasm, not"), "{error}");
    let two = [(CNCF_CONFIG, b"{}".to_vec()), (CNCF, WASM.to_vec())];
    let error = verdict(Some(OCI_MANIFEST), &two).unwrap_err();
    assert!(
        error.ends_with(&format!("no layer is {WASM_LAYER}; they are {CNCF_CONFIG} and {CNCF}")),
        "{error}"
    );
}

#[test]
fn an_image_has_plugin_wasm_in_its_last_layer() {
    for name in ["plugin.wasm", "./plugin.wasm", "opt/plugin.wasm"] {
        for media_type in [None, Some(OCI_MANIFEST)] {
            assert_eq!(verdict(media_type, &[(OCI_LAYER, layer(name))]), Ok(Shape::Compat), "{name}");
        }
    }
    let layers = [(ZSTD, b"base".to_vec()), (TAR, b"base".to_vec()), (OCI_LAYER, layer("plugin.wasm"))];
    assert_eq!(verdict(None, &layers), Ok(Shape::Compat));
}

#[test]
fn an_image_with_the_plugin_elsewhere_is_refused() {
    for layers in [
        vec![(OCI_LAYER, layer("filter.wasm"))],
        vec![(OCI_LAYER, layer("plugin.wasm")), (OCI_LAYER, layer("etc/passwd"))],
        vec![(OCI_LAYER, layer("plugin.wasm/filter.wasm"))],
    ] {
        let error = verdict(None, &layers).unwrap_err();
        assert!(error.starts_with("as an image: plugin.wasm is not in the layer, which has"), "{error}");
    }
}

#[test]
fn an_image_compressed_otherwise_is_refused() {
    for media_type in [ZSTD, TAR] {
        let error = verdict(None, &[(media_type, layer("plugin.wasm"))]).unwrap_err();
        assert!(error.starts_with(&format!("as an image: the last layer is {media_type}, not")), "{error}");
    }
    let error = verdict(None, &[(OCI_LAYER, tar("plugin.wasm", WASM).unwrap())]).unwrap_err();
    assert!(error.starts_with("as an image: the layer is not compressed with gzip"), "{error}");
}

#[test]
fn an_image_without_layers_is_refused() {
    let error = verdict(None, &[]).unwrap_err();
    assert_eq!(error, "as an image: it has no layers; as an artifact: number of layers must be 2 but got 0");
}

#[test]
fn a_docker_image_says_that_it_is_one_and_has_dockers_layers() {
    let docker = (DOCKER_LAYER, layer("plugin.wasm"));
    let oci = (OCI_LAYER, layer("plugin.wasm"));
    assert_eq!(verdict(Some(DOCKER_MANIFEST), std::slice::from_ref(&docker)), Ok(Shape::Docker));
    let error = verdict(Some(DOCKER_MANIFEST), &[oci]).unwrap_err();
    assert_eq!(error, format!("as a Docker image: the last layer is {OCI_LAYER}, not {DOCKER_LAYER}"));
    for media_type in [None, Some(OCI_MANIFEST)] {
        let error = verdict(media_type, std::slice::from_ref(&docker)).unwrap_err();
        assert!(error.starts_with(&format!("as an image: the last layer is {DOCKER_LAYER}, not")), "{error}");
    }
    assert!(verdict(Some(DOCKER_MANIFEST), &[other(), wasm()]).is_err(), "no artifact either");
}

#[test]
fn an_index_is_followed_to_linux_amd64_when_a_tag_leads_to_it() {
    for platforms in [
        vec![Some("linux/amd64")],
        vec![None],
        vec![Some("linux/arm64"), Some("linux/amd64"), Some("unknown/unknown")],
    ] {
        let mut memory = Memory::default();
        let index = memory.index(&platforms);
        let accepted = memory.judge(&index, None).unwrap();
        assert_ne!(accepted.digest, digest(&index));
        assert!(memory.0.contains_key(&accepted.digest), "the digest is the manifest's");
    }
}

#[test]
fn an_index_pinned_by_its_own_digest_is_refused_and_the_right_digest_named() {
    let mut memory = Memory::default();
    let index = memory.index(&[Some("linux/amd64")]);
    let manifest = memory.judge(&index, None).unwrap().digest;
    let refused = memory.judge(&index, Some(&digest(&index))).unwrap_err();
    assert_eq!(refused, Refused::PinnedIndex { manifest: manifest.clone() });
    assert!(refused.remedy().ends_with(&manifest), "{}", refused.remedy());
    // In `sha256:` of the WasmPlugin, beside a tag.
    assert!(memory.judge(&index, Some(&manifest)).is_ok());
}

#[test]
fn an_index_without_linux_amd64_is_refused() {
    let mut memory = Memory::default();
    let index = memory.index(&[Some("linux/arm64"), Some("wasip1/wasm")]);
    let refused = memory.judge(&index, None).unwrap_err().to_string();
    assert_eq!(refused, "the index has no child with platform linux/amd64, only linux/arm64, wasip1/wasm");
    let empty = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}).to_string();
    assert!(memory.judge(empty.as_bytes(), None).is_err());
}

#[test]
fn a_manifest_pinned_by_its_digest_is_accepted() {
    let mut memory = Memory::default();
    let manifest = memory.manifest(Some(OCI_MANIFEST), &[(OCI_LAYER, layer("plugin.wasm"))]);
    assert!(memory.judge(&manifest, Some(&digest(&manifest))).is_ok());
}

#[test]
fn what_is_no_manifest_is_refused() {
    for document in ["", "<html>", "[]", r#"{"layers": 1}"#, r#"{"manifests": 1}"#] {
        let refused = Memory::default().judge(document.as_bytes(), None).unwrap_err();
        assert!(!refused.to_string().is_empty(), "{document}");
    }
}

#[test]
fn every_refusal_says_what_would_be_right() {
    let mut memory = Memory::default();
    for layers in
        [vec![wasm()], vec![(OCI_LAYER, layer("x"))], vec![other(), (WASM_LAYER, gzip(WASM).unwrap())]]
    {
        let manifest = memory.manifest(None, &layers);
        assert!(!memory.judge(&manifest, None).unwrap_err().remedy().is_empty());
    }
}
