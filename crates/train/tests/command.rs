//! The command as a process: killed at any moment it goes on where it stopped, and it fails as it should.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use model::Backend;
use model::ann::AnnMetadata;
use model::artefact;

/// Everything that has a state which must survive: momentum, dropout, a validation split and early stopping.
const CONFIG: &str = r#"
name = "digits"
seed = 3
[data]
dataset = "digits"
validation_samples = 400
[model]
input = [1, 8, 8]
layers = [
  { kind = "flatten" },
  { kind = "dense", units = 128 },
  { kind = "relu" },
  { kind = "dropout", rate = 0.3 },
  { kind = "dense", units = 10 },
]
[train]
epochs = 60
batch_size = 16
patience = 8
[train.sgd]
learning_rate = 0.1
momentum = 0.9
nesterov = true
weight_decay = 1e-5
"#;

/// Running statistics, several branches, random crops and mirror images.
const CONVOLUTIONAL: &str = r#"
name = "digits"
seed = 4
data.dataset = "digits"
[model]
input = [1, 8, 8]
layers = [
  { kind = "conv2d", channels = 4, kernel = 3, padding = 1, bias = false },
  { kind = "batch-norm" },
  { kind = "relu" },
  { kind = "residual", body = [
    { kind = "conv2d", channels = 8, kernel = 3, stride = 2, padding = 1 },
    { kind = "batch-norm" },
    { kind = "relu" },
    { kind = "conv2d", channels = 8, kernel = 3, padding = 1, groups = 2 },
    { kind = "batch-norm" },
  ], shortcut = [{ kind = "conv2d", channels = 8, kernel = 1, stride = 2 }] },
  { kind = "relu" },
  { kind = "max-pool", kernel = 2 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
[train]
epochs = 4
batch_size = 64
augment = { crop_padding = 1, flip = true }
sgd = { learning_rate = 0.1, momentum = 0.9 }
"#;

/// What the activation `qcfs` has beside: thresholds of their own step size and without decay, two stages, and the best of the last one.
const QUANTISED: &[&str] = &[
    "--set",
    "train.activation=qcfs",
    "--set",
    "train.levels=[8, 4]",
    "--set",
    "train.epochs=8",
    "--set",
    "train.sgd.weight_decay=1e-4",
];

/// Far longer than an epoch takes: only a hang is ended by it.
const DEADLINE: Duration = Duration::from_mins(1);

/// A folder with the experiment file and the runs.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("digits.toml"), config).unwrap();
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.current_dir(self.0.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("runs/digits").join(name)
    }

    /// Kills a training as soon as the checkpoint of an epoch is there, and a little later.
    fn kill_after_epoch(&self, arguments: &[&str], epoch: usize, delay: Duration) {
        let mut child = self.command(arguments).spawn().unwrap();
        let checkpoint = self.path(&format!("checkpoint-{epoch:06}"));
        wait_for(&checkpoint, &mut child);
        std::thread::sleep(delay);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success(), "it was not killed but ended");
        assert!(!self.path("ann.safetensors").exists(), "it was killed too late to have anything left to do");
    }
}

fn checksum(workplace: &Workplace) -> String {
    artefact::file_checksum(&workplace.path("ann.safetensors")).unwrap()
}

fn wait_for(path: &Path, child: &mut Child) {
    let start = Instant::now();
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "training ended before {} was there", path.display());
        assert!(start.elapsed() < DEADLINE, "{} did not come", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_killed_training_ends_in_the_same_file_as_one_that_was_not() {
    for backend in [Backend::Flex, Backend::Ndarray].into_iter().filter(|backend| ann::backend::is_built_in(*backend)) {
        let arguments = ["digits.toml", "--backend", backend.name()];
        let whole = Workplace::new(CONFIG);
        let output = whole.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let file = whole.path("ann.safetensors");
        let metadata: AnnMetadata = artefact::read(&file, "").unwrap().metadata.unwrap();
        let n_epochs = metadata.history.as_array().unwrap().len();
        assert!(n_epochs < 60 && metadata.epoch == n_epochs - 8, "it must stop early");

        let killed = Workplace::new(CONFIG);
        killed.kill_after_epoch(&arguments, 1, Duration::ZERO);
        // Somewhere in the middle of an epoch.
        killed.kill_after_epoch(&arguments, 3, Duration::from_millis(10));
        // After the best epoch: the best network itself comes from the checkpoint.
        killed.kill_after_epoch(&arguments, metadata.epoch.max(3) + 1, Duration::ZERO);
        let output = killed.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let progress = text(&output.stderr);
        // A graphics driver may have lines of its own.
        let first = progress.lines().find(|line| line.starts_with("train "));
        assert!(first.is_some_and(|line| line.starts_with("train going on after epoch ")), "{progress}");
        assert!(progress.contains(&format!("stopped early after {n_epochs} epochs")), "{progress}");
        assert_eq!(checksum(&killed), checksum(&whole), "{backend}");
        let left: Vec<_> =
            std::fs::read_dir(killed.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["ann.safetensors"]);
    }
}

#[test]
fn a_killed_training_of_a_convolutional_network_ends_in_the_same_file_too() {
    let whole = Workplace::new(CONVOLUTIONAL);
    let output = whole.run(&["digits.toml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let killed = Workplace::new(CONVOLUTIONAL);
    killed.kill_after_epoch(&["digits.toml"], 2, Duration::from_millis(10));
    assert!(killed.run(&["digits.toml"]).status.success());
    assert_eq!(checksum(&killed), checksum(&whole));
}

#[test]
fn a_killed_training_of_a_quantised_network_ends_in_the_same_file_too() {
    for (thresholds, epochs) in [("train.thresholds=channel", [2, 6]), ("train.thresholds=norm", [3, 5])] {
        let arguments = [&["digits.toml", "--set", thresholds], QUANTISED].concat();
        let whole = Workplace::new(CONFIG);
        let output = whole.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("validation accuracy: "), "{}", text(&output.stdout));
        let metadata: AnnMetadata = artefact::read(&whole.path("ann.safetensors"), "").unwrap().metadata.unwrap();
        assert!(metadata.epoch > 4, "the network that is kept is one of the last stage");
        let killed = Workplace::new(CONFIG);
        for epoch in epochs {
            killed.kill_after_epoch(&arguments, epoch, Duration::ZERO);
        }
        assert!(killed.run(&arguments).status.success());
        assert_eq!(checksum(&killed), checksum(&whole), "{thresholds}");
    }
}

#[test]
fn results_go_to_the_standard_output_and_progress_to_the_standard_error() {
    let workplace = Workplace::new(CONFIG);
    let arguments = ["digits.toml", "--set", "train.epochs=2"];
    let output = workplace.run(&arguments);
    let (results, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{progress}");
    assert!(
        results.starts_with("runs/digits/ann.safetensors: test accuracy 9") && results.lines().count() == 1,
        "{results}"
    );
    let starts = ["train epoch 1/2: loss ", "train epoch 2/2: loss ", "train finished 2 epochs in "];
    assert!(progress.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{progress}");
    assert_eq!(progress.lines().count(), starts.len(), "{progress}");

    let again = workplace.run(&arguments);
    assert_eq!((text(&again.stdout), text(&again.stderr)), (results.replace('\n', " (unchanged)\n"), String::new()));
}

#[test]
fn failures_say_what_is_wrong_and_exit_with_their_kind() {
    let workplace = Workplace::new(CONFIG);
    let mut cases = vec![
        (vec!["nowhere.toml"], 2, "nowhere.toml: "),
        (vec!["digits.toml", "--set", "train.epoch=1"], 2, "did you mean `train.epochs`?"),
        (vec!["digits.toml", "--backend", "cuda"], 2, "\"ndarray\""),
        (vec!["digits.toml", "--frobnicate"], 2, "--frobnicate"),
        (vec!["digits.toml", "--set", "model.input=[4, 4, 4]"], 1, "use input = [1, 8, 8]"),
        (vec!["digits.toml", "--set", "data.dataset=mnist"], 1, "scripts/fetch-data mnist"),
        (
            vec!["digits.toml", "--set", "train.sgd.learning_rate=100", "--set", "train.sgd.weight_decay=1"],
            1,
            "training diverged: ",
        ),
    ];
    if !ann::backend::is_built_in(Backend::Wgpu) {
        cases.push((vec!["digits.toml", "--backend", "wgpu"], 1, "rebuild with `--features wgpu`"));
    }
    for (arguments, code, message) in cases {
        let output = workplace.run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty() && !workplace.path("ann.safetensors").exists());
    }
}

#[test]
fn the_reference_of_keys_needs_no_experiment() {
    let output = Workplace::new(CONFIG).run(&["--keys"]);
    assert!(output.status.success() && text(&output.stdout).contains("\n[train.sgd]\nlearning_rate: "));
}
