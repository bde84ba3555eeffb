//! The page and the standalone figures of a made-up experiment, read back by independent parsers.

mod sample;

use std::collections::HashSet;

use report::{Figure, html, law_figures, loss_figures};
use results::record::{EpochRecord, ExperimentRecord, RunRecord};
use sample::experiment;
use scraper::{Html, Selector};

/// What a page of eight methods on three networks may weigh; mail and wiki attachments stay far above it.
const MAX_PAGE_BYTES: usize = 2_000_000;

/// The only address that the page may name: the paper's.
const PAPER: &str = "https://arxiv.org/abs/2111.09446";

fn select<'a>(page: &'a Html, css: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(css).unwrap()).collect()
}

/// Visible text and every attribute but image data.
fn words(page: &Html) -> String {
    let mut text: Vec<String> = page.root_element().text().map(str::to_owned).collect();
    for element in select(page, "*") {
        text.extend(element.value().attrs().filter(|(name, _)| *name != "src").map(|(_, value)| value.to_owned()));
    }
    text.join("\n")
}

/// Text of every element that a selector finds.
fn texts(page: &Html, css: &str) -> Vec<String> {
    select(page, css).iter().map(|e| e.text().collect::<String>().trim().to_owned()).collect()
}

/// Applies a change to every run.
fn every_run(mut record: ExperimentRecord, change: impl Fn(&mut RunRecord)) -> ExperimentRecord {
    record.runs.iter_mut().for_each(change);
    record
}

/// Every standalone figure.
fn figures(record: &ExperimentRecord) -> Vec<Figure> {
    [report::figures(record), law_figures(record), loss_figures(record)].into_iter().flat_map(Result::unwrap).collect()
}

fn empty() -> ExperimentRecord {
    let mut record = experiment();
    record.config.clear();
    record.description.clear();
    record.networks.clear();
    record.runs.clear();
    record.dataset.class_names.clear();
    record
}

#[test]
fn page_parses_without_errors_and_its_references_resolve() {
    let page = Html::parse_document(&html(&experiment()).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let ids: Vec<&str> = select(&page, "[id]").iter().filter_map(|e| e.attr("id")).collect();
    let unique: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    let links = select(&page, "nav a");
    assert_eq!(links.len(), select(&page, "section").len());
    for link in links {
        let fragment = link.attr("href").unwrap().strip_prefix('#').unwrap();
        assert!(unique.contains(fragment), "{fragment}");
    }
    for element in select(&page, "[aria-labelledby]") {
        assert!(unique.contains(element.attr("aria-labelledby").unwrap()));
    }
}

#[test]
fn page_needs_no_script_and_no_other_file() {
    let text = html(&experiment()).unwrap();
    let page = Html::parse_document(&text);
    assert!(select(&page, "script, link, iframe, object, embed, base, use").is_empty());
    for element in select(&page, "*") {
        for (name, value) in element.value().attrs() {
            match name {
                "src" => assert!(value.starts_with("data:image/png;base64,"), "{value}"),
                "href" => assert!(value.starts_with('#') || value == PAPER, "{value}"),
                "srcset" | "action" | "style" | "poster" => panic!("{name}={value}"),
                _ => assert!(!name.starts_with("on"), "{name}"),
            }
        }
    }
    let style: String = select(&page, "style").iter().flat_map(scraper::ElementRef::text).collect();
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn every_part_of_a_full_record_has_its_section() {
    let page = Html::parse_document(&html(&experiment()).unwrap());
    let ids: Vec<&str> = select(&page, "main > section").iter().filter_map(|e| e.attr("id")).collect();
    let expected = [
        "steps",
        "operations",
        "early-exit",
        "loss",
        "variance",
        "law",
        "rates",
        "raster",
        "layers",
        "energy",
        "search",
        "training",
        "provenance",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn a_method_whose_early_decisions_differ_too_often_is_said_not_to_keep_its_promise() {
    let verdicts = |agreement: f64| {
        let record = every_run(experiment(), |run| {
            let early = run.simulation.seeds.iter_mut().filter_map(|seed| seed.early_exit.as_mut());
            early.for_each(|early| early.agreement = agreement);
        });
        texts(&Html::parse_document(&html(&record).unwrap()), "#early-exit .findings li")
    };
    let (kept, broken) = (verdicts(0.992), verdicts(0.985));
    assert_eq!(kept.len(), select(&Html::parse_document(&html(&experiment()).unwrap()), "#early-exit tbody tr").len());
    assert!(
        kept.iter().all(|s| s.contains("0.80\u{a0}% of the decisions differ from those at T, as seldom as")),
        "{kept:?}"
    );
    assert!(broken.iter().all(|s| s.contains("more often than promised (1.00\u{a0}%)")), "{broken:?}");
}

#[test]
fn sections_without_data_are_left_out() {
    let mut record = every_run(experiment(), |run| {
        run.conversion.kappa_search.clear();
        run.conversion.layers.clear();
        run.simulation.layers.clear();
        run.simulation.variance.clear();
        run.simulation.rate_match.clear();
        run.simulation.rasters.clear();
        run.simulation.energy.snn_pj.clear();
        for seed in &mut run.simulation.seeds {
            seed.synaptic_operations.clear();
            seed.early_exit = None;
            seed.loss.clear();
        }
    });
    record.networks.iter_mut().for_each(|n| n.epochs.clear());
    let page = Html::parse_document(&html(&record).unwrap());
    let ids: Vec<&str> = select(&page, "main > section").iter().filter_map(|e| e.attr("id")).collect();
    assert_eq!(ids, ["steps", "provenance"]);
}

#[test]
fn an_empty_record_makes_a_page() {
    let text = html(&empty()).unwrap();
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(select(&page, "main > section").len(), 1);
    assert!(!words(&page).contains("NaN"));
    assert_eq!(figures(&empty()).len(), 2);
}

#[test]
fn every_method_stands_in_the_legend_and_the_first_table() {
    let record = experiment();
    let page = Html::parse_document(&html(&record).unwrap());
    let (legend, rows) = (texts(&page, "#steps .legend li"), texts(&page, "#steps tbody th"));
    for run in &record.runs {
        assert!(legend.contains(&run.label) && rows.contains(&run.label), "{}", run.label);
    }
}

#[test]
fn names_from_outside_are_shown_as_text_and_never_as_markup() {
    const NAME: &str = "<i onclick=\"x\">&amp;'</i><script>alert(1)</script>";
    let mut record = every_run(experiment(), |run| {
        NAME.clone_into(&mut run.label);
        NAME.clone_into(&mut run.network);
        run.conversion.layers.iter_mut().for_each(|l| NAME.clone_into(&mut l.name));
        run.simulation.layers.iter_mut().for_each(|l| NAME.clone_into(&mut l.name));
        run.simulation.variance.iter_mut().for_each(|l| NAME.clone_into(&mut l.name));
        run.simulation.rate_match.iter_mut().for_each(|l| NAME.clone_into(&mut l.name));
        run.simulation.rasters.iter_mut().flat_map(|s| &mut s.layers).for_each(|l| NAME.clone_into(&mut l.name));
        NAME.clone_into(&mut run.simulation.energy.source);
    });
    for text in [&mut record.name, &mut record.description, &mut record.config, &mut record.dataset.name] {
        NAME.clone_into(text);
    }
    record.dataset.class_names.iter_mut().for_each(|c| NAME.clone_into(c));
    record.networks.iter_mut().for_each(|n| {
        NAME.clone_into(&mut n.label);
        NAME.clone_into(&mut n.architecture);
    });
    let page = Html::parse_document(&html(&record).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert!(select(&page, "i, script").is_empty());
    for place in ["h1", "pre", "#steps .legend li:last-child", "#raster h3"] {
        assert_eq!(texts(&page, place)[0], NAME, "{place}");
    }
    for figure in figures(&record) {
        roxmltree::Document::parse(&figure.svg).unwrap();
    }
}

/// Every number missing or beyond all bounds, every series of another length than it should have.
fn damaged() -> ExperimentRecord {
    let mut record = every_run(experiment(), |run| {
        let simulation = &mut run.simulation;
        simulation.checkpoints = vec![0, 1, 2, 64];
        for (i, seed) in simulation.seeds.iter_mut().enumerate() {
            seed.accuracy.truncate(5 * i);
            seed.agreement[0] = f64::NAN;
            seed.synaptic_operations.fill(f64::NAN);
            seed.mean_latency = f64::INFINITY;
            if let Some(early) = &mut seed.early_exit {
                (early.accuracy, early.agreement, early.mean_steps) = (f64::NAN, f64::INFINITY, f64::NAN);
                early.exits.truncate(3 * i);
            }
        }
        for layer in &mut simulation.layers {
            (layer.mean_rate, layer.spikes_per_sample, layer.synaptic_operations) = (f64::NAN, f64::NAN, f64::INFINITY);
            (layer.silent_share, layer.saturated_share) = (f64::NAN, f64::INFINITY);
            (layer.rate_correlation, layer.residual_potential) = (Some(f64::NAN), Some(f64::NEG_INFINITY));
        }
        for layer in &mut simulation.variance {
            layer.neurons.iter_mut().for_each(|n| n.sigma = f64::NAN);
            layer.norms.iter_mut().for_each(|n| n.coefficient_of_variation = f64::NAN);
        }
        simulation.rate_match.iter_mut().flat_map(|l| &mut l.points).for_each(|p| p[0] = f64::INFINITY);
        for sample in &mut simulation.rasters {
            (sample.label, sample.ann_decision) = (70, Some(80));
            sample.pixels.pop();
            sample.readout.iter_mut().flatten().for_each(|v| *v = f64::NAN);
            sample.readout[3].clear();
            sample.decisions.truncate(1);
            sample.layers[0].n_shown = 0;
            sample.layers[1].events.push([u32::MAX, u32::MAX]);
        }
        simulation.energy.snn_pj.fill(f64::NAN);
        simulation.energy.snn_pj[0] = 1.0;
        (simulation.energy.ann_pj, simulation.energy.mac_pj) = (f64::NAN, f64::INFINITY);
        let conversion = &mut run.conversion;
        (conversion.kappa, conversion.initial_potential) = (Some(f64::NAN), f64::NAN);
        conversion.kappa_search.iter_mut().for_each(|t| t.accuracy = f64::NAN);
        for layer in &mut conversion.layers {
            (layer.lambda.median, layer.l4_norm.max) = (f64::NAN, f64::INFINITY);
            (layer.grid_step, layer.rounding_change) = (f64::NAN, f64::INFINITY);
            (layer.rate_error, layer.expected_saturation) = (Some(f64::NAN), Some(f64::INFINITY));
        }
    });
    for run in &mut record.runs {
        for law in run.simulation.variance.iter_mut().filter_map(|layer| layer.law.as_mut()) {
            (law.dependence, law.angle.cosine, law.angle.root_variation) = (f64::NAN, f64::INFINITY, f64::NAN);
            law.uniform_rates.iter_mut().for_each(|fit| fit.coefficient_of_variation = f64::NAN);
        }
        for loss in run.simulation.seeds.iter_mut().flat_map(|seed| &mut seed.loss) {
            (loss.models, loss.agreement, loss.constant_current) = ([f64::NAN; 8], f64::INFINITY, None);
        }
    }
    for network in &mut record.networks {
        network.test_accuracy = Some(f64::NAN);
        network.epochs = vec![EpochRecord {
            epoch: 0,
            learning_rate: f64::NAN,
            train_loss: f64::NAN,
            train_accuracy: f64::INFINITY,
            validation_loss: Some(f64::NAN),
            validation_accuracy: None,
        }];
    }
    record
}

#[test]
fn missing_and_infinite_values_are_never_shown_as_such() {
    let record = damaged();
    let page = Html::parse_document(&html(&record).unwrap());
    let text = words(&page);
    let words = text.split(|c: char| !c.is_alphanumeric());
    let bad: Vec<&str> = words.filter(|w| ["nan", "inf", "infinity"].contains(&w.to_lowercase().as_str())).collect();
    assert!(bad.is_empty(), "{bad:?}");
    for figure in figures(&record) {
        assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"));
    }
}

#[test]
fn one_method_with_one_seed_claims_no_difference() {
    let mut record = experiment();
    record.networks.truncate(1);
    record.runs.truncate(1);
    record.runs[0].simulation.seeds.truncate(1);
    let page = Html::parse_document(&html(&record).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert!(words(&page).contains("only method"));
}

#[test]
fn page_of_eight_methods_and_three_networks_stays_small() {
    let record = experiment();
    assert_eq!((record.runs.len(), record.networks.len()), (24, 3));
    let n_bytes = html(&record).unwrap().len();
    assert!(n_bytes < MAX_PAGE_BYTES, "{n_bytes} bytes");
}

#[test]
fn same_record_makes_the_same_page() {
    assert_eq!(html(&experiment()).unwrap(), html(&experiment()).unwrap());
}

#[test]
fn record_read_back_from_json_equals_what_was_written() {
    let record = experiment();
    let text = serde_json::to_string(&record).unwrap();
    assert!(serde_json::from_str::<ExperimentRecord>(&text).unwrap() == record);
}

#[test]
fn standalone_figures_are_xml_that_carries_its_own_colours() {
    let figures = figures(&experiment());
    let names: Vec<&str> = figures.iter().map(|f| f.file_name.as_str()).collect();
    let expected = ["accuracy", "accuracy-operations", "law", "loss"]
        .iter()
        .flat_map(|name| ["light", "dark"].map(|ground| format!("{name}-{ground}.svg")));
    assert_eq!(names, expected.collect::<Vec<_>>());
    for figure in &figures {
        let document = roxmltree::Document::parse(&figure.svg).unwrap();
        let style = document.descendants().find(|n| n.has_tag_name("style")).and_then(|n| n.text()).unwrap();
        assert!(!style.contains("var("), "{style}");
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            assert!(!["script", "image", "use", "foreignObject"].contains(&node.tag_name().name()));
            for class in node.attribute("class").into_iter().flat_map(str::split_whitespace) {
                assert!(style.contains(&format!(".{class}{{")), "{class} has no rule");
            }
        }
    }
    assert_ne!(figures[0].svg, figures[1].svg);
}
