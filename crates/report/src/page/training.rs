//! How the networks were trained: loss and accuracy against epochs.

use maud::{PreEscaped, html};

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::{Axis, Chart, Mark, line_swatch};
use crate::error::ReportError;
use crate::number::{MISSING, fixed_or_missing, percent, significant};
use crate::palette::Ink;
use crate::table::{Column, Table};
use results::record::{AnnRecord, EpochRecord, ExperimentRecord};

/// Dash pattern of validation curves.
const VALIDATION_DASH: usize = 1;
/// Rise of the validation loss above its minimum, as a share of it, from which overfitting is named; below it the
/// loss is as good as flat.
const OVERFIT_SHARE: f64 = 0.05;

pub(super) fn section(record: &ExperimentRecord) -> Result<Option<Section>, ReportError> {
    let trained: Vec<(usize, &AnnRecord)> =
        record.networks.iter().enumerate().filter(|(_, n)| !n.epochs.is_empty()).collect();
    if trained.is_empty() {
        return Ok(None);
    }
    let validated = trained.iter().any(|(_, n)| n.epochs.iter().any(|e| e.validation_loss.is_some()));
    let charts = [
        chart(&trained, "Loss", "cross entropy, nats", |e| [Some(e.train_loss), e.validation_loss]),
        chart(&trained, "Accuracy", "accuracy in %", |e| {
            [Some(e.train_accuracy * 100.0), e.validation_accuracy.map(|a| a * 100.0)]
        }),
    ];
    let legend = html! {
        ul.legend {
            @for (i, network) in &trained { li { (PreEscaped(line_swatch(Ink::Series(*i), 0))) (network.label) } }
            @if validated { li { (PreEscaped(line_swatch(Ink::Axis, VALIDATION_DASH))) "validation (dashed)" } }
        }
    };
    let caption = "After each epoch. Training values are measured while training, with dropout active, so they can lie \
                   below those of the validation split.";
    Ok(Some(Section {
        id: "training",
        title: "Training",
        body: html! {
            (reading("The networks as they were before conversion. Colours stand for networks here, not for methods."))
            (figure(&charts, HALF, "charts two", &legend, caption)?)
            (findings(&sentences(&trained)))
            (table(&last_epochs(&trained)))
        },
    }))
}

fn chart(
    trained: &[(usize, &AnnRecord)],
    title: &str,
    y_title: &str,
    values: impl Fn(&EpochRecord) -> [Option<f64>; 2],
) -> Chart {
    let epochs = || trained.iter().flat_map(|(_, n)| &n.epochs);
    let last = epochs().map(|e| e.epoch).max().unwrap_or(1);
    let margin = 0.02 * last as f64;
    let mut marks = Vec::new();
    for (i, network) in trained {
        for (split, dash) in [(0, 0), (1, VALIDATION_DASH)] {
            let points: Vec<[f64; 2]> =
                network.epochs.iter().filter_map(|e| Some([e.epoch as f64, values(e)[split]?])).collect();
            // A single epoch has no line.
            if let [only] = points[..] {
                marks.push(Mark::Dots { points: vec![only], ink: Ink::Series(*i), radius_px: 2.5, opacity: 1.0 });
            }
            marks.push(Mark::Line { points, ink: Ink::Series(*i), dash, width_px: 1.6 });
        }
    }
    Chart {
        title: title.to_owned(),
        x: Axis::linear(1.0 - margin, last as f64 + margin, last.min(8), "epoch"),
        y: Axis::fit(epochs().flat_map(|e| values(e).into_iter().flatten()), 5, y_title),
        marks,
    }
}

fn last_epochs(trained: &[(usize, &AnnRecord)]) -> Table {
    let rows = trained
        .iter()
        .filter_map(|(_, network)| {
            let last = network.epochs.last()?;
            Some(vec![
                network.label.clone(),
                last.epoch.to_string(),
                significant(last.learning_rate),
                significant(last.train_loss),
                percent(last.train_accuracy, 2),
                last.validation_loss.map_or_else(|| MISSING.to_owned(), significant),
                fixed_or_missing(last.validation_accuracy.map(|a| a * 100.0), 2),
                network.test_accuracy.map_or_else(|| MISSING.to_owned(), |accuracy| percent(accuracy, 2)),
            ])
        })
        .collect();
    Table {
        title: "After the last epoch".to_owned(),
        columns: vec![
            Column::text("network"),
            Column::number("epoch"),
            Column::number("learning rate"),
            Column::number("training loss"),
            Column::number("training accuracy, %"),
            Column::number("validation loss"),
            Column::number("validation accuracy, %"),
            Column::number("test accuracy, %"),
        ],
        rows,
    }
}

fn sentences(trained: &[(usize, &AnnRecord)]) -> Vec<String> {
    trained
        .iter()
        .filter_map(|(_, network)| {
            let losses = || network.epochs.iter().filter_map(|e| Some((e.epoch, e.validation_loss?)));
            let (epoch, smallest) = losses().filter(|(_, loss)| loss.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))?;
            let (last_epoch, last) = losses().next_back()?;
            let head = format!(
                "{}: validation loss is smallest after epoch {epoch} ({})",
                network.label,
                significant(smallest)
            );
            Some(if last > smallest * (1.0 + OVERFIT_SHARE) {
                format!(
                    "{head} and has risen to {} after epoch {last_epoch}: the network overfits from there on.",
                    significant(last)
                )
            } else {
                format!("{head} and has not risen since.")
            })
        })
        .collect()
}
