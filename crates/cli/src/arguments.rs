//! Command-line arguments that every command takes. Parses only: commands print and exit.

use std::path::PathBuf;

use clap::Args;

use model::config::{ConfigError, Experiment, ExperimentFile, ModelSection, Outline};

/// How a command runs, apart from what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Make again what is there already and unchanged.
    pub force: bool,
    /// Show progress on the standard error.
    pub progress: bool,
}

/// The experiment, overrides of its keys, and where results go.
#[derive(Debug, Clone, Args)]
pub struct ExperimentArgs {
    /// Experiment file, such as configs/quickstart.toml
    #[arg(value_name = "CONFIG", required_unless_present = "keys")]
    pub config: Option<PathBuf>,
    /// Override a key of the experiment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// burn backend (flex, ndarray, wgpu); short for --set backend=NAME
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Folder for results; an experiment's are in RUNS/NAME
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Make results again even if they are there and unchanged
    #[arg(long)]
    pub force: bool,
    /// List every key of an experiment file, then exit
    #[arg(long)]
    pub keys: bool,
}

impl ExperimentArgs {
    /// Options of a command that a person runs.
    pub fn options(&self) -> Options {
        Options { force: self.force, progress: true }
    }

    /// Reads and checks the experiment file with its overrides, and expands its sweep.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn read(&self) -> Result<ExperimentFile, ConfigError> {
        ExperimentFile::read(self.path(), &self.all_overrides())
    }

    /// Reads and checks the experiment without its sweep, for a command that expands none.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of the experiment itself.
    pub fn read_base(&self) -> Result<Experiment, ConfigError> {
        self.read_base_or_find(|_| Ok(None))
    }

    /// The same; its `[model]` may be found elsewhere ([`Experiment::read_or_find`]).
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of the experiment itself, or what `find` says.
    pub fn read_base_or_find(
        &self,
        find: impl FnOnce(&Outline) -> Result<Option<ModelSection>, String>,
    ) -> Result<Experiment, ConfigError> {
        Experiment::read_or_find(self.path(), &self.all_overrides(), find)
    }

    fn path(&self) -> &std::path::Path {
        self.config.as_deref().unwrap_or(std::path::Path::new(""))
    }

    /// What `--set` and its short forms override.
    pub fn all_overrides(&self) -> Vec<String> {
        let mut overrides = self.overrides.clone();
        overrides.extend(self.backend.iter().map(|name| format!("backend=\"{name}\"")));
        overrides
    }
}
