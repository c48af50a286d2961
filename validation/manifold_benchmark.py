"""The benchmark's section on spiking graph networks: the way back against T, an epoch against its products.

The graph has the sizes of Cora (2708 nodes, 5278 edges, 1433 binary features of which 18 a node are set, 7
classes) without its data.  An epoch is masks, both passes and an update of Adam; its floor is what it
multiplies: the features with the encoder's weights and that with the adjacency, both transposed with the
adjoint, rates with the adjacency, and the products of the block above.  Beside it stand the same products
with Ahat X multiplied out, 3.7 times as many entries as both have.  Both ways of differentiation are timed
from the same run.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from rich.table import Table
from scipy import sparse

from refsnn.algorithms.differentiation_via_manifold import (
    checked,
    differentiation_via_manifold,
    maps_of,
    through_manifold,
)
from refsnn.algorithms.differentiation_via_spikes import through_spikes
from refsnn.algorithms.optimisers import Adam
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import Graph, SparseMatrix
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import hyperbolic
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import forward
from validation.ledger import require
from validation.timing import take_turns

NODES, EDGES, FEATURES, SET, CLASSES, DIMENSION = 2708, 5278, 1433, 18, 7, 32
STEPS = (5, 15, 45, 135)
EPOCH, FLOOR, GATHERED = "an epoch, DvM", "its products alone", "its products, Ahat X multiplied out"
AIMS = {EPOCH: 1.5}
FASTER_AIM, LARGE_EDGES, LARGE_AIM = 20.0, 1_000_000, 4e9
DROPOUT = 0.3


@dataclass
class Work:
    """A network on a graph, and where its training is."""

    network: ManifoldSpikingNetwork
    inputs: GraphInputs
    head: NodeClasses
    parameters: Parameters


@dataclass
class Line:
    """One row.

    Attributes
    ----------
    name : str
        Of the work.
    milliseconds : list of float
        Process CPU time.
    ratio, aim : float or None
        Over the floor, or of DvS over DvM; and what it should be.
    """

    name: str
    milliseconds: list[float] = field(default_factory=list)
    ratio: float | None = None
    aim: str = ""


def draw(seed: int, nodes: int = NODES, edges: int = EDGES, features: int = FEATURES) -> Work:
    """A random graph with random words."""
    rng = np.random.default_rng(seed)
    graph = Graph.undirected(nodes, rng.integers(0, nodes, edges), rng.integers(0, nodes, edges))
    rows = np.repeat(np.arange(nodes), SET)
    words = sparse.csr_array(
        (np.ones(len(rows)), (rows, rng.integers(0, features, len(rows)))), (nodes, features)
    )
    network = ManifoldSpikingNetwork(
        features, hyperbolic(DIMENSION), CLASSES, neuron=SpikingNeuron(leak=1.0, threshold=0.1, fires=">")
    )
    head = NodeClasses(rng.integers(0, CLASSES, nodes), rng.permutation(nodes)[: nodes // 10])
    return Work(network, GraphInputs.of(graph, words, 1), head, network.initialise(rng))


def epoch_of(work: Work, seed: int) -> Callable[[], None]:
    """Masks, both passes, an update; the training goes on from call to call."""
    rng, optimiser = np.random.default_rng(seed), Adam(0.01)
    parameters, state = dict(work.parameters), optimiser.initial_state(work.parameters)

    def epoch() -> None:
        nonlocal parameters, state
        inputs = work.inputs.with_noise(rng, work.network.width, dropout=DROPOUT)
        result = differentiation_via_manifold(work.network, parameters, inputs, work.head)
        require(result.diagnostics.spike_rates["layer.0"] > 0, "the encoder is silent")
        parameters, state = optimiser.update(parameters, result.gradients, state)

    return epoch


def products_of(work: Work, gathered: bool = False) -> Callable[[], None]:
    """What an epoch multiplies; if `gathered`, as it would be with Ahat X multiplied out."""
    encoder, weight = (work.parameters[f"layer.{layer}.weight"] for layer in (0, 1))
    dense = np.random.default_rng(0).normal(size=(work.inputs.nodes, work.network.width))
    features = work.inputs.features.scipy()
    product = SparseMatrix.of(work.inputs.adjacencies[0].scipy() @ features)
    transposed = product.transposed()
    times, outer = work.inputs.gathered.times, work.inputs.gathered.outer
    if gathered:
        times, outer = lambda weight, backend: product.propagate(weight.T, backend), transposed.propagate

    def products() -> None:
        times(encoder, "cpu")
        summed = work.inputs.adjacencies[0].propagate(dense, "cpu")
        summed @ weight.T
        dense.T @ summed
        outer(dense, "cpu")

    return products


def ways_back(work: Work, steps: int) -> dict[str, Callable[[], object]]:
    """Both from one run of T steps, in a network of two blocks above the encoder."""
    network = replace(work.network, steps=steps, layers=2)
    inputs = GraphInputs.of(work.inputs.graph, work.inputs.features.scipy(), 2)
    parameters = network.initialise(np.random.default_rng(1))
    parameters, inputs, head = checked(network, parameters, inputs, work.head)
    maps = maps_of(network, parameters, "cpu")
    run = forward(network, parameters, inputs, maps, keep=True)
    drives = through_manifold(network, parameters, inputs, head, maps, run, "cpu").drive_gradients
    require(all(rate.any() for rate in run.rates), "a block is silent")

    def by_manifold() -> object:
        return through_manifold(network, parameters, inputs, head, maps, run, "cpu")

    def by_spikes() -> object:
        by_manifold()
        return through_spikes(network, parameters, inputs, run, drives, "cpu")

    return {f"back by the manifold, T = {steps}": by_manifold, f"back by spikes, T = {steps}": by_spikes}


def measure(seed: int, repeats: int, progress: Callable[[], None] = lambda: None) -> list[Line]:
    """Everything in turns."""
    work = draw(seed)
    runs: dict[str, Callable[[], object]] = {
        FLOOR: products_of(work),
        GATHERED: products_of(work, gathered=True),
        EPOCH: epoch_of(work, seed),
    }
    for count in STEPS:
        runs |= ways_back(work, count)
    times = take_turns(runs, repeats, progress=progress)
    median = {name: statistics.median(values) for name, values in times.items()}
    lines = [Line(name, values) for name, values in times.items()]
    for line in lines:
        if line.name == GATHERED:
            line.ratio = median[GATHERED] / median[FLOOR]
        elif line.name == EPOCH:
            line.ratio, line.aim = median[EPOCH] / median[FLOOR], f"≤ {AIMS[EPOCH]} of the products"
        elif line.name.startswith("back by spikes"):
            line.ratio = median[line.name] / median[line.name.replace("spikes", "the manifold")]
            if line.name.endswith(f" {max(STEPS)}"):
                line.aim = f"≥ {FASTER_AIM:.0f} times the way by the manifold"
    return lines


def table(lines: list[Line], peak: float | None = None) -> Table:
    """The rows, for a terminal or a log."""
    title = f"Spiking graph network, {NODES} nodes, H{DIMENSION}, one thread"
    if peak is not None:
        title += (
            f"; a graph of {LARGE_EDGES} edges trains in {peak / 1e9:.2f} GB (aim: ≤ {LARGE_AIM / 1e9:.0f})"
        )
    result = Table(title=title)
    for name in ("", "median ms", "least ms", "ratio", "aim"):
        result.add_column(name, justify="left" if name in ("", "aim") else "right")
    for line in lines:
        result.add_row(
            line.name,
            f"{statistics.median(line.milliseconds):.2f}",
            f"{min(line.milliseconds):.2f}",
            "–" if line.ratio is None else f"{line.ratio:.2f}",
            line.aim,
        )
    return result


def large_graph() -> float:
    """Peak bytes of a fresh process that trains two epochs on a graph of a million edges."""
    command = [sys.executable, "-m", "validation.manifold_benchmark"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _train_large() -> None:
    work = draw(0, nodes=200_000, edges=LARGE_EDGES, features=500)
    epoch = epoch_of(work, 0)
    for _ in range(2):
        epoch()
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _train_large()
