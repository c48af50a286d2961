"""Of our own: learned curvature, links, dropout and DropEdge, the surrogate gradient, twins, energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.models.manifold.energy import energy, spike_counts
from refsnn.models.manifold.heads import Head, NodeClasses
from validation.claims.manifold_spiking_gnn import by_hand
from validation.claims.manifold_spiking_gnn.by_hand import Arrays
from validation.claims.manifold_spiking_gnn.gradients import SMALL, in_roundings, off_forward_mode
from validation.claims.manifold_spiking_gnn.problems import (
    BACKENDS,
    TANGENTS,
    Problem,
    by_leaf,
    classes_of,
    draw,
    error,
    links_of,
    manifold_of,
    neuron_of,
    surrogate,
    variety,
)
from validation.ledger import Measured, VacuousError, claim

SPACES = (-1.0,), (2.0,), (-0.3, 1.0), (0.0, -1.0)
LEAST_SHARE = 1e-2


def tangent_head(rng: np.random.Generator) -> NodeClasses:
    """Logits of the summed drives."""
    return classes_of(rng, "tangent")


def squared_links(rng: np.random.Generator) -> Head:
    """Of the squared distance."""
    return links_of(rng, power=2)


def summed_links(rng: np.random.Generator) -> Head:
    """Of the sum of the factors' distances."""
    return links_of(rng, product_distance="l1")


HEADS: dict[str, Callable[[np.random.Generator], Head]] = {
    "classes": classes_of,
    "links": links_of,
    "squared": squared_links,
    "summed": summed_links,
}


def on_spaces(rng: np.random.Generator, heads: tuple[str, ...], **options: Any) -> Iterator[Problem]:
    """All spaces with all heads; transport and projection in turn."""
    turn = int(rng.integers(2))
    for curvatures in SPACES:
        for head in heads:
            turn += 1
            yield draw(rng, manifold_of(*curvatures), TANGENTS[turn % 2], head=HEADS[head], **options)


def curving(rng: np.random.Generator) -> Iterator[Problem]:
    """All spaces with all heads of points."""
    for curvatures in SPACES:
        for head in HEADS.values():
            yield curving_one(rng, curvatures, head)


def curving_one(
    rng: np.random.Generator, curvatures: tuple[float, ...], head: Callable[..., Head], **options: Any
) -> Problem:
    """A network whose curvatures all have their share of the gradient: it is a difference of two sums."""
    for _ in range(500):
        tangent = TANGENTS[int(rng.integers(2))]
        problem = draw(rng, manifold_of(*curvatures), tangent, head=head, learn_curvature=True, **options)
        found = problem.result().gradients
        size = max(np.abs(leaf).max() for leaf in found.values())
        if (np.abs(found["curvature"]) > LEAST_SHARE * size)[np.array(curvatures) != 0].all():
            return problem
    raise VacuousError("no network in 500 tries whose curvatures matter")


def at_fixed_points(problem: Problem) -> Arrays:
    """The gradient as it would be if the origin did not move with the curvature."""
    found, result = problem.result().gradients, problem.result()
    curvatures = problem.parameters["curvature"]
    moved = [
        (result.point_gradients[0][:, own.start]).sum() * factor.polar_origin / (2 * kappa) if kappa else 0.0
        for factor, own, kappa in zip(
            problem.network.manifold.factors, problem.network.manifold.slices, curvatures, strict=True
        )
    ]
    return found | {"curvature": found["curvature"] + np.array(moved)}


@claim(
    "manifold_spiking_gnn/X1.complex_step",
    r"A learned curvature's gradient, $-\frac{1}{2\kappa}\left(\mathrm{what\ is\ read}-\sum_l\langle\bar{u}^l,u^l\rangle\right)$, is the derivative of a network whose space changes.",
    source="scaling of lengths",
    metric="largest relative error of a leaf against the complex step, 16 networks on H, S, H x S, E x H, classes and three losses of links, both backends",
    relation="<=",
    bound=1e-12,
    control="the origin where it is",
)
def learned_curvature(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in curving(rng):
        expected = problem.complex_step()
        value = max(value, *(error(problem.result(backend).gradients, expected) for backend in BACKENDS))
        control = min(control, error(at_fixed_points(problem), expected))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X1.differences",
    r"The same against central differences, with spikes computed anew.",
    source="scaling of lengths",
    metric=r"largest error of an entry that flips no spike, in units of $3\epsilon\,\mathcal{L}/h$, 16 networks",
    relation="<=",
    bound=1.0,
    control="the origin where it is",
)
def curvature_differences(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in curving(rng):
        expected, flips = problem.differences(SMALL)
        value = max(value, in_roundings(problem, problem.result().gradients, expected, flips))
        control = min(control, in_roundings(problem, at_fixed_points(problem), expected, flips))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X1.tangent_head",
    r"What is read from the drives alone has no gradient by the curvature.",
    source="specification, 2.7",
    metric=r"largest $|\partial\mathcal{L}/\partial\kappa|$, 4 networks with the tangent head",
    relation="<=",
    bound=1e-15,
    control="the manifold head, smallest of 4 networks",
)
def curvature_of_drives(rng: np.random.Generator) -> Measured:
    found = []
    for head in (tangent_head, classes_of):
        sizes = []
        for curvatures in SPACES:
            problem = draw(rng, manifold_of(*curvatures), head=head, learn_curvature=True)
            sizes.append(float(np.abs(problem.result().gradients["curvature"]).max()))
        found.append(sizes)
    return Measured(max(found[0]), min(found[1]))


@claim(
    "manifold_spiking_gnn/X2",
    r"The Fermi-Dirac decoder's gradient, of $d$ and $d^2$, of both distances on products.",
    source="Sec. 4.3; specification, 2.7",
    metric="largest relative error of a leaf against the complex step, 12 networks on H, S, H x S, E x H, both backends",
    relation="<=",
    bound=1e-13,
    control="links and absent pairs exchanged",
)
def links(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in on_spaces(rng, ("links", "squared", "summed")):
        expected = problem.complex_step()
        value = max(value, *(error(problem.result(backend).gradients, expected) for backend in BACKENDS))
        head: Any = problem.head
        turned = type(head)(
            head.absent, head.links, head.radius, head.temperature, head.power, head.product_distance
        )
        control = min(control, max(by_leaf(problem.with_(head=turned).result().gradients, expected).values()))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X2.forward_mode",
    r"Forward mode through links, through learned curvatures and through masks.",
    source="Eq. (12)",
    metric="largest relative error of an entry against the complex step, 3 networks on H x S, 12 entries of each leaf",
    relation="<=",
    bound=1e-12,
    control="with the other product distance",
)
def links_forward(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    noises: list[Any] = [None, {"dropout": 0.2, "drop_edge": 0.2}, {"dropout": 0.2, "each": True}]
    for number, noise in enumerate(noises):
        head, other = ((links_of, "l1"), (summed_links, "l2"))[number % 2]
        problem = curving_one(rng, (-0.3, 1.0), head, noise=noise)
        value = max(value, off_forward_mode(rng, problem, problem.complex_step()))
        turned = problem.with_(head=replace(problem.head, product_distance=other))  # type: ignore[type-var]
        control = min(control, off_forward_mode(rng, turned, problem.complex_step()))
    return Measured(value, control)


# -- noise ------------------------------------------------------------------------------------------------

NOISES: tuple[dict[str, Any], ...] = (
    {"dropout": 0.3},
    {"drop_edge": 0.3},
    {"dropout": 0.3, "drop_edge": 0.3},
    {"dropout": 0.3, "each": True},
    {"dropout": 0.3, "drop_edge": 0.3, "each": True},
)


@claim(
    "manifold_spiking_gnn/X3",
    r"Dropout of currents, one mask or one a step, and DropEdge, anew in each block: the gradient over the manifold.",
    source="specification, section 3",
    metric="largest relative error of a leaf against the complex step, 15 networks, both backends",
    relation="<=",
    bound=1e-13,
    control="the network without noise",
)
def noise(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in noisy(rng):
        expected = problem.complex_step()
        value = max(value, *(error(problem.result(backend).gradients, expected) for backend in BACKENDS))
        control = min(control, max(by_leaf(quiet(problem).result().gradients, expected).values()))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X3.spikes",
    r"The same, over spikes.",
    source="specification, section 3",
    metric="largest relative error of a leaf against the complex step along affine spikes, 15 networks, both backends",
    relation="<=",
    bound=1e-13,
    control="the network without noise",
)
def noise_over_spikes(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in noisy(rng):
        expected = problem.complex_step("affine")
        value = max(value, *(error(problem.over_spikes(backend).gradients, expected) for backend in BACKENDS))
        control = min(control, max(by_leaf(quiet(problem).over_spikes().gradients, expected).values()))
    return Measured(value, control)


def noisy(rng: np.random.Generator) -> Iterator[Problem]:
    """All kinds of noise with all tangent maps."""
    for number, kind in enumerate(NOISES):
        for tangent in TANGENTS:
            yield draw(rng, manifold_of((-1.0, 2.0, -0.3, 1.0)[number % 4]), tangent, noise=kind)


def quiet(problem: Problem) -> Problem:
    """Without the noise."""
    inputs = problem.inputs
    plain = type(inputs).of(inputs.graph, inputs.features, problem.network.layers)
    return problem.with_(inputs=plain, kept_edges=None)


# -- spikes -----------------------------------------------------------------------------------------------


@claim(
    "manifold_spiking_gnn/X4",
    r"The gradient over spikes is the derivative of a network with affine spikes, $s=s_0+\sigma'(V_0)(V-V_0)$, about the run: soft and hard reset, detached or not, with leak and gain, one factor and two.",
    source="Eq. (11); specification, 4.4",
    metric="largest relative error of a leaf against the complex step, 24 networks, both backends",
    relation="<=",
    bound=1e-13,
    control="the reset detached where it is not, and attached where it is",
)
def over_spikes(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for tangent in TANGENTS:
        for reset in ("soft", "hard"):
            for detached in (True, False):
                for leak, gain in ((1.0, 1.0), (0.8, 0.7)):
                    neuron = neuron_of(
                        leak=leak,
                        reset=reset,
                        detach_reset=detached,
                        fires=(">", ">=")[int(rng.integers(2))],
                        surrogate=surrogate(float(rng.uniform(0.5, 1.5))),
                    )
                    space = manifold_of(*((-1.0,), (2.0,), (-0.3, 0.0))[int(rng.integers(3))])
                    problem = draw(rng, space, tangent, neuron=neuron, gain=gain)
                    expected = problem.complex_step("affine")
                    for backend in BACKENDS:
                        value = max(value, error(problem.over_spikes(backend).gradients, expected))
                    other = neuron_of(
                        leak=leak,
                        reset=reset,
                        detach_reset=not detached,
                        fires=neuron.fires,
                        surrogate=neuron.surrogate,
                    )
                    wrong = problem.changed(neuron=other).over_spikes().gradients
                    control = min(control, max(by_leaf(wrong, expected).values()))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/X4.forward",
    r"Spikes, drives and points are those of the network written down a second time, with dense matrices and textbook maps.",
    source="Eqs. (1) to (10)",
    metric="largest relative difference of drives, points and loss, spikes the same, 12 networks, both backends",
    relation="<=",
    bound=1e-13,
    control="three times the threshold",
)
def forward_pass(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        for backend in BACKENDS:
            value = max(value, off_base(problem, backend))
        higher = problem.changed(neuron=neuron_of(threshold=3 * problem.network.neuron.threshold))
        control = min(control, off_base(higher, "cpu", problem.base))
    return Measured(value, control)


def off_base(problem: Problem, backend: str, base: by_hand.Run | None = None) -> float:
    """Largest relative difference of drives, points and rates."""
    base = problem.base if base is None else base
    run = problem.result(backend).run
    rates = [spikes.mean(axis=0) for spikes in base.spikes[:-1]]
    pairs = [*zip(run.rates, rates, strict=True), *zip(run.drives, base.drives, strict=True)]
    pairs += zip(run.points[1:], base.points, strict=True)
    return max(float(np.abs(found - known).max() / np.abs(known).max()) for found, known in pairs)


@claim(
    "manifold_spiking_gnn/X5",
    r"Plain and compiled kernels give the same spikes and the same numbers.",
    source="one text of the equations",
    metric="largest relative difference of a leaf, both gradients, 12 networks",
    relation="<=",
    bound=1e-12,
    control="the gradient in float32",
)
def twins(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        for name in ("result", "over_spikes"):
            plain, compiled = (getattr(problem, name)(backend) for backend in BACKENDS)
            same = all(np.array_equal(a, b) for a, b in zip(plain.run.rates, compiled.run.rates, strict=True))
            value = max(value, error(compiled.gradients, plain.gradients)) if same else np.inf
        control = min(control, error(single(problem).result().gradients, problem.result().gradients))
    return Measured(value, control)


def single(problem: Problem) -> Problem:
    """In float32."""
    inputs, number = problem.inputs, np.float32
    narrow = type(inputs).of(inputs.graph, inputs.features, problem.network.layers, number)
    parameters = {name: array.astype(number) for name, array in problem.parameters.items()}
    return problem.with_(inputs=narrow, parameters=parameters)


# -- energy -----------------------------------------------------------------------------------------------


@claim(
    "manifold_spiking_gnn/X6",
    r"Energies are counted from the spikes of all blocks, $s^L$ included: as printed, as the published code does, and in full.",
    source="Eqs. (68), (69); specification, section 6",
    metric="largest relative difference to sums over all neurons and steps by hand, three counts, 12 networks",
    relation="<=",
    bound=1e-14,
    control="without the spikes of the last block",
)
def energies(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        network, edges = problem.network, problem.inputs.graph.edges
        spikes = [int(block.sum()) for block in problem.base.spikes]
        nodes, width, above = len(problem.inputs.features), network.width, spikes[1:]  # type: ignore[arg-type]
        expected = {
            "paper": 4.6 * spikes[0],
            "official": 4.6 * (edges / 2 * width + spikes[0] + nodes * width),
        }
        for count in above:
            expected["paper"] += 3.7 * count
            expected["official"] += 3.7 * (count + nodes * width)
        transform, head = nodes * network.features * width, nodes * width * network.classes
        expected["full"] = expected["official"] + 4.6 * transform + 4.6 * head
        expected["official"] += 2 * head
        counted = spike_counts(network, problem.parameters, problem.inputs, problem.result().run)
        found = energy(network, problem.inputs, counted)
        short = energy(network, problem.inputs, np.append(counted[:-1], 0))
        for name, known in expected.items():
            value = max(value, abs(getattr(found, name) / known - 1))
            control = min(control, abs(getattr(short, name) / known - 1))
    return Measured(value, control)
