//! Stochastic gradient descent, epoch by epoch.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ann::network::{Network, THRESHOLD_PARAMETER, Thresholds, values};
use anyhow::{Result, bail};
use burn::module::{Module as _, ParamGroup};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, Optimizer, Sgd, SgdConfig, SgdState};
use burn::tensor::{Device, Int, Tensor, TensorData};
use datasets::LabelledImages;
use model::Experiment;
use model::ann::{Quantisation, Validation};
use model::config::{Activation, TrainConfig, TrainedThresholds};
use model::quantised::Rectifier;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use results::record::{EpochRecord, TOP_FIVE_ABOVE};
use serde_json::Value;
use snn::engine::rank;

use crate::checkpoint::{self, Progress};
use crate::progress::Display;
use crate::schedule::learning_rate;
use crate::start::{self, Start};
use crate::{Data, Options, augment};

/// Samples per batch where no gradient is needed; does not change results.
const EVALUATION_BATCH: usize = 256;

/// What training made.
#[derive(Debug)]
pub struct Fitted {
    /// The network to keep, for inference.
    pub network: Network,
    /// The epoch whose weights these are, from 1.
    pub epoch: usize,
    /// One entry per epoch.
    pub history: Vec<EpochRecord>,
    /// Of a network with the activation `qcfs`.
    pub quantisation: Option<Quantisation>,
}

/// Trains a network, going on from a checkpoint in `folder` if there is one of the same recipe.
///
/// - `start`: the network to start from, if not from random weights
///
/// # Errors
/// If training diverges or a checkpoint cannot be written.
pub fn fit(
    experiment: &Experiment,
    data: &Data,
    device: &Device,
    start: Option<&Start>,
    folder: &Path,
    recipe: &Value,
    options: Options,
) -> Result<Fitted> {
    let config = &experiment.train;
    let architecture = &experiment.architecture;
    let training_device = device.clone().autodiff();
    let _turn = turn();
    if options.force {
        checkpoint::remove(folder)?;
    }
    let initial = Initial { experiment, data, start, device: &training_device };
    let fresh = || (initial.shaped(), optimizer(config));
    let resumed = checkpoint::load(folder, recipe, fresh, |best| {
        Network::with_tensors(architecture, &best.tensors, config.final_levels(), device)
    });
    let (mut network, mut optimizer, mut progress, mut best) = if let Some(checkpoint) = resumed {
        (checkpoint.network, checkpoint.optimizer, checkpoint.progress, checkpoint.best)
    } else {
        let progress = Progress { recipe: recipe.clone(), history: Vec::new(), best: None };
        (initial.network(), optimizer(config), progress, None)
    };
    // A checkpoint does not keep them.
    network = at_levels_of(network, config, progress.history.len());
    let n_resumed = progress.history.len();
    let display = Display::new(config.epochs, data.train.len(), &progress.history, options.progress);
    while progress.history.len() < config.epochs && !out_of_patience(&progress, config) {
        let epoch = progress.history.len() + 1;
        let loss;
        network = at_levels_of(network, config, epoch);
        start::renew_norms(experiment, &mut network);
        (network, loss) = train_epoch(experiment, data, &training_device, network, &mut optimizer, epoch, &display);
        let inference = network.valid();
        let validation = data.validation.as_ref().map(|samples| evaluate(&inference, samples, device));
        refuse_divergence(config, epoch, &[Some(loss), validation], &inference)?;
        if let Some(Score { loss, .. }) = validation
            && config.patience.is_some()
            && config.is_final_stage(epoch)
            && progress.best.is_none_or(|(_, lowest)| loss < lowest)
        {
            progress.best = Some((epoch, loss));
            best = Some(inference);
        }
        let steps_per_epoch = steps_per_epoch(config, data);
        progress.history.push(EpochRecord {
            epoch,
            learning_rate: learning_rate(config, epoch * steps_per_epoch - 1, steps_per_epoch),
            train_loss: loss.loss,
            train_accuracy: loss.accuracy,
            validation_loss: validation.map(|score| score.loss),
            validation_accuracy: validation.map(|score| score.accuracy),
        });
        checkpoint::save(folder, &progress, &network, &optimizer, best.as_ref())?;
        display.epoch(&progress.history[epoch - 1]);
    }
    let last = progress.history.len();
    let (network, epoch) = match (best, progress.best) {
        (Some(best), Some((epoch, _))) => (best, epoch),
        _ => (network.valid(), last),
    };
    display.finish(&progress.history, epoch, (last - n_resumed) * data.train.len());
    let quantisation = config.final_levels().map(|levels| Quantisation {
        levels,
        start_test_accuracy: start.and_then(|start| Some(start.ann.metadata.as_ref()?.test_accuracy)),
        validation: data.validation.as_ref().map(|samples| initial.validation(&network, levels, samples, device)),
    });
    Ok(Fitted { network, epoch, history: progress.history, quantisation })
}

/// A network with the number of levels of an epoch, 0 being that before the first; with `relu`, as it is.
fn at_levels_of(network: Network, config: &TrainConfig, epoch: usize) -> Network {
    match config.levels_in(epoch) {
        Some(levels) => network.at_levels(levels),
        None => network,
    }
}

/// What training begins with.
struct Initial<'a> {
    experiment: &'a Experiment,
    data: &'a Data,
    start: Option<&'a Start>,
    /// Of training.
    device: &'a Device,
}

impl Initial<'_> {
    /// The network before it is quantised.
    fn unquantised(&self, device: &Device) -> Network {
        match self.start {
            Some(start) => Network::with_tensors(&self.experiment.architecture, &start.ann.tensors, None, device),
            None => initial_network(self.experiment, device),
        }
    }

    /// A network of the right form, which gives up its contents.
    fn shaped(&self) -> Network {
        let network = self.unquantised(self.device);
        let is_shared = self.experiment.train.thresholds == TrainedThresholds::Norm;
        let any = |rectifier: &Rectifier| Thresholds {
            base: vec![1.0; rectifier.n_channels],
            factors: vec![1.0; if is_shared { 1 } else { rectifier.n_channels }],
        };
        self.quantised(network, any, self.device)
    }

    /// The network that the first epoch starts from.
    fn network(&self) -> Network {
        let network = self.unquantised(self.device);
        match self.experiment.train.levels_in(1) {
            Some(levels) => self.measured(network, levels, self.device),
            None => network,
        }
    }

    /// A network with measured thresholds, or those that it was trained with already.
    fn measured(&self, network: Network, levels: usize, device: &Device) -> Network {
        let Self { experiment, data, start, .. } = self;
        let trained = start.filter(|start| start.ann.levels().is_some());
        if let Some(start) = trained.filter(|_| experiment.train.thresholds == TrainedThresholds::Channel) {
            let of = |rectifier: &Rectifier| {
                let base = start.ann.tensors[&rectifier.tensor()].values.clone();
                Thresholds { factors: vec![1.0; base.len()], base }
            };
            return self.quantised(network, of, device).at_levels(levels);
        }
        let inference = device.clone().inner();
        let all = start::thresholds(experiment, &network.valid(), levels, &data.train, &inference);
        let rectifiers = Network::rectifiers(&experiment.architecture);
        let of = |rectifier: &Rectifier| {
            let at = rectifiers.iter().position(|other| other.node == rectifier.node);
            all[at.expect("one of them")].clone()
        };
        self.quantised(network, of, device).at_levels(levels)
    }

    fn quantised(&self, network: Network, of: impl Fn(&Rectifier) -> Thresholds, device: &Device) -> Network {
        match self.experiment.train.levels_in(1) {
            Some(levels) => network.quantised(&Network::rectifiers(&self.experiment.architecture), of, levels, device),
            None => network,
        }
    }

    /// Accuracies on validation samples of a trained network and of what it was made of.
    fn validation(&self, trained: &Network, levels: usize, samples: &LabelledImages, device: &Device) -> Validation {
        let start = match self.start {
            Some(start) => start.network(&self.experiment.architecture, device),
            None => self.unquantised(device),
        };
        let untrained = self.measured(self.unquantised(self.device), levels, self.device).valid();
        Validation {
            start: accuracy(&start, samples, device),
            untrained: accuracy(&untrained, samples, device),
            trained: accuracy(trained, samples, device),
        }
    }
}

/// Accuracy of a network on samples, in [0, 1].
pub fn accuracy(network: &Network, samples: &LabelledImages, device: &Device) -> f64 {
    evaluate(network, samples, device).accuracy
}

/// Classes that are decided for first, among which a sample's own is looked for.
const TOP: usize = 5;

/// Share of samples whose class is among the five that a network decides for first, in [0, 1]; `None` with [`TOP_FIVE_ABOVE`] classes
/// or fewer.
pub fn top_five(network: &Network, samples: &LabelledImages, device: &Device) -> Option<f64> {
    let n_classes = samples.n_classes();
    (n_classes > TOP_FIVE_ABOVE).then(|| {
        let order: Vec<usize> = (0..samples.len()).collect();
        let among = |chunk: &[usize]| {
            let logits = values(network.forward(Batch::new(samples, chunk, device, |_, _| {}).images));
            let ranks = logits.chunks_exact(n_classes).zip(chunk);
            ranks.filter(|(logits, sample)| rank(logits, samples.label(**sample).into()) < TOP).count()
        };
        order.chunks(EVALUATION_BATCH).map(among).sum::<usize>() as f64 / samples.len() as f64
    })
}

/// Mean cross entropy (nats) and accuracy.
#[derive(Debug, Clone, Copy)]
struct Score {
    loss: f64,
    accuracy: f64,
}

fn train_epoch(
    experiment: &Experiment,
    data: &Data,
    device: &Device,
    mut network: Network,
    optimizer: &mut ModuleOptimizer,
    epoch: usize,
    display: &Display,
) -> (Network, Score) {
    let config = &experiment.train;
    // Dropout draws from the device's generator, which other work may have used since the last epoch.
    device.seed(stream_seed(experiment.seed, epoch));
    let order = sample_order(data.train.len(), experiment.seed, epoch);
    let steps_per_epoch = steps_per_epoch(config, data);
    let loss_function = CrossEntropyLossConfig::new().init(device);
    let mut total = Total::new(device);
    for (step, samples) in order.chunks(config.batch_size).enumerate() {
        let augment = |sample: usize, image: &mut Vec<f32>| {
            augment::augment(image, data.train.shape(), config.augment, stream_seed(experiment.seed, epoch), sample);
        };
        let batch = Batch::new(&data.train, samples, device, augment);
        let logits = network.forward(batch.images.clone());
        let loss = total.add(&loss_function, logits, &batch);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let rate = learning_rate(config, (epoch - 1) * steps_per_epoch + step, steps_per_epoch);
        network = optimizer.step(rate, network, gradients);
        display.advance(samples.len());
    }
    (network, total.score())
}

fn evaluate(network: &Network, samples: &LabelledImages, device: &Device) -> Score {
    let loss_function = CrossEntropyLossConfig::new().init(device);
    let mut total = Total::new(device);
    let order: Vec<usize> = (0..samples.len()).collect();
    for chunk in order.chunks(EVALUATION_BATCH) {
        let batch = Batch::new(samples, chunk, device, |_, _| {});
        total.add(&loss_function, network.forward(batch.images.clone()), &batch);
    }
    total.score()
}

/// Images `[N, C·H·W]` and labels `[N]` on a device.
struct Batch {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Batch {
    /// - `change`: is given each sample's index and its pixels
    fn new(
        samples: &LabelledImages,
        indices: &[usize],
        device: &Device,
        change: impl Fn(usize, &mut Vec<f32>) + Sync,
    ) -> Self {
        let n_features = samples.n_features();
        let image = |&sample_idx: &usize| {
            let mut image = samples.image(sample_idx);
            change(sample_idx, &mut image);
            image
        };
        let pixels = indices.par_iter().map(image).collect::<Vec<_>>().concat();
        let labels: Vec<i64> = indices.iter().map(|&sample_idx| i64::from(samples.label(sample_idx))).collect();
        Self {
            images: Tensor::from_data(TensorData::new(pixels, [indices.len(), n_features]), device),
            labels: Tensor::from_data(TensorData::new(labels, [indices.len()]), device),
        }
    }
}

/// Sums over batches, kept on the device so that a GPU is not waited for at each step.
struct Total {
    loss: Tensor<1>,
    correct: Tensor<1, Int>,
    n_samples: usize,
}

impl Total {
    fn new(device: &Device) -> Self {
        // Sums need no gradients.
        let device = device.clone().inner();
        Self { loss: Tensor::zeros([1], &device), correct: Tensor::zeros([1], &device), n_samples: 0 }
    }

    /// Adds a batch and returns its mean loss, for the gradient.
    fn add(&mut self, loss_function: &CrossEntropyLoss, logits: Tensor<2>, batch: &Batch) -> Tensor<1> {
        let n = batch.labels.dims()[0];
        let decisions = logits.clone().argmax(1).flatten::<1>(0, 1);
        let correct = decisions.equal(batch.labels.clone()).int().sum();
        let loss = loss_function.forward(logits, batch.labels.clone());
        self.correct = self.correct.clone() + without_gradient_int(correct);
        self.loss = self.loss.clone() + without_gradient(loss.clone()) * n as f32;
        self.n_samples += n;
        loss
    }

    fn score(self) -> Score {
        let n = self.n_samples as f64;
        let correct = self.correct.into_scalar::<i64>() as f64;
        Score { loss: f64::from(values(self.loss)[0]) / n, accuracy: correct / n }
    }
}

fn without_gradient(x: Tensor<1>) -> Tensor<1> {
    x.without_autodiff()
}

fn without_gradient_int(x: Tensor<1, Int>) -> Tensor<1, Int> {
    x.without_autodiff()
}

fn optimizer(config: &TrainConfig) -> ModuleOptimizer {
    let mut sgd = SgdConfig::new();
    if config.weight_decay > 0.0 {
        sgd = sgd.with_weight_decay(Some(WeightDecayConfig::new(config.weight_decay as f32)));
    }
    if config.momentum > 0.0 {
        // burn dampens by 0.1 unless told not to; the usual momentum does not.
        let momentum = MomentumConfig::new().with_momentum(config.momentum).with_dampening(0.0);
        sgd = sgd.with_momentum(Some(momentum.with_nesterov(config.nesterov)));
    }
    if config.activation == Activation::Relu {
        return sgd.init();
    }
    let of_thresholds = ThresholdSgd {
        sgd: sgd.clone().with_weight_decay(None).build(),
        factor: config.threshold_rate() / config.learning_rate,
    };
    sgd.init().with_group(ParamGroup::from_predicate(THRESHOLD_PARAMETER), of_thresholds, None)
}

/// Stochastic gradient descent of thresholds: with a step size of their own, which falls as that of the weights does.
#[derive(Clone)]
struct ThresholdSgd {
    sgd: Sgd,
    /// Step size relative to that of the weights.
    factor: f64,
}

impl Optimizer for ThresholdSgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        self.sgd.step(rate * self.factor, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: SgdState<D>, device: &Device) -> SgdState<D> {
        Sgd::to_device(state, device)
    }
}

fn steps_per_epoch(config: &TrainConfig, data: &Data) -> usize {
    data.train.len().div_ceil(config.batch_size)
}

/// A network with the experiment's initial weights.
fn initial_network(experiment: &Experiment, device: &Device) -> Network {
    device.seed(stream_seed(experiment.seed, 0));
    Network::new(&experiment.architecture, device)
}

/// The order in which an epoch goes through the samples.
fn sample_order(n_samples: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n_samples).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(stream_seed(seed, epoch)));
    order
}

/// Held by whoever trains: a burn backend has one generator per process, and two trainings at once would draw
/// from each other's numbers.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The weights are looked at as well: the last step of an epoch can spoil them after its loss was taken.
fn refuse_divergence(config: &TrainConfig, epoch: usize, scores: &[Option<Score>], network: &Network) -> Result<()> {
    let found = if let Some(score) = scores.iter().flatten().find(|score| !score.loss.is_finite()) {
        format!("the loss is {}", score.loss)
    } else if network.tensors().values().flat_map(|tensor| &tensor.values).any(|value| !value.is_finite()) {
        "weights are not finite".to_owned()
    } else {
        return Ok(());
    };
    let TrainConfig { learning_rate, momentum, .. } = config;
    bail!(
        "training diverged: {found} after epoch {epoch}; lower train.sgd.learning_rate = {learning_rate} or \
         train.sgd.momentum = {momentum}"
    )
}

/// Seed of an independent stream: 0 for the initial weights, then one per epoch.
fn stream_seed(seed: u64, stream: usize) -> u64 {
    // Odd multiplier of 2⁶⁴/φ: different (seed, stream) pairs of practical size never meet.
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(stream as u64)
}

fn out_of_patience(progress: &Progress, config: &TrainConfig) -> bool {
    match (config.patience, progress.best) {
        (Some(patience), Some((epoch, _))) => progress.history.len() - epoch >= patience,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;
    use std::path::PathBuf;

    use model::architecture::LayerKind;
    use model::artefact::TensorF32;
    use model::config::ExperimentFile;
    use model::{Architecture, Backend};

    use super::*;

    /// f32 against f64 over 12 steps on numbers near 1: some dozens of roundings of 6e-8.
    const TOLERANCE: f64 = 5e-6;

    const N_CLASSES: usize = 3;

    /// Five samples with two pixels, in batches of two: the last batch of an epoch holds one.
    fn five() -> Data {
        let pixels = vec![0, 16, 4, 12, 16, 8, 2, 2, 10, 0];
        let train = LabelledImages::from_parts([1, 1, 2], 16, N_CLASSES, pixels, vec![0, 1, 2, 1, 0]).unwrap();
        let (experiment, notes) = (experiment(Backend::Flex, &[]), Vec::new());
        Data { experiment, notes, test: train.clone(), train, validation: None, checksum: String::new() }
    }

    fn experiment(backend: Backend, keys: &[&str]) -> Experiment {
        let text = format!(
            r#"
            name = "textbook"
            backend = "{backend}"
            data.dataset = "digits"
            model = {{ input = [1, 1, 2], layers = [{{ kind = "flatten" }}, {{ kind = "dense", units = {N_CLASSES} }}] }}
            train = {{ epochs = 4, batch_size = 2, sgd = {{ learning_rate = 0.5, momentum = 0.0 }} }}
            "#
        );
        let overrides: Vec<String> = keys.iter().map(ToString::to_string).collect();
        ExperimentFile::parse(&text, &PathBuf::from("textbook.toml"), &overrides).unwrap().base
    }

    fn fit_in_new_folder(experiment: &Experiment, data: &Data) -> Result<Fitted> {
        let folder = tempfile::tempdir().unwrap();
        let device = ann::device(experiment.backend).unwrap();
        fit(experiment, data, &device, None, folder.path(), &Value::Null, Options::default())
    }

    /// Weights, then biases.
    type Parameters = [f64; 3 * N_CLASSES];

    fn parameters(network: &Network) -> Parameters {
        let tensors = network.tensors();
        let values: Vec<f32> =
            [&tensors["1.weight"], &tensors["1.bias"]].into_iter().flat_map(|t| t.values.clone()).collect();
        from_fn(|i| f64::from(values[i]))
    }

    /// Gradient of the mean cross entropy of softmax regression: `∂/∂W = mean (p − y) xᵀ`, `∂/∂b = mean (p − y)`.
    fn gradient(parameters: &Parameters, data: &LabelledImages, batch: &[usize]) -> Parameters {
        let mut gradient = [0.0; 3 * N_CLASSES];
        for &sample_idx in batch {
            let image = data.image(sample_idx);
            let x: [f64; 2] = from_fn(|i| f64::from(image[i]));
            let exp: [f64; N_CLASSES] = from_fn(|j| {
                (parameters[2 * j] * x[0] + parameters[2 * j + 1] * x[1] + parameters[2 * N_CLASSES + j]).exp()
            });
            for j in 0..N_CLASSES {
                let target = f64::from(u8::from(usize::from(data.label(sample_idx)) == j));
                let error = (exp[j] / exp.iter().sum::<f64>() - target) / batch.len() as f64;
                gradient[2 * j] += error * x[0];
                gradient[2 * j + 1] += error * x[1];
                gradient[2 * N_CLASSES + j] += error;
            }
        }
        gradient
    }

    /// Sutskever et al. 2013 as `PyTorch` writes it: `g ← ∇ + d·θ`, `v ← μ·v + g` (v = g at first),
    /// `θ ← θ − η·(g + μ·v)` with Nesterov's momentum, else `θ ← θ − η·v`.
    fn textbook(experiment: &Experiment, data: &LabelledImages, initial: &Parameters) -> Parameters {
        let TrainConfig { momentum, nesterov, weight_decay, batch_size, epochs, .. } = experiment.train;
        let steps_per_epoch = data.len().div_ceil(batch_size);
        let (mut theta, mut v, mut step) = (*initial, [0.0; 3 * N_CLASSES], 0);
        for epoch in 1..=epochs {
            for batch in sample_order(data.len(), experiment.seed, epoch).chunks(batch_size) {
                let rate = learning_rate(&experiment.train, step, steps_per_epoch);
                let gradient = gradient(&theta, data, batch);
                for i in 0..theta.len() {
                    let g = gradient[i] + weight_decay * theta[i];
                    v[i] = momentum * v[i] + g;
                    theta[i] -= rate * if nesterov { g + momentum * v[i] } else { v[i] };
                }
                step += 1;
            }
        }
        theta
    }

    #[test]
    fn every_step_is_the_textbook_s() {
        let data = five();
        for backend in ann::backend::usable() {
            let mut ends: Vec<Parameters> = Vec::new();
            for keys in [
                &[][..],
                &["train.sgd.momentum=0.9"],
                &["train.sgd.momentum=0.9", "train.sgd.nesterov=true"],
                &["train.sgd.momentum=0.8", "train.sgd.nesterov=true", "train.sgd.weight_decay=0.05"],
                &["train.sgd.weight_decay=0.05", "train.sgd.schedule=step", "train.sgd.step_epochs=2"],
            ] {
                let experiment = experiment(backend, keys);
                let initial = {
                    let _turn = turn();
                    parameters(&initial_network(&experiment, &ann::backend::device(backend).unwrap()))
                };
                let found = parameters(&fit_in_new_folder(&experiment, &data).unwrap().network);
                let expected = textbook(&experiment, &data.train, &initial);
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < TOLERANCE, "{backend} {keys:?}: {found} is not {expected}");
                }
                // The variants differ by far more than the tolerance, so that one cannot pass for another.
                assert!(ends.iter().all(|end| end.iter().zip(found).any(|(a, b)| (a - b).abs() > 1e3 * TOLERANCE)));
                ends.push(found);
            }
        }
    }

    #[test]
    fn an_epoch_goes_through_every_sample_once_in_an_order_of_its_own() {
        let orders: Vec<_> = [(7, 1), (7, 2), (8, 1)].map(|(seed, epoch)| sample_order(100, seed, epoch)).into();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        assert_eq!(sample_order(100, 7, 1), orders[0]);
    }

    #[test]
    fn divergence_is_an_error_that_names_the_keys_to_lower() {
        for backend in ann::backend::usable() {
            // Each step multiplies the weights by 1 − 100·1.
            let experiment =
                experiment(backend, &["train.sgd.learning_rate=100", "train.sgd.weight_decay=1", "train.epochs=20"]);
            let error = fit_in_new_folder(&experiment, &five()).unwrap_err().to_string();
            assert!(error.starts_with("training diverged: "), "{error}");
            assert!(error.ends_with("lower train.sgd.learning_rate = 100 or train.sgd.momentum = 0"), "{error}");
        }
    }

    #[test]
    fn weights_spoilt_by_the_last_step_are_divergence_too() {
        let experiment = experiment(ann::backend::built_in()[0], &[]);
        let device = ann::device(experiment.backend).unwrap();
        let _turn = turn();
        let mut tensors = initial_network(&experiment, &device).tensors();
        let check = |tensors: &_| {
            let network = Network::with_tensors(&experiment.architecture, tensors, None, &device);
            refuse_divergence(&experiment.train, 1, &[Some(Score { loss: 0.5, accuracy: 0.5 }), None], &network)
        };
        check(&tensors).unwrap();
        tensors.get_mut("1.bias").unwrap().values[1] = f32::NAN;
        let error = check(&tensors).unwrap_err().to_string();
        assert!(error.contains("weights are not finite after epoch 1"), "{error}");
    }

    #[test]
    fn classes_are_looked_for_among_the_first_five_where_there_are_more_than_ten() {
        let device = ann::device(ann::backend::built_in()[0]).unwrap();
        let share = |n_classes: usize, labels: &[u16]| {
            let layers = [LayerKind::Flatten, LayerKind::Dense { units: n_classes }];
            // Whatever the pixel is, the last class comes first.
            let biases =
                TensorF32 { shape: vec![n_classes], values: (0..n_classes).map(|class| class as f32).collect() };
            let weights = TensorF32 { shape: vec![n_classes, 1], values: vec![0.0; n_classes] };
            let tensors = [("1.weight".to_owned(), weights), ("1.bias".to_owned(), biases)].into();
            let network =
                Network::with_tensors(&Architecture::new([1, 1, 1], &layers).unwrap(), &tensors, None, &device);
            let pixels = vec![0; labels.len()];
            let samples = LabelledImages::from_parts([1, 1, 1], 16, n_classes, pixels, labels.to_vec()).unwrap();
            top_five(&network, &samples, &device)
        };
        assert_eq!(share(12, &[11, 7, 6, 0]), Some(0.5));
        assert_eq!(share(10, &[9, 0]), None);
    }

    #[test]
    fn seeds_and_streams_do_not_meet() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..100).flat_map(|seed| (0..100).map(move |stream| stream_seed(seed, stream))).collect();
        assert_eq!(seeds.len(), 100 * 100);
    }
}
