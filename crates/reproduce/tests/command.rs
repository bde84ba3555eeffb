//! The command as its users meet it: exit codes, messages, files, and going on after a cut.

use std::path::Path;
use std::process::{Command, Output};

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
fn a_missing_data_set_exits_with_1_and_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = TINY.replace("\"digits\"", "\"mnist\"").replace("[1, 8, 8]", "[1, 28, 28]");
    let output = reproduce(folder.path(), &config, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("scripts/fetch-data mnist"), "{}", text(&output.stderr));
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
