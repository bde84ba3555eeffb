//! The command as its users meet it: exit codes, messages, files, and going on after a cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A network that trains in a second.
const TINY: &str = r#"
name = "tiny"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [{ kind = "flatten" }, { kind = "dense", units = 24 }, { kind = "relu" }, { kind = "dense", units = 10 }]
[train]
epochs = 2
[simulate]
steps = 8
samples = 200
probe_samples = 20
[sweep]
seed = [1, 2]
convert = [{ method = "max" }, { method = "norm", kappa = "auto", kappa_grid = [0.3, 0.6], kappa_samples = 100 }]
"#;

fn reproduce(folder: &Path, config: &str, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("x.toml"), config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_reproduce")).arg("x.toml").args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn an_experiment_ends_with_a_table_and_a_report_and_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let output = reproduce(folder.path(), TINY, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for part in ["ANN", "max", "norm p=4 κ=auto", "T=1", "T=8", "runs/tiny/report.html"] {
        assert!(table.contains(part), "`{part}` is not in\n{table}");
    }
    let results = folder.path().join("runs/tiny");
    for file in [
        "report.html",
        "experiment.json",
        "results.csv",
        "results-columns.md",
        "findings.md",
        "intervals.md",
        "cells.json",
        "times.json",
        "accuracy-operations-light.svg",
        "table.md",
        "differences.md",
        "accuracy-light.svg",
        "accuracy-dark.svg",
        "law.md",
        "law-light.svg",
        "law-dark.svg",
    ] {
        assert!(results.join(file).is_file(), "{file}");
    }
    assert!(!results.join("loss.md").exists(), "nobody asked for it");
    let ann = results.join("seed-1/ann.safetensors");
    let times = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let (trained, record) = (times(&ann), std::fs::read(results.join("experiment.json")).unwrap());

    // A second run makes nothing again; one lost file is made again, and all results are the same.
    std::fs::remove_file(results.join("seed-2/max/results.json")).unwrap();
    let kept = times(&results.join("seed-1/max/results.json"));
    let again = reproduce(folder.path(), TINY, &[]);
    assert_eq!(text(&again.stdout), table);
    assert!(text(&again.stderr).starts_with("[2/4] 2 unchanged\n[3/4] seed 2: max in "), "{}", text(&again.stderr));
    assert_eq!((times(&ann), times(&results.join("seed-1/max/results.json"))), (trained, kept));
    assert!(std::fs::read(results.join("experiment.json")).unwrap() == record);

    // The dense engine and forced repetition change nothing either.
    let forced = reproduce(
        folder.path(),
        TINY,
        &["--force", "--set", "simulate.engine=dense", "--set", "simulate.batch_size=7"],
    );
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    assert_eq!(text(&forced.stdout), table);
    assert!(times(&ann) > trained);
}

#[test]
fn a_wrong_configuration_exits_with_2_and_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let output = reproduce(folder.path(), &TINY.replace("epochs = 2", "epoch = 2"), &["--set", "simulate.steps=0"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("x.toml: [train] epoch: unknown key; did you mean `train.epochs`?"), "{error}");
    assert!(error.contains("x.toml: [simulate] steps: found 0; use a whole number from 1"), "{error}");
    assert_eq!(reproduce(folder.path(), TINY, &["--no-such-flag"]).status.code(), Some(2));
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_missing_data_set_exits_with_1_and_says_once_how_to_get_it_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = TINY.replace("\"digits\"", "\"mnist\"").replace("[1, 8, 8]", "[1, 28, 28]");
    let output = reproduce(folder.path(), &config, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert_eq!(error.matches("run `scripts/fetch-data mnist`").count(), 1, "{error}");
    assert!(!folder.path().join("runs").exists(), "nothing is made");
}

#[test]
fn a_network_that_does_not_fit_its_data_exits_with_1_and_the_shape_to_use() {
    let folder = tempfile::tempdir().unwrap();
    let output = reproduce(folder.path(), &TINY.replace("[1, 8, 8]", "[1, 9, 8]"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("use input = [1, 8, 8]"), "{}", text(&output.stderr));
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_backend_that_is_not_built_in_exits_with_1_and_the_build_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = reproduce(folder.path(), TINY, &["--backend", "wgpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--features wgpu"), "{}", text(&output.stderr));
}

#[test]
fn the_reference_lists_every_key() {
    let output = Command::new(env!("CARGO_BIN_EXE_reproduce")).arg("--keys").output().unwrap();
    let reference = text(&output.stdout);
    assert!(output.status.success());
    for key in model::config::schema::KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(reference.contains(&format!("\n{name}: {}", key.doc)), "{}", key.path);
    }
}

/// Every file below a folder, with its contents and its time of change; what holds times is left out.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    fn below(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, (Vec<u8>, SystemTime)>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                below(root, &path, found);
            } else if !["cells.json", "times.json"].contains(&entry.file_name().to_str().unwrap()) {
                let contents = (std::fs::read(&path).unwrap(), entry.metadata().unwrap().modified().unwrap());
                found.insert(path.strip_prefix(root).unwrap().to_owned(), contents);
            }
        }
    }
    let mut found = BTreeMap::new();
    below(folder, folder, &mut found);
    found
}

fn contents(files: &BTreeMap<PathBuf, (Vec<u8>, SystemTime)>) -> Vec<(&PathBuf, &Vec<u8>)> {
    files.iter().map(|(path, (bytes, _))| (path, bytes)).collect()
}

#[test]
fn a_failed_combination_is_reported_and_is_all_that_the_next_run_makes() {
    let whole = tempfile::tempdir().unwrap();
    assert!(reproduce(whole.path(), TINY, &[]).status.success());

    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("runs/tiny");
    // Nothing can be written where the combination's folder should be.
    std::fs::create_dir_all(results.join("seed-1")).unwrap();
    std::fs::write(results.join("seed-1/max"), "in the way").unwrap();
    let output = reproduce(folder.path(), TINY, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    for part in [
        "[1/4] seed 1: max: failed to convert: ",
        "failed to convert: seed 1: max\n  ",
        "seed-1/max",
        "1 of 4 combinations failed; the same command again makes these and no other",
    ] {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
    assert!(text(&output.stdout).contains("norm p=4 κ=auto"), "tables are of what is finished");
    let read = |name: &str| std::fs::read_to_string(results.join(name)).unwrap();
    assert!(read("table.md").starts_with("Partial: 3 of 4 combinations.\n"));
    assert!(read("findings.md").contains("3 of 4 combinations are finished, 1 failed"));
    assert!(read("report.html").contains("1 combination failed"));

    std::fs::remove_file(results.join("seed-1/max")).unwrap();
    let before = files(&results);
    let output = reproduce(folder.path(), TINY, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let after = files(&results);
    for (path, (_, modified)) in
        before.iter().filter(|(path, _)| path.starts_with("seed-1") || path.starts_with("seed-2"))
    {
        assert_eq!(after[path].1, *modified, "{} was made again", path.display());
    }
    assert!(contents(&after) == contents(&files(&whole.path().join("runs/tiny"))), "results differ");
}

#[test]
fn a_network_whose_training_fails_fails_its_combinations_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = "train.sgd = [{ label = \"tame\", learning_rate = 0.1 }, { label = \"wild\", learning_rate = 100.0, weight_decay = 1.0 }]";
    let config = TINY.replace("seed = [1, 2]", sweep);
    let output = reproduce(folder.path(), &config, &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("failed to train: wild: max; wild: norm p=4 κ=auto\n  training diverged: "), "{error}");
    assert!(folder.path().join("runs/tiny/tame/max/results.json").is_file());
    assert!(!folder.path().join("runs/tiny/wild/max").exists());
    let csv = std::fs::read_to_string(folder.path().join("runs/tiny/results.csv")).unwrap();
    assert!(
        csv.starts_with(
            "experiment,network,training_seed,architecture,ann_accuracy,label,train.sgd,train.sgd.learning_rate,"
        ),
        "{csv}"
    );
}

#[test]
fn a_killed_sweep_has_partial_results_and_goes_on_to_the_same_end_without_making_anything_twice() {
    /// Far longer than a combination takes: only a hang is ended by it.
    const DEADLINE: Duration = Duration::from_mins(2);
    let whole = tempfile::tempdir().unwrap();
    assert!(reproduce(whole.path(), TINY, &[]).status.success());

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.toml"), TINY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
    command.arg("x.toml").current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let results = folder.path().join("runs/tiny");
    let start = Instant::now();
    // The second network's first combination is finished, its second one is not.
    while !results.join("seed-2/max/results.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was half-way");
        assert!(start.elapsed() < DEADLINE, "it did not come half-way");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let table = std::fs::read_to_string(results.join("table.md")).unwrap();
    assert!(table.starts_with("Partial: 2 of 4 combinations.\n"), "{table}");
    let before = files(&results);

    let output = reproduce(folder.path(), TINY, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("[3/4] 3 unchanged\n"), "{}", text(&output.stderr));
    let after = files(&results);
    let made = |path: &Path| {
        path.starts_with("seed-1") || path.starts_with("seed-2/max") || path == Path::new("seed-2/ann.safetensors")
    };
    for (path, (_, modified)) in before.iter().filter(|(path, _)| made(path)) {
        assert_eq!(after[path].1, *modified, "{} was made again", path.display());
    }
    assert!(contents(&after) == contents(&files(&whole.path().join("runs/tiny"))), "results differ");
}

#[test]
fn the_list_tells_size_cost_data_and_what_has_been_run() {
    let folder = tempfile::tempdir().unwrap();
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
        let output = command.args(["--list", "x.toml"]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    std::fs::write(folder.path().join("x.toml"), TINY).unwrap();
    let (listing, told) = list();
    for line in [
        "x.toml (tiny)\n",
        "  size: 2 networks × 2 conversions × 1 simulation seed = 4 runs\n",
        "  state: not run\n",
        "  data: digits, there\n",
        "(by timing small networks now, scaled",
    ] {
        assert!(listing.contains(line), "`{line}` is not in\n{listing}");
    }
    assert!(told.starts_with("no run has told how fast this machine is"), "{told}");

    assert!(reproduce(folder.path(), TINY, &[]).status.success());
    std::fs::remove_file(folder.path().join("runs/tiny/seed-2/max/results.json")).unwrap();
    let (listing, told) = list();
    assert!(listing.contains("  state: partial: 3 of 4 combinations finished, 2 of 2 networks trained\n"), "{listing}");
    assert!(listing.contains("(by its own recorded times)"), "{listing}");
    assert!(told.is_empty(), "{told}");
    assert!(reproduce(folder.path(), TINY, &[]).status.success());
    let (listing, _) = list();
    assert!(listing.contains("  state: finished, 4 combinations\n") && listing.contains(", nothing left"), "{listing}");

    // What is not there is said: the data, or the file.
    let config = TINY.replace("\"digits\"", "\"mnist\"").replace("[1, 8, 8]", "[1, 28, 28]").replace("tiny", "other");
    std::fs::write(folder.path().join("x.toml"), config).unwrap();
    let (listing, _) = list();
    assert!(
        listing.contains("  data: mnist, NOT there: ") && listing.contains("scripts/fetch-data mnist"),
        "{listing}"
    );
    assert!(listing.contains("(by recorded times of other experiments, scaled)"), "{listing}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_reproduce")).args(["--list", "nowhere"]).current_dir(folder.path()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("nowhere: "), "{}", text(&output.stderr));
}
