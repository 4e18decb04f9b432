//! `just bench`.

use std::process::ExitCode;

use anyhow::Result;
use bench::bars::outcomes;
use bench::document::publish;
use bench::run::{Effort, run};
use bench::table;
use clap::Parser;

/// Measures what the plugins cost, in Envoy. All of them in ten minutes are also written to docs/benchmarks.*.
#[derive(Parser)]
#[command(name = "bench")]
struct Command {
    /// Only these.
    plugins: Vec<String>,
    /// Two minutes instead of ten.
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    match measure(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(command: &Command) -> Result<()> {
    let effort = if command.quick { Effort::QUICK } else { Effort::FULL };
    let report = run(&command.plugins, effort)?;
    if command.plugins.is_empty() && !command.quick {
        publish(&report)?;
    }
    println!("{}", table::machine(&report));
    println!("{}", table::figures(&report));
    if !report.operations.is_empty() {
        println!("{}", table::operations(&report));
    }
    println!("{}", table::modules(&report));
    println!("{}", table::bars(&outcomes(&report)?));
    Ok(())
}
