//! Every experiment file in `configs/` can be run as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datasets::DatasetFacts;
use model::config::ExperimentFile;

fn configs_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join("configs")
}

/// Every file below a folder, in a fixed order, but for the results that stand beside their experiments and the documents on them.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| !path.ends_with("results") && !path.ends_with("README.md"));
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What is wrong with the experiment files, one line each.
fn problems(paths: &[PathBuf]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<String, &Path> = BTreeMap::new();
    for path in paths {
        if path.extension().is_none_or(|extension| extension != "toml") {
            problems.push(format!("{}: is no TOML file", path.display()));
            continue;
        }
        let file = match ExperimentFile::read(path, &[]) {
            Ok(file) => file,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        for experiment in file.cells.iter().map(|cell| &cell.experiment).chain([&file.base]) {
            let fits = DatasetFacts::of(&experiment.data, None)
                .map_err(|error| error.to_string())
                .and_then(|facts| experiment.check_fits(facts.shape, facts.class_names.len()));
            problems.extend(fits.err().map(|problem| format!("{}: {problem}", path.display())));
        }
        if let Some(path_of_data) = &file.base.data.path {
            problems.push(format!(
                "{}: [data] path: {} is on one machine only",
                path.display(),
                path_of_data.display()
            ));
        }
        if file.base.description.is_empty() {
            problems.push(format!("{}: description: missing; say what the experiment shows", path.display()));
        }
        // Results go to a folder of this name; two experiments would take turns in it.
        let name = file.base.name;
        if let Some(other) = names.insert(name.clone(), path) {
            problems.push(format!("{}: name: `{name}` is also that of {}", path.display(), other.display()));
        }
    }
    // The cells of a sweep have most of their problems in common.
    problems.dedup();
    problems
}

#[test]
fn every_experiment_is_valid_fits_its_data_and_has_a_name_of_its_own() {
    let paths = files_below(&configs_folder());
    assert!(!paths.is_empty(), "configs/ holds no experiment");
    let problems = problems(&paths);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
