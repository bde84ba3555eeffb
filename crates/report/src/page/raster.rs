//! Spikes of a few samples, with the images that caused them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};

use super::{HALF, Section, figure, reading, table};
use crate::chart::{Axis, Chart, Mark, line_swatch};
use crate::comparison::leader;
use crate::error::ReportError;
use crate::method::{Method, last_step};
use crate::number::{MISSING, integer, list};
use crate::palette::Ink;
use crate::table::{Column, Table};
use results::record::{ExperimentRecord, LayerRaster, RunRecord, SampleRaster};

/// Samples shown.
const MAX_SAMPLES: usize = 4;
/// Time steps drawn; beyond it spikes are narrower than a pixel.
const MAX_STEPS: usize = 64;
/// Rows drawn, over all layers: about one per pixel of a chart's height.
const MAX_ROWS: usize = 240;
/// Rows drawn of one layer at most, so that two layers do not share a raster of hairlines.
const MAX_LAYER_ROWS: usize = 64;
/// Rows drawn of one layer at least, however many layers there are.
const MIN_LAYER_ROWS: usize = 12;
/// Width of a spike, in time steps.
const SPIKE_WIDTH: f64 = 0.7;

pub(super) fn section(record: &ExperimentRecord, methods: &[Method<'_>]) -> Result<Option<Section>, ReportError> {
    let Some((series, run)) = shown(record, methods) else { return Ok(None) };
    let rasters = &run.simulation.rasters;
    let samples = rasters
        .iter()
        .take(MAX_SAMPLES)
        .map(|sample| view(record, methods, series, run, sample))
        .collect::<Result<Vec<_>, _>>()?;
    let legend = html! {
        ul.legend {
            li { (PreEscaped(line_swatch(Ink::Series(series), 0))) "spikes; readout of the true class" }
            li { (PreEscaped(line_swatch(Ink::Ann, 1))) "readout of the strongest other class" }
            li { (PreEscaped(line_swatch(Ink::Axis, 0))) "all other classes" }
        }
    };
    Ok(Some(Section {
        id: "raster",
        title: "Spikes of single samples",
        body: html! {
            (reading("Each tick is a spike: time runs to the right, one row is one neuron. The readout’s chart shows what each class has gathered; the one on top is the decision."))
            p.note {
                "Method " b { (run.label) } " on network " (run.network)
                @if methods.len() > 1 { ", the highest mean at the last step among the methods with recorded spikes" }
                ". Neurons shown: " (rows_shown(rasters)) ", evenly spaced."
                @if rasters.len() > MAX_SAMPLES { " The first " (MAX_SAMPLES) " of " (rasters.len()) " recorded samples." }
                @if run.simulation.steps > MAX_STEPS { " The first " (MAX_STEPS) " of " (run.simulation.steps) " time steps." }
            }
            (legend)
            @for sample in &samples { (sample) }
        },
    }))
}

/// The run whose spikes are drawn, and the index of its method: the best at the last step that has some.
fn shown<'a>(record: &ExperimentRecord, methods: &[Method<'a>]) -> Option<(usize, &'a RunRecord)> {
    let recorded = |i: usize| {
        let run = methods[i].runs.iter().find(|r| !r.simulation.rasters.is_empty())?;
        Some((i, *run))
    };
    let candidates: Vec<usize> = (0..methods.len()).filter(|&i| recorded(i).is_some()).collect();
    let last = last_step(record);
    let best = candidates
        .iter()
        .filter_map(|&i| Some((i, methods[i].accuracy(last)?.mean)))
        .reduce(|a, b| if b.1 > a.1 { b } else { a })
        .map(|(i, _)| i);
    let leading = leader(methods, last).map(|l| l.best).filter(|i| candidates.contains(i));
    recorded(leading.or(best).or_else(|| candidates.first().copied())?)
}

fn layer_rows(n_layers: usize) -> usize {
    (MAX_ROWS / n_layers.max(1)).clamp(MIN_LAYER_ROWS, MAX_LAYER_ROWS)
}

/// Every how many of a layer's recorded rows one is drawn.
fn every(layer: &LayerRaster, n_layers: usize) -> usize {
    layer.n_shown.div_ceil(layer_rows(n_layers)).max(1)
}

fn rows_shown(rasters: &[SampleRaster]) -> String {
    let layers = rasters.first().map(|s| s.layers.as_slice()).unwrap_or_default();
    let names: Vec<String> = layers
        .iter()
        .map(|l| {
            let n_rows = l.n_shown.div_ceil(every(l, layers.len()));
            format!("{} {n_rows} of {}", l.name, integer(l.n_neurons as u64))
        })
        .collect();
    if names.is_empty() { "none".to_owned() } else { list(&names) }
}

fn view(
    record: &ExperimentRecord,
    methods: &[Method<'_>],
    series: usize,
    run: &RunRecord,
    sample: &SampleRaster,
) -> Result<Markup, ReportError> {
    let class = |i: usize| record.dataset.class_names.get(i).cloned().unwrap_or_else(|| format!("class {i}"));
    let mark = |decision: usize| if decision == sample.label { " ✓" } else { " ✗" };
    let mut charts = Vec::new();
    if !sample.layers.is_empty() {
        charts.push(spikes(series, run.simulation.steps, sample));
    }
    if !sample.readout.is_empty() {
        charts.push(readout(series, &run.simulation.readout, sample));
    }
    let nothing = html! {};
    let others = decisions(methods, run, sample, &class);
    let name = class(sample.label);
    Ok(html! {
        article.sample {
            header {
                @if let Some(source) = image(sample) {
                    img src=(source) width="112" height="112" alt={ "Test sample " (sample.index) ": " (name) };
                }
                div {
                    h3 { (name) }
                    dl.listing {
                        div { dt { "Test sample" } dd { (integer(sample.index as u64)) } }
                        @if let Some(decision) = sample.ann_decision {
                            div { dt { "ANN" } dd { (class(decision)) (mark(decision)) } }
                        }
                        @if let Some((decision, step)) = settled(&sample.decisions) {
                            div { dt { "SNN" } dd { (class(decision)) (mark(decision)) small { " unchanged from step " (step) " on" } } }
                        }
                    }
                }
            }
            @if !charts.is_empty() { (figure(&charts, HALF, "charts two", &nothing, "")?) }
            @if others.rows.len() > 1 { details { summary { "Decisions of every method" } (table(&others)) } }
        }
    })
}

/// The final decision and the first step (from 1) from which it no longer changes.
fn settled(decisions: &[usize]) -> Option<(usize, usize)> {
    let last = *decisions.last()?;
    let before = decisions.iter().rposition(|d| *d != last).map_or(0, |i| i + 1);
    Some((last, before + 1))
}

/// What each method decides for the same sample and network, at the checkpoints.
fn decisions(
    methods: &[Method<'_>],
    run: &RunRecord,
    sample: &SampleRaster,
    class: &impl Fn(usize) -> String,
) -> Table {
    let steps = &run.simulation.checkpoints;
    let mut columns = vec![Column::text("method")];
    columns.extend(steps.iter().map(|t| Column::text(format!("T={t}"))));
    let rows = methods
        .iter()
        .filter_map(|m| {
            let own = m.runs.iter().find(|r| r.network == run.network)?;
            let same = own.simulation.rasters.iter().find(|s| s.index == sample.index)?;
            let decision = |t: &usize| t.checked_sub(1).and_then(|i| same.decisions.get(i)).copied();
            let cell = |t: &usize| match decision(t) {
                None => MISSING.to_owned(),
                Some(d) => format!("{}{}", class(d), if d == sample.label { "" } else { " ✗" }),
            };
            Some(std::iter::once(m.label.to_owned()).chain(steps.iter().map(cell)).collect())
        })
        .collect();
    Table { title: format!("Decisions for test sample {} (✗ wrong)", sample.index), columns, rows }
}

fn time_axis(n_steps: usize) -> Axis {
    let n_steps = n_steps.clamp(1, MAX_STEPS);
    Axis::linear(0.5, n_steps as f64 + 0.5, n_steps.min(7), "time step")
}

/// All layers above each other, the input on top.
fn spikes(series: usize, n_steps: usize, sample: &SampleRaster) -> Chart {
    let n_layers = sample.layers.len();
    let n_rows: Vec<usize> = sample.layers.iter().map(|l| l.n_shown.div_ceil(every(l, n_layers)).max(1)).collect();
    // A gap of a twenty-fifth of the height parts two layers for the eye.
    let gap = (n_rows.iter().sum::<usize>() as f64 / 25.0).max(1.0);
    let mut base = n_rows.iter().sum::<usize>() as f64 + gap * n_layers as f64;
    let top = base;
    let (mut ticks, mut points, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    let x = time_axis(n_steps);
    let (start, end) = x.ends();
    for (layer, n_rows) in sample.layers.iter().zip(&n_rows) {
        let every = every(layer, n_layers);
        base -= *n_rows as f64 + gap;
        ticks.push((base + *n_rows as f64 / 2.0, layer.name.clone()));
        let between = base - gap / 2.0;
        marks.push(Mark::Line {
            points: vec![[start, between], [end, between]],
            ink: Ink::Grid,
            dash: 0,
            width_px: 1.0,
        });
        for &[step, row] in &layer.events {
            let (step, row) = (step as usize, row as usize);
            if row.is_multiple_of(every) && row / every < *n_rows && (1..=MAX_STEPS).contains(&step) {
                // The first neuron is the topmost row.
                points.push([step as f64, base + (*n_rows - 1 - row / every) as f64]);
            }
        }
    }
    // The line below the last layer is the axis.
    marks.pop();
    marks.push(Mark::Spikes { points, ink: Ink::Series(series), width: SPIKE_WIDTH });
    ticks.reverse();
    let y = Axis::bare(-gap / 2.0, top - gap / 2.0).with_ticks(ticks).without_grid();
    Chart { title: "Spikes".to_owned(), x, y, marks }
}

fn readout(series: usize, kind: &str, sample: &SampleRaster) -> Chart {
    let steps = &sample.readout[..sample.readout.len().min(MAX_STEPS)];
    let n_classes = steps.iter().map(Vec::len).max().unwrap_or(0);
    let line = |class: usize| -> Vec<[f64; 2]> {
        steps.iter().enumerate().filter_map(|(t, values)| Some([(t + 1) as f64, *values.get(class)?])).collect()
    };
    let last = |class: usize| steps.last().and_then(|values| values.get(class)).copied().unwrap_or(f64::NAN);
    let rival = (0..n_classes)
        .filter(|&c| c != sample.label && last(c).is_finite())
        .max_by(|&a, &b| last(a).total_cmp(&last(b)));
    let mut order: Vec<usize> = (0..n_classes).collect();
    // The two that matter are drawn last, on top.
    order.sort_by_key(|&c| (c == sample.label, Some(c) == rival));
    let marks = order
        .into_iter()
        .map(|class| {
            let (ink, dash, width_px) = if class == sample.label {
                (Ink::Series(series), 0, 2.2)
            } else if Some(class) == rival {
                (Ink::Ann, 1, 1.5)
            } else {
                (Ink::Axis, 0, 0.7)
            };
            Mark::Line { points: line(class), ink, dash, width_px }
        })
        .collect();
    let y_title = match kind {
        "potential" => "membrane potential",
        "spikes" => "spikes so far",
        other => other,
    };
    Chart {
        title: "Readout".to_owned(),
        x: time_axis(sample.readout.len()),
        y: Axis::fit(steps.iter().flatten().copied(), 5, y_title),
        marks,
    }
}

/// The image as a PNG data URI, grey for one channel and RGB for three; `None` where shape and pixels do not fit.
fn image(sample: &SampleRaster) -> Option<String> {
    let [n_channels, height, width] = sample.shape;
    let n_pixels = height.checked_mul(width)?;
    if n_pixels == 0 || n_pixels.checked_mul(n_channels)? != sample.pixels.len() {
        return None;
    }
    let (colour, interleaved) = match n_channels {
        1 => (png::ColorType::Grayscale, sample.pixels.clone()),
        3 => {
            let planes = &sample.pixels;
            let pixels = (0..n_pixels).flat_map(|i| [planes[i], planes[i + n_pixels], planes[i + 2 * n_pixels]]);
            (png::ColorType::Rgb, pixels.collect())
        }
        _ => return None,
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&interleaved).ok()?;
    writer.finish().ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(shape: [usize; 3], pixels: Vec<u8>) -> SampleRaster {
        SampleRaster {
            index: 0,
            label: 0,
            ann_decision: Some(0),
            decisions: Vec::new(),
            shape,
            pixels,
            layers: Vec::new(),
            readout: Vec::new(),
        }
    }

    fn decoded(uri: &str) -> (png::ColorType, Vec<u8>) {
        let bytes = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.color_type, pixels)
    }

    #[test]
    fn grey_pixels_come_back_from_the_image() {
        let pixels = vec![0, 64, 128, 255, 1, 2];
        let uri = image(&sample([1, 2, 3], pixels.clone())).unwrap();
        assert_eq!(decoded(&uri), (png::ColorType::Grayscale, pixels));
    }

    #[test]
    fn colour_planes_are_interleaved() {
        let uri = image(&sample([3, 1, 2], vec![1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(decoded(&uri), (png::ColorType::Rgb, vec![1, 3, 5, 2, 4, 6]));
    }

    #[test]
    fn an_image_that_does_not_fit_its_shape_is_left_out() {
        assert_eq!(image(&sample([1, 2, 3], vec![0; 5])), None);
        assert_eq!(image(&sample([1, 0, 0], vec![])), None);
        assert_eq!(image(&sample([2, 1, 1], vec![0; 2])), None);
    }

    #[test]
    fn a_decision_settles_after_its_last_change() {
        assert_eq!(settled(&[]), None);
        assert_eq!(settled(&[3]), Some((3, 1)));
        assert_eq!(settled(&[3, 1, 3, 3]), Some((3, 3)));
        assert_eq!(settled(&[0, 0, 2]), Some((2, 3)));
    }
}
