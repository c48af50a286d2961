"""Figures of memory-efficient BPTT: what each byte buys, and where schedules spend their steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from refsnn.schedules.baselines import Bisection, Periodic, StoreAll, StoreHidden
from refsnn.schedules.binomial import hidden_cost, internal_cost
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.operations import ADVANCE, BACK, TAPE, Schedule, operations
from refsnn.schedules.policies import HiddenStates, Mixed
from validation.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "memory_efficient_bptt"
STEPS = 1000
# s_h = 1, s_I = 4: alpha = 5 and beta = 4, the paper's assumption
TAPE_UNITS = 4


@figure(
    PAPER,
    "What each unit of memory buys",
    r"Forward steps $C/T$ for $T=1000$ against memory beyond the start and the working core, as a share of what all tapes "
    r"take, where a tape takes 4 units and its input state 1 ($\alpha=5$). With $\rho=u_B/u_F=2$ the dotted line is one "
    r"third more time. States alone (HSM) are best for the very least memory and never come under 2; tapes (ISM) overtake "
    r"them; mixed (MSM) is under both everywhere. Fixed periods (Chen's is the square root) and bisection are points and "
    r"curves above.",
)
def costs(rng: np.random.Generator) -> Figure:
    return prices(STEPS)


def prices(steps: int) -> Figure:
    """Forward steps a step against memory, all strategies."""
    from matplotlib.figure import Figure

    full = steps * TAPE_UNITS
    drawing = Figure(figsize=(7.2, 4.2))
    axes = drawing.subplots()
    table = mixed_tables(steps, full, 1, TAPE_UNITS)
    curves: dict[str, Iterator[tuple[float, float]]] = {
        "HSM: states": ((e, hidden_cost(steps, e + 1)) for e in _spread(steps - 1)),
        "ISM: tapes": (
            (slots * (TAPE_UNITS + 1), internal_cost(steps, slots + 1))
            for slots in _spread(full // (TAPE_UNITS + 1))
        ),
        "MSM: both": ((e, table.cost(steps, e)) for e in _spread(full)),
        "fixed periods": (
            (policy.least_units(steps), policy.cost(steps, 0))
            for policy in (Periodic(1, TAPE_UNITS, every=s) for s in (4, 8, 16, 32, 64, 125, 250, 500))
        ),
    }
    for label, points in curves.items():
        units, cost = np.array(list(points)).T
        style = "o:" if label == "fixed periods" else "-"
        axes.plot(100 * units / full, cost / steps, style, label=label, markersize=4)
    for label, policy, mark in (
        ("bisection", Bisection(1, TAPE_UNITS), "s"),
        ("all states", StoreHidden(1, TAPE_UNITS), "D"),
        ("all tapes", StoreAll(1, TAPE_UNITS), "*"),
    ):
        units = policy.least_units(steps)
        axes.plot(100 * units / full, policy.cost(steps, units) / steps, mark, color="0.3")
        axes.annotate(
            label, (100 * units / full, policy.cost(steps, units) / steps), (4, 4), textcoords="offset points"
        )
    axes.axhline(2, linestyle=":", color="0.5")
    axes.set(
        xscale="log", yscale="log", ylim=(0.9, 30), xlim=(0.02, 130),
        xlabel="memory, per cent of all tapes", ylabel="forward steps, C / T",
    )  # fmt: skip
    axes.set_yticks([1, 2, 3, 5, 10, 20], labels=["1", "2", "3", "5", "10", "20"])
    axes.legend()
    return drawing


@figure(
    PAPER,
    "Two schedules, operation by operation",
    r"$T=30$ in the same memory of 10 units. Up: steps run forward, without (thin) and with their tape (thick); dots: steps "
    r"pulled back. Left states alone, 77 forward steps; right states and tapes of 4 units, 67.",
)
def schedules(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.0, 3.4))
    left, right = drawing.subplots(1, 2, sharey=True)
    _draw_schedule(left, PolicySchedule(HiddenStates(), 30, 10), "states (HSM)")
    _draw_schedule(right, PolicySchedule(Mixed(mixed_tables(30, 10, 1, 4)), 30, 10), "states and tapes (MSM)")
    left.set(ylabel="step k")
    return drawing


def _draw_schedule(axes: Axes, schedule: Schedule, title: str) -> None:
    """Steps upwards, operations that take time to the right."""
    now = 0
    for operation in operations(schedule):
        if operation.kind in (ADVANCE, TAPE):
            after = now + operation.last - operation.step + 1
            width = 2.5 if operation.kind == TAPE else 0.8
            axes.plot((now, after), (operation.step - 1, operation.last), color="C0", linewidth=width)
            now = after
        elif operation.kind == BACK:
            axes.plot(now, operation.step - 0.5, ".", color="C3", markersize=4)
    axes.set(title=f"{title}: C = {now}", xlabel="forward steps")


def _spread(most: int) -> Iterator[int]:
    """Whole numbers from 1 to `most`, evenly on a logarithmic scale."""
    return iter(np.unique(np.geomspace(1, most, 200).astype(int)).tolist())
