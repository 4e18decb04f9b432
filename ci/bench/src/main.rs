//! `just bench`.

use std::process::ExitCode;

use anyhow::Result;
use bench::bars::bars;
use bench::run::{Effort, run};
use bench::table;
use clap::Parser;

/// Measures what the plugins cost, in Envoy.
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
    let report = run(&command.plugins, if command.quick { Effort::QUICK } else { Effort::FULL })?;
    println!("{}", table::machine(&report));
    println!("{}", table::figures(&report));
    if !report.operations.is_empty() {
        println!("{}", table::operations(&report));
    }
    println!("{}", table::modules(&report));
    let outcomes: Vec<_> = bars()?.iter().filter_map(|bar| bar.outcome(&report)).collect();
    println!("{}", table::bars(&outcomes));
    Ok(())
}
