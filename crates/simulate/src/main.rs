//! `cargo run --release -p simulate -- CONFIG`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use cli::ExperimentArgs;
use model::{Experiment, artefact};
use simulate::Options;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Run the spiking network RUNS/NAME/snn.safetensors; write results.json and report.html beside it.
///
/// A [sweep] is not expanded; `reproduce` does that.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Also write spikes, rates and potentials of the first N test samples as NumPy arrays into RUNS/NAME/recording
    #[arg(long, value_name = "N")]
    record: Option<usize>,
    /// Print which compute kernel runs each layer and why the faster ones do not, then exit without simulating
    #[arg(long, conflicts_with = "record")]
    explain: bool,
}

fn main() -> ExitCode {
    let Args { experiment: args, record, explain } = Args::parse();
    if args.keys {
        print!("{}", model::config::schema::reference(&ann::backend::built_in()));
        return ExitCode::SUCCESS;
    }
    let experiment = match simulate::read_experiment(&args) {
        Ok(experiment) => experiment,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let folder = args.runs.join(&experiment.name);
    let outcome = if explain {
        self::explain(&experiment, &folder)
    } else {
        simulate(&experiment, &folder, record, args.options())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(experiment: &Experiment, folder: &Path, record: Option<usize>, options: Options) -> Result<()> {
    // First, because it is short and may be refused.
    let recording = record.map(|n| simulate::record::record(experiment, folder, n)).transpose()?;
    let network = format!("seed {}", experiment.seed);
    let outcome = simulate::run(experiment, &network, &experiment.convert.label(), folder, options)?;
    let results = simulate::experiment_record(experiment, &outcome.results);
    let page = folder.join("report.html");
    artefact::write_atomically(&page, report::html(&results)?.as_bytes())?;
    print!("{}", report::terminal(&report::accuracy_table(&results)));
    let more = [report::top_five_table(&results), report::early_exit_table(&results)];
    for table in more.into_iter().flatten() {
        print!("\n{}", report::terminal(&table));
    }
    for note in &outcome.notes {
        eprintln!("note: {note}");
    }
    for key in ["data", "simulate"].iter().flat_map(|section| experiment.keys_without_effect(section)) {
        eprintln!("note: {key}");
    }
    let state = if outcome.reused { " (unchanged)" } else { "" };
    println!("{}: results{state}\n{}: report", outcome.path.display(), page.display());
    if let Some(path) = recording {
        println!("{}: spikes, rates and potentials of single samples", path.display());
    }
    Ok(())
}

fn explain(experiment: &Experiment, folder: &Path) -> Result<()> {
    let explanation = simulate::explain::explain(experiment, folder)?;
    if let Some(table) = &explanation.table {
        println!("{}", report::terminal(table));
    }
    for reason in &explanation.reasons {
        println!("{reason}");
    }
    Ok(())
}
