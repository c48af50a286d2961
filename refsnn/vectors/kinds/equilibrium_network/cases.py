"""Cases of convergent networks of dense layers in a chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.algorithms.relaxation import NotSettledError
from refsnn.vectors.case import Case, Hyperparameters, Problem
from refsnn.vectors.kinds.equilibrium_network.solve import network_of, solve

DEFAULTS: Hyperparameters = {
    "algorithm": "contrast", "family": "energy", "widths": [2, 4, 3], "activation": "tanh",
    "step_size": 0.4, "tied": True, "gated": True, "output": "rho", "clamp": False,
    "nudge_placement": "inside", "loss_function": "mean_squared_error", "readout": 0, "free_steps": 300,
    "nudged_steps": 6, "nudge": 0.1, "symmetric": False, "points": 3, "learning_rate": 0.05,
}  # fmt: skip
FAMILIES: dict[str, Hyperparameters] = {
    "energy": {},
    "prototypical": {"family": "prototypical", "step_size": 1.0},
}


def chains(large: bool) -> Iterator[Case]:
    """Both families under all rules, and what goes wrong at the edges.

    Parameters
    ----------
    large : bool
        Wider and deeper ones in addition.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20190722)
    for name, family in FAMILIES.items():
        yield live_case(rng, f"one-sided/{name}", "+beta and the free state", **family)
        yield live_case(rng, f"symmetric/{name}", "+beta and -beta", symmetric=True, **family)
        yield live_case(
            rng, f"holomorphic/{name}", "a circle of nudges", algorithm="holomorphic", nudge=0.3, **family
        )
        yield live_case(
            rng, f"continual/{name}", "parameters move with the states", algorithm="continual", **family
        )
        yield live_case(
            rng, f"step-by-step/{name}", "what each nudged step says", algorithm="step-by-step", **family
        )
        yield live_case(rng, f"bptt/{name}", "the last K steps", algorithm="bptt", **family)
        adjoint = "recurrent-backpropagation"
        yield live_case(
            rng, f"{adjoint}/{name}", "the adjoint of a steady state", algorithm=adjoint, **family
        )
        untied: Hyperparameters = family | {"tied": False}
        yield live_case(
            rng, f"vector-field/{name}", "weights of their own both ways", algorithm="vector-field", **untied
        )
        both = "weights of their own both ways, made exact"
        outside = untied | {"nudge_placement": "outside"}
        yield live_case(
            rng, f"non-conservative/{name}", both, algorithm="non-conservative", symmetric=True, **outside
        )
        yield live_case(rng, f"untied-bptt/{name}", "the last K steps", algorithm="bptt", **untied)
    yield from _variants(rng)
    if large:
        deep: Hyperparameters = {"widths": [5, 12, 10, 8], "free_steps": 300, "nudged_steps": 15}
        for name, family in FAMILIES.items():
            yield live_case(rng, f"deep/{name}", "three layers", symmetric=True, **family | deep)


def _variants(rng: np.random.Generator) -> Iterator[Case]:
    prototypical = FAMILIES["prototypical"]
    for rule in ("contrast", "bptt"):
        options: Hyperparameters = {"algorithm": rule, "nudge_placement": "outside"} | prototypical
        yield live_case(rng, f"outside/{rule}", "the nudge is added after the activation", **options)
        entropy: Hyperparameters = {"algorithm": rule, "loss_function": "cross_entropy", "output": "linear"}
        yield live_case(rng, f"cross-entropy/{rule}", "a softmax in the force", **entropy)
        read: Hyperparameters = {
            "algorithm": rule,
            "readout": 4,
            "loss_function": "cross_entropy",
            "symmetric": rule == "contrast",
        }
        yield live_case(rng, f"readout/{rule}", "a read-out outside of the dynamics", **read)
        hard: Hyperparameters = {"algorithm": rule, "activation": "hardsigm"} | prototypical
        yield live_case(rng, f"hardsigm/{rule}", "units at the edges, and between", hard=True, **hard)
        yield live_case(
            rng, f"sigm/{rule}", "the logistic function of the papers", activation="sigm", algorithm=rule
        )
    clamped: Hyperparameters = {"activation": "hardsigm", "clamp": True, "nudge": 0.2}
    yield live_case(rng, "clamped/contrast", "states are clipped to [0, 1]", hard=True, **clamped)
    ungated: Hyperparameters = {"gated": False, "tied": False, "algorithm": "vector-field", "symmetric": True}
    yield live_case(rng, "ungated/vector-field", "no gate h'(s)", **ungated)
    yield live_case(
        rng,
        "deep/contrast",
        "a layer between two that move",
        widths=[2, 3, 4, 1],
        nudged_steps=9,
        symmetric=True,
    )
    yield live_case(rng, "negative-nudge/contrast", "beta < 0", nudge=-0.15)
    yield live_case(rng, "one-layer/contrast", "no layer but the output", widths=[2, 3])
    yield live_case(rng, "one-unit/contrast", "every weight is a number", widths=[1, 1, 1], batch=1)
    yield live_case(
        rng, "one-step/bptt", "T = 1, from the state 0", algorithm="bptt", free_steps=1, nudged_steps=1
    )
    yield live_case(
        rng, "one-step/contrast", "T = K = 1: the free phase is not settled", free_steps=1, nudged_steps=1
    )
    yield live_case(
        rng,
        "unfinished/bptt",
        "all T steps, far from settled",
        algorithm="bptt",
        free_steps=7,
        nudged_steps=7,
    )
    yield live_case(
        rng,
        "long/contrast",
        "a free phase of hundreds of small steps",
        step_size=0.05,
        free_steps=600,
        nudged_steps=60,
        symmetric=True,
    )
    still = live_case(rng, "zero-upstream/contrast", "the output is the target: nothing moves")
    inputs = dict(still.problem.inputs)
    for name in ("parameters/coupling.0.1.weight", "parameters/coupling.0.1.bias", "targets"):
        inputs[name] = 0 * inputs[name]
    yield Case(
        still.name,
        still.purpose,
        (*still.flags, "zero-upstream"),
        Problem(still.problem.hyperparameters, inputs),
    )


def live_case(
    rng: np.random.Generator,
    name: str,
    purpose: str,
    *,
    batch: int = 3,
    hard: bool = False,
    soft: bool = False,
    margin: float = 1e-2,
    **options: Any,
) -> Case:
    """Draws a network until everything in it moves, and nothing stands near an edge.

    Parameters
    ----------
    rng : numpy.random.Generator
        Randomness.
    name, purpose : str
        Of the case.
    batch : int
        B.
    hard : bool
        Whether drives lie about [0, 1], for hard sigmoids.
    soft : bool
        Whether the targets of a cross-entropy are distributions over all classes.
    margin : float
        What the margin is to be above.
    **options
        Hyper-parameters other than `DEFAULTS`.

    Returns
    -------
    Case

    Raises
    ------
    ArithmeticError
        If no such network is found.
    """
    given = DEFAULTS | options
    network = network_of(given)
    for _ in range(200):
        inputs = {f"parameters/{path}": array for path, array in network.initialise(rng, scale=1.2).items()}
        inputs["input"] = rng.uniform(-1, 1, (batch, *network.shapes[-1]))
        if hard:  # drives about the middle of [0, 1], and beyond
            inputs["input"] = rng.uniform(0, 1, (batch, *network.shapes[-1]))
            for path in inputs:
                if path.endswith("bias"):
                    inputs[path] = rng.uniform(-0.2, 1.0, inputs[path].shape)
        inputs["targets"] = rng.uniform(0, 1, (batch, *network.target_shape))
        if given["loss_function"] == "cross_entropy":
            classes = network.target_shape[0]
            inputs["targets"] = np.eye(classes)[rng.integers(0, classes, batch)]
            if soft:
                inputs["targets"] = rng.dirichlet(np.ones(classes), batch)
        problem = Problem(given, inputs)
        try:
            found = solve(problem, "plain")
        except NotSettledError:
            continue
        # in one step from the state 0 nothing comes to the upper weights
        least = 1e-3 if given["free_steps"] > 1 else 0.0
        gradients = [np.abs(a).max() for path, a in found.leaves.items() if path.startswith("gradients/")]
        alive = max(gradients) > 0 and min(gradients) >= least * max(gradients)
        if alive and found.margin > margin:
            return Case(name, purpose, _flags(given, batch), problem)
    raise ArithmeticError(f"equilibrium_network/{name}: no live network in 200 tries")


def _flags(given: Hyperparameters, batch: int) -> tuple[str, ...]:
    widths = given["widths"]
    dense = "kernels" not in given
    holds = {
        "random": given["free_steps"] > 1,
        "one-step": given["free_steps"] == 1,
        "one-neuron": dense and widths[:-1] == [1] * (len(widths) - 1),
        "one-sample": batch == 1,
        "unequal-widths": dense and len(set(widths)) == len(widths),
        "long": given["free_steps"] >= 500,
    }
    return tuple(flag for flag, it_does in holds.items() if it_does)
