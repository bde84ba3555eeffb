use super::*;
use crate::architecture::{Conv2d, Entry, LayerKind, Window};

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

/// Keys of a section that are set in vain.
fn in_vain(section: &str, overrides: &[&str]) -> Vec<&'static str> {
    let experiment = parse(MINIMAL, overrides).unwrap().base;
    experiment.keys_without_effect(section).into_iter().map(|key| key.path).collect()
}

#[test]
fn a_key_that_the_method_does_not_look_at_is_told() {
    let told = |overrides: &[&str]| in_vain("convert", overrides);
    assert!(told(&[]).is_empty() && told(&["convert.method=max"]).is_empty(), "defaults are nobody's choice");
    assert_eq!(
        told(&["convert.method=max", "convert.kappa=0.3", "convert.percentile=99"]),
        ["convert.kappa", "convert.percentile"]
    );
    assert_eq!(told(&["convert.method=std", "convert.p=2", "convert.kappa=0.3"]), ["convert.p"]);
    assert!(told(&["convert.method=norm", "convert.p=2", "convert.kappa=0.3"]).is_empty());
    assert!(told(&["convert.method=percentile", "convert.percentile_zeros=true"]).is_empty());
    // Where output neurons fire and the method does not know how large logits become, a percentile of them is taken.
    for (method, expected) in [("norm", &[][..]), ("model", &["convert.percentile"])] {
        let method = format!("convert.method={method}");
        assert_eq!(told(&[&method, "convert.percentile=99", "simulate.readout=spikes"]), expected, "{method}");
    }
}

#[test]
fn what_a_search_looks_at_is_told_where_nothing_is_searched_for() {
    let told = |overrides: &[&str]| in_vain("convert", overrides);
    let of_search = ["convert.kappa_grid=[0.3]", "convert.kappa_samples=9", "convert.scale_grid=[0.3]"];
    let target = ["convert.target_steps=4"];
    let with = |more: &[&'static str]| told(&[&of_search[..], &target, more].concat());
    assert_eq!(
        with(&[]),
        ["convert.kappa_grid", "convert.kappa_samples", "convert.scale_grid", "convert.target_steps"]
    );
    assert_eq!(with(&["convert.kappa=auto"]), ["convert.scale_grid"]);
    assert_eq!(with(&["convert.scale=auto"]), ["convert.kappa_grid"]);
    for aims in ["convert.method=mmse", "convert.calibrate=bias"] {
        assert!(told(&[target[0], aims]).is_empty(), "{aims}");
    }
    // The exact grid is made for runs that long.
    assert!(told(&["convert.target_steps=64"]).is_empty());
    let experiment = parse(MINIMAL, &of_search[..1]).unwrap().base;
    let notes: Vec<String> = experiment.keys_without_effect("convert").iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["convert.kappa_grid has no effect: only kappa = \"auto\" looks at it"]);
    assert!(!experiment.depends_on("convert.kappa_grid") && experiment.depends_on("convert.kappa"));
}

#[test]
fn a_key_makes_another_network_if_either_of_two_experiments_looks_at_it() {
    let of = |overrides: &[&str]| parse(MINIMAL, overrides).unwrap().base;
    let told = |asked: &[&str], made: &[&str]| {
        of(asked).keys_without_effect_on_either("convert", &of(made).to_toml()).contains(&"convert.target_steps")
    };
    assert!(told(&["convert.target_steps=4"], &[]));
    // The grid that was made for a longer run is another.
    assert!(!told(&[], &["convert.target_steps=64"]) && !told(&["convert.target_steps=64"], &[]));
    let unreadable = of(&[]).keys_without_effect_on_either("convert", "made = \"by hand\"");
    assert!(unreadable.is_empty(), "{unreadable:?}");
}

#[test]
fn keys_of_another_schedule_or_engine_are_told_in_their_section() {
    assert_eq!(in_vain("train", &["train.sgd.step_epochs=3"]), ["train.sgd.step_epochs"]);
    assert!(in_vain("train", &["train.sgd.step_epochs=3", "train.sgd.schedule=step"]).is_empty());
    assert_eq!(in_vain("simulate", &["simulate.batch_size=3"]), ["simulate.batch_size"]);
    assert!(in_vain("simulate", &["simulate.batch_size=3", "simulate.engine=dense"]).is_empty());
    assert!(in_vain("convert", &["simulate.batch_size=3"]).is_empty());
}

#[test]
fn every_key_that_is_given_reaches_the_typed_experiment() {
    use schema::Kind;
    // Every other key as its default has it, or so that this one matters.
    let context = |path: &str| match path {
        "data.normalize.mean" | "data.normalize.deviation" => {
            vec!["data.normalize.mean=[2]", "data.normalize.deviation=[2]"]
        }
        "train.patience" => vec!["data.validation_samples=9"],
        "train.sgd.step_epochs" | "train.sgd.step_factor" => vec!["train.sgd.schedule=step"],
        "convert.kappa_grid" => vec!["convert.kappa=auto"],
        "simulate.levels" | "simulate.rate_cap" => vec!["simulate.neuron=counting"],
        "train.activation" => vec!["train.levels=[4]"],
        _ => vec![],
    };
    for key in schema::KEYS {
        let value = match key.kind {
            Kind::Text | Kind::Slug => "other".to_owned(),
            // A power of two.
            _ if key.path == "simulate.levels" => "8".to_owned(),
            Kind::Bool => (key.default != Some("true")).to_string(),
            Kind::Integer(..) | Kind::IntegerOr(..) => "11".to_owned(),
            Kind::Float(..) | Kind::Above(..) => "0.25".to_owned(),
            Kind::AboveOr(..) => "0.75".to_owned(),
            Kind::Integers(..) => "[5]".to_owned(),
            Kind::Floats(..) | Kind::FloatsOr(..) | Kind::Reals(..) | Kind::Positives(..) => "[0.25]".to_owned(),
            Kind::Range(..) => "[-1, 0.5]".to_owned(),
            Kind::Choice(words) => {
                let default = key.default.filter(|text| !text.is_empty()).unwrap_or(words[0]).trim_matches('"');
                words.iter().find(|word| **word != default).unwrap().to_string()
            }
            Kind::Shape => "[3, 8, 8]".to_owned(),
            Kind::Layers => "[{ kind = \"flatten\" }, { kind = \"dense\", units = 3 }]".to_owned(),
        };
        let (given, mut overrides) = (format!("{}={value}", key.path), context(key.path));
        let typed = |overrides: &[&str]| {
            let mut problems = Vec::new();
            let experiment = experiment(&raw(MINIMAL, overrides), &mut problems);
            let experiment = experiment.unwrap_or_else(|| panic!("{overrides:?}: {problems:?}"));
            Experiment { resolved: Table::new(), ..experiment }
        };
        let before = typed(&overrides);
        overrides.push(&given);
        assert_ne!(typed(&overrides), before, "{given} is read into no field");
    }
}

#[test]
fn a_normalisation_has_a_mean_and_a_deviation_for_each_channel_or_one_for_all() {
    let of = |overrides: &[&str]| parse(MINIMAL, overrides).map(|file| file.base.data.normalize);
    let both = of(&["data.normalize.mean=[0.3]", "data.normalize.deviation=[0.35]"]).unwrap();
    assert_eq!(both, Some(Normalize { mean: vec![0.3], deviation: vec![0.35] }));
    assert_eq!(of(&[]).unwrap(), None);
    let refused = |overrides: &[&str]| of(overrides).unwrap_err().to_string();
    let lone = refused(&["data.normalize.mean=[0.3]"]);
    assert!(lone.contains("has no effect without a deviation; give data.normalize.deviation"), "{lone}");
    let lone = refused(&["data.normalize.deviation=[0.3]"]);
    assert!(lone.contains("has no effect without a mean; give data.normalize.mean, 0 for none"), "{lone}");
    let three = refused(&["data.normalize.mean=[1, 2, 3]", "data.normalize.deviation=[1]"]);
    assert!(three.contains("found 3 numbers for 1 channels; give one for each, or one for all"), "{three}");
    let zero = refused(&["data.normalize.mean=[1]", "data.normalize.deviation=[0]"]);
    assert!(zero.contains("a list of numbers above 0 and up to 1000000000"), "{zero}");
    let backwards = refused(&["data.range=[1, 1]"]);
    assert!(backwards.contains("two numbers [LOW, HIGH]") && backwards.contains("the first below"), "{backwards}");
}

#[test]
fn what_the_data_tell_is_resolved_and_is_no_other_configuration() {
    let open = parse(MINIMAL, &["data.dataset=custom"]).unwrap().base;
    let scaling = Scaling { scale: 16.0, range: [-1.0, 2.5] };
    let resolved = open.with_scaling(scaling, None);
    assert_eq!((resolved.data.scale, resolved.data.range), (Some(16.0), Some([-1.0, 2.5])));
    assert_eq!(Experiment::scaling_of_config(&resolved.to_toml()), Some(scaling));
    assert_eq!(parse(&resolved.to_toml(), &[]).unwrap().base, resolved);
    assert!(open.is_config(&resolved.to_toml()) && open.is_config(&open.to_toml()));
    assert!(!resolved.is_config(&open.to_toml()));
    let given = parse(MINIMAL, &["data.dataset=custom", "data.scale=17"]).unwrap().base;
    assert!(!given.is_config(&resolved.to_toml()));
    // What the name of a data set tells is not written down.
    assert_eq!(open.with_scaling(scaling, Some(scaling)), open);
    assert_eq!(Experiment::scaling_of_config(&open.to_toml()), None);
}

fn raw(text: &str, overrides: &[&str]) -> Table {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Raw::parse(text, Path::new("x.toml"), &overrides, |_| Ok(None)).unwrap().table
}

#[test]
fn the_keys_of_a_method_are_keys_that_matter_to_methods_or_to_some_alone() {
    for &method in Method::ALL {
        for path in method.facts().keys {
            let key = schema::find(path).unwrap_or_else(|| panic!("{method}: {path} is no key"));
            assert!(!matches!(key.matters, schema::Matters::Always), "{method}: {path}");
        }
        let convert = parse(MINIMAL, &[&format!("convert.method={method}")]).unwrap().base.convert;
        assert!(convert.label().starts_with(method.name()), "{method}: {}", convert.label());
    }
    for key in schema::KEYS.iter().filter(|key| matches!(key.matters, schema::Matters::ToMethods)) {
        assert!(Method::ALL.iter().any(|method| method.facts().keys.contains(&key.path)), "{}: no method's", key.path);
    }
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
    let overrides = ["convert.calibrate=potential", "convert.sum_bits=15", "convert.weight_bits=8"];
    let experiment = parse(MINIMAL, &overrides).unwrap().base;
    assert_eq!(experiment.convert.label(), "norm p=4 κ=0.4 + v(0), 15 bits, 8-bit weights");
}

#[test]
fn only_runs_with_reset_by_subtraction_are_taken_apart() {
    assert!(parse(MINIMAL, &["simulate.decompose=true"]).unwrap().base.simulate.decompose);
    let error = error(MINIMAL, &["simulate.decompose=true", "simulate.reset=zero"]);
    assert!(error.contains("[simulate] decompose: takes apart runs with reset by subtraction"), "{error}");
    let error = self::error(MINIMAL, &["simulate.decompose=true", "simulate.faults.dropped_spikes=0.1"]);
    assert!(error.contains("[simulate] decompose: takes apart networks without faults"), "{error}");
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
    assert!(with("{ kind = \"conv1d\" }").contains("the kernel [1, k] and the padding [0, p]"));
    assert!(
        with("{ kind = \"conv2d\", channels = 0 }").contains("[model.layers.0] kernel: conv2d: missing; give a whole")
    );
    let residual =
        "{ kind = \"residual\", body = [{ kind = \"conv2d\", channels = 3, kernel = \"a\" }, { kind = \"gelu\" }] }";
    assert!(with(residual).contains("[model.layers.0.body.0] kernel: conv2d: found \"a\"; give a whole number"));
    assert!(
        with(residual).contains("[model.layers.0.body] 1: unknown kind `gelu`; it is curved, and neurons stand for")
    );
    assert!(
        with("{ kind = \"residual\", body = 3 }").contains("[model.layers.0] body: found 3; give a list of layers")
    );
    let misplaced = with("{ kind = \"residual\", body = [{ kind = \"max-pool\", kernel = 2 }] }");
    assert!(
        misplaced.contains("[model.layers.0.body] 0: max-pool: stands before the first weighted layer"),
        "{misplaced}"
    );
    assert!(with("{ kind = \"add\", from = 3 }").contains("[model.layers] 0: from: found 3; give the name of a layer"));
    assert!(
        with("{ kind = \"relu\", name = \"3\" }")
            .contains("[model.layers] 0: name: found \"3\"; give a text of letters")
    );
    assert!(with("{ kind = \"clip\", low = 2, high = 1 }").contains("clip: found 1; give a number above low = 2"));
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
        LayerKind::Conv2d(Conv2d { bias, ..Conv2d::square(8, kernel, stride, padding) })
    };
    assert_eq!(kinds[0], conv(3, 2, 1, false));
    assert_eq!(kinds[1], LayerKind::BatchNorm { epsilon: 1e-3 });
    assert_eq!(kinds[3], LayerKind::MaxPool(Window::square(2, 2)));
    assert_eq!(kinds[4], LayerKind::Residual { body: vec![conv(1, 1, 0, true)], shortcut: Vec::new() });
    assert_eq!(kinds[6], LayerKind::AvgPool(Window::square(2, 1)));
}

/// [`MINIMAL`] without its `[model]`.
fn without_model() -> String {
    MINIMAL.split_once("[model]").unwrap().0.to_owned()
}

#[test]
fn a_model_from_elsewhere_becomes_part_of_the_configuration() {
    let body = vec![LayerKind::Conv2d(Conv2d { groups: 2, bias: false, ..Conv2d::square(4, 3, 1, 1) })];
    let section = ModelSection {
        input: [1, 8, 8],
        layers: [
            LayerKind::Conv2d(Conv2d::square(4, 3, 1, 1)),
            LayerKind::BatchNorm { epsilon: 1e-3 },
            LayerKind::Relu,
            LayerKind::Residual { body, shortcut: Vec::new() },
            LayerKind::Relu,
            LayerKind::MaxPool(Window::square(2, 1)),
            LayerKind::Dropout { rate: 0.25 },
            LayerKind::AvgPool(Window::square(2, 2)),
            LayerKind::GlobalAvgPool,
            LayerKind::Flatten,
            LayerKind::Dense { units: 10 },
        ]
        .map(Entry::from)
        .to_vec(),
    };
    let find = |outline: &Outline| {
        assert_eq!((outline.name.as_str(), outline.data.dataset, outline.input), ("tiny", DatasetName::Digits, None));
        Ok(Some(section.clone()))
    };
    let experiment = Experiment::parse_or_find(&without_model(), Path::new("x.toml"), &[], find).unwrap();
    assert_eq!(experiment.architecture.entries(), section.layers);
    assert_eq!(ModelSection::of_config(&experiment.to_toml()), Some(section));
}

#[test]
fn a_model_is_looked_for_elsewhere_only_where_the_file_has_none() {
    let find = |_: &Outline| panic!("the file has one");
    Experiment::parse_or_find(MINIMAL, Path::new("x.toml"), &[], find).unwrap();
    let parse = |found| Experiment::parse_or_find(&without_model(), Path::new("x.toml"), &[], |_| found);
    let error = parse(Err("net.onnx: no".to_owned())).unwrap_err().to_string();
    assert_eq!(error, "x.toml: model: net.onnx: no");
    let error = parse(Ok(None)).unwrap_err().to_string();
    assert!(error.contains("[model] layers: missing") && error.contains("convert --weights FILE.onnx"), "{error}");
    let bad = ModelSection { input: [1, 8, 8], layers: vec![LayerKind::MaxPool(Window::square(2, 2)).into()] };
    let error = parse(Ok(Some(bad))).unwrap_err().to_string();
    assert!(error.contains("[model.layers] 0: max-pool: stands before the first weighted layer"), "{error}");
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
        (&["simulate.seeds=[]"], "[simulate] seeds: found none"),
        (&["convert.method=std", "simulate.encoding=constant"], "has none"),
        (&["convert.method=max", "convert.kappa=auto"], "norm and std"),
        (&["convert.calibrate=bias", "convert.compensate=false"], "drop one of them"),
    ] {
        assert!(error(MINIMAL, overrides).contains(message), "{overrides:?}");
    }
}

#[test]
fn a_problem_of_an_overridden_key_names_the_override() {
    let message = error(MINIMAL, &["convert.kappa=0.3", "convert.kappa=-1", "train.epochs=2"]);
    assert!(message.ends_with("or \"auto\" (it is set by --set convert.kappa=-1)"), "{message}");
    let of_file = error(&MINIMAL.replace("digits", "nothing"), &["convert.kappa=0.3"]);
    assert!(!of_file.contains("--set"), "{of_file}");
}

#[test]
fn overriding_what_every_combination_sets_is_refused_and_the_sweep_itself_can_be_overridden() {
    let swept = format!("{MINIMAL}\n[sweep]\nseed = [1, 2]\nconvert = [{{ kappa = 0.3, p = 2 }}, {{ kappa = 0.2 }}]\n");
    for (key, remedy) in [("seed=9", "give --set 'sweep.seed=[…]'"), ("convert.kappa=1", "change it in sweep.convert")]
    {
        let message = error(&swept, &[key]);
        assert!(
            message.contains("no effect, for [sweep] sets it in every combination") && message.contains(remedy),
            "{message}"
        );
    }
    // One of the conversions leaves p open.
    let cells = parse(&swept, &["convert.p=3", "sweep.seed=[7]"]).unwrap().cells;
    let of = |cell: &Cell| (cell.experiment.seed, cell.experiment.convert.p);
    assert_eq!(cells.iter().map(of).collect::<Vec<_>>(), [(7, 2.0), (7, 3.0)]);
    assert!(error(&swept, &["sweep.sed=[1]"]).contains("--set sweep.sed: unknown key"));
}

#[test]
fn faults_are_off_by_default_and_within_their_ranges() {
    assert!(parse(MINIMAL, &[]).unwrap().base.simulate.faults.is_none());
    let faults = |text: &str| parse(MINIMAL, &[&format!("simulate.faults.{text}")]).unwrap().base.simulate.faults;
    assert_eq!(faults("weight_bits=4").weight_bits, Some(4));
    assert!(!faults("weight_bits=4").is_none() && !faults("weight_bits=4").is_random());
    assert!(faults("seed=3").is_none() && faults("weight_noise_of=weight").is_none());
    for text in ["weight_noise=0.1", "threshold_mismatch=0.1", "dropped_spikes=1"] {
        assert!(faults(text).is_random(), "{text}");
    }
    for (text, wanted) in [
        ("weight_bits=1", "use a whole number from 2 to 16, or \"off\""),
        ("weight_bits=4.0", "use a whole number from 2 to 16, or \"off\""),
        ("weight_noise=-0.1", "use a number from 0 to 1"),
        ("threshold_mismatch=0.5", "use a number from 0 to 0.3"),
        ("dropped_spikes=1.5", "use a number from 0 to 1"),
        ("weight_noise_of=layer", "use one of \"range\", \"weight\""),
    ] {
        let message = error(MINIMAL, &[&format!("simulate.faults.{text}")]);
        assert!(message.contains("[simulate.faults]") && message.contains(wanted), "{message}");
    }
    assert!(error(MINIMAL, &["simulate.faults.noise=1"]).contains("did you mean"));
}

#[test]
fn sweeps_over_faults_have_labels_that_say_what_is_wrong_after_the_conversion() {
    let labels = |sweep: &str| -> Vec<String> {
        let file = parse(&format!("{MINIMAL}\n[sweep]\n{sweep}\n"), &[]).unwrap();
        file.cells.into_iter().map(|cell| cell.run).collect()
    };
    assert_eq!(
        labels("simulate.faults.weight_noise = [0, 0.05]\nconvert.method = [\"max\"]"),
        ["max, no faults", "max, weight noise 0.05"]
    );
    assert_eq!(
        labels(
            "simulate.faults = [{}, { weight_bits = 4, weight_noise = 0.1, weight_noise_of = \"weight\" }, \
             { weight_bits = 4, weight_noise = 0.1, weight_range = \"channel\" }, \
             { threshold_mismatch = 0.2, dropped_spikes = 0.1, seed = 2 }]"
        ),
        [
            "norm p=4 κ=0.4, no faults",
            "norm p=4 κ=0.4, 4-bit weights + relative weight noise 0.1",
            "norm p=4 κ=0.4, 4-bit weights per channel + weight noise 0.1 per channel",
            "norm p=4 κ=0.4, threshold mismatch 0.2 + dropped spikes 0.1 (devices 2)"
        ]
    );
    assert_eq!(
        labels("simulate.faults.seed = [0, 1]\nsimulate.encoding = [\"poisson\"]"),
        ["norm p=4 κ=0.4, encoding poisson, no faults", "norm p=4 κ=0.4, encoding poisson, no faults (devices 1)"]
    );
}

#[test]
fn the_scale_may_be_searched_for_any_method_but_not_beside_kappa() {
    let convert = parse(MINIMAL, &["convert.method=mmse", "convert.scale=auto"]).unwrap().base.convert;
    assert_eq!((convert.scale, convert.label().as_str()), (Scale::Auto, "mmse ×auto"));
    assert_eq!(folder_name(&convert.label()), "mmse-xauto");
    assert_eq!(parse(MINIMAL, &["convert.scale=auto"]).unwrap().base.convert.label(), "norm p=4 κ=0.4 ×auto");
    assert_eq!(parse(MINIMAL, &["convert.scale=1"]).unwrap().base.convert.scale, Scale::Value(1.0));
    assert_eq!(parse(MINIMAL, &["convert.scale=0.5"]).unwrap().base.convert.label(), "norm p=4 κ=0.4 ×0.5");
    let both = error(MINIMAL, &["convert.scale=auto", "convert.kappa=auto"]);
    assert!(both.contains("[convert] scale: \"auto\" beside kappa = \"auto\""), "{both}");
    assert!(error(MINIMAL, &["convert.scale=best"]).contains("or \"auto\""));
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
    let out_of_range = with("seed = [1, 2, 3]\nconvert.kappa = [0.1, -2]");
    assert!(out_of_range.contains("in a combination of [sweep]: found -2"));
    assert_eq!(out_of_range.lines().count(), 1, "a problem of many combinations is told once: {out_of_range}");
    assert!(
        with("convert = [{ method = \"max\" }, { method = \"max\", initial_potential = 0.1 }]")
            .contains("both called `max`")
    );
    assert!(with("name = [\"a\", \"b\"]").contains("cannot be swept"));
    assert!(with("simulate.samples = [10, 20]").contains("run one experiment for each value"));
    assert!(with("data.dataset = [\"mnist\", \"digits\"]").contains("run one experiment for each value"));
    let labelled = with("simulate.faults = [{ label = \"x\", weight_bits = 4 }, {}]");
    assert!(labelled.contains("faults are called by what they are"), "{labelled}");
}

/// A sweep over two networks, two seeds and two conversions.
const NETWORKS: &str = r#"
[sweep]
model = [
  { layers = [{ kind = "flatten" }, { kind = "dense", units = 10 }] },
  { layers = [{ kind = "flatten" }, { kind = "dense", units = 32 }, { kind = "relu" }, { kind = "dense", units = 10 }] },
]
seed = [1, 2]
convert = [{ method = "max" }, { method = "norm", kappa = "auto" }]
"#;

#[test]
fn networks_of_a_sweep_are_called_by_their_architecture_or_a_label() {
    let file = parse(&format!("{MINIMAL}{NETWORKS}"), &[]).unwrap();
    let cell = &file.cells[7];
    assert_eq!((cell.network.as_str(), cell.run.as_str()), ("64-32-10, seed 2", "norm p=4 κ=auto"));
    assert_eq!((cell.variant.as_str(), cell.replicate.as_str()), ("64-32-10", "seed 2"));
    assert_eq!(
        (cell.method().as_str(), folder_name(&cell.network).as_str()),
        ("64-32-10: norm p=4 κ=auto", "64-32-10-seed-2")
    );
    assert_eq!(cell.levels, ["64-32-10", "2", "norm p=4 κ=auto"]);

    let named = NETWORKS.replacen("{ layers", "{ label = \"shallow\", layers", 1);
    let file = parse(&format!("{MINIMAL}{named}"), &[]).unwrap();
    assert_eq!(
        (file.cells[0].network.as_str(), file.cells[7].network.as_str()),
        ("shallow, seed 1", "64-32-10, seed 2")
    );

    // The list alone is called by its architecture, too.
    let layers = "[sweep]\nmodel.layers = [[{ kind = \"flatten\" }, { kind = \"dense\", units = 10 }]]\n";
    let file = parse(&format!("{MINIMAL}{layers}"), &[]).unwrap();
    assert_eq!((file.cells[0].network.as_str(), file.cells[0].variant.as_str()), ("64-10", ""));
}

#[test]
fn networks_that_look_alike_need_a_label() {
    // Dropout is no part of an architecture's short form.
    let [plain, with_dropout] = [
        r#"{ kind = "dense", units = 32 }, { kind = "relu" }, { kind = "dense", units = 10 }"#,
        r#"{ kind = "dropout", rate = 0.2 }, { kind = "dense", units = 10 }"#,
    ];
    let text = format!("{MINIMAL}{NETWORKS}").replace(plain, with_dropout);
    let alike = error(&text, &[]);
    assert!(
        alike.contains("[sweep] model: two combinations are both called `64-10, seed 1`; give them different `label`s"),
        "{alike}"
    );
    let named = text.replacen("{ layers", "{ label = 3, layers", 1);
    assert!(error(&named, &[]).contains("[sweep] model: label: found 3; give a text in quotes"));
}

#[test]
fn tables_of_a_sweep_are_called_by_their_keys_or_a_label() {
    let text = "[sweep]\ntrain = [{ epochs = 3, sgd = { momentum = 0.5 } }, { label = \"long\", epochs = 9 }]\nsimulate = [{ steps = 4, encoding = \"constant\" }, { steps = 8 }]\n";
    let file = parse(&format!("{MINIMAL}{text}"), &[]).unwrap();
    let names: Vec<_> = file.cells.iter().map(|cell| format!("{}/{}", cell.network, cell.run)).collect();
    assert_eq!(names[0], "epochs 3, momentum 0.5/steps 4, encoding constant");
    assert_eq!(names[3], "long/steps 8");
    assert_eq!(file.cells[3].experiment.train.epochs, 9);
}

#[test]
fn a_cell_has_the_value_of_every_swept_key_that_matters_to_it() {
    let file = parse(&format!("{MINIMAL}{NETWORKS}"), &[]).unwrap();
    assert_eq!(file.columns, ["model.layers", "seed", "convert.method", "convert.kappa"]);
    assert_eq!(file.cells[0].values, ["64-10", "1", "max", ""]);
    assert_eq!(file.cells[7].values, ["64-32-10", "2", "norm", "auto"]);
    let named = NETWORKS.replacen("{ layers", "{ label = \"shallow\", layers", 1);
    let file = parse(&format!("{MINIMAL}{named}"), &[]).unwrap();
    assert_eq!(file.columns[..2], ["model", "model.layers"]);
    assert_eq!(
        (&file.cells[0].values[..2], &file.cells[7].values[..2]),
        (&["shallow", "64-10"].map(str::to_owned)[..], &["64-32-10", "64-32-10"].map(str::to_owned)[..])
    );
}

#[test]
fn a_command_that_expands_no_sweep_looks_at_its_own_experiment_alone() {
    let text = format!("{MINIMAL}{NETWORKS}");
    let of = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Experiment::parse(&text, Path::new("x.toml"), &overrides)
    };
    // κ = auto would contradict `max` in one combination, and one label make two alike.
    for overrides in [&["convert.label=mine"][..], &["convert.calibrate=bias", "convert.compensate=true"]] {
        assert_eq!(of(overrides).unwrap(), parse(MINIMAL, overrides).unwrap().base);
    }
    assert!(error(&text, &["convert.label=mine"]).contains("both called `mine`"));
    // What is wrong with the experiment or the shape of its sweep is still said.
    assert!(of(&["train.epochs=0"]).unwrap_err().to_string().contains("[train] epochs: found 0"));
    assert!(Experiment::parse(&text.replace("seed = [1, 2]", "sed = [1, 2]"), Path::new("x.toml"), &[]).is_err());
}

#[test]
fn a_baseline_is_the_label_of_a_conversion() {
    let with = |baseline: &str| format!("{MINIMAL}{NETWORKS}[report]\nbaseline = \"{baseline}\"\n");
    let file = parse(&with("max"), &[]).unwrap();
    assert_eq!(file.base.report.baseline.as_deref(), Some("max"));
    let unknown = error(&with("norm p=4 κ=0.4"), &[]);
    assert!(unknown.contains("[report] baseline: found \"norm p=4 κ=0.4\", which no conversion is called; did you mean \"norm p=4 κ=auto\"?"), "{unknown}");
    assert!(error(&format!("{MINIMAL}\n[sweep]\nreport.baseline = [\"max\"]\n"), &[]).contains("cannot be swept"));
    // Without it the resolved configuration, which artefacts hold, is as it always was.
    assert!(!parse(MINIMAL, &[]).unwrap().base.to_toml().contains("report"));
}

#[test]
fn long_labels_have_short_folders_of_their_own() {
    let label = |last: char| format!("{}{last}", "norm p=4 κ=0.4, ".repeat(20));
    let (a, b) = (folder_name(&label('a')), folder_name(&label('b')));
    assert!(a.len() <= 96 && a != b && a.starts_with("norm-p-4-k-0.4-norm"), "{a} {b}");
    assert_eq!(folder_name(&label('a')), a);
}

#[test]
fn a_network_that_does_not_fit_its_data_says_what_would() {
    let experiment = parse(MINIMAL, &[]).unwrap().base;
    assert_eq!(experiment.check_fits([1, 8, 8], 10), Ok(()));
    assert!(experiment.check_fits([1, 28, 28], 10).unwrap_err().contains("use input = [1, 28, 28]"));
    assert!(experiment.check_fits([1, 8, 8], 26).unwrap_err().contains("use units = 26"));
}

#[test]
fn the_remedy_for_a_convolution_over_one_dimension_is_accepted_and_has_its_shape() {
    let layers = r#"{ kind = "conv2d", channels = 4, kernel = 5, padding = 2, stride = 2 }, { kind = "relu" }, { kind = "flatten" }"#;
    let text = MINIMAL.replace("[1, 8, 8]", "[1, 1, 64]").replace("{ kind = \"flatten\" }", layers);
    let experiment = parse(&text, &[]).unwrap().base;
    assert_eq!(experiment.architecture.layers()[0].output, [4, 1, 32]);
}

#[test]
fn levels_that_are_no_power_of_two_and_what_other_neurons_do_not_look_at_are_told() {
    let problems = |overrides: &[&str]| {
        let mut problems = Vec::new();
        experiment(&raw(MINIMAL, overrides), &mut problems);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let counting = "simulate.neuron=counting";
    assert_eq!(problems(&[counting, "simulate.levels=4"]), Vec::<String>::new());
    let [problem] = &problems(&[counting, "simulate.levels=6"])[..] else { panic!("one problem") };
    assert!(problem.contains("[simulate] levels") && problem.contains("use a power of two, 4 or 8"), "{problem}");
    let [problem] = &problems(&[counting, "simulate.decompose=true"])[..] else { panic!("one problem") };
    assert!(problem.contains("[simulate] decompose") && problem.contains("set decompose = false"), "{problem}");
    let in_vain = |overrides: &[&str]| {
        let experiment = experiment(&raw(MINIMAL, overrides), &mut Vec::new()).unwrap();
        experiment.keys_without_effect("simulate").into_iter().map(|key| key.path).collect::<Vec<_>>()
    };
    assert_eq!(in_vain(&["simulate.levels=4", "simulate.rate_cap=run"]), ["simulate.levels", "simulate.rate_cap"]);
    assert_eq!(in_vain(&["simulate.reset=zero", counting]), ["simulate.reset"]);
}

#[test]
fn a_network_that_is_to_be_quantised_needs_levels_epochs_for_them_and_activations_that_can_be() {
    let with = |keys: &[&str]| parse(MINIMAL, keys).map(|file| file.base.train).map_err(|error| error.to_string());
    let qcfs = "train.activation=qcfs";
    let train = with(&[qcfs, "train.levels=[8, 4]", "train.epochs=2"]).unwrap();
    assert_eq!(
        (train.levels_in(1), train.final_levels(), train.thresholds),
        (Some(8), Some(4), TrainedThresholds::Channel)
    );
    assert!(with(&[qcfs]).unwrap_err().contains("[train] levels: missing, and activation = \"qcfs\" needs it"));
    let error = with(&[qcfs, "train.levels=[8, 4]", "train.epochs=1"]).unwrap_err();
    assert!(error.contains("found 2 stages for train.epochs = 1; raise epochs to at least 2"), "{error}");
    let leaky =
        "model.layers=[{kind=\"flatten\"}, {kind=\"dense\", units=4}, {kind=\"abs\"}, {kind=\"dense\", units=10}]";
    let error = with(&[qcfs, "train.levels=[4]", leaky]).unwrap_err();
    assert!(
        error.contains("[train] activation: \"qcfs\": layer `2` (abs): has no quantised form; use `relu`"),
        "{error}"
    );
}

#[test]
fn levels_of_a_network_that_is_not_quantised_have_no_effect_and_leave_no_trace_by_default() {
    let base = parse(MINIMAL, &["train.levels=[4]"]).unwrap().base;
    let without: Vec<String> = base.keys_without_effect("train").iter().map(ToString::to_string).collect();
    assert_eq!(without, ["train.levels has no effect: only activation = \"qcfs\" looks at it"]);
    let base = parse(MINIMAL, &[]).unwrap().base;
    let keys = ["activation", "levels", "thresholds", "from", "sgd.threshold_learning_rate"];
    assert!(keys.iter().all(|key| schema::lookup(base.resolved(), &format!("train.{key}")).is_none()));
}
