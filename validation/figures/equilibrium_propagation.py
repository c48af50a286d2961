"""Figures of equilibrium propagation: its processes beside BPTT's, and its error against the nudge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.processes import bptt_processes, equilibrium_processes
from refsnn.algorithms.relaxation import relax
from refsnn.models.convergent import EnergyBasedNetwork, toy_network
from validation.figures import figure
from validation.ledger import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "equilibrium_propagation"


@figure(
    PAPER,
    "Updates of equilibrium propagation on the gradients of BPTT, step by step",
    r"The toy model of the paper (10-50-5, tanh, $\epsilon=0.08$, $T=5000$, $K=80$, $\beta=0.01$). Lines: BPTT, "
    r"$-\nabla(t)$, running backward in time. Circles: equilibrium propagation, $\Delta(\beta,t)$, running forward "
    r"through the nudged phase, every fourth step. Three units a layer and three weights a matrix.",
)
def processes(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    network, steps = toy_network(), 80
    parameters = network.initialise(rng)
    inputs = rng.random((1, network.widths[-1]))
    targets = np.eye(network.widths[0])[rng.integers(network.widths[0], size=1)]
    free = relax(network, parameters, inputs, steps=5000, keep_last=steps + 1)
    updates = equilibrium_processes(network, parameters, inputs, targets, free, steps=steps, nudge=0.01)
    gradients = bptt_processes(network, parameters, inputs, targets, free, steps=steps)

    drawing = Figure(figsize=(9.0, 5.2))
    panels = drawing.subplots(2, 2)
    shown = {
        "output units": ("layer.0", updates.states, gradients.states),
        "hidden units": ("layer.1", updates.states, gradients.states),
        "weights, hidden to output": ("coupling.0.1.weight", updates.parameters, gradients.parameters),
        "weights, input to hidden": ("coupling.1.2.weight", updates.parameters, gradients.parameters),
    }
    time = np.arange(steps)
    for axes, (title, (name, forward, backward)) in zip(panels.flat, shown.items(), strict=True):
        ours, truth = forward[name].reshape(steps, -1), -backward[name].reshape(steps, -1)
        for column in spread_columns(truth):
            (line,) = axes.plot(time, truth[:, column])
            axes.plot(
                time[::4],
                ours[::4, column],
                "o",
                color=line.get_color(),
                markerfacecolor="none",
                markersize=4,
            )
        axes.set(title=title)
    for axes in panels[1]:
        axes.set(xlabel="step t of the nudged phase")
    panels[0, 0].set(ylabel=r"$\Delta_s$ and $-\nabla_s$")
    panels[1, 0].set(ylabel=r"$\Delta_\theta$ and $-\nabla_\theta$")
    return drawing


def spread_columns(series: np.ndarray) -> list[int]:
    """The columns that go lowest and highest, and one in between: three curves that can be told apart."""
    peak = series[np.abs(series).argmax(axis=0), np.arange(series.shape[1])]
    low, high = int(peak.argmin()), int(peak.argmax())
    return [low, high, int(np.abs(peak - (0.7 * peak[low] + 0.3 * peak[high])).argmin())]


@figure(
    PAPER,
    "Error against the strength of the nudge",
    r"Relative error of the total update to BPTT truncated to the same $K$, energy-based network, worst parameter. "
    r"Full lines: converged free phase; the one-sided rule falls with slope 1 in $\beta$, the symmetric one with slope "
    r"2, down to rounding. Dashed: a free phase stopped early, where the one-sided error turns and grows as "
    r"$r/\beta$ with the residual $r$.",
)
def error_against_nudge(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    network = EnergyBasedNetwork((4, 6, 5, 3), activation="tanh", step_size=0.25)
    nudges = np.logspace(-6, -1, 21)
    steps_back = 40
    for _ in range(20):
        parameters = network.initialise(rng, scale=1.0)
        inputs, targets = rng.random((3, 3)), np.eye(4)[rng.integers(4, size=3)]
        if relax(network, parameters, inputs, steps=2000).residual <= 1e-14:
            break
    else:
        require(False, "none of 20 networks settled in 2000 steps")
    for stopped_early in range(20, 2000, 5):
        if relax(network, parameters, inputs, steps=stopped_early).residual <= 3e-7:
            break
    drawing = Figure(figsize=(7.2, 3.8))
    axes = drawing.subplots()
    for free_steps, style in ((2000, "o-"), (stopped_early, "o--")):
        truth = bptt_convergent(
            network, parameters, inputs, targets, free_steps=free_steps, steps_back=steps_back
        )
        for symmetric, colour in ((False, "C0"), (True, "C1")):
            errors = []
            for nudge in nudges:
                found = equilibrium_propagation(
                    network,
                    parameters,
                    inputs,
                    targets,
                    free_steps=free_steps,
                    nudged_steps=steps_back,
                    nudge=float(nudge),
                    symmetric=symmetric,
                ).gradients
                errors.append(
                    max(
                        np.abs(found[name] - value).max() / np.abs(value).max()
                        for name, value in truth.gradients.items()
                    )
                )
            label = "symmetric" if symmetric else "one-sided"
            if free_steps == 2000:
                fitted = (nudges > 3e-4) & (nudges < 3e-2)
                slope = np.polyfit(np.log(nudges[fitted]), np.log(np.array(errors)[fitted]), 1)[0]
                label += f", converged: slope {slope:.2f}"
            else:
                label += f", residual {truth.diagnostics.residual:.0e}"
            axes.loglog(nudges, errors, style, color=colour, markersize=3, label=label)
    axes.set(xlabel=r"nudge $\beta$", ylabel="relative error to BPTT")
    axes.legend()
    return drawing
