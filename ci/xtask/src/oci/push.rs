//! Images into a registry; a version that is there stays what it is.

use anyhow::{Result, bail};
use oci::{Image, Remote, reference};

use super::build::{Options, build};
use super::meter::Meter;
use crate::workspace::{Plugin, Workspace};

struct Push {
    name: String,
    to: String,
    image: Image,
    remote: Remote,
    there: Option<String>,
}

pub fn push(workspace: &Workspace, plugins: &[&Plugin], options: &Options, force: bool) -> Result<()> {
    let mut pushes = Vec::new();
    for plugin in plugins {
        let image = build(workspace, plugin, options)?;
        let to = options.reference(workspace, plugin);
        let remote = Remote::open(reference(&to)?)?;
        let there = remote.digest()?;
        pushes.push(Push { name: plugin.name.clone(), to, image, remote, there });
    }
    // Before anything is sent: a release is all of its plugins or none.
    let taken: Vec<String> = pushes.iter().filter_map(Push::taken).collect();
    if !taken.is_empty() && !force {
        bail!("{}", taken.join("\n"));
    }
    pushes.iter().try_for_each(Push::send)
}

impl Push {
    fn taken(&self) -> Option<String> {
        let there = self.there.as_ref().filter(|there| *there != self.image.digest())?;
        Some(format!(
            "{} is there already, with another digest\n  there  {there}\n  here   {}\n  \
             a version that was released does not change: raise it in plugins/{}/Cargo.toml. With --force the tag \
             is overwritten, and proxies that have pulled it keep what they have",
            self.to,
            self.image.digest(),
            self.name,
        ))
    }

    fn send(&self) -> Result<()> {
        let Self { name, to, image, remote, there } = self;
        if there.as_deref() == Some(image.digest()) {
            println!("{name}: there already\n  url: oci://{to}@{}", image.digest());
            return Ok(());
        }
        for blob in &image.blobs {
            if !remote.has(blob)? {
                let meter = Meter::start(name, blob);
                remote.send(blob, meter.counter())?;
            }
        }
        remote.publish(&image.manifest)?;
        match remote.digest()? {
            Some(digest) if digest == image.digest() => {}
            other => bail!("{to} leads to {other:?} after it was pushed; it must lead to {}", image.digest()),
        }
        println!("{name}: pushed\n  url: oci://{to}@{}", image.digest());
        Ok(())
    }
}
