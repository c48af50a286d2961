"""5.6, 5.8 to 5.10: where the points are, what rates alone decide, and how often a neuron fires."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold, maps_of
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import euclidean
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun, forward
from validation.claims.manifold_spiking_gnn.by_hand import Arrays
from validation.claims.manifold_spiking_gnn.problems import (
    BACKENDS,
    CURVATURES,
    TANGENTS,
    Problem,
    by_leaf,
    draw,
    manifold_of,
    variety,
)
from validation.ledger import Measured, claim, require


def run_of(problem: Problem, backend: str = "cpu", keep: bool = False) -> ManifoldRun:
    """The package's forward pass."""
    maps = maps_of(problem.network, problem.parameters, backend)
    return forward(problem.network, problem.parameters, problem.inputs, maps, backend, keep)


# -- the manifold -----------------------------------------------------------------------------------------


def drift(problem: Problem, backend: str = "cpu") -> float:
    """Largest |kappa <z, z> - 1| of a node after the last block, in units of |kappa| z_0^2 where that is large."""
    (factor,) = problem.network.manifold.factors
    z = problem.result(backend).run.points[-1]
    square = (problem.network.manifold.signature() * z * z).sum(axis=1)
    unit = np.maximum(1, abs(factor.curvature) * z[:, 0] ** 2) if factor.curvature < 0 else 1
    return float((np.abs(factor.curvature * square - 1) / unit).max())


@claim(
    "manifold_spiking_gnn/5.6",
    r"Transported and projected steps stay on the manifold.",
    source="specification, 5.6",
    metric=r"largest $|\kappa\langle z,z\rangle-1|$ of $z^L$, on the hyperboloid over $|\kappa|z_0^2$, 8 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="the ambient step, smallest of 4 networks",
)
def constraint(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        found = [drift(problem, backend) for backend in BACKENDS]
        if problem.network.tangent == "ambient":
            control = min(control, *found)
        else:
            value = max(value, *found)
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.6.ambient",
    r"The ambient step, which the published code takes, leaves it at once: with $\varepsilon=0.3$ by a good part of its radius.",
    source="specification, 5.6",
    metric=r"largest $|\kappa\langle z,z\rangle-1|$ of a node, smallest of 12 networks",
    relation=">=",
    bound=0.03,
    control="the same networks with transport",
)
def ambient_leaves(rng: np.random.Generator) -> Measured:
    problems = [draw(rng, manifold_of(kappa), "ambient") for kappa in CURVATURES * 3]
    values = [drift(problem) for problem in problems]
    controls = [drift(problem.changed(tangent="transport")) for problem in problems]
    return Measured(min(values), max(controls), {"largest": max(values)})


# -- small curvature --------------------------------------------------------------------------------------


def column_silenced(rng: np.random.Generator, parameters: Arrays) -> None:
    """Column 0 of every W (row 0 as it is stored) is 0: neuron 0 never fires, drives are tangent at o."""
    for name, value in parameters.items():
        if name.startswith("layer"):
            value[0] = 0


def off_flat(problem: Problem, kappa: float) -> float:
    """Largest difference of a coordinate beside the first to the sum of the drives, over |kappa|."""
    curved = problem.changed(manifold=manifold_of(kappa))
    run = curved.result().run
    return float(np.abs(run.points[-1] - run.summed_drive)[:, 1:].max() / abs(kappa))


def departure(problem: Problem) -> float:
    """How far error / |kappa| is from its value at |kappa| = 1e-4, over |kappa|; for both signs."""
    worst = 0.0
    for sign in (-1, 1):
        constant = off_flat(problem, sign * 1e-4)
        require(constant > 1e-4, "no departure from flat space")
        for size in (1e-1, 1e-2, 1e-3):
            worst = max(worst, abs(off_flat(problem, sign * size) / constant - 1) / size)
    return worst


@claim(
    "manifold_spiking_gnn/5.8",
    r"For $\kappa\to0$ the points go to the flat ones, $\sum_l u^l$, with an error that is $|\kappa|$ times a constant, if drives have no part along the origin.",
    source="specification, 5.8",
    metric=r"largest relative change of error/$|\kappa|$ from $|\kappa|=10^{-4}$ to $10^{-1}$, $10^{-2}$, $10^{-3}$, over $|\kappa|$; both signs, median of 3 networks, the largest of 3 tangent maps",
    relation="<=",
    bound=0.7,
    control="the same networks with drives along the origin too, and projected",
)
def nearly_flat(rng: np.random.Generator) -> Measured:
    values: dict[str, list[float]] = {tangent: [] for tangent in TANGENTS}
    for tangent in TANGENTS * 3:
        problem = draw(rng, manifold_of(1.0), tangent, prepare=column_silenced, firing=slice(1, None))
        values[tangent].append(departure(problem))
    control = min(departure(draw(rng, manifold_of(1.0), "project")) for _ in range(3))
    value = max(float(np.median(some)) for some in values.values())
    return Measured(value, control, {"largest": max(map(max, values.values()))})


@claim(
    "manifold_spiking_gnn/5.8.signs",
    r"The constant is the same for both signs of $\kappa$.",
    source="specification, 5.8",
    metric=r"largest relative difference of error/$|\kappa|$ at $\kappa=\pm10^{-4}$, 9 networks",
    relation="<=",
    bound=5e-4,
    control=r"at $\kappa=\pm10^{-1}$",
)
def both_signs(rng: np.random.Generator) -> Measured:
    near, far = [], []
    for tangent in TANGENTS * 3:
        problem = draw(rng, manifold_of(1.0), tangent, prepare=column_silenced, firing=slice(1, None))
        for size, into in ((1e-4, near), (1e-1, far)):
            pair = [off_flat(problem, sign * size) for sign in (-1, 1)]
            into.append(abs(pair[0] / pair[1] - 1))
    return Measured(max(near), max(far))


# -- rates ------------------------------------------------------------------------------------------------


@claim(
    "manifold_spiking_gnn/5.9",
    r"The mean current is that of the rates: $\frac1T\sum_t\hat{A}s[t]W=\hat{A}rW$.",
    source="Eq. (7); specification, 5.9",
    metric="largest relative difference of drives of a block to the mean over all steps by hand, 12 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="rates without the spikes of the last step",
)
def rate_identity(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        base, network = problem.base, problem.network
        for backend in BACKENDS:
            for found, expected in zip(run_of(problem, backend).drives, base.drives, strict=True):
                value = max(value, float(np.abs(found - expected).max() / np.abs(expected).max()))
        short = base.spikes[0][:-1].sum(axis=0) / network.steps
        wrong = network.step_size * problem.setting.adjacencies[1] @ short
        wrong = wrong @ problem.parameters["layer.1.weight"].T
        control = min(control, float(np.abs(wrong - base.drives[1]).max() / np.abs(base.drives[1]).max()))
    return Measured(value, control)


@claim(
    "manifold_spiking_gnn/5.9.gradients",
    r"The gradient from rates is that from the currents of all steps.",
    source="specification, 5.9",
    metric="largest relative difference of a leaf, masks of 1 at each step against none, 12 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="masks that drop the last step",
)
def from_currents(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng):
        shape = (problem.network.steps, problem.inputs.nodes, problem.network.width)
        ones, short = np.ones(shape), np.ones(shape)
        short[-1] = 0
        for backend in BACKENDS:
            expected = problem.result(backend).gradients
            value = max(value, *by_leaf(stepwise(problem, ones, backend), expected).values())
        control = min(control, max(by_leaf(stepwise(problem, short, "cpu"), expected).values()))
    return Measured(value, control)


def stepwise(problem: Problem, mask: np.ndarray, backend: str) -> Arrays:
    """The gradient with a mask at each step in the last block."""
    inputs = replace(problem.inputs, masks=(*problem.inputs.masks[:-1], mask))
    return differentiation_via_manifold(
        problem.network, problem.parameters, inputs, problem.head, backend=backend
    ).gradients


# -- how often a neuron fires -----------------------------------------------------------------------------


def counts(neuron: SpikingNeuron, steps: int, currents: np.ndarray, backend: str = "cpu") -> np.ndarray:
    """Spikes of neurons with constant currents: the encoder of a graph without edges, weights 1."""
    nodes, width = currents.shape
    network = ManifoldSpikingNetwork(width, euclidean(width), layers=1, steps=steps, neuron=neuron)
    parameters = {f"layer.{block}.weight": np.eye(width) for block in (0, 1)}
    inputs = GraphInputs.of(Graph(nodes, [], []), currents, 1)
    run = forward(network, parameters, inputs, maps_of(network, parameters, backend), backend)
    return np.rint(run.rates[0] * steps)


def trains(rng: np.random.Generator, low: float) -> tuple[int, float, np.ndarray, np.ndarray]:
    """T, theta, random currents, and currents that meet the threshold exactly (dyadic numbers)."""
    steps, threshold = int(rng.integers(1, 20)), float(2.0 ** rng.integers(-2, 2))
    ties = threshold * 2.0 ** rng.integers(-4, 2, (25, 4))
    return steps, threshold, rng.uniform(low * threshold, 1.5 * threshold, (25, 4)), ties


@claim(
    "manifold_spiking_gnn/5.10.soft",
    r"A constant current $x$ makes an IF neuron with a soft reset fire $\lceil Tx/\theta\rceil-1$ times if it fires above $\theta$, $\lfloor Tx/\theta\rfloor$ times if at $\theta$ too, clipped to $[0,T]$.",
    source="Eqs. (1) to (3); specification, 5.10",
    metric="counts that differ, 2000 random currents and 2000 ties, both comparisons",
    relation="==",
    bound=0,
    control="the other comparison's formula",
)
def soft_counts(rng: np.random.Generator) -> Measured:
    wrong = swapped = fired = 0
    for _ in range(20):
        steps, threshold, *currents = trains(rng, -0.2)
        for x in currents:
            # quotients of the ties are exact
            formulas = {">": np.ceil(steps * x / threshold) - 1, ">=": np.floor(steps * x / threshold)}
            for fires, other in ((">", ">="), (">=", ">")):
                neuron = SpikingNeuron(leak=1.0, threshold=threshold, fires=fires)
                found = counts(neuron, steps, x, BACKENDS[int(rng.integers(2))])
                wrong += int((found != np.clip(formulas[fires], 0, steps)).sum())
                swapped += int((found != np.clip(formulas[other], 0, steps)).sum())
                fired += int(found.sum())
    require(fired > 1000, "hardly a spike")
    return Measured(wrong, swapped, {"spikes": fired})


@claim(
    "manifold_spiking_gnn/5.10.hard",
    r"With a hard reset to 0 a current $x>0$ makes it fire every $k$ steps, $\lfloor T/k\rfloor$ times: $k=\lfloor\theta/x\rfloor+1$ above $\theta$, $\lceil\theta/x\rceil$ at $\theta$ too.",
    source="specification, 5.10",
    metric="counts that differ, 2000 random currents and 2000 ties, both comparisons",
    relation="==",
    bound=0,
    control="the other comparison's formula",
)
def hard_counts(rng: np.random.Generator) -> Measured:
    wrong = swapped = fired = 0
    for _ in range(20):
        steps, threshold, *currents = trains(rng, 0.02)
        for x in currents:
            formulas = {">": np.floor(threshold / x) + 1, ">=": np.ceil(threshold / x)}
            for fires, other in ((">", ">="), (">=", ">")):
                neuron = SpikingNeuron(leak=1.0, threshold=threshold, reset="hard", fires=fires)
                found = counts(neuron, steps, x, BACKENDS[int(rng.integers(2))])
                wrong += int((found != np.floor(steps / formulas[fires])).sum())
                swapped += int((found != np.floor(steps / formulas[other])).sum())
                fired += int(found.sum())
    require(fired > 1000, "hardly a spike")
    return Measured(wrong, swapped, {"spikes": fired})
