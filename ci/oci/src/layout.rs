//! An OCI image layout: an image as a directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::document::{Document, OCI_INDEX, digest};
use crate::image::Image;
use crate::rules::Store;

/// Where [`write`] leaves the image's digest, for whoever pins it.
pub const DIGEST: &str = "digest";

/// Replaces `directory` by the layout of `image`.
pub fn write(directory: &Path, image: &Image, tag: &str) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", directory.display()));
        }
        _ => {}
    }
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    for blob in image.blobs.iter().chain([&image.manifest]) {
        fs::write(blobs.join(hex(&blob.digest)?), &blob.bytes)?;
    }
    let mut entry = image.manifest.descriptor();
    entry.annotations.insert("org.opencontainers.image.ref.name".into(), tag.into());
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    fs::write(directory.join("index.json"), index.to_string())?;
    fs::write(directory.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    fs::write(directory.join(DIGEST), format!("{}\n", image.digest()))?;
    Ok(())
}

/// A layout to read.
#[derive(Clone, Debug)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// The layout in `directory`, if that is one.
    pub fn at(directory: &Path) -> Option<Self> {
        directory.join("index.json").is_file().then(|| Self { directory: directory.to_owned() })
    }

    /// The one image, by its digest.
    pub fn digest(&self) -> Result<String> {
        let path = self.directory.join("index.json");
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let Document::Index(index) = Document::parse(&bytes).with_context(|| path.display().to_string())?
        else {
            bail!("{}: must have `manifests`, as the index of a layout", path.display());
        };
        match &index.manifests[..] {
            [one] => Ok(one.digest.clone()),
            several => bail!(
                "{}: has {} images; a plugin's layout has one, and no index of platforms",
                path.display(),
                several.len()
            ),
        }
    }
}

impl Store for Layout {
    fn document(&self, digest: &str) -> Result<Vec<u8>> {
        self.blob(digest)
    }

    fn blob(&self, named: &str) -> Result<Vec<u8>> {
        let path = self.directory.join("blobs/sha256").join(hex(named)?);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let is = digest(&bytes);
        ensure!(is == named, "{}: its content has the digest {is}", path.display());
        Ok(bytes)
    }
}

fn hex(digest: &str) -> Result<&str> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    hex.with_context(|| format!("{digest:?} is no digest; it must be sha256: and 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{About, Form};
    use crate::rules::judge;

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    fn written(form: Form) -> (tempfile::TempDir, Image) {
        let directory = tempfile::tempdir().unwrap();
        let image = Image::new(WASM, &About::default(), form).unwrap();
        write(directory.path(), &image, "1.0.0").unwrap();
        (directory, image)
    }

    #[test]
    fn what_is_written_is_accepted() {
        for form in [Form::Compat, Form::Artifact] {
            let (directory, image) = written(form);
            let layout = Layout::at(directory.path()).unwrap();
            let digest = layout.digest().unwrap();
            assert_eq!(digest, image.digest());
            assert_eq!(fs::read_to_string(directory.path().join(DIGEST)).unwrap(), format!("{digest}\n"));
            let document = layout.document(&digest).unwrap();
            let accepted = judge(&layout, &document, Some(&digest)).unwrap().unwrap();
            assert_eq!((accepted.wasm, accepted.digest), (WASM.to_vec(), digest));
        }
    }

    #[test]
    fn an_image_replaces_the_one_before() {
        let (directory, _) = written(Form::Artifact);
        let image = Image::new(WASM, &About::default(), Form::Compat).unwrap();
        write(directory.path(), &image, "1.0.0").unwrap();
        assert_eq!(Layout::at(directory.path()).unwrap().digest().unwrap(), image.digest());
        assert_eq!(fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 3);
    }

    #[test]
    fn a_changed_blob_is_noticed() {
        let (directory, image) = written(Form::Compat);
        let blob = directory.path().join("blobs").join(image.digest().replace(':', "/"));
        fs::write(&blob, "{}").unwrap();
        let error = Layout::at(directory.path()).unwrap().document(image.digest()).unwrap_err().to_string();
        assert!(error.contains("its content has the digest sha256:44136fa3"), "{error}");
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let (directory, _) = written(Form::Compat);
        let error = Layout::at(directory.path()).unwrap().blob("sha256:../../../secret").unwrap_err();
        assert!(error.to_string().contains("is no digest"), "{error}");
    }
}
