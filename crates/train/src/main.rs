//! `cargo run --release -p train -- CONFIG`

use std::process::ExitCode;

use clap::Parser;
use model::cli::ExperimentArgs;

/// The system's allocator gives large tensors back at once and has their pages cleared again for the next one: a third of
/// the time of training a convolutional network.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        print!("{}", model::config::schema::reference());
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
            let state = if outcome.reused { " (unchanged)" } else { "" };
            println!(
                "{}: test accuracy {:.2} %{state}",
                outcome.path.display(),
                100.0 * outcome.metadata.test_accuracy
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
