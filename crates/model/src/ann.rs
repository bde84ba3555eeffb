//! The trained network's artefact, `ann.safetensors`, and other people's weights files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::architecture::Architecture;
use crate::artefact::{self, ArtefactError, Contents, TensorF32};
use crate::quantised;

/// Name of the artefact in a run's folder.
pub const FILE_NAME: &str = "ann.safetensors";

/// Format of the artefact's description; raised when its meaning changes.
pub const FORMAT: u32 = 1;

/// Where a trained network comes from and how good it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnnMetadata {
    /// [`FORMAT`] of the program that wrote the file.
    pub format: u32,
    /// Version of the program that wrote the file.
    pub quartic_version: String,
    /// Everything the weights depend on: seed, backend, `[data]`, `[model]`, `[train]` and the data's checksum.
    /// A file with the recipe that is asked for need not be made again.
    pub recipe: Value,
    /// The whole resolved configuration, as TOML text.
    pub config: String,
    /// Accuracy on the test set, in [0, 1].
    pub test_accuracy: f64,
    /// Share of the test set whose class is among the five that are decided for first, in [0, 1]; `None` where there are few classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// The epoch whose weights these are, from 1: the best one on the validation split with early stopping,
    /// else the last.
    pub epoch: usize,
    /// One entry per epoch, as the command that trained wrote it.
    pub history: Value,
    /// Of a network with the activation `qcfs`; a file of any other network says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantisation: Option<Quantisation>,
}

/// What is known of a network whose activations are quantised ([`crate::quantised`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantisation {
    /// Number of levels L above zero.
    pub levels: usize,
    /// Accuracy on the test samples, in [0, 1], of the network that training started from, as it was; `None` without one, or where its
    /// file does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_test_accuracy: Option<f64>,
    /// Accuracies on the validation split, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// Accuracies on the validation split, in [0, 1], of a quantised network and of what it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The network that training started from, as it was.
    pub start: f64,
    /// The same, quantised to the final number of levels, without training.
    pub untrained: f64,
    /// The trained one.
    pub trained: f64,
}

/// A trained network: its weights and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnArtefact {
    /// Named and shaped as [`crate::architecture::Layer::tensors`] says; in a quantised network, with its thresholds.
    pub tensors: BTreeMap<String, TensorF32>,
    /// `None` if the file was made by something else.
    pub metadata: Option<AnnMetadata>,
    /// SHA-256 of the file, in hexadecimal.
    pub checksum: String,
}

/// What to do about a file that is missing or damaged.
const REMEDY: &str = "run `train` on this configuration first, or name a whole safetensors file with `--weights`";

impl AnnArtefact {
    /// Reads a weights file and checks that it fits the architecture.
    ///
    /// The file need not be Quartic's: names, shapes and finite values are all that is asked for. Thresholds are asked for where the
    /// file's description says that the network is quantised, and left over where it does not.
    ///
    /// # Errors
    /// [`ArtefactError`] if the file is missing, damaged, or its tensors are missing, left over, misshapen or
    /// not finite; all of them are named.
    pub fn read(path: &Path, architecture: &Architecture) -> Result<Self, ArtefactError> {
        Self::read_or(path, architecture, REMEDY)
    }

    /// As [`Self::read`], for files that another command than `train` is asked for.
    ///
    /// - `remedy`: what to do about a file that is missing or damaged
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_or(path: &Path, architecture: &Architecture, remedy: &'static str) -> Result<Self, ArtefactError> {
        let Contents { tensors, metadata, checksum } = artefact::read::<AnnMetadata>(path, remedy)?;
        let quantisation = metadata.as_ref().and_then(|metadata| metadata.quantisation.as_ref());
        let levels = quantisation.map(|quantisation| quantisation.levels);
        let differences = differences_at(architecture, levels, &tensors);
        if differences.is_empty() {
            Ok(Self { tensors, metadata, checksum })
        } else {
            Err(ArtefactError::Unfit { path: path.to_owned(), differences })
        }
    }

    /// Number of levels of its activations; `None` of a network that is not quantised.
    pub fn levels(&self) -> Option<usize> {
        Some(self.metadata.as_ref()?.quantisation.as_ref()?.levels)
    }
}

/// One line per tensor that does not fit; empty if all do.
pub fn differences(architecture: &Architecture, tensors: &BTreeMap<String, TensorF32>) -> String {
    differences_at(architecture, None, tensors)
}

/// The same of a network that may be quantised.
///
/// - `levels`: number of levels of its activations, if it is
pub fn differences_at(
    architecture: &Architecture,
    levels: Option<usize>,
    tensors: &BTreeMap<String, TensorF32>,
) -> String {
    let mut expected = architecture.tensors();
    let mut text = String::new();
    if let Some(levels) = levels {
        if levels == 0 {
            text.push_str("  its description tells of activations with 0 levels; train it again\n");
        }
        for problem in quantised::rectifiers(architecture).err().unwrap_or_default() {
            _ = writeln!(text, "  its activations are quantised, and {problem}");
        }
        expected.extend(quantised::tensors(architecture));
    }
    text + &differences_from(expected, tensors)
}

/// - `expected`: shapes by name
fn differences_from(expected: Vec<(String, Vec<usize>)>, tensors: &BTreeMap<String, TensorF32>) -> String {
    let expected: BTreeMap<String, Vec<usize>> = expected.into_iter().collect();
    let mut text = String::new();
    for (name, shape) in &expected {
        match tensors.get(name) {
            None => _ = writeln!(text, "  `{name}`: missing; the model needs it with shape {shape:?}"),
            Some(tensor) if tensor.shape != *shape => {
                _ = writeln!(text, "  `{name}`: found shape {:?}; the model needs {shape:?}", tensor.shape);
            }
            Some(tensor) => {
                if let Some(position) = tensor.values.iter().position(|value| !value.is_finite()) {
                    let value = tensor.values[position];
                    _ = writeln!(
                        text,
                        "  `{name}`: value {value} at position {position}; train again with a lower learning rate"
                    );
                } else if name.ends_with(".running_var")
                    && let Some(value) = tensor.values.iter().find(|value| **value < 0.0)
                {
                    _ = writeln!(text, "  `{name}`: found the variance {value}; give variances of at least 0");
                } else if name.ends_with(&format!(".{}", quantised::FIELD))
                    && let Some(value) = tensor.values.iter().find(|value| **value <= 0.0)
                {
                    _ = writeln!(text, "  `{name}`: found the threshold {value}; give thresholds above 0");
                }
            }
        }
    }
    for (name, tensor) in tensors.iter().filter(|(name, _)| !expected.contains_key(*name)) {
        _ = writeln!(
            text,
            "  `{name}`: left over, shape {:?}; rename it if it is one of the missing, else remove it",
            tensor.shape
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::architecture::LayerKind;

    fn architecture() -> Architecture {
        Architecture::new([1, 1, 2], &[LayerKind::Flatten, LayerKind::Dense { units: 2 }]).unwrap()
    }

    /// Writes the tensors as another program would, with no description, and reads them back.
    fn write(tensors: &[(&str, &[usize], &[f32])]) -> Result<AnnArtefact, ArtefactError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.safetensors");
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        AnnArtefact::read(&path, &architecture())
    }

    #[test]
    fn weights_that_fit_are_accepted_whoever_wrote_them() {
        let ann = write(&[("1.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("1.bias", &[2], &[0.0, 1.0])]).unwrap();
        assert_eq!(ann.tensors["1.weight"].values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ann.metadata, None);
    }

    #[test]
    fn every_tensor_that_does_not_fit_is_named_at_once() {
        let error =
            write(&[("1.weight", &[2, 1], &[1.0, 2.0]), ("fc.bias", &[2], &[0.0, 0.0])]).unwrap_err().to_string();
        assert!(error.contains("`1.weight`: found shape [2, 1]; the model needs [2, 2]"), "{error}");
        assert!(error.contains("`1.bias`: missing; the model needs it with shape [2]"), "{error}");
        assert!(error.contains("`fc.bias`: left over"), "{error}");
    }

    #[test]
    fn weights_that_are_not_finite_are_refused_with_their_place() {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = write(&[("1.weight", &[2, 2], &[1.0, 2.0, bad, 0.0]), ("1.bias", &[2], &[0.0; 2])])
                .unwrap_err()
                .to_string();
            assert!(error.contains("`1.weight`: value") && error.contains("position 2"), "{error}");
        }
    }

    #[test]
    fn thresholds_are_asked_for_where_the_description_says_so_and_must_be_positive() {
        let kinds = [LayerKind::Flatten, LayerKind::Dense { units: 2 }, LayerKind::Relu, LayerKind::Dense { units: 1 }];
        let architecture = Architecture::new([1, 1, 1], &kinds).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let read = |thresholds: Option<[f32; 2]>, levels: Option<usize>| {
            let mut tensors: BTreeMap<String, TensorF32> =
                architecture.tensors().into_iter().map(|(name, shape)| (name, TensorF32::zeros(shape))).collect();
            let tensor = |values: [f32; 2]| TensorF32 { shape: vec![2], values: values.to_vec() };
            tensors.extend(thresholds.map(|values| ("2.threshold".to_owned(), tensor(values))));
            let metadata = AnnMetadata {
                format: FORMAT,
                quartic_version: String::new(),
                recipe: Value::Null,
                config: String::new(),
                test_accuracy: 0.5,
                test_top5: None,
                epoch: 1,
                history: Value::Null,
                quantisation: levels.map(|levels| Quantisation { levels, start_test_accuracy: None, validation: None }),
            };
            artefact::write(&path, &tensors, &metadata).unwrap();
            AnnArtefact::read(&path, &architecture).map(|ann| ann.levels()).map_err(|error| error.to_string())
        };
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some([1.0, 0.5]), Some(4)), Ok(Some(4)));
        assert!(read(None, Some(4)).unwrap_err().contains("`2.threshold`: missing"));
        assert!(read(Some([1.0, 0.5]), None).unwrap_err().contains("`2.threshold`: left over"));
        assert!(read(Some([1.0, 0.0]), Some(4)).unwrap_err().contains("`2.threshold`: found the threshold 0"));
        assert!(read(Some([1.0, 0.5]), Some(0)).unwrap_err().contains("0 levels"));
    }

    #[test]
    fn a_missing_file_says_how_to_get_one() {
        let error = AnnArtefact::read(Path::new("nowhere/ann.safetensors"), &architecture()).unwrap_err().to_string();
        assert!(error.starts_with("nowhere/ann.safetensors: ") && error.ends_with(REMEDY), "{error}");
    }
}
