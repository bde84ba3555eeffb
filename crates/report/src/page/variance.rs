//! Standard deviation of the input current against the norms of the weights: claim 3 of the paper.

use maud::{PreEscaped, html};

use super::{HALF, Section, figure, reading};
use crate::chart::{Axis, Chart, Mark, line_swatch};
use crate::error::ReportError;
use crate::method::Method;
use crate::palette::Ink;
use results::record::{ExperimentRecord, LayerVariance};

/// Points drawn per panel; more only thicken the cloud.
const MAX_POINTS: usize = 500;

pub(super) fn section(record: &ExperimentRecord, _: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let Some(run) = record
        .networks
        .iter()
        .flat_map(|n| record.runs.iter().filter(|r| r.network == n.label))
        .chain(&record.runs)
        .find(|r| !r.simulation.variance.is_empty())
    else {
        return Ok(None);
    };
    let charts: Vec<Chart> = run.simulation.variance.iter().map(panel).collect();
    let caption = format!(
        "One dot per neuron{}, from the run “{}” on network “{}”: standard deviation of the input current per time step \
         against the L4-norm of the incoming weights (in units of the ANN’s activations). Rings are what independent \
         Bernoulli inputs with the measured rates would give. The line is the best proportional fit to the dots.",
        if run.simulation.variance.iter().any(|l| l.neurons.len() > MAX_POINTS) {
            format!(" (at most {MAX_POINTS} per panel, evenly spaced)")
        } else {
            String::new()
        },
        run.label,
        run.network
    );
    let legend = html! {
        ul.legend {
            li { (PreEscaped(key(false))) "measured" }
            li { (PreEscaped(key(true))) "Bernoulli prediction" }
            li { (PreEscaped(line_swatch(Ink::Ann, 0))) "σ proportional to the L4-norm" }
        }
    };
    Ok(Some(Section {
        id: "variance",
        title: "Input noise against the L4-norm",
        body: html! {
            (reading("If the standard deviation σ is proportional to a norm of the weights, the dots lie on a line through the origin and σ/‖w‖ varies little from neuron to neuron. The section that follows compares the norms."))
            blockquote.claim {
                p { strong { "The paper’s statement (abstract, claim 3): " } "the standard deviation of the pre-firing membrane potential is proportional to the L4-norm of the weight vector." }
                p { strong { "Our reading: " } "for independent inputs with small rates r, Var = Σ w²r = ‖w‖₄² ‖r‖₂ cos φ, where φ is the angle between w∘w and r; so σ follows the L4-norm as far as φ is alike across neurons. If rates were independent of the weights, the L2-norm would be the exact predictor. What is shown here is the input current per step; the section that follows has the potential before firing too, every norm with its confidence interval, and the angle." }
            }
            (figure(&charts, HALF, "charts two", &legend, &caption)?)
        },
    }))
}

/// A dot or a ring for the legend.
fn key(ring: bool) -> String {
    let shape = if ring {
        format!(r#"<circle cx="6" cy="6" r="3.5" fill="none" class="s{}" stroke-width="1.2"/>"#, Ink::Series(1).code())
    } else {
        format!(r#"<circle cx="6" cy="6" r="3" class="f{}"/>"#, Ink::Series(0).code())
    };
    format!(r#"<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{shape}</svg>"#)
}

fn panel(layer: &LayerVariance) -> Chart {
    let every = layer.neurons.len().div_ceil(MAX_POINTS).max(1);
    let finite = || layer.neurons.iter().filter(|n| n.l4_norm.is_finite() && n.sigma.is_finite());
    let shown: Vec<_> = layer.neurons.iter().step_by(every).collect();
    let x = Axis::fit(shown.iter().map(|n| n.l4_norm), 5, "L4-norm of the weights");
    let y = Axis::fit(shown.iter().flat_map(|n| [n.sigma, n.sigma_bernoulli]), 5, "σ of the input current per step");
    let mut marks = Vec::new();
    let (product, square) = finite().fold((0.0, 0.0), |(p, s), n| (p + n.l4_norm * n.sigma, s + n.l4_norm * n.l4_norm));
    if square > 0.0 {
        let slope = product / square;
        let (from, to) = x.ends();
        marks.push(Mark::Line {
            points: vec![[from, slope * from], [to, slope * to]],
            ink: Ink::Ann,
            dash: 0,
            width_px: 1.2,
        });
    }
    marks.push(Mark::Rings {
        points: shown.iter().map(|n| [n.l4_norm, n.sigma_bernoulli]).collect(),
        ink: Ink::Series(1),
        radius_px: 2.2,
    });
    marks.push(Mark::Dots {
        points: shown.iter().map(|n| [n.l4_norm, n.sigma]).collect(),
        ink: Ink::Series(0),
        radius_px: 1.8,
        opacity: 0.85,
    });
    Chart { title: format!("Into {}", layer.name), x, y, marks }
}
