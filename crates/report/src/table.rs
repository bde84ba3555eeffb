//! Tables, and their forms for a terminal, Markdown and CSV.

use std::fmt::Write as _;

use crate::comparison::{Verdict, difference};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracy, checkpoints, last_step, methods};
use crate::number::{MISSING, accuracy_decimals, count_summary, integer, number_summary, percent, percent_summary};
use crate::record::{EarlyExitRecord, ExperimentRecord, SeedRecord};

/// A table of text cells, each row as long as `columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What the table shows, in one line.
    pub title: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows; the first cell names the row.
    pub rows: Vec<Vec<String>>,
}

/// Heading and alignment of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// How its cells are set.
    pub align: Align,
}

/// How the cells of a column are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Column {
    /// A column of words.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), align: Align::Left }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), align: Align::Right }
    }
}

/// Accuracy of every method at every checkpoint, in %, and synaptic operations per sample at the last.
///
/// Mean ± sample standard deviation over networks × simulation seeds (the mean alone for one observation). The
/// first row is the ANN, over the networks.
pub fn accuracy_table(record: &ExperimentRecord) -> Table {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let ann = percent_summary(ann_accuracy(record), decimals);
    let mut table = checkpoint_table(
        record,
        format!("Accuracy in % on {} test samples", integer(record.dataset.n_test as u64)),
        |method, step| percent_summary(method.accuracy(step), decimals),
    );
    table.columns.push(Column::number(format!("syn. ops / sample, T={}", last_step(record))));
    for (row, method) in table.rows.iter_mut().zip(methods(record)) {
        row.push(count_summary(method.operations(method.steps())));
    }
    let n_columns = table.columns.len();
    let mut first = vec![ann; n_columns];
    "ANN".clone_into(&mut first[0]);
    MISSING.clone_into(&mut first[n_columns - 1]);
    table.rows.insert(0, first);
    table
}

/// The L4-norm's method against each other one: mean paired difference of accuracy at each checkpoint.
///
/// The method is the first one by the norm of order 4. `*` marks a difference whose 95 % interval (Student's t over
/// networks, or over seeds of a single network) leaves out zero; `None` without such a method or another one.
pub fn difference_table(record: &ExperimentRecord) -> Option<Table> {
    let methods = methods(record);
    let is_l4 = |m: &Method<'_>| {
        m.runs.iter().any(|run| run.conversion.method == "norm" && run.conversion.p.is_some_and(|p| p == 4.0))
    };
    let reference = methods.iter().position(is_l4)?;
    let others: Vec<&Method<'_>> =
        methods.iter().enumerate().filter(|(i, _)| *i != reference).map(|(_, m)| m).collect();
    let decimals = accuracy_decimals(record.dataset.n_test);
    let steps = checkpoints(record);
    let cell = |other: &Method<'_>, step: usize| {
        let difference = difference(&methods[reference].accuracy_at(step), &other.accuracy_at(step));
        difference.map_or_else(
            || MISSING.to_owned(),
            |(mean, verdict)| {
                let sign = if mean > 0.0 { "+" } else { "" };
                let mark = if verdict == Verdict::Different { "*" } else { "" };
                format!("{sign}{}{mark}", percent(mean, decimals))
            },
        )
    };
    let mut columns = vec![Column::text("against")];
    columns.extend(steps.iter().map(|t| Column::number(format!("T={t}"))));
    let row = |other: &&Method<'_>| {
        std::iter::once(other.label.to_owned()).chain(steps.iter().map(|&t| cell(other, t))).collect()
    };
    let title = format!(
        "{} against each other method: difference of accuracy in points (* its 95 % interval leaves out zero)",
        methods[reference].label
    );
    (!others.is_empty()).then(|| Table { title, columns, rows: others.iter().map(row).collect() })
}

/// What stopping each sample at a settled decision gives, against running all of them to T; `None` if no run was stopped.
///
/// Mean ± sample standard deviation over networks × simulation seeds, as in [`accuracy_table`]; steps are rounded means of the
/// seeds' quantiles.
pub fn early_exit_table(record: &ExperimentRecord) -> Option<Table> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let row = |m: &Method<'_>| {
        let value = |value: &dyn Fn(&EarlyExitRecord) -> f64| m.early_exit(|early, _| Some(value(early)));
        let share = |of: &dyn Fn(&EarlyExitRecord) -> f64| percent_summary(value(of), decimals);
        let steps = |of: &dyn Fn(&EarlyExitRecord) -> f64, decimals| number_summary(value(of), decimals);
        let last_operations = |seed: &SeedRecord| seed.synaptic_operations.last().copied().filter(|&n| n > 0.0);
        let saved = m.early_exit(|early, seed| Some(early.synaptic_operations / last_operations(seed)?));
        m.confidence().map(|confidence| {
            vec![
                m.label.to_owned(),
                confidence.to_string(),
                share(&|early| early.accuracy),
                percent_summary(m.early_exit(|_, seed| seed.accuracy.last().copied()), decimals),
                share(&|early| 1.0 - early.agreement),
                steps(&|early| early.mean_steps, 2),
                steps(&|early| early.median_steps as f64, 0),
                steps(&|early| early.ninth_decile_steps as f64, 0),
                share(&|early| early.unsettled_share),
                percent_summary(saved, 1),
            ]
        })
    };
    let rows: Vec<Vec<String>> = methods(record).iter().filter_map(row).collect();
    let t = last_step(record);
    let columns = vec![
        Column::text("method"),
        Column::number("confidence"),
        Column::number("accuracy, %"),
        Column::number(format!("at T={t}, %")),
        Column::number("differing, %"),
        Column::number("steps, mean"),
        Column::number("median"),
        Column::number("9 in 10"),
        Column::number(format!("run to T={t}, %")),
        Column::number("syn. ops, % of all"),
    ];
    let title = "Early exit: each sample stopped at a settled decision".to_owned();
    (!rows.is_empty()).then_some(Table { title, columns, rows })
}

/// A table with one row per method and one column per checkpoint.
pub(crate) fn checkpoint_table(
    record: &ExperimentRecord,
    title: String,
    cell: impl Fn(&Method<'_>, usize) -> String,
) -> Table {
    let steps = checkpoints(record);
    let mut columns = vec![Column::text("method")];
    columns.extend(steps.iter().map(|t| Column::number(format!("T={t}"))));
    let rows = methods(record)
        .iter()
        .map(|m| std::iter::once(m.label.to_owned()).chain(steps.iter().map(|&t| cell(m, t))).collect())
        .collect();
    Table { title, columns, rows }
}

/// The table as lines of at most its own width, columns aligned, for a fixed-width font.
///
/// Ends with a line break. Width is counted in characters: no wide or combining ones are expected.
pub fn terminal(table: &Table) -> String {
    let widths: Vec<usize> = table
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| {
            let cells = table.rows.iter().filter_map(|r| r.get(i)).map(|cell| cell.chars().count());
            cells.chain([c.name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, column), &width) in cells.zip(&table.columns).zip(&widths) {
            if !text.is_empty() {
                text.push_str("  ");
            }
            let _ = match column.align {
                Align::Left => write!(text, "{cell:<width$}"),
                Align::Right => write!(text, "{cell:>width$}"),
            };
        }
        text.trim_end().to_owned()
    };
    let mut text = format!("{}\n", table.title);
    let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
    let _ = writeln!(text, "{}\n{rule}", line(&mut table.columns.iter().map(|c| c.name.as_str())));
    for row in &table.rows {
        let _ = writeln!(text, "{}", line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// The table in GitHub's Markdown, without its title; ends with a line break.
pub fn markdown(table: &Table) -> String {
    let escape = |cell: &str| cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(table.columns.iter().map(|c| escape(&c.name)).collect());
    text +=
        &line(table.columns.iter().map(|c| if c.align == Align::Left { "---" } else { "---:" }.to_owned()).collect());
    for row in &table.rows {
        text += &line(row.iter().map(|cell| escape(cell)).collect());
    }
    text
}

/// The table as comma-separated values with a heading, cells as they are shown.
///
/// # Errors
/// [`ReportError::Csv`] if a row is longer or shorter than the heading.
pub fn csv(table: &Table) -> Result<String, ReportError> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns.iter().map(|c| &c.name))?;
    for row in &table.rows {
        writer.write_record(row)?;
    }
    finish(writer)
}

/// Every measured step as comma-separated values in tidy form, at full precision.
///
/// Columns: `experiment, network, label, seed, step, accuracy, agreement, synaptic_operations`; accuracy and
/// agreement in [0, 1], operations per sample up to and including the step. Where any run was stopped early, `early_exits` too: the
/// share of samples that stop at the step. A missing value is an empty field.
///
/// # Errors
/// [`ReportError::Csv`] if the writer fails.
pub fn tidy_csv(record: &ExperimentRecord) -> Result<String, ReportError> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut heading =
        vec!["experiment", "network", "label", "seed", "step", "accuracy", "agreement", "synaptic_operations"];
    let stops = record.runs.iter().flat_map(|run| &run.simulation.seeds).any(|seed| seed.early_exit.is_some());
    heading.extend(stops.then_some("early_exits"));
    writer.write_record(heading)?;
    for run in &record.runs {
        for seed in &run.simulation.seeds {
            for step in 0..run.simulation.steps {
                let value = |series: &[f64]| {
                    series.get(step).filter(|v| v.is_finite()).map(ToString::to_string).unwrap_or_default()
                };
                let mut row = vec![
                    record.name.clone(),
                    run.network.clone(),
                    run.label.clone(),
                    seed.seed.to_string(),
                    (step + 1).to_string(),
                    value(&seed.accuracy),
                    value(&seed.agreement),
                    value(&seed.synaptic_operations),
                ];
                let exits = seed.early_exit.as_ref().map_or(&[][..], |early| &early.exits);
                row.extend(stops.then(|| value(exits)));
                writer.write_record(row)?;
            }
        }
    }
    finish(writer)
}

fn finish(writer: ::csv::Writer<Vec<u8>>) -> Result<String, ReportError> {
    let bytes = writer.into_inner().map_err(|e| ::csv::Error::from(e.into_error()))?;
    Ok(String::from_utf8(bytes).expect("a writer given only strings writes UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Table {
        Table {
            title: "t".to_owned(),
            columns: vec![Column::text("method"), Column::number("T=1")],
            rows: vec![vec!["a|b".to_owned(), "9.1 ± 0.2".to_owned()], vec!["c".to_owned(), "10".to_owned()]],
        }
    }

    #[test]
    fn terminal_columns_are_aligned_without_trailing_spaces() {
        assert_eq!(
            terminal(&small()),
            "t\nmethod        T=1\n─────────────────\na|b     9.1 ± 0.2\nc              10\n"
        );
    }

    #[test]
    fn markdown_escapes_the_column_separator() {
        assert_eq!(markdown(&small()), "| method | T=1 |\n| --- | ---: |\n| a\\|b | 9.1 ± 0.2 |\n| c | 10 |\n");
    }

    #[test]
    fn a_short_row_is_refused_by_csv() {
        let mut table = small();
        assert_eq!(csv(&table).unwrap(), "method,T=1\na|b,9.1 ± 0.2\nc,10\n");
        table.rows[1].pop();
        assert!(matches!(csv(&table), Err(ReportError::Csv(_))));
    }
}
