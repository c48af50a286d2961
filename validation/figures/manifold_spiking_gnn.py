"""Figures of spiking graph networks: what differentiation via manifold sees, and who stays on the manifold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import ManifoldResult, differentiation_via_manifold
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import hyperbolic, spherical
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from validation.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "manifold_spiking_gnn"
NODES, FEATURES, CLASSES = 12, 6, 3
ENTRY = "layer.0.weight", (2, 1)
SHIFTS = np.linspace(-0.25, 0.25, 501)
TANGENTS = ("transport", "project", "ambient")


@figure(
    PAPER,
    "What differentiation via manifold sees, and who stays on the manifold",
    r"Left: the loss of a small network on $H^3$ along one weight of its encoder, which changes spikes of two blocks above. "
    r"It is smooth where no spike flips and jumps where one does; at three places the slope that differentiation via "
    r"manifold gives: exactly that of the smooth pieces (claim 5.2). What the loss does over a wider range, the jumps do. "
    r"Right: $|\kappa\langle z,z\rangle-1|$ after each of eight blocks, the largest of all nodes: a drive that is transported or "
    r"projected stays on the manifold, one that is taken as it is leaves it at the first block.",
)
def jumps(rng: np.random.Generator) -> Figure:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.6, 3.6))
    left, right = drawing.subplots(1, 2)
    _draw_loss(left, rng)
    _draw_drift(right, rng)
    return drawing


def problem(
    rng: np.random.Generator, network: ManifoldSpikingNetwork
) -> tuple[Parameters, GraphInputs, NodeClasses]:
    """A random graph with random features, drawn until all blocks fire."""
    while True:
        ends = np.nonzero(np.triu(rng.random((NODES, NODES)) < 0.35, 1))
        inputs = GraphInputs.of(
            Graph.undirected(NODES, *ends), np.abs(rng.normal(size=(NODES, FEATURES))), network.layers
        )
        parameters = network.initialise(rng)
        head = NodeClasses(rng.integers(0, CLASSES, NODES), np.arange(NODES))
        run = differentiation_via_manifold(network, parameters, inputs, head).run
        if all(0.1 < rate.mean() < 0.9 for rate in run.rates):
            return parameters, inputs, head


def _network(layers: int) -> ManifoldSpikingNetwork:
    neuron = SpikingNeuron(leak=1.0, threshold=0.3, fires=">")
    return ManifoldSpikingNetwork(
        FEATURES, hyperbolic(3), CLASSES, layers=layers, step_size=0.3, neuron=neuron
    )


def _draw_loss(axes: Axes, rng: np.random.Generator) -> None:
    network = _network(2)
    parameters, inputs, head = problem(rng, network)
    name, place = ENTRY

    def at(shift: float) -> ManifoldResult:
        moved = {key: value.copy() for key, value in parameters.items()}
        moved[name][place] += shift
        return differentiation_via_manifold(network, moved, inputs, head)

    results = [at(shift) for shift in SHIFTS]
    losses = np.array([result.loss for result in results])
    fired = np.array([np.ravel(result.run.rates) for result in results])
    flips = np.flatnonzero((fired[1:] != fired[:-1]).any(axis=1)) + 1
    pieces = np.split(np.arange(len(SHIFTS)), flips)
    for piece in pieces:
        axes.plot(SHIFTS[piece], losses[piece], color="C0", linewidth=1.6)
    longest = sorted(sorted(pieces, key=len)[-3:], key=lambda piece: piece[0])
    for piece in longest:
        middle = piece[len(piece) // 2]
        slope = results[middle].gradients[name][place]
        around = SHIFTS[middle] + np.array([-0.04, 0.04])
        axes.plot(around, losses[middle] + slope * (around - SHIFTS[middle]), color="C1", linewidth=1.4)
        axes.plot(SHIFTS[middle], losses[middle], "o", color="C1", markersize=4)
    axes.set(xlabel="shift of one weight", ylabel="loss")


def _draw_drift(axes: Axes, rng: np.random.Generator) -> None:
    network = _network(8)
    parameters, inputs, head = problem(rng, network)
    for place, tangent in enumerate(TANGENTS):
        for manifold, style in ((hyperbolic(3), "o-"), (spherical(3), "s:")):
            chosen = replace(network, tangent=tangent, manifold=manifold)
            run = differentiation_via_manifold(chosen, parameters, inputs, head).run
            signs, kappa = manifold.signature(), manifold.factors[0].curvature
            drift = [np.abs(kappa * (signs * z * z).sum(axis=1) - 1).max() for z in run.points[1:]]
            axes.semilogy(
                range(len(drift)), np.maximum(drift, 1e-17), style, color=f"C{place}", markersize=4,
                label=f"{tangent}, {manifold}",
            )  # fmt: skip
    axes.set(xlabel="block", ylabel=r"$|\kappa\langle z,z\rangle-1|$")
    axes.legend(fontsize=7.5, ncols=2)
