"""O11: nothing that is kept grows with the number of steps, but in BPTT."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.trace_rules import PRESETS
from refsnn.kernels import spiking_kernels
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import StaticInput
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.ottt.problems import Problem, live, random_neuron
from validation.ledger import Measured, claim, require

SHORT, LONG = 4, 400


def network(rng: np.random.Generator) -> SpikingGraph:
    """Its arrays outweigh the objects around them."""
    return dense_network((40, 64, 32, 10), random_neuron(rng))


ALGORITHMS: dict[str, Callable[..., GradientResult]] = {
    "OTTT": ottt,
    "SLTT": sltt,
    "rate-based, single step": lambda *arguments: rate_backpropagation(*arguments, mode="single_step"),
}


@claim(
    "ottt/O11",
    r"What OTTT, SLTT and single-step rate-based backpropagation keep, the arrays that live from step to step, and the peak of "
    r"all memory do not grow from $T=4$ to $T=400$; what BPTT keeps grows a hundredfold.",
    source="Xiao 2022, section 4.3 and Fig. 2; specification, O11",
    metric="largest growth: of bytes kept and of the number and bytes of arrays held, relative; of the peak, each step in units of one population's spikes",
    relation="<=",
    bound=0.05,
    control="BPTT: bytes kept and peak",
)
def memory_without_time(rng: np.random.Generator) -> Measured:
    values, details = [], {}
    problem = live(rng, network, steps=SHORT, batch=16)
    for name, algorithm in ALGORITHMS.items():
        kept, peak = growth(problem, algorithm)
        require(kept == 0, f"{name}: bytes kept grew by {kept}")
        values += [kept, peak]
        details[f"{name}: peak, each step in populations"] = peak
    for preset in ("paper", "ndot"):
        (few, small), (many, large) = (held(problem, preset, steps) for steps in (SHORT, LONG))
        values += [many / few - 1, large / small - 1]
        details[f"{preset}: arrays held"] = many
    kept, peak = growth(problem, bptt)
    require(kept == LONG / SHORT - 1, f"BPTT: bytes kept grew by {kept}")
    details["BPTT: peak, each step in populations"] = peak
    return Measured(max(values), min(kept, peak), details)


def growth(problem: Problem, algorithm: Callable[..., GradientResult]) -> tuple[float, float]:
    """Growth of the bytes kept relative to the short run, and of the peak, each step in populations."""
    kept, peaks = [], []
    for steps in (SHORT, LONG):
        graph, parameters, inputs, targets = problem.arguments
        arguments = graph, parameters, StaticInput(inputs[0], steps), targets
        if steps == SHORT:
            algorithm(*arguments)  # compiled, and caches filled
        gc.collect()
        tracemalloc.start()
        try:
            kept.append(algorithm(*arguments).diagnostics.bytes_kept)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    population = 8 * len(problem.targets) * problem.graph.shapes["layer.1"][0]
    return kept[1] / kept[0] - 1, (peaks[1] - peaks[0]) / (LONG - SHORT) / population


def held(problem: Problem, preset: str, steps: int) -> tuple[int, int]:
    """Number and bytes of the arrays that a running network holds after so many steps."""
    graph, parameters, inputs, targets = problem.arguments
    running = ForwardInTime(graph, PRESETS[preset], parameters, len(targets), steps, spiking_kernels("cpu"))
    for _ in range(steps):
        running.step(parameters, inputs[0], targets)
    arrays = {id(array): array for array in arrays_of(running, {})}
    require(len(arrays) > len(graph.populations), f"only {len(arrays)} arrays were found")
    return len(arrays), sum(array.nbytes for array in arrays.values())


def arrays_of(thing: Any, seen: dict[int, Any]) -> Iterator[np.ndarray]:
    """Every array that can be reached."""
    if id(thing) in seen or isinstance(thing, (str, bytes, type, FunctionType, ModuleType)):
        return
    seen[id(thing)] = thing
    if isinstance(thing, np.ndarray):
        yield thing
        return
    inside: list[Any] = []
    if isinstance(thing, dict):
        inside += thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inside += thing
    elif hasattr(thing, "__dict__"):
        inside += vars(thing).values()
    for part in inside:
        yield from arrays_of(part, seen)
