"""Graphs that the reference package `nir` wrote, with what h5py reads in them: fixtures of the export and inspect crates' tests.

usage: python scripts/peers/make_nir_fixture.py [FOLDER]      default: crates/export/tests/fixtures

`nir.nir` is compressed by gzip, as `nir.write` does by itself, `nir-plain.nir` is not. `nir.json` holds every dataset of the first
with shape, type, number of chunks and values, of long ones every 197th. Made with Python 3.11, nir 1.0.8, h5py 3.16.0 (HDF5 2.0.0),
numpy 2.4.6.
"""

import json
import sys
from pathlib import Path

import h5py
import nir
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EVERY = 197
"""Distance of the values of long datasets that are written down."""
LONG = 40


def graph() -> nir.NIRGraph:
    """More nodes than a table of names holds, weights in several chunks with padding, every type of value that there is."""
    # Few different values, so that the file is small; 16 384 bytes and more are cut into chunks.
    weight = (np.arange(130 * 301) % 7 - 3).astype(np.float32).reshape(130, 301) / 8
    kernel = np.linspace(-1, 1, 3 * 1 * 2 * 2, dtype=np.float32).reshape(3, 1, 2, 2)
    nodes = {
        "input": nir.Input(np.array([1, 8, 8])),
        "conv": nir.Conv2d((8, 8), kernel, (2, 2), "valid", 1, 1, np.array([0.5, -0.25, 1e-30], np.float32)),
        "if": nir.IF(np.ones((3, 4, 4)), np.full((3, 4, 4), 1.5), np.zeros((3, 4, 4))),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flatten": nir.Flatten({"input": np.array([3, 2, 2])}, 0),
        "affine": nir.Affine(weight[:, :12], np.linspace(0, 1, 130), metadata={"trained": True, "loss": 0.125, "note": "größer"}),
        "lif": nir.LIF(np.full(130, 0.02), np.ones(130), np.zeros(130), np.ones(130, np.float32) / 3),
        "linear": nir.Linear(np.ascontiguousarray(weight.T)),
        "scale": nir.Scale(np.full(301, 0.1)),
        "output": nir.Output(np.array([301])),
    }
    names = list(nodes)
    edges = [*zip(names, names[1:]), ("scale", "scale")]
    return nir.NIRGraph(nodes, edges, metadata={"by": "make_nir_fixture.py", "seeds": np.array([1, 2, 3], np.int16)}, type_check=False)


def plain(value):
    """As JSON has it; truth values are numbers."""
    value = value.decode() if isinstance(value, bytes) else value
    return int(value) if isinstance(value, (bool, np.bool_)) else value


def datasets(file: h5py.File) -> dict[str, dict]:
    found = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            values = [plain(value) for value in np.atleast_1d(item[()]).ravel().tolist()]
            n_chunks = int(np.prod([-(-n // size) for n, size in zip(item.shape, item.chunks)])) if item.chunks else 0
            every = EVERY if len(values) > LONG else 1
            found[name] = {"shape": item.shape, "dtype": item.dtype.str, "chunks": n_chunks, "every": every, "values": values[::every]}

    file.visititems(visit)
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/export/tests/fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    nir.write(folder / "nir.nir", graph())
    nir.write(folder / "nir-plain.nir", nir.NIRGraph(dict(list(graph().nodes.items())[:3]), [], type_check=False), compression=None)
    with h5py.File(folder / "nir.nir") as file:
        found = datasets(file)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(dataset, ensure_ascii=False)}" for name, dataset in found.items())
    made = {"made_by": "scripts/peers/make_nir_fixture.py", "nir": nir.version, "h5py": h5py.version.version, "hdf5": h5py.version.hdf5_version}
    heads = "".join(f'"{key}": {json.dumps(value)},\n' for key, value in made.items())
    (folder / "nir.json").write_text("{\n" + heads + '"datasets": {\n' + lines + "\n}}\n")


if __name__ == "__main__":
    main()
