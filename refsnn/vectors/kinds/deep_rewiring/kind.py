"""DEEP R and soft-DEEP R: updates of signed weights under given gradients, noise and new places."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.optimisers import Adam, GradientDescent, Optimiser
from refsnn.algorithms.soft_deep_rewiring import SoftDeepRewiring
from refsnn.vectors.case import Case, Kind, Leaf, Leaves, Mistake, Problem, Solution
from refsnn.vectors.kinds.deep_rewiring.by_hand import MATRICES, by_hand, reconnections

_FILES = "refsnn/algorithms/deep_rewiring.py, soft_deep_rewiring.py"
LEAVES = (
    Leaf(
        "strengths/*",
        "(K, post, pre), (K, post)",
        "theta of a matrix, and the bias, after each update",
        "theta <- optimiser(theta, s dL/dw), 0 where it was dormant; theta <- theta - eta l_1 + sqrt(2 eta "
        f"T) noise where theta > 0 (Bellec 2018, Algorithm 1; soft: Algorithm 2), {_FILES}",
    ),
    Leaf(
        "weights/*",
        "(post, pre)",
        "after the last update",
        f"w = s theta where theta > 0, 0 elsewhere, {_FILES}",
    ),
    Leaf("active", "(K,)", "synapses that are there after each update", "number of theta > 0", 0.0),
)
INPUTS = {
    "rule": "'deep' has a budget of synapses (DEEP R), 'soft' a random walk (soft-DEEP R)",
    "optimiser": "'descent': theta - eta g; 'adam': m = .9 m + .1 g, s = .999 s + .001 g^2, theta - eta "
    "sqrt(1 - .999^t) / (1 - .9^t) m / (sqrt(s) + 1e-8)",
    "learning_rate": "eta",
    "l1": "l_1, in units of eta",
    "temperature": "T of DEEP R's noise",
    "noise": "sigma of soft-DEEP R's noise",
    "connectivity": "p: the budget is floor(p times the entries of both matrices); soft: the clip is "
    "-(1 - p)/p eta sigma^2 / (2 l_1)",
    "sparse_moments": "whether moments of dormant entries rest, and are 0 after a reconnection",
    "reconnection": "strength of a new synapse, DEEP R",
    "inputs/signs/*": "(post, pre): +1 or -1 of every entry",
    "inputs/strengths/*": "theta before the first update; 'bias' is an ordinary parameter (post,)",
    "inputs/gradients/*": "(K, post, pre): dL/dw of update k, dormant entries too; 'bias' (K, post)",
    "inputs/noise/*": "(K, post, pre): standard normal numbers",
    "inputs/reconnect/*": "(K, post, pre), DEEP R: 1 where a synapse is new after update k",
}


class Given(np.random.Generator):
    """A generator whose normal numbers are given.

    Parameters
    ----------
    numbers : list of ndarray
        In the order in which they are asked for.
    """

    def __init__(self, numbers: list[np.ndarray]) -> None:
        super().__init__(np.random.PCG64(0))
        self._numbers = iter(numbers)

    def standard_normal(self, *arguments: Any, **options: Any) -> Any:
        """The next ones.

        Parameters
        ----------
        *arguments, **options
            Not read.

        Returns
        -------
        ndarray
        """
        return next(self._numbers)


def solve(problem: Problem, backend: str) -> Solution:
    """All updates of a case; no backend has anything to do with them.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Any.

    Returns
    -------
    Solution
    """
    given, inputs = problem.hyperparameters, problem.inputs
    kind = {"adam": Adam, "descent": GradientDescent}[given["optimiser"]]
    optimiser: Optimiser = kind(given["learning_rate"])
    signs = {name: inputs[f"signs/{name}"] for name in MATRICES}
    rule: DeepRewiring | SoftDeepRewiring
    start = {name: np.maximum(inputs[f"strengths/{name}"], 0) * signs[name] for name in MATRICES}
    start["bias"] = inputs["strengths/bias"]
    if given["rule"] == "deep":
        rule = DeepRewiring(
            signs,
            optimiser,
            given["connectivity"],
            given["l1"],
            given["temperature"],
            sparse_moments=given["sparse_moments"],
            reconnection=given["reconnection"],
        )
    else:
        rule = SoftDeepRewiring(signs, optimiser, given["connectivity"], given["l1"], given["noise"])
    state = rule.initial_state(start)
    for name in MATRICES:  # dormant strengths too, as the walk has them
        state.strengths[name][...] = inputs[f"strengths/{name}"]
    kept: dict[str, list[np.ndarray]] = {name: [] for name in (*MATRICES, "bias", "active")}
    for k in range(len(inputs["gradients/bias"])):
        gradients = {name: inputs[f"gradients/{name}"][k] for name in (*MATRICES, "bias")}
        rng = Given([inputs[f"noise/{name}"][k] for name in MATRICES])
        if isinstance(rule, DeepRewiring):
            new = {name: inputs[f"reconnect/{name}"][k] != 0 for name in MATRICES}
            state = rule.update(state, gradients, rng, new)
        else:
            state = rule.update(state, gradients, rng)
        for name in (*MATRICES, "bias"):
            kept[name].append(state.strengths[name].copy())
        kept["active"].append(np.asarray(sum(int(mask.sum()) for mask in rule.active(state).values())))
    leaves = {f"strengths/{name}": np.stack(kept[name]) for name in (*MATRICES, "bias")}
    weights = rule.weights(state)
    leaves |= {f"weights/{name}": weights[name] for name in MATRICES}
    leaves["active"] = np.stack(kept["active"])
    strengths = np.concatenate([leaves[f"strengths/{name}"].reshape(-1) for name in MATRICES])
    # a dormant entry at 0 and a new one are there by decree
    decided = strengths[(strengths != 0) & (strengths != strengths.dtype.type(given["reconnection"]))]
    return Solution(leaves, float(np.abs(decided).min(initial=np.inf)))


def _rule(rule: str) -> Any:
    return lambda given: given["rule"] == rule


def _mistake(name: str, says: str, equation: str, applies: Any = lambda given: True) -> Mistake:
    def changes(problem: Problem) -> Problem | None:
        given = problem.hyperparameters
        return problem.changed(**{f"mistake__{name}": True}) if applies(given) else None

    return Mistake(name, says, f"{equation}, {_FILES}", changes)


_GUARD = "theta <- theta where active, else 0"
_WALK = "theta <- theta - eta l_1 + sqrt(2 eta T) noise where theta > 0"
_SOFT = "theta <- theta + eta (sigma noise - l_1 [theta > 0])"
_CLIP = "theta <- max(theta, -(1 - p)/p eta sigma^2 / (2 l_1))"
_DEEP, _SOFTLY = _rule("deep"), _rule("soft")
MISTAKES = (
    _mistake("no-sign", "the gradient by theta is taken for dL/dw: the sign is missing", "g = s dL/dw"),
    _mistake("no-guard", "what the optimiser wakes stays awake", _GUARD, _DEEP),
    _mistake(
        "other-moments",
        "moments of dormant entries rest and should not, or the reverse (sparse_moments)",
        "m and s of the optimiser",
        lambda given: given["rule"] == "deep" and given["optimiser"] == "adam",
    ),
    _mistake(
        "dormant-without-gradient",
        "dormant entries have no gradient; in DEEP R their gradients feed the moments",
        "g = s dL/dw, dense",
        lambda given: given["rule"] == "deep" and given["optimiser"] == "adam",
    ),
    _mistake("dormant-learns", "dormant entries follow their gradient", "g = 0 where theta <= 0", _SOFTLY),
    _mistake(
        "no-bias-correction", "Adam lacks its bias correction", "eta_t", lambda g: g["optimiser"] == "adam"
    ),
    _mistake("no-l1", "strengths do not shrink: l_1 is missing", _WALK),
    _mistake("l1-everywhere", "dormant strengths shrink too", _WALK),
    _mistake("l1-without-rate", "l_1 is not multiplied by eta", _WALK),
    _mistake("no-noise", "there is no noise", _WALK),
    _mistake("noise-without-2", "the noise lacks the factor sqrt(2)", _WALK, _DEEP),
    _mistake("noise-without-rate", "the noise is not scaled with eta", _WALK),
    _mistake("noise-everywhere", "dormant strengths move with the noise too", _WALK, _DEEP),
    _mistake("noise-of-the-active", "dormant strengths do not move with the noise", _SOFT, _SOFTLY),
    _mistake("no-clip", "strengths are not clipped", _CLIP, _SOFTLY),
    _mistake("clip-of-dormant", "p is the share of dormant entries in the clip", _CLIP, _SOFTLY),
    _mistake("no-reconnection", "no synapse is new", "theta = reconnection where one is drawn", _DEEP),
    _mistake(
        "negative-works", "a negative strength is a weight of the other sign", "w = s theta where theta > 0"
    ),
)
_USUAL: dict[str, Any] = {
    "rule": "deep",
    "optimiser": "descent",
    "learning_rate": 0.05,
    "l1": 0.4,
    "temperature": 0.0,
    "noise": 0.0,
    "connectivity": 0.4,
    "sparse_moments": False,
    "reconnection": 1e-12,
}


def cases(large: bool) -> Iterator[Case]:
    """Both rules under both optimisers.

    Parameters
    ----------
    large : bool
        Many updates in addition.

    Yields
    ------
    Case
    """
    for optimiser in ("descent", "adam"):
        deep = _USUAL | {"optimiser": optimiser}
        yield _case(f"deep/{optimiser}", "no noise: what dies and what is new", deep)
        yield _case(f"deep/{optimiser}-noise", "a temperature", deep | {"temperature": 0.05})
        soft = deep | {"rule": "soft", "l1": 0.5, "noise": 1.5, "learning_rate": 0.1}
        yield _case(f"soft/{optimiser}", "a random walk over the threshold", soft)
    yield _case(
        "deep/sparse-moments",
        "moments rest while a synapse is dormant",
        _USUAL | {"optimiser": "adam", "sparse_moments": True, "temperature": 0.05},
    )
    yield _case(
        "deep/strong-reconnection",
        "new synapses of a strength that shows",
        _USUAL | {"reconnection": 0.01, "l1": 1.0},
    )
    yield _case("one-step/deep", "one update", _USUAL | {"temperature": 0.05}, steps=1)
    yield _case(
        "zero-upstream/deep", "no gradient: noise and shrinking", _USUAL | {"temperature": 0.2}, size=0.0
    )
    long = _USUAL | {"optimiser": "adam", "temperature": 0.01}
    yield _case("long/deep", "400 updates", long, steps=400, shapes=((3, 2), (2, 3)))
    if large:
        yield _case("wide/deep", "many synapses", long, steps=100, shapes=((20, 30), (20, 20)))


def _case(
    name: str,
    purpose: str,
    given: dict[str, Any],
    steps: int = 8,
    size: float = 1.0,
    shapes: tuple[tuple[int, int], ...] = ((5, 4), (5, 5)),
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    inputs: Leaves = {"strengths/bias": rng.standard_normal(shapes[0][0])}
    inputs["gradients/bias"] = size * rng.standard_normal((steps, shapes[0][0]))
    budget = int(np.floor(given["connectivity"] * sum(rows * columns for rows, columns in shapes)))
    places = rng.permutation(sum(rows * columns for rows, columns in shapes)) < budget
    for matrix, (rows, columns) in zip(MATRICES, shapes, strict=True):
        here, places = places[: rows * columns].reshape(rows, columns), places[rows * columns :]
        strength = rng.uniform(0.02, 0.3, (rows, columns))
        dormant = -0.1 * rng.random((rows, columns)) if given["rule"] == "soft" else 0.0
        inputs[f"strengths/{matrix}"] = np.where(here, strength, dormant)
        inputs[f"signs/{matrix}"] = rng.choice([-1.0, 1.0], (rows, columns))
        inputs[f"gradients/{matrix}"] = size * rng.standard_normal((steps, rows, columns))
        inputs[f"noise/{matrix}"] = rng.standard_normal((steps, rows, columns))
    if given["rule"] == "deep":
        inputs |= reconnections(Problem(given, inputs), rng)
    flags = {
        "random": size > 0,
        "one-step": steps == 1,
        "zero-upstream": not size,
        "long": steps >= 400,
        "unequal-widths": all(rows != columns for rows, columns in shapes),
    }
    return Case(name, purpose, tuple(flag for flag, holds in flags.items() if holds), Problem(given, inputs))


DEEP_REWIRING = Kind(
    name="deep_rewiring",
    summary="DEEP R and soft-DEEP R: updates under given gradients, noise and places of new synapses.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="the pseudo-code written out entry by entry",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
)
