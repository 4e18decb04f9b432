//! The way of a plugin's bytes: into an image, into a real registry, out of it, into Envoy.

mod publishing;

use std::fs;
use std::path::Path;

use harness::demo::serve;
use harness::{Client, Message, Registry, Reply, Upstream, chain, plugins, workspace_root};
use oci::archive::{gzip, tar};
use oci::document::{OCI_INDEX, OCI_LAYER, WASM_CONFIG, WASM_LAYER};
use oci::{About, Blob, Form, Image};
use plugin_cases::{Host, load_tour};
use publishing::{Xtask, config_json, send, send_layers};
use serde_json::json;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

fn digest_of(plugin: &str) -> String {
    let file = workspace_root().join("dist").join(plugin).join("image/digest");
    fs::read_to_string(file).unwrap().trim().to_owned()
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

#[test]
fn every_plugin_is_published_and_runs_from_the_bytes_that_are_pulled() {
    let registry = Registry::start().unwrap();
    let host = format!("{}/wasm-plugins", registry.address());
    let xtask = Xtask::alone();
    let listed = xtask.run(&["list", "--registry", &host]).success();
    assert_eq!(listed.matches("not published").count(), plugins().unwrap().len(), "{listed}");
    xtask.run(&["push", "--registry", &host]).success();
    let listed = xtask.run(&["list", "--registry", &host]).success();

    let mut chain = chain().unwrap();
    let names: Vec<String> = chain.iter().map(|link| link.plugin.name.clone()).collect();
    let digests: Vec<String> = names.iter().map(|name| digest_of(name)).collect();
    xtask.run(&[&["image"], &strs(&names)[..]].concat()).success();
    assert_eq!(
        digests,
        names.iter().map(|name| digest_of(name)).collect::<Vec<_>>(),
        "a second image is another"
    );

    let directory = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (link, digest) in chain.iter_mut().zip(&digests) {
        let name = &link.plugin.name;
        assert!(listed.contains(digest), "{name} {digest} is not in\n{listed}");
        let pinned = format!("{host}/{name}@{digest}");
        let pulled = directory.path().join(name).with_extension("wasm");
        xtask.run(&["pull", &pinned, "-o", &pulled.to_string_lossy()]).success();
        assert_eq!(fs::read(&pulled).unwrap(), fs::read(&link.module).unwrap(), "{name}");
        link.module = pulled;
        images.extend([format!("oci://{pinned}"), format!("dist/{name}/image")]);
    }
    let verified = xtask.run(&[&["verify-image"], &strs(&images)[..]].concat()).success();
    for (image, digest) in images.iter().zip(digests.iter().flat_map(|digest| [digest, digest])) {
        let expected = format!("✓ {image}: accepted, OCI image\n  digest  {digest}\n");
        assert!(verified.contains(&expected), "{expected} is not in\n{verified}");
    }

    let upstream = Upstream::start().unwrap();
    let (envoy, _services) = serve(&chain, 0, &upstream).unwrap();
    let client = Client::new(envoy.address("demo"));
    for link in chain.iter().filter(|link| link.plugin.tour_yaml().is_file()) {
        let tour = load_tour(&link.plugin.tour_yaml()).unwrap();
        let outcome = tour.iter().find_map(|case| {
            case.run(Host::Envoy, |case| {
                upstream.exchange(&client, &Message::from(&case.request), Reply::from(&case.answer))
            })
        });
        outcome.unwrap_or_else(|| panic!("{}: no case of its tour is for Envoy", link.plugin.name)).unwrap();
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_version_that_is_there_is_overwritten_only_by_force() {
    let registry = Registry::start().unwrap();
    let xtask = Xtask::alone();
    let name = &plugins().unwrap()[0].name;
    let push =
        |flags: &[&str]| xtask.run(&[&["push", name, "--registry", registry.address()], flags].concat());
    push(&[]).success();
    let image = digest_of(name);
    assert!(push(&[]).success().contains("there already"));

    let error = push(&["--artifact"]).failure();
    let artifact = digest_of(name);
    for part in ["is there already, with another digest", &image, &artifact, "raise it in", "--force"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(xtask.run(&["list", "--registry", registry.address()]).success().contains(&image));

    push(&["--artifact", "--force"]).success();
    assert!(xtask.run(&["list", "--registry", registry.address()]).success().contains(&artifact));
    let (tag, module) =
        (format!("{}/{name}:0.1.0", registry.address()), tempfile::NamedTempFile::new().unwrap());
    let pulled = xtask.run(&["pull", &tag, "-o", &module.path().to_string_lossy()]).success();
    assert!(pulled.contains(&format!("out of the artifact {artifact}")), "{pulled}");
    let built = workspace_root().join("dist").join(name).join("plugin.wasm");
    assert_eq!(fs::read(module.path()).unwrap(), fs::read(built).unwrap());
    // What other tests and manifests pin.
    xtask.run(&["image", name]).success();
    assert_eq!(digest_of(name), image);
}

#[test]
fn what_istio_would_not_take_is_refused_with_the_reason() {
    let registry = Registry::start().unwrap();
    let repository = format!("{}/shapes", registry.address());
    let wasm = || Blob::new(WASM_LAYER, WASM.to_vec());
    let host = || Blob::new(WASM_CONFIG, b"{}".to_vec());
    let archive = |name| gzip(&tar(name, WASM).unwrap()).unwrap();
    let shapes = [
        ("one-layer", vec![wasm()], "number of layers must be 2 but got 1"),
        ("three-layers", vec![host(), host(), wasm()], "number of layers must be 2 but got 3"),
        (
            "cncf",
            vec![Blob::new("application/wasm", WASM.to_vec())],
            "the last layer is application/wasm, not application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        (
            "zstd",
            vec![Blob::new("application/vnd.oci.image.layer.v1.tar+zstd", archive("plugin.wasm"))],
            "the last layer is application/vnd.oci.image.layer.v1.tar+zstd, not",
        ),
        (
            "file-name",
            vec![Blob::new(OCI_LAYER, archive("filter.wasm"))],
            "plugin.wasm is not in the layer, which has filter.wasm",
        ),
        (
            "gzip",
            vec![host(), Blob::new(WASM_LAYER, gzip(WASM).unwrap())],
            "what is fetched from the artifact is no WebAssembly, but a gzip",
        ),
    ];
    let mut expected = Vec::new();
    for (tag, layers, reason) in shapes {
        let reference = format!("{repository}:{tag}");
        send_layers(&reference, layers);
        expected.push((reference, reason));
    }

    let good = Image::new(WASM, &About::default(), Form::Compat).unwrap();
    send(&format!("{repository}@{}", good.digest()), &good.manifest, &good.blobs);
    let mut entry = serde_json::to_value(good.manifest.descriptor()).unwrap();
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    let index = Blob::new(OCI_INDEX, index.to_string().into_bytes());
    let by_tag = format!("{repository}:index");
    send(&by_tag, &index, &[]);
    expected.push((format!("{repository}@{}", index.digest), "checksum mismatch: the digest is an index's"));

    let xtask = Xtask::new();
    let references: Vec<String> = expected.iter().map(|(reference, _)| reference.clone()).collect();
    let said = xtask.run(&[&["verify-image"], &strs(&references)[..]].concat()).failure();
    for (reference, reason) in &expected {
        let line = said.lines().find(|line| line.starts_with(&format!("✗ {reference}: ")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{reference}: {reason}\n{said}");
    }
    assert_eq!(said.matches("  right would be: ").count(), 7, "{said}");
    assert!(said.contains(&format!("the manifest in the index, @{}", good.digest())), "{said}");

    assert!(xtask.run(&["verify-image", &by_tag]).success().contains(good.digest()));
    let error = xtask.run(&["pull", &references[0]]).failure();
    assert!(error.contains("number of layers must be 2 but got 1"), "{error}");
    let absent = xtask.run(&["verify-image", &format!("{repository}:absent")]).failure();
    assert!(absent.contains(&format!("there is no {repository}:absent")), "{absent}");
}

/// `htpasswd -B` of ci and secret.
const USER: &str = "ci:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
const SECRET: &str = "Y2k6c2VjcmV0";
const WRONG: &str = "Y2k6d3Jvbmc=";

#[test]
fn credentials_are_dockers_and_an_error_says_where_they_were_looked_for() {
    let registry = Registry::start_for(USER).unwrap();
    let address = registry.address();
    let name = &plugins().unwrap()[0].name;
    let push =
        |config: &Path| Xtask::alone().docker_config(config).run(&["push", name, "--registry", address]);
    let refused = format!("{address} does not let us into {name}; it was asked");

    let nothing = tempfile::tempdir().unwrap();
    let error = push(nothing.path()).failure();
    assert!(
        error.contains(&format!("{refused} anonymously: there is no {}", nothing.path().display())),
        "{error}"
    );
    let others = config_json(&json!({"auths": {"ghcr.io": {"auth": SECRET}}}));
    let error = push(others.path()).failure();
    assert!(error.contains(&format!("config.json has no {address}")), "{error}");
    let wrong = config_json(&json!({"auths": {address: {"auth": WRONG}}}));
    let error = push(wrong.path()).failure();
    assert!(error.contains(&format!("{refused} as ci, with the credentials of")), "{error}");
    assert!(error.contains(&format!("`docker login {address}`")), "{error}");

    let right = config_json(&json!({"auths": {address: {"auth": SECRET}}}));
    push(right.path()).success();
    let helped = config_json(&json!({"credHelpers": {address: "test"}}));
    let helper = helped.path().join("docker-credential-test");
    fs::write(&helper, "#!/bin/sh\ncat >/dev/null\necho '{\"Username\": \"ci\", \"Secret\": \"secret\"}'\n")
        .unwrap();
    publishing::make_executable(&helper);
    let said =
        Xtask::alone().docker_config(helped.path()).run(&["push", name, "--registry", address]).success();
    assert!(said.contains("there already"), "{said}");
}
