//! `cargo run --release -p simulate -- CONFIG`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use model::cli::ExperimentArgs;
use model::{Experiment, artefact};
use simulate::Options;

/// The system's allocator gives large tensors back at once and has their pages cleared again for the next one: a third of
/// the time of training a convolutional network.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Run the spiking network RUNS/NAME/snn.safetensors; write results.json and report.html beside it.
///
/// A [sweep] is not expanded; `reproduce` does that.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

fn main() -> ExitCode {
    let args = Args::parse().experiment;
    if args.keys {
        print!("{}", model::config::schema::reference());
        return ExitCode::SUCCESS;
    }
    let experiment = match simulate::read_experiment(&args) {
        Ok(file) => file.base,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match simulate(&experiment, &args.runs.join(&experiment.name), args.options()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(experiment: &Experiment, folder: &Path, options: Options) -> Result<()> {
    let network = format!("seed {}", experiment.seed);
    let outcome = simulate::run(experiment, &network, &experiment.convert.label(), folder, options)?;
    let record = simulate::experiment_record(experiment, &outcome.results);
    let page = folder.join("report.html");
    artefact::write_atomically(&page, report::html(&record)?.as_bytes())?;
    print!("{}", report::terminal(&report::accuracy_table(&record)));
    if let Some(table) = report::early_exit_table(&record) {
        print!("\n{}", report::terminal(&table));
    }
    for note in &outcome.notes {
        eprintln!("note: {note}");
    }
    let state = if outcome.reused { " (unchanged)" } else { "" };
    println!("{}: results{state}\n{}: report", outcome.path.display(), page.display());
    Ok(())
}
