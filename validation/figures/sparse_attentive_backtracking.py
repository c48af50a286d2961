"""Figure of sparse attentive backtracking: which edges carry gradient, and how much of it comes where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult, sparse_attentive_backtracking
from refsnn.models.attentive.network import AttentiveNetwork, mental_updates
from refsnn.models.sequences import StepTargets
from validation.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "sparse_attentive_backtracking"
STEPS, UNITS = 28, 12
CARRIES, SILENT, CREDITED = "#1f5fa8", "0.8", "#c8442c"


@figure(
    PAPER,
    "Which edges carry gradient",
    r"A sequence through a random LSTM with $(k_{top},k_{att},k_{trunc})=(2,3,5)$ and one loss, at the last step. Squares are "
    r"states that were stored. Arcs go from a step back to the memories it has read (solid: the $k_{top}$ that survive; "
    r"dotted: the one that supplies the threshold, which gets gradient although its weight is 0); the line of the "
    r"recurrence is broken where it is cut. In colour what gradient runs along, in grey what it does not. Below, the "
    r"norm of $\partial L/\partial h_t$: with nothing cut it is never 0, with the cuts alone it stops at the last one, and "
    r"reminding takes it from there to the states that were retrieved, and locally on.",
)
def edges(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    network = AttentiveNetwork(
        (3, UNITS, 4), top=2, store_every=3, truncate_every=5, small_memory="softmax", readout="last"
    )
    parameters = network.initialise(rng)
    parameters["attention.score_weight"] *= 30
    inputs, label = rng.standard_normal((STEPS, 1, 3)), rng.integers(0, 4, (STEPS, 1))
    loss_at_end = StepTargets(label, np.eye(STEPS)[-1])

    def run(**options: object) -> AttentiveResult:
        return sparse_attentive_backtracking(replace(network, **options), parameters, inputs, loss_at_end)

    reminded = run()
    drawing = Figure(figsize=(9.6, 4.6))
    above, below = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    draw_edges(above, network, reminded)
    steps = np.arange(1, STEPS + 1)
    for result, colour, name in (
        (run(truncate_every=None), "0.6", "nothing cut"),
        (reminded, CARRIES, "cut and reminded"),
        (run(detached=mental_updates("none")), CREDITED, "cut alone"),
    ):
        there = result.reach[:, 0] > 0
        below.semilogy(
            steps[there], result.reach[there, 0], "o", color=colour, markersize=4.5, alpha=0.85, label=name
        )
    below.set(xlabel="step $t$", ylabel=r"$|\partial L/\partial h_t|$")
    below.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 1.0))
    return drawing


def carrying(network: AttentiveNetwork, result: AttentiveResult) -> set[int]:
    """The steps that credit comes to from the last one, along live edges, of the first sample."""
    steps, times = len(result.outputs), result.slot_times
    reached = set()
    ahead = [steps]
    while ahead:
        step = ahead.pop()
        if step < 1 or step in reached:
            continue
        reached.add(step)
        if not network.cut_before(step):
            ahead.append(step - 1)
        ahead += [int(times[slot]) for slot, _ in read_at(result, step)]
    return reached


def read_at(result: AttentiveResult, step: int) -> list[tuple[int, bool]]:
    """Slots that a step has read, and whether each is the threshold's only."""
    chosen = result.readings.chosen[step - 1, 0]
    survivors = [int(slot) for slot in chosen if slot >= 0]
    threshold = int(result.threshold_slots[step - 1, 0])
    extra = [] if threshold < 0 or threshold in survivors else [(threshold, True)]
    return [(slot, False) for slot in survivors] + extra


def draw_edges(axes: Axes, network: AttentiveNetwork, result: AttentiveResult) -> None:
    """Recurrence as a line, reminding as arcs above it."""
    from matplotlib.patches import Arc

    reached, times = carrying(network, result), result.slot_times
    top, last = 0.0, len(result.outputs)
    for step in range(1, last + 1):
        live = step in reached
        if step > 1 and not network.cut_before(step):
            axes.plot((step - 1, step), (0, 0), color=CARRIES if live else SILENT, linewidth=2, zorder=1)
        for slot, threshold_only in read_at(result, step):
            time = int(times[slot])
            span = step - time
            if time == 0:
                continue  # h_0: nothing learns there
            top = max(top, span)
            axes.add_patch(
                Arc(
                    ((step + time) / 2, 0), span, span, theta1=0, theta2=180,
                    color=CARRIES if live else SILENT, linewidth=1.1 if live else 0.5,
                    linestyle=":" if threshold_only else "-", zorder=2 if live else 0,
                )
            )  # fmt: skip
    stored = set(times.tolist())
    for step in range(1, last + 1):
        axes.plot(
            step, 0, "s" if step in stored else "o", color=CARRIES if step in reached else SILENT, markersize=6,
            markeredgecolor="white", zorder=3,
        )  # fmt: skip
    axes.plot(last, 0, "o", color=CREDITED, markersize=8, zorder=4)
    axes.annotate("loss", (last, 0), (0, -14), textcoords="offset points", ha="center")
    for step in range(1, last + 1):
        if network.cut_before(step):
            axes.plot((step - 0.5,) * 2, (-0.6, 0.6), color=CREDITED, linewidth=1.2)
    axes.set(ylim=(-2.2, top / 2 + 0.8), yticks=[], xlim=(0, last + 1))
    axes.grid(False)
    axes.tick_params(bottom=False)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
