//! What can go wrong while a report is made.

/// Why a page, figure or table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The plotting library refused to draw.
    #[error("figure `{figure}` could not be drawn: {reason}")]
    Draw {
        /// The figure's name.
        figure: String,
        /// What the library said.
        reason: String,
    },
    /// The CSV writer failed.
    #[error("csv table could not be written: {0}")]
    Csv(#[from] ::csv::Error),
}
