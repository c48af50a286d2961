"""The benchmark's section on sparse attention: how time and memory grow with the length of the sequence.

Backward, only survivors and thresholds are touched, so that at a fixed k_top the time of the sweep grows with
T; forward, each step scores all memories, which grows with its square.  What is kept is counted against the
numbers that the sweep cannot do without: 7 H a step and sample (four gates, h, c and s) and k_top weights and
slots; with one state kept each k_trunc steps and the rest run again, 2 H T / k_trunc + 7 H k_trunc.  The
memory itself, N slots with their keys and the adjoints of both, comes on top either way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

from refsnn.algorithms.checkpoint_executor import Executor, Hooks
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import sizes_of
from refsnn.models.attentive.core import AttentiveCore
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.schedules.planning import plan

LENGTHS = (500, 1000, 2000, 4000, 8000)
INPUTS, UNITS, OUTPUTS, BATCH = 8, 64, 8, 16
TOP, STORE_EVERY, TRUNCATE_EVERY = 5, 2, 5
EXPONENT_AIM = 1.1
# of all lengths: forward, the longest takes half a minute
ROUNDS = 2


class TimedCore(AttentiveCore):
    """Adds up the process CPU time of its steps."""

    forward_time = backward_time = 0.0

    def forward(self, step: int) -> None:
        start = time.process_time()
        super().forward(step)
        self.forward_time += time.process_time() - start

    def backward(self, step: int) -> None:
        start = time.process_time()
        super().backward(step)
        self.backward_time += time.process_time() - start


@dataclass
class Line:
    """One length.

    Attributes
    ----------
    steps : int
        T.
    forward, backward : list of float
        Milliseconds of all steps, run by run.
    kept, needed : int
        Bytes of all tapes, and by the count above.
    kept_again, needed_again : int
        The same where states are kept each k_trunc steps and the rest is run again.
    memory : int
        Bytes of slots, keys, and the adjoints of both.
    """

    steps: int
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    kept: int = 0
    needed: int = 0
    kept_again: int = 0
    needed_again: int = 0
    memory: int = 0


def run(
    seed: int, steps: int, strategy: str = "all_tapes", every: int | None = None
) -> tuple[TimedCore, int]:
    """One gradient; returns the core with its times, and the bytes of the slots of the schedule."""
    rng = np.random.default_rng(seed)
    network = AttentiveNetwork((INPUTS, UNITS, OUTPUTS), TOP, STORE_EVERY, TRUNCATE_EVERY)
    parameters = network.initialise(rng)
    inputs = rng.standard_normal((steps, BATCH, INPUTS))
    core = TimedCore(*_checked(network, parameters, inputs, rng.integers(0, OUTPUTS, (steps, BATCH))))
    core.start(None)
    chosen = plan(core.steps, sizes_of(core), None, strategy, every=every)
    slots = MemorySlots(chosen.schedule.units, chosen.unit_bytes)
    Executor(core, chosen.schedule, slots, None, Hooks(), None, None).run()
    return core, slots.memory.nbytes


def _checked(network: AttentiveNetwork, *given: object) -> tuple:
    return (network, *network.check(*given))


def needed(steps: int) -> tuple[int, int]:
    """Bytes that the sweep cannot do without, with all tapes and with one segment of them."""
    number = BATCH * np.dtype(np.float64).itemsize
    reading = TOP * BATCH * (np.dtype(np.float64).itemsize + np.dtype(np.int32).itemsize)
    segments = steps // TRUNCATE_EVERY
    return (
        steps * (7 * UNITS * number + reading),
        segments * 2 * UNITS * number + TRUNCATE_EVERY * (7 * UNITS * number + reading),
    )


def measure(seed: int, progress: Callable[[], None] = lambda: None) -> list[Line]:
    """All lengths in turns; a run of the shortest before them does not count."""
    lines = [Line(steps) for steps in LENGTHS]
    run(seed, LENGTHS[0])
    for _ in range(ROUNDS):
        for line in lines:
            core, line.kept = run(seed, line.steps)
            line.forward.append(1e3 * core.forward_time)
            line.backward.append(1e3 * core.backward_time)
        progress()
    for line in lines:
        line.needed, line.needed_again = needed(line.steps)
        core, line.kept_again = run(seed, line.steps, "periodic", TRUNCATE_EVERY)
        line.memory = 2 * (core.memory.nbytes + core.keys.nbytes)
    return lines


def exponent(lines: list[Line], which: str) -> float:
    """Slope of log time over log T."""
    times = [statistics.median(getattr(line, which)) for line in lines]
    return float(np.polyfit(np.log([line.steps for line in lines]), np.log(times), 1)[0])


def table(lines: list[Line]) -> Table:
    """The lengths, for a terminal or a log."""
    forward, backward = exponent(lines, "forward"), exponent(lines, "backward")
    result = Table(
        title=f"Sparse attention, k_top = {TOP}: forward grows as T^{forward:.2f}, backward as "
        f"T^{backward:.2f} (aim: ≤ {EXPONENT_AIM})"
    )
    for title in (
        "T", "forward s", "backward s", "all tapes MB", "of 7 H T", "segments MB", "of 2 H T / k + 7 H k",
        "memory MB",
    ):  # fmt: skip
        result.add_column(title, justify="right")
    for line in lines:
        result.add_row(
            str(line.steps),
            f"{statistics.median(line.forward) / 1e3:.3f}",
            f"{statistics.median(line.backward) / 1e3:.3f}",
            f"{line.kept / 1e6:.1f}",
            f"{line.kept / line.needed:.3f}",
            f"{line.kept_again / 1e6:.2f}",
            f"{line.kept_again / line.needed_again:.3f}",
            f"{line.memory / 1e6:.1f}",
        )
    return result
