"""5.11: cases in which the answer is known without a computation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import logits
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps
from validation.claims.manifold_spiking_gnn.by_hand import Arrays
from validation.claims.manifold_spiking_gnn.problems import (
    BACKENDS,
    CLASSES,
    CURVATURES,
    NODES,
    TANGENTS,
    THRESHOLD,
    Problem,
    by_leaf,
    classes_of,
    draw,
    error,
    manifold_of,
    neuron_of,
    variety,
)
from validation.ledger import Measured, claim, require


def differing(found: list[np.ndarray], expected: list[np.ndarray]) -> int:
    """How many arrays are not the same to the last bit."""
    return sum(not np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@claim(
    "manifold_spiking_gnn/5.11.silent",
    r"If no neuron fires, $z^l=z^0$ and $\nabla_{W^l}=0$ for $l\ge1$, and $\nabla_{W^0}$ is that of $L=0$.",
    source="specification, 5.11",
    metric="arrays that are not the same to the last bit, 12 networks",
    relation="==",
    bound=0,
    control="the networks as they fire",
)
def silent(rng: np.random.Generator) -> Measured:
    value = control = 0
    for problem in variety(rng):
        encoder = problem.changed(layers=0).with_(
            parameters={
                name: one for name, one in problem.parameters.items() if "layer" not in name or ".0." in name
            },
            inputs=GraphInputs.of(problem.inputs.graph, problem.inputs.features, 0),
        )
        expected = encoder.result()
        for one, high in ((problem, False), (problem.changed(neuron=neuron_of(threshold=1e6)), True)):
            found = one.result()
            points = found.run.points[1:]
            wrong = differing(points[1:], [points[0]] * 2)
            upper = [found.gradients[f"layer.{block}.weight"] for block in (1, 2)]
            wrong += differing(upper, [0 * array for array in upper])
            wrong += differing([found.gradients["layer.0.weight"]], [expected.gradients["layer.0.weight"]])
            if high:
                value += wrong
            else:
                control += wrong
    return Measured(value, control)


def positive(rng: np.random.Generator, parameters: Arrays) -> None:
    """All weights of blocks above 0.1."""
    for name, array in parameters.items():
        if name.startswith("layer"):
            np.copyto(array, 0.1 + np.abs(array))


@claim(
    "manifold_spiking_gnn/5.11.saturated",
    r"If all neurons fire at every step, $m^l=\hat{A}\mathbf{1}W^l$ for $l\ge1$, whatever the input.",
    source="specification, 5.11",
    metric=r"largest relative difference of drives to $\varepsilon\hat{A}\mathbf{1}W^l$, two inputs, 6 networks",
    relation="<=",
    bound=1e-14,
    control="the threshold at which not all fire",
)
def saturated(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for tangent in TANGENTS:
        for kappa in rng.choice(CURVATURES, 2, replace=False):
            plain = draw(rng, manifold_of(kappa), tangent).changed(step_size=0.01)
            positive(rng, plain.parameters)
            other = GraphInputs.of(plain.inputs.graph, 0.1 + plain.inputs.features**2, 2)
            for inputs in (plain.inputs, other):
                problem = plain.with_(inputs=inputs)
                control = min(control, off_saturation(problem.changed(neuron=neuron_of(threshold=3.0))))
                value = max(value, off_saturation(problem.changed(neuron=neuron_of(threshold=1e-3))))
    return Measured(value, control)


def off_saturation(problem: Problem) -> float:
    """Largest relative difference of the drives of the upper blocks to those of ones."""
    run, worst = problem.result().run, 0.0
    for block in (1, 2):
        ones = problem.setting.adjacencies[block] @ np.ones((NODES, problem.network.width))
        expected = problem.network.step_size * ones @ problem.parameters[f"layer.{block}.weight"].T
        worst = max(worst, float(np.abs(run.drives[block] - expected).max() / np.abs(expected).max()))
    return worst


@claim(
    "manifold_spiking_gnn/5.11.one_step",
    r"For $T=1$ the pooled current is the current.",
    source="specification, 5.11",
    metric=r"largest relative difference of drives to $\varepsilon x^l[1]$ with the spikes $H(x-\theta)$, 4 networks",
    relation="<=",
    bound=1e-14,
    control="spikes at three times the threshold",
)
def one_step(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for kappa in CURVATURES:
        problem = draw(rng, manifold_of(kappa), steps=1)
        value = max(value, off_one_step(problem, THRESHOLD))
        control = min(control, off_one_step(problem, 3 * THRESHOLD))
    return Measured(value, control)


def off_one_step(problem: Problem, threshold: float) -> float:
    """Largest relative difference of the drives of a block to those of the first step's spikes."""
    run, heard, worst = problem.result().run, problem.inputs.features, 0.0
    for block, ahat in enumerate(problem.setting.adjacencies):
        current = ahat @ heard @ problem.parameters[f"layer.{block}.weight"].T
        expected = problem.network.step_size * current
        worst = max(
            worst, float(np.abs(run.drives[block] - expected).max() / np.abs(run.drives[block]).max())
        )
        heard = 1.0 * (current > threshold)
    return worst


@claim(
    "manifold_spiking_gnn/5.11.flat",
    r"In Euclidean space $\partial\mathcal{L}/\partial z^l$ is the same for all $l$, $z^L=\sum_l u^l$, and both heads read the same.",
    source="specification, 5.11",
    metric="largest relative difference, 3 networks, all tangent maps",
    relation="<=",
    bound=1e-15,
    control=r"$\kappa=-0.3$",
)
def flat(rng: np.random.Generator) -> Measured:
    def off(problem: Problem) -> float:
        result = problem.result()
        maps = ExactMaps(problem.network.manifold, problem.network.tangent)
        heads = [
            logits(problem.network, problem.parameters, result.run, maps, head)
            for head in ("manifold", "tangent")
        ]
        pairs = [(result.run.points[-1], result.run.summed_drive), (heads[0], heads[1])]
        pairs += [(one, result.point_gradients[-1]) for one in result.point_gradients]
        return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)

    value = max(off(draw(rng, manifold_of(0.0), tangent)) for tangent in TANGENTS)
    return Measured(value, min(off(draw(rng, manifold_of(-0.3), tangent)) for tangent in TANGENTS))


@claim(
    "manifold_spiking_gnn/5.11.product",
    r"A product is its factors side by side: points, $\partial\mathcal{L}/\partial z^l$ and $\partial\mathcal{L}/\partial u^l$ are those of each factor alone.",
    source="App. D.3; specification, 5.11",
    metric="arrays that are not the same to the last bit, 6 products of two and three factors, both backends",
    relation="==",
    bound=0,
    control="each factor taken for its neighbour",
)
def products(rng: np.random.Generator) -> Measured:
    value = control = 0
    for tangent in TANGENTS:
        for curvatures in ((-1.0, 2.0), (1.0, 0.0, -0.3)):
            problem = draw(rng, manifold_of(*curvatures), tangent)
            for backend in BACKENDS:
                value += off_blocks(problem, backend, problem.network.manifold)
            turned = Manifold(tuple(np.roll(problem.network.manifold.factors, 1)))  # type: ignore[arg-type]
            control += off_blocks(problem, "cpu", turned)
    return Measured(value, control)


def off_blocks(problem: Problem, backend: str, factors: Manifold) -> int:
    """Arrays that differ from those of the factors alone, which know of their columns only."""
    result, differences = problem.result(backend), 0
    run, head = result.run, problem.network.manifold
    for factor, own in zip(factors.factors, head.slices, strict=True):
        if factor.width != own.stop - own.start:
            continue
        maps = ExactMaps(Manifold((factor,)), problem.network.tangent, backend=backend)
        for block, drive in enumerate(run.drives):
            points, u = (np.ascontiguousarray(given[:, own]) for given in (run.points[block], drive))
            moved = maps.step(points, u)
            g = np.ascontiguousarray(result.point_gradients[block][:, own])
            by_drive, by_point = maps.step_backward(points, u, g)
            expected = [moved, by_drive] + ([by_point] if block else [])
            found = [run.points[block + 1], result.drive_gradients[block]]
            found += [result.point_gradients[block - 1]] if block else []
            differences += differing([array[:, own] for array in found], expected)
    return differences


def permuted(problem: Problem, order: np.ndarray) -> Problem:
    """Node i becomes node order[i]."""
    back, graph = np.argsort(order), problem.inputs.graph
    renamed = Graph(graph.nodes, order[graph.sources], order[graph.targets])
    head = problem.head
    assert hasattr(head, "labels")
    labels = np.asarray(head.labels)[back]
    return problem.with_(
        inputs=GraphInputs.of(renamed, problem.inputs.features[back], problem.network.layers),  # type: ignore[index]
        head=replace(head, labels=labels, nodes=order[np.asarray(head.nodes)]),  # type: ignore[type-var]
    )


@claim(
    "manifold_spiking_gnn/5.11.permutation",
    r"Names of nodes do not matter: the same spikes and gradients, up to the order of sums.",
    source="specification, 5.11",
    metric="largest relative difference of a leaf, of both gradients, 12 networks, loss of 6 nodes",
    relation="<=",
    bound=1e-13,
    control="the next label at each node",
)
def permutations(rng: np.random.Generator) -> Measured:
    value, control = 0.0, np.inf
    for problem in variety(rng, head=half_of):
        order = rng.permutation(NODES)
        other = permuted(problem, order)
        pairs = [(problem.result(), other.result()), (problem.over_spikes(), other.over_spikes())]
        for one, renamed in pairs:
            for rate, theirs in zip(one.run.rates, renamed.run.rates, strict=True):
                require(np.array_equal(rate, theirs[order]), "other spikes")
            value = max(value, error(renamed.gradients, one.gradients))
        head: Any = other.head
        wrong = other.with_(head=replace(head, labels=(head.labels + 1) % CLASSES)).result().gradients
        control = min(control, max(by_leaf(wrong, pairs[0][0].gradients).values()))
    return Measured(value, control)


def half_of(rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Random labels, six nodes count."""
    return replace(classes_of(rng), nodes=rng.permutation(NODES)[:6])
