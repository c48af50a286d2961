"""Figures of online training through time: how far each cut of the unrolled graph points along BPTT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from validation.claims.ottt.alignment import DETACHED, FULL, mean_cosines
from validation.figures import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "ottt"
SEEDS = 4
LABELS = {"paper": "OTTT", "sltt": "SLTT", "ndot": "NDOT"}


@figure(
    PAPER,
    "Direction of the gradient, by layer, leak and reset",
    r"Cosine between the gradient of each hidden weight and that of BPTT, random networks of four spiking layers with "
    r"standardised weights, time-varying input, mean of four. Left: BPTT with a detached reset, $\lambda=0.5$, $T=6$; the "
    r"last layer's is exact for OTTT. Middle: the same with $\lambda=0.9$, $T=20$: what later steps of the layers above "
    r"would have said is missing, and that compounds with depth. Right: OTTT against BPTT with a detached and with a live "
    r"reset; it is closer to the latter in the lower layers, for a live reset shortens BPTT's own credit.",
)
def direction(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.0, 3.2))
    short, long, resets = drawing.subplots(1, 3, sharey=True)
    for axes, leak, steps in ((short, 0.5, 6), (long, 0.9, 20)):
        found = mean_cosines(rng, tuple(LABELS), SEEDS, (DETACHED,), leak=leak, steps=steps, static=False)
        for preset, cosines in found.items():
            axes.plot(range(1, cosines.shape[1] + 1), cosines[0], "o-", label=LABELS[preset])
        axes.set(xlabel="layer, from the input", title=rf"$\lambda={leak}$, T = {steps}")
    both = mean_cosines(rng, ("paper",), SEEDS, (DETACHED, FULL), leak=0.5, steps=6, static=False)["paper"]
    for label, cosines in zip(("detached reset", "live reset"), both, strict=True):
        resets.plot(range(1, len(cosines) + 1), cosines, "o-", label=label)
    resets.set(xlabel="layer, from the input", title=r"OTTT, $\lambda=0.5$, T = 6")
    short.set(ylabel="cosine with BPTT")
    for axes in (short, long, resets):
        axes.set_ylim(top=1.02)
        axes.legend()
    return drawing
