//! The module out of an image, in either form.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use oci::{Remote, judge, reference};

use super::build::size;
use crate::workspace::Workspace;

pub fn pull(workspace: &Workspace, from: &str, to: Option<PathBuf>) -> Result<()> {
    let remote = Remote::open(reference(from)?)?;
    let document = remote.get()?;
    let accepted = match judge(&remote, &document, remote.reference().digest())? {
        Ok(accepted) => accepted,
        Err(refused) => bail!("{from}: {refused}; right would be {}", refused.remedy()),
    };
    let to = to.unwrap_or_else(|| {
        let name = remote.reference().repository().rsplit('/').next().unwrap_or_default();
        workspace.root.join("dist/pulled").join(name).with_extension("wasm")
    });
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&to, &accepted.wasm).with_context(|| to.display().to_string())?;
    println!("{}", to.strip_prefix(&workspace.root).unwrap_or(&to).display());
    println!("  {} out of the {} {}", size(accepted.wasm.len() as u64), accepted.shape, accepted.digest);
    Ok(())
}
