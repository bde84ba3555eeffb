//! The converted network's artefact, `snn.safetensors`: all that is needed to run it, and to know where it is from.
//!
//! Tensors, layer by layer from 0, C being a layer's channels (the neurons of a fully connected one): per connection, from 0,
//! `0.0.weight` `[n_out, n_in]` or `[C_out, C_in/groups, k_h, k_w]`; `0.bias` `[C]`, or `[n_out]` where neurons of a channel differ, and
//! `0.initial_potential` `[C]`, in thresholds;
//! `0.threshold` `[C]` in units of the trained network's activations; `0.grid_exponent` `[C]`, whole numbers g: a channel's
//! values are multiples of 2⁻ᵍ; and the trained network's own tensors under `ann.`. Shapes and wirings are in the metadata.
//!
//! The trained network of a large one is not stored a second time: the file then refers to that of its tensors, in the same folder, by
//! name and checksum.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use model::architecture::Architecture;
use model::artefact::{self, ArtefactError, Contents, TensorF32, TensorRef};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::network::{ChannelValues, NetworkError, SpikingLayer, SpikingNetwork};
use crate::wiring::{Connection, Wiring};

/// Name of the artefact in a run's folder.
pub const FILE_NAME: &str = "snn.safetensors";

/// Format of the artefact; raised when its meaning changes.
pub const FORMAT: u32 = 2;

/// Format of an artefact that refers to the file of the trained network's tensors in place of holding them.
pub const REFERRING_FORMAT: u32 = 3;

/// Weights of a large network: 64 MB of them.
const LARGE: u64 = 1 << 24;

/// Whether a network is so large that its trained tensors are not stored a second time, nor kept in memory beside the spiking one.
pub fn is_large(architecture: &Architecture) -> bool {
    let [_, composed] = architecture.n_weights();
    composed > LARGE
}

/// Name of the file of the trained network's tensors beside an artefact that refers to it, where it is not Quartic's own.
pub const TRAINED_FILE_NAME: &str = "trained.safetensors";

/// What to do about a file of trained weights that is missing or another one.
const TRAINED_REMEDY: &str = "bring back the file that the network was converted with, run `convert` again, or simulate without it: \
                              simulate.reference = false";

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
    /// What the user was told of the conversion, one sentence each; none in files of before they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the trained network's tensors are; `None` if they are in this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<TrainedFile>,
    /// How its parts hang together; filled in when the file is written.
    pub structure: Structure,
    /// Number of levels of the trained network's activations; `None`, and not in the file, where they are not quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ann_levels: Option<usize>,
}

/// A file of the trained network's tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainedFile {
    /// Its name, in the folder of the file that refers to it.
    pub name: String,
    /// Its SHA-256, in hexadecimal.
    pub checksum: String,
}

/// What is known of a converted network without reading its weights into memory, and the trained network's tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedNetwork<R, C> {
    /// Named as in the trained network's own file.
    pub tensors: BTreeMap<String, TensorF32>,
    /// Where the converted network comes from.
    pub metadata: SnnMetadata<R, C>,
    /// SHA-256 of the converted network's file, in hexadecimal.
    pub checksum: String,
}

/// How the layers of a network hang together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Structure {
    /// Shape `[C, H, W]` of the input.
    pub input: [usize; 3],
    /// The layers in the order of computation.
    pub layers: Vec<LayerStructure>,
}

/// One layer of a [`Structure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStructure {
    /// Name for people.
    pub name: String,
    /// Where its current comes from.
    pub connections: Vec<Wiring>,
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
/// - `ann`: the trained network's tensors; none where the metadata refer to their file
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
///
/// # Panics
/// If the network is a device of [`crate::faults`], as the file has no place for its neurons, or the trained network's tensors are both
/// given and referred to.
pub fn write<R: Serialize, C: Serialize>(
    path: &Path,
    network: &SpikingNetwork,
    ann: &BTreeMap<String, TensorF32>,
    mut metadata: SnnMetadata<R, C>,
) -> Result<String, ArtefactError> {
    assert!(!network.has_faulty_neurons(), "networks are written before their faults");
    assert!(ann.is_empty() || metadata.trained.is_none(), "the trained network is stored once");
    if metadata.trained.is_some() {
        metadata.format = REFERRING_FORMAT;
    }
    metadata.structure = Structure { input: network.input(), layers: Vec::new() };
    let mut tensors: BTreeMap<String, TensorRef<'_>> = BTreeMap::new();
    for (idx, layer) in network.layers().iter().enumerate() {
        let mut insert = |field: &str, shape: Vec<usize>, values| {
            tensors.insert(format!("{idx}.{field}"), TensorRef { shape, values });
        };
        for (at, Connection { wiring, weights }) in layer.connections().iter().enumerate() {
            insert(&format!("{at}.weight"), wiring.kernel.weight_shape(), Cow::from(weights));
        }
        let n_channels = layer.shape()[0];
        insert("bias", vec![layer.biases().values().len()], layer.biases().values().into());
        insert("initial_potential", vec![n_channels], layer.initial_potentials().into());
        insert("threshold", vec![n_channels], layer.thresholds().into());
        let exponents: Vec<f32> = layer.grids().iter().map(|grid| grid.exponent as f32).collect();
        insert("grid_exponent", vec![n_channels], exponents.into());
        let connections = layer.connections().iter().map(|connection| connection.wiring.clone()).collect();
        metadata.structure.layers.push(LayerStructure { name: layer.name().to_owned(), connections });
    }
    tensors.extend(ann.iter().map(|(name, tensor)| (format!("{ANN_PREFIX}{name}"), tensor.into())));
    artefact::write_refs(path, &tensors, &metadata)
}

/// Writes the trained network's tensors to a file of their own, for a converted network to refer to.
///
/// - `folder`: of the converted network's file
///
/// # Errors
/// [`ArtefactError::Io`] if the system refuses; an existing file is then left as it was.
pub fn write_trained(folder: &Path, ann: &BTreeMap<String, TensorF32>) -> Result<TrainedFile, ArtefactError> {
    let description = BTreeMap::from([("described_in", FILE_NAME)]);
    let checksum = artefact::write(&folder.join(TRAINED_FILE_NAME), ann, &description)?;
    Ok(TrainedFile { name: TRAINED_FILE_NAME.to_owned(), checksum })
}

/// Reads what is known of a converted network and the trained network's tensors, which are in its own file or in the one that it refers
/// to. The file is read to its end, so that its checksum is known, but its other tensors take no memory.
///
/// # Errors
/// [`SnnFileError`] if a file is missing, damaged or made by something else, or that of the trained network is not the one that was
/// converted.
pub fn read_trained<R, C>(path: &Path) -> Result<TrainedNetwork<R, C>, SnnFileError>
where
    R: for<'a> Deserialize<'a>,
    C: for<'a> Deserialize<'a>,
{
    let contents = artefact::read_where(path, REMEDY, |name| name.starts_with(ANN_PREFIX))?;
    let metadata: SnnMetadata<R, C> = checked(path, contents.metadata)?;
    let own_name = |(name, tensor): (String, TensorF32)| (name[ANN_PREFIX.len()..].to_owned(), tensor);
    let own = contents.tensors.into_iter().map(own_name).collect();
    let tensors = referred(path, &metadata)?.unwrap_or(own);
    Ok(TrainedNetwork { tensors, metadata, checksum: contents.checksum })
}

/// The trained network's tensors, if they are in another file.
fn referred<R, C>(
    path: &Path,
    metadata: &SnnMetadata<R, C>,
) -> Result<Option<BTreeMap<String, TensorF32>>, SnnFileError> {
    let Some(TrainedFile { name, checksum }) = &metadata.trained else { return Ok(None) };
    let refused =
        |path: &Path, found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy: TRAINED_REMEDY };
    if Path::new(name).file_name().is_none_or(|own| own != name.as_str()) {
        return Err(refused(path, format!("its trained network `{name}` does not lie in the same folder")).into());
    }
    let file = path.with_file_name(name);
    let found: Contents<serde::de::IgnoredAny> = artefact::read(&file, TRAINED_REMEDY)?;
    if found.checksum != *checksum {
        let found = format!("not the trained network that {} was converted from (another checksum)", path.display());
        return Err(refused(&file, found).into());
    }
    Ok(Some(found.tensors))
}

/// The description of a file, of a format that is read.
fn checked<R, C>(path: &Path, metadata: Option<SnnMetadata<R, C>>) -> Result<SnnMetadata<R, C>, ArtefactError> {
    let damaged = |found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy: REMEDY };
    let metadata = metadata.ok_or_else(|| damaged("no description of a spiking network".to_owned()))?;
    let needed = if metadata.trained.is_some() { REFERRING_FORMAT } else { FORMAT };
    if metadata.format != needed {
        return Err(damaged(format!("format {} where {needed} is needed", metadata.format)));
    }
    Ok(metadata)
}

/// Reads a converted network, with the trained network wherever that is, and checks that it can be run.
///
/// # Errors
/// [`SnnFileError`] if a file is missing, damaged, made by something else, or does not hold what it describes.
pub fn read<R, C>(path: &Path) -> Result<SnnArtefact<R, C>, SnnFileError>
where
    R: for<'a> Deserialize<'a>,
    C: for<'a> Deserialize<'a>,
{
    let mut artefact = read_some(path, |_| true)?;
    if let Some(ann) = referred(path, &artefact.metadata)? {
        artefact.ann = ann;
    }
    Ok(artefact)
}

/// Reads a converted network without the trained one, whose tensors take no memory then, and checks that it can be run.
///
/// # Errors
/// As [`read`].
pub fn read_network<R, C>(path: &Path) -> Result<SnnArtefact<R, C>, SnnFileError>
where
    R: for<'a> Deserialize<'a>,
    C: for<'a> Deserialize<'a>,
{
    read_some(path, |name| !name.starts_with(ANN_PREFIX))
}

fn read_some<R, C>(path: &Path, keeps: impl Fn(&str) -> bool) -> Result<SnnArtefact<R, C>, SnnFileError>
where
    R: for<'a> Deserialize<'a>,
    C: for<'a> Deserialize<'a>,
{
    let Contents { mut tensors, metadata, checksum } = artefact::read_where::<SnnMetadata<R, C>>(path, REMEDY, keeps)?;
    let damaged = |found: String| ArtefactError::Damaged { path: path.to_owned(), found, remedy: REMEDY };
    let metadata = checked(path, metadata)?;
    let invalid = |cause| SnnFileError::Network { path: path.display().to_string(), cause };
    let mut layers = Vec::new();
    for (idx, LayerStructure { name, connections }) in metadata.structure.layers.iter().enumerate() {
        let mut take = |field: &str| {
            let name = format!("{idx}.{field}");
            tensors.remove(&name).ok_or_else(|| damaged(format!("tensor `{name}` is missing")))
        };
        let mut whole = Vec::with_capacity(connections.len());
        for (at, wiring) in connections.iter().enumerate() {
            let TensorF32 { shape, values } = take(&format!("{at}.weight"))?;
            // Before anything is computed with sizes that a damaged description may hold.
            wiring.check().map_err(|found| invalid(NetworkError::Misshapen { layer: name.clone(), found }))?;
            if shape != wiring.kernel.weight_shape() {
                let found = format!("`{idx}.{at}.weight` has shape {shape:?} for a kernel {:?}", wiring.kernel);
                return Err(damaged(found).into());
            }
            whole.push(Connection { wiring: wiring.clone(), weights: values });
        }
        let values = ChannelValues {
            biases: take("bias")?.values,
            initial_potentials: take("initial_potential")?.values,
            thresholds: take("threshold")?.values,
            exponents: take("grid_exponent")?.values.iter().map(|&exponent| exponent as i32).collect(),
        };
        layers.push(SpikingLayer::on_grids(name, whole, values).map_err(invalid)?);
    }
    let network = SpikingNetwork::new(metadata.structure.input, layers).map_err(invalid)?;
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
    use model::population::{Pool, PoolKind};
    use serde_json::{Value, json};

    use super::*;
    use crate::network::{Biases, ExactLayer};
    use crate::wiring::{Kernel, Source};

    /// A convolution on a 3×3 image, then a readout of its sums of 2×2 windows.
    fn network() -> SpikingNetwork {
        let layer = |name: &str, wiring: Wiring, weights: &[f64], biases: &[f64], initial_potentials: &[f64]| {
            let exact = ExactLayer {
                name: name.to_owned(),
                connections: vec![Connection { wiring, weights: weights.to_vec() }],
                biases: biases.to_vec().into(),
                initial_potentials: initial_potentials.to_vec(),
                thresholds: biases.iter().map(|bias| 1.3 + bias.abs()).collect(),
            };
            SpikingLayer::round(&exact, 16).unwrap()
        };
        let kernel = Kernel::square([1, 3, 3], 2, 2, 1, 1, 1);
        let first = Wiring { source: Source::INPUT, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
        let pool = Pool::new(PoolKind::Mean, [2; 2], [2; 2]);
        let second = Wiring {
            source: Source::of_layer(0),
            source_shape: [2, 4, 4],
            pools: vec![pool],
            kernel: Kernel::dense(2 * 2 * 2, 1),
        };
        let layers = [
            layer("conv 1", first, &[0.31, -0.7, 1.1, 0.2, 0.4, -0.25, 0.6, -1.9], &[0.1, -0.3], &[0.5, -0.1]),
            layer("dense 2", second, &[0.9, -1.2, 0.1, 0.2, 0.3, 0.4, 0.5, -0.6], &[0.01], &[0.0]),
        ];
        SpikingNetwork::new([1, 3, 3], layers.into()).unwrap()
    }

    fn metadata() -> SnnMetadata<Value, Value> {
        SnnMetadata {
            format: FORMAT,
            quartic_version: "0".to_owned(),
            recipe: json!({"p": 4}),
            config: "name = \"x\"".to_owned(),
            parent: "abc".to_owned(),
            conversion: Value::Null,
            notes: Vec::new(),
            trained: None,
            structure: Structure::default(),
            ann_levels: None,
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
    fn parts_of_a_file_are_those_of_the_whole() {
        let (_folder, path, ann) = written();
        let whole = read::<Value, Value>(&path).unwrap();
        let part = read_network::<Value, Value>(&path).unwrap();
        assert_eq!((&part.network, &part.checksum), (&whole.network, &whole.checksum));
        assert!(part.ann.is_empty());
        let trained = read_trained::<Value, Value>(&path).unwrap();
        assert_eq!((trained.tensors, trained.metadata, trained.checksum), (ann, whole.metadata, whole.checksum));
    }

    #[test]
    fn a_network_that_refers_to_the_trained_one_takes_no_bytes_for_it_and_refuses_another() {
        let (folder, path, _) = written();
        let weights = TensorF32 { shape: vec![1000], values: vec![0.25; 1000] };
        let ann = BTreeMap::from([("1.weight".to_owned(), weights)]);
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        write(&path, &network(), &ann, metadata()).unwrap();
        let holding = size(&path);
        let trained = write_trained(folder.path(), &ann).unwrap();
        let referring = SnnMetadata { trained: Some(trained), ..metadata() };
        write(&path, &network(), &BTreeMap::new(), referring.clone()).unwrap();
        assert!(size(&path) < holding - 3500, "{} of {holding}", size(&path));
        let whole = read::<Value, Value>(&path).unwrap();
        assert_eq!((&whole.network, &whole.ann, whole.metadata.format), (&network(), &ann, REFERRING_FORMAT));
        assert_eq!(read_trained::<Value, Value>(&path).unwrap().tensors, ann);
        // Another network under the same name, none, and one that lies elsewhere.
        write_trained(folder.path(), &BTreeMap::new()).unwrap();
        let error = read::<Value, Value>(&path).unwrap_err().to_string();
        assert!(error.contains("trained.safetensors: not the trained network that"), "{error}");
        std::fs::remove_file(folder.path().join(TRAINED_FILE_NAME)).unwrap();
        let error = read_trained::<Value, Value>(&path).unwrap_err().to_string();
        assert!(error.contains("trained.safetensors: ") && error.ends_with("simulate.reference = false"), "{error}");
        assert_eq!(read_network::<Value, Value>(&path).unwrap().network, network());
        let elsewhere = TrainedFile { name: "../a.safetensors".to_owned(), checksum: String::new() };
        let elsewhere = SnnMetadata { trained: Some(elsewhere), ..referring };
        write(&path, &network(), &BTreeMap::new(), elsewhere).unwrap();
        let error = read::<Value, Value>(&path).unwrap_err().to_string();
        assert!(error.contains("does not lie in the same folder"), "{error}");
    }

    /// The same with windows that differ from side to side and biases of single neurons.
    fn uneven_network() -> SpikingNetwork {
        let mut layers = network().layers().to_vec();
        let layer = |name: &str, wiring: Wiring| {
            let channels = wiring.kernel.channels;
            let n_out: usize = wiring.kernel.output().iter().product();
            let exact = ExactLayer {
                name: name.to_owned(),
                connections: vec![Connection { weights: vec![0.3; channels * wiring.kernel.row_len()], wiring }],
                biases: Biases::OfNeurons((0..n_out).map(|neuron| 0.01 * neuron as f64).collect()),
                initial_potentials: vec![0.0; channels],
                thresholds: vec![1.0; channels],
            };
            SpikingLayer::round(&exact, 16).unwrap()
        };
        let kernel = Kernel {
            input: [1, 3, 3],
            channels: 2,
            size: [1, 2],
            stride: [1, 2],
            padding: [0, 1, 1, 0],
            dilation: [1, 2],
            groups: 1,
        };
        let first = Wiring { source: Source::INPUT, source_shape: [1, 3, 3], pools: Vec::new(), kernel };
        let pool = Pool {
            padding: [1, 0, 0, 0],
            ceil: true,
            counts_padding: false,
            ..Pool::new(PoolKind::Mean, [2, 1], [2, 1])
        };
        layers[0] = layer("conv 1", first);
        let second = Wiring {
            source: Source::of_layer(0),
            source_shape: [2, 4, 1],
            pools: vec![pool],
            kernel: Kernel::dense(2 * 3, 1),
        };
        layers[1] = layer("dense 2", second);
        SpikingNetwork::new([1, 3, 3], layers).unwrap()
    }

    #[test]
    fn what_is_unusual_is_read_back_and_what_is_usual_is_described_as_it_always_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snn.safetensors");
        let connections = |network: &SpikingNetwork| {
            write(&path, network, &BTreeMap::new(), metadata()).unwrap();
            let read = read::<Value, Value>(&path).unwrap();
            assert_eq!(read.network, *network);
            serde_json::to_value(read.metadata.structure).unwrap()
        };
        let usual = connections(&network());
        assert_eq!(
            usual["layers"][0]["connections"][0]["kernel"],
            json!({ "input": [1, 3, 3], "channels": 2, "size": 2, "stride": 1, "padding": 1, "groups": 1 })
        );
        let pools = |structure: &Value| structure["layers"][1]["connections"][0]["pools"].clone();
        assert_eq!(pools(&usual), json!([{ "kind": "mean", "kernel": [2, 2], "stride": [2, 2] }]));
        let uneven = uneven_network();
        assert_eq!(uneven.layers()[0].biases().values().len(), 8);
        let unusual = connections(&uneven);
        assert_eq!(
            unusual["layers"][0]["connections"][0]["kernel"],
            json!({
                "input": [1, 3, 3], "channels": 2, "size": [1, 2], "stride": [1, 2], "padding": [0, 1, 1, 0], "dilation": [1, 2],
                "groups": 1
            })
        );
        assert_eq!(
            pools(&unusual),
            json!([{
                "kind": "mean", "kernel": [2, 1], "stride": [2, 1], "padding": [1, 0, 0, 0], "ceil": true, "counts_padding": false
            }])
        );
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
                damage(&|tensors, _| tensors.get_mut("0.0.weight").unwrap().values[0] += 1e-7),
                "channel 0 is not on an exact grid",
            ),
            (
                damage(&|tensors, _| tensors.get_mut("0.0.weight").unwrap().values[1] = f32::NAN),
                "a weight of channel 0 is NaN",
            ),
            (
                damage(&|tensors, _| tensors.get_mut("1.threshold").unwrap().values[0] = -1.0),
                "the threshold of channel 0 is -1",
            ),
            (
                damage(&|tensors, _| {
                    let three = TensorF32 { shape: vec![3], values: vec![0.0; 3] };
                    tensors.insert("0.bias".to_owned(), three);
                }),
                "3 biases for 2 channels of 32 neurons",
            ),
            (
                damage(&|_, description| {
                    description["structure"]["layers"][0]["connections"][0]["kernel"]["padding"] = json!([1, 1]);
                }),
                "2 sizes where 4 are needed",
            ),
            (damage(&|tensors, _| _ = tensors.remove("1.bias")), "tensor `1.bias` is missing"),
            (
                damage(&|tensors, _| _ = tensors.insert("x".to_owned(), tensors["1.bias"].clone())),
                "tensor `x` belongs to no layer",
            ),
            (damage(&|_, description| description["format"] = json!(99)), "format 99"),
            (
                damage(&|_, description| _ = description["structure"]["layers"].as_array_mut().unwrap().remove(1)),
                "belongs to no layer",
            ),
            (
                damage(&|_, description| {
                    description["structure"]["layers"][0]["connections"][0]["kernel"]["size"] = json!(3);
                }),
                "`0.0.weight` has shape [2, 1, 2, 2] for a kernel",
            ),
            (
                damage(&|_, description| {
                    description["structure"]["layers"][0]["connections"][0]["kernel"]["stride"] = json!(0);
                }),
                "a kernel with a size of 0",
            ),
            (
                damage(&|_, description| description["structure"]["input"] = json!([1, 9, 1])),
                "from a source of [1, 9, 1]",
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
