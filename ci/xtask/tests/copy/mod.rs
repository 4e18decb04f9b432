//! Copies of this checkout, for tests that would change it or that need it elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Copy(PathBuf);

impl Copy {
    /// Copies the sources: neither what is hidden nor what builds leave.
    pub fn of_this_checkout(to: PathBuf) -> Self {
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &to);
        Self(to)
    }

    pub fn xtask(&self, arguments: &[&str]) {
        self.run(Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments));
    }

    pub fn cargo(&self, arguments: &[&str]) {
        self.run(Command::new(env!("CARGO")).args(arguments));
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap()
    }

    fn run(&self, command: &mut Command) {
        let command = command.current_dir(&self.0).env("CARGO_TARGET_DIR", self.0.join("target"));
        let Output { status, stderr, .. } = command.output().unwrap();
        assert!(status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&stderr));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let is_left_by_a_build = name == "dist" || path.join("CACHEDIR.TAG").exists();
        if is_left_by_a_build || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(path, to.join(name)).unwrap();
        }
    }
}
