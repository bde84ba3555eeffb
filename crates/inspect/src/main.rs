//! `cargo run --release -p inspect -- FILE`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Tell what a file holds: layers, shapes, ranges of thresholds and weights, accuracies, and where it comes from.
///
/// Reads ann.safetensors, snn.safetensors, results.json, experiment.json, snn.nir, snn-plain.json, recording.json, and
/// anybody's safetensors files and NIR graphs.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON, a line for each file
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Args { files, json } = Args::parse();
    let mut exit = ExitCode::SUCCESS;
    for (idx, path) in files.iter().enumerate() {
        match inspect::inspect(path) {
            Ok(inspection) if json => println!("{}", inspection.json()),
            Ok(inspection) => print!("{}{}", if idx > 0 { "\n" } else { "" }, inspection.text()),
            Err(error) => {
                eprintln!("{error}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}
