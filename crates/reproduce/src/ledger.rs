//! What became of every cell of a sweep, kept in the run's folder: `cells.json`.
//!
//! A cell whose files were found whole is known by their sizes and times of change, so that a later run need read none of them
//! but the results. Whoever changes a file changes its time; whatever is not as it was is read and checked again by the
//! commands themselves. The file may be deleted: it saves time and says what failed, and no result depends on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Result;
use model::Experiment;
use model::artefact::{sha256_hex, write_atomically};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Name of the file in a run's folder.
pub const FILE_NAME: &str = "cells.json";

/// Formats of what cells are made of, and of this file; a ledger of other ones is not relied on.
const FORMATS: [u32; 4] = [1, model::ann::FORMAT, snn::artefact::FORMAT, simulate::FORMAT];

/// What is known of the cells of one run's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    formats: Vec<u32>,
    /// By folder, relative to the run's.
    cells: BTreeMap<String, Entry>,
}

/// What is known of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// Checksum of the configuration that it was run with.
    config: String,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Its files were whole and belonged together.
    Finished {
        /// Everything that it was made of or is.
        files: Vec<Stamp>,
        /// What the user should know.
        notes: Vec<String>,
    },
    Failed(Failure),
}

/// A file as the file system knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    /// Of the last change of its contents, in nanoseconds since 1970.
    modified_ns: u128,
    /// Of the last change of contents, name or owner, which nobody can set back; 0 where the system knows none.
    changed_ns: i128,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        #[cfg(unix)]
        let changed_ns = {
            use std::os::unix::fs::MetadataExt as _;
            i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed_ns = 0;
        Some(Self { path: path.to_owned(), bytes: metadata.len(), modified_ns: modified.as_nanos(), changed_ns })
    }
}

impl Ledger {
    /// Reads a run's ledger; an empty one if there is none that can be relied on.
    pub fn read(folder: &Path) -> Self {
        let empty = Self { formats: FORMATS.to_vec(), cells: BTreeMap::new() };
        let text = std::fs::read(folder.join(FILE_NAME)).ok();
        let read: Option<Self> = text.and_then(|text| serde_json::from_slice(&text).ok());
        read.filter(|ledger| ledger.formats == FORMATS).unwrap_or(empty)
    }

    /// Writes it to the run's folder.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_atomically(&folder.join(FILE_NAME), &serde_json::to_vec(self)?)?)
    }

    /// Notes on a finished cell, none of whose files has changed since; `None` for any other.
    ///
    /// - `made_of`: the trained network's file and the folder with the data
    pub fn unchanged(&self, cell: &str, config: &str, made_of: &[PathBuf]) -> Option<&[String]> {
        let entry = self.cells.get(cell).filter(|entry| entry.config == config)?;
        let State::Finished { files, notes } = &entry.state else { return None };
        (*files == stamps(made_of)?).then_some(notes)
    }

    /// Notes down that a cell is finished.
    pub fn finish(&mut self, cell: &str, config: &str, made_of: &[PathBuf], notes: Vec<String>) {
        match stamps(made_of) {
            Some(files) => {
                let entry = Entry { config: config.to_owned(), state: State::Finished { files, notes } };
                _ = self.cells.insert(cell.to_owned(), entry);
            }
            // Somebody took a file away meanwhile: the cell is looked at again next time.
            None => _ = self.cells.remove(cell),
        }
    }

    /// Notes down that a cell failed.
    pub fn fail(&mut self, cell: &str, config: &str, failure: Failure) {
        let entry = Entry { config: config.to_owned(), state: State::Failed(failure) };
        _ = self.cells.insert(cell.to_owned(), entry);
    }

    /// Why a cell failed when it was last run with this configuration.
    pub fn failure(&self, cell: &str, config: &str) -> Option<&Failure> {
        match self.cells.get(cell) {
            Some(Entry { config: of, state: State::Failed(failure) }) if of == config => Some(failure),
            _ => None,
        }
    }
}

/// The files below some paths, folders two levels deep; `None` if one of the paths is not there.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    fn below(path: &Path, depth: usize, found: &mut Vec<Stamp>) -> Option<()> {
        if !path.is_dir() {
            found.push(Stamp::of(path)?);
        } else if depth > 0 {
            let mut inner: Vec<PathBuf> = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
            inner.sort();
            for path in inner {
                below(&path, depth - 1, found)?;
            }
        }
        Some(())
    }
    let mut found = Vec::new();
    for path in paths {
        path.exists().then_some(())?;
        below(path, 2, &mut found)?;
    }
    Some(found)
}

/// Checksum of all that a cell's results depend on in its configuration: neither how they are reported, nor what runs the network.
pub fn config_checksum(experiment: &Experiment, labels: [&str; 2]) -> String {
    let resolved = experiment.resolved().iter().filter(|(key, _)| !["description", "report"].contains(&key.as_str()));
    let mut text = String::new();
    for (key, value) in resolved {
        let mut value = value.clone();
        if let Some(simulate) = value.as_table_mut().filter(|_| key == "simulate") {
            for key in ["engine", "batch_size"] {
                simulate.remove(key);
            }
        }
        text.push_str(&format!("{key} = {value}\n"));
    }
    sha256_hex(format!("{text}{labels:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stage;

    #[test]
    fn a_cell_is_unchanged_until_a_file_or_its_configuration_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (ann, data) = (folder.path().join("ann"), folder.path().join("data"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(&ann, "weights").unwrap();
        std::fs::write(data.join("images"), "pixels").unwrap();
        let made_of = [ann.clone(), data.clone()];
        let mut ledger = Ledger::read(folder.path());
        ledger.finish("a", "c", &made_of, vec!["a note".to_owned()]);
        ledger.write(folder.path()).unwrap();
        let ledger = Ledger::read(folder.path());
        assert_eq!(ledger.unchanged("a", "c", &made_of), Some(&["a note".to_owned()][..]));
        assert_eq!(ledger.unchanged("a", "other", &made_of), None);
        assert_eq!(ledger.unchanged("b", "c", &made_of), None);

        // A file of the same size and time of modification, put in its place.
        let modified = std::fs::metadata(&ann).unwrap().modified().unwrap();
        std::fs::write(folder.path().join("new"), "Weights").unwrap();
        std::fs::File::options().write(true).open(folder.path().join("new")).unwrap().set_modified(modified).unwrap();
        std::fs::rename(folder.path().join("new"), &ann).unwrap();
        assert_eq!(std::fs::metadata(&ann).unwrap().modified().unwrap(), modified);
        assert_eq!(ledger.unchanged("a", "c", &made_of), None);

        let mut ledger = ledger;
        ledger.finish("a", "c", &made_of, Vec::new());
        assert!(ledger.unchanged("a", "c", &made_of).is_some());
        std::fs::write(data.join("more"), "pixels").unwrap();
        assert_eq!(ledger.unchanged("a", "c", &made_of), None);
    }

    #[test]
    fn a_failure_is_remembered_for_its_configuration_and_a_damaged_ledger_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Failure {
            network: "seed 1".to_owned(),
            label: "max".to_owned(),
            stage: Stage::Convert,
            error: "e".to_owned(),
        };
        let mut ledger = Ledger::read(folder.path());
        ledger.fail("a", "c", failure.clone());
        ledger.write(folder.path()).unwrap();
        let ledger = Ledger::read(folder.path());
        assert_eq!((ledger.failure("a", "c"), ledger.failure("a", "d")), (Some(&failure), None));
        std::fs::write(folder.path().join(FILE_NAME), "{\"formats\": [1]").unwrap();
        assert_eq!(Ledger::read(folder.path()).failure("a", "c"), None);
    }
}
