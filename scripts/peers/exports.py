"""Holds what Quartic exports against what reads it: the reference package `nir`, SpikingJelly and Norse, and NumPy.

    python exports.py nir RUN        RUN/snn.nir in the simulators, on the input spikes of RUN/recording
    python exports.py plain RUN      RUN/snn-plain.json with NumPy alone, on the pixels of RUN/recording
    python exports.py sinabs RUN     as `nir`, in sinabs, which is held to `nir` 1.0.4: to be found before the newer one
    python exports.py inspect RUN    what `inspect --json` says of RUN/snn.nir and of the same graph as `nir` writes it, on standard input
    python exports.py fixture RUN FILE      as `nir`, and writes the spike counts that the simulators gave to FILE

How the simulators deviate from NIR, and what is done about it:

- SpikingJelly spikes at `v >= v_threshold` where NIR says `>`: the same for a threshold just below 1 and potentials on the grid. It wants
  `r = 1 / dt`, one threshold for all neurons of a layer and convolutions without groups, all of which the graphs have. Reset by subtraction
  and initial potentials, which NIR has no word for, are set by hand from the metadata.
- Norse spikes at `>`, but has no IF neuron that is reset by subtraction, so it is asked for reset to zero alone. It does not add one to the
  dimensions of `Flatten` for the batch: samples go in one by one. Its importer does not run a graph with a skip connection to its end.
- sinabs reads `nir` until 1.0.4, whose IF neurons are reset by subtraction: graphs for reset to zero are refused by that package. Its
  importer sets a lower limit of potentials at minus the threshold, lets a neuron spike several times a step and starts at zero; these
  three are set right by hand. It spikes at `v >= v_threshold`, and does not run a graph with a skip connection to its end.
- SpikingJelly and Norse pool by `LPPool2d`: the mean times the window's area, exact for windows of 2 × 2 and 4 × 4.

RUN is a run's folder after `convert --export nir,plain` and `simulate --record N`. Prints a row per simulator; fails if any spike of any
neuron at any step differs from Quartic's.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from plain import Plain, encode


class Recording:
    """What Quartic did, from `simulate --record`."""

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "recording.json").read_text())
        self.pixels, self.readout = np.load(folder / "pixels.npy"), np.load(folder / "readout.npy")
        sources = self.about["sources"]
        self.spikes = {source["source"]: np.load(folder / source["spikes"]) for source in sources}
        rates = {source["source"]: np.load(folder / source["rates"]) for source in sources}
        n, steps = self.about["samples"], self.about["steps"]
        for source in sources:
            spikes = self.spikes[source["source"]]
            assert spikes.dtype == bool and spikes.shape == (n, steps, np.prod(source["shape"]))
            # A count of at most T over T: one division, rounded alike by everyone.
            counts = spikes.sum(1).astype(np.float32)
            assert np.array_equal(rates[source["source"]], counts / np.float32(steps)), "rates are those of the spikes"
        self.shapes = {source["source"]: source["shape"] for source in sources}


def spiking_jelly(path: Path, recording: Recording) -> tuple[list[np.ndarray], np.ndarray]:
    """Spikes `[N, T, neurons]` of each layer of neurons and the sum of the output over time `[N, T, classes]`, all samples at once."""
    import nir
    import torch
    from spikingjelly.activation_based import nir_exchange, neuron

    graph = nir.read(path)
    model = nir_exchange.import_from_nir(graph, dt=1.0)
    n = recording.about["samples"]
    names = sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.IF))
    trains: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for name in names:
        node, module = graph.nodes[name], getattr(model, name)
        assert isinstance(module.module, neuron.IFNode)
        if recording.about["reset"] == "subtract":
            module.module.v_reset = None  # What NIR cannot say, and SpikingJelly says so.
        shape = node.v_threshold.shape
        module.module.v = torch.tensor(np.broadcast_to(node.metadata.get("initial_potential", np.zeros(shape)), (n, *shape)).astype(np.float32))
        module.register_forward_hook(lambda _m, _i, out, name=name: trains[name].append(out[0].reshape(n, -1).numpy() > 0))
    inputs = torch.tensor(recording.spikes[0]).float().unflatten(2, recording.shapes[0]).transpose(0, 1)
    state, outputs = None, []
    with torch.no_grad():
        for x in inputs:
            out, state = model(x.reshape(n, *graph.nodes["input"].input_type["input"]), state)
            outputs.append(out.reshape(n, -1).numpy())
    return [np.stack(trains[name], 1) for name in names], np.cumsum(np.stack(outputs, 1), 1)


def sinabs(path: Path, recording: Recording) -> tuple[list[np.ndarray], np.ndarray]:
    """The same of sinabs, all samples and steps at once."""
    import nir
    import sinabs.layers
    import torch
    from sinabs.activation import SingleSpike
    from sinabs.nir import from_nir

    graph = nir.read(path)
    n, steps = recording.about["samples"], recording.about["steps"]
    model = from_nir(graph, batch_size=n)
    names = sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.IF))
    trains: dict[str, np.ndarray] = {}
    for name in names:
        node, module = graph.nodes[name], getattr(model, name)
        assert isinstance(module, sinabs.layers.IAFSqueeze)
        module.min_v_mem, module.spike_fn = None, SingleSpike
        shape = node.v_threshold.shape
        module.v_mem = torch.tensor(np.broadcast_to(node.metadata.get("initial_potential", np.zeros(shape)), (n, *shape)).astype(np.float32))
        module.register_forward_hook(lambda _m, _i, out, name=name: trains.update({name: out.reshape(n, steps, -1).numpy() > 0}))
    with torch.no_grad():
        outputs, _ = model(torch.tensor(recording.spikes[0]).float().reshape(n * steps, *graph.nodes["input"].input_type["input"]))
    return [trains[name] for name in names], np.cumsum(outputs.reshape(n, steps, -1).numpy(), 1)


def norse(path: Path, recording: Recording) -> tuple[list[np.ndarray], np.ndarray]:
    """The same of Norse, sample by sample: its `Flatten` would take the batch along."""
    import nir
    import norse.torch
    import torch

    graph = nir.read(path)
    model = norse.torch.from_nir(graph, dt=1.0)
    names = sorted(name for name, node in graph.nodes.items() if isinstance(node, nir.IF))
    trains: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for name in names:
        getattr(model, name).register_forward_hook(lambda _m, _i, out, name=name: trains[name].append(out[0].reshape(-1).numpy() > 0))
    steps, outputs = recording.about["steps"], []
    with torch.no_grad():
        for sample in torch.tensor(recording.spikes[0]).float():
            state = None
            for x in sample:
                out, state = model(x.reshape(tuple(graph.nodes["input"].input_type["input"])), state)
                outputs.append(out.reshape(-1).numpy())
    by_sample = [np.stack(trains[name]).reshape(-1, steps, trains[name][0].size) for name in names]
    return by_sample, np.cumsum(np.stack(outputs).reshape(len(by_sample[0]), steps, -1), 1)


def differences(recording: Recording, spikes: list[np.ndarray], potentials: np.ndarray) -> tuple[int, int]:
    """Number of spikes that one has and the other has not, and of readouts that differ."""
    layers = [recording.spikes[source] for source in sorted(recording.spikes) if source > 0]
    assert len(layers) == len(spikes) and all(ours.shape == theirs.shape for ours, theirs in zip(layers, spikes))
    of_spikes = sum(int((ours != theirs).sum()) for ours, theirs in zip(layers, spikes))
    return of_spikes, int((potentials.astype(np.float32) != recording.readout).sum())


def report(run: Path, what: str, recording: Recording, spikes: list[np.ndarray], potentials: np.ndarray) -> bool:
    of_spikes, of_readouts = differences(recording, spikes, potentials)
    n = sum(int(train.sum()) for train in spikes)
    print(f"| {run.name} | {what} | {n:,} | {of_spikes:,} | {of_readouts:,} of {potentials.size:,} |")
    return of_spikes == of_readouts == 0


def structure(path: Path) -> dict:
    """What the HDF5 library finds in a graph: shapes of the nodes' datasets by name, the types, the edges, the file's checksum."""
    import h5py

    with h5py.File(path) as file:
        nodes = {name: {key: list(item.shape) for key, item in node.items() if isinstance(item, h5py.Dataset)} for name, node in file["node/nodes"].items()}
        types = {name: node["type"][()].decode() for name, node in file["node/nodes"].items()}
        edges = [[end.decode() for end in edge] for edge in file["node/edges"][()]]
        creator = file["node/metadata/creator"][()].decode()
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "creator": creator, "types": types, "shapes": nodes, "edges": edges}


def check_sinabs(run: Path) -> bool:
    import nir

    path, recording = run / "snn.nir", Recording(run / "recording")
    start = nir.read(path).metadata.get("output_initial_potential", np.float32(0))
    spikes, potentials = sinabs(path, recording)
    return report(run, f"sinabs {version('sinabs')}", recording, spikes, potentials + start)


def check_nir(run: Path, fixture: Path | None) -> bool:
    import nir

    path, recording = run / "snn.nir", Recording(run / "recording")
    graph = nir.read(path)  # With type checks.
    assert nir.serialization.read_version(path) == version("nir"), "the version that the graph says"
    rewritten = run / "rewritten.nir"
    nir.write(rewritten, graph)
    again = nir.read(rewritten)
    assert graph.nodes.keys() == again.nodes.keys() and sorted(graph.edges) == sorted(again.edges)
    start = graph.metadata.get("output_initial_potential", np.float32(0))
    counts: dict[str, list[np.ndarray]] = {}
    simulators: dict[str, Callable] = {f"SpikingJelly {version('spikingjelly')}": spiking_jelly}
    plain_chain = all(sum(target == name for _, target in graph.edges) <= 1 for name in graph.nodes)
    if recording.about["reset"] == "zero" and plain_chain:
        simulators[f"Norse {version('norse')}"] = norse
    same = True
    for name, simulate in simulators.items():
        spikes, potentials = simulate(path, recording)
        same &= report(run, name, recording, spikes, potentials + start)
        counts[name] = [train.sum(1) for train in spikes]
    if fixture is not None:
        about = {key: recording.about[key] for key in ("steps", "seed", "encoding", "reset", "readout")}
        first, *others = counts.values()
        assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other))
        whole = {
            "made_by": "scripts/verify-nir fixtures",
            "simulators": [*counts, f"nir {version('nir')}", f"torch {version('torch').split('+')[0]}"],
            **about,
            "pixels": [[float(pixel) for pixel in image.ravel()] for image in recording.pixels],
            "input_spikes": [["".join(map(str, step)) for step in sample.astype(int)] for sample in recording.spikes[0]],
            "counts": [layer.tolist() for layer in first],
            "graph": structure(path),
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in whole.items()]
        fixture.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return same


def check_inspect(run: Path) -> bool:
    ours, theirs = (json.loads(line) for line in sys.stdin)
    assert Path(theirs["file"]).name == "rewritten.nir" and len(ours["nodes"]) == ours["nodes_in_all"] > 0
    for graph in (ours, theirs):
        for node in graph["nodes"]:
            # Edges have no order.
            node["from"] = sorted(node["from"].split(", "))
    parts = ("nir_version", "nodes_in_all", "edges_in_all", "creator", "source_sha256", "nodes")
    different = [part for part in parts if ours.get(part) != theirs.get(part)]
    if different:
        print(f"{run.name}: inspect tells {', '.join(different)} of {theirs['file']} otherwise than of {ours['file']}", file=sys.stderr)
    return not different


def check_plain(run: Path) -> bool:
    network, recording = Plain(run / "snn-plain.json"), Recording(run / "recording")
    encoding, steps = network.net["input"]["encoding"], network.net["steps"]
    spikes: list[list[np.ndarray]] = []
    readouts = []
    for sample, pixels in enumerate(recording.pixels):
        if encoding in ("regular", "constant"):
            inputs = encode(pixels, encoding, steps)
        else:
            inputs = recording.spikes[0][sample].reshape(steps, *pixels.shape)
        trains, readout = network.run(inputs)
        spikes.append([train.reshape(steps, -1) for train, layer in zip(trains, network.net["layers"]) if layer["fires"]])
        readouts.append(readout)
    by_layer = [np.stack(trains) for trains in zip(*spikes)]
    return report(run, f"NumPy {np.__version__}, {encoding} input", recording, by_layer, np.stack(readouts))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["nir", "sinabs", "plain", "inspect", "fixture"])
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path, nargs="?")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    checks = {"plain": check_plain, "sinabs": check_sinabs, "inspect": check_inspect}
    same = checks[args.what](args.run) if args.what in checks else check_nir(args.run, args.file)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
