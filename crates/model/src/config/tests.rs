use super::*;
use crate::architecture::{Conv2d, LayerKind, Window};

const MINIMAL: &str = r#"
name = "tiny"
[data]
dataset = "digits"
[model]
input = [1, 8, 8]
layers = [{ kind = "flatten" }, { kind = "dense", units = 10 }]
"#;

fn parse(text: &str, overrides: &[&str]) -> Result<ExperimentFile, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    ExperimentFile::parse(text, Path::new("x.toml"), &overrides)
}

fn error(text: &str, overrides: &[&str]) -> String {
    parse(text, overrides).unwrap_err().to_string()
}

#[test]
fn a_minimal_file_gets_every_default() {
    let experiment = parse(MINIMAL, &[]).unwrap().base;
    assert_eq!(experiment.simulate.steps, 32);
    assert_eq!(experiment.simulate.checkpoints, [1, 2, 4, 8, 16, 32]);
    assert_eq!(experiment.convert.label(), "norm p=4 κ=0.4");
    assert_eq!(experiment.train.schedule, Schedule::Cosine { final_learning_rate: 0.0 });
    assert_eq!(experiment.data.path, None);
}

#[test]
fn the_resolved_configuration_read_again_is_the_same_experiment() {
    let experiment = parse(MINIMAL, &["simulate.steps=20", "convert.kappa=auto"]).unwrap().base;
    assert_eq!(parse(&experiment.to_toml(), &[]).unwrap().base, experiment);
}

#[test]
fn every_default_is_within_its_own_range_and_every_word_has_its_type() {
    parse(MINIMAL, &[]).unwrap();
    for key in schema::KEYS {
        let schema::Kind::Choice(words) = key.kind else { continue };
        for word in words {
            let text = format!("{}={word}", key.path);
            match parse(MINIMAL, &[&text]) {
                Ok(_) => {}
                // Other keys may contradict a word, but its type must know it.
                Err(error) => assert!(!error.to_string().contains("found"), "{text}: {error}"),
            }
        }
    }
}

#[test]
fn all_problems_are_reported_at_once_with_file_key_and_remedy() {
    let text = MINIMAL.replace("units = 10", "units = 0").replace("\"digits\"", "\"digit\"")
        + "[train]\nepochs = 1.5\nbatchsize = 3\n[train.sgd]\nlearning_rate = -1\n";
    let error = error(&text, &[]);
    for line in [
        "x.toml: [data] dataset: found \"digit\"; use one of \"digits\"",
        "x.toml: [model.layers.1] units: dense: found 0; give a whole number from 1",
        "x.toml: [train] epochs: found 1.5; use a whole number from 1 to 100000",
        "x.toml: [train] batchsize: unknown key; did you mean `train.batch_size`?",
        "x.toml: [train.sgd] learning_rate: found -1; use a number above 0",
    ] {
        assert!(error.contains(line), "`{line}` is not in\n{error}");
    }
    assert_eq!(error.lines().count(), 5, "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_key() {
    for (path, suggestion) in [
        ("convert.kapa", "convert.kappa"),
        ("train.momentum", "train.sgd.momentum"),
        ("learning_rate", "train.sgd.learning_rate"),
        ("simulat.steps", "simulate.steps"),
    ] {
        assert!(error(MINIMAL, &[&format!("{path}=1")]).contains(&format!("did you mean `{suggestion}`?")), "{path}");
    }
    assert!(error(&format!("zzzzzzzzzzzzzzzz = 1\n{MINIMAL}"), &[]).contains("see `--keys`"));
}

#[test]
fn a_section_that_is_no_table_and_missing_keys_are_refused() {
    assert!(error(&format!("train = 3\n{MINIMAL}"), &[]).contains("train: found 3; it is a section"));
    let error = error("[model]\ninput = [1, 8]\n", &[]);
    for line in [
        "name: missing",
        "[data] dataset: missing",
        "[model] input: found [1, 8]; use three",
        "[model] layers: missing",
    ] {
        assert!(error.contains(line), "`{line}` is not in\n{error}");
    }
}

#[test]
fn syntax_errors_name_the_line() {
    assert!(error("name = \"a\"\nseed = = 3\n", &[]).contains("x.toml: not valid TOML: line 2"));
}

#[test]
fn a_label_tells_calibration_and_coarse_weights() {
    let experiment = parse(MINIMAL, &["convert.calibrate=potential", "convert.sum_bits=15"]).unwrap().base;
    assert_eq!(experiment.convert.label(), "norm p=4 κ=0.4 + v(0), 15 bits");
}

#[test]
fn overrides_take_toml_values_and_bare_words() {
    let overrides = ["convert.method=std", "convert.kappa = 0.3", "simulate.seeds=[4, 5]", "seed=9"];
    let experiment = parse(MINIMAL, &overrides).unwrap().base;
    assert_eq!(experiment.convert.label(), "std κ=0.3");
    assert_eq!((experiment.simulate.seeds, experiment.seed), (vec![4, 5], 9));
    assert!(error(MINIMAL, &["seed"]).contains("--set seed: no `=`"));
    assert!(
        error(MINIMAL, &["train.epoch=3"])
            .contains("x.toml: --set train.epoch: unknown key; did you mean `train.epochs`?")
    );
}

#[test]
fn misplaced_and_unknown_layers_are_refused_with_a_remedy() {
    let with = |layers: &str| error(&MINIMAL.replace("{ kind = \"flatten\" }", layers), &[]);
    assert!(with("{ kind = \"flaten\" }").contains("[model.layers] 0: unknown kind `flaten`; did you mean `flatten`?"));
    assert!(with("{ units = 3 }").contains("`kind` is missing"));
    assert!(with("{ kind = \"relu\", slope = 0.1 }").contains("relu: unknown key `slope`; it takes no keys"));
    assert!(with("{ kind = \"dropout\", rate = 1.0 }").contains("dropout: found 1.0; give a number from 0 to below 1"));
    assert!(with("{ kind = \"Softmax\" }").contains("unknown kind `Softmax`; leave it out: the loss applies it"));
    assert!(with("{ kind = \"maxout\" }").contains("use one of `flatten`"));
    assert!(
        with("{ kind = \"conv2d\", channels = 0 }").contains("[model.layers.0] kernel: conv2d: missing; give a whole")
    );
    let residual =
        "{ kind = \"residual\", body = [{ kind = \"conv2d\", channels = 3, kernel = \"a\" }, { kind = \"gelu\" }] }";
    assert!(with(residual).contains("[model.layers.0.body.0] kernel: conv2d: found \"a\"; give a whole number"));
    assert!(
        with(residual).contains("[model.layers.0.body] 1: unknown kind `gelu`; integrate-and-fire neurons stand for")
    );
    assert!(
        with("{ kind = \"residual\", body = 3 }").contains("[model.layers.0] body: found 3; give a list of layers")
    );
    let misplaced = with("{ kind = \"residual\", body = [{ kind = \"batch-norm\" }] }");
    assert!(misplaced.contains("[model.layers.0.body] 0: batch-norm: does not follow a weighted layer"), "{misplaced}");
}

#[test]
fn layers_with_all_their_keys_are_read() {
    let layers = r#"
        { kind = "conv2d", channels = 8, kernel = 3, stride = 2, padding = 1, groups = 1, bias = false },
        { kind = "batch-norm", epsilon = 1e-3 }, { kind = "relu" },
        { kind = "max-pool", kernel = 2 }, { kind = "residual", body = [{ kind = "conv2d", channels = 8, kernel = 1 }] },
        { kind = "relu" }, { kind = "avg-pool", kernel = 2, stride = 1 }, { kind = "flatten" }"#;
    let experiment = parse(&MINIMAL.replace("{ kind = \"flatten\" }", layers), &[]).unwrap().base;
    let kinds: Vec<_> = experiment.architecture.layers().iter().map(|layer| layer.kind.clone()).collect();
    let conv = |kernel, stride, padding, bias| {
        LayerKind::Conv2d(Conv2d { channels: 8, kernel, stride, padding, groups: 1, bias })
    };
    assert_eq!(kinds[0], conv(3, 2, 1, false));
    assert_eq!(kinds[1], LayerKind::BatchNorm { epsilon: 1e-3 });
    assert_eq!(kinds[3], LayerKind::MaxPool(Window { kernel: 2, stride: 2 }));
    assert_eq!(kinds[4], LayerKind::Residual { body: vec![conv(1, 1, 0, true)], shortcut: Vec::new() });
    assert_eq!(kinds[6], LayerKind::AvgPool(Window { kernel: 2, stride: 1 }));
}

/// [`MINIMAL`] without its `[model]`.
fn without_model() -> String {
    MINIMAL.split_once("[model]").unwrap().0.to_owned()
}

#[test]
fn a_model_from_elsewhere_becomes_part_of_the_configuration() {
    let body =
        vec![LayerKind::Conv2d(Conv2d { channels: 4, kernel: 3, stride: 1, padding: 1, groups: 2, bias: false })];
    let section = ModelSection {
        input: [1, 8, 8],
        layers: vec![
            LayerKind::Conv2d(Conv2d { channels: 4, kernel: 3, stride: 1, padding: 1, groups: 1, bias: true }),
            LayerKind::BatchNorm { epsilon: 1e-3 },
            LayerKind::Relu,
            LayerKind::Residual { body, shortcut: Vec::new() },
            LayerKind::Relu,
            LayerKind::MaxPool(Window { kernel: 2, stride: 1 }),
            LayerKind::Dropout { rate: 0.25 },
            LayerKind::AvgPool(Window { kernel: 2, stride: 2 }),
            LayerKind::GlobalAvgPool,
            LayerKind::Flatten,
            LayerKind::Dense { units: 10 },
        ],
    };
    let find = |outline: &Outline| {
        assert_eq!((outline.name.as_str(), outline.dataset.as_str(), outline.input), ("tiny", "digits", None));
        Ok(Some(section.clone()))
    };
    let experiment = ExperimentFile::parse_or_find(&without_model(), Path::new("x.toml"), &[], find).unwrap().base;
    let kinds: Vec<_> = experiment.architecture.layers().iter().map(|layer| layer.kind.clone()).collect();
    assert_eq!(kinds, section.layers);
    assert_eq!(ModelSection::of_config(&experiment.to_toml()), Some(section));
}

#[test]
fn a_model_is_looked_for_elsewhere_only_where_the_file_has_none() {
    let find = |_: &Outline| panic!("the file has one");
    ExperimentFile::parse_or_find(MINIMAL, Path::new("x.toml"), &[], find).unwrap();
    let parse = |found| ExperimentFile::parse_or_find(&without_model(), Path::new("x.toml"), &[], |_| found);
    let error = parse(Err("net.onnx: no".to_owned())).unwrap_err().to_string();
    assert_eq!(error, "x.toml: model: net.onnx: no");
    let error = parse(Ok(None)).unwrap_err().to_string();
    assert!(error.contains("[model] layers: missing") && error.contains("convert --weights FILE.onnx"), "{error}");
    let bad = ModelSection { input: [1, 8, 8], layers: vec![LayerKind::Relu] };
    let error = parse(Ok(Some(bad))).unwrap_err().to_string();
    assert!(error.contains("[model.layers] 0: relu: does not follow"), "{error}");
    for text in ["{\"name\": 3}", "name = \"x\"", "not = = toml"] {
        assert_eq!(ModelSection::of_config(text), None);
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (overrides, message) in [
        (&["train.patience=3"][..], "needs a validation split"),
        (&["train.sgd.nesterov=true", "train.sgd.momentum=0"], "no effect without momentum"),
        (&["simulate.checkpoints=[64]"], "step 64 is after the last"),
        (&["convert.method=std", "simulate.encoding=constant"], "has none"),
        (&["convert.method=max", "convert.kappa=auto"], "norm and std"),
        (&["convert.calibrate=bias", "convert.compensate=false"], "drop one of them"),
    ] {
        assert!(error(MINIMAL, overrides).contains(message), "{overrides:?}");
    }
}

#[test]
fn the_confidence_of_an_early_exit_is_a_probability_or_off() {
    assert_eq!(parse(MINIMAL, &[]).unwrap().base.simulate.early_exit, None);
    assert_eq!(parse(MINIMAL, &["simulate.early_exit=0.99"]).unwrap().base.simulate.early_exit, Some(0.99));
    for value in ["0.5", "1", "1.0", "-0.9", "99", "on"] {
        let message = error(MINIMAL, &[&format!("simulate.early_exit={value}")]);
        let wanted = "use a number above 0.5 and up to 0.999999, or \"off\"";
        assert!(message.contains("[simulate] early_exit: found") && message.contains(wanted), "{message}");
    }
    let sweep = parse(&format!("{MINIMAL}\n[sweep]\nsimulate.early_exit = [\"off\", 0.9, 0.99]\n"), &[]).unwrap();
    let labels: Vec<&str> = sweep.cells.iter().map(|cell| cell.run.as_str()).collect();
    assert_eq!(labels, ["early_exit off", "early_exit 0.9", "early_exit 0.99"]);
}

#[test]
fn a_sweep_is_the_cross_product_with_names_for_networks_and_runs() {
    let text = format!(
        "{MINIMAL}\n[sweep]\nseed = [1, 2]\nconvert = [{{ method = \"none\" }}, {{ method = \"norm\", p = \"inf\", kappa = 0.3 }}]\nsimulate.encoding = [\"poisson\", \"constant\"]\n"
    );
    let file = parse(&text, &[]).unwrap();
    let names: Vec<_> = file.cells.iter().map(|cell| format!("{}/{}", cell.network, cell.run)).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], "seed 1/none, encoding poisson");
    assert_eq!(names[7], "seed 2/norm p=∞ κ=0.3, encoding constant");
    assert_eq!(file.cells[7].experiment.simulate.encoding, Encoding::Constant);
    assert_eq!(folder_name(&file.cells[7].run), "norm-p-inf-k-0.3-encoding-constant");
    assert_eq!(parse(MINIMAL, &[]).unwrap().cells.len(), 1);
}

#[test]
fn sweeps_over_unknown_keys_bad_values_or_equal_labels_are_refused() {
    let with = |sweep: &str| error(&format!("{MINIMAL}\n[sweep]\n{sweep}\n"), &[]);
    assert!(with("sed = [1, 2]").contains("[sweep] sed: unknown key; did you mean `seed`?"));
    assert!(with("seed = 3").contains("give a list of values"));
    assert!(with("seed = [1, 1]").contains("a value stands twice"));
    assert!(with("convert = [1]").contains("swept over tables"));
    assert!(with("convert.kappa = [0.1, -2]").contains("in a combination of [sweep]: found -2"));
    assert!(
        with("convert = [{ method = \"max\" }, { method = \"max\", initial_potential = 0.1 }]")
            .contains("both called `max`")
    );
    assert!(with("name = [\"a\", \"b\"]").contains("cannot be swept"));
}

#[test]
fn a_network_that_does_not_fit_its_data_says_what_would() {
    let experiment = parse(MINIMAL, &[]).unwrap().base;
    assert_eq!(experiment.check_fits([1, 8, 8], 10), Ok(()));
    assert!(experiment.check_fits([1, 28, 28], 10).unwrap_err().contains("use input = [1, 28, 28]"));
    assert!(experiment.check_fits([1, 8, 8], 26).unwrap_err().contains("use units = 26"));
}
