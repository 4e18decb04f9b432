//! The commands that publish, and images that no command of ours makes.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use harness::workspace_root;
use oci::document::{Manifest, OCI_EMPTY, OCI_MANIFEST};
use oci::{Blob, Remote, reference};
use serde_json::Value;
use tempfile::TempDir;

/// The binary that `just` runs, built for once.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "xtask"]);
    // What cargo tells this test of its own package makes ring, and all that stands on it, build again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    let status = build.status().unwrap();
    assert!(status.success(), "cargo build --package xtask");
    // target/debug/deps/registry-0123456789abcdef
    env::current_exe().unwrap().ancestors().nth(2).unwrap().join("xtask")
});

/// `xtask`, with nobody's credentials.
pub struct Xtask {
    docker_config: PathBuf,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// What it said, all of it.
pub struct Said {
    success: bool,
    text: String,
}

impl Xtask {
    pub fn new() -> Self {
        Self { docker_config: workspace_root().join("no-such-directory"), _alone: None }
    }

    /// For what writes into `dist/`, which other tests read.
    pub fn alone() -> Self {
        static DIST: Mutex<()> = Mutex::new(());
        Self { _alone: Some(DIST.lock().unwrap_or_else(PoisonError::into_inner)), ..Self::new() }
    }

    pub fn docker_config(mut self, directory: &Path) -> Self {
        self.docker_config = directory.to_owned();
        self
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.docker_config.clone()].into_iter().chain(env::split_paths(&path)));
        let Output { status, stdout, stderr } = Command::new(&*BINARY)
            .args(arguments)
            .current_dir(workspace_root())
            .env("DOCKER_CONFIG", &self.docker_config)
            .env("PATH", path.unwrap())
            .output()
            .unwrap();
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Said { success: status.success(), text: format!("{arguments:?}:\n{text}") }
    }
}

impl Said {
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.success, "failed: {}", self.text);
        self.text
    }

    #[track_caller]
    pub fn failure(self) -> String {
        assert!(!self.success, "succeeded: {}", self.text);
        self.text
    }
}

/// A directory with this `config.json`.
pub fn config_json(config: &Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    directory
}

pub fn make_executable(file: &Path) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Has `to` lead to an OCI manifest with these layers, whatever they are.
pub fn send_layers(to: &str, layers: Vec<Blob>) {
    let empty = Blob::new(OCI_EMPTY, b"{}".to_vec());
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.into()),
        config: Some(empty.descriptor()),
        layers: layers.iter().map(Blob::descriptor).collect(),
        ..Manifest::default()
    };
    let manifest = Blob::new(OCI_MANIFEST, serde_json::to_vec(&manifest).unwrap());
    send(to, &manifest, &[vec![empty], layers].concat());
}

pub fn send(to: &str, manifest: &Blob, blobs: &[Blob]) {
    let remote = Remote::open(reference(to).unwrap()).unwrap();
    for blob in blobs {
        remote.send(blob, |_| {}).unwrap();
    }
    remote.publish(manifest).unwrap();
}
