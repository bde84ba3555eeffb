//! How far each swept factor moves accuracy.

use maud::{PreEscaped, html};

use super::{Section, figure, reading};
use crate::chart::swatch;
use crate::error::ReportError;
use crate::factor::{MainEffects, main_effects};
use crate::method::Method;
use results::record::ExperimentRecord;

/// Natural width of the chart, in pixels.
const WIDTH: u32 = 860;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let Some(MainEffects { chart, height_px, legend }) = main_effects(record, methods) else { return Ok(None) };
    let key = html! {
        ul.legend { @for (i, name) in legend.iter().enumerate() { li { (PreEscaped(swatch(i, true))) (name) } } }
    };
    let caption = "Mean accuracy at each level of a factor; the horizontal line through a point is its 95 % confidence interval \
                   over networks, or over simulation seeds where there is one network.";
    Ok(Some(Section {
        id: "factors",
        title: "Which factor matters",
        body: html! {
            (reading("Each level of a factor is averaged over all combinations of the other factors that were measured at every one of its levels: the main effect. The factor that moves accuracy most is on top. Intervals of two levels may overlap though the networks agree on which is better: the sentences at the top compare them network by network."))
            (figure(&[chart], (WIDTH, height_px as u32), "charts", &key, caption)?)
        },
    }))
}
