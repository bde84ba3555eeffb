//! A data set as the configuration names it: what is known of it, and its samples when they are asked for.
//!
//! Published data sets are in [`crate::sets`], and the kinds of a user's own files in [`crate::custom`].

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::config::{DataConfig, DatasetName, Scaling};

use crate::custom::{self, Opened};
use crate::elements::Values;
use crate::labels::classes;
use crate::samples::Files;
use crate::scaling::Extent;
use crate::sets::{Row, row};
use crate::{DatasetError, LabelledImages, Samples};

/// What is known of a data set without its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetFacts {
    /// Image shape `[C, H, W]`.
    pub shape: [usize; 3],
    /// Names of the classes, in label order.
    pub class_names: Vec<String>,
    /// Number of training samples, as published or in a user's own file; 0 if that is not there.
    pub n_train: usize,
    /// The same of test samples.
    pub n_test: usize,
}

impl DatasetFacts {
    /// Reads no file of a published data set, and of a user's own all but the images.
    ///
    /// - `input`: shape of the network's input, if it is known: pictures are cut to it
    ///
    /// # Errors
    /// [`DatasetError`] if a user's own files are missing, damaged, of another kind, or do not belong together.
    pub fn of(config: &DataConfig, input: Option<[usize; 3]>) -> Result<Self, DatasetError> {
        Ok(DataSet::open(config, input)?.facts)
    }
}

/// A data set whose files have been looked at.
#[derive(Debug)]
pub struct DataSet {
    config: DataConfig,
    facts: DatasetFacts,
    notes: Vec<String>,
    content: Content,
    scaling: OnceCell<(Scaling, Option<String>)>,
    /// Training samples that were read to find the scaling, until they are asked for.
    read_already: RefCell<Option<(Split, Values)>>,
}

#[derive(Debug)]
enum Content {
    Published(&'static Row, PathBuf),
    /// Files of training and of test samples.
    Custom(Box<[Option<SplitData>; 2]>, PathBuf),
}

/// One split of a user's own data set.
#[derive(Debug)]
struct SplitData {
    labels: Vec<u16>,
    pixels: custom::Pixels,
}

impl DataSet {
    /// Looks at the files of a data set: headers and labels of a user's own, nothing of published ones.
    ///
    /// - `config`: where scale and range are open there, they are found from the samples when those, or [`Self::scaling`], are asked for
    /// - `input`: shape of the network's input, if it is known: pictures are cut to it, and it tells where the channels of an array are
    ///
    /// # Errors
    /// [`DatasetError`] if a user's own files are missing, damaged, of another kind, of several kinds, or do not belong together.
    pub fn open(config: &DataConfig, input: Option<[usize; 3]>) -> Result<Self, DatasetError> {
        let path = config.path.clone().unwrap_or_else(|| config.dataset.default_path());
        let (facts, notes, content) = match row(config.dataset) {
            Some(row) => (row.published.facts(), Vec::new(), Content::Published(row, path)),
            None => open_custom(config, input, path)?,
        };
        let (scaling, read_already) = (OnceCell::new(), RefCell::new(None));
        Ok(Self { config: config.clone(), facts, notes, content, scaling, read_already })
    }

    /// What is known without the images.
    pub fn facts(&self) -> &DatasetFacts {
        &self.facts
    }

    /// What the user should know of the files and of how their values are read, one sentence each.
    ///
    /// # Errors
    /// As [`Self::scaling`].
    pub fn notes(&self) -> Result<Vec<String>, DatasetError> {
        let (_, note) = self.found_scaling()?;
        Ok(self.notes.iter().chain(note).cloned().collect())
    }

    /// What stored values stand for: as the configuration says, and where it does not as the training samples tell (the test samples
    /// where there are no others).
    ///
    /// Reads those samples into memory if they have to tell, and keeps them for [`Self::samples`].
    ///
    /// # Errors
    /// [`DatasetError`] if the samples cannot be read.
    pub fn scaling(&self) -> Result<Scaling, DatasetError> {
        Ok(self.found_scaling()?.0)
    }

    /// The scaling that the name of the data set tells by itself; `None` for a user's own.
    pub fn usual_scaling(&self) -> Option<Scaling> {
        match self.content {
            Content::Published(row, _) => Some(Scaling::by(row.scale.into())),
            Content::Custom(..) => None,
        }
    }

    /// The samples of a split.
    ///
    /// # Errors
    /// [`DatasetError`] if files are missing, truncated, oversized, of another kind, or do not belong together.
    pub fn samples(&self, split: Split) -> Result<Samples, DatasetError> {
        let scaling = self.scaling()?;
        let class_names: Arc<[String]> = self.facts.class_names.clone().into();
        let shape = self.facts.shape;
        let (values, labels) = match &self.content {
            Content::Published(row, folder) => {
                let (pixels, labels) = (row.load)(split, folder)?;
                (Values::Bytes(pixels), labels.into_iter().map(u16::from).collect())
            }
            Content::Custom(splits, path) => {
                let SplitData { labels, pixels } =
                    splits[split as usize].as_ref().ok_or_else(|| custom::missing(path, split))?;
                match pixels {
                    custom::Pixels::Files { folder, files, geometry } => {
                        let (folder, indices, labels) = (folder.clone(), files.clone(), labels.clone());
                        let geometry = *geometry;
                        let files = Files { folder, indices, labels, class_names, geometry, scaling };
                        return Ok(Samples::of_files(files));
                    }
                    custom::Pixels::Array(read) => (self.array(split, read)?, labels.clone()),
                }
            }
        };
        Ok(LabelledImages::of_values(shape, scaling, class_names, values, labels)?.into())
    }

    /// Values that were read already, or that are read now.
    fn array(&self, split: Split, read: &custom::Read) -> Result<Values, DatasetError> {
        match self.read_already.take() {
            Some((of, values)) if of == split => Ok(values),
            other => {
                self.read_already.replace(other);
                read.0()
            }
        }
    }

    fn found_scaling(&self) -> Result<&(Scaling, Option<String>), DatasetError> {
        if self.scaling.get().is_none() {
            // Nobody else sets it: it is not shared between threads.
            let _ = self.scaling.set(self.find_scaling()?);
        }
        Ok(self.scaling.get().expect("set just now"))
    }

    fn find_scaling(&self) -> Result<(Scaling, Option<String>), DatasetError> {
        let DataConfig { scale, range, .. } = self.config;
        if let (Some(scale), Some(range)) = (scale, range) {
            return Ok((Scaling { scale, range }, None));
        }
        // Bytes of which it is known beforehand what is white.
        let of_white = |white: f64| {
            let extent = Extent { min: 0.0, max: white, are_whole: true };
            let config = DataConfig { scale: Some(scale.unwrap_or(white)), ..self.config.clone() };
            extent.scaling(&config)
        };
        let splits = match &self.content {
            Content::Published(row, _) => return Ok((of_white(row.scale.into()), None)),
            Content::Custom(splits, _) => splits,
        };
        let first =
            [Split::Train, Split::Test].into_iter().find_map(|split| Some((split, splits[split as usize].as_ref()?)));
        let Some((split, data)) = first else { return Ok((Scaling::by(1.0), None)) };
        let custom::Pixels::Array(read) = &data.pixels else { return Ok((of_white(255.0), None)) };
        let values = read.0()?;
        let extent = Extent::of(&values).unwrap_or(Extent { min: 0.0, max: 0.0, are_whole: true });
        self.read_already.replace(Some((split, values)));
        let of = if split == Split::Train { "training" } else { "test" };
        Ok((extent.scaling(&self.config), extent.note(&self.config, of)))
    }
}

/// Facts, notes and files of a user's own data set.
fn open_custom(
    config: &DataConfig,
    input: Option<[usize; 3]>,
    path: PathBuf,
) -> Result<(DatasetFacts, Vec<String>, Content), DatasetError> {
    let Opened { shape, class_names, notes, splits } = custom::open(&path, config, input)?;
    let (labels, pixels): (Vec<_>, Vec<_>) = splits.into_iter().map(Option::unzip).unzip();
    // Names of folders are the classes themselves, whatever numbers other labels would start with.
    let first = if class_names.is_some() && config.first_label.is_none() { Some(0) } else { config.first_label };
    let (labels, n_classes) = classes(labels, class_names.as_ref().map(Vec::len), first)?;
    let class_names =
        class_names.unwrap_or_else(|| (0..n_classes).map(|class| (class + first.unwrap_or(0)).to_string()).collect());
    let count = |split: Split| labels[split as usize].as_ref().map_or(0, Vec::len);
    let facts = DatasetFacts { shape, class_names, n_train: count(Split::Train), n_test: count(Split::Test) };
    let mut splits =
        labels.into_iter().zip(pixels).map(|(labels, pixels)| Some(SplitData { labels: labels?, pixels: pixels? }));
    let splits = [splits.next().flatten(), splits.next().flatten()];
    Ok((facts, notes, Content::Custom(Box::new(splits), path)))
}

/// [`LabelledImages::checksum`] of a published split; `None` where it is not known, as for a user's own.
pub fn published_checksum(name: DatasetName, split: Split) -> Option<&'static str> {
    Some(row(name)?.checksums?[split as usize])
}

/// What is known of a published data set before any file is read.
#[derive(Debug)]
pub(crate) struct Published {
    /// `[C, H, W]`
    pub(crate) shape: [usize; 3],
    /// In label order.
    pub(crate) class_names: &'static [&'static str],
    /// Number of training and test samples; a user's files may hold others.
    pub(crate) n_train: usize,
    pub(crate) n_test: usize,
}

impl Published {
    pub(crate) fn facts(&self) -> DatasetFacts {
        let &Self { shape, class_names, n_train, n_test } = self;
        DatasetFacts { shape, class_names: class_names.iter().copied().map(str::to_owned).collect(), n_train, n_test }
    }
}

/// A part of a data set, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training and calibration.
    Train,
    /// For scoring.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// A file or folder for a message.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
