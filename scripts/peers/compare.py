"""Times Quartic and the spiking simulators of PyTorch side by side, on one thread; scripts/compare-peers runs it.

- `simulators`: all of them on the very network that Quartic converted, with the same number of steps and the same kind of input
- `converters`: the network that SpikingJelly converts from the same trained one, and Quartic's, each at the first number of steps
  at which its accuracy is within half a point of the trained network's, on a constant input
- `check`: whether each simulator computes what the definition says, potential by potential

A Markdown table goes to stdout, progress to stderr.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
import torch._dynamo.config
from torch import Tensor

import converters
from contestants import BareProducts, Contestant, Converted, Setting, Simulated
from network import Network, Unusable, read_ann, read_images, read_network
from simulators import ORDERS, SIMULATORS, Source, constant, given_spikes, poisson, reference, steady

ENCODINGS = {"poisson": poisson, "constant": constant}
QUARTIC = "cargo bench --quiet --workspace --bench throughput --"
CALIBRATION_SECONDS = 1.0
"""Time for each setting that is tried."""
FINALISTS = 4
"""Settings that are tried again."""
TOLERANCE = 1e-3
"""Of potentials, in thresholds: far below what one spike more or less does, above what the order of a sum does."""
NEAR = 0.005
"""Loss of accuracy at which a converted network counts as good as the trained one."""


@dataclass
class Row:
    """A contestant that is ready, and what was measured of it."""

    name: str
    measure: Callable[[], float] | None
    """Images per second; `None` if there is nothing to measure."""
    setting: str = ""
    accuracy: float | None = None
    rates: list[float] = field(default_factory=list)
    failed: bool = False

    def attempt(self, turn: str) -> None:
        """Measures once, unless it has failed before."""
        if self.failed or self.measure is None:
            return
        try:
            self.rates.append(self.measure())
            progress(f"{self.name}, {turn}: {self.rates[-1]:.1f} images/s")
        except Exception as error:  # noqa: BLE001 - one that fails is reported, the others go on
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Takes it out, with the reason on stderr."""
        progress(f"{self.name} failed: {type(error).__name__}: {error}")
        self.failed = True


@dataclass
class Samples:
    """Images `[N, C, H, W]` and labels `[N]` of the test set."""

    images: Tensor
    labels: Tensor

    def batches(self, setting: Setting) -> Iterator[Tensor]:
        """Whole batches without end, which wrap around where the images do."""
        for start in itertools.count(0, setting.batch):
            at = torch.arange(start, start + setting.batch) % len(self.images)
            yield setting.lay_out(self.images[at])

    def accuracy(self, contestant: Contestant, setting: Setting) -> float | None:
        """Share of the images that are recognised; `None` if the contestant gives no scores."""
        batches, scores = self.batches(setting), []
        for _ in range(-(-len(self.images) // setting.batch)):
            scores.append(contestant.run(next(batches)))
            if scores[0] is None:
                return None
        return share_correct(torch.cat(scores)[: len(self.labels)], self.labels)


def share_correct(scores: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest score is the label's."""
    return (scores.argmax(1) == labels).float().mean().item()


def progress(*words: object) -> None:
    """A line for whoever waits."""
    print(*words, file=sys.stderr, flush=True)


def rate(contestant: Contestant, setting: Setting, samples: Samples, seconds: float) -> float:
    """Images per second in whole batches, after one that does not count."""
    batches = samples.batches(setting)
    contestant.run(next(batches))
    ready = list(itertools.islice(batches, 8))
    n, start = 0, time.perf_counter()
    for images in itertools.cycle(ready):
        contestant.run(images)
        n += setting.batch
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return n / elapsed
    raise AssertionError("a cycle of batches ended")


def best_setting(contestant: Contestant, samples: Samples, batches: list[int]) -> Setting:
    """The fastest setting; compilation is tried at the two batch sizes that are best without.

    The fastest few are timed once more: on a machine that others use too, the first time tells them apart by chance.
    """

    def tried(setting: Setting) -> float:
        if setting.compiled:
            torch.compiler.reset()
        contestant.prepare(setting, next(samples.batches(setting)))
        found = rate(contestant, setting, samples, CALIBRATION_SECONDS)
        progress(f"  {setting}: {found:.1f} images/s")
        return found

    rates = {setting: tried(setting) for setting in contestant.settings(batches)}
    if contestant.compilable:
        by_kind: dict[tuple[str, bool], list[Setting]] = {}
        for setting in sorted(rates, key=rates.__getitem__, reverse=True):
            by_kind.setdefault((setting.order, setting.channels_last), []).append(setting)
        for setting in itertools.chain.from_iterable(settings[:2] for settings in by_kind.values()):
            compiled = replace(setting, compiled=True)
            try:
                rates[compiled] = tried(compiled)
            except Exception as error:  # noqa: BLE001 - a compiler fails in many ways, and none of them ends the comparison
                progress(f"  {compiled}: not to be had, {type(error).__name__}: {error}")
    finalists = sorted(rates, key=rates.__getitem__, reverse=True)[:FINALISTS]
    return max(finalists, key=lambda setting: max(rates[setting], tried(setting)))


def contest(name: str, make: Callable[[], Contestant], samples: Samples, given: argparse.Namespace) -> Row:
    """Finds a contestant's best setting and its accuracy."""
    progress(f"{name}: looking for its best setting")
    contestant = make()
    setting = best_setting(contestant, samples, given.batches)
    torch.compiler.reset()
    contestant.prepare(setting, next(samples.batches(setting)))
    accuracy = samples.accuracy(contestant, setting)
    return Row(name, lambda: rate(contestant, setting, samples, given.seconds), str(setting), accuracy)


@dataclass
class Quartic:
    """Quartic's own benchmark, a command of its own."""

    command: list[str]

    def bench(self, n_steps: int) -> tuple[float, float]:
        """Images per second and accuracy."""
        command = [*self.command, "--steps", str(n_steps)]
        run = subprocess.run(command, env=os.environ | {"RAYON_NUM_THREADS": "1"}, capture_output=True, text=True)
        lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
        if run.returncode != 0 or not lines:
            raise RuntimeError(f"`{shlex.join(command)}` failed:\n{run.stderr.strip()}")
        found = json.loads(lines[-1])
        return found["images_per_second"], found["accuracy"]

    def row(self, name: str, n_steps: int) -> Row:
        """Its row, with a first run for the accuracy."""
        progress(f"{name}: first run")
        return Row(name, lambda: self.bench(n_steps)[0], accuracy=self.bench(n_steps)[1])


def quartic(given: argparse.Namespace, encoding: str) -> Quartic:
    """Quartic on the network and the samples that are compared."""
    options = ["--network", given.network, "--dataset", given.dataset, "--encoding", encoding, "--samples", str(given.samples)]
    return Quartic([*shlex.split(given.quartic), *options])


Maker = tuple[str, Callable[[], Row]]
"""Name of a contestant, and what gets it ready."""


def simulators_makers(given: argparse.Namespace, network: Network, samples: Samples) -> list[Maker]:
    """Quartic, the simulators, and what bounds them."""
    encoding = ENCODINGS[given.encoding]

    def peer(name: str, make: Callable[[], Contestant]) -> Maker:
        return name, lambda: contest(name, make, samples, given)

    return [
        ("Quartic", lambda: quartic(given, given.encoding).row("Quartic", given.steps)),
        *[peer(name, partial(Simulated, network, kind, encoding, given.steps)) for name, kind in SIMULATORS.items()],
        peer("bare matrix products", partial(BareProducts, network, encoding, given.steps)),
    ]


def converters_makers(given: argparse.Namespace, network: Network, samples: Samples) -> list[Maker]:
    """Quartic and SpikingJelly, each with its own conversion of the same trained network."""
    ann = read_ann(network)
    target = share_correct(ann(samples.images), samples.labels)
    progress(f"trained network: {target:.2%}")

    def own() -> Row:
        bench = quartic(given, "constant")
        n_steps, accuracy = first_near(((n, bench.bench(n)[1]) for n in given.try_steps), target)
        return never_near("Quartic", accuracy, given) if n_steps is None else bench.row(f"Quartic, T={n_steps}", n_steps)

    def peer(kind: str) -> Row:
        images, _ = read_images(Path("data") / given.dataset, train=True, n=given.calibration_samples)
        name = f"SpikingJelly, {kind}"
        progress(f"{name}: converting")
        converted = converters.convert(ann, kind, images)
        found = converters.accuracies(converted, samples.images, samples.labels, max(given.try_steps))
        n_steps, accuracy = first_near(((n, found[n - 1]) for n in given.try_steps), target)
        if n_steps is None:
            return never_near(name, accuracy, given)
        return contest(f"{name}, T={n_steps}", partial(Converted, converted, n_steps), samples, given)

    return [("Quartic", own), *[(f"SpikingJelly, {kind}", partial(peer, kind)) for kind in converters.KINDS]]


def first_near(accuracies: Iterable[tuple[int, float]], target: float) -> tuple[int | None, float]:
    """The first number of steps whose accuracy is near the trained network's, if any is, and the best accuracy up to it."""
    best = 0.0
    for n_steps, accuracy in accuracies:
        progress(f"  T={n_steps}: {accuracy:.2%}")
        best = max(best, accuracy)
        if accuracy >= target - NEAR:
            return n_steps, best
    return None, best


def never_near(name: str, best: float, given: argparse.Namespace) -> Row:
    """The row of a network that no number of steps makes as good as the trained one."""
    reason = f"never within {100 * NEAR:.1f} points; the best accuracy of them"
    return Row(f"{name}, T≤{max(given.try_steps)}", None, reason, best)


def compare(title: str, makers: list[Maker], repetitions: int) -> int:
    """Gets all ready, measures them in turns and prints the table."""
    rows = []
    for name, make in makers:
        try:
            rows.append(make())
        except Exception as error:  # noqa: BLE001 - one that fails is reported, the others go on
            rows.append(Row(name, None))
            rows[-1].fail(error)
    for repetition in range(1, repetitions + 1):
        for row in rows:
            row.attempt(f"{repetition} of {repetitions}")
    print(f"### {title}\n\n{description()}\n\n{table(rows)}\n", flush=True)
    return 1 if any(row.failed for row in rows) else 0


def table(rows: list[Row]) -> str:
    """Markdown, Quartic's row being the first: medians and ranges over the repetitions, and medians of the turns' ratios."""
    own = rows[0]
    lines = ["| | images/s, median | min–max | Quartic ÷ it | accuracy | setting |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for row in rows:
        if row.failed:
            lines.append(f"| {row.name} | failed | – | – | – | – |")
            continue
        accuracy = "–" if row.accuracy is None else f"{row.accuracy:.2%}"
        if row.measure is None:
            lines.append(f"| {row.name} | – | – | – | {accuracy} | {row.setting} |")
            continue
        ratio = "–"
        if row is not own and own.rates and not own.failed:
            ratio = f"{statistics.median(mine / its for mine, its in zip(own.rates, row.rates, strict=True)):.2f}"
        median, span = f"{statistics.median(row.rates):,.1f}", f"{min(row.rates):,.1f}–{max(row.rates):,.1f}"
        lines.append(f"| {row.name} | {median} | {span} | {ratio} | {accuracy} | {row.setting or '–'} |")
    return "\n".join(lines)


def description() -> str:
    """Where and with what it was measured."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = [f"Quartic {revision or 'of an unknown commit'}", f"Python {platform.python_version()}"]
    for package in ("torch", "spikingjelly", "snntorch", "sinabs", "norse"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return f"{cpu()}, one thread, {datetime.date.today()}, load average {os.getloadavg()[1]:.1f}; {', '.join(versions)}."


def cpu() -> str:
    """Model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def check(given: argparse.Namespace, network: Network, samples: Samples) -> int:
    """Compares each simulator's potentials with the definition's, in double precision, for the same input."""
    spikes = (torch.rand(given.steps, *samples.images.shape) < samples.images).float()

    def source(network: Network, *_: object) -> Source:
        if given.encoding == "poisson":
            return given_spikes(network, spikes.to(network.layers[0].grid_step.dtype))
        return constant(network, samples.images, given.steps)

    exact = network.double()
    drive = steady(network.drive(samples.images).double(), given.steps)
    expected, trains = reference(exact, source(exact) if given.encoding == "poisson" else drive, given.steps)
    print(f"spikes per neuron and step: {', '.join(f'{train.mean():.3f}' for train in trains)}\n")
    print("| | order | compiled | largest difference of a potential |\n| --- | --- | --- | ---: |")
    right = True
    for (name, kind), order, compiled in itertools.product(SIMULATORS.items(), ORDERS, (False, True)):
        torch.compiler.reset()
        contestant = Simulated(network, kind, source, given.steps)
        contestant.prepare(Setting(len(samples.images), order, compiled=compiled), samples.images)
        difference = (contestant.run(samples.images) - expected).abs().max().item()
        right &= difference <= TOLERANCE
        print(f"| {name} | {order} | {'yes' if compiled else 'no'} | {difference:.2g} |", flush=True)
    return 0 if right else 1


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return sorted(int(part) for part in text.split(","))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["simulators", "converters", "check"])
    parser.add_argument("--network", required=True, metavar="FILE", help="snn.safetensors of a converted network")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="mnist, fashion-mnist or cifar10, in data/")
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="of the test set, from its start (default: 1000)")
    parser.add_argument("--encoding", choices=["poisson", "constant"], default="poisson", help="of the pixels; not for converters")
    parser.add_argument("--steps", type=int, default=32, metavar="T", help="not for converters (default: 32)")
    parser.add_argument("--batches", type=numbers, default=[16, 64, 256], metavar="N,…", help="batch sizes to try")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="measurements of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="time of a measurement (default: 5)")
    parser.add_argument("--try-steps", type=numbers, default=[1, 2, 4, 8, 16, 32, 64, 128], metavar="T,…", help="of converters")
    parser.add_argument("--calibration-samples", type=int, default=60_000, metavar="N", help="of converters")
    parser.add_argument("--quartic", default=QUARTIC, metavar="COMMAND", help=f"Quartic's benchmark (default: {QUARTIC})")
    return parser.parse_args()


def main() -> int:
    """Runs what the command line asks for."""
    given = arguments()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # One piece of code serves neurons of many shapes, more than are compiled by default before it is left as it is.
    torch._dynamo.config.recompile_limit = 1000
    try:
        network = read_network(Path(given.network))
        samples = Samples(*read_images(Path("data") / given.dataset, train=False, n=given.samples))
        if list(samples.images.shape[1:]) != network.input_shape:
            raise Unusable(f"{given.network} is not a network for {given.dataset}; name the one it was trained on")
        with torch.inference_mode():
            if given.what == "check":
                return check(given, network, samples)
            if given.what == "simulators":
                title = f"{given.dataset}, {given.encoding} input, T={given.steps}"
                return compare(title, simulators_makers(given, network, samples), given.repetitions)
            title = f"{given.dataset}, constant input, within {100 * NEAR:.1f} points of the trained network"
            return compare(title, converters_makers(given, network, samples), given.repetitions)
    except Unusable as error:
        progress(f"compare-peers: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
