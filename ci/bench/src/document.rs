//! `docs/benchmarks.md`: what is between `<!-- bench: NAME -->` and `<!-- /bench -->` comes from `docs/benchmarks.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::workspace_root;

use crate::bars::outcomes;
use crate::plot::plot;
use crate::report::Report;
use crate::table;

const BEGIN: &str = "<!-- bench: ";
const END: &str = "<!-- /bench -->";

fn docs(file: &str) -> PathBuf {
    workspace_root().join("docs").join(file)
}

/// Keeps a whole run: the figures, the tables and the plot.
pub fn publish(report: &Report) -> Result<()> {
    report.write(&docs("benchmarks.json"))?;
    for (path, text) in rendered(report)? {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What the documents should be, from these figures.
fn rendered(report: &Report) -> Result<Vec<(PathBuf, String)>> {
    let document = docs("benchmarks.md");
    let text = filled(&read(&document)?, report)?;
    Ok(vec![(document, text), (docs("benchmarks.svg"), plot(report)?)])
}

fn filled(text: &str, report: &Report) -> Result<String> {
    let mut parts = text.split(BEGIN);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").context("a block without its name")?;
        let (_, rest) = rest.split_once(END).with_context(|| format!("block {name} has no end"))?;
        filled.push_str(&format!("{BEGIN}{name} -->\n\n{}\n{END}{rest}", block(name, report)?));
    }
    Ok(filled)
}

fn block(name: &str, report: &Report) -> Result<String> {
    Ok(match name {
        "machine" => table::machine(report),
        "bars" => table::bars(&outcomes(report)?),
        "figures" => table::figures(report),
        "operations" => table::operations(report),
        "modules" => table::modules(report),
        other => anyhow::bail!("there is no block {other:?}"),
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_and_the_plot_are_those_of_the_figures() {
        let report = Report::read(&docs("benchmarks.json")).unwrap();
        for (path, text) in rendered(&report).unwrap() {
            let advice = "comes from docs/benchmarks.json: run `just bench`, or undo what was edited";
            assert!(read(&path).unwrap() == text, "{} {advice}", path.display());
        }
    }

    #[test]
    fn every_bar_compares_figures_that_are_measured() {
        let report = Report::read(&docs("benchmarks.json")).unwrap();
        assert_eq!(outcomes(&report).unwrap().len(), crate::bars::bars().unwrap().len());
    }
}
