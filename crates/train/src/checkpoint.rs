//! What is needed to go on after a kill: weights, optimiser state, history, after each epoch.
//!
//! A checkpoint is a folder `checkpoint-NNNNNN`, made under another name and renamed when whole; older ones are
//! removed after that. So at any moment the newest checkpoint there is can be resumed from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use burn::module::Module as _;
use burn::optim::ModuleOptimizer;
use model::artefact::{self, Contents};
use model::network::Network;
use report::record::EpochRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Prefix of checkpoint folders.
const PREFIX: &str = "checkpoint-";

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
    let context = || format!("writing a checkpoint in {}; check that it can be written to and has space", folder.display());
    fs::create_dir_all(folder).with_context(context)?;
    let temporary = tempfile::Builder::new().prefix(".checkpoint-").tempdir_in(folder).with_context(context)?;
    let at = |name: &str| temporary.path().join(name);
    network.clone().save_file(at("network.bpk")).with_context(context)?;
    optimizer.save(at("optimizer.bpk")).with_context(context)?;
    if let Some(best) = best {
        artefact::write(&at("best.safetensors"), &best.tensors(), &Value::Null)?;
    }
    artefact::write_atomically(&at("progress.json"), &serde_json::to_vec_pretty(progress)?)?;
    let name = format!("{PREFIX}{:06}", progress.history.len());
    let older = list(folder)?;
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
    list(folder).ok()?.iter().rev().find_map(|path| {
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

/// Removes every checkpoint in a folder.
///
/// # Errors
/// If one cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    for path in list(folder)? {
        fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Checkpoint folders, oldest first; none if the folder is not there.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("listing {}", folder.display()))?,
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)))
        .collect();
    paths.sort();
    Ok(paths)
}
