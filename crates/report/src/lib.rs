//! Result records as a page, figures and tables.
//!
//! Turns an [`ExperimentRecord`](results::record::ExperimentRecord) into something to read: one self-contained HTML page ([`html`]), figures for a README ([`figures`]), and
//! tables for a terminal, Markdown and CSV. Every sentence that interprets is computed from the numbers.
//! No files are written and no other part of Quartic is used.

mod canvas;
mod chart;
mod comparison;
mod diagnosis;
mod effect;
mod error;
mod factor;
mod figure;
mod finding;
mod law;
mod loss;
mod method;
mod number;
mod page;
mod palette;
mod panel;
pub mod points;
mod severity;
mod sheet;
mod table;

pub use error::ReportError;
pub use factor::factor_figures;
pub use figure::figures;
pub use finding::{findings, findings_markdown};
pub use law::{law_figures, law_markdown};
pub use loss::{loss_figures, loss_markdown};
pub use page::html;
pub use severity::{fault_figures, fault_tables};
pub use sheet::{Figure, Theme};
pub use table::{
    Align, Column, Table, accuracy_table, csv, difference_table, early_exit_table, interval_table, markdown, terminal,
    tidy_column_table, tidy_csv, top_five_table,
};
