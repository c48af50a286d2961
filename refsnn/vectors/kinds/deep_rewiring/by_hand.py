"""DEEP R and soft-DEEP R from their pseudo-code, synapse by synapse, with a switch for each mistake."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from refsnn.vectors.case import Hyperparameters, Leaves, Problem

MATRICES = "input", "recurrent"


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    return _updated(problem, None)[0]


def reconnections(problem: Problem, rng: np.random.Generator) -> Leaves:
    """Places of new synapses, drawn so that the budget is filled after each update.

    Parameters
    ----------
    problem : Problem
        Without them.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    dict of str to ndarray
        Inputs ``reconnect/*``.
    """
    return _updated(problem, rng)[1]


def _updated(problem: Problem, rng: np.random.Generator | None) -> tuple[Leaves, Leaves]:
    given, inputs = problem.hyperparameters, problem.inputs
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    theta = {name: inputs[f"strengths/{name}"].astype(float) for name in (*MATRICES, "bias")}
    first, second = ({name: np.zeros_like(a) for name, a in theta.items()} for _ in range(2))
    steps = len(inputs["gradients/bias"])
    kept: dict[str, list[Any]] = {name: [] for name in (*theta, "active")}
    new: Leaves = {f"reconnect/{name}": np.zeros((steps, *theta[name].shape), int) for name in MATRICES}
    for k in range(steps):
        for name, value in theta.items():
            for place in np.ndindex(value.shape):
                synapse = _Synapse(given, inputs, made, name, k, place)
                value[place] = synapse.moved(float(value[place]), first[name], second[name])
        if given["rule"] == "deep" and "no-reconnection" not in made:
            chosen = _drawn(given, theta, rng) if rng is not None else _given(inputs, k)
            for name in MATRICES:
                theta[name][chosen[name] != 0] = given["reconnection"]
                if given["sparse_moments"] != ("other-moments" in made):
                    first[name][chosen[name] != 0] = second[name][chosen[name] != 0] = 0
                new[f"reconnect/{name}"][k] = chosen[name]
        for name, value in theta.items():
            kept[name].append(value.copy())
        kept["active"].append(sum(int((theta[name] > 0).sum()) for name in MATRICES))
    leaves = {f"strengths/{name}": np.stack(kept[name]) for name in theta}
    for name in MATRICES:
        works = theta[name] if "negative-works" in made else np.maximum(theta[name], 0)
        leaves[f"weights/{name}"] = inputs[f"signs/{name}"] * works
    return leaves | {"active": np.array(kept["active"])}, new


class _Synapse:
    """One entry in one update."""

    def __init__(
        self, given: Hyperparameters, inputs: Leaves, made: set[str], name: str, k: int, place: Any
    ) -> None:
        self.given, self.made, self.k, self.place = given, made, k, place
        self.signed = name in MATRICES
        self.gradient = inputs[f"gradients/{name}"][k][place]
        if self.signed:
            sign = 1.0 if "no-sign" in made else inputs[f"signs/{name}"][place]
            self.gradient, self.noise = sign * self.gradient, inputs[f"noise/{name}"][k][place]

    def moved(self, theta: float, first: np.ndarray, second: np.ndarray) -> float:
        """theta after the update, but for a reconnection."""
        active, soft = theta > 0, self.given["rule"] == "soft"
        gradient = self.gradient
        if self.signed and not active:
            if soft and "dormant-learns" not in self.made:
                gradient = 0.0
            if not soft and "dormant-without-gradient" in self.made:
                gradient = 0.0
        sparse = self.given["sparse_moments"] != ("other-moments" in self.made)
        if not (self.signed and not active and sparse and not soft):
            theta = theta - self._change(gradient, first, second)
        if not self.signed:
            return theta
        return self._walked(theta) if soft else self._shrunk(theta, active)

    def _change(self, gradient: float, first: np.ndarray, second: np.ndarray) -> float:
        rate, t = self.given["learning_rate"], self.k + 1
        if self.given["optimiser"] == "descent":
            return rate * gradient
        first[self.place] = 0.9 * first[self.place] + 0.1 * gradient
        second[self.place] = 0.999 * second[self.place] + 0.001 * gradient**2
        if "no-bias-correction" not in self.made:
            rate = rate * sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return rate * first[self.place] / (sqrt(second[self.place]) + 1e-8)

    def _shrunk(self, theta: float, active: bool) -> float:
        """DEEP R."""
        given, made = self.given, self.made
        if not active and "no-guard" not in made:
            theta = 0.0
        there = theta > 0
        spread = sqrt(2 * given["learning_rate"] * given["temperature"])
        if "noise-without-2" in made:
            spread /= sqrt(2)
        if "noise-without-rate" in made:
            spread /= sqrt(given["learning_rate"])
        if (there or "noise-everywhere" in made) and "no-noise" not in made:
            theta = theta + spread * self.noise
        if (there or "l1-everywhere" in made) and "no-l1" not in made:
            theta = theta - (1.0 if "l1-without-rate" in made else given["learning_rate"]) * given["l1"]
        return theta

    def _walked(self, theta: float) -> float:
        """Soft-DEEP R."""
        given, made = self.given, self.made
        rate, share, there = given["learning_rate"], given["connectivity"], theta > 0
        if "no-noise" not in made and (there or "noise-of-the-active" not in made):
            theta = theta + (1.0 if "noise-without-rate" in made else rate) * given["noise"] * self.noise
        if "no-l1" not in made and (there or "l1-everywhere" in made):
            theta = theta - (1.0 if "l1-without-rate" in made else rate) * given["l1"]
        share = 1 - share if "clip-of-dormant" in made else share
        lowest = -(1 - share) / share * rate * given["noise"] ** 2 / 2 / given["l1"]
        return theta if "no-clip" in made else max(theta, lowest)


def _given(inputs: Leaves, k: int) -> Leaves:
    return {name: inputs[f"reconnect/{name}"][k] for name in MATRICES}


def _drawn(given: Hyperparameters, theta: Leaves, rng: np.random.Generator) -> Leaves:
    """As many dormant entries as the budget has room for, anywhere."""
    sizes = [theta[name].size for name in MATRICES]
    strengths = np.concatenate([theta[name].reshape(-1) for name in MATRICES])
    missing = int(np.floor(given["connectivity"] * sum(sizes))) - int((strengths > 0).sum())
    chosen = np.zeros(len(strengths), int)
    chosen[rng.choice(np.flatnonzero(strengths <= 0), max(0, missing), replace=False)] = 1
    parts = np.split(chosen, np.cumsum(sizes)[:-1])
    return {name: part.reshape(theta[name].shape) for name, part in zip(MATRICES, parts, strict=True)}
