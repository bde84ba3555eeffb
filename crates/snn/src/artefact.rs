//! The converted network's artefact, `snn.safetensors`: all that is needed to run it, and to know where it is from.
//!
//! Tensors, layer by layer from 0: `0.weight` `[n_out, n_in]`, `0.bias` and `0.initial_potential` `[n_out]` in thresholds;
//! `0.threshold` `[n_out]` in units of the trained network's activations; `0.grid_exponent` `[n_out]`, whole numbers g: a
//! neuron's values are multiples of 2⁻ᵍ; and the trained network's own tensors under `ann.`.

use std::collections::BTreeMap;
use std::path::Path;

use model::artefact::{self, ArtefactError, Contents, TensorF32};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::network::{NetworkError, SpikingLayer, SpikingNetwork};

/// Name of the artefact in a run's folder.
pub const FILE_NAME: &str = "snn.safetensors";

/// Format of the artefact; raised when its meaning changes.
pub const FORMAT: u32 = 1;

/// What to do about a file that is missing or damaged.
const REMEDY: &str = "run `convert` on this configuration first";

/// Prefix of the trained network's tensors.
const ANN_PREFIX: &str = "ann.";

/// Where a converted network comes from. `R` and `C` are the command's own description and record of the conversion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnnMetadata<R, C> {
    /// [`FORMAT`] of the program that wrote the file.
    pub format: u32,
    /// Version of the program that wrote the file.
    pub quartic_version: String,
    /// Everything the network depends on. A file with the recipe that is asked for need not be made again.
    pub recipe: R,
    /// The whole resolved configuration, as TOML text.
    pub config: String,
    /// SHA-256 of the trained network's file, in hexadecimal.
    pub parent: String,
    /// How the network was converted.
    pub conversion: C,
    /// Names of the layers, for people; filled in when the file is written.
    pub layers: Vec<String>,
}

/// A converted network read from its file.
#[derive(Debug, Clone, PartialEq)]
pub struct SnnArtefact<R, C> {
    /// The spiking network.
    pub network: SpikingNetwork,
    /// The trained network's tensors, named as in its own file.
    pub ann: BTreeMap<String, TensorF32>,
    /// Where it comes from.
    pub metadata: SnnMetadata<R, C>,
    /// SHA-256 of the file, in hexadecimal.
    pub checksum: String,
}

/// A file that holds no network that can be run.
#[derive(Debug, Error)]
pub enum SnnFileError {
    /// The file cannot be read, or is no whole safetensors file.
    #[error(transparent)]
    File(#[from] ArtefactError),
    /// The file's contents contradict each other.
    #[error("{path}: {cause}")]
    Network {
        /// The file.
        path: String,
        /// What is wrong.
        cause: NetworkError,
    },
}

/// Writes a converted network and returns the file's SHA-256.
///
/// - `ann`: the trained network's tensors
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
pub fn write<R: Serialize, C: Serialize>(
    path: &Path,
    network: &SpikingNetwork,
    ann: &BTreeMap<String, TensorF32>,
    mut metadata: SnnMetadata<R, C>,
) -> Result<String, ArtefactError> {
    metadata.layers.clear();
    let mut tensors = BTreeMap::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let (n_in, n_out) = (layer.n_in(), layer.n_out());
        let mut insert = |field: &str, shape: &[usize], values: &[f32]| {
            tensors.insert(format!("{idx}.{field}"), TensorF32 { shape: shape.to_vec(), values: values.to_vec() });
        };
        insert("weight", &[n_out, n_in], layer.weights());
        insert("bias", &[n_out], layer.biases());
        insert("initial_potential", &[n_out], layer.initial_potentials());
        insert("threshold", &[n_out], layer.thresholds());
        let exponents: Vec<f32> = layer.grids().iter().map(|grid| grid.exponent as f32).collect();
        insert("grid_exponent", &[n_out], &exponents);
        metadata.layers.push(layer.name().to_owned());
    }
    tensors.extend(ann.iter().map(|(name, tensor)| (format!("{ANN_PREFIX}{name}"), tensor.clone())));
    artefact::write(path, &tensors, &metadata)
}

/// Reads a converted network and checks that it can be run.
///
/// # Errors
/// [`SnnFileError`] if the file is missing, damaged, made by something else, or does not hold what it describes.
pub fn read<R, C>(path: &Path) -> Result<SnnArtefact<R, C>, SnnFileError>
where
    R: for<'a> Deserialize<'a>,
    C: for<'a> Deserialize<'a>,
{
    let Contents { mut tensors, metadata, checksum } = artefact::read::<SnnMetadata<R, C>>(path, REMEDY)?;
    let damaged = |found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy: REMEDY };
    let metadata = metadata.ok_or_else(|| damaged("no description of a spiking network".to_owned()))?;
    if metadata.format != FORMAT {
        return Err(damaged(format!("format {} where {FORMAT} is needed", metadata.format)).into());
    }
    let invalid = |cause| SnnFileError::Network { path: path.display().to_string(), cause };
    let mut layers = Vec::new();
    for (idx, name) in metadata.layers.iter().enumerate() {
        let mut take = |field: &str| {
            let name = format!("{idx}.{field}");
            tensors.remove(&name).ok_or_else(|| damaged(format!("tensor `{name}` is missing")))
        };
        let (weights, biases) = (take("weight")?, take("bias")?);
        let (initial_potentials, thresholds) = (take("initial_potential")?.values, take("threshold")?.values);
        let exponents: Vec<i32> = take("grid_exponent")?.values.iter().map(|&exponent| exponent as i32).collect();
        if weights.shape.len() != 2 || weights.shape[0] != biases.values.len() {
            let found = format!("`{idx}.weight` has shape {:?} for {} biases", weights.shape, biases.values.len());
            return Err(damaged(found).into());
        }
        let layer =
            SpikingLayer::on_grids(name, weights.values, biases.values, initial_potentials, thresholds, &exponents);
        layers.push(layer.map_err(invalid)?);
    }
    let network = SpikingNetwork::new(layers).map_err(invalid)?;
    let mut ann = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(own) = name.strip_prefix(ANN_PREFIX) else {
            return Err(damaged(format!("tensor `{name}` belongs to no layer")).into());
        };
        ann.insert(own.to_owned(), tensor);
    }
    Ok(SnnArtefact { network, ann, metadata, checksum })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::network::ExactLayer;

    fn network() -> SpikingNetwork {
        let layer = |name: &str, weights: &[f64], biases: &[f64], initial_potential| {
            let exact = ExactLayer {
                name: name.to_owned(),
                weights: weights.to_vec(),
                biases: biases.to_vec(),
                initial_potential,
                thresholds: biases.iter().map(|bias| 1.3 + bias.abs()).collect(),
            };
            SpikingLayer::round(&exact, 16).unwrap()
        };
        let layers = [
            layer("dense 1", &[0.31, -0.7, 1.1, 0.2], &[0.1, -0.3], 0.5),
            layer("dense 2", &[0.9, -1.2], &[0.01], 0.0),
        ];
        SpikingNetwork::new(layers.into()).unwrap()
    }

    fn metadata() -> SnnMetadata<Value, Value> {
        SnnMetadata {
            format: FORMAT,
            quartic_version: "0".to_owned(),
            recipe: json!({"p": 4}),
            config: "name = \"x\"".to_owned(),
            parent: "abc".to_owned(),
            conversion: Value::Null,
            layers: Vec::new(),
        }
    }

    fn written() -> (tempfile::TempDir, std::path::PathBuf, BTreeMap<String, TensorF32>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snn.safetensors");
        let ann: BTreeMap<_, _> = [("1.bias".to_owned(), TensorF32 { shape: vec![2], values: vec![0.5, -1.0] })].into();
        write(&path, &network(), &ann, metadata()).unwrap();
        (folder, path, ann)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (_folder, path, ann) = written();
        let read = read::<Value, Value>(&path).unwrap();
        assert_eq!((read.network, read.ann), (network(), ann));
        assert_eq!(read.metadata.recipe, metadata().recipe);
        assert_eq!(read.checksum, artefact::file_checksum(&path).unwrap());
    }

    #[test]
    fn values_off_their_grid_missing_tensors_and_wrong_shapes_are_refused_by_name() {
        let (_folder, path, _) = written();
        let whole: Contents<Value> = artefact::read(&path, "").unwrap();
        let damage = |change: &dyn Fn(&mut BTreeMap<String, TensorF32>, &mut Value)| {
            let (mut tensors, mut description) = (whole.tensors.clone(), whole.metadata.clone().unwrap());
            change(&mut tensors, &mut description);
            artefact::write(&path, &tensors, &description).unwrap();
            read::<Value, Value>(&path).unwrap_err().to_string()
        };
        let cases = [
            (
                damage(&|tensors, _| tensors.get_mut("0.weight").unwrap().values[0] += 1e-7),
                "neuron 0 is not on an exact grid",
            ),
            (
                damage(&|tensors, _| tensors.get_mut("0.weight").unwrap().values[1] = f32::NAN),
                "a weight of neuron 0 is NaN",
            ),
            (
                damage(&|tensors, _| tensors.get_mut("1.threshold").unwrap().values[0] = -1.0),
                "the threshold of neuron 0 is -1",
            ),
            (damage(&|tensors, _| _ = tensors.remove("1.bias")), "tensor `1.bias` is missing"),
            (
                damage(&|tensors, _| _ = tensors.insert("x".to_owned(), tensors["1.bias"].clone())),
                "tensor `x` belongs to no layer",
            ),
            (damage(&|_, description| description["format"] = json!(99)), "format 99"),
            (
                damage(&|_, description| _ = description["layers"].as_array_mut().unwrap().remove(0)),
                "belongs to no layer",
            ),
            (
                damage(&|tensors, _| tensors.get_mut("1.grid_exponent").unwrap().values[0] = 77.0),
                "not on an exact grid of 2^-77",
            ),
        ];
        for (error, expected) in cases {
            assert!(error.contains("snn.safetensors: ") && error.contains(expected), "{expected}: {error}");
        }
    }
}
