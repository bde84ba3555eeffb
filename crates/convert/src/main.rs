//! `cargo run --release -p convert -- CONFIG`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cli::ExperimentArgs;
use convert::check::Expectation;
use export::Format;
use export::nir::Deviation;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Convert a trained network to a spiking network and write RUNS/NAME/snn.safetensors.
///
/// Prints what conversion did to each layer. A [sweep] is not expanded; `reproduce` does that.
#[derive(Debug, Parser)]
#[command(version, group = clap::ArgGroup::new("imported").args(["weights", "data"]))]
struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Trained weights that fit the model: safetensors, a PyTorch checkpoint, a record of burn, or ONNX; from an ONNX file
    /// [model] is taken if the experiment has none [default: RUNS/NAME/ann.safetensors]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Convert CONFIG, an ONNX file, for the samples in this folder or file, with neither an experiment file nor --weights
    #[arg(long, value_name = "PATH", conflicts_with_all = ["weights", "key"])]
    data: Option<PathBuf>,
    /// Which of several state dicts in that file is meant: its key, with those around it (state.ema), or what its tensors' names
    /// start with
    #[arg(long, value_name = "KEY", requires = "weights")]
    key: Option<String>,
    /// Accuracy of the trained network in %, on the test samples, that whoever trained it found; a network that differs by more than
    /// 0.5 is refused
    #[arg(long, value_name = "PERCENT", requires = "imported", value_parser = percent)]
    expect_accuracy: Option<f64>,
    /// Convert an imported network that is no better than chance, such as one of random weights
    #[arg(long, requires = "imported", conflicts_with = "expect_accuracy")]
    accept_chance: bool,
    /// Which of several outputs of an ONNX file gives the logits
    #[arg(long, value_name = "NAME", requires = "imported")]
    output: Option<String>,
    /// Also tell the accuracy of neurons `counting` for any number of steps and quanta, on training samples, without simulating them
    #[arg(long)]
    preview: bool,
    #[arg(
        long, value_name = "FORMAT", value_delimiter = ',',
        help = format!("Also write the network for others, as {}; several with commas", Format::list())
    )]
    export: Vec<Format>,
    /// What a NIR graph may lose: reset-by-subtraction, initial-potential, max-pool, saturation; several with commas
    #[arg(long, value_name = "WHAT", value_delimiter = ',', requires = "export")]
    allow: Vec<Deviation>,
}

/// Reads a number of percent.
fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("give a number from 0 to 100, such as 93.5".to_owned()),
    }
}

fn main() -> ExitCode {
    let Args { experiment: args, weights, data, key, expect_accuracy, accept_chance, output, preview, export, allow } =
        Args::parse();
    let expected = Expectation { accuracy: expect_accuracy, chance: accept_chance };
    if args.keys {
        print!("{}", model::config::schema::reference(&ann::backend::built_in()));
        return ExitCode::SUCCESS;
    }
    let given = if data.is_some() { args.config.as_deref() } else { weights.as_deref() };
    if let Some(Err(error)) = given.map(convert::check_memory) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let read = match &data {
        Some(data) => convert::experiment_of(&args, data, output.as_deref())
            .map(|(experiment, network, file)| (experiment, Some(network), Some(file))),
        None => convert::read_experiment(&args, weights.as_deref(), output.as_deref())
            .map(|(experiment, network)| (experiment, network, None))
            .map_err(Into::into),
    };
    let (experiment, network, file) = match read {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let folder = args.runs.join(&experiment.name);
    let weights = weights.unwrap_or_else(|| folder.join(model::ann::FILE_NAME));
    if let Err(error) = convert::check_memory(&weights) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let imported = match network {
        Some(network) if key.is_none() => network.into_weights(&experiment.architecture),
        _ => import::weights(&weights, &experiment.architecture, key.as_deref()),
    };
    let outcome = imported
        .map_err(Into::into)
        .and_then(|imported| convert::run_imported(&experiment, imported, &folder, args.options(), expected))
        .and_then(|outcome| file.as_ref().map_or(Ok(()), convert::OwnFile::write).map(|()| outcome));
    match outcome {
        Ok(outcome) => {
            print!("{}", report::terminal(&methods::summary::table(&outcome.conversion)));
            for note in &outcome.notes {
                eprintln!("note: {note}");
            }
            for key in ["data", "convert"].iter().flat_map(|section| experiment.keys_without_effect(section)) {
                eprintln!("note: {key}");
            }
            if let Some(path) = file.map(|file| file.path) {
                eprintln!("note: the experiment is written to {0}; run it with `simulate {0}`", path.display());
            }
            let state = if outcome.reused { " (unchanged)" } else { "" };
            println!("{}: {}{state}", outcome.path.display(), experiment.convert.label());
            if preview {
                match convert::preview::preview(&experiment, &outcome.path) {
                    Ok(preview) => {
                        print!("{}", report::terminal(&preview.table));
                        preview.notes.iter().for_each(|note| eprintln!("note: {note}"));
                    }
                    Err(error) => {
                        eprintln!("{error:#}");
                        return ExitCode::FAILURE;
                    }
                }
            }
            match convert::export::write(&experiment, &outcome.path, &export, &allow) {
                Ok(written) => {
                    for note in written.iter().flat_map(|exported| &exported.notes) {
                        eprintln!("note: {note}");
                    }
                    for exported in &written {
                        println!("{}: {}", exported.path.display(), exported.what);
                    }
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
