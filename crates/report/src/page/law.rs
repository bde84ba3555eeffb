//! Which norm the noise follows, per layer, over all networks.

use maud::html;

use super::{HALF, Section, figure, findings, reading, table};
use crate::chart::swatch;
use crate::error::ReportError;
use crate::law::{charts, correlation_table, layer_names, reason_table, sentences, variation_table};
use crate::method::Method;
use results::record::ExperimentRecord;

pub(super) fn section(_: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let names = layer_names(methods);
    if names.is_empty() {
        return Ok(None);
    }
    let legend = html! {
        ul.legend {
            @for (i, name) in names.iter().enumerate() { li { (maud::PreEscaped(swatch(i, true))) "into " (name) } }
        }
    };
    let caption = "Coefficient of variation of σ/‖w‖ₚ over a layer’s neurons against the order p, mean over networks; whiskers are its \
                   95 % confidence interval, a ring stands at each layer’s smallest. The last panel replaces rates by uniform random \
                   ones that know nothing of the weights, in closed form.";
    Ok(Some(Section {
        id: "law",
        title: "Which norm the noise follows",
        body: html! {
            (reading("The lower a line, the better that norm predicts the noise of every neuron of the layer. For independent inputs σ² = Σ w² r(1 − r) = ‖w‖₄² ‖r(1 − r)‖₂ cos φ exactly, with φ the angle between w∘w and r(1 − r): the L4-norm is as good as √cos φ is alike across neurons. Where rates know nothing of the weights, σ² is ‖w‖₂² times their mean variance, and the L2-norm must win."))
            p { "The current per step and the potential before firing are two readings of the same statement. Given what is left in a neuron, its potential before firing has exactly the current’s σ. Over time it has another: resets make a sawtooth of up to one threshold of it, the same for all neurons in thresholds, and neurons that are driven away from their threshold drift. After an adjustment by the L4-norm all neurons have the same norm in thresholds, so that the sawtooth follows it by construction, and the current need not." }
            (figure(&charts(methods), HALF, "charts two", &legend, caption)?)
            (findings(&sentences(methods)))
            (table(&reason_table(methods)))
            details { summary { "Every norm, for the current, the potential and random rates" } (table(&variation_table(methods))) (table(&correlation_table(methods))) }
        },
    }))
}
