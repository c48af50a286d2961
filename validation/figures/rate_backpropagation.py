"""Figures of rate-based backpropagation: how far its direction is from BPTT's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from validation.claims.rate_backpropagation.relations import closed_form_ratio
from validation.figures import figure
from validation.nets import Case, cosine, flat, live_case

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "rate_backpropagation"
SEEDS = 4
INPUTS = {"static input": True, "Bernoulli input": False}


def cosines(case: Case) -> dict[str, float]:
    """Cosine with BPTT of each weight gradient, and of the whole gradient (`all`)."""
    averaged = rate_backpropagation(*case.arguments).gradients
    truth = bptt(*case.arguments).gradients
    found = {name: cosine(averaged[name], truth[name]) for name in truth if name.endswith("weight")}
    return found | {"all": cosine(flat(averaged), flat(truth))}


def mean_over_seeds(
    rng: np.random.Generator, name: str, hidden: tuple[int, ...], static: bool, steps: int
) -> float:
    """Mean cosine of one parameter over random live networks."""
    found = [
        cosines(live_case(rng, hidden, steps=steps, static=static, rates=(0.01, 0.99)))[name]
        for _ in range(SEEDS)
    ]
    return float(np.mean(found))


@figure(
    PAPER,
    "Direction of the gradient, by layer, depth and number of steps",
    r"Cosine between the weight gradients of rate-based backpropagation and of BPTT, random networks of width 48, "
    r"$\lambda=0.2$, mean of four. Left: each layer of a network of five, from the input up. Middle: the first layer "
    r"against depth. Right: the whole gradient of three layers against $T$; it reaches a plateau, not 1.",
)
def direction(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.0, 3.2))
    by_layer, by_depth, by_steps = drawing.subplots(1, 3, sharey=True)
    depths, lengths = (1, 2, 3, 5, 8), (2, 4, 8, 16, 32, 64)
    for label, static in INPUTS.items():
        layers = range(1, 6)
        five = (48,) * 5
        each = [cosines(live_case(rng, five, static=static, rates=(0.01, 0.99))) for _ in range(SEEDS)]
        by_layer.plot(
            layers,
            [np.mean([c[f"layer.{index}.weight"] for c in each]) for index in layers],
            "o-",
            label=label,
        )
        by_depth.plot(
            depths, [mean_over_seeds(rng, "layer.1.weight", (48,) * d, static, 6) for d in depths], "o-"
        )
        by_steps.plot(lengths, [mean_over_seeds(rng, "all", (48,) * 3, static, s) for s in lengths], "o-")
    by_layer.set(xlabel="layer, from the input", ylabel="cosine with BPTT", title="by layer (T = 6)")
    by_layer.legend()
    by_depth.set(xlabel="hidden layers", title="first layer, by depth (T = 6)")
    by_steps.set(xlabel="T", title="three layers, by T", xscale="log")
    by_steps.set_xticks(lengths, [str(length) for length in lengths])
    by_steps.minorticks_off()
    for axes in (by_layer, by_depth, by_steps):
        axes.set_ylim(top=1.01)
    return drawing


@figure(
    PAPER,
    "How much too long, and what more temporal modes buy",
    r"Left: the closed form 5.3, by which the bias gradients of a network with constant surrogate are too long, against "
    r"the leak $\lambda$ for $k$ spiking layers at $T=6$. Right: relative error of the whole gradient against the number "
    r"$K$ of temporal modes, three layers of 48, $T=8$, Bernoulli input, mean of four; $K=1$ is rate-based "
    r"backpropagation, $K=T$ is BPTT (not shown: the error is rounding, see X13).",
)
def norm_and_modes(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.0, 3.2))
    norm, modes = drawing.subplots(1, 2)
    leaks = np.linspace(0, 1, 41)
    for layers in (1, 2, 3, 4):
        norm.plot(leaks, [closed_form_ratio(leak, 6, layers) for leak in leaks], label=f"k = {layers}")
    norm.set(xlabel=r"leak $\lambda$", ylabel="length relative to BPTT", title="constant surrogate")
    norm.legend()
    steps = 8
    for leak in (0.2, 0.5, 0.9):
        errors = []
        for _ in range(SEEDS):
            case = live_case(
                rng, (48,) * 3, SpikingNeuron(leak=leak), steps, static=False, rates=(0.01, 0.99)
            )
            truth = flat(bptt(*case.arguments).gradients)
            errors.append(
                [
                    np.linalg.norm(flat(temporal_galerkin(*case.arguments, n_modes=k).gradients) - truth)
                    / np.linalg.norm(truth)
                    for k in range(1, steps)
                ]
            )
        modes.semilogy(range(1, steps), np.mean(errors, axis=0), "o-", label=rf"$\lambda={leak}$")
    modes.set(xlabel="temporal modes K", ylabel="relative error to BPTT", title="Galerkin family")
    modes.legend()
    return drawing
