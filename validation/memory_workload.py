"""One line of the memory benchmark, measured in a process of its own; `memory_benchmark` starts these.

    python -m validation.memory_workload '{"cell": "LSTM", "strategy": "msm", "share": 0.05, "repeats": 3}'

prints a JSON record.  A process of its own, because the resident size of a process never shrinks, and what an
earlier run has left in an allocator hides what a later one needs.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refsnn.algorithms.checkpoint_executor import Executor
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import sizes_of, working_core
from refsnn.models.recurrent.cell import RecurrentModel
from refsnn.models.recurrent.gru import GatedRecurrentUnit
from refsnn.models.recurrent.lstm import LongShortTermMemory
from refsnn.models.recurrent.spiking import RecurrentSpikingLayer
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import WorkingCore
from refsnn.schedules.planning import Plan, plan
from validation.timing import one_thread


class Cell(NamedTuple):
    """A network and its batch."""

    make: Callable[[tuple[int, ...]], RecurrentModel]
    widths: tuple[int, int, int]
    batch: int


# 256 units and a batch of 64 are the paper's
CELLS = {
    "LSTM": Cell(LongShortTermMemory, (256, 256, 10), 64),
    "GRU": Cell(GatedRecurrentUnit, (256, 256, 10), 64),
    "LIF": Cell(RecurrentSpikingLayer, (64, 128, 10), 64),
}


class Record(NamedTuple):
    """What one process found.

    Attributes
    ----------
    cell, strategy : str
        What was run.
    share : float or None
        Budget, as a share of what all tapes take.
    steps, cost : int
        T and C.
    planned, scratch, table, traced, resident : int
        Bytes: of the plan, of what a step is worked out in (a part of it), of the policy's table, and as
        measured, beside inputs, parameters and gradients.
    seconds, plain_seconds : float
        Process CPU time of a gradient, and of one with all tapes, in turns; the best of each.
    forward, backward : float
        The same of one step, seconds.
    """

    cell: str
    strategy: str
    share: float | None
    steps: int
    cost: int
    planned: int
    scratch: int
    table: int
    traced: int
    resident: int
    seconds: float
    plain_seconds: float
    forward: float
    backward: float


def measure(cell: str, strategy: str, share: float | None, steps: int, repeats: int) -> Record:
    """Plan, run, and measure."""
    core = draw(cell, steps)
    sizes = sizes_of(core)
    everything = plan(steps, sizes, strategy="all_tapes")
    chosen = plan(steps, sizes, None if share is None else int(share * everything.peak_bytes), strategy)
    # compiled, and the libraries' own memory taken, by a short run; then the arrays of this one
    run(draw(cell, 2), plan(2, sizes, strategy="all_states"))
    gc.collect()
    before = resident()
    run(core, chosen)
    taken = resident("VmHWM") - before + _blocks(core)
    found = traced(core, chosen)
    # last, for plain BPTT leaves its memory behind
    turns = [
        (_seconds(lambda: run(core, chosen)), _seconds(lambda: run(core, everything))) for _ in range(repeats)
    ]
    seconds, plain_seconds = (min(one) for one in zip(*turns, strict=True))
    forward, backward = step_seconds(core)
    return Record(
        cell, strategy, share, steps, chosen.cost, chosen.peak_bytes, sizes.scratch, chosen.table_bytes,
        found, taken, seconds, plain_seconds, forward, backward,
    )  # fmt: skip


def draw(cell: str, steps: int) -> WorkingCore:
    """A core with random parameters, inputs and labels at each step."""
    make, widths, batch = CELLS[cell]
    network, rng = make(widths), np.random.default_rng(0)
    parameters, inputs = network.initialise(rng), rng.standard_normal((steps, batch, widths[0]))
    labels = StepTargets(rng.integers(0, widths[-1], (steps, batch)))
    # with dL/dx, as in a stack: backward is then about twice forward
    core = working_core(network, parameters, inputs, labels, input_gradients=True)
    if core.input_gradients is not None:
        core.input_gradients.fill(0)  # its pages are there before anything is measured
    return core


def run(core: WorkingCore, chosen: Plan) -> None:
    """One gradient; slots are made anew."""
    core.start(None)
    Executor(core, chosen.schedule, MemorySlots(chosen.schedule.units, chosen.unit_bytes)).run()


def traced(core: WorkingCore, chosen: Plan) -> int:
    """Highest total of what Python and NumPy hold during the sweep, with the core's own blocks."""
    gc.collect()
    tracemalloc.start()
    try:
        run(core, chosen)
        return tracemalloc.get_traced_memory()[1] + _blocks(core)
    finally:
        tracemalloc.stop()


def step_seconds(core: WorkingCore) -> tuple[float, float]:
    """CPU time of one step forward and one backward, seconds: the mean of up to 200."""
    core.start(None)
    count = min(200, core.steps)
    forward = _seconds(lambda: core.advance(1, count)) / count
    core.start(None)
    core.forward(1)
    core.seed()

    def back() -> None:
        for _ in range(count):
            core.backward(1)

    return forward, _seconds(back) / count


def resident(which: str = "VmRSS") -> int:
    """Resident size of this process in bytes: now, which makes it the highest so far too, or the highest.

    0 where the system is not Linux.
    """
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return 0
    if which == "VmRSS":
        forget.write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith(f"{which}:"))
    return 1024 * int(line.split()[1])


def _blocks(core: WorkingCore) -> int:
    """What was there before the sweep: the core with what it works in, and the adjoint."""
    return sizes_of(core).core + core.adjoint.nbytes


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main(argument: str) -> None:
    """Measure what the JSON text asks for and print the record."""
    with one_thread():
        print(json.dumps(measure(**json.loads(argument))._asdict()))


if __name__ == "__main__":
    main(sys.argv[1])
