//! Stochastic gradient descent, epoch by epoch.

use std::path::Path;

use anyhow::{Result, bail};
use burn::module::Module as _;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use datasets::LabelledImages;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::Experiment;
use model::config::TrainConfig;
use model::network::{Network, values};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use report::record::EpochRecord;
use serde_json::Value;

use crate::checkpoint::{self, Progress};
use crate::schedule::learning_rate;
use crate::{Data, Options};

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
}

/// Trains a network, going on from a checkpoint in `folder` if there is one of the same recipe.
///
/// # Errors
/// If training diverges or a checkpoint cannot be written.
pub fn fit(
    experiment: &Experiment,
    data: &Data,
    device: &Device,
    folder: &Path,
    recipe: &Value,
    options: Options,
) -> Result<Fitted> {
    let config = &experiment.train;
    let architecture = &experiment.architecture;
    let training_device = device.clone().autodiff();
    let fresh = || {
        training_device.seed(stream_seed(experiment.seed, 0));
        (Network::new(architecture, &training_device), optimizer(config))
    };
    if options.force {
        checkpoint::remove(folder)?;
    }
    let resumed = checkpoint::load(folder, recipe, fresh, |best| Network::with_tensors(architecture, &best.tensors, device));
    let (mut network, mut optimizer, mut progress, mut best) = match resumed {
        Some(checkpoint) => (checkpoint.network, checkpoint.optimizer, checkpoint.progress, checkpoint.best),
        None => {
            let (network, optimizer) = fresh();
            (network, optimizer, Progress { recipe: recipe.clone(), history: Vec::new(), best: None }, None)
        }
    };
    let bar = progress_bar(config.epochs, data.train.len(), progress.history.len(), options);
    while progress.history.len() < config.epochs && !out_of_patience(&progress, config) {
        let epoch = progress.history.len() + 1;
        let loss;
        (network, loss) = train_epoch(experiment, data, &training_device, network, &mut optimizer, epoch, &bar)?;
        let inference = network.valid();
        let validation = data.validation.as_ref().map(|samples| evaluate(&inference, samples, device));
        if let Some(Score { loss, .. }) = validation
            && config.patience.is_some()
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
        bar.set_message(summary(&progress.history[epoch - 1]));
    }
    bar.finish();
    let last = progress.history.len();
    let (network, epoch) = match (best, progress.best) {
        (Some(best), Some((epoch, _))) => (best, epoch),
        _ => (network.valid(), last),
    };
    Ok(Fitted { network, epoch, history: progress.history })
}

/// Accuracy of a network on samples, in [0, 1].
pub fn accuracy(network: &Network, samples: &LabelledImages, device: &Device) -> f64 {
    evaluate(network, samples, device).accuracy
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
    bar: &ProgressBar,
) -> Result<(Network, Score)> {
    let config = &experiment.train;
    let seed = stream_seed(experiment.seed, epoch);
    // Dropout draws from the device's generator, which other work may have used since the last epoch.
    device.seed(seed);
    let mut order: Vec<usize> = (0..data.train.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let steps_per_epoch = steps_per_epoch(config, data);
    let loss_function = CrossEntropyLossConfig::new().init(device);
    let mut total = Total::new(device);
    for (step, samples) in order.chunks(config.batch_size).enumerate() {
        let batch = Batch::new(&data.train, samples, device);
        let logits = network.forward(batch.images.clone());
        let loss = total.add(&loss_function, logits, &batch);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let rate = learning_rate(config, (epoch - 1) * steps_per_epoch + step, steps_per_epoch);
        network = optimizer.step(rate, network, gradients);
        bar.inc(samples.len() as u64);
    }
    let score = total.score();
    if !score.loss.is_finite() {
        bail!(
            "training diverged: the loss is {} after epoch {epoch}; lower train.sgd.learning_rate = {} or train.sgd.momentum = {}",
            score.loss,
            config.learning_rate,
            config.momentum
        );
    }
    Ok((network, score))
}

fn evaluate(network: &Network, samples: &LabelledImages, device: &Device) -> Score {
    let loss_function = CrossEntropyLossConfig::new().init(device);
    let mut total = Total::new(device);
    let order: Vec<usize> = (0..samples.len()).collect();
    for chunk in order.chunks(EVALUATION_BATCH) {
        let batch = Batch::new(samples, chunk, device);
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
    fn new(samples: &LabelledImages, indices: &[usize], device: &Device) -> Self {
        let n_features = samples.n_features();
        let mut pixels = vec![0.0; indices.len() * n_features];
        for (image, &sample_idx) in pixels.chunks_exact_mut(n_features).zip(indices) {
            samples.write_image(sample_idx, image);
        }
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
    sgd.init()
}

fn steps_per_epoch(config: &TrainConfig, data: &Data) -> usize {
    data.train.len().div_ceil(config.batch_size)
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

fn progress_bar(n_epochs: usize, n_samples: usize, n_done: usize, options: Options) -> ProgressBar {
    let target = if options.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("train    {wide_bar} {percent}% {elapsed} (left {eta}) {msg}").expect("a valid template");
    let bar = ProgressBar::with_draw_target(Some((n_epochs * n_samples) as u64), target).with_style(style);
    bar.set_position((n_done * n_samples) as u64);
    bar.reset_eta();
    bar
}

fn summary(epoch: &EpochRecord) -> String {
    let validation = epoch.validation_accuracy.map_or_else(String::new, |accuracy| format!(", validation {:.2} %", 100.0 * accuracy));
    format!("epoch {}: loss {:.4}, training {:.2} %{validation}", epoch.epoch, epoch.train_loss, 100.0 * epoch.train_accuracy)
}
