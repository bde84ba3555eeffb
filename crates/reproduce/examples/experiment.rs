//! Trains, converts and simulates a network from Rust, as the commands do: `cargo run --release -p reproduce --example
//! experiment [FOLDER]`

use std::path::PathBuf;

use cli::Options;
use model::config::ExperimentFile;

const CONFIG: &str = r#"
name = "example"
data = { dataset = "digits" }
model = { input = [1, 8, 8], layers = [{ kind = "flatten" }, { kind = "dense", units = 64 }, { kind = "relu" }, { kind = "dense", units = 10 }] }
train = { epochs = 10 }
simulate = { steps = 16 }
"#;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("runs/example"), PathBuf::from);
    let experiment = ExperimentFile::parse(CONFIG, "example".as_ref(), &["convert.kappa=0.4".to_owned()])?.base;
    let ann = train::run(&experiment, &folder, None, Options::default())?;
    println!("{}: {:.1} %", experiment.architecture, 100.0 * ann.metadata.test_accuracy);

    convert::run(&experiment, &ann.path, &folder, Options::default())?;
    let outcome = simulate::run(&experiment, "network", &experiment.convert.label(), &folder, Options::default())?;
    for steps in [1, 2, 4, 8, 16] {
        println!("T = {steps:2}: {:.1} %", 100.0 * outcome.results.run.simulation.seeds[0].accuracy[steps - 1]);
    }
    Ok(())
}
