//! Whether an imported network does on these samples what it was trained for.
//!
//! A file of weights does not say what its network sees: pixels from 0 to 1 or to 255, with or without mean and deviation taken off,
//! which class comes first. Where one of these is wrong, everything else works, and the result is wrong. So the trained network's
//! accuracy is measured before anything is converted, compared with chance and with what the user expects, and with that of the same
//! network on samples that are prepared as other programs usually do.

use ann::network::{Network, values};
use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use datasets::LabelledImages;
use model::config::Experiment;

/// Samples that the accuracy is measured on where nothing else is asked for: its standard error is 1.6 points at most.
pub(crate) const SAMPLES: usize = 1000;

/// Least samples on which a network can be said to be no better than chance.
const LEAST_SAMPLES: usize = 50;

/// Standard errors within which an accuracy is that of chance.
const STANDARD_ERRORS: f64 = 4.0;

/// Points by which the accuracy may differ from the one that is expected.
const TOLERANCE: f64 = 0.5;

/// Points that another preparation must be better by to be told.
const TOLD: f64 = 1.0;

/// Mean and standard deviation of the pixels of `ImageNet`'s photographs, red, green, blue, which are divided by 255 (the figures that
/// torchvision documents).
const IMAGENET: [[f64; 2]; 3] = [[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]];

/// What is asked of an imported network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expectation {
    /// Accuracy in percent, on the test samples.
    pub accuracy: Option<f64>,
    /// Whether a network that is no better than chance is converted all the same, such as one of random weights.
    pub chance: bool,
}

/// An imported network and the samples that it is tried on.
pub(crate) struct Trial<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) network: &'a Network,
    pub(crate) device: &'a Device,
    pub(crate) samples: &'a LabelledImages,
    /// `training` or `test`.
    pub(crate) split: &'a str,
}

/// A preparation of samples, for people and as `[factor, offset]` of each channel.
struct Preparation {
    key: String,
    affine: Vec<[f64; 2]>,
}

impl Trial<'_> {
    /// Measures and judges; returns what the user should know.
    ///
    /// # Errors
    /// If the network is no better than chance, or not what is expected.
    pub(crate) fn judge(&self, expected: Expectation) -> Result<Vec<String>> {
        let n_channels = self.experiment.architecture.input()[0];
        let accuracy = self.accuracy(&vec![[1.0, 0.0]; n_channels]);
        let n = self.samples.len();
        let found = format!("the trained network's accuracy is {accuracy:.2} % on {n} {} samples", self.split);
        if let Some(wanted) = expected.accuracy {
            if (accuracy - wanted).abs() <= TOLERANCE {
                return Ok(vec![found]);
            }
            let share = if wanted > 0.0 && wanted <= 1.0 {
                format!(" (--expect-accuracy is in percent: was {} % meant?)", 100.0 * wanted)
            } else {
                String::new()
            };
            bail!("{found}, and {wanted} % is expected{share}; {}", self.causes(accuracy));
        }
        let chance = self.chance();
        if accuracy <= self.limit_of_chance() && n >= LEAST_SAMPLES && !expected.chance {
            bail!(
                "{found}, no more than chance ({chance:.1} %); {}; to convert it all the same, such as a network of random weights, \
                 give --accept-chance",
                self.causes(accuracy)
            );
        }
        let mut notes = vec![found];
        notes.extend(self.better(accuracy).map(|(preparation, better)| {
            format!("it would be {better:.2} % with {}: give that if the network was trained so", preparation.key)
        }));
        Ok(notes)
    }

    /// Accuracy in percent where the network sees samples prepared otherwise.
    fn accuracy(&self, affine: &[[f64; 2]]) -> f64 {
        let n = self.samples.len();
        let span = self.samples.n_features() / affine.len();
        let mut n_right = 0;
        let batch = crate::activation::batch(self.experiment.architecture.populations());
        for first in (0..n).step_by(batch) {
            let range = first..n.min(first + batch);
            let mut images = self.samples.images(range.clone());
            for (at, value) in images.iter_mut().enumerate() {
                let [factor, offset] = affine[at / span % affine.len()];
                *value = (f64::from(*value) * factor + offset) as f32;
            }
            let shape = [range.len(), self.samples.n_features()];
            let logits = values(self.network.forward(Tensor::from_data(TensorData::new(images, shape), self.device)));
            let n_classes = logits.len() / range.len();
            let decisions = logits.chunks_exact(n_classes).map(snn::engine::first_largest);
            n_right +=
                range.zip(decisions).filter(|(at, class)| usize::from(self.samples.label(*at)) == *class).count();
        }
        100.0 * n_right as f64 / n.max(1) as f64
    }

    /// Share of the most frequent class, in percent.
    fn chance(&self) -> f64 {
        let mut counts = vec![0_usize; self.samples.n_classes()];
        self.samples.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
        100.0 * counts.into_iter().max().unwrap_or_default() as f64 / self.samples.len().max(1) as f64
    }

    /// Accuracy in percent up to which a network may be one that guesses.
    fn limit_of_chance(&self) -> f64 {
        let share = self.chance() / 100.0;
        100.0 * (share + STANDARD_ERRORS * (share * (1.0 - share) / self.samples.len().max(1) as f64).sqrt())
    }

    /// Preparations that other programs usually make, where the experiment does not say which.
    fn preparations(&self) -> Vec<Preparation> {
        let n_channels = self.experiment.architecture.input()[0];
        if self.experiment.data.normalize.is_some() {
            return Vec::new();
        }
        let normalized = |key: String, of: &[[f64; 2]]| Preparation {
            key,
            affine: of.iter().map(|[mean, deviation]| [deviation.recip(), -mean / deviation]).collect(),
        };
        let list = |of: &[[f64; 2]], which: usize| {
            of.iter().map(|values| format!("{:.4}", values[which])).collect::<Vec<_>>().join(", ")
        };
        let keys = |of: &[[f64; 2]]| {
            format!("data.normalize.mean = [{}] and data.normalize.deviation = [{}]", list(of, 0), list(of, 1))
        };
        let scale = self.samples.scaling().scale;
        let mut all = vec![
            Preparation { key: "data.scale = 1".to_owned(), affine: vec![[scale, 0.0]; n_channels] },
            Preparation { key: "data.scale = 255".to_owned(), affine: vec![[scale / 255.0, 0.0]; n_channels] },
        ];
        let half = vec![[0.5, 0.5]; n_channels];
        all.push(normalized(keys(&half), &half));
        let own = self.statistics();
        if own.iter().all(|[_, deviation]| *deviation > 0.0) {
            all.push(normalized(format!("{} (those of these samples)", keys(&own)), &own));
        }
        if n_channels == IMAGENET.len() {
            all.push(normalized(format!("{} (those of ImageNet)", keys(&IMAGENET)), &IMAGENET));
        }
        all
    }

    /// Mean and standard deviation of each channel.
    fn statistics(&self) -> Vec<[f64; 2]> {
        let n_channels = self.experiment.architecture.input()[0];
        let span = self.samples.n_features() / n_channels;
        let mut sums = vec![[0.0, 0.0]; n_channels];
        for sample in 0..self.samples.len() {
            for (at, value) in self.samples.image(sample).into_iter().map(f64::from).enumerate() {
                let [sum, squares] = &mut sums[at / span];
                *sum += value;
                *squares += value * value;
            }
        }
        let n = (self.samples.len() * span).max(1) as f64;
        sums.into_iter().map(|[sum, squares]| [sum / n, (squares / n - (sum / n).powi(2)).max(0.0).sqrt()]).collect()
    }

    /// The best of the usual preparations, where it is better than what is and than chance.
    fn better(&self, accuracy: f64) -> Option<(Preparation, f64)> {
        let tried = self.preparations().into_iter().map(|preparation| {
            let accuracy = self.accuracy(&preparation.affine);
            (preparation, accuracy)
        });
        let least = (accuracy + TOLD).max(self.limit_of_chance());
        tried.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, better)| *better > least)
    }

    /// Why an accuracy may be low, the likeliest first.
    fn causes(&self, accuracy: f64) -> String {
        let first = match self.better(accuracy) {
            Some((preparation, better)) => {
                format!("with {} it would be {better:.2} %, so it was probably trained so", preparation.key)
            }
            None => "its samples may be prepared otherwise than in training (data.scale, data.normalize)".to_owned(),
        };
        format!(
            "likely causes, in order: {first}; its classes may be in another order, or begin at another label (data.first_label); its \
             channels, rows and columns may be in another order; the file may hold other weights than those that were trained (--key), or \
             none that were"
        )
    }
}
