"""Cases of convergent networks beyond chains of dense layers, and of options that few rules have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.vectors.case import Case, Hyperparameters, Problem
from refsnn.vectors.kinds.equilibrium_network.cases import FAMILIES, live_case
from refsnn.vectors.kinds.equilibrium_network.solve import solve
from refsnn.vectors.making import relative_error

# the lowest kernels read the input, the others join layers that move
TWO: Hyperparameters = {
    "widths": [2, 2, 2, 1], "image": [6, 5], "kernels": [2, 3], "paddings": [1, 1],
    "poolings": ["max", "max"], "windows": [2, 2], "crop": True,
    "free_steps": 40, "nudged_steps": 4, "batch": 2, "margin": 1e-3,
}  # fmt: skip
MAXIMA = TWO | {
    "widths": [1, 2, 1], "image": [5, 5], "kernels": [3, 2], "paddings": [1, 0],
    "poolings": ["max", "none"], "windows": [2, 1], "crop": False,
}  # fmt: skip
MEANS = MAXIMA | {
    "widths": [2, 2, 1], "image": [4, 5], "kernels": [2, 3], "paddings": [0, 1],
    "poolings": ["average", "none"], "crop": True,
}  # fmt: skip
PADDED = MAXIMA | {
    "image": [3, 2], "kernels": [3, 3], "paddings": [1, 1], "poolings": ["none", "none"], "windows": [1, 1],
}  # fmt: skip
PROTOTYPICAL = FAMILIES["prototypical"]
SHORT: Hyperparameters = {"free_steps": 60}
BACK: Hyperparameters = {
    "algorithm": "bptt-step-by-step", "nudged_steps": 3, "activation": "my_hard_sig", "hard": True,
}  # fmt: skip
LINEAR: Hyperparameters = {"output": "linear", "step_size": 0.6, "nudge_placement": "outside"}
ENTROPY: Hyperparameters = {"loss_function": "cross_entropy", "readout": 3, "soft": True}


def variants() -> Iterator[Case]:
    """Images, couplings that skip, other outputs and activations, and the rarer options of the rules.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20211107)
    yield from _images(rng)
    yield _with_ties(rng)
    yield _with_stale_indices(rng)
    yield from _structures(rng)
    yield from _rules(rng)


def _images(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, purpose: str, layout: Hyperparameters, **options: Any) -> Case:
        return live_case(rng, name, purpose, **_rule(name) | layout | options)

    two = "two convolutions, zeros around, rows left over"
    untied: Hyperparameters = {"tied": False}
    yield case("symmetric/max-pooling", two, TWO | PROTOTYPICAL)
    mixed = TWO | PROTOTYPICAL | untied | {"poolings": ["max", "average"]}
    yield case("bptt/pooling", "maxima of a layer that moves, means, kernels of their own both ways", mixed)
    yield case(
        "continual/max-pooling",
        "kernels move with the states; the updates of each step",
        MAXIMA | PROTOTYPICAL,
        step_size=0.7,
        learning_rate=0.02,
        updates=True,
        nudged_steps=3,
    )
    yield case("one-sided/average-pooling", "means of windows; the output is an image", MEANS)
    back = "recurrent-backpropagation/padding"
    yield case(back, "zeros around, no pooling; kernels of their own both ways", PADDED | untied)
    yield case(
        "vector-field/max-pooling",
        "kernels of their own both ways",
        MAXIMA | PROTOTYPICAL | untied,
    )
    yield case(
        "one-sided/image-readout",
        "a read-out of an image",
        MAXIMA | ENTROPY | {"widths": [2, 2, 1]} | PROTOTYPICAL,
    )


def _rule(name: str) -> Hyperparameters:
    """The rule that a case is named by."""
    rule = name.split("/")[0]
    sides = {"one-sided": False, "symmetric": True}
    return {"algorithm": "contrast", "symmetric": sides[rule]} if rule in sides else {"algorithm": rule}


def _with_ties(rng: np.random.Generator) -> Case:
    """In every window of every map all sums are equal, of patches that are not."""
    layout: Hyperparameters = {
        "widths": [2, 2, 1], "image": [5, 5], "kernels": [2], "paddings": [0], "poolings": ["max"],
        "windows": [2], "crop": False,
    }  # fmt: skip
    case = live_case(
        rng,
        "one-sided/ties",
        "all entries of a window are equal: the first counts",
        **TWO | PROTOTYPICAL | layout,
    )
    inputs = dict(case.problem.inputs)
    rows, columns = np.indices((5, 5)) % 2
    four = np.array([[[0.5, -0.25], [0.75, 0.125]], [[-0.5, 1.0], [0.25, 0.375]]])
    inputs["input"] = four[:, rows, columns][:, None]
    inputs["parameters/coupling.1.2.weight"] = np.array([0.5, -0.75])[:, None, None, None] + np.zeros(
        (2, 1, 2, 2)
    )
    return replace(case, flags=("ties",), problem=Problem(case.problem.hyperparameters, inputs))


def _with_stale_indices(rng: np.random.Generator) -> Case:
    """A maximum moves in the last step."""
    options = TWO | PROTOTYPICAL | {"poolings": ["max", "none"], "free_steps": 2, "nudged_steps": 2}
    for _ in range(200):
        case = live_case(
            rng, "one-sided/stale-index", "maxima of one step before", stale_index=True, nudge=0.8,
            **options,
        )  # fmt: skip
        path = "gradients/coupling.1.2.weight"
        ours, other = (
            solve(case.problem.changed(stale_index=stale), "plain").leaves[path] for stale in (True, False)
        )
        if relative_error(other, ours) > 0.05:
            return case
    raise ArithmeticError("equilibrium_network/stale-index: no maximum moves in 200 networks")


def _structures(rng: np.random.Generator) -> Iterator[Case]:
    skip: Hyperparameters = {"couplings": ["0.1", "0.2", "1.2"]}
    yield live_case(rng, "one-sided/skip", "the output reads the input too", **skip, **SHORT)
    over: Hyperparameters = {"couplings": ["0.1", "0.2", "1.2", "2.3"], "widths": [2, 3, 4, 1]}
    yield live_case(
        rng,
        "bptt/skip",
        "a coupling passes over a layer; z clipped to [-1/2, 1/2]",
        algorithm="bptt",
        activation="ctrd_hard_sig",
        **over | PROTOTYPICAL | SHORT,
    )
    yield live_case(
        rng,
        "one-sided/official",
        "the output layer is read through rho and has no gate",
        output="official",
        **SHORT,
    )
    yield live_case(
        rng,
        "one-sided/linear-output",
        "no activation at the output, small steps",
        **PROTOTYPICAL | LINEAR | SHORT,
    )
    yield from _at_the_edges(rng)


def _at_the_edges(rng: np.random.Generator) -> Iterator[Case]:
    """Dyadic numbers that bring drives of a hard sigmoid to 0 and to 1, and no further."""
    options: Hyperparameters = {
        "algorithm": "bptt", "activation": "hardsigm", "widths": [2, 3, 4], "free_steps": 3,
        "nudged_steps": 3,
    }  # fmt: skip
    for _ in range(2000):
        draw = live_case(
            rng, "bptt/edge-open", "drives stand at the edges: no slope", margin=-1, edge="open",
            **PROTOTYPICAL | options,
        )  # fmt: skip
        inputs = {path: np.round(4 * array) / 4 for path, array in draw.problem.inputs.items()}
        first = replace(draw, flags=(), problem=Problem(draw.problem.hyperparameters, inputs))
        second = replace(
            first, name="bptt/edge-closed", purpose="drives stand at the edges: the slope between"
        )
        second = replace(second, problem=first.problem.changed(edge="closed"))
        found = [solve(case.problem, "plain").leaves for case in (first, second)]
        gradients = [path for path in found[0] if path.startswith("gradients/")]
        if all(relative_error(found[1][path], found[0][path]) > 0.05 for path in gradients):
            yield from (first, second)
            return
    raise ArithmeticError("equilibrium_network/edge: no network stands at the edges in 2000 tries")


def _rules(rng: np.random.Generator) -> Iterator[Case]:
    untied: Hyperparameters = {"tied": False}

    def case(name: str, purpose: str, **options: Any) -> Case:
        return live_case(rng, name, purpose, **SHORT | _rule(name) | options)

    yield _with_rates(
        case(
            "continual/vector-field",
            "weights of their own both ways move with the states, each at its rate",
            **PROTOTYPICAL | untied | ENTROPY | {"step_size": 0.7, "nudged_steps": 4},
        )
    )
    yield case("continual/ungated", "a continuous vector field", gated=False, **untied)
    yield _carried(
        rng,
        case(
            "step-by-step/vector-field",
            "motion times what arrives, from a state that is given",
            **PROTOTYPICAL | untied | ENTROPY | {"free_steps": 3, "nudged_steps": 4},
        ),
    )
    yield case("vector-field/tied", "a tied weight takes the sum of both", **PROTOTYPICAL | ENTROPY)
    steps: Hyperparameters = {"algorithm": "non-conservative-step-by-step", "nudged_steps": 3}
    yield case("step-by-step/corrected", "what each corrected step says", output="official", **steps)
    yield case(
        "step-by-step/back",
        "what each step back says; z / 2 clipped to [0, 1]",
        **PROTOTYPICAL | untied | ENTROPY | BACK,
    )
    yield case(
        "holomorphic/warm-start",
        "each point starts where the one before ended; complex images",
        **MEANS | ENTROPY | {"warm_start": True, "nudge": 0.3, "points": 4},
    )
    yield case(
        "one-sided/tolerance",
        "the free phase ends when it is still; a linear network",
        tolerance=1e-3,
        activation="identity",
        free_steps=300,
    )
    yield case(
        "recurrent-backpropagation/tolerance",
        "the adjoint ends when it is still; no activation at the output",
        **PROTOTYPICAL | LINEAR | ENTROPY | {"tolerance": 1e-3, "nudged_steps": 100},
    )
    limit: Hyperparameters = {"imaginary": True, "nudge": 1e-30}
    yield case("one-sided/limit", "a nudge of 1e-30 i: the limit", **limit)
    yield case(
        "non-conservative/limit",
        "a nudge of 1e-30 i: the limit, with kernels of their own both ways",
        **PADDED | untied | limit,
    )


def _with_rates(case: Case) -> Case:
    """A learning rate of its own for each parameter, one of them 0."""
    names = [
        path.removeprefix("parameters/") for path in case.problem.inputs if path.startswith("parameters")
    ]
    rates = {f"learning_rates/{name}": np.asarray(0.02 * k) for k, name in enumerate(reversed(names))}
    return replace(case, problem=Problem(case.problem.hyperparameters, case.problem.inputs | rates))


def _carried(rng: np.random.Generator, case: Case) -> Case:
    """From a state other than 0."""
    states = solve(case.problem, "plain").leaves
    start = {
        path.replace("states/free", "start"): rng.uniform(-0.8, 0.8, array.shape)
        for path, array in states.items()
        if path.startswith("states/free")
    }
    problem = Problem(case.problem.hyperparameters, case.problem.inputs | start)
    return replace(case, flags=("carried-state",), problem=problem)
