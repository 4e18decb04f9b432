//! A layer: `plugin.wasm` in a tar in a gzip, the same bytes on every machine and every day.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

/// The file that Istio looks for, in whatever directory.
pub const FILE: &str = "plugin.wasm";

/// Why there is no module in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Its media type notwithstanding.
    NotGzip(String),
    /// There is a gzip, and something else in it, or a half of it.
    NotTar(String),
    /// Other files, if any.
    NoPlugin {
        /// Their names.
        holds: Vec<String>,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGzip(error) => write!(formatter, "the layer is not compressed with gzip: {error}"),
            Self::NotTar(error) => write!(formatter, "the layer is not a whole tar: {error}"),
            Self::NoPlugin { holds } if holds.is_empty() => {
                write!(formatter, "{FILE} is not in the layer, which is empty")
            }
            Self::NoPlugin { holds } => {
                write!(formatter, "{FILE} is not in the layer, which has {}", holds.join(", "))
            }
        }
    }
}

/// A tar with the file `name`.
pub fn tar(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, content)?;
    tar.into_inner()
}

/// A gzip that names no file, no time and no operating system.
pub fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(9));
    gzip.write_all(content)?;
    gzip.finish()
}

/// The first `plugin.wasm` of a layer.
pub fn plugin(layer: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut gzip = MultiGzDecoder::new(layer);
    if let Err(error) = gzip.read(&mut []) {
        return Err(Unreadable::NotGzip(error.to_string()));
    }
    if gzip.header().is_none() {
        return Err(Unreadable::NotGzip("there is no gzip header".into()));
    }
    let not_tar = |error: io::Error| Unreadable::NotTar(error.to_string());
    let mut archive = tar::Archive::new(gzip);
    let mut holds = Vec::new();
    for entry in archive.entries().map_err(not_tar)? {
        let mut entry = entry.map_err(not_tar)?;
        let path = entry.path().map_err(not_tar)?.into_owned();
        if path.file_name().is_some_and(|name| name == FILE) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(not_tar)?;
            return Ok(content);
        }
        holds.push(path.display().to_string());
    }
    Err(Unreadable::NoPlugin { holds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str) -> Vec<u8> {
        gzip(&tar(name, b"module").unwrap()).unwrap()
    }

    #[test]
    fn the_plugin_is_found_in_any_directory() {
        for name in ["plugin.wasm", "./plugin.wasm", "opt/filters/plugin.wasm"] {
            assert_eq!(plugin(&layer(name)).unwrap(), b"module", "{name}");
        }
    }

    #[test]
    fn what_a_layer_has_instead_is_named() {
        let error = plugin(&layer("filter.wasm")).unwrap_err().to_string();
        assert_eq!(error, "plugin.wasm is not in the layer, which has filter.wasm");
    }

    #[test]
    fn a_layer_that_is_no_gzip_or_no_tar_is_told_apart() {
        let bare = tar("plugin.wasm", b"module").unwrap();
        assert!(matches!(plugin(&bare), Err(Unreadable::NotGzip(_))));
        assert!(matches!(plugin(b""), Err(Unreadable::NotGzip(_))));
        assert!(matches!(plugin(&gzip(&[b'x'; 600]).unwrap()), Err(Unreadable::NotTar(_))));
        let whole = gzip(&tar("plugin.wasm", &[7; 5000]).unwrap()).unwrap();
        assert!(matches!(plugin(&whole[..whole.len() / 2]), Err(Unreadable::NotTar(_))));
    }

    #[test]
    fn no_user_no_time_and_no_machine_is_in_a_layer() {
        let tar = tar("plugin.wasm", b"module").unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!(header.mtime().unwrap(), 0);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        assert_eq!(header.mode().unwrap(), 0o644);
        let gzip = gzip(&tar).unwrap();
        assert_eq!(gzip[3..8], [0; 5], "no flags, no time");
        assert_eq!(gzip[9], 255, "no operating system");
    }
}
