"""Figures of equilibrium propagation: its exact laws, the orders of its bias, its processes beside BPTT's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.holomorphic_equilibrium_propagation import holomorphic_equilibrium_propagation
from refsnn.algorithms.processes import bptt_processes, equilibrium_processes
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.result import GradientResult
from refsnn.models.contract import Parameters
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork, toy_network
from validation.figures import figure
from validation.ledger import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "equilibrium_propagation"
SETTLED = 800  # free steps of the error curves


@figure(
    PAPER,
    "Exact where the paper says approximately",
    r"A prototypical network (10-50-50-20, tanh, $\epsilon=1$) at its steady state, $\beta\to0$. Each line is the worst "
    r"relative error of an array at step $t$: of the updates against BPTT as it is (full lines: what the paper "
    r"compares), and against BPTT as the exact laws say (dashed: rounding).",
)
def exact_laws(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.0, 3.6))
    panels = drawing.subplots(1, 2, sharey=True)
    steps = 24
    for axes, placement in zip(panels, ("outside", "inside"), strict=True):
        network = PrototypicalNetwork((10, 50, 50, 20), nudge_placement=placement)
        for _ in range(20):
            parameters = network.initialise(rng, scale=1.4)
            inputs, targets = rng.random((4, 20)), np.eye(10)[rng.integers(10, size=4)]
            free = relax(network, parameters, inputs, steps=2000, keep_last=steps + 1, backend="plain")
            if free.residual <= 1e-15:
                break
        else:
            require(False, "none of 20 networks settled in 2000 steps")
        problem = network, parameters, inputs, targets, free
        updates = equilibrium_processes(*problem, steps=steps, nudge=1e-30j)
        slopes = {name: (1 - state) * (1 + state) for name, state in free.state.items()}
        start, _ = network.loss_gradient(parameters, free.state, targets)
        if placement == "outside":
            start["layer.0"] = start["layer.0"] / slopes["layer.0"]
        plain = bptt_processes(*problem, steps=steps)
        exact = bptt_processes(*problem, steps=steps, start=start)
        scaled = {name: slopes[name] * array for name, array in exact.states.items()}
        for label, ours, truth, style in (
            ("states, BPTT", updates.states, plain.states, "C0-"),
            ("weights, BPTT", updates.parameters, plain.parameters, "C1-"),
            ("states, exact law", updates.states, scaled, "C0--"),
            ("weights, exact law", updates.parameters, exact.parameters, "C1--"),
        ):
            axes.semilogy(np.arange(steps), step_errors(ours, truth), style, label=label)
        axes.set(title=f"nudge {placement} the activation", xlabel="step t of the nudged phase")
    panels[0].set(ylabel="relative error")
    panels[0].legend()
    return drawing


def step_errors(updates: Parameters, gradients: Parameters) -> np.ndarray:
    """Worst |update + gradient| over the largest gradient of that array and step; never 0, for the axis."""
    worst = np.full(len(next(iter(updates.values()))), 1e-17)
    for name, update in updates.items():
        axes = tuple(range(1, update.ndim))
        size = np.abs(gradients[name]).max(axis=axes)
        alive = size > 1e-2 * size.max()  # a layer that the error has not reached has no relative error
        difference = np.abs(update + gradients[name]).max(axis=axes)
        worst[alive] = np.maximum(worst[alive], difference[alive] / size[alive])
    return worst


@figure(
    PAPER,
    "Three orders of bias",
    r"Relative error of the total update to BPTT truncated to the same $K$, energy-based network, worst parameter. "
    r"Left: against the nudge. The one-sided rule falls with slope 1, the symmetric one with slope 2, the holomorphic "
    r"one with $N$ points with slope $N$, down to rounding. Dashed: a free phase stopped early, where the one-sided "
    r"error turns and grows as $r/\beta$ with the residual $r$, and the symmetric one stays flat. Right: against the "
    r"number of points at a fixed nudge, geometric.",
)
def error_curves(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    network = EnergyBasedNetwork((4, 6, 5, 3), activation="tanh", step_size=0.25)
    nudges = np.logspace(-6, -1, 21)
    for _ in range(20):
        parameters = network.initialise(rng, scale=1.0)
        problem = network, parameters, rng.random((3, 3)), np.eye(4)[rng.integers(4, size=3)]
        if relax(*problem[:3], steps=SETTLED, backend="plain").residual <= 1e-14:
            break
    else:
        require(False, f"none of 20 networks settled in {SETTLED} steps")
    for early in range(20, SETTLED, 5):
        if relax(*problem[:3], steps=early, backend="plain").residual <= 3e-7:
            break
    drawing = Figure(figsize=(9.6, 3.9))
    left, right = drawing.subplots(1, 2, gridspec_kw={"width_ratios": (3, 2)})
    for free_steps, style in ((SETTLED, "o-"), (early, "o--")):
        truth = truncated(problem, free_steps)
        for symmetric, colour in ((False, "C0"), (True, "C1")):
            errors = []
            for nudge in nudges:
                found = equilibrium_propagation(
                    *problem, **phases(free_steps), nudge=float(nudge), symmetric=symmetric
                ).gradients
                errors.append(worst(found, truth.gradients))
            label = "symmetric" if symmetric else "one-sided"
            if free_steps == SETTLED:
                label += f", slope {fitted_slope(nudges, np.array(errors)):.2f}"
            else:
                label += f", residual {truth.diagnostics.residual:.0e}"
            left.loglog(nudges, errors, style, color=colour, markersize=3, label=label)
    truth = truncated(problem, SETTLED)

    def with_points(points: int, nudge: float) -> float:
        found = holomorphic_equilibrium_propagation(*problem, **phases(SETTLED), nudge=nudge, points=points)
        return worst(found.gradients, truth.gradients)

    for points, colour in ((4, "C2"), (8, "C3")):
        errors = [with_points(points, float(nudge)) for nudge in nudges[10:]]
        slope = fitted_slope(nudges[10:], np.array(errors))
        left.loglog(
            nudges[10:], errors, "o-", color=colour, markersize=3, label=f"{points} points, slope {slope:.1f}"
        )
    left.set(xlabel=r"nudge $\beta$", ylabel="relative error to BPTT")
    left.set(ylim=(1e-19, None))
    left.legend(loc="lower left", fontsize="small")
    counts = (2, 3, 4, 6, 8, 12, 16, 24)
    for nudge, colour in ((0.02, "C4"), (0.1, "C5")):
        errors = [with_points(points, nudge) for points in counts]
        right.semilogy(counts, errors, "o-", color=colour, markersize=3, label=rf"$\beta={nudge:g}$")
    right.set(xlabel="points N of the holomorphic rule")
    right.legend()
    return drawing


def phases(free_steps: int) -> dict[str, int | str]:
    """Lengths of the two phases of the error curves."""
    return {"free_steps": free_steps, "nudged_steps": 40, "backend": "plain"}


def truncated(problem: tuple, free_steps: int) -> GradientResult:
    """BPTT through the last 40 steps."""
    return bptt_convergent(*problem, free_steps=free_steps, steps_back=40, backend="plain")


def worst(found: Parameters, truth: Parameters) -> float:
    """Largest relative error of a parameter array; never 0, for the axis."""
    errors = [np.abs(found[name] - value).max() / np.abs(value).max() for name, value in truth.items()]
    return max(1e-17, *map(float, errors))


def fitted_slope(nudges: np.ndarray, errors: np.ndarray) -> float:
    """Slope in double logarithm where the error is neither rounding nor saturated."""
    fitted = (nudges > 3e-4) & (errors > 100 * errors.min()) & (errors < 0.03)
    return float(np.polyfit(np.log(nudges[fitted]), np.log(errors[fitted]), 1)[0])


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
    free = relax(network, parameters, inputs, steps=5000, keep_last=steps + 1, backend="plain")
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
