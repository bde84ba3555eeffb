//! An experiment and its data, together: what the experiment leaves to the data is found and put into it.

use model::Experiment;

use crate::{DataSet, DatasetError};

/// An experiment whose data have been looked at.
#[derive(Debug)]
pub struct Resolved {
    /// The experiment, with the scaling of its data.
    pub experiment: Experiment,
    /// Its data.
    pub data: DataSet,
    /// What the user should know of the data, one sentence each.
    pub notes: Vec<String>,
}

impl Resolved {
    /// Looks at the data of an experiment.
    ///
    /// - `made_by`: the resolved configuration of the artefact that is worked on: the scaling that it tells is that of its network
    ///
    /// # Errors
    /// [`DatasetError`] if the data cannot be read.
    pub fn of(experiment: &Experiment, made_by: Option<&str>) -> Result<Self, DatasetError> {
        let known = made_by.map_or_else(|| experiment.clone(), |config| experiment.with_scaling_of(config));
        let data = DataSet::open(&known.data, Some(known.architecture.input()))?;
        let experiment = known.with_scaling(data.scaling()?, data.usual_scaling());
        let notes = data.notes()?;
        Ok(Self { experiment, data, notes })
    }
}
