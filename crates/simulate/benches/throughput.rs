//! Images per second of an engine on a converted network, encoding included, as one line of JSON.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --workspace --bench throughput -- --network runs/NAME/snn.safetensors --dataset mnist`
//! times the event-driven engine; `--backend flex` and the like the dense one.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use datasets::{DatasetName, LabelledImages, Split};
use engine_dense::DenseEngine;
use engine_event::EventEngine;
use model::Backend;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use serde_json::{Value, json};
use snn::{Engine, RunSettings, Sample, SynapticOperations};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// Samples of a call to the engine, for each thread.
const CHUNK: usize = 64;

/// Time an engine.
#[derive(Debug, Parser)]
struct Args {
    /// A converted network
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Its data set: digits, mnist, fashion-mnist, cifar10
    #[arg(long)]
    dataset: Option<String>,
    /// Folder with the data set's files [default: data/DATASET]
    #[arg(long)]
    data_path: Option<PathBuf>,
    /// Input coding
    #[arg(long, default_value = "poisson")]
    encoding: String,
    /// Times the dense engine on this backend instead of the event-driven engine
    #[arg(long)]
    backend: Option<String>,
    /// Samples that the dense engine runs together
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Time steps T
    #[arg(long, default_value_t = 32)]
    steps: usize,
    /// Test samples, the first ones
    #[arg(long, default_value_t = 2000)]
    samples: usize,
    /// Passes over the samples; the fastest counts
    #[arg(long, default_value_t = 1)]
    passes: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let (Some(path), Some(dataset)) = (&args.network, &args.dataset) else {
        eprintln!("throughput: no --network FILE and --dataset NAME given, nothing to time");
        return Ok(());
    };
    let name: DatasetName = dataset.parse().map_err(anyhow::Error::msg)?;
    let encoding: Encoding = args.encoding.parse().map_err(anyhow::Error::msg)?;
    // Benches run in their package's folder.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    std::env::set_current_dir(root).with_context(|| root.to_owned())?;
    let test = LabelledImages::load(name, Split::Test, args.data_path.as_deref())?.take(args.samples);
    let artefact = snn::artefact::read::<Value, Value>(path)?;
    if artefact.network.n_in() != test.n_features() {
        bail!("{}: {} inputs, but {name} has {}", path.display(), artefact.network.n_in(), test.n_features());
    }
    let settings = RunSettings {
        encoding,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: args.steps,
        seed: 0,
    };
    let images: Vec<Vec<f32>> = (0..test.len()).map(|index| test.image(index)).collect();
    let samples = Sample::consecutive(0, &images);
    let engine: Box<dyn Engine> = match &args.backend {
        None => {
            for layer in engine_event::explain(&artefact.network, &settings) {
                eprintln!("{}: {}, {}", layer.layer, layer.synapses.kernel, layer.simd_level);
            }
            Box::new(EventEngine::new(&artefact.network))
        }
        Some(name) => {
            let device = ann::device(name.parse::<Backend>()?)?;
            eprintln!("{}", DenseEngine::explain(&artefact.network, &device));
            Box::new(DenseEngine::new(&artefact.network, &device, args.batch_size))
        }
    };
    // Not counted: the first touch of the weights, and the kernels that a GPU compiles.
    engine.run(&samples[..samples.len().min(64)], &settings)?;
    let chunk = CHUNK * rayon::current_num_threads();
    let mut seconds = f64::INFINITY;
    for _ in 0..args.passes {
        let start = Instant::now();
        for samples in samples.chunks(chunk) {
            std::hint::black_box(engine.run(samples, &settings)?);
        }
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let operations = SynapticOperations::new(&artefact.network);
    let (mut n_right, mut n_operations) = (0, 0);
    for (samples, labels) in samples.chunks(chunk).zip(test.labels().chunks(chunk)) {
        for (trace, &label) in engine.run(samples, &settings)?.iter().zip(labels) {
            n_right += usize::from(trace.decisions().last() == Some(&usize::from(label)));
            n_operations += operations.of(trace).iter().flatten().sum::<u64>();
        }
    }
    let n = samples.len() as f64;
    let result = json!({
        "images_per_second": n / seconds,
        "accuracy": n_right as f64 / n,
        "synaptic_operations_per_second": n_operations as f64 / seconds,
        "synaptic_operations_per_image": n_operations as f64 / n,
        "steps": args.steps,
        "samples": samples.len(),
        "threads": rayon::current_num_threads(),
    });
    println!("{result}");
    Ok(())
}
