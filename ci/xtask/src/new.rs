//! A new plugin: a copy of the template under another name. No list is edited, because there is none.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

pub fn create(workspace: &Workspace, name: &str, description: Option<&str>) -> Result<()> {
    let names = free(workspace, name)?;
    let to = workspace.root.join("plugins").join(name);
    let description =
        description.map_or_else(|| format!("What {name} does, in one sentence."), str::to_owned);
    copy(&workspace.template.dir, &to, &names)?;
    describe(&to.join("Cargo.toml"), &names.apply(&workspace.template.description), &description)
        .with_context(|| format!("plugins/{name}/Cargo.toml"))?;
    if let Err(error) = lock(&workspace.root) {
        fs::remove_dir_all(&to)?;
        return Err(error);
    }
    println!("plugins/{name} is there; next: just build {name}, cargo test -p {name}");
    Ok(())
}

/// The name, where nothing has it yet.
fn free(workspace: &Workspace, name: &str) -> Result<Names> {
    let names = Names::of(name)?;
    if workspace.root.join("plugins").join(name).exists() {
        bail!("plugins/{name} exists already");
    }
    if is_taken(workspace, name)? {
        bail!("a crate {name:?} is there already; name it for what it does to a request, such as cors-guard");
    }
    Ok(names)
}

/// Whether `cargo build -p name` would be ambiguous, or the crate would hide one of Rust's own.
fn is_taken(workspace: &Workspace, name: &str) -> Result<bool> {
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock")).context("Cargo.lock")?;
    let line = format!("name = {name:?}");
    Ok(["alloc", "core", "std", "test"].contains(&name) || lock.lines().any(|locked| locked == line))
}

/// A name, in the ways in which it is written.
struct Names {
    kebab: String,
    snake: String,
    pascal: String,
}

impl Names {
    fn of(kebab: &str) -> Result<Self> {
        let words: Vec<&str> = kebab.split('-').collect();
        let is_word = |word: &&str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !words.iter().all(is_word) || !kebab.starts_with(|first: char| first.is_ascii_lowercase()) {
            bail!("{kebab:?} must be in kebab-case: lower-case words joined by one '-', such as cors-guard");
        }
        let pascal = words.iter().map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
        Ok(Self { kebab: kebab.to_owned(), snake: words.join("_"), pascal })
    }

    /// The template's text with this name in place of its own.
    fn apply(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.to_ascii_lowercase().find("template") {
            let (before, found) = rest.split_at(at);
            let (word, after) = found.split_at("template".len());
            result.push_str(before);
            result.push_str(self.replacement(&result, word, after));
            rest = after;
        }
        result.push_str(rest);
        result.replace(&format!("ci/{}", self.kebab), &format!("plugins/{}", self.kebab))
    }

    fn replacement<'a>(&'a self, before: &str, word: &'a str, after: &str) -> &'a str {
        let is_inside = |character: char| character.is_ascii_alphanumeric();
        let continues = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        if before.ends_with(is_inside) || after.starts_with(continues) {
            return word;
        }
        let is_ident = after.starts_with("::")
            || after.starts_with('_')
            || before.ends_with('_')
            || before.ends_with("use ");
        match word {
            "Template" => &self.pascal,
            "template" if is_ident => &self.snake,
            "template" => &self.kebab,
            _ => word,
        }
    }
}

fn copy(from: &Path, to: &Path, names: &Names) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(names.apply(&entry.file_name().to_string_lossy()));
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, names)?;
        } else {
            let text =
                fs::read_to_string(entry.path()).with_context(|| entry.path().display().to_string())?;
            fs::write(target, names.apply(&text))?;
        }
    }
    Ok(())
}

/// What a new plugin may grow to, in KiB, until its author says otherwise. The template's budget is the kit's.
const BUDGET: u32 = 300;

fn describe(manifest: &Path, old: &str, new: &str) -> Result<()> {
    let text = fs::read_to_string(manifest)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if *line == format!("description = {old:?}") {
            *line = format!("description = {new:?}");
        } else if line.starts_with("maxKib = ") {
            *line = format!("maxKib = {BUDGET}");
        }
    }
    fs::write(manifest, lines.join("\n") + "\n")?;
    Ok(())
}

/// Adds the plugin to Cargo.lock and changes nothing else there.
fn lock(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let update = ["update", "--workspace", "--offline", "--quiet"];
    let status = Command::new(cargo).args(update).current_dir(root).status().context("running cargo")?;
    if !status.success() {
        bail!("cargo {} failed", update.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_the_name_is_renamed() {
        let names = Names::of("cors-guard").unwrap();
        for (template, expected) in [
            ("name = \"template\"", "name = \"cors-guard\""),
            ("//! template: adds a header.", "//! cors-guard: adds a header."),
            ("use template::Config;", "use cors_guard::Config;"),
            ("template_requests_total", "cors_guard_requests_total"),
            ("impl Plugin for Template {", "impl Plugin for CorsGuard {"),
            ("plugin!(Template: on_log)", "plugin!(CorsGuard: on_log)"),
            ("TemplateError", "CorsGuardError"),
            ("just build template", "just build cors-guard"),
            ("see ci/template/README.md", "see plugins/cors-guard/README.md"),
            ("templates, templated, contemplate", "templates, templated, contemplate"),
        ] {
            assert_eq!(names.apply(template), expected);
        }
    }

    #[test]
    fn a_name_that_is_not_kebab_case_is_refused() {
        for name in ["", "CorsGuard", "cors_guard", "cors--guard", "-cors", "cors-", "1st", "cörs", "../cors"]
        {
            let error = Names::of(name).err().unwrap().to_string();
            assert!(error.contains("kebab-case"), "{name}: {error}");
        }
        assert!(Names::of("oauth2-v1-guard").is_ok());
    }

    #[test]
    fn the_name_of_another_crate_is_refused() {
        let workspace = Workspace::load().unwrap();
        for name in ["template", "plugin-kit", "serde", "test"] {
            let error = free(&workspace, name).err().unwrap().to_string();
            assert!(error.starts_with(&format!("a crate {name:?} is there already")), "{error}");
        }
    }

    #[test]
    fn a_plugin_that_exists_is_left_alone() {
        let workspace = Workspace::load().unwrap();
        let name = &workspace.plugins[0].name;
        let error = free(&workspace, name).err().unwrap().to_string();
        assert_eq!(error, format!("plugins/{name} exists already"));
    }
}
