//! JSON files: results, whole experiments, descriptions of exported networks and of recordings.

use std::path::Path;

use export::plain;
use model::artefact::{self, Contents};
use results::record::{DatasetRecord, ExperimentRecord, RunRecord};
use serde_json::{Map, Value, json};

use crate::{Found, Refusal, add, configuration, range, recipe, row};

/// What a JSON file holds.
pub(crate) fn inspect(bytes: &[u8], path: &Path) -> Result<Found, Refusal> {
    let whole: Value = serde_json::from_slice(bytes)
        .map_err(|error| (format!("neither whole JSON nor a safetensors file ({error})"), "make it again"))?;
    let has = |key: &str| whole.get(key).is_some();
    if has("plain_format") {
        plain_network(whole, path)
    } else if has("run") && has("recipe") {
        results(&whole)
    } else if has("runs") && has("networks") {
        experiment(whole)
    } else if has("snn") && has("sources") {
        Ok(recording(&whole))
    } else {
        Err((
            "JSON of a kind that is not known here".to_owned(),
            "name results.json, experiment.json, snn-plain.json or recording.json of a run",
        ))
    }
}

fn parsed<R: serde::de::DeserializeOwned>(value: Value, what: &str) -> Result<R, Refusal> {
    serde_json::from_value(value)
        .map_err(|error| (format!("{what} that cannot be understood ({error})"), "make it again with this version"))
}

fn data(facts: &mut Map<String, Value>, dataset: &DatasetRecord) {
    let text = format!("{}, {} test samples of {:?}", dataset.name, dataset.n_test, dataset.shape);
    add(facts, [("data", json!(text))]);
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Value {
    let n = values.len();
    if n == 0 { Value::Null } else { json!(values.sum::<f64>() / n as f64) }
}

/// Accuracy in % at the checkpoints and operations at the end, means over the simulation seeds.
fn run(run: &RunRecord) -> Map<String, Value> {
    let simulation = &run.simulation;
    let at = |of: &dyn Fn(usize) -> f64| mean((0..simulation.seeds.len()).map(of));
    let mut cells = row([
        ("run", json!(run.label)),
        ("network", json!(run.network)),
        ("input", json!(simulation.encoding)),
        ("seeds", json!(simulation.seeds.len())),
    ]);
    for &step in &simulation.checkpoints {
        let accuracy =
            |seed: usize| simulation.seeds[seed].accuracy.get(step - 1).map_or(f64::NAN, |share| 100.0 * share);
        cells.insert(format!("T={step}"), at(&accuracy));
    }
    let operations = |seed: usize| simulation.seeds[seed].synaptic_operations.last().copied().unwrap_or(f64::NAN);
    cells.insert("synaptic_operations".to_owned(), at(&operations));
    cells
}

fn results(whole: &Value) -> Result<Found, Refusal> {
    let record: RunRecord = parsed(whole["run"].clone(), "results")?;
    let mut found = Found { kind: "results of one spiking network", ..Found::default() };
    configuration(&mut found.facts, &whole["config"]);
    data(&mut found.facts, &parsed(whole["dataset"].clone(), "a data set")?);
    add(
        &mut found.facts,
        [
            ("ann_accuracy", whole["ann"]["test_accuracy"].clone()),
            ("snn_sha256", whole["recipe"]["snn"].clone()),
            ("data_sha256", whole["recipe"]["data"].clone()),
            ("quartic_version", whole["quartic_version"].clone()),
            ("format", whole["format"].clone()),
        ],
    );
    recipe(&mut found.facts, &whole["recipe"]);
    found.tables.push(("accuracy_percent", vec![run(&record)]));
    let conversion = record.conversion.layers.iter().map(|layer| {
        row([
            ("layer", json!(layer.name)),
            ("neurons", json!(layer.n_neurons)),
            ("lambda", json!({"min": layer.lambda.min, "max": layer.lambda.max})),
            ("expected_saturation", json!(layer.expected_saturation)),
        ])
    });
    found.tables.push(("layers", conversion.collect()));
    Ok(found)
}

fn experiment(whole: Value) -> Result<Found, Refusal> {
    let record: ExperimentRecord = parsed(whole, "an experiment")?;
    let mut found = Found { kind: "a whole experiment", ..Found::default() };
    add(&mut found.facts, [("experiment", json!(record.name)), ("description", json!(record.description))]);
    data(&mut found.facts, &record.dataset);
    add(&mut found.facts, [("quartic_version", json!(record.quartic_version)), ("runs", json!(record.runs.len()))]);
    let networks = record.networks.iter().map(|network| {
        row([
            ("network", json!(network.label)),
            ("architecture", json!(network.architecture)),
            ("parameters", json!(network.n_parameters)),
            ("test_accuracy", json!(network.test_accuracy.map(|accuracy| 100.0 * accuracy))),
            ("epochs", json!(network.epochs.len())),
        ])
    });
    found.tables.push(("networks", networks.collect()));
    found.tables.push(("accuracy_percent", record.runs.iter().map(run).collect()));
    Ok(found)
}

fn plain_network(whole: Value, path: &Path) -> Result<Found, Refusal> {
    let net: plain::Description = parsed(whole, "a description")?;
    let remedy = "export again: `convert CONFIG --export plain`";
    let tensors = path.with_file_name(&net.tensors);
    let Contents { tensors, checksum, .. } =
        artefact::read::<Value>(&tensors, remedy).map_err(|error| (format!("its tensors: {error}"), remedy))?;
    if checksum != net.tensors_sha256 {
        return Err((format!("it describes other tensors than those in {}", net.tensors), remedy));
    }
    let mut found = Found { kind: "description of plain tensors", ..Found::default() };
    let run = format!("{} input, reset {}, readout {}, T = {}", net.input.encoding, net.reset, net.readout, net.steps);
    add(
        &mut found.facts,
        [
            ("tensors", json!(net.tensors)),
            ("input", json!(net.input.shape)),
            ("run", json!(run)),
            ("parent_sha256", json!(net.parent)),
            ("quartic_version", json!(net.quartic_version)),
            ("format", json!(net.plain_format)),
        ],
    );
    let of = |name: &str| {
        let tensor =
            tensors.get(name).ok_or_else(|| (format!("tensor `{name}` is missing in {}", net.tensors), remedy))?;
        Ok(range(tensor.values.iter().map(|&value| f64::from(value))))
    };
    let layer = |layer: &plain::Layer| -> Result<_, Refusal> {
        let weights: Vec<&str> = layer.connections.iter().map(|connection| connection.weight.as_str()).collect();
        Ok(row([
            ("layer", json!(layer.name)),
            ("shape", json!(layer.shape)),
            ("fires", json!(layer.fires)),
            (
                "sources",
                json!(layer.connections.iter().map(|connection| connection.source.to_string()).collect::<Vec<_>>()),
            ),
            ("weight", weights.iter().map(|name| of(name)).collect::<Result<_, Refusal>>().map(Value::Array)?),
            ("bias", of(&layer.bias)?),
            ("initial_potential", of(&layer.initial_potential)?),
            ("lambda", of(&layer.activation_threshold)?),
        ]))
    };
    found.tables.push(("layers", net.layers.iter().map(layer).collect::<Result<_, _>>()?));
    Ok(found)
}

fn recording(whole: &Value) -> Found {
    let mut found = Found { kind: "recording of single samples", ..Found::default() };
    for key in ["samples", "steps", "seed", "encoding", "reset", "readout", "quartic_version"] {
        add(&mut found.facts, [(key, whole[key].clone())]);
    }
    add(&mut found.facts, [("snn_sha256", whole["snn"].clone())]);
    let source =
        |source: &Value| row(["source", "name", "shape", "spikes", "rates"].map(|key| (key, source[key].clone())));
    found.tables.push(("sources", whole["sources"].as_array().into_iter().flatten().map(source).collect()));
    found
}
