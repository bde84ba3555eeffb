//! What every command shares: arguments, progress bars and the allocator.
//!
//! - [`arguments`]: the experiment, overrides of its keys, and where results go
//! - [`progress`]: bars of several commands on one terminal
//! - [`memory`]: whether a network fits
//! - [`allocator`]: the settings of the allocator that commands run with

pub mod allocator;
pub mod arguments;
pub mod memory;
pub mod progress;

pub use allocator::Allocator;
pub use arguments::{ExperimentArgs, Options};
