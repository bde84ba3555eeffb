//! How the event-driven engine's time grows with time steps, samples and spikes.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --workspace --bench scaling -- --network runs/NAME/snn.safetensors --dataset mnist --out FOLDER`
//! prints a table and the lines through the points, and writes `scaling.csv`, `scaling-light.svg` and `scaling-dark.svg`.
//! Spikes are varied by darkening the images.

#![allow(missing_docs, reason = "a program of its own")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use datasets::{DatasetName, LabelledImages, Split};
use engine_event::EventEngine;
use model::artefact::write_atomically;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use report::points::{LineFit, Panel, point_figures};
use serde_json::Value;
use snn::{Engine, RunSettings, Sample, SynapticOperations};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Samples of a call to the engine, as the command `simulate` takes them.
const CHUNK: usize = 256;

/// Time steps that are timed.
const STEPS: [usize; 6] = [8, 16, 32, 64, 96, 128];
/// T where something else is varied.
const DEFAULT_STEPS: usize = 32;
/// Shares of the samples that are timed.
const SHARES: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];
/// Brightness of the images that are timed.
const BRIGHTNESS: [f32; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];

/// Time the event-driven engine at several sizes.
#[derive(Debug, Parser)]
struct Args {
    /// A converted network
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Its data set: digits, mnist, fashion-mnist, cifar10
    #[arg(long)]
    dataset: Option<String>,
    /// Input coding
    #[arg(long, default_value = "poisson")]
    encoding: String,
    /// Test samples, the first ones
    #[arg(long, default_value_t = 2000)]
    samples: usize,
    /// Passes over everything; the fastest of each counts
    #[arg(long, default_value_t = 3)]
    passes: usize,
    /// Folder for the points and the figures
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One size at which the engine is timed.
struct Point {
    varied: &'static str,
    n_steps: usize,
    n_samples: usize,
    brightness: f32,
    seconds: f64,
    synaptic_operations: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (Some(path), Some(dataset)) = (&args.network, &args.dataset) else {
        eprintln!("scaling: no --network FILE and --dataset NAME given, nothing to time");
        return Ok(());
    };
    let name: DatasetName = dataset.parse().map_err(anyhow::Error::msg)?;
    let encoding: Encoding = args.encoding.parse().map_err(anyhow::Error::msg)?;
    // Benches run in their package's folder.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    std::env::set_current_dir(root).with_context(|| root.to_owned())?;
    let test = LabelledImages::load(name, Split::Test, None)?.take(args.samples);
    let network = snn::artefact::read::<Value, Value>(path)?.network;
    if network.n_in() != test.n_features() {
        bail!("{}: {} inputs, but {name} has {}", path.display(), network.n_in(), test.n_features());
    }
    let engine = EventEngine::new(&network);
    let operations = SynapticOperations::new(&network);
    let point = |varied, n_steps, n_samples, brightness| Point {
        varied,
        n_steps,
        n_samples,
        brightness,
        seconds: f64::INFINITY,
        synaptic_operations: 0,
    };
    let n = test.len();
    let mut points: Vec<Point> = STEPS.iter().map(|&steps| point("steps", steps, n, 1.0)).collect();
    points.extend(SHARES.iter().map(|share| point("samples", DEFAULT_STEPS, (share * n as f64) as usize, 1.0)));
    points.extend(BRIGHTNESS.iter().map(|&brightness| point("spikes", DEFAULT_STEPS, n, brightness)));
    for pass in 0..args.passes {
        for point in &mut points {
            let settings = RunSettings {
                encoding,
                neuron: NeuronConfig::default(),
                reset: Reset::Subtract,
                readout: Readout::Potential,
                n_steps: point.n_steps,
                seed: 0,
            };
            let (mut seconds, mut n_operations) = (0.0, 0);
            for first in (0..point.n_samples).step_by(CHUNK) {
                let image = |index| test.image(index).iter().map(|pixel| pixel * point.brightness).collect();
                let images: Vec<Vec<f32>> = (first..point.n_samples.min(first + CHUNK)).map(image).collect();
                let samples = Sample::consecutive(first, &images);
                let start = Instant::now();
                let traces = engine.run(&samples, &settings)?;
                seconds += start.elapsed().as_secs_f64();
                if pass == 0 {
                    n_operations += traces.iter().flat_map(|trace| operations.of(trace)).flatten().sum::<u64>();
                }
            }
            point.seconds = point.seconds.min(seconds);
            if pass == 0 {
                point.synaptic_operations = n_operations;
            }
        }
    }
    let csv = csv(&points);
    print!("{csv}");
    let panels = panels(&points);
    for panel in &panels {
        if let Some(LineFit { intercept, slope, r_squared }) = panel.line() {
            println!("{}: {intercept:.4} s + {slope:.4e} s × {}, R² = {r_squared:.5}", panel.y, panel.x);
        }
    }
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("scaling.csv"), csv.as_bytes())?;
        let label = "time of the event-driven engine against time steps, samples and synaptic operations";
        for figure in point_figures("scaling", label, &panels)? {
            write_atomically(&folder.join(&figure.file_name), figure.svg.as_bytes())?;
        }
    }
    Ok(())
}

fn csv(points: &[Point]) -> String {
    let mut text = "varied,steps,samples,brightness,seconds,synaptic_operations\n".to_owned();
    for Point { varied, n_steps, n_samples, brightness, seconds, synaptic_operations } in points {
        let _ = writeln!(text, "{varied},{n_steps},{n_samples},{brightness},{seconds:.4},{synaptic_operations}");
    }
    text
}

fn panels(points: &[Point]) -> [Panel; 3] {
    let panel = |varied: &str, x: &str, value: fn(&Point) -> f64| Panel {
        x: x.to_owned(),
        y: "time in s".to_owned(),
        points: points
            .iter()
            .filter(|point| point.varied == varied)
            .map(|point| [value(point), point.seconds])
            .collect(),
    };
    [
        panel("steps", "time steps T", |point| point.n_steps as f64),
        panel("samples", "samples", |point| point.n_samples as f64),
        panel("spikes", "10⁹ synaptic operations", |point| point.synaptic_operations as f64 / 1e9),
    ]
}
