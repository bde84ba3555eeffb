//! `cargo run --release -p train -- CONFIG`

use std::process::ExitCode;

use clap::Parser;
use cli::ExperimentArgs;
use model::ann::{AnnMetadata, Quantisation};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Train the non-spiking network of an experiment and write RUNS/NAME/ann.safetensors.
///
/// A run that was interrupted goes on where it stopped. A [sweep] is not expanded; `reproduce` does that.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

fn main() -> ExitCode {
    let args = Args::parse().experiment;
    if args.keys {
        print!("{}", model::config::schema::reference(&ann::backend::built_in()));
        return ExitCode::SUCCESS;
    }
    let experiment = match args.read_base() {
        Ok(experiment) => experiment,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match train::run(&experiment, &args.runs.join(&experiment.name), Some(&args.runs), args.options()) {
        Ok(outcome) => {
            for note in &outcome.notes {
                eprintln!("note: {note}");
            }
            for key in ["data", "train"].iter().flat_map(|section| experiment.keys_without_effect(section)) {
                eprintln!("note: {key}");
            }
            let state = if outcome.reused { " (unchanged)" } else { "" };
            let percent = |share: f64| format!("{:.2} %", 100.0 * share);
            let AnnMetadata { test_accuracy, test_top5, quantisation, .. } = &outcome.metadata;
            let top_five = test_top5.map(|share| format!(", among the first five {}", percent(share)));
            let start = quantisation.as_ref().and_then(|of| of.start_test_accuracy);
            let start = start.map(|share| format!(", of the network it started from {}", percent(share)));
            println!(
                "{}: test accuracy {}{}{}{state}",
                outcome.path.display(),
                percent(*test_accuracy),
                top_five.unwrap_or_default(),
                start.unwrap_or_default()
            );
            if let Some(Quantisation { levels, validation: Some(of), .. }) = quantisation {
                println!(
                    "validation accuracy: {} of the network it started from, {} quantised to {levels} levels without training, {} trained",
                    percent(of.start),
                    percent(of.untrained),
                    percent(of.trained)
                );
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
