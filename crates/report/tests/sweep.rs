//! What is said, drawn and tabulated of a made-up sweep whose means and spreads are checked by hand.

use report::{
    accuracy_table, difference_table, factor_figures, figures, findings, findings_markdown, html, interval_table,
    markdown, tidy_column_table, tidy_csv,
};
use results::record::{
    AnnRecord, AxisRecord, AxisRole, CellRecord, CellState, ConversionRecord, DatasetRecord, EnergyRecord,
    ExperimentRecord, RunRecord, ScaleSearch, ScaleTrial, SeedRecord, SimulationRecord, SweepRecord,
};
use scraper::{Html, Selector};

/// One cell of a made-up sweep.
#[derive(Clone)]
struct Made {
    /// Kind of network, and training seed.
    network: (&'static str, u64),
    /// Label and method of the conversion.
    convert: (String, &'static str),
    encoding: &'static str,
    /// Accuracies after the second step, per simulation seed.
    accuracies: Vec<f64>,
    /// Synaptic operations after the second step.
    operations: f64,
}

impl Made {
    fn network(&self) -> String {
        let (kind, seed) = self.network;
        if kind.is_empty() { format!("seed {seed}") } else { format!("{kind}, seed {seed}") }
    }

    fn label(&self) -> String {
        format!("{}, encoding {}", self.convert.0, self.encoding)
    }

    fn run(&self) -> RunRecord {
        let seeds = self.accuracies.iter().zip(0..).map(|(&accuracy, seed)| SeedRecord {
            loss: Vec::new(),
            seed,
            accuracy: vec![accuracy - 0.3, accuracy],
            top5: Vec::new(),
            agreement: vec![0.5, 0.75],
            synaptic_operations: vec![self.operations / 2.0, self.operations],
            mean_latency: 1.5,
            early_exit: None,
        });
        RunRecord {
            label: self.label(),
            network: self.network(),
            conversion: ConversionRecord {
                scale_search: None,
                method: self.convert.1.to_owned(),
                p: (self.convert.1 == "norm").then_some(4.0),
                kappa: (self.convert.1 == "norm").then_some(0.25),
                kappa_search: Vec::new(),
                compensate: true,
                initial_potential: 0.5,
                calibrate: "none".to_owned(),
                n_calibration: 0,
                layers: Vec::new(),
            },
            simulation: SimulationRecord {
                graded: None,
                faults: None,
                engine: "event".to_owned(),
                encoding: self.encoding.to_owned(),
                reset: "subtract".to_owned(),
                readout: "potential".to_owned(),
                steps: 2,
                n_samples: 10_000,
                checkpoints: vec![1, 2],
                seeds: seeds.collect(),
                layers: Vec::new(),
                variance: Vec::new(),
                rate_match: Vec::new(),
                rasters: Vec::new(),
                energy: EnergyRecord {
                    mac_pj: 4.6,
                    add_pj: 0.9,
                    source: String::new(),
                    snn_macs_per_sample: 0.0,
                    ann_pj: 4600.0,
                    snn_pj: Vec::new(),
                },
            },
        }
    }

    fn cell(&self) -> CellRecord {
        let (kind, seed) = self.network;
        let method = if kind.is_empty() { self.label() } else { format!("{kind}: {}", self.label()) };
        let levels = [kind.to_owned(), format!("{seed}"), self.convert.0.clone(), self.encoding.to_owned()];
        let kappa = if self.convert.1 == "norm" { "auto" } else { "" };
        let values = [kind, &seed.to_string(), self.convert.1, kappa, self.encoding].map(str::to_owned).to_vec();
        CellRecord {
            network: self.network(),
            label: self.label(),
            method,
            variant: kind.to_owned(),
            replicate: format!("seed {seed}"),
            levels: levels[usize::from(kind.is_empty())..].to_vec(),
            values: values[usize::from(kind.is_empty())..].to_vec(),
            state: CellState::Finished,
        }
    }
}

fn record(made: &[Made]) -> ExperimentRecord {
    let kinds = !made[0].network.0.is_empty();
    let mut networks: Vec<AnnRecord> = Vec::new();
    for cell in made {
        let ann = AnnRecord {
            label: cell.network(),
            seed: cell.network.1,
            architecture: if kinds { cell.network.0 } else { "784-10" }.to_owned(),
            n_parameters: 7850,
            macs_per_sample: 1000,
            test_accuracy: Some(0.95),
            test_top5: None,
            epochs: Vec::new(),
        };
        if networks.iter().all(|known| known.label != ann.label) {
            networks.push(ann);
        }
    }
    let axes = [
        ("model", AxisRole::Network),
        ("seed", AxisRole::Replication),
        ("convert", AxisRole::Run),
        ("simulate.encoding", AxisRole::Run),
    ];
    let columns = ["model.layers", "seed", "convert.method", "convert.kappa", "simulate.encoding"].map(str::to_owned);
    let skipped = usize::from(!kinds);
    ExperimentRecord {
        name: "made-up".to_owned(),
        description: String::new(),
        quartic_version: "0.1.0".to_owned(),
        config: String::new(),
        dataset: DatasetRecord {
            name: "mnist".to_owned(),
            shape: [1, 28, 28],
            class_names: Vec::new(),
            n_train: 60_000,
            n_test: 10_000,
        },
        networks,
        runs: made.iter().map(Made::run).collect(),
        sweep: SweepRecord {
            baseline: None,
            axes: axes[skipped..].iter().map(|&(key, role)| AxisRecord { key: key.to_owned(), role }).collect(),
            columns: columns[skipped..].to_vec(),
            cells: made.iter().map(Made::cell).collect(),
        },
    }
}

/// Three networks. Conversion A is ahead of B by 2.1, 2.0 and 1.9 points; the encodings differ by 0.05, −0.05 and 0.03 points;
/// networks differ by a point, which pairs take out, and two simulation seeds by 0.02, which their mean takes out.
fn two_factors() -> Vec<Made> {
    let mut made = Vec::new();
    for (seed, network, of_conversion, of_encoding) in
        [(1, 0.90, 0.021, 0.0005), (2, 0.91, 0.020, -0.0005), (3, 0.89, 0.019, 0.0003)]
    {
        for (convert, gain, operations) in [("A", of_conversion, 2000.0), ("B", 0.0, 1000.0)] {
            for (encoding, more) in [("poisson", of_encoding), ("constant", 0.0)] {
                let mean = network + gain + more;
                made.push(Made {
                    network: ("", seed),
                    convert: (convert.to_owned(), "max"),
                    encoding,
                    accuracies: vec![mean - 0.0001, mean + 0.0001],
                    operations,
                });
            }
        }
    }
    made
}

#[test]
fn findings_name_the_leader_its_ties_and_the_factor_that_matters_most() {
    let sentences = findings(&record(&two_factors()));
    // Of the three networks A with Poisson input has 92.15, 92.95 and 90.93 %: mean 92.01, standard deviation 1.0173, and
    // t(0.975, 2) = 4.3027 gives 4.3027 · 1.0173 / √3 = 2.527.
    let wanted = [
        "T = 1: A, encoding poisson leads with 62.01 [59.48, 64.54] % at 1.00 k synaptic operations per sample, a tie with 1 of 3 others: A, encoding constant.",
        "T = 2: A, encoding poisson leads with 92.01 [89.48, 94.54] % at 2.00 k synaptic operations per sample, a tie with 1 of 3 others: A, encoding constant.",
        // 2.1, 2.0, 1.9: standard deviation 0.1, half width 0.248; 0.05, −0.05, 0.03: 0.01 ± 0.131.
        "T = 1: convert matters most, 2.00 [1.75, 2.25] points (A best, B worst); not told from none: simulate.encoding with 0.01 [−0.12, 0.14] points (poisson best, constant worst).",
        "T = 2: convert matters most, 2.00 [1.75, 2.25] points (A best, B worst); not told from none: simulate.encoding with 0.01 [−0.12, 0.14] points (poisson best, constant worst).",
    ];
    assert_eq!(sentences, wanted);
}

#[test]
fn a_chosen_baseline_is_compared_with_all_others() {
    let mut record = record(&two_factors());
    record.sweep.baseline = Some("B, encoding constant".to_owned());
    let sentence = "T = 2: B, encoding constant is behind A, encoding poisson; and A, encoding constant; tied with B, encoding poisson.";
    assert!(findings(&record).iter().any(|s| s == sentence), "{:?}", findings(&record));
    let table = difference_table(&record).unwrap();
    assert!(table.title.starts_with("B, encoding constant against each other method"), "{}", table.title);
    assert!(table.title.contains("Holm’s correction for the 3 comparisons at a step"), "{}", table.title);
    // −(2.0 + 0.01) is told from zero, −0.01 is not.
    let rows: Vec<&[String]> = table.rows.iter().map(Vec::as_slice).collect();
    assert_eq!(rows[0], ["A, encoding poisson", "−2.01*", "−2.01*"]);
    assert_eq!(rows[1], ["A, encoding constant", "−2.00*", "−2.00*"]);
    assert_eq!(rows[2], ["B, encoding poisson", "−0.01", "−0.01"]);
    record.sweep.baseline = None;
    assert_eq!(difference_table(&record), None, "no method here is by the L4-norm");
}

#[test]
fn a_star_that_only_stands_without_the_correction_is_marked_as_such() {
    // Two networks' seeds give one difference with t = 4.9 (p = 0.039) and eight that are nothing.
    let mut made = Vec::new();
    for (seed, noise) in [(1, 0.010), (2, 0.0), (3, 0.020)] {
        let cell = |name: &str, accuracy| Made {
            network: ("", seed),
            convert: (name.to_owned(), "max"),
            encoding: "poisson",
            accuracies: vec![accuracy],
            operations: 1.0,
        };
        made.push(cell("base", 0.9));
        made.push(cell("near", 0.9 - 0.0183 - noise));
        made.extend(
            (0..8).map(|i| cell(&format!("same {i}"), 0.9 + 0.1 * noise * f64::from(i - 4) - 0.004 * noise.powi(2))),
        );
    }
    let mut all = record(&made);
    all.sweep.baseline = Some("base, encoding poisson".to_owned());
    let marks = |record: &ExperimentRecord| difference_table(record).unwrap().rows[0].clone();
    assert_eq!(marks(&all)[1..], ["+2.83°", "+2.83°"]);
    let mut two = record(&made.iter().filter(|m| !m.convert.0.starts_with("same")).cloned().collect::<Vec<_>>());
    two.sweep.baseline = all.sweep.baseline;
    assert_eq!(marks(&two)[1..], ["+2.83*", "+2.83*"]);
}

#[test]
fn intervals_are_over_networks_and_spreads_over_networks_and_seeds() {
    let record = record(&two_factors());
    let intervals = interval_table(&record).unwrap();
    assert!(intervals.title.contains("over networks"), "{}", intervals.title);
    assert_eq!(intervals.rows[0][2], "92.01 [89.48, 94.54]");
    let accuracies = accuracy_table(&record);
    assert!(accuracies.title.contains("mean ± standard deviation over networks × simulation seeds"));
    // Six values: three networks twice, 0.01 off their means; √(2 · 2.0696e-4 + 6e-8) / √5 = 0.0091.
    assert_eq!(accuracies.rows[1][2], "92.01 ± 0.91");
}

#[test]
fn a_failed_combination_is_named_left_out_and_weighs_on_no_level() {
    let whole = record(&two_factors());
    let mut record = whole.clone();
    let at = record.runs.iter().position(|run| run.network == "seed 3" && run.label == "B, encoding constant").unwrap();
    record.runs.remove(at);
    let error = "runs/made-up/seed-3: <disk> full".to_owned();
    record.sweep.cells[at].state = CellState::Failed { stage: "convert".to_owned(), error: error.clone() };
    record.sweep.cells[0].state = CellState::Waiting;
    let sentences = findings(&record);
    let partial = "Partial: 10 of 12 combinations are finished, 1 failed, 1 have not been run; all that follows is of the finished ones.";
    assert_eq!(sentences[0], partial);
    // In the third network conversions are compared on Poisson input alone: 1.9 points as before.
    assert_eq!(sentences.last(), findings(&whole).last());
    let page = Html::parse_document(&html(&record).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let caution = Selector::parse(".caution").unwrap();
    let text: String = page.select(&caution).flat_map(|e| e.text()).collect();
    assert!(text.contains("seed 3: B, encoding constant – convert: ") && text.contains(&error), "{text}");
    assert!(findings_markdown(&record).starts_with("# made-up: what it shows\n\n- Partial: 10 of 12"));
}

/// Every one of some conversions at every one of three encodings, on two networks.
fn many(conversions: &[(String, &'static str)]) -> ExperimentRecord {
    let mut made = Vec::new();
    for seed in [1, 2] {
        for (i, convert) in conversions.iter().enumerate() {
            for (encoding, loss) in [("poisson", 0.02), ("systematic", 0.01), ("constant", 0.0)] {
                let accuracy = 0.94 - loss - 0.001 * i as f64 + 0.0003 * seed as f64 * (i % 3) as f64;
                let (network, convert) = (("", seed), convert.clone());
                made.push(Made {
                    network,
                    convert,
                    encoding,
                    accuracies: vec![accuracy],
                    operations: 1000.0 + i as f64,
                });
            }
        }
    }
    record(&made)
}

fn panels(record: &ExperimentRecord) -> Vec<String> {
    let page = Html::parse_document(&html(record).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let figures = Selector::parse("#steps .panels figure svg title").unwrap();
    page.select(&figures)
        .map(|title| title.text().collect::<String>().split(": accuracy").next().unwrap().to_owned())
        .collect()
}

#[test]
fn many_curves_are_parted_by_what_else_is_swept_and_then_by_method_of_conversion() {
    let few: Vec<_> = (0..6).map(|i| (format!("c{i}"), "max")).collect();
    let near = |titles: &[&str]| {
        let near: Vec<String> = titles.iter().map(|title| format!("{title}, near the ANN")).collect();
        titles.iter().map(ToString::to_string).chain(near).collect::<Vec<_>>()
    };
    assert_eq!(panels(&many(&few)), near(&["encoding poisson", "encoding systematic", "encoding constant"]));
    let lots: Vec<_> = (0..20).map(|i| (format!("c{i}"), if i < 10 { "norm" } else { "std" })).collect();
    let titles = panels(&many(&lots));
    // The same panels for each of two methods of conversion, under a heading of its own.
    let three = near(&["encoding poisson", "encoding systematic", "encoding constant"]);
    assert_eq!(titles, [three.clone(), three].concat());
    let page = Html::parse_document(&html(&many(&lots)).unwrap());
    let [heading, legend] = ["#steps > h3", "#steps > .legend"].map(|css| Selector::parse(css).unwrap());
    let headings: Vec<String> = page.select(&heading).map(|e| e.text().collect()).collect();
    assert_eq!(headings, ["norm", "std"]);
    let items = Selector::parse("li").unwrap();
    // Ten conversions each, and the ANN.
    assert_eq!(page.select(&legend).map(|l| l.select(&items).count()).collect::<Vec<_>>(), [11, 11]);
    // Two methods in one panel need none of this.
    assert!(panels(&many(&few[..2])).is_empty());

    let names: Vec<String> = figures(&many(&lots)).unwrap().into_iter().map(|figure| figure.file_name).collect();
    assert_eq!(
        names,
        ["accuracy-light.svg", "accuracy-dark.svg", "accuracy-operations-light.svg", "accuracy-operations-dark.svg"]
    );
    for figure in figures(&many(&lots)).unwrap().into_iter().chain(figures(&many(&few)).unwrap()) {
        roxmltree::Document::parse(&figure.svg).unwrap();
    }
}

#[test]
fn a_page_of_many_methods_ranks_the_best_and_folds_the_rest_away() {
    let lots: Vec<_> = (0..30).map(|i| (format!("c{i}"), "max")).collect();
    let text = html(&many(&lots)).unwrap();
    let page = Html::parse_document(&text);
    let shown = Selector::parse("#steps > .scroll caption").unwrap();
    let captions: Vec<String> = page.select(&shown).map(|e| e.text().collect()).collect();
    assert_eq!(captions, ["The best 8 of 90 methods at T = 1", "The best 8 of 90 methods at T = 2"]);
    assert!(text.contains("16 of the 90 methods"));
}

#[test]
fn kinds_of_networks_are_kept_apart() {
    let mut made = Vec::new();
    for (kind, level) in [("784-10", 0.90), ("784-64-10", 0.94)] {
        for (seed, noise) in [(1, 0.0), (2, 0.001)] {
            for (convert, method, gain) in [("A", "norm", 0.01), ("B", "max", 0.0)] {
                made.push(Made {
                    network: (kind, seed),
                    convert: (convert.to_owned(), method),
                    encoding: "poisson",
                    accuracies: vec![level + gain + noise * if level > 0.92 { 2.0 } else { 1.0 } + gain * noise],
                    operations: 1000.0,
                });
            }
        }
    }
    let record = record(&made);
    let names: Vec<String> = accuracy_table(&record).rows.into_iter().map(|mut row| row.remove(0)).collect();
    assert_eq!(
        names,
        [
            "784-10: ANN",
            "784-64-10: ANN",
            "784-10: A, encoding poisson",
            "784-10: B, encoding poisson",
            "784-64-10: A, encoding poisson",
            "784-64-10: B, encoding poisson",
        ]
    );
    // Each kind has its own baseline, by the L4-norm.
    let differences = difference_table(&record).unwrap();
    assert!(differences.title.starts_with("A, encoding poisson of the same network against"), "{}", differences.title);
    let rows: Vec<&str> = differences.rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(rows, ["784-10: B, encoding poisson", "784-64-10: B, encoding poisson"]);
    // And its own leader.
    let leads = |kind: &str| format!("{kind}: T = 1: A, encoding poisson leads with ");
    for kind in ["784-10", "784-64-10"] {
        assert!(findings(&record).iter().any(|text| text.contains(&leads(kind))), "{:?}", findings(&record));
    }
    assert!(findings(&record)[0].starts_with("Before conversion: 784-10 95.00 "), "{:?}", findings(&record));
    let page = Html::parse_document(&html(&record).unwrap());
    let fact = Selector::parse(".facts dd").unwrap();
    let fact: String = page.select(&fact).next().unwrap().text().collect();
    assert_eq!(fact, "95.00 to 95.00means of 2 kinds of network");
    // 4.0 and 4.1 points: 4.05 with a half width of t(0.975, 1) · 0.0707 / √2 = 0.635.
    let effect =
        "T = 2: model matters most, 4.05 [3.41, 4.69] points (784-64-10 best, 784-10 worst); then convert with 1.00 ";
    assert!(findings(&record).iter().any(|s| s.starts_with(effect)), "{:?}", findings(&record));
}

#[test]
fn the_tidy_table_has_a_column_for_each_swept_key_and_the_kappa_that_was_used() {
    let mut made = two_factors();
    made.truncate(3);
    made[2].convert = ("N".to_owned(), "norm");
    let record = record(&made);
    let text = tidy_csv(&record).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "experiment,network,training_seed,architecture,ann_accuracy,label,convert.method,convert.kappa,simulate.encoding,simulation_seed,step,accuracy,agreement,synaptic_operations"
    );
    assert_eq!(lines.len(), 1 + 3 * 2 * 2);
    assert!(
        lines[1].starts_with("made-up,seed 1,1,784-10,0.95,\"A, encoding poisson\",max,,poisson,0,1,0.6"),
        "{}",
        lines[1]
    );
    assert!(
        lines[9].starts_with("made-up,seed 1,1,784-10,0.95,\"N, encoding poisson\",norm,0.25,poisson,0,1,"),
        "{}",
        lines[9]
    );
    let columns: Vec<String> = tidy_column_table(&record).rows.into_iter().map(|mut row| row.remove(0)).collect();
    assert_eq!(columns.join(","), lines[0]);
    assert!(
        markdown(&tidy_column_table(&record)).contains("| convert.kappa | noise-to-threshold ratio κ that was used")
    );
}

#[test]
fn a_factor_that_was_searched_for_is_a_number_in_the_tidy_table() {
    let made = |label: &str| Made {
        network: ("", 1),
        convert: (label.to_owned(), "max"),
        encoding: "poisson",
        accuracies: vec![0.9],
        operations: 1000.0,
    };
    let mut record = record(&[made("A"), made("B")]);
    let at = record.sweep.columns.iter().position(|key| key == "convert.kappa").unwrap();
    record.sweep.columns[at] = "convert.scale".to_owned();
    for (cell, scale) in record.sweep.cells.iter_mut().zip(["auto", "0.5"]) {
        cell.values[at] = scale.to_owned();
    }
    let trials = vec![ScaleTrial { scale: 0.3, accuracy: 0.8 }];
    record.runs[0].conversion.scale_search = Some(ScaleSearch { scale: 0.3, trials });
    let text = tidy_csv(&record).unwrap();
    let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let at = columns.iter().position(|name| *name == "convert.scale").unwrap();
    assert_eq!(columns[at + 1], "convert.scale_searched");
    let values = |line: &str| {
        // No label but one with a comma in it is quoted.
        let fields: Vec<String> = line.replace(", ", "; ").split(',').map(str::to_owned).collect();
        (fields[at].clone(), fields[at + 1].clone())
    };
    let found: Vec<_> = text.lines().skip(1).map(values).collect();
    for expected in [("0.3", "true"), ("0.5", "false")] {
        assert!(found.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{text}");
    }
}

#[test]
fn the_figure_of_main_effects_places_each_level_at_its_mean() {
    let figures = factor_figures(&record(&two_factors())).unwrap();
    let names: Vec<&str> = figures.iter().map(|figure| figure.file_name.as_str()).collect();
    assert_eq!(names, ["factors-light.svg", "factors-dark.svg"]);
    let document = roxmltree::Document::parse(&figures[0].svg).unwrap();
    let place = |name: &str| {
        let text = document.descendants().find(|node| node.text() == Some(name) && node.tag_name().name() == "text");
        let text = text.unwrap_or_else(|| panic!("no `{name}`"));
        ["x", "y"].map(|axis| text.attribute(axis).unwrap().parse::<f64>().unwrap())
    };
    let ([from, _], [to, _]) = (place("60"), place("90"));
    let x = |percent: f64| from + (percent - 60.0) / 30.0 * (to - from);
    // Discs of the first step, drawn as round ends of strokes without length; in the order of the rows, the larger effect on top.
    let strokes = document.descendants().filter(|node| node.attribute("stroke-linecap") == Some("round"));
    let discs: Vec<[f64; 2]> = strokes
        .flat_map(|node| node.attribute("d").unwrap().split('M').skip(1).map(|disc| disc.trim_end_matches("h0")))
        .map(|disc| disc.split_once(' ').unwrap())
        .map(|(x, y)| [x, y].map(|number| number.parse().unwrap()))
        .collect();
    // A: 90 % and the gains 2.0 and 0.01 − 30 points at T = 1; B 2 points less; an encoding half-way between A and B.
    let wanted = [("A", 62.005), ("B", 60.005), ("encoding poisson", 61.01), ("encoding constant", 61.0)];
    for (disc, (name, percent)) in discs.iter().zip(wanted) {
        assert_eq!(disc[1], place(name)[1], "{name}");
        assert!((disc[0] - x(percent)).abs() <= 1.0, "{name}: {disc:?}, {}", x(percent));
    }
    assert!(wanted.windows(2).all(|pair| place(pair[0].0)[1] < place(pair[1].0)[1]));
    let page = Html::parse_document(&html(&record(&two_factors())).unwrap());
    assert_eq!(page.select(&Selector::parse("#factors figure svg.chart").unwrap()).count(), 1);

    // A single factor has no others to average over.
    let one: Vec<Made> = two_factors().into_iter().filter(|made| made.encoding == "poisson").collect();
    assert!(factor_figures(&record(&one)).unwrap().is_empty());
}
