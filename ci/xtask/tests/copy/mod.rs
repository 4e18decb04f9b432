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

    /// Runs a line of a document, with the `just` and the Envoy of this checkout, and says what it printed.
    pub fn shell(&self, line: &str) -> String {
        self.run(self.line(line).env("ENVOY", envoy()))
    }

    /// Runs a line that may fail: whether it did not, and everything that it printed.
    pub fn outcome(&self, line: &str) -> (bool, String) {
        let Output { status, stdout, stderr } = self.place(&mut self.line(line)).output().unwrap();
        (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    fn line(&self, line: &str) -> Command {
        let just = std::env::var_os("JUST").map(PathBuf::from);
        let directory = just.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", format!("{}:{path}", directory.display()));
        command
    }

    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.0.join(path), content).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap()
    }

    fn run(&self, command: &mut Command) -> String {
        let command = self.place(command);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{command:?}:\n{said}{}", String::from_utf8_lossy(&stderr));
        said
    }

    fn place<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.0).env("CARGO_TARGET_DIR", self.0.join("target"))
    }
}

/// The Envoy of this checkout.
fn envoy() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("envoy").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
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
