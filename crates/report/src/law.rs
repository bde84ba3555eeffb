//! The law: which norm of the weights the noise follows, per layer, over all networks of a conversion.
//!
//! Reads [`results::record`]; gives `law.md`, its figures, and what [`crate::page`] shows of it.

use std::fmt::Write as _;

use crate::chart::{Axis, Chart, Mark, extent};
use crate::comparison::{Verdict, compare, leader_of};
use crate::error::ReportError;
use crate::method::{Key, Method, methods};
use crate::number::{MISSING, fixed, list};
use crate::palette::Ink;
use crate::sheet::{Figure, Group, sheet};
use crate::table::{Column, Table, markdown};
use results::record::{ExperimentRecord, LayerLaw, LayerVariance, NormFit};
use results::statistic::over_networks;

/// Coefficients of variation of a single network closer than this share of the smallest are not told apart: over a few
/// hundred neurons their own sampling error is about 1/√(2n), some 3 to 7 %.
const EQUAL_SHARE: f64 = 0.05;

/// What a norm is to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    /// Measured σ of the current per step.
    Current,
    /// Measured σ of the potential before firing.
    Potential,
    /// The same around its trend over time.
    PotentialAroundTrend,
    /// The same where neurons fire.
    PotentialFiring,
    /// σ of the current for rates drawn from [0, 1].
    UniformRates,
    /// σ of the current for the inputs' own variances, dealt out at random.
    ShuffledRates,
}

impl Noise {
    const ALL: [Self; 6] = [
        Self::Current,
        Self::Potential,
        Self::PotentialAroundTrend,
        Self::PotentialFiring,
        Self::UniformRates,
        Self::ShuffledRates,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Current => "current per step",
            Self::Potential => "potential before firing",
            Self::PotentialAroundTrend => "the same without drift",
            Self::PotentialFiring => "the same where neurons fire",
            Self::UniformRates => "current, uniform random rates",
            Self::ShuffledRates => "current, shuffled rates",
        }
    }

    fn fits(self, layer: &LayerVariance) -> Option<&[NormFit]> {
        let potential = || layer.law.as_ref()?.potential.as_ref();
        match self {
            Self::Current => Some(&layer.norms),
            Self::Potential => potential().map(|potential| &potential.norms[..]),
            Self::PotentialAroundTrend => potential().map(|potential| &potential.norms_around_trend[..]),
            Self::PotentialFiring => potential().map(|potential| &potential.norms_firing[..]),
            Self::UniformRates => layer.law.as_ref().map(|law| &law.uniform_rates[..]),
            Self::ShuffledRates => layer.law.as_ref().map(|law| &law.shuffled_rates[..]),
        }
    }
}

/// Measurements of one layer, one per network.
pub(crate) struct Layer<'a> {
    /// Name of the layer.
    pub name: &'a str,
    networks: Vec<(Key<'a>, &'a LayerVariance)>,
}

/// Mean over networks and half width of its 95 % interval.
type Interval = (f64, Option<f64>);

impl<'a> Layer<'a> {
    /// Every layer of a method that has noise and was looked at for the law.
    pub fn of(method: &Method<'a>) -> Vec<Self> {
        let mut layers: Vec<Self> = Vec::new();
        for run in &method.runs {
            for layer in run.simulation.variance.iter().filter(|layer| layer.law.is_some()) {
                let idx = layers.iter().position(|known| known.name == layer.name).unwrap_or_else(|| {
                    layers.push(Self { name: &layer.name, networks: Vec::new() });
                    layers.len() - 1
                });
                layers[idx].networks.push(((run.network.as_str(), 0), layer));
            }
        }
        layers
    }

    /// Coefficient of variation of σ/‖w‖ₚ by each order, with what it is in each network; empty where there is none.
    fn variations(&self, noise: Noise) -> Vec<Order<'a>> {
        let mut orders: Vec<Order<'a>> = Vec::new();
        for &(key, layer) in &self.networks {
            for fit in noise.fits(layer).unwrap_or_default() {
                let idx = orders.iter().position(|order| order.p == fit.p).unwrap_or_else(|| {
                    orders.push(Order { p: &fit.p, values: Vec::new() });
                    orders.len() - 1
                });
                orders[idx].values.push((key, fit.coefficient_of_variation));
            }
        }
        orders
    }

    fn values(&self, value: fn(&LayerLaw) -> f64) -> Vec<(Key<'a>, f64)> {
        self.networks.iter().filter_map(|&(key, layer)| Some((key, value(layer.law.as_ref()?)))).collect()
    }

    fn mean(&self, value: impl Fn(&LayerVariance, &LayerLaw) -> Option<f64>) -> Option<Interval> {
        let of = |&(key, layer): &(Key<'a>, &'a LayerVariance)| Some((key, value(layer, layer.law.as_ref()?)?));
        over_networks(&self.networks.iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// One norm order.
struct Order<'a> {
    p: &'a str,
    values: Vec<(Key<'a>, f64)>,
}

impl Order<'_> {
    fn mean(&self) -> Option<Interval> {
        over_networks(&self.values)
    }
}

/// The norm with the smallest mean variation, then those that cannot be told from it, in their order.
fn best<'o, 'a>(orders: &'o [Order<'a>]) -> Vec<&'o Order<'a>> {
    let mean = |i: usize| orders[i].mean().map_or(f64::INFINITY, |(mean, _)| mean);
    let smaller_is_better = |order: &Order<'a>| order.values.iter().map(|&(key, value)| (key, -value)).collect();
    let Some(leader) = leader_of(&orders.iter().map(smaller_is_better).collect::<Vec<_>>()) else {
        return Vec::new();
    };
    let near = |i: &usize| mean(*i) <= mean(leader.best) * (1.0 + EQUAL_SHARE);
    let mut others: Vec<usize> = leader.tied.into_iter().chain(leader.unknown.into_iter().filter(near)).collect();
    others.sort_unstable();
    std::iter::once(leader.best).chain(others).map(|i| &orders[i]).collect()
}

fn interval(interval: Option<Interval>, decimals: usize) -> String {
    match interval {
        None => MISSING.to_owned(),
        Some((mean, None)) => fixed(mean, decimals),
        Some((mean, Some(half))) => format!("{} ± {}", fixed(mean, decimals), fixed(half, decimals)),
    }
}

fn n_networks(methods: &[Method<'_>]) -> usize {
    methods.iter().flat_map(Layer::of).map(|layer| layer.networks.len()).max().unwrap_or(0)
}

/// How the numbers of the tables are to be read.
fn spread(methods: &[Method<'_>]) -> String {
    match n_networks(methods) {
        1 => "one network".to_owned(),
        n => format!("mean and 95 % confidence interval over {n} networks"),
    }
}

/// Coefficient of variation of σ/‖w‖ₚ per conversion, layer and noise.
pub(crate) fn variation_table(methods: &[Method<'_>]) -> Table {
    let mut columns: Vec<Column> = ["method", "into layer", "σ of the"].map(Column::text).to_vec();
    let mut rows = Vec::new();
    for method in methods {
        for layer in Layer::of(method) {
            for noise in Noise::ALL {
                let orders = layer.variations(noise);
                let best: Vec<&str> = best(&orders).iter().map(|order| order.p).collect();
                if orders.is_empty() {
                    continue;
                }
                for order in orders.iter().skip(columns.len() - 3) {
                    columns.push(Column::number(format!("p = {}", order.p)));
                }
                let cell = |order: &Order<'_>| {
                    let mark = if best.contains(&order.p) { "★ " } else { "" };
                    format!("{mark}{}", interval(order.mean(), 3))
                };
                let names = [method.label, layer.name, noise.name()].map(str::to_owned);
                rows.push(names.into_iter().chain(orders.iter().map(cell)).collect());
            }
        }
    }
    let title = format!(
        "Coefficient of variation of σ/‖w‖ₚ over neurons, {} (★ the smallest, and what cannot be told from it)",
        spread(methods)
    );
    Table { title, columns, rows }
}

/// Correlation over neurons of the current's σ with each norm, per conversion and layer.
pub(crate) fn correlation_table(methods: &[Method<'_>]) -> Table {
    let mut columns: Vec<Column> = ["method", "into layer"].map(Column::text).to_vec();
    let mut rows = Vec::new();
    for method in methods {
        for layer in Layer::of(method) {
            let orders = layer.variations(Noise::Current);
            for order in orders.iter().skip(columns.len() - 2) {
                columns.push(Column::number(format!("p = {}", order.p)));
            }
            let cell = |order: &Order<'_>| {
                let of = |layer: &LayerVariance| layer.norms.iter().find(|fit| fit.p == order.p)?.correlation;
                interval(layer.mean(|layer, _| of(layer)), 3)
            };
            let names = [method.label, layer.name].map(str::to_owned);
            rows.push(names.into_iter().chain(orders.iter().map(cell)).collect());
        }
    }
    Table {
        title: format!("Correlation of σ of the current with ‖w‖ₚ over neurons, {}", spread(methods)),
        columns,
        rows,
    }
}

/// What stands behind it, per conversion and layer.
pub(crate) fn reason_table(methods: &[Method<'_>]) -> Table {
    let mut columns: Vec<Column> = ["method", "into layer"].map(Column::text).to_vec();
    let measures: [(&str, usize, Measure); 12] = [
        ("variation of σ / exact σ", 3, |_, law| Some(law.prediction.coefficient_of_variation)),
        ("correlation of σ, exact σ", 3, |_, law| law.prediction.correlation),
        ("correlation of σ, ‖w‖₄", 3, |layer, _| layer.norms.iter().find(|fit| fit.p == "4")?.correlation),
        ("σ² / exact σ²", 2, |_, law| Some(law.dependence)),
        ("cos φ", 2, |_, law| Some(law.angle.cosine)),
        ("variation of √cos φ", 3, |_, law| Some(law.angle.root_variation)),
        ("of √mean input", 3, |_, law| Some(law.angle.mean_root_variation)),
        ("of √cos φ to r", 3, |_, law| Some(law.angle.rate_root_variation)),
        ("correlation of w², r(1 − r)", 2, |_, law| Some(law.angle.alignment)),
        ("σ of potential / of current", 2, |_, law| {
            law.potential.as_ref().map(|potential| potential.sigma / potential.current_sigma)
        }),
        ("where neurons fire", 2, |_, law| {
            let potential = law.potential.as_ref()?;
            Some(potential.firing_sigma? / potential.current_sigma)
        }),
        ("drift, % of potential’s σ²", 0, |_, law| Some(100.0 * law.potential.as_ref()?.drift_share)),
    ];
    columns.extend(measures.iter().map(|(name, _, _)| Column::number(*name)));
    let mut rows = Vec::new();
    for method in methods {
        for layer in Layer::of(method) {
            let cells = measures.iter().map(|&(_, decimals, measure)| interval(layer.mean(measure), decimals));
            rows.push([method.label.to_owned(), layer.name.to_owned()].into_iter().chain(cells).collect());
        }
    }
    Table { title: format!("Why: prediction, angle and potential, {}", spread(methods)), columns, rows }
}

type Measure = fn(&LayerVariance, &LayerLaw) -> Option<f64>;

/// What the numbers show, one sentence per item.
pub(crate) fn sentences(methods: &[Method<'_>]) -> Vec<String> {
    let mut sentences = Vec::new();
    // Thresholds per neuron change nothing for its own weights, so pixels are told of once.
    let mut told: Vec<String> = Vec::new();
    for method in methods {
        let layers = Layer::of(method);
        sentences.extend(verdict(method.label, &layers));
        for layer in &layers {
            let Some(reason) = reason(layer) else { continue };
            if !told.contains(&reason) {
                sentences.push(format!("{}, {reason}", method.label));
                told.push(reason);
            }
        }
        sentences.extend(potential(method.label, &layers));
    }
    sentences.extend(random(methods));
    sentences
}

/// Into which layers the L4-norm is the best single norm.
fn verdict(label: &str, layers: &[Layer<'_>]) -> Option<String> {
    let (mut first, mut tied, mut not) = (Vec::new(), Vec::new(), Vec::new());
    for layer in layers {
        match best(&layer.variations(Noise::Current)).iter().position(|order| order.p == "4") {
            Some(0) => first.push(layer.name),
            Some(_) => tied.push(layer.name),
            None => not.push(layer.name),
        }
    }
    let mut parts = Vec::new();
    let verdicts =
        [(first, "is the best single norm"), (tied, "cannot be told from the best"), (not, "is not the best")];
    for (names, what) in verdicts {
        if !names.is_empty() {
            parts.push(format!("{what} into {}", list(&names)));
        }
    }
    (!parts.is_empty()).then(|| format!("{label}: the L4-norm {}.", parts.join(", ")))
}

/// Which norm is best into a layer, and why.
fn reason(layer: &Layer<'_>) -> Option<String> {
    let orders = layer.variations(Noise::Current);
    let best = best(&orders);
    let (first, tied) = best.split_first()?;
    let mut text = format!(
        "into {}: p = {} predicts σ best, within {} from neuron to neuron",
        layer.name,
        first.p,
        interval(first.mean(), 3)
    );
    if best.len() == orders.len() {
        text.push_str(", but no other order can be told from it");
    } else if !tied.is_empty() {
        let names: Vec<String> = tied.iter().map(|order| format!("p = {}", order.p)).collect();
        let _ = write!(text, "; {} cannot be told from it", list(&names));
    }
    if let Some(four) = orders.iter().find(|order| order.p == "4" && !best.iter().any(|b| b.p == order.p)) {
        let _ = write!(text, "; p = 4 within {}", interval(four.mean(), 3));
    }
    let angle = |value: fn(&LayerLaw) -> f64| layer.mean(|_, law| Some(value(law)));
    let (four, two) = (angle(|law| law.angle.root_variation)?, angle(|law| law.angle.mean_root_variation)?);
    let _ = write!(
        text,
        ". Why: of independent inputs σ/‖w‖₄ goes with √cos φ, which varies by {}, and σ/‖w‖₂ with the root of the mean input that \
         w² weighs, which varies by {}; so the angle favours {}. w² and r(1 − r) are correlated with {}.",
        interval(Some(four), 3),
        interval(Some(two), 3),
        favoured(layer)?,
        interval(angle(|law| law.angle.alignment), 2)
    );
    let dependence = angle(|law| law.dependence)?;
    if (dependence.0 - 1.0).abs() >= DEPENDENT {
        let together = if dependence.0 > 1.0 { "Inputs spike together" } else { "Inputs spike in turn" };
        let _ = write!(
            text,
            " {together}: σ² is {} times that of independent ones, so that even the exact prediction varies by {}.",
            interval(Some(dependence), 2),
            interval(angle(|law| law.prediction.coefficient_of_variation), 3)
        );
    }
    Some(text)
}

/// Which of the L4- and the L2-norm independent inputs would follow better.
fn favoured(layer: &Layer<'_>) -> Option<&'static str> {
    let (four, two) = (layer.values(|law| law.angle.root_variation), layer.values(|law| law.angle.mean_root_variation));
    let (mean_four, mean_two) = (over_networks(&four)?.0, over_networks(&two)?.0);
    let apart = match compare(&four, &two) {
        Verdict::Different => true,
        Verdict::Tie => false,
        Verdict::Unknown => (mean_four - mean_two).abs() > EQUAL_SHARE * mean_four.min(mean_two),
    };
    Some(match (apart, mean_four < mean_two) {
        (false, _) => "neither",
        (true, true) => "p = 4",
        (true, false) => "p = 2",
    })
}

/// Dependence of inputs that is spoken of, as a share of the variance.
const DEPENDENT: f64 = 0.05;

/// What the potential before firing does over time.
fn potential(label: &str, layers: &[Layer<'_>]) -> Option<String> {
    let of = |layer: &Layer<'_>| {
        let ratio = layer.mean(|_, law| law.potential.as_ref().map(|of| of.sigma / of.current_sigma))?.0;
        let firing = layer.mean(|_, law| {
            let potential = law.potential.as_ref()?;
            Some(potential.firing_sigma? / potential.current_sigma)
        });
        let drift = layer.mean(|_, law| law.potential.as_ref().map(|of| of.drift_share))?.0;
        let orders = layer.variations(Noise::PotentialFiring);
        let best = best(&orders).first().map_or(MISSING, |order| order.p);
        Some(format!(
            "into {} it is {} times the current’s, {} % of its square drift; where neurons fire, {} times, best predicted by p = {best}",
            layer.name,
            fixed(ratio, 1),
            fixed(100.0 * drift, 0),
            firing.map_or_else(|| MISSING.to_owned(), |(firing, _)| fixed(firing, 1))
        ))
    };
    let parts: Vec<String> = layers.iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| format!("{label}, σ over time of the potential before firing: {}.", parts.join("; ")))
}

/// Whether the L2-norm wins where it must.
fn random(methods: &[Method<'_>]) -> Option<String> {
    let layers: Vec<Layer<'_>> = methods.iter().flat_map(Layer::of).collect();
    let wins = |noise: Noise| {
        layers.iter().filter(|layer| best(&layer.variations(noise)).iter().any(|order| order.p == "2")).count()
    };
    let n = layers.len();
    (n > 0).then(|| {
        format!(
            "Rates that know nothing of the weights: p = 2 is best or ties for {} of {n} layers with uniform rates, and for {} \
             of {n} with shuffled ones.",
            wins(Noise::UniformRates),
            wins(Noise::ShuffledRates)
        )
    })
}

/// Variation against p, a line per layer: of the first conversion whose thresholds do not use the norm, of the first by the
/// L4-norm, and for uniform random rates.
pub(crate) fn charts(methods: &[Method<'_>]) -> Vec<Chart> {
    let by_norm = |method: &&Method<'_>| method.runs.iter().any(|run| run.conversion.method == "norm");
    let measured = || methods.iter().filter(|method| !Layer::of(method).is_empty());
    let before = measured().find(|method| !by_norm(method));
    let after = measured().find(by_norm);
    let mut panels: Vec<(String, &Method<'_>, Noise)> =
        before.into_iter().chain(after).map(|method| (method.label.to_owned(), method, Noise::Current)).collect();
    if let Some(method) = before.or(after) {
        panels.push((format!("{}, uniform random rates", method.label), method, Noise::UniformRates));
    }
    let names = layer_names(methods);
    panels.iter().map(|(title, method, noise)| chart(title, method, *noise, &names)).collect()
}

/// Every layer of any method.
pub(crate) fn layer_names<'a>(methods: &[Method<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for layer in methods.iter().flat_map(Layer::of) {
        if !names.contains(&layer.name) {
            names.push(layer.name);
        }
    }
    names
}

fn chart(title: &str, method: &Method<'_>, noise: Noise, names: &[&str]) -> Chart {
    let mut marks = Vec::new();
    let mut ticks: Vec<(f64, String)> = Vec::new();
    let mut highest: f64 = 0.0;
    for layer in Layer::of(method) {
        let series = names.iter().position(|name| *name == layer.name).unwrap_or_default();
        let orders = layer.variations(noise);
        ticks.extend((ticks.len()..orders.len()).map(|place| (place as f64, orders[place].p.to_owned())));
        let at = |place: usize, order: &Order<'_>| order.mean().map(|(mean, half)| (place as f64, mean, half));
        let means: Vec<_> = orders.iter().enumerate().filter_map(|(place, order)| at(place, order)).collect();
        let points: Vec<[f64; 2]> = means.iter().map(|&(x, mean, _)| [x, mean]).collect();
        let whiskers: Vec<[f64; 3]> =
            means.iter().filter_map(|&(x, mean, half)| half.map(|half| [x, mean - half, mean + half])).collect();
        let smallest = points.iter().copied().min_by(|a, b| a[1].total_cmp(&b[1]));
        highest = highest.max(extent(points.iter().map(|point| point[1])).map_or(0.0, |range| range.1));
        marks.push(Mark::Whiskers { points: whiskers, ink: Ink::Series(series) });
        marks.push(Mark::Line { points: points.clone(), ink: Ink::Series(series), dash: series, width_px: 1.6 });
        marks.push(Mark::Markers { points, series });
        marks.push(Mark::Rings { points: smallest.into_iter().collect(), ink: Ink::Series(series), radius_px: RING });
    }
    let last = ticks.len().saturating_sub(1) as f64;
    Chart {
        title: title.to_owned(),
        x: Axis::linear(-0.3, last + 0.3, 6, "order p of the norm").with_ticks(ticks),
        y: Axis::linear(0.0, 1.1 * highest, 5, "variation of σ/‖w‖ₚ over neurons"),
        marks,
    }
}

/// Radius of the ring around a layer's best norm, in pixels.
const RING: f64 = 6.5;

/// `law.md`: sentences and tables; `None` if no layer has noise.
pub fn law_markdown(record: &ExperimentRecord) -> Option<String> {
    let methods = methods(record);
    if n_networks(&methods) == 0 {
        return None;
    }
    let mut text = String::new();
    for sentence in sentences(&methods) {
        let _ = writeln!(text, "- {sentence}");
    }
    for table in [variation_table(&methods), correlation_table(&methods), reason_table(&methods)] {
        let _ = write!(text, "\n{}:\n\n{}", table.title, markdown(&table));
    }
    Some(text)
}

/// Variation of σ/‖w‖ₚ against p as standalone files, one per theme; none if no layer has noise.
///
/// # Errors
/// [`ReportError::Draw`] if the plotting library fails.
pub fn law_figures(record: &ExperimentRecord) -> Result<Vec<Figure>, ReportError> {
    let methods = methods(record);
    if n_networks(&methods) == 0 {
        return Ok(Vec::new());
    }
    let label = format!("{}: how well each norm of the weights predicts the noise, per layer", record.name);
    let (charts, legend) = (charts(&methods), layer_names(&methods).into_iter().map(str::to_owned).collect());
    sheet("law", &label, &[Group { title: String::new(), n_columns: charts.len(), row_height: None, charts, legend }])
}
