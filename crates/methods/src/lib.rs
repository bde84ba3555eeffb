//! Conversion methods: a trained network's weights, and its activations where a method looks at them, become a spiking network.
//!
//! - [`layer`]: the trained network's layers of neurons, batch norms folded
//! - [`activation`]: its activations on calibration samples, and statistics of them
//! - [`thresholds`]: the methods, which choose the firing thresholds λ, a file each
//! - [`logits`]: what lets spikes show logits that are negative
//! - [`rescale`]: division by λ, and rounding to the exact grid
//! - [`calibrate`]: biases or initial potentials that take back the mean error of rates
//! - [`quantised`]: thresholds and shifts for neurons that count
//! - [`saturation`]: channels whose λ is below what they have to send
//! - [`search`]: `kappa = "auto"` and `scale = "auto"`
//! - [`summary`]: what was done to each layer
//!
//! Nothing here runs the trained network or reads files: who measures activations is the command `convert`.

pub mod activation;
pub mod calibrate;
pub mod layer;
pub mod logits;
pub mod quantised;
pub mod rescale;
pub mod saturation;
pub mod search;
pub mod summary;
pub mod thresholds;
