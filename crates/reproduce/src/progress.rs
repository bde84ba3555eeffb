//! How a sweep is shown on the standard error: a bar over all combinations above that of the current one on a terminal, else a
//! line for each thing made.

use std::time::{Duration, Instant};

use cli::progress;
use indicatif::{HumanDuration, ProgressBar};

use crate::{Event, Failure, Stage};

/// Shows what happens in a sweep.
pub struct Display {
    bar: ProgressBar,
    start: Instant,
    n_networks: usize,
    n_cells: usize,
    tally: Tally,
    /// What is being done.
    current: String,
}

/// What has been done, and how long it took.
#[derive(Debug, Default)]
struct Tally {
    networks: usize,
    cells: usize,
    failed: usize,
    /// Combinations found finished since the last line about them.
    unchanged: usize,
    trained: Vec<Duration>,
    made: Vec<Duration>,
}

impl Tally {
    /// Time left, by the mean times of what has been made; `None` before anything was.
    fn left(&self, n_networks: usize, n_cells: usize) -> Option<Duration> {
        let mean =
            |times: &[Duration]| (!times.is_empty()).then(|| times.iter().sum::<Duration>() / times.len() as u32);
        let (networks, cells) = (n_networks.saturating_sub(self.networks), n_cells.saturating_sub(self.done()));
        let cell = mean(&self.made)?;
        // Networks that were there already may be there again.
        let network = mean(&self.trained).unwrap_or_default();
        Some(network * networks as u32 + cell * cells as u32)
    }

    fn done(&self) -> usize {
        self.cells + self.failed
    }
}

impl Display {
    /// Begins to show a sweep; what is shown follows from its events.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            start: Instant::now(),
            n_networks: 0,
            n_cells: 0,
            tally: Tally::default(),
            current: String::new(),
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Begin { n_networks, n_cells } => {
                (self.n_networks, self.n_cells) = (*n_networks, *n_cells);
                let template = "{pos}/{len} {bar:20} {elapsed}{msg}";
                self.bar = progress::bar(*n_cells as u64, template, true);
                if !self.bar.is_hidden() {
                    self.bar.enable_steady_tick(Duration::from_secs(1));
                }
            }
            Event::Enter { what, stage } => self.enter(what, *stage),
            Event::Trained { network, took } => {
                self.tally.networks += 1;
                if let Some(took) = took {
                    self.tally.trained.push(*took);
                    self.unchanged();
                    self.say(&format!("{network}: trained in {}", seconds(*took)));
                }
            }
            Event::Finished { what, took } => {
                if took.is_some() {
                    self.unchanged();
                }
                self.tally.cells += 1;
                match took {
                    Some(took) => {
                        self.tally.made.push(*took);
                        let (done, n_cells) = (self.tally.done(), self.n_cells);
                        let left = self.left().map(|left| format!(", {left} left")).unwrap_or_default();
                        self.say(&format!("[{done}/{n_cells}] {what} in {}{left}", seconds(*took)));
                    }
                    None => self.tally.unchanged += 1,
                }
            }
            Event::Failed(Failure { network, label, stage, error }) => {
                self.unchanged();
                self.tally.failed += 1;
                let (done, n_cells) = (self.tally.done(), self.n_cells);
                progress::line(&format!("[{done}/{n_cells}] {network}: {label}: failed to {stage}: {error}"));
            }
        }
        self.draw();
    }

    /// Ends with a line that stays.
    pub fn finish(mut self) {
        self.unchanged();
        let Tally { cells, failed, .. } = self.tally;
        self.bar.finish_and_clear();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        progress::line(&format!(
            "{cells} of {} finished{failed} in {}",
            self.n_cells,
            HumanDuration(self.start.elapsed())
        ));
    }

    fn enter(&mut self, what: &str, stage: Stage) {
        self.current = format!("  {stage} {what}");
        // Training is long, and its own lines say nothing of which network it is.
        if stage == Stage::Train && self.bar.is_hidden() {
            self.unchanged();
            let done = self.tally.done();
            progress::line(&format!("[{done}/{}] {what}: train", self.n_cells));
        }
    }

    /// One line for all combinations that were found finished.
    fn unchanged(&mut self) {
        let n = std::mem::take(&mut self.tally.unchanged);
        if n > 0 {
            let done = self.tally.done();
            self.say(&format!("[{done}/{}] {n} unchanged", self.n_cells));
        }
    }

    fn left(&self) -> Option<HumanDuration> {
        self.tally.left(self.n_networks, self.n_cells).filter(|left| !left.is_zero()).map(HumanDuration)
    }

    fn draw(&self) {
        self.bar.set_position(self.tally.done() as u64);
        let failed = if self.tally.failed > 0 { format!(", {} failed", self.tally.failed) } else { String::new() };
        let left = self.left().map(|left| format!(", {left} left")).unwrap_or_default();
        self.bar.set_message(format!("{failed}{left}{}", self.current));
    }

    /// A line, unless there is a bar that shows it.
    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            progress::line(text);
        }
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::new()
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_by_what_has_been_made_and_not_by_what_was_there() {
        let mut tally = Tally { networks: 1, cells: 2, ..Tally::default() };
        assert_eq!(tally.left(3, 10), None);
        tally.made = vec![Duration::from_secs(2), Duration::from_secs(4)];
        // Eight combinations of three seconds; nothing is known of training yet.
        assert_eq!(tally.left(3, 10), Some(Duration::from_secs(24)));
        tally.trained = vec![Duration::from_secs(5)];
        assert_eq!(tally.left(3, 10), Some(Duration::from_secs(34)));
        tally.failed = 8;
        assert_eq!(tally.left(1, 10), Some(Duration::ZERO));
    }
}
