//! Every kind of file is told by its contents, and bad ones by name with what to do.

use std::fs;
use std::path::{Path, PathBuf};

use export::nir::{Deviation, Graph};
use export::{Provenance, hdf5, plain};
use model::artefact;
use model::config::{Encoding, NeuronConfig, Readout, Reset};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use snn::RunSettings;
use tempfile::TempDir;

/// A residual network with average pools and groups, converted by the norm with p = 4 and κ = 0.8.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/tests/fixtures/residual-subtract.safetensors")
}

fn json_of(path: &Path) -> Value {
    inspect::inspect(path).unwrap().json()
}

/// The fixture exported to a folder: the graph's path and the description's.
fn exported() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let snn = snn::artefact::read::<Value, Value>(&fixture()).unwrap();
    let run = RunSettings {
        encoding: Encoding::Poisson,
        neuron: NeuronConfig::default(),
        reset: Reset::Subtract,
        readout: Readout::Potential,
        n_steps: 12,
        seed: 0,
    };
    let provenance = Provenance { quartic_version: "0.1.0".to_owned(), parent: snn.checksum };
    let graph = folder.path().join("snn.nir");
    Graph::new(&snn.network, &run, &Deviation::ALL, &provenance).unwrap().write(&graph).unwrap();
    let description = plain::write(folder.path(), &snn.network, &run, &provenance).unwrap();
    (folder, graph, description)
}

#[test]
fn a_converted_network_is_told_with_its_layers_and_where_it_is_from() {
    let found = json_of(&fixture());
    assert_eq!(found["kind"], "spiking network");
    assert_eq!(found["architecture"], "1×8×8-8c3-ap2-[8c3g2-8c3]-gap-10");
    assert_eq!((&found["method"], &found["p"], &found["kappa"]), (&json!("norm"), &json!(4.0), &json!(0.8)));
    assert_eq!(found["sha256"], json!(artefact::file_checksum(&fixture())));
    let snn = snn::artefact::read::<Value, Value>(&fixture()).unwrap();
    assert_eq!(found["parent_sha256"], json!(snn.metadata.parent));
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    for (row, layer) in layers.iter().zip(snn.network.layers()) {
        let largest = layer.thresholds().iter().copied().fold(0.0, f32::max);
        assert_eq!((&row["layer"], &row["shape"]), (&json!(layer.name()), &json!(layer.shape())));
        assert_eq!(row["lambda"]["max"], json!(f64::from(largest)));
    }
    let skip = &found["connections"][3];
    assert_eq!((&skip["from"], &skip["to"]), (&json!("conv 1"), &json!("residual 3")));
    assert_eq!((&skip["pools"], &skip["weights"]), (&json!("mean 2×2 / 2×2"), &json!(8)));
}

#[test]
fn the_text_has_the_same_for_people() {
    let text = inspect::inspect(&fixture()).unwrap().text();
    for part in [
        "residual-subtract.safetensors: spiking network\n",
        "architecture     1×8×8-8c3-ap2",
        "residual 3   8×4×4",
        "fully connected",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[test]
fn an_exported_graph_and_plain_tensors_name_the_network_that_they_are_of() {
    let (_folder, graph, description) = exported();
    let parent = json!(artefact::file_checksum(&fixture()));
    let found = json_of(&graph);
    assert_eq!((&found["kind"], &found["source_sha256"]), (&json!("NIR graph"), &parent));
    assert_eq!((&found["nodes_in_all"], &found["edges_in_all"]), (&json!(14), &json!(14)));
    let sum = found["nodes"].as_array().unwrap().iter().find(|node| node["node"] == "layer_3_3_if").unwrap();
    assert_eq!((&sum["type"], &sum["from"]), (&json!("IF"), &json!("layer_3_0_conv2d, layer_3_2_conv2d")));
    let found = json_of(&description);
    assert_eq!((&found["kind"], &found["parent_sha256"]), (&json!("description of plain tensors"), &parent));
    assert_eq!(found["layers"][3]["fires"], json!(false));
    let tensors = json_of(&description.with_file_name(plain::TENSORS_FILE_NAME));
    assert_eq!((&tensors["described_in"], &tensors["tensors_in_all"]), (&json!(plain::FILE_NAME), &json!(21)));
}

#[test]
fn a_graph_that_the_reference_package_wrote_is_told_as_ours_are() {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/tests/fixtures").join(name);
    let found = json_of(&fixture("nir.nir"));
    assert_eq!((&found["kind"], &found["nir_version"]), (&json!("NIR graph"), &json!("1.0.8")));
    assert_eq!((&found["by"], &found["seeds"]), (&json!("make_nir_fixture.py"), &json!([1, 2, 3])));
    assert_eq!((&found["nodes_in_all"], &found["edges_in_all"]), (&json!(10), &json!(10)));
    let row = |name: &str| found["nodes"].as_array().unwrap().iter().find(|row| row["node"] == name).unwrap().clone();
    // Weights in chunks, thresholds of 64 bits, a recurrent edge; as the script that made it says.
    let (linear, neurons, scale) = (row("linear"), row("if"), row("scale"));
    assert_eq!((&linear["type"], &linear["shape"]), (&json!("Linear"), &json!([301, 130])));
    assert_eq!(linear["weights_or_threshold"], json!({"min": -0.375, "max": 0.375}));
    assert_eq!((&neurons["shape"], &neurons["from"]), (&json!([3, 4, 4]), &json!("conv")));
    assert_eq!(neurons["weights_or_threshold"], json!({"min": 1.5, "max": 1.5}));
    assert_eq!((&scale["from"], &scale["weights_or_threshold"]["max"]), (&json!("linear, scale"), &json!(0.1)));
    assert_eq!((&row("output")["shape"], &row("pool")["shape"]), (&json!([301]), &json!([2, 2])));
    assert_eq!(json_of(&fixture("nir-plain.nir"))["nodes_in_all"], json!(3));
}

#[test]
fn a_description_of_other_tensors_is_refused() {
    let (folder, _, description) = exported();
    artefact::write(&folder.path().join(plain::TENSORS_FILE_NAME), &[].into(), &json!({})).unwrap();
    let error = inspect::inspect(&description).unwrap_err().to_string();
    assert!(error.contains("it describes other tensors") && error.contains("--export plain"), "{error}");
}

#[test]
fn other_peoples_tensors_are_listed_with_types_shapes_and_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let floats: Vec<u8> = [1.5_f32, -2.0, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
    let halves: Vec<u8> = [0x3c00_u16, 0xc000].iter().flat_map(|word| word.to_le_bytes()).collect();
    let nan = f32::NAN.to_le_bytes();
    let views = [
        ("10.weight", TensorView::new(Dtype::F32, vec![3], &floats).unwrap()),
        ("2.weight", TensorView::new(Dtype::F16, vec![2, 1], &halves).unwrap()),
        ("broken", TensorView::new(Dtype::F32, vec![1], &nan).unwrap()),
        ("empty", TensorView::new(Dtype::I64, vec![0], &[]).unwrap()),
    ];
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    let found = json_of(&path);
    assert_eq!(
        (&found["kind"], &found["format"], &found["values_in_all"]),
        (&json!("tensors"), &json!("pt"), &json!(6))
    );
    let rows: Vec<(&Value, &Value, &Value, &Value)> = found["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["tensor"], &row["type"], &row["shape"], &row["values"]))
        .collect();
    assert_eq!(rows[0], (&json!("2.weight"), &json!("F16"), &json!([2, 1]), &json!({"min": -2.0, "max": 1.0})));
    assert_eq!(rows[1], (&json!("10.weight"), &json!("F32"), &json!([3]), &json!({"min": -2.0, "max": 1.5})));
    assert_eq!(rows[2].3, &json!({"min": "NaN", "max": "NaN"}));
    assert_eq!(rows[3].3, &Value::Null);
}

#[test]
fn bad_files_are_refused_by_name_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture()).unwrap();
    let mut old_hdf5 = b"\x89HDF\r\n\x1a\n".to_vec();
    old_hdf5.extend([0; 100]);
    let cases: [(&str, &[u8], &str); 9] = [
        ("cut.safetensors", &whole[..whole.len() - 1], "not a whole safetensors file"),
        ("page.html", b"<!doctype html><p>no tensors here", "name a file of Quartic's"),
        ("empty", b"", "an empty file; name a file"),
        (
            "net.pt",
            b"PK\x03\x04 and so on",
            "a PyTorch checkpoint or another archive, of which nothing is shown; `convert",
        ),
        ("net.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch checkpoint"),
        (
            "net.onnx",
            b"\x08\x07\x12\x07pytorch",
            "an ONNX file, of which nothing is shown; `convert CONFIG --weights FILE`",
        ),
        ("half.json", b"{\"run\": ", "neither whole JSON"),
        ("other.json", b"{\"x\": 1}", "JSON of a kind that is not known here"),
        ("other.nir", &old_hdf5, "addresses or lengths that are not of 8 bytes; write it as `nir.write(FILE, graph)`"),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = inspect::inspect(&path).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected), "{name}: {error}");
    }
    // `nir.write` takes single nodes too.
    let path = folder.path().join("single.nir");
    let node = hdf5::Item::group([("type", hdf5::Item::text("LIF"))]);
    fs::write(&path, hdf5::bytes(&[("node".to_owned(), node)].into())).unwrap();
    let error = inspect::inspect(&path).unwrap_err().to_string();
    assert!(error.contains("holds no NIR graph: a single node of type `LIF`; name a NIR graph"), "{error}");
    let error = inspect::inspect(&folder.path().join("missing")).unwrap_err().to_string();
    assert!(error.contains("missing: ") && error.ends_with("; name a file that can be read"), "{error}");
    let error = inspect::inspect(folder.path()).unwrap_err().to_string();
    assert!(error.contains(": a folder where a file is needed; name a file"), "{error}");
    // A header of 640 bytes begins like a pickle, and is none.
    let path = folder.path().join("long.safetensors");
    let metadata = [("note".to_owned(), "x".repeat(554))].into();
    let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    fs::write(&path, safetensors::serialize([("a", view)], Some(metadata)).unwrap()).unwrap();
    assert_eq!(fs::read(&path).unwrap()[..2], [0x80, 2]);
    assert_eq!(json_of(&path)["tensors_in_all"], json!(1));
}
