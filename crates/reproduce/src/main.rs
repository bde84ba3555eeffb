//! `cargo run --release -p reproduce -- CONFIG`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cli::ExperimentArgs;
use reproduce::progress::Display;

/// Notes that are printed; in a large sweep the same ones come up again and again.
const NOTES: usize = 10;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Reproduce an experiment: train, convert and simulate every combination of its sweep, then report them side by side.
///
/// Results go to RUNS/NAME. What is there and unchanged is not made again, so a run that was cut off goes on where it
/// stopped. A combination that fails stops no other; the same command again makes the failed ones.
#[derive(Debug, Parser)]
#[command(version, mut_arg("config", |arg| arg.required_unless_present("list")))]
struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// List experiment files, or those in folders, with size, cost and what has been run, then exit [default: configs]
    #[arg(long, value_name = "PATH", num_args = 0..)]
    list: Option<Vec<PathBuf>>,
}

fn main() -> ExitCode {
    let Args { experiment: args, list: listed } = Args::parse();
    if args.keys {
        print!("{}", model::config::schema::reference(&ann::backend::built_in()));
        return ExitCode::SUCCESS;
    }
    if let Some(paths) = listed {
        return list(&args, paths);
    }
    let file = match args.read() {
        Ok(file) => file,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut display = Display::new();
    let outcome = reproduce::run(&file, &args.runs, args.options(), |event| display.show(event));
    display.finish();
    match outcome {
        Ok(outcome) => {
            for note in outcome.notes.iter().take(NOTES) {
                eprintln!("note: {note}");
            }
            if let Some(more) = outcome.notes.len().checked_sub(NOTES).filter(|more| *more > 0) {
                let ledger = outcome.page.with_file_name(reproduce::ledger::FILE_NAME);
                eprintln!("note: and {more} more, in {}", ledger.display());
            }
            print!("{}", report::terminal(&report::accuracy_table(&outcome.record)));
            let more = [report::top_five_table(&outcome.record), report::early_exit_table(&outcome.record)];
            for table in more.into_iter().flatten() {
                print!("\n{}", report::terminal(&table));
            }
            println!("\nreport: {}", outcome.page.display());
            if outcome.failures.is_empty() {
                return ExitCode::SUCCESS;
            }
            eprintln!(
                "{}\n{} of {} combinations failed; the same command again makes these and no other",
                reproduce::failure_list(&outcome.failures),
                outcome.failures.len(),
                file.cells.len()
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list(args: &ExperimentArgs, mut paths: Vec<PathBuf>) -> ExitCode {
    paths.extend(args.config.clone());
    if paths.is_empty() {
        paths.push(PathBuf::from("configs"));
    }
    let mut told = false;
    let calibrating = || {
        if !told {
            eprintln!("no run has told how fast this machine is: timing small networks");
            told = true;
        }
    };
    match reproduce::listing::list(&paths, &args.all_overrides(), &args.runs, calibrating) {
        Ok(listings) => {
            print!("{}", reproduce::listing::text(&listings));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
