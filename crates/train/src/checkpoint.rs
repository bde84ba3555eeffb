//! What is needed to go on after a kill: weights, optimiser state, history, after each epoch.
//!
//! A checkpoint is a folder `checkpoint-NNNNNN`, made under another name and renamed when whole; older ones are
//! removed after that. So at any moment the newest checkpoint there is can be resumed from.

use std::fs;
use std::path::{Path, PathBuf};

use ann::network::Network;
use anyhow::{Context as _, Result};
use burn::module::Module as _;
use burn::optim::ModuleOptimizer;
use model::artefact::{self, Contents};
use results::record::EpochRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Prefix of checkpoint folders.
const PREFIX: &str = "checkpoint-";

/// Prefix of checkpoints that are being written, or were when their writer was killed.
const TEMPORARY_PREFIX: &str = ".checkpoint-";

/// Training as it stands after an epoch, apart from the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being trained; a checkpoint of another recipe is of no use.
    pub recipe: Value,
    /// One entry per finished epoch.
    pub history: Vec<EpochRecord>,
    /// With early stopping, the epoch with the lowest validation loss so far and that loss.
    pub best: Option<(usize, f64)>,
}

/// Writes a checkpoint and removes the older ones.
///
/// - `best`: the network with the lowest validation loss, with early stopping
///
/// # Errors
/// If the folder cannot be written to.
pub fn save(
    folder: &Path,
    progress: &Progress,
    network: &Network,
    optimizer: &ModuleOptimizer,
    best: Option<&Network>,
) -> Result<()> {
    let context = || {
        let folder = folder.display();
        format!(
            "{folder}: writing a checkpoint failed; check that it has space, can be written to, and no other training runs in it"
        )
    };
    fs::create_dir_all(folder).with_context(context)?;
    for unfinished in list(folder, TEMPORARY_PREFIX)? {
        fs::remove_dir_all(unfinished).with_context(context)?;
    }
    let temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(folder).with_context(context)?;
    let at = |name: &str| temporary.path().join(name);
    network.clone().save_file(at("network.bpk")).with_context(context)?;
    optimizer.save(at("optimizer.bpk")).with_context(context)?;
    if let Some(best) = best {
        artefact::write(&at("best.safetensors"), &best.tensors(), &Value::Null)?;
    }
    artefact::write_atomically(&at("progress.json"), &serde_json::to_vec_pretty(progress)?)?;
    let name = format!("{PREFIX}{:06}", progress.history.len());
    let older = list(folder, PREFIX)?;
    let destination = folder.join(&name);
    if destination.exists() {
        fs::remove_dir_all(&destination).with_context(context)?;
    }
    fs::rename(temporary.keep(), &destination).with_context(context)?;
    for old in older.iter().filter(|path| **path != destination) {
        fs::remove_dir_all(old).with_context(context)?;
    }
    Ok(())
}

/// A checkpoint read back.
pub struct Checkpoint {
    /// How far training had come.
    pub progress: Progress,
    /// The network after the last finished epoch.
    pub network: Network,
    /// The optimiser then.
    pub optimizer: ModuleOptimizer,
    /// Tensors of the best network, with early stopping.
    pub best: Option<Network>,
}

/// Reads the newest checkpoint of a recipe; `None` if there is none that is whole.
///
/// - `fresh`: a network and an optimiser of the right kind, which give up their contents
/// - `with_tensors`: makes a network of tensors
pub fn load(
    folder: &Path,
    recipe: &Value,
    fresh: impl Fn() -> (Network, ModuleOptimizer),
    with_tensors: impl Fn(&Contents<Value>) -> Network,
) -> Option<Checkpoint> {
    list(folder, PREFIX).ok()?.iter().rev().find_map(|path| {
        let progress: Progress = serde_json::from_slice(&fs::read(path.join("progress.json")).ok()?).ok()?;
        if progress.recipe != *recipe {
            return None;
        }
        let (network, optimizer) = fresh();
        let network = network.try_load_file(path.join("network.bpk")).ok()?;
        let optimizer = optimizer.load(path.join("optimizer.bpk")).ok()?;
        let best = match progress.best {
            None => None,
            Some(_) => Some(with_tensors(&artefact::read(&path.join("best.safetensors"), "").ok()?)),
        };
        Some(Checkpoint { progress, network, optimizer, best })
    })
}

/// Removes every checkpoint in a folder, whole or not.
///
/// # Errors
/// If one cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    for path in list(folder, PREFIX)?.into_iter().chain(list(folder, TEMPORARY_PREFIX)?) {
        fs::remove_dir_all(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
    }
    Ok(())
}

/// Folders of checkpoints by their prefix, oldest first; none if the folder is not there.
fn list(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{}: cannot be listed", folder.display()))?,
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{GradientsParams, SgdConfig};
    use burn::tensor::{Device, Tensor};
    use model::Architecture;
    use model::config::ExperimentFile;
    use serde_json::json;

    use super::*;
    use crate::fit::turn;

    fn device() -> Device {
        ann::device(ann::backend::built_in()[0]).unwrap()
    }

    fn architecture() -> Architecture {
        let text = r#"
            name = "tiny"
            data.dataset = "digits"
            model = { input = [1, 1, 2], layers = [{ kind = "flatten" }, { kind = "dense", units = 2 }] }
        "#;
        ExperimentFile::parse(text, Path::new("tiny.toml"), &[]).unwrap().base.architecture
    }

    fn fresh() -> (Network, ModuleOptimizer) {
        let sgd = SgdConfig::new().with_momentum(Some(MomentumConfig::new()));
        (Network::new(&architecture(), &device().autodiff()), sgd.init())
    }

    /// One step further, with the same gradient at every step.
    fn step(network: Network, optimizer: &mut ModuleOptimizer) -> Network {
        let images = Tensor::<2>::from_floats([[1.0, 0.5]], &device().autodiff());
        let gradients = GradientsParams::from_grads(network.forward(images).sum().backward(), &network);
        optimizer.step(0.1, network, gradients)
    }

    /// A network and an optimiser that has something to remember.
    fn trained() -> (Network, ModuleOptimizer) {
        let (network, mut optimizer) = fresh();
        (step(network, &mut optimizer), optimizer)
    }

    fn progress(n_epochs: usize, best: Option<(usize, f64)>) -> Progress {
        let record = |epoch| EpochRecord {
            epoch,
            learning_rate: 0.1,
            // Must come back to the last bit; most readers of JSON miss these by one.
            train_loss: 5.0 / 11.0,
            train_accuracy: 14.0 / 15.0,
            validation_loss: best.map(|(_, loss)| loss),
            validation_accuracy: None,
        };
        Progress { recipe: json!({"seed": 7}), history: (1..=n_epochs).map(record).collect(), best }
    }

    fn load_recipe(folder: &Path, recipe: &Value) -> Option<Checkpoint> {
        load(folder, recipe, fresh, |best| Network::with_tensors(&architecture(), &best.tensors, None, &device()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_saved_is_loaded_and_older_and_unfinished_checkpoints_go() {
        let _turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let (network, optimizer) = trained();
        let best = trained().0;
        fs::create_dir(folder.path().join(".checkpoint-killed")).unwrap();
        for n_epochs in 1..=3 {
            save(folder.path(), &progress(n_epochs, Some((1, 10.0 / 11.0))), &network, &optimizer, Some(&best))
                .unwrap();
        }
        assert_eq!(names(folder.path()), ["checkpoint-000003"]);
        let loaded = load_recipe(folder.path(), &json!({"seed": 7})).unwrap();
        assert_eq!(loaded.progress, progress(3, Some((1, 10.0 / 11.0))));
        assert_eq!(loaded.network.tensors(), network.tensors());
        assert_eq!(loaded.best.unwrap().tensors(), best.tensors());
        // The next step tells whether the optimiser remembers.
        let (mut optimizer, mut loaded_optimizer) = (optimizer, loaded.optimizer);
        let (next, loaded_next) = (step(network, &mut optimizer), step(loaded.network, &mut loaded_optimizer));
        assert_eq!(loaded_next.tensors(), next.tensors());
        fs::create_dir(folder.path().join(".checkpoint-killed")).unwrap();
        remove(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn another_recipe_s_checkpoint_is_not_used_and_goes_with_the_next() {
        let _turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let (network, optimizer) = trained();
        save(folder.path(), &progress(9, None), &network, &optimizer, None).unwrap();
        assert!(load_recipe(folder.path(), &json!({"seed": 8})).is_none());
        save(folder.path(), &progress(1, None), &network, &optimizer, None).unwrap();
        assert_eq!(names(folder.path()), ["checkpoint-000001"]);
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over() {
        let _turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let (network, optimizer) = trained();
        let path = folder.path().join("checkpoint-000001");
        for name in ["network.bpk", "optimizer.bpk", "progress.json", "best.safetensors"] {
            for damage in [&b""[..], b"not what it should be", &[0xff; 4096]] {
                save(folder.path(), &progress(1, Some((1, 0.5))), &network, &optimizer, Some(&network)).unwrap();
                assert!(load_recipe(folder.path(), &json!({"seed": 7})).is_some());
                let whole = fs::read(path.join(name)).unwrap();
                for bytes in [damage, &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
                    fs::write(path.join(name), bytes).unwrap();
                    assert!(load_recipe(folder.path(), &json!({"seed": 7})).is_none(), "{name}");
                }
                fs::remove_file(path.join(name)).unwrap();
                assert!(load_recipe(folder.path(), &json!({"seed": 7})).is_none(), "{name}");
            }
        }
    }

    #[test]
    fn no_folder_is_no_checkpoint() {
        assert!(load_recipe(Path::new("nowhere"), &Value::Null).is_none());
        remove(Path::new("nowhere")).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error() {
        let _turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let (network, optimizer) = trained();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = save(&file, &progress(1, None), &network, &optimizer, None).unwrap_err();
        assert!(format!("{error:#}").contains("file: writing a checkpoint failed; check"), "{error:#}");
    }
}
