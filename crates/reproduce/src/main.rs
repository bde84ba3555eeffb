//! `cargo run --release -p reproduce -- CONFIG`

use std::process::ExitCode;

use clap::Parser;
use model::cli::ExperimentArgs;

/// The system's allocator gives large tensors back at once and has their pages cleared again for the next one: a third of
/// the time of training a convolutional network.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reproduce an experiment: train, convert and simulate every combination of its sweep, then report them side by side.
///
/// Results go to RUNS/NAME. What is there and unchanged is not made again, so a run that was cut off goes on where it
/// stopped.
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
    let file = match args.read() {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let announce = |step: &reproduce::Step| eprintln!("[{}/{}] {}", step.number, step.of, step.what);
    match reproduce::run(&file, &args.runs, args.options(), announce) {
        Ok(outcome) => {
            for note in &outcome.notes {
                eprintln!("note: {note}");
            }
            print!("{}", report::terminal(&report::accuracy_table(&outcome.record)));
            if let Some(table) = report::early_exit_table(&outcome.record) {
                print!("\n{}", report::terminal(&table));
            }
            println!("\nreport: {}", outcome.page.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
