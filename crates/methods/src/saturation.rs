//! Neurons that cannot send what the trained network's activations demand, because λ is below them or far above.
//!
//! A neuron sends at most one spike at a time step, so what an activation exceeds λ by is lost. A little of that is what methods
//! trade against precision. Where a channel loses most of what it has to say, the user is told which, and how much. Where λ is many times
//! the largest activation, hardly anything fires in a short run, and the user is told that, too.

use crate::activation::{Activations, percentile};
use crate::layer::{AnnLayer, Before};

/// Share of a channel's activations above which its loss is reported.
const REPORTED: f64 = 0.5;

/// How many times the largest activation of its layer half of the channels' λ must be for it to be reported.
const FAR_ABOVE: f64 = 4.0;

/// Most channels that a note names.
const NAMED: usize = 3;

/// λ of a neuron without weights: it sends its bias, one spike at every step.
pub(crate) fn of_constant(layer: &AnnLayer, channel: usize) -> f64 {
    let [_, most] = layer.biases.range(channel, layer.n_positions());
    // A neuron that never fires does so at any threshold.
    if most > 0.0 { most } else { 1.0 }
}

/// Least and largest activation that the inputs of a channel allow: `b + Σ min(0, wλ)` and `b + Σ max(0, wλ)`.
pub(crate) fn bounds(layer: &AnnLayer, channel: usize, before: Before<'_>) -> [f64; 2] {
    let [mut least, mut most] = layer.biases.range(channel, layer.n_positions());
    for weight in layer.weight_vector(channel, before) {
        least += weight.min(0.0);
        most += weight.max(0.0);
    }
    [least, most]
}

/// One note for each hidden layer with channels that lose most of their activation.
///
/// - `thresholds`: λ of every layer, `[C]` each
/// - `activations`: the trained network's on calibration samples; without them, biases alone are looked at
pub fn notes(layers: &[AnnLayer], thresholds: &[Vec<f64>], activations: Option<&[Activations]>) -> Vec<String> {
    let hidden = layers.len() - 1;
    let of = |idx: usize| {
        let (layer, thresholds) = (&layers[idx], &thresholds[idx]);
        let share = |channel: usize| {
            // What the trained network cuts off itself is not lost.
            let above = |activation: f64| (activation - thresholds[channel]).max(0.0);
            if let Some(all) = activations {
                let sum: f64 = all[idx].of_channel(channel).map(|a| a.max(0.0)).sum();
                return if sum > 0.0 { all[idx].of_channel(channel).map(above).sum::<f64>() / sum } else { 0.0 };
            }
            let [_, bias] = layer.biases.range(channel, layer.n_positions());
            let bias = bias.min(layer.ceiling);
            if bias > 0.0 { above(bias) / bias } else { 0.0 }
        };
        let lost: Vec<(usize, f64)> = (0..layer.n_channels())
            .map(|channel| (channel, share(channel)))
            .filter(|(_, share)| *share > REPORTED)
            .collect();
        if lost.is_empty() {
            return activations.and_then(|all| far_above(layer, thresholds, &all[idx]));
        }
        Some(note(layer, thresholds, lost, activations.is_some()))
    };
    (0..hidden).filter_map(of).collect()
}

fn far_above(layer: &AnnLayer, thresholds: &[f64], activations: &Activations) -> Option<String> {
    let median = percentile(thresholds.to_vec(), 50.0)?;
    let largest = activations.largest();
    (largest > 0.0 && median > FAR_ABOVE * largest).then(|| {
        format!(
            "layer {}: half of its λ are {:.0} times the largest activation on calibration samples or more, so its neurons fire in at most \
             one of that many steps; use a method that measures activations (percentile, mmse), kappa = \"auto\", or more steps",
            layer.name,
            median / largest
        )
    })
}

fn note(layer: &AnnLayer, thresholds: &[f64], mut lost: Vec<(usize, f64)>, is_measured: bool) -> String {
    lost.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let word = if layer.n_positions() == 1 { "neuron" } else { "channel" };
    let named: Vec<String> = lost
        .iter()
        .take(NAMED)
        .map(|(channel, share)| {
            format!("{word} {channel} loses {:.0} % (λ {:.3})", 100.0 * share, thresholds[*channel])
        })
        .collect();
    let n = lost.len();
    let others = if n > NAMED { format!(", and {} others", n - NAMED) } else { String::new() };
    let of_what = if is_measured { "activation on calibration samples" } else { "bias" };
    format!(
        "layer {}: {n} of {} {word}s cannot send most of their {of_what}, which exceeds λ: {}{others}; use a method that measures \
         activations (percentile, mmse), or a larger convert.scale",
        layer.name,
        layer.n_channels(),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use snn::{Connection, Source, Wiring};

    use super::*;

    fn layer(name: &str, weights: Vec<f64>, biases: Vec<f64>) -> AnnLayer {
        let n_out = biases.len();
        let wiring = Wiring::dense(Source::INPUT, [weights.len() / n_out, 1, 1], n_out);
        AnnLayer {
            name: name.to_owned(),
            shape: [n_out, 1, 1],
            connections: vec![Connection { wiring, weights }],
            biases: biases.into(),
            ceiling: f64::INFINITY,
            may_be_silent: false,
            trained: None,
        }
    }

    #[test]
    fn channels_that_lose_most_are_named_with_their_share() {
        let layers = [layer("dense 1", vec![1.0, 0.1], vec![0.0, 0.9]), layer("dense 2", vec![1.0, 1.0], vec![0.0])];
        let thresholds = [vec![1.0, 0.3], vec![1.0]];
        let [note] = &notes(&layers, &thresholds, None)[..] else { panic!("one note") };
        assert!(note.starts_with("layer dense 1: 1 of 2 neurons cannot send most of their bias"), "{note}");
        assert!(note.contains("neuron 1 loses 67 % (λ 0.300)"), "{note}");
        // Activations of 0.9 and 1.0 at a threshold of 0.3 lose 0.6 + 0.7 of 1.9.
        let activations = |values: [f32; 4]| Activations { n_neurons: 2, n_positions: 1, values: values.to_vec() };
        let all = [activations([0.5, 0.9, 1.5, 1.0]), activations([0.0; 4])];
        let [note] = &notes(&layers, &thresholds, Some(&all))[..] else { panic!("one note") };
        assert!(note.contains("activation on calibration samples") && note.contains("neuron 1 loses 68 %"), "{note}");
        assert_eq!(notes(&layers, &[vec![1.0, 0.9], vec![1.0]], Some(&all)), Vec::<String>::new());
        // The largest activation is 1.5.
        let [note] = &notes(&layers, &[vec![15.0, 30.0], vec![1.0]], Some(&all))[..] else { panic!("one note") };
        assert!(note.starts_with("layer dense 1: half of its λ are 10 times the largest activation"), "{note}");
    }
}
