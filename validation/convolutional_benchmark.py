"""The benchmark's section on convolutional spiking stacks: each algorithm beside what it is held to.

What is timed is a step of a training: its memory is there from the steps before.  The products and gathers
write into arrays that are there already, and the algorithms that take all steps at once into a workspace.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from validation import convolutional_workload
from validation.convolutional_workload import AGAINST, AIMS
from validation.timing import take_turns

FLOOR = "products and gathers alone"
STEPS = (4, 16)
KEPT = (
    "as in a training, memory is kept from call to call: BPTT and rates work in a workspace, the products "
    "and gathers in arrays made before; what the system takes for new memory is in neither"
)


@dataclass
class Line:
    """One algorithm at one T.

    Attributes
    ----------
    steps : int
        T.
    name : str
        The algorithm, or what it is held to.
    milliseconds : list of float
        Process CPU time of a gradient.
    against : str or None
        What its ratio is taken to.
    ratio : float or None
        Median over median.
    aim : float or None
        What the ratio should not exceed, at the largest T.
    """

    steps: int
    name: str
    milliseconds: list[float]
    against: str | None
    ratio: float | None
    aim: float | None


def measure(seed: int, repeats: int, progress: Callable[[], None] = lambda: None) -> list[Line]:
    """All algorithms in turns, for each T."""
    lines = []
    for steps in STEPS:
        stack = convolutional_workload.draw(seed, steps)
        runs = {FLOOR: convolutional_workload.products_and_gathers_alone(stack), **stack.runs()}
        times = take_turns(runs, repeats, progress=progress)
        for name, milliseconds in times.items():
            against = AGAINST.get(name)
            ratio = against and statistics.median(milliseconds) / statistics.median(times[against])
            aim = AIMS.get(name) if steps == max(STEPS) else None
            lines.append(Line(steps, name, milliseconds, against, ratio or None, aim))
    return lines


def table(lines: list[Line]) -> Table:
    """The algorithms, for a terminal or a log."""
    title = "A convolutional stack: one gradient, " + " and ".join(f"T = {t}" for t in STEPS)
    result = Table(title=title, caption=KEPT)
    for title in ("T", "", "median s", "least s", "ratio", "to", "aim"):
        result.add_column(title, justify="left" if title in ("", "to") else "right")
    for line in lines:
        result.add_row(
            str(line.steps),
            line.name,
            f"{statistics.median(line.milliseconds) / 1e3:.4f}",
            f"{min(line.milliseconds) / 1e3:.4f}",
            f"{line.ratio:.3f}" if line.ratio else "–",
            line.against or "–",
            f"≤ {line.aim}" if line.aim else "",
        )
    return result
