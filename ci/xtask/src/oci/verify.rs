//! Whether Istio would take a plugin from an image, and Envoy the module.

use std::path::Path;

use anyhow::{Result, bail};
use oci::{Accepted, Layout, Refused, Remote, Store, judge, reference};

use super::build::size;
use crate::check;

/// Says of each image, by reference or as a layout, what would become of it.
pub fn verify(images: &[String]) -> Result<()> {
    let mut refused = Vec::new();
    for image in images {
        match judged(image)? {
            Ok(accepted) => match check::missing_imports(&accepted.wasm) {
                Ok(missing) if missing.is_empty() => accept(image, &accepted),
                Ok(missing) => refused.push(refuse(
                    image,
                    &format!("the module {}", missing.join("; ")),
                    "a module that `just check-wasm` lets pass",
                )),
                Err(error) => refused.push(refuse(
                    image,
                    &format!("the module is no whole WebAssembly: {error}"),
                    "a module that `just check-wasm` lets pass",
                )),
            },
            Err(why) => refused.push(refuse(image, &why.to_string(), &why.remedy())),
        }
    }
    if !refused.is_empty() {
        bail!("refused: {}", refused.join(", "));
    }
    Ok(())
}

fn judged(image: &str) -> Result<Result<Accepted, Refused>> {
    if let Some(layout) = Layout::at(Path::new(image)) {
        let digest = layout.digest()?;
        return judge(&layout, &layout.document(&digest)?, None);
    }
    if Path::new(image).is_dir() {
        bail!("{image} is a directory, and no layout: there is no index.json in it");
    }
    let remote = Remote::open(reference(image)?)?;
    judge(&remote, &remote.get()?, remote.reference().digest())
}

fn accept(image: &str, Accepted { shape, digest, wasm }: &Accepted) {
    println!("✓ {image}: accepted, {shape}");
    println!("  digest  {digest}");
    println!("  module  {}, WebAssembly, imports only what Envoy has", size(wasm.len() as u64));
}

fn refuse(image: &str, why: &str, right: &str) -> String {
    println!("✗ {image}: {why}");
    println!("  right would be: {right}");
    image.to_owned()
}
