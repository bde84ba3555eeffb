//! Bars on the standard error, one below the other.
//!
//! A command that runs others shows its own bar together with theirs. All of them are drawn here, so that none writes over
//! another; where the standard error is no terminal, none is drawn.

use std::io::Write as _;
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A new bar below those there are; hidden if it is not to be `shown`, or there is no terminal.
///
/// # Panics
/// If the template is not one of indicatif's: a bug.
pub fn bar(length: u64, template: &str, shown: bool) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸─");
    if shown {
        BARS.add(ProgressBar::new(length).with_style(style))
    } else {
        ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden()).with_style(style)
    }
}

/// Writes a line that stays, above the bars.
pub fn line(text: &str) {
    // Who closed the standard error wants no lines.
    BARS.suspend(|| _ = writeln!(std::io::stderr(), "{text}"));
}
