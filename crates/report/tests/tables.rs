//! The tables of a small hand-made record, in every form.

use report::{accuracy_table, csv, early_exit_table, markdown, terminal, tidy_csv, top_five_table};
use results::record::{
    AnnRecord, ConversionRecord, DatasetRecord, EarlyExitRecord, EnergyRecord, ExperimentRecord, RunRecord, SeedRecord,
    SimulationRecord, SweepRecord,
};

fn run(label: &str, accuracies: &[[f64; 2]], operations: [f64; 2]) -> RunRecord {
    let seeds = accuracies
        .iter()
        .zip(1..)
        .map(|(accuracy, seed)| SeedRecord {
            seed,
            accuracy: accuracy.to_vec(),
            top5: Vec::new(),
            agreement: vec![0.75, f64::NAN],
            synaptic_operations: operations.to_vec(),
            mean_latency: 1.5,
            early_exit: None,
            loss: Vec::new(),
        })
        .collect();
    RunRecord {
        label: label.to_owned(),
        network: "seed 1".to_owned(),
        conversion: ConversionRecord {
            method: "norm".to_owned(),
            p: Some(4.0),
            kappa: Some(0.4),
            kappa_search: Vec::new(),
            compensate: true,
            initial_potential: 0.5,
            calibrate: "none".to_owned(),
            n_calibration: 0,
            layers: Vec::new(),
            scale_search: None,
        },
        simulation: SimulationRecord {
            graded: None,
            engine: "event".to_owned(),
            encoding: "poisson".to_owned(),
            reset: "subtract".to_owned(),
            readout: "potential".to_owned(),
            steps: 2,
            n_samples: 1000,
            checkpoints: vec![1, 2],
            seeds,
            layers: Vec::new(),
            variance: Vec::new(),
            rate_match: Vec::new(),
            rasters: Vec::new(),
            energy: EnergyRecord {
                mac_pj: 4.6,
                add_pj: 0.9,
                source: String::new(),
                snn_macs_per_sample: 0.0,
                ann_pj: 460.0,
                snn_pj: vec![90.0, 180.0],
            },
            faults: None,
        },
    }
}

/// One network; a method with two seeds whose means and spreads are easily checked by hand, and one with one seed.
fn small() -> ExperimentRecord {
    ExperimentRecord {
        name: "small".to_owned(),
        description: String::new(),
        quartic_version: "0.1.0".to_owned(),
        config: String::new(),
        dataset: DatasetRecord {
            name: "digits".to_owned(),
            shape: [1, 8, 8],
            class_names: Vec::new(),
            n_train: 3823,
            n_test: 1000,
        },
        networks: vec![AnnRecord {
            label: "seed 1".to_owned(),
            seed: 1,
            architecture: "64-10".to_owned(),
            n_parameters: 650,
            macs_per_sample: 640,
            test_accuracy: Some(0.95),
            test_top5: None,
            epochs: Vec::new(),
        }],
        runs: vec![
            // Means 0.60 and 0.91; standard deviations √2 · 0.02 and √2 · 0.01.
            run("norm p=4 κ=0.4", &[[0.58, 0.90], [0.62, 0.92]], [1200.0, 2400.0]),
            run("max | own", &[[0.1, 0.945]], [300.0, 650.0]),
        ],
        sweep: SweepRecord::default(),
    }
}

#[test]
fn accuracy_table_in_a_terminal() {
    insta::assert_snapshot!(terminal(&accuracy_table(&small())));
}

#[test]
fn the_first_five_have_a_table_where_they_were_counted() {
    let mut record = small();
    assert_eq!(top_five_table(&record), None);
    record.networks[0].test_top5 = Some(0.9876);
    record.runs[0].simulation.seeds[0].top5 = vec![0.5, 0.75];
    record.runs[0].simulation.seeds[1].top5 = vec![0.5, 0.85];
    let text = terminal(&top_five_table(&record).unwrap());
    insta::assert_snapshot!(text);
}

#[test]
fn records_without_the_first_five_are_read_and_written_as_before() {
    let text = serde_json::to_string(&small()).unwrap();
    assert!(!text.contains("top5"), "{text}");
    let old = serde_json::to_string(&small().networks).unwrap();
    assert_eq!(serde_json::from_str::<Vec<AnnRecord>>(&old).unwrap(), small().networks);
    let mut networks = small().networks;
    networks[0].test_top5 = Some(0.5);
    let new = serde_json::to_string(&networks).unwrap();
    assert_eq!(serde_json::from_str::<Vec<AnnRecord>>(&new).unwrap(), networks);
}

#[test]
fn accuracy_table_in_markdown() {
    insta::assert_snapshot!(markdown(&accuracy_table(&small())));
}

#[test]
fn accuracy_table_as_csv() {
    insta::assert_snapshot!(csv(&accuracy_table(&small())).unwrap());
}

/// The small record with its second method stopped early.
fn stopped() -> ExperimentRecord {
    let mut record = small();
    record.runs[1].simulation.seeds[0].early_exit = Some(EarlyExitRecord {
        confidence: 0.9,
        accuracy: 0.94,
        agreement: 0.985,
        mean_steps: 1.25,
        median_steps: 1,
        ninth_decile_steps: 2,
        unsettled_share: 0.25,
        synaptic_operations: 390.0,
        exits: vec![0.75, 0.25],
    });
    record
}

#[test]
fn early_exits_have_a_table_and_a_column_where_there_are_any() {
    assert_eq!(early_exit_table(&small()), None);
    insta::assert_snapshot!(terminal(&early_exit_table(&stopped()).unwrap()));
    assert_eq!(accuracy_table(&stopped()), accuracy_table(&small()));
    let text = tidy_csv(&stopped()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(",synaptic_operations,early_exits"), "{}", lines[0]);
    assert_eq!(
        (lines[1], lines[6]),
        (
            "small,seed 1,1,64-10,0.95,norm p=4 κ=0.4,1,1,0.58,0.75,1200,",
            "small,seed 1,1,64-10,0.95,max | own,1,2,0.945,,650,0.25"
        )
    );
    assert!(!tidy_csv(&small()).unwrap().contains("early"));
}

#[test]
fn tidy_table_has_one_row_per_seed_and_step_and_leaves_missing_values_empty() {
    let text = tidy_csv(&small()).unwrap();
    let rows: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        rows,
        [
            "small,seed 1,1,64-10,0.95,norm p=4 κ=0.4,1,1,0.58,0.75,1200",
            "small,seed 1,1,64-10,0.95,norm p=4 κ=0.4,1,2,0.9,,2400",
            "small,seed 1,1,64-10,0.95,norm p=4 κ=0.4,2,1,0.62,0.75,1200",
            "small,seed 1,1,64-10,0.95,norm p=4 κ=0.4,2,2,0.92,,2400",
            "small,seed 1,1,64-10,0.95,max | own,1,1,0.1,0.75,300",
            "small,seed 1,1,64-10,0.95,max | own,1,2,0.945,,650",
        ]
    );
}
