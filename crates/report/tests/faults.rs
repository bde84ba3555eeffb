//! Tables, figures and the page section of runs that differ by faults of their hardware, and of a search for the scale.

mod sample;

use report::{fault_figures, fault_tables, findings, html};
use results::record::{ExperimentRecord, FaultsRecord, RunRecord, ScaleSearch, ScaleTrial};
use sample::experiment;

const NONE: FaultsRecord = FaultsRecord {
    label: String::new(),
    seed: 0,
    weight_noise: 0.0,
    weight_noise_of: String::new(),
    weight_range: String::new(),
    weight_bits: None,
    threshold_mismatch: 0.0,
    dropped_spikes: 0.0,
};

/// A run with faults whose every seed ends at an accuracy.
fn with(run: &RunRecord, faults: Option<FaultsRecord>, accuracy: f64) -> RunRecord {
    let mut run = run.clone();
    let label = faults.as_ref().map_or("no faults", |faults| &faults.label);
    run.label = format!("{}, {label}", run.label);
    run.simulation.faults = faults;
    run.simulation.seeds.iter_mut().for_each(|seed| *seed.accuracy.last_mut().unwrap() = accuracy);
    run
}

fn noise(weight_noise: f64) -> FaultsRecord {
    let label = format!("weight noise {weight_noise}");
    FaultsRecord { label, weight_noise, weight_noise_of: "range".to_owned(), weight_range: "layer".to_owned(), ..NONE }
}

fn bits(bits: u32) -> FaultsRecord {
    let label = format!("{bits}-bit weights");
    FaultsRecord { label, weight_bits: Some(bits), weight_range: "layer".to_owned(), ..NONE }
}

/// Two methods on three networks, without faults, at two severities of noise and at two of bits.
fn faulty() -> ExperimentRecord {
    let mut record = experiment();
    let runs: Vec<RunRecord> =
        record.runs.drain(..).filter(|run| ["max", "norm p=4 κ=0.4"].contains(&run.label.as_str())).collect();
    for run in &runs {
        // Networks end at 0.01 less, as much, and 0.01 more; the norm bears noise better.
        let of_network = 0.01 * (run.network.strip_prefix("seed ").unwrap().parse::<f64>().unwrap() - 2.0);
        let loss = if run.label == "max" { 2.0 } else { 1.0 };
        let faults = [(noise(0.2), 0.2), (noise(0.05), 0.02), (bits(8), 0.0), (bits(3), 0.1)];
        let faults = faults.map(|(faults, cost)| (Some(faults), cost)).into_iter().chain([(None, 0.0)]);
        let faulty = faults.map(|(faults, cost)| with(run, faults, 0.8 + of_network - loss * cost));
        record.runs.extend(faulty);
    }
    record
}

#[test]
fn runs_that_differ_by_one_fault_alone_make_a_table_from_none_of_it_to_the_worst() {
    let tables = fault_tables(&faulty());
    let heads: Vec<Vec<&str>> =
        tables.iter().map(|table| table.columns.iter().map(|column| column.name.as_str()).collect()).collect();
    assert_eq!(heads, [vec!["method", "0", "0.05", "0.2"], vec!["method", "off", "8", "3"]]);
    assert!(
        tables[0].title.ends_with("against weight noise: mean ± 95 % interval over 3 networks"),
        "{}",
        tables[0].title
    );
    // Three networks 0.01 apart: a standard deviation of 0.01, t = 4.303, √3.
    let half = "2.48";
    assert_eq!(
        tables[0].rows[0],
        ["max", &format!("80.00 ± {half}"), &format!("76.00 ± {half}"), &format!("40.00 ± {half}")]
    );
    assert_eq!(tables[0].rows[1][0], "norm p=4 κ=0.4");
    assert_eq!(tables[0].rows[1][3], format!("60.00 ± {half}"));
    assert_eq!(tables[1].rows[0][3], format!("60.00 ± {half}"));
}

#[test]
fn other_faults_that_all_runs_have_are_in_the_title_and_do_not_mix_with_their_absence() {
    let mut record = faulty();
    let lossy = record.runs.iter().map(|run| {
        let mut run = run.clone();
        let label = run.label.clone();
        let (method, _) = label.rsplit_once(", ").unwrap();
        let mut faults = run.simulation.faults.take().unwrap_or(NONE);
        faults.dropped_spikes = 0.1;
        faults.label = format!("{} + dropped spikes 0.1", faults.label);
        run.label = format!("{method}, {}", faults.label);
        run.simulation.faults = Some(faults);
        run
    });
    let lossy: Vec<RunRecord> = lossy.collect();
    record.runs.extend(lossy);
    let titles: Vec<String> = fault_tables(&record).into_iter().map(|table| table.title).collect();
    let holds = |text: &str| titles.iter().filter(|title| title.contains(text)).count();
    assert_eq!(holds("against weight noise:"), 1, "{titles:?}");
    assert_eq!(holds("against weight noise (dropped spikes 0.1):"), 1, "{titles:?}");
    // Dropped spikes differ too: without other faults, at two severities of noise and at two of bits.
    assert_eq!((holds("against dropped spikes"), holds("against dropped spikes:")), (5, 1), "{titles:?}");
}

#[test]
fn one_network_has_its_interval_over_devices_and_one_device_none() {
    let mut record = faulty();
    record.networks.truncate(1);
    record.runs.retain(|run| run.network == "seed 1");
    for run in &mut record.runs {
        run.simulation.seeds.truncate(2);
        *run.simulation.seeds[1].accuracy.last_mut().unwrap() += 0.02;
    }
    let tables = fault_tables(&record);
    assert!(tables[0].title.ends_with("over devices"), "{}", tables[0].title);
    // 0.79 and 0.81: a standard deviation of 0.01414, t = 12.706, √2.
    assert_eq!(tables[0].rows[0][1], "80.00 ± 12.71");
    record.runs.iter_mut().for_each(|run| run.simulation.seeds.truncate(1));
    assert_eq!(fault_tables(&record)[0].rows[0][1], "79.00");
}

#[test]
fn a_sweep_over_faults_has_figures_in_both_themes_and_a_section_with_findings() {
    let figures = fault_figures(&faulty()).unwrap();
    let names: Vec<&str> = figures.iter().map(|figure| figure.file_name.as_str()).collect();
    assert_eq!(names, ["faults-light.svg", "faults-dark.svg"]);
    for figure in &figures {
        for text in
            ["Weight noise", "Bits of a weight", "norm p=4 κ=0.4", "standard deviation / largest weight of the layer"]
        {
            assert!(figure.svg.contains(text), "{text} is not in {}", figure.file_name);
        }
    }
    let page = scraper::Html::parse_document(&html(&faulty()).unwrap());
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let section = page.select(&scraper::Selector::parse("#faults").unwrap()).next().unwrap();
    let text: String = section.text().collect::<String>().replace('\u{a0}', " ");
    assert!(text.contains("weight noise = 0.2: norm p=4 κ=0.4 has the highest mean, 60.00 %"), "{text}");
}

#[test]
fn findings_compare_methods_at_the_same_severity_and_not_faulty_networks_with_sound_ones() {
    let sentences = findings(&faulty());
    assert!(sentences.iter().any(|text| text.starts_with("weight noise = ")), "{sentences:?}");
    assert!(sentences.iter().all(|text| !text.contains("leads")), "{sentences:?}");
}

#[test]
fn runs_without_faults_have_none_of_it_and_a_single_severity_is_listed() {
    assert_eq!((fault_tables(&experiment()), fault_figures(&experiment()).unwrap()), (Vec::new(), Vec::new()));
    assert!(!html(&experiment()).unwrap().contains("id=\"faults\""));
    let mut record = faulty();
    record.runs.retain(|run| run.label.ends_with("weight noise 0.2"));
    assert!(fault_tables(&record).is_empty() && fault_figures(&record).unwrap().is_empty());
    let page = html(&record).unwrap();
    assert!(page.contains("id=\"faults\"") && page.contains("seed of devices"));
}

#[test]
fn a_search_for_the_scale_is_shown_beside_one_for_kappa_and_says_where_its_grid_ends() {
    let mut record = experiment();
    let search = |chosen: f64| {
        let trials = [1.0, 0.25, 0.5].map(|scale| ScaleTrial { scale, accuracy: 0.8 + 0.01 * scale });
        Some(ScaleSearch { scale: chosen, trials: trials.to_vec() })
    };
    for run in record.runs.iter_mut().filter(|run| run.label == "max") {
        run.conversion.scale_search = search(0.25);
    }
    let page = html(&record).unwrap().replace('\u{a0}', " ");
    for text in [
        "Searches for κ and the scale",
        "Accuracy against κ",
        "Accuracy against scale",
        "chosen scale",
        "max on seed 2: the chosen scale = 0.25 is the smallest that was tried",
        "max, times 0.25",
    ] {
        assert!(page.contains(text), "{text}");
    }
    record.runs.iter_mut().for_each(|run| run.conversion.kappa_search.clear());
    let page = html(&record).unwrap();
    assert!(page.contains("Search for the scale") && !page.contains("Accuracy against κ"));
}
