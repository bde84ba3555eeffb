//! What is said of the law and of the loss, on made-up records whose answers are known.

mod sample;

use report::{law_figures, law_markdown, loss_figures, loss_markdown};
use results::record::{ExperimentRecord, LayerLaw, LossRecord, RunRecord};
use sample::experiment;

/// The experiment with the runs of one method only, changed.
fn of_method(label: &str, change: impl Fn(usize, &mut RunRecord)) -> ExperimentRecord {
    let mut record = experiment();
    record.runs.retain(|run| run.label == label);
    record.runs.iter_mut().enumerate().for_each(|(network, run)| change(network, run));
    record
}

fn every_law(record: &mut ExperimentRecord, change: impl Fn(&mut LayerLaw)) {
    record.runs.iter_mut().flat_map(|run| &mut run.simulation.variance).filter_map(|l| l.law.as_mut()).for_each(change);
}

#[test]
fn the_l4_norm_is_named_where_it_is_best_and_where_it_is_not() {
    let text = law_markdown(&experiment()).unwrap();
    // Made up so that p = 2 is best into the first layer, and p = 4 into the others.
    let verdict = "- percentile 99.9: the L4-norm is the best single norm into dense 2 and dense 3, is not the best into dense 1.\n";
    assert!(text.contains(verdict), "{text}");
    assert!(text.contains("- percentile 99.9, into dense 1: p = 2 predicts σ best"), "{text}");
    // Eight methods of three layers.
    assert!(
        text.contains(
            "p = 2 is best or ties for 24 of 24 layers with uniform rates, and for 24 of 24 with shuffled ones"
        )
    );
}

#[test]
fn intervals_of_the_law_are_those_of_students_t_over_networks() {
    // Variations by p = 4 of 0.1, 0.2 and 0.3 into the first layer: 0.2, and 4.303·0.1/√3 to both sides.
    let record = of_method("percentile 99.9", |network, run| {
        for fit in &mut run.simulation.variance[0].norms {
            fit.coefficient_of_variation = 0.1 * (network + 1) as f64 + if fit.p == "4" { 0.0 } else { 0.05 };
            fit.correlation = Some(0.8 + 0.01 * network as f64);
        }
    });
    let text = law_markdown(&record).unwrap();
    assert!(text.contains("| percentile 99.9 | dense 1 | current per step | 0.250 ± 0.248 | 0.250 ± 0.248 | 0.250 ± 0.248 | ★ 0.200 ± 0.248 |"), "{text}");
    // Correlations of 0.80, 0.81 and 0.82.
    assert!(text.contains("| percentile 99.9 | dense 1 | 0.810 ± 0.025 | 0.810 ± 0.025 |"), "{text}");
}

#[test]
fn networks_that_disagree_leave_norms_tied() {
    // The second network has it the other way round.
    let record = of_method("percentile 99.9", |network, run| {
        for fit in &mut run.simulation.variance[0].norms {
            let better = if network == 1 { "4" } else { "3" };
            fit.coefficient_of_variation = if fit.p == better { 0.1 } else { 0.12 };
            if !["3", "4"].contains(&fit.p.as_str()) {
                fit.coefficient_of_variation = 0.3 + 0.01 * network as f64;
            }
        }
    });
    let text = law_markdown(&record).unwrap();
    assert!(text.contains("into dense 1: p = 3 predicts σ best, within 0.107 ± 0.029 from neuron to neuron; p = 4 cannot be told from it."), "{text}");
    assert!(text.contains("cannot be told from the best into dense 1"), "{text}");
}

#[test]
fn a_layer_that_never_fires_has_no_potential_to_speak_of() {
    let mut record = experiment();
    every_law(&mut record, |law| law.potential = None);
    let text = law_markdown(&record).unwrap();
    assert!(!text.contains("potential before firing") && text.contains("current per step"), "{text}");
}

#[test]
fn without_noise_there_is_no_law_and_without_being_asked_for_no_loss() {
    let mut record = experiment();
    for run in &mut record.runs {
        run.simulation.variance.clear();
        run.simulation.seeds.iter_mut().for_each(|seed| seed.loss.clear());
    }
    assert_eq!((law_markdown(&record), loss_markdown(&record)), (None, None));
    assert!(law_figures(&record).unwrap().is_empty() && loss_figures(&record).unwrap().is_empty());
}

#[test]
fn the_loss_is_told_part_by_part_and_the_model_is_checked() {
    // Of ten points lost after four steps four are input noise, three rounding, one saturation, and two the order of spikes.
    let mut record = of_method("max", |_, run| {
        for seed in &mut run.simulation.seeds {
            seed.accuracy = vec![0.8; 32];
            let models = std::array::from_fn(|k| {
                0.9 - 0.04 * (k & 1) as f64 - 0.03 * (k >> 1 & 1) as f64 - 0.01 * (k >> 2 & 1) as f64
            });
            seed.loss = vec![LossRecord { step: 4, models, agreement: 0.95, constant_current: Some(0.835) }];
            run.simulation.checkpoints = vec![4];
        }
    });
    record.networks.iter_mut().for_each(|network| network.test_accuracy = Some(0.9));
    let text = loss_markdown(&record).unwrap();
    let shares = "- max: at T = 4, of 10.00 ± 0.00 points lost: 4.00 ± 0.00 input noise, 3.00 ± 0.00 rounding, 2.00 ± 0.00 order of spikes and 1.00 ± 0.00 saturation.\n";
    assert!(text.contains(shares), "{text}");
    let check = "decides as the spiking network for 95.0 % of the samples; on a constant current, without input noise, the network \
                 itself gains 3.50 points, the model 4.00.\n";
    assert!(text.contains(check), "{text}");
    assert!(text.contains("| max | all but rounding | 85.00 ± 0.00 |"), "{text}");
    assert!(text.contains("| max | spiking network, constant current | 83.50 ± 0.00 |"), "{text}");
}
