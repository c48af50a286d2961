"""The benchmark's section on adaptive neurons: a gradient beside what it cannot do without.

The layer is that of sequential MNIST (Bellec 2018), 120 LIF and 100 adaptive neurons with delays of up to 10
steps and dense weights, for fewer steps and samples.  Its floor: z, v and b of each step are written once and
read once, each spike adds a row of weights on the way forward and a row of adjoints to its weights' gradients
on the way back, as products with the raster as a sparse matrix.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table
from scipy import sparse

from refsnn.algorithms.adaptive_bptt import AdaptiveResult, adaptive_bptt, raster_bptt
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import AdaptiveNeuron
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.spike_events import SpikeEvents
from validation.ledger import require
from validation.timing import take_turns

FLOOR = "moves and additions alone"
ALGORITHMS: dict[str, Callable[..., AdaptiveResult]] = {"BPTT": adaptive_bptt, "from the raster": raster_bptt}
AIMS = {"BPTT": 6.0, "from the raster": 12.0}
BOUND = 1e-12
INPUT_RATE = 0.03


@dataclass(frozen=True)
class Work:
    """A network, its parameters, events and targets."""

    network: AdaptiveSpikingNetwork
    parameters: dict[str, np.ndarray]
    events: SpikeEvents
    targets: WindowTargets

    def run(self, algorithm: Callable[..., AdaptiveResult], backend: str = "cpu") -> AdaptiveResult:
        """One gradient."""
        return algorithm(self.network, self.parameters, self.events, self.targets, backend=backend)


@dataclass
class Line:
    """One algorithm.

    Attributes
    ----------
    name : str
        The algorithm, or the floor.
    apart : float or None
        Largest difference of a gradient from plain, relative to the array's largest entry.
    refused : str or None
        Why it was not timed.
    bytes_kept : int or None
        From the way forward for the way back.
    milliseconds : list of float
        Process CPU time of a gradient.
    ratio, aim : float or None
        Median over that of the floor, and what it should not exceed.
    """

    name: str
    apart: float | None = None
    refused: str | None = None
    bytes_kept: int | None = None
    milliseconds: list[float] = field(default_factory=list)
    ratio: float | None = None
    aim: float | None = None


def draw(seed: int, steps: int = 100, batch: int = 32, lif: int = 120, adaptive: int = 100) -> Work:
    """Networks of one seed are the same."""
    rng, inputs, n, slots = np.random.default_rng(seed), 80, lif + adaptive, 10
    strengths = (0.0,) * lif + (1.8,) * adaptive
    neuron = AdaptiveNeuron.of_time_constants(20.0, 700.0, adaptation_strength=strengths, refractory=5)
    network = AdaptiveSpikingNetwork(
        (inputs, n, 10), neuron=neuron, delays=Delays.uniform(rng, slots, inputs, n)
    )
    parameters = network.initialise(rng)
    events = SpikeEvents.from_array((rng.random((steps, batch, inputs)) < INPUT_RATE) * 1.0)
    targets = WindowTargets.at_the_end(steps, max(1, steps // 4), rng.integers(0, 10, batch))
    return Work(network, parameters, events, targets)


def moves_and_additions_alone(work: Work) -> Callable[[], None]:
    """What a gradient cannot do without, for the spikes of this network."""
    core = work.network.working_core(*work.network.check(work.parameters, work.events, work.targets))
    run = Run(core, core.windows)
    run.forward(core.before.copies())
    n, (spikes, potential, adaptation, _) = work.network.widths[1], run.states
    heard = sparse.csr_array(work.events.as_array().reshape(-1, work.network.widths[0]))
    said = sparse.csr_array(spikes[:-1].reshape(-1, n))
    weights = [work.parameters[f"layer.1.{name}_weight"].T.copy() for name in ("input", "recurrent")]
    adjoint = potential[1:].reshape(-1, n)  # any dense (T B, n) stands in for dL/dI
    kept = [np.empty_like(spikes) for _ in range(3)]

    def floor() -> None:
        for array, copy in zip((spikes, potential, adaptation), kept, strict=True):
            np.copyto(copy, array)
        for raster, weight in zip((heard, said), weights, strict=True):
            raster @ weight
            raster.T @ adjoint
        for copy in kept:
            copy.sum()

    return floor


def complaint(found: AdaptiveResult, expected: AdaptiveResult) -> tuple[float, str | None]:
    """How far the gradients are apart, and why this was not the same work."""
    require(0.005 < expected.diagnostics.spike_rates["layer.1"] < 0.5, "the neurons are silent, or never are")
    if not np.array_equal(found.rates, expected.rates):
        return np.inf, "other spikes"
    apart = 0.0
    for name, value in expected.gradients.items():
        require(bool(np.any(value)), f"the reference's {name} are all zero")
        apart = max(apart, float(np.abs(found.gradients[name] - value).max() / np.abs(value).max()))
    return apart, None if apart <= BOUND else f"another gradient: apart by {apart:.1e}"


def measure(seed: int, repeats: int, progress: Callable[[], None] = lambda: None) -> list[Line]:
    """The algorithms and their floor in turns; checked before they are timed."""
    work = draw(seed)
    expected = work.run(adaptive_bptt, "plain")
    lines, runs = [Line(FLOOR)], {FLOOR: moves_and_additions_alone(work)}
    for name, algorithm in ALGORITHMS.items():
        found = work.run(algorithm)
        line = Line(name, *complaint(found, expected), found.diagnostics.bytes_kept, aim=AIMS[name])
        lines.append(line)
        if line.refused is None:
            runs[name] = functools.partial(_discard, work, algorithm)
    times = take_turns(runs, repeats, progress=progress)
    for line in lines:
        line.milliseconds = times.get(line.name, [])
        if line.milliseconds:
            line.ratio = statistics.median(line.milliseconds) / statistics.median(times[FLOOR])
    return lines


def _discard(work: Work, algorithm: Callable[..., AdaptiveResult]) -> Any:
    work.run(algorithm)


def table(lines: list[Line]) -> Table:
    """The algorithms, for a terminal or a log."""
    result = Table(title="Adaptive neurons with delays: one gradient")
    for title in ("", "median s", "least s", f"ratio to {FLOOR}", "kept MB", "gradient apart", "aim"):
        result.add_column(title, justify="right" if title else "left")
    for line in lines:
        apart = "–" if line.apart is None else f"{line.apart:.0e}"
        kept = "–" if line.bytes_kept is None else f"{line.bytes_kept / 1e6:.1f}"
        if line.refused is not None:
            result.add_row(line.name, "–", "–", "–", kept, apart, f"not timed: {line.refused}")
            continue
        median, least = statistics.median(line.milliseconds), min(line.milliseconds)
        aim = "" if line.aim is None else f"≤ {line.aim}"
        result.add_row(
            line.name, f"{median / 1e3:.4f}", f"{least / 1e3:.4f}", f"{line.ratio:.2f}", kept, apart, aim
        )  # fmt: skip
    return result
