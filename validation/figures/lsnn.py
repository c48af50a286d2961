"""Figures of LSNN: one neuron under three schemes, and how far back a gradient reaches."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.run import Run
from refsnn.models.contract import StaticInput
from validation.claims.lsnn.horizon import reach
from validation.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "lsnn"
STEPS, CURRENT = 60, 0.05
SCHEMES = (("official", 0), ("official", 1), ("paper", 0), ("eprop", 0))


@figure(
    PAPER,
    "One neuron, three schemes",
    r"The same neuron under the same constant current: potential $v_{k+1}$, threshold $\mathcal B_{k+1}$ and spikes "
    r"$z_{k+1}$ at each step $k$. `official` compares the potential of the step before and resets one step after a spike: "
    r"without a refractory period it fires pairs, and the second spike of a pair takes the potential below 0; one "
    r"refractory step hides that. `paper` resets at once, by the threshold that was crossed. `eprop` compares the new "
    r"potential and resets by $b^0$ one step later.",
)
def schemes(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.6, 3.4))
    panels = drawing.subplots(1, len(SCHEMES), sharey=True)
    for axes, (scheme, refractory) in zip(panels, SCHEMES, strict=True):
        potential, threshold, spikes = traces(scheme, refractory)
        steps = np.arange(STEPS)
        axes.plot(steps, potential, label=r"potential $v$", drawstyle="steps-mid", linewidth=1.2)
        axes.plot(steps, threshold, label=r"threshold $\mathcal{B}$", linewidth=1.2)
        axes.vlines(np.flatnonzero(spikes), 0.030, 0.034, color="C2", linewidth=1.5, label="spikes $z$")
        axes.set(title=f"{scheme}, R = {refractory}", xlabel="step k")
    panels[0].set(ylabel="threshold units")
    panels[-1].legend(loc="lower left", fontsize=7.5, framealpha=0.9, frameon=True)
    return drawing


def traces(scheme: str, refractory: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """v_{k+1}, B_{k+1} and z_{k+1} of one neuron that adapts, under a constant current."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        neuron = AdaptiveNeuron.of_time_constants(
            20.0, 60.0, adaptation_strength=0.12, refractory=refractory, scheme=scheme
        )
    network = AdaptiveSpikingNetwork((1, 1, 1), neuron=neuron)
    parameters = {
        "layer.1.input_weight": np.ones((1, 1)),
        "layer.1.recurrent_weight": np.zeros((1, 1)),
        "readout.weight": np.zeros((1, 1)),
        "readout.bias": np.zeros(1),
    }
    drive = StaticInput(np.full((1, 1), CURRENT), STEPS)
    run = whole_run(network, parameters, drive)
    constants = neuron.of_each(1)
    threshold = constants["baseline"] + constants["adaptation_strength"] * run.states.adaptation[1:, 0, 0]
    return run.states.potential[1:, 0, 0], threshold, run.states.spikes[1:, 0, 0]


def whole_run(network: AdaptiveSpikingNetwork, parameters: dict, inputs: object) -> Run:
    """A run from rest."""
    parameters, driven = network.check_inputs(parameters, inputs)
    core = network.working_core(parameters, driven, None)
    core.start(None)
    run = Run(core, None)
    run.forward(core.before.copies())
    return run


REACH_LAGS = (20, *range(60, 901, 40))


@figure(
    PAPER,
    "How far back a gradient reaches",
    r"A random network of 100 neurons, a cotangent on the spikes of its last 20 steps, and the Euclidean norms over "
    r"neurons of what arrives at earlier steps; medians of five networks, ranges shaded. Left $|\hat v|$: undamped "
    r"($\gamma=1$) it grows by many decades in a second, with $\gamma=0.3$ it dies out where no neuron adapts. Right "
    r"$|\hat b|$, with 50 adaptive neurons: dampened it falls little faster than $\rho^{n}$ alone (dotted), so that a "
    r"second later there is still something to learn from; undamped the slow path drowns.",
)
def horizon(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.6, 3.4))
    left, right = drawing.subplots(1, 2)
    kinds = ((False, 1.0, "LIF"), (True, 1.0, "adaptive"), (False, 0.3, "LIF"), (True, 0.3, "adaptive"))
    for place, (adaptive, height, name) in enumerate(kinds):
        found = [reach(rng, adaptive, height, REACH_LAGS) for _ in range(5)]
        label = rf"{name}, $\gamma={height:g}$"
        _draw_range(left, np.array([one.potential for one in found]), f"C{place}", label)
        if adaptive:
            _draw_range(right, np.array([one.adaptation for one in found]), f"C{place}", label)
    start = right.lines[-1].get_ydata()[0]
    alone = start - (np.array(REACH_LAGS) - REACH_LAGS[0]) / 500 / np.log(10)
    right.plot(REACH_LAGS, alone, ":", color="0.4", label=r"$\rho^n$")
    left.set(xlabel="steps back", ylabel=r"$\log_{10}|\hat v|$")
    right.set(xlabel="steps back", ylabel=r"$\log_{10}|\hat b|$")
    left.legend()
    right.legend()
    return drawing


def _draw_range(axes: Axes, values: np.ndarray, colour: str, label: str) -> None:
    """Median and range over networks."""
    axes.plot(REACH_LAGS, np.median(values, axis=0), color=colour, label=label)
    axes.fill_between(
        REACH_LAGS, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0
    )
