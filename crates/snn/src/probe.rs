//! Statistics of the current that spikes cause in a layer's neurons: the paper's variance, measured.
//!
//! Pure functions on spike trains and weights. Used to choose thresholds by noise and to test the L4-norm's claim.

use rayon::prelude::*;

use crate::spikes::SpikeTrain;

/// Variance over time of each neuron's input current per step.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentVariance {
    /// Measured: unbiased variance over the steps of a sample, mean over samples, `[n_out]`.
    pub measured: Vec<f64>,
    /// What independent Bernoulli inputs of the measured rates would give: `Σ_i w_ji² mean(r_i (1 − r_i))`, `[n_out]`,
    /// with the same T/(T − 1) as the unbiased variance.
    pub bernoulli: Vec<f64>,
}

/// Measures the variance of the input current; `None` with fewer than two steps or no sample.
///
/// - `rows`: weights `[n_in, n_out]`, row-major, in any unit; the variance is in its square
/// - `inputs`: the input spikes of each sample, `[T, n_in]` each
///
/// Sums in f64, samples in order, so the result does not depend on threads.
pub fn current_variance(rows: &[f64], n_out: usize, inputs: &[&SpikeTrain]) -> Option<CurrentVariance> {
    let n_steps = inputs.first()?.n_steps();
    if n_steps < 2 {
        return None;
    }
    let per_sample: Vec<(Vec<f64>, Vec<u32>)> =
        inputs.par_iter().map(|input| (sample_variance(rows, n_out, input), input.counts())).collect();
    let n = inputs.len() as f64;
    let mut measured = vec![0.0; n_out];
    let mut scatter = vec![0.0; rows.len() / n_out];
    let unbiased = n_steps as f64 / (n_steps - 1) as f64;
    for (variances, counts) in &per_sample {
        for (sum, variance) in measured.iter_mut().zip(variances) {
            *sum += variance / n;
        }
        for (sum, &count) in scatter.iter_mut().zip(counts) {
            let rate = f64::from(count) / n_steps as f64;
            *sum += rate * (1.0 - rate) * unbiased / n;
        }
    }
    let mut bernoulli = vec![0.0; n_out];
    for (row, scatter) in rows.chunks_exact(n_out).zip(&scatter).filter(|(_, scatter)| **scatter > 0.0) {
        for (sum, weight) in bernoulli.iter_mut().zip(row) {
            *sum += weight * weight * scatter;
        }
    }
    Some(CurrentVariance { measured, bernoulli })
}

fn sample_variance(rows: &[f64], n_out: usize, input: &SpikeTrain) -> Vec<f64> {
    let n_steps = input.n_steps();
    let mut currents = vec![0.0; n_steps * n_out];
    for (step, current) in currents.chunks_exact_mut(n_out).enumerate() {
        for i in input.neurons(step) {
            for (sum, weight) in current.iter_mut().zip(&rows[i * n_out..][..n_out]) {
                *sum += weight;
            }
        }
    }
    let over_time = |add: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![0.0; n_out];
        for current in currents.chunks_exact(n_out) {
            sums.iter_mut().zip(current).enumerate().for_each(|(j, (sum, &value))| *sum += add(j, value));
        }
        sums
    };
    let means: Vec<f64> = over_time(&|_, value| value).iter().map(|sum| sum / n_steps as f64).collect();
    let squares = over_time(&|j, value| (value - means[j]).powi(2));
    squares.iter().map(|sum| sum / (n_steps - 1) as f64).collect()
}

#[cfg(test)]
mod tests {
    use model::config::Encoding;

    use super::*;
    use crate::encoder::encode;

    #[test]
    fn variance_of_a_hand_made_train_is_the_one_computed_by_hand() {
        let mut train = SpikeTrain::silent(2, 4);
        for (step, neuron) in [(0, 0), (1, 0), (1, 1), (3, 1)] {
            train.add(step, neuron);
        }
        // Currents with weights 1 and 2: 1, 3, 0, 2; mean 1.5, squares 0.25 + 2.25 + 2.25 + 0.25 = 5, over 3.
        let variance = current_variance(&[1.0, 2.0], 1, &[&train]).unwrap();
        assert!((variance.measured[0] - 5.0 / 3.0).abs() < 1e-12);
        // Rates ½ and ½: (1 + 4)·¼ times 4/3.
        assert!((variance.bernoulli[0] - 5.0 / 3.0).abs() < 1e-12);
        assert_eq!(current_variance(&[1.0, 2.0], 1, &[]), None);
        assert_eq!(current_variance(&[1.0], 1, &[&SpikeTrain::silent(1, 1)]), None);
    }

    #[test]
    fn poisson_input_has_the_bernoulli_variance() {
        let rows: Vec<f64> = (0..50 * 3).map(|i| f64::from(i % 7) - 3.0).collect();
        let pixels: Vec<f32> = (0..50).map(|i| i as f32 / 60.0).collect();
        let trains: Vec<SpikeTrain> =
            (0..40).map(|sample| encode(Encoding::Poisson, 1, sample, &pixels, 500)).collect();
        let variance = current_variance(&rows, 3, &trains.iter().collect::<Vec<_>>()).unwrap();
        for (j, (measured, bernoulli)) in variance.measured.iter().zip(&variance.bernoulli).enumerate() {
            let exact: f64 = (0..50)
                .map(|i| {
                    let r = f64::from(pixels[i]);
                    rows[i * 3 + j].powi(2) * r * (1.0 - r)
                })
                .sum();
            // 20,000 near-normal currents: a standard error of 1 %, five of them.
            assert!((measured / exact - 1.0).abs() < 0.05, "neuron {j}: {measured} for {exact}");
            assert!((bernoulli / exact - 1.0).abs() < 0.05, "neuron {j}: {bernoulli} for {exact}");
        }
    }
}
