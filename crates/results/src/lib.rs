//! What was measured, as data: records that are written and reported, and statistics on them.
//!
//! - [`record`]: an experiment's networks, conversions and runs
//! - [`statistic`]: means, standard deviations and confidence intervals of small samples

pub mod record;
pub mod statistic;
