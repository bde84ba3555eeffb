//! How training is shown on the standard error: a bar on a terminal, else one line per epoch, as in a log file.

use std::time::Instant;

use cli::progress;
use indicatif::{HumanCount, HumanDuration, ProgressBar};
use results::record::EpochRecord;

/// Shows how far training is; shows nothing unless it is asked to.
pub struct Display {
    bar: ProgressBar,
    shown: bool,
    n_epochs: usize,
    start: Instant,
}

impl Display {
    /// Begins to show a training that has come to the end of `history`.
    ///
    /// - `n_samples`: training samples per epoch
    pub fn new(n_epochs: usize, n_samples: usize, history: &[EpochRecord], shown: bool) -> Self {
        let template = "train {bar:12} {percent:>3} %, {eta} left  {wide_msg}";
        let bar = progress::bar((n_epochs * n_samples) as u64, template, shown);
        bar.set_position((history.len() * n_samples) as u64);
        bar.reset_eta();
        let display = Self { bar, shown, n_epochs, start: Instant::now() };
        if let Some(last) = history.last() {
            display.say(&format!("going on after {}", summary(last, n_epochs)));
        }
        display
    }

    /// Counts samples that were trained on.
    pub fn advance(&self, n_samples: usize) {
        self.bar.inc(n_samples as u64);
    }

    /// Shows the result of an epoch.
    pub fn epoch(&self, record: &EpochRecord) {
        self.say(&summary(record, self.n_epochs));
    }

    /// Ends with a line that stays.
    ///
    /// - `kept`: the epoch whose weights are kept
    /// - `n_samples`: samples that were trained on since [`Self::new`]
    pub fn finish(self, history: &[EpochRecord], kept: usize, n_samples: usize) {
        let elapsed = self.start.elapsed();
        let per_second = HumanCount((n_samples as f64 / elapsed.as_secs_f64().max(1e-9)) as u64);
        let stopped = if history.len() < self.n_epochs { "stopped early after" } else { "finished" };
        let last = history.len();
        let text =
            format!("{stopped} {last} epochs in {} ({per_second} images/s), kept epoch {kept}", HumanDuration(elapsed));
        self.bar.finish_and_clear();
        self.write_line(&text);
    }

    /// On the bar; without a terminal to draw it on, on a line of its own.
    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            self.write_line(text);
        } else {
            self.bar.set_message(text.to_owned());
        }
    }

    fn write_line(&self, text: &str) {
        if self.shown {
            progress::line(&format!("train {text}"));
        }
    }
}

/// Fits, with the bar, on a line of 80 characters.
fn summary(record: &EpochRecord, n_epochs: usize) -> String {
    let (kind, accuracy) = match record.validation_accuracy {
        Some(accuracy) => ("validation", accuracy),
        None => ("accuracy", record.train_accuracy),
    };
    format!("epoch {}/{n_epochs}: loss {:.4}, {kind} {:.2} %", record.epoch, record.train_loss, 100.0 * accuracy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_one_line_with_its_number_loss_and_accuracy_on_validation_samples_if_there_are_any() {
        let record = EpochRecord {
            epoch: 3,
            learning_rate: 0.1,
            train_loss: 0.123_456,
            train_accuracy: 0.987_66,
            validation_loss: Some(0.2),
            validation_accuracy: Some(0.5),
        };
        assert_eq!(summary(&record, 12), "epoch 3/12: loss 0.1235, validation 50.00 %");
        let without = EpochRecord { validation_loss: None, validation_accuracy: None, ..record };
        assert_eq!(summary(&without, 12), "epoch 3/12: loss 0.1235, accuracy 98.77 %");
    }
}
