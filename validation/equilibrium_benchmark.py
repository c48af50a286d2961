"""The benchmark's section on equilibrium propagation: a step of training in units of its matrix products."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from validation import equilibrium_workload
from validation.timing import CPU, FLOOR, Run, take_turns

EQUILIBRIUM_AIM = 1.3


@dataclass
class Steps:
    """One network of the table of equilibrium propagation.

    Attributes
    ----------
    name : str
        Widths, T and K.
    apart : dict of str to float
        The compiled gradient from the model's own step in float64, relative, in both precisions.
    refused : str or None
        Why it was not timed.
    milliseconds, floor : list of float
        Process CPU time of a step of training, and of its products alone.
    """

    name: str
    apart: dict[str, float]
    refused: str | None
    milliseconds: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median over median."""
        return statistics.median(self.milliseconds) / statistics.median(self.floor)


def measure(
    cases: Sequence[equilibrium_workload.Case],
    seed: int,
    repeats: int,
    progress: Callable[[], None] = lambda: None,
) -> list[Steps]:
    """Equilibrium propagation beside its products, network by network; checked before it is timed."""
    found = []
    for case in cases:
        training = equilibrium_workload.draw(case, seed)
        steps = Steps(case.name, *equilibrium_workload.complaint(training))
        if steps.refused is None:
            floor = equilibrium_workload.products_alone(training)
            runs: dict[str, Run] = {FLOOR: floor, CPU: functools.partial(training.run, "cpu")}
            times = take_turns(runs, repeats, progress=progress)
            steps.milliseconds, steps.floor = times[CPU], times[FLOOR]
        found.append(steps)
    return found


def table(found: Sequence[Steps]) -> Table:
    """The networks, for a terminal or a log."""
    result = Table(title="Equilibrium propagation: free phase, nudged phase and gradient")
    result.add_column("")
    for title in ("median s", "least s", "products alone s", "ratio to the products", "gradient apart"):
        result.add_column(title, justify="right")
    result.add_column("")
    for steps in found:
        figures = ", ".join(f"{figure:.0e}" for figure in steps.apart.values())
        if steps.refused is not None:
            result.add_row(steps.name, "–", "–", "–", "–", figures, f"not timed: {steps.refused}")
            continue
        result.add_row(
            steps.name,
            f"{statistics.median(steps.milliseconds) / 1e3:.5f}",
            f"{min(steps.milliseconds) / 1e3:.5f}",
            f"{statistics.median(steps.floor) / 1e3:.5f}",
            f"{steps.ratio:.3f}",
            figures,
            f"aim: ratio ≤ {EQUILIBRIUM_AIM}",
        )
    return result
