//! Keeping a plugin's documents true: its JSON schema and the tables of its README come from its types.

use std::fs;
use std::path::Path;

use plugin_kit::Plugin;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;

/// The types of the kit, which `docs/configuration.md` describes once for all plugins.
const SHARED: [(&str, &str); 3] =
    [("Match", "match"), ("HeaderOps", "header-operations"), ("ClientIp", "clientip")];

/// Compares `config.schema.json` and the marked parts of `README.md` in `directory` with the plugin's types and its
/// `example.yaml`. With `BLESS=1` in the environment it writes them.
///
/// # Panics
/// Where a file is not what it would be.
#[track_caller]
pub fn docs<P: Plugin<Config: JsonSchema>>(directory: impl AsRef<Path>) {
    let directory = directory.as_ref();
    let schema = schema_for!(P::Config);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_else(|error| panic!("{error}"));
    keep(&directory.join("config.schema.json"), &format!("{text}\n"));
    let example = read(&directory.join("example.yaml"));
    // The first line is for editors.
    let shown =
        example.strip_prefix("# yaml-language-server: $schema=config.schema.json\n").unwrap_or(&example);
    mark(&directory.join("README.md"), "example", &format!("```yaml\n{shown}```"));
    mark(&directory.join("README.md"), "configuration", &table(&schema));
}

/// Compares the table of one shared type, between `<!-- NAME -->` and `<!-- /NAME -->` in a document, with the type.
///
/// # Panics
/// Where the table is not what it would be.
#[track_caller]
pub fn shared_docs<T: JsonSchema>(document: impl AsRef<Path>, name: &str) {
    mark(document.as_ref(), name, &table(&schema_for!(T)));
}

fn mark(path: &Path, name: &str, content: &str) {
    let text = read(path);
    let (start, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        panic!("{}: has no {start:?} … {end:?}", path.display());
    };
    keep(path, &[before, &start, "\n", content, "\n", &end, after].concat());
}

fn keep(path: &Path, content: &str) {
    if fs::read_to_string(path).is_ok_and(|found| found == content) {
        return;
    }
    assert!(
        std::env::var_os("BLESS").is_some(),
        "{} is not what the types say; BLESS=1 writes it",
        path.display()
    );
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// A Markdown table of every field.
fn table(schema: &Schema) -> String {
    let mut rows = vec!["| field | type | meaning |".to_owned(), "|---|---|---|".to_owned()];
    let root = schema.as_value();
    fields(root, root, "", &mut Vec::new(), &mut rows);
    rows.join("\n")
}

fn fields(root: &Value, object: &Value, path: &str, above: &mut Vec<String>, rows: &mut Vec<String>) {
    let mut each = |object: &Value, text: &Value| {
        for (name, field) in object["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            row(root, field, &path, text, above, rows);
        }
    };
    each(object, &Value::Null);
    for variant in object["oneOf"].as_array().into_iter().flatten() {
        each(variant, &variant["description"]);
    }
}

/// The row of one field, and those of the fields below it. `text` describes it where it does not itself.
fn row(
    root: &Value,
    field: &Value,
    path: &str,
    text: &Value,
    above: &mut Vec<String>,
    rows: &mut Vec<String>,
) {
    let (inner, list, name) = resolve(root, field);
    let path = if list { format!("{path}[]") } else { path.to_owned() };
    let texts = [&field["description"], text, &inner["description"]];
    let description = texts.into_iter().find_map(Value::as_str).unwrap_or_default().replace('\n', " ");
    let shared = name.as_deref().and_then(|name| SHARED.iter().find(|(shared, _)| *shared == name));
    let kind = match shared {
        Some((_, anchor)) => format!("[shared](../../docs/configuration.md#{anchor})"),
        None => kind(inner),
    };
    let kind = if list { format!("list of {kind}") } else { kind };
    rows.push(format!("| `{path}` | {kind} | {} |", description.replace('|', "\\|")));
    if shared.is_none() && !name.as_ref().is_some_and(|name| above.contains(name)) {
        above.extend(name.clone());
        fields(root, inner, &path, above, rows);
        if name.is_some() {
            above.pop();
        }
    }
}

/// Looks through references, options and lists: the schema behind them, whether it is a list's, and its name.
fn resolve<'a>(root: &'a Value, field: &'a Value) -> (&'a Value, bool, Option<String>) {
    if let Some(name) = field["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
        let (inner, list, deeper) = resolve(root, &root["$defs"][name]);
        return (inner, list, deeper.or(Some(name.to_owned())));
    }
    if field["$ref"] == "#" {
        return (root, false, root["title"].as_str().map(str::to_owned));
    }
    if let Some(some) = field["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null"))
    {
        return resolve(root, some);
    }
    if field["items"].is_object() {
        let (inner, _, name) = resolve(root, &field["items"]);
        return (inner, true, name);
    }
    (field, false, None)
}

fn kind(schema: &Value) -> String {
    if let Some(variants) = schema["oneOf"].as_array() {
        let constants: Vec<String> = variants
            .iter()
            .filter_map(|variant| variant["const"].as_str())
            .map(|text| format!("`{text}`"))
            .collect();
        let objects = variants.iter().any(|variant| variant["properties"].is_object());
        let others = variants.iter().filter(|variant| variant["const"].is_null()).map(kind);
        return if objects {
            "exactly one of".into()
        } else {
            constants.into_iter().chain(others).collect::<Vec<_>>().join(" or ")
        };
    }
    if let Some(constants) = schema["enum"].as_array() {
        return constants
            .iter()
            .filter_map(Value::as_str)
            .map(|text| format!("`{text}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let named = match &schema["type"] {
        Value::Array(types) => types.iter().find(|one| *one != "null").and_then(Value::as_str),
        one => one.as_str(),
    };
    match named {
        Some("object") if schema["additionalProperties"].is_object() => "names with texts".into(),
        Some(name) => name.into(),
        None => "any".into(),
    }
}
