//! Tables, and their forms for a terminal, Markdown and CSV.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::comparison::{Verdict, paired, verdict, verdicts};
use crate::error::ReportError;
use crate::method::{Method, ann_accuracies, checkpoints, last_step, methods, of_networks, unit};
use crate::number::{
    MISSING, accuracy_decimals, count_summary, integer, interval, number_summary, percent, percent_summary,
};
use results::record::{CellRecord, EarlyExitRecord, ExperimentRecord, RunRecord, SeedRecord};
use results::statistic::{Summary, half_width};

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
/// first rows are the ANNs, over the networks: one row for each kind of network.
pub fn accuracy_table(record: &ExperimentRecord) -> Table {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let methods = methods(record);
    let spread = if methods.iter().any(|m| m.observations.len() > 1) {
        "; mean ± standard deviation over networks × simulation seeds"
    } else {
        ""
    };
    let mut table = checkpoint_table(
        record,
        format!("Accuracy in % on {} test samples{spread}", integer(record.dataset.n_test as u64)),
        |method, step| percent_summary(method.accuracy(step), decimals),
    );
    table.columns.push(Column::number(format!("syn. ops / sample, T={}", last_step(record))));
    for (row, method) in table.rows.iter_mut().zip(methods) {
        row.push(count_summary(method.operations(method.steps())));
    }
    let n_columns = table.columns.len();
    let anns = ann_accuracies(record);
    let row = |name: &str, accuracy: Option<Summary>| {
        let mut row = vec![percent_summary(accuracy, decimals); n_columns];
        row[0] = if name.is_empty() { "ANN".to_owned() } else { format!("{name}: ANN") };
        MISSING.clone_into(&mut row[n_columns - 1]);
        row
    };
    let first: Vec<Vec<String>> = if anns.is_empty() {
        vec![row("", None)]
    } else {
        anns.into_iter().map(|(name, accuracy)| row(name, Some(accuracy))).collect()
    };
    table.rows.splice(0..0, first);
    table
}

/// Share of samples whose class is among the first five of every method at every checkpoint, in %; `None` with few classes.
///
/// Set as [`accuracy_table`] is.
pub fn top_five_table(record: &ExperimentRecord) -> Option<Table> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    methods(record).iter().any(|method| method.top_five(method.steps()).is_some()).then_some(())?;
    let title = format!("Class among the first five, in % of {} test samples", integer(record.dataset.n_test as u64));
    let mut table = checkpoint_table(record, title, |method, step| percent_summary(method.top_five(step), decimals));
    let n_columns = table.columns.len();
    let anns = of_networks(record, |network| network.test_top5).into_iter().map(|(name, share)| {
        let mut row = vec![percent_summary(Some(share), decimals); n_columns];
        row[0] = if name.is_empty() { "ANN".to_owned() } else { format!("{name}: ANN") };
        row
    });
    let anns: Vec<Vec<String>> = anns.collect();
    table.rows.splice(0..0, anns);
    Some(table)
}

/// Accuracy of every method at every checkpoint with the 95 % confidence interval of its mean, in %; `None` without a spread.
///
/// `mean [from, to]` by Student's t over the networks, each one's simulation seeds averaged first; over the simulation seeds where
/// there is one network of a kind.
pub fn interval_table(record: &ExperimentRecord) -> Option<Table> {
    let decimals = accuracy_decimals(record.dataset.n_test);
    let methods = methods(record);
    let title = format!("Accuracy in %, mean [95 % confidence interval over {}, by Student’s t]", unit(&methods));
    let table = checkpoint_table(record, title, |m, t| interval(m.accuracy_by_unit(t), decimals));
    methods.iter().any(|m| m.accuracy_by_unit(m.steps()).is_some_and(|s| half_width(&s).is_some())).then_some(table)
}

/// The method that each is compared with: within its kind of network the baseline of the record, else the first by the L4-norm;
/// `None` where there is no such method.
///
/// Where every kind of network has one method, that of the first kind.
pub(crate) fn references(record: &ExperimentRecord, methods: &[Method<'_>]) -> Vec<Option<usize>> {
    let is_l4 = |m: &Method<'_>| {
        m.runs.iter().any(|run| run.conversion.method == "norm" && run.conversion.p.is_some_and(|p| p == 4.0))
    };
    let is_baseline =
        |m: &Method<'_>| record.sweep.baseline.as_ref().map_or_else(|| is_l4(m), |b| m.conversion() == *b);
    let within = |variant: &str| methods.iter().position(|m| m.variant() == variant && is_baseline(m));
    let alone =
        methods.iter().enumerate().all(|(i, m)| methods[..i].iter().all(|other| other.variant() != m.variant()));
    let first = methods.iter().position(is_baseline);
    methods.iter().map(|m| if alone { first } else { within(m.variant()) }).collect()
}

/// The baseline against each other method: mean paired difference of accuracy at each checkpoint.
///
/// The baseline is the record's own, else the first method by the norm of order 4; where networks are of several kinds, that of
/// each kind for its own. `*` marks a difference that can be told from zero with 95 % by Student's t over networks (over seeds of a
/// single network) after Holm's correction for all comparisons at the same step, `°` one that only could if it were the only
/// one; `None` without a baseline or another method.
pub fn difference_table(record: &ExperimentRecord) -> Option<Table> {
    let methods = methods(record);
    let references = references(record, &methods);
    let pairs: Vec<(usize, usize)> = references
        .iter()
        .enumerate()
        .filter_map(|(i, reference)| reference.filter(|&reference| reference != i).map(|reference| (reference, i)))
        .collect();
    let first = pairs.first()?.0;
    let decimals = accuracy_decimals(record.dataset.n_test);
    let steps = checkpoints(record);
    let mut rows: Vec<Vec<String>> = pairs.iter().map(|&(_, other)| vec![methods[other].label.to_owned()]).collect();
    for &step in &steps {
        let differences: Vec<Option<Summary>> = pairs
            .iter()
            .map(|&(reference, other)| paired(&methods[reference].accuracy_at(step), &methods[other].accuracy_at(step)))
            .collect();
        for ((row, difference), among_all) in rows.iter_mut().zip(&differences).zip(verdicts(&differences)) {
            row.push(difference.as_ref().map_or_else(
                || MISSING.to_owned(),
                |difference| {
                    let size = percent(difference.mean, decimals);
                    // A rounded zero has no sign.
                    let sign = if difference.mean > 0.0 && size.contains(|c: char| ('1'..='9').contains(&c)) {
                        "+"
                    } else {
                        ""
                    };
                    let mark = match (among_all, verdict(difference)) {
                        (Verdict::Different, _) => "*",
                        (_, Verdict::Different) => "°",
                        _ => "",
                    };
                    format!("{sign}{size}{mark}")
                },
            ));
        }
    }
    let mut columns = vec![Column::text("against")];
    columns.extend(steps.iter().map(|t| Column::number(format!("T={t}"))));
    let name = if pairs.iter().all(|(reference, _)| *reference == first) {
        methods[first].label.to_owned()
    } else {
        format!("{} of the same network", methods[first].conversion())
    };
    let title = format!(
        "{name} against each other method: difference of accuracy in points (* is not zero, with 95 % after Holm’s \
         correction for {}; ° would be, were it the only comparison; Student’s t over {})",
        match pairs.len() {
            1 => "1 comparison at a step".to_owned(),
            n => format!("the {n} comparisons at a step"),
        },
        unit(&methods)
    );
    Some(Table { title, columns, rows })
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

/// One column of [`tidy_csv`].
struct TidyColumn<'a> {
    name: String,
    meaning: String,
    value: Box<dyn Fn(&TidyRow<'a>) -> String + 'a>,
}

/// What one row of [`tidy_csv`] is made of.
struct TidyRow<'a> {
    run: &'a RunRecord,
    cell: Option<&'a CellRecord>,
    seed: &'a SeedRecord,
    /// From 0.
    step: usize,
}

/// The columns of [`tidy_csv`], in order.
fn tidy_columns(record: &ExperimentRecord) -> Vec<TidyColumn<'_>> {
    fn column<'a>(
        name: impl Into<String>,
        meaning: impl Into<String>,
        value: impl Fn(&TidyRow<'a>) -> String + 'a,
    ) -> TidyColumn<'a> {
        TidyColumn { name: name.into(), meaning: meaning.into(), value: Box::new(value) }
    }
    fn at(series: &[f64], step: usize) -> String {
        series.get(step).copied().map(finite).unwrap_or_default()
    }
    fn finite(value: f64) -> String {
        if value.is_finite() { value.to_string() } else { String::new() }
    }
    let network = |run: &RunRecord| record.networks.iter().find(|n| n.label == run.network);
    let mut columns = vec![
        column("experiment", "name of the experiment", |_| record.name.clone()),
        column("network", "label of the trained network", |row| row.run.network.clone()),
        column("training_seed", "seed that the network was trained with", move |row| {
            network(row.run).map(|n| n.seed.to_string()).unwrap_or_default()
        }),
        column("architecture", "the network’s layers, in short", move |row| {
            network(row.run).map(|n| n.architecture.clone()).unwrap_or_default()
        }),
        column("ann_accuracy", "accuracy of the network before conversion, in [0, 1]", move |row| {
            network(row.run).and_then(|n| n.test_accuracy).map(finite).unwrap_or_default()
        }),
        column("label", "label of conversion and simulation; the same for every network", |row| row.run.label.clone()),
    ];
    for (idx, key) in record.sweep.columns.iter().enumerate() {
        // Known as training_seed.
        if key == "seed" {
            continue;
        }
        let text = move |row: &TidyRow<'_>| row.cell.and_then(|cell| cell.values.get(idx).cloned()).unwrap_or_default();
        if key == "convert.kappa" {
            let searched = |run: &RunRecord| !run.conversion.kappa_search.is_empty();
            let meaning = "noise-to-threshold ratio κ that was used, the one found where it was searched for; empty where the method has none";
            columns.push(column(key, meaning, |row| row.run.conversion.kappa.map(finite).unwrap_or_default()));
            if record.runs.iter().any(searched) {
                let meaning = "whether κ was searched for (`auto`): true or false";
                columns.push(column("convert.kappa_searched", meaning, move |row| searched(row.run).to_string()));
            }
        } else if key == "convert.scale" {
            let searched = |run: &RunRecord| run.conversion.scale_search.is_some();
            let meaning = "factor on every hidden λ that was used, the one found where it was searched for";
            columns.push(column(key, meaning, move |row| {
                row.run.conversion.scale_search.as_ref().map_or_else(|| text(row), |search| finite(search.scale))
            }));
            if record.runs.iter().any(searched) {
                let meaning = "whether the factor was searched for (`auto`): true or false";
                columns.push(column("convert.scale_searched", meaning, move |row| searched(row.run).to_string()));
            }
        } else {
            let meaning = "swept key of the experiment; empty where it has no effect on the combination";
            columns.push(column(key, meaning, text));
        }
    }
    columns.extend([
        column("simulation_seed", "seed of the simulation’s random input", |row| row.seed.seed.to_string()),
        column("step", "time step, from 1", |row| (row.step + 1).to_string()),
        column("accuracy", "share of test samples decided rightly after the step, in [0, 1]", |row| {
            at(&row.seed.accuracy, row.step)
        }),
        column("agreement", "share of test samples decided as by the network before conversion, in [0, 1]", |row| {
            at(&row.seed.agreement, row.step)
        }),
        column("synaptic_operations", "per sample, up to and including the step: mean over the test samples", |row| {
            at(&row.seed.synaptic_operations, row.step)
        }),
    ]);
    if record.runs.iter().flat_map(|run| &run.simulation.seeds).any(|seed| seed.early_exit.is_some()) {
        columns.push(column("early_exits", "share of test samples that stop at the step, in [0, 1]", |row| {
            row.seed.early_exit.as_ref().map(|early| at(&early.exits, row.step)).unwrap_or_default()
        }));
    }
    columns
}

/// Every measured step as comma-separated values in tidy form, at full precision: one row per network, conversion, simulation seed
/// and step.
///
/// Every swept key has a column of its own. A missing value is an empty field, and no other cell is empty or a text where numbers
/// stand, so that `pandas.read_csv` and R's `read.csv` find the types. [`tidy_column_table`] says what the columns are.
///
/// # Errors
/// [`ReportError::Csv`] if the writer fails.
pub fn tidy_csv(record: &ExperimentRecord) -> Result<String, ReportError> {
    let columns = tidy_columns(record);
    let cells: HashMap<(&str, &str), &CellRecord> =
        record.sweep.cells.iter().map(|cell| ((cell.network.as_str(), cell.label.as_str()), cell)).collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| &column.name))?;
    for run in &record.runs {
        let cell = cells.get(&(run.network.as_str(), run.label.as_str())).copied();
        for seed in &run.simulation.seeds {
            for step in 0..run.simulation.steps {
                let row = TidyRow { run, cell, seed, step };
                writer.write_record(columns.iter().map(|column| (column.value)(&row)))?;
            }
        }
    }
    finish(writer)
}

/// What the columns of [`tidy_csv`] are.
pub fn tidy_column_table(record: &ExperimentRecord) -> Table {
    Table {
        title: "Columns of results.csv".to_owned(),
        columns: vec![Column::text("column"), Column::text("meaning")],
        rows: tidy_columns(record).into_iter().map(|column| vec![column.name, column.meaning]).collect(),
    }
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
