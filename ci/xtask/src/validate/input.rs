//! What there is to validate: files, directories, kustomizations, standard input.

use std::cell::OnceCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::validate::kustomize::{FILES, Kustomize, is_kustomization, patches};

/// A document, and what to call where it came from.
pub struct Document {
    pub source: String,
    pub content: std::result::Result<Value, String>,
}

pub struct Input<'a> {
    root: &'a Path,
    kustomize: OnceCell<Option<Kustomize>>,
    pub documents: Vec<Document>,
}

impl<'a> Input<'a> {
    pub fn new(root: &'a Path) -> Self {
        Self { root, kustomize: OnceCell::new(), documents: Vec::new() }
    }

    /// A file, a directory and all below it, or `-`.
    pub fn add(&mut self, path: &Path) -> Result<()> {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            self.text("standard input", &text);
            return Ok(());
        }
        ensure!(path.exists(), "{}: no such file or directory", path.display());
        let mut files = Vec::new();
        walk(path, &mut files)?;
        files.sort();
        let mut parts = Vec::new();
        for file in files.iter().filter(|file| is_kustomization(file)) {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let dir = file.parent().unwrap_or(Path::new("."));
            if let Ok(kustomization) = serde_norway::from_str::<Value>(&text) {
                parts.extend(
                    patches(dir, &kustomization).into_iter().filter_map(|part| part.canonicalize().ok()),
                );
            }
        }
        for file in &files {
            if file.canonicalize().is_ok_and(|file| parts.contains(&file)) {
                continue;
            }
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            self.text(&self.shown(file), &text);
            if is_kustomization(file) && !is_component(&text) {
                self.build(file.parent().unwrap_or(Path::new(".")));
            }
        }
        Ok(())
    }

    fn build(&mut self, dir: &Path) {
        let locate =
            || Kustomize::locate().map_err(|error| eprintln!("No kustomization is built: {error:#}")).ok();
        let Some(kustomize) = self.kustomize.get_or_init(locate) else { return };
        let source = format!("kustomize {}", self.shown(dir));
        match kustomize.build(dir) {
            Ok(text) => self.text(&source, &text),
            Err(error) => self.documents.push(Document { source, content: Err(format!("{error:#}")) }),
        }
    }

    fn text(&mut self, source: &str, text: &str) {
        for document in serde_norway::Deserializer::from_str(text) {
            // Into a map of YAML first, which refuses a key that is there twice.
            let content = serde_norway::Value::deserialize(document)
                .map_err(|error| error.to_string())
                .and_then(|yaml| serde_json::to_value(yaml).map_err(|error| error.to_string()));
            let broken = content.is_err();
            if !matches!(content, Ok(Value::Null)) {
                self.documents.push(Document { source: source.to_owned(), content });
            }
            if broken {
                break;
            }
        }
    }

    fn shown(&self, path: &Path) -> String {
        let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        absolute.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }
}

fn is_component(text: &str) -> bool {
    serde_norway::from_str::<Value>(text).is_ok_and(|kustomization| kustomization["kind"] == "Component")
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() || is_yaml || FILES.iter().any(|name| path.ends_with(name)) {
            walk(&path, files)?;
        }
    }
    Ok(())
}
