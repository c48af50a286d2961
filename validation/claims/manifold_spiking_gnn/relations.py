"""5.3 to 5.5: the two gradients beside each other, the theorem as printed, and what no gradient may depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import maps_of, through_points
from validation.claims.manifold_spiking_gnn.by_hand import Arrays
from validation.claims.manifold_spiking_gnn.gradients import SMALL, in_roundings
from validation.claims.manifold_spiking_gnn.problems import (
    BACKENDS,
    CURVATURES,
    Problem,
    blocks_below,
    by_leaf,
    draw,
    error,
    manifold_of,
    neuron_of,
    surrogate,
    variety,
)
from validation.ledger import Measured, claim


def both(problem: Problem, backend: str = "cpu") -> dict[str, float]:
    """How far the gradient over spikes is from that over the manifold, leaf by leaf."""
    return by_leaf(problem.over_spikes(backend).gradients, problem.result(backend).gradients)


@claim(
    "manifold_spiking_gnn/5.3",
    r"On the same forward pass the gradients over spikes and over the manifold have the same $\nabla_{W^L}$ and $\nabla_{W_c}$, since $s^L$ is not used.",
    source="specification, 5.3",
    metric="largest relative difference of the last block and the classifier, 12 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="the blocks below, smallest of all networks",
)
def last_block(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        below = blocks_below(problem)
        for backend in BACKENDS:
            differences = both(problem, backend)
            value = max(value, *(far for name, far in differences.items() if name not in below))
            control = min(control, max(differences[name] for name in below))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.3.below",
    r"Below the last block they differ: one drops the spikes' paths, the other replaces their slopes.",
    source="specification, 5.3",
    metric="largest relative difference of a lower block, smallest of 12 networks",
    relation=">=",
    bound=1e-2,
    control="the last block and the classifier",
)
def lower_blocks(rng: np.random.Generator) -> Measured:
    lower, upper = [], []
    for problem in variety(rng):
        below, differences = blocks_below(problem), both(problem)
        lower.append(max(differences[name] for name in below))
        upper.append(max(far for name, far in differences.items() if name not in below))
    return Measured(min(lower), max(upper), {"largest": max(lower)})


@claim(
    "manifold_spiking_gnn/5.3.no_layers",
    r"For $L=0$ they are the same.",
    source="specification, 5.3",
    metric="largest relative difference of a leaf, 12 networks",
    relation="<=",
    bound=1e-14,
    control="$L=1$, smallest of all networks",
)
def no_layers(rng: np.random.Generator) -> Measured:
    value = max(max(both(problem).values()) for problem in variety(rng, layers=0))
    return Measured(value, min(max(both(problem).values()) for problem in variety(rng, layers=1)))


@claim(
    "manifold_spiking_gnn/5.3.flat",
    r"For a pseudo-derivative of height 0 they are the same.",
    source="specification, 5.3",
    metric="largest relative difference of a leaf, height $10^{-30}$, 12 networks",
    relation="<=",
    bound=1e-14,
    control="height 1, smallest of all networks",
)
def flat_surrogate(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng, neuron=neuron_of(surrogate=surrogate(1e-30))):
        value = max(value, *both(problem).values())
        steep = problem.changed(neuron=neuron_of(surrogate=surrogate(1.0)))
        control = min(control, max(both(steep).values()))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.3.neurons",
    r"The published code compares the two on two models: its gradient over spikes comes with a hard reset and $\ge$, and other spikes.",
    source="specification, 5.3",
    metric="share of the neurons below the last block whose rates differ between the two, 12 networks",
    relation=">=",
    bound=1e-2,
    control="the same neuron twice",
)
def two_neurons(rng: np.random.Generator) -> Measured:
    shares, same = [], []
    for problem in variety(rng):
        hard = problem.changed(neuron=neuron_of(reset="hard", fires=">="))
        for other, into in ((hard, shares), (problem, same)):
            pairs = zip(problem.result().run.rates, other.over_spikes().run.rates, strict=True)
            into.append(float(np.mean([one != two for one, two in pairs])))
    return Measured(float(np.mean(shares)), max(same), {"largest": max(shares), "smallest": min(shares)})


# -- the theorem as printed -------------------------------------------------------------------------------


@claim(
    "manifold_spiking_gnn/5.4",
    r"With the ambient step Theorem 4.1 is exact as printed, $D_z\psi=c_0 I$.",
    source="Theorem 4.1, Eqs. (12), (41), (46); specification, 5.4",
    metric=r"largest error of an entry against central differences, in units of $3\epsilon\,\mathcal{L}/h$, 4 networks",
    relation="<=",
    bound=1.0,
    control="as printed, with the transported and the projected step",
)
def as_printed(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        expected, flips = problem.differences(SMALL)
        found = in_roundings(problem, problem.result(adjoint="paper").gradients, expected, flips)
        if problem.network.tangent == "ambient":
            value = max(value, found)
        else:
            control = min(control, found)
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.4.below",
    r"With a tangent step it is exact for the last block alone: what is missing below is $\partial v/\partial z$.",
    source="specification, 5.4",
    metric="largest relative error of a lower block, smallest of 8 networks with transport and projection",
    relation=">=",
    bound=1e-3,
    control="the last block and the classifier, largest of all networks",
)
def printed_below(rng: np.random.Generator) -> Measured:
    lower, upper = [], []
    for problem in variety(rng):
        if problem.network.tangent == "ambient":
            continue
        errors = by_leaf(problem.result(adjoint="paper").gradients, problem.complex_step())
        below = blocks_below(problem)
        lower.append(max(errors[name] for name in below))
        upper.append(max(far for name, far in errors.items() if name not in below))
    return Measured(min(lower), max(upper), {"largest": max(lower)})


# -- gauge ------------------------------------------------------------------------------------------------


def regauged(problem: Problem, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Gradients of all weights from dL/dz^L, and from dL/dz^L + alpha J z^L, alpha a number a node."""
    network, run = problem.network, problem.result().run
    maps = maps_of(network, problem.parameters, "cpu")
    head = problem.head.check(network, problem.inputs.nodes)
    top = head.loss(network, problem.parameters, run, maps, "cpu")
    assert top.points is not None
    alpha = rng.standard_normal((len(top.points), 1)) * np.abs(top.points).max()
    moved = top.points + alpha * network.manifold.signature() * run.points[-1]
    found = []
    for points in (top.points, moved):
        _, by_drive = through_points(run, maps, replace(top, points=points))
        heard = [problem.inputs.features, *run.rates]
        found.append(
            {
                f"layer.{block}.weight": network.step_size * by_drive[block].T @ (ahat @ rate)
                for block, (ahat, rate) in enumerate(zip(problem.setting.adjacencies, heard, strict=True))
            }
        )
    return found[0], found[1]


@claim(
    "manifold_spiking_gnn/5.5",
    r"How the loss is extended off the manifold does not matter: $\alpha_i J z^L_i$ added to $\partial\mathcal{L}/\partial z^L$ changes no $\nabla_{W^l}$.",
    source="specification, 5.5",
    metric="largest relative change of a leaf, 8 networks with transport and projection",
    relation="<=",
    bound=1e-13,
    control="4 networks with the ambient step, smallest of all",
)
def gauge(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        before, after = regauged(problem, rng)
        if problem.network.tangent == "ambient":
            control = min(control, error(after, before))
        else:
            value = max(value, error(after, before))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.5.ambient",
    r"With the ambient step it does matter: $z$ has left the manifold.",
    source="specification, 5.5",
    metric="largest relative change of a leaf, smallest of 12 networks with the ambient step",
    relation=">=",
    bound=0.03,
    control="the same networks with transport",
)
def gauge_of_ambient(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kappa in CURVATURES * 3:
        problem = draw(rng, manifold_of(kappa), "ambient")
        for tangent, into in (("ambient", values), ("transport", controls)):
            before, after = regauged(problem.changed(tangent=tangent), rng)
            into.append(error(after, before))
    return Measured(min(values), max(controls), {"largest": max(values)})
