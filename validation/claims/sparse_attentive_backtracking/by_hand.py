"""The network and its frozen-cut function, written down from S1 to S7 in NumPy alone; batch first, sample by sample.

Every array has an axis of ensembles in front: D sets of parameters, inputs and starts run side by side, so that
all directions of a complex step are one call.  Real parts decide what survives.

Given a base run, the forward pass takes from it, as constants, whatever the reverse sweep does not follow: (h, c) at
cuts, and query, memories of the scores or memories of the sum where they are detached.  The ordinary derivative of
this function is what the reverse sweep should return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass
class Reading:
    """Of one step and sample, (D, M) or (D,)."""

    scores: np.ndarray
    alive: np.ndarray
    weights: np.ndarray
    normaliser: np.ndarray
    threshold: np.ndarray
    threshold_slot: np.ndarray  # -1 for none
    gap: float
    thresholded: bool


@dataclass
class Run:
    """All values; `hidden[b][t]` is h_t with h_0 in front, (D, H); `readings[b][t - 1]` None while nothing is there."""

    hidden: list[list[np.ndarray]]
    cell: list[list[np.ndarray]]
    provisional: list[list[np.ndarray]]
    summary: list[list[np.ndarray]]
    memory: list[list[np.ndarray]]
    times: list[int]
    readings: list[list[Reading | None]]
    outputs: np.ndarray  # (D, B, T, O)
    loss: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @property
    def gap(self) -> float:
        """Smallest difference between a threshold and its neighbours in order."""
        return min((r.gap for row in self.readings for r in row if r is not None), default=np.inf)


def times_matrix(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(D, R, C) with (D, C); either D may be 1."""
    return (matrix @ vector[..., None])[..., 0]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(z / 2)) / 2


def cuts_of(network: Any) -> Callable[[int], bool]:
    """cut(t) = [t mod k_trunc = 0]."""
    period = network.truncate_every
    return lambda t: period is not None and t % period == 0


def forward(
    network: Any,
    parameters: Arrays,
    inputs: np.ndarray,
    start: Arrays,
    base: Run | None = None,
    *,
    frozen: tuple[str, ...] = ("hidden", "cell"),
    cut: Callable[[int], bool] | None = None,
    threshold_frozen: bool = False,
) -> Run:
    """S1 to S7.

    Parameters
    ----------
    network
        Hyper-parameters.
    parameters : dict of str to ndarray, (D, ...)
        By the names of the package.
    inputs : ndarray, (D, B, T, I)
        x.
    start : dict of str to ndarray, (D, B, H)
        h_0, and c_0 of an LSTM.
    base : Run, optional
        Where to take constants from; nothing is constant without.
    frozen : tuple of str
        Which of h and c are constants at cuts.
    cut : callable, optional
        Where the cuts are.
    threshold_frozen : bool
        Whether the thresholds are constants too.
    """
    p, lstm = parameters, network.cell == "lstm"
    batch, steps = inputs.shape[1:3]
    cut = cut or cuts_of(network)
    run = Run(
        hidden=[[start["hidden"][:, b]] for b in range(batch)],
        cell=[[start["cell"][:, b]] if lstm else [] for b in range(batch)],
        provisional=[[] for _ in range(batch)],
        summary=[[] for _ in range(batch)],
        memory=[[] if network.empty_memory else [start["hidden"][:, b]] for b in range(batch)],
        times=[] if network.empty_memory else [0],
        readings=[[] for _ in range(batch)],
        outputs=np.zeros(0),
    )
    outputs = []
    for t in range(1, steps + 1):
        scores: list[np.ndarray | None] = []
        for b in range(batch):
            h = run.hidden[b][-1]
            c = run.cell[b][-1] if lstm else None
            if base is not None and cut(t):
                h = base.hidden[b][t - 1] if "hidden" in frozen else h
                c = base.cell[b][t - 1] if lstm and "cell" in frozen else c
            z = times_matrix(p["cell.input_weight"], inputs[:, b, t - 1]) + p["cell.input_bias"]
            z = z + times_matrix(p["cell.recurrent_weight"], h) + p["cell.recurrent_bias"]
            if lstm:
                i, f, g, o = np.split(z, 4, axis=-1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                run.cell[b].append(c)
                provisional = sigmoid(o) * np.tanh(c)
            else:
                provisional = np.tanh(z)
            run.provisional[b].append(provisional)
            asked = (
                base.provisional[b][t - 1]
                if base is not None and "query" in network.detached
                else provisional
            )
            told = base.memory[b] if base is not None and "key" in network.detached else run.memory[b]
            scores.append(
                np.stack([score(network, p, told[j], asked) for j in range(len(run.memory[b]))], -1)
                if run.memory[b]
                else None
            )
        for b, reading in enumerate(sparsify(network, scores, base, t, threshold_frozen)):
            run.readings[b].append(reading)
            read = base.memory[b] if base is not None and "value" in network.detached else run.memory[b]
            s = np.zeros_like(run.provisional[b][-1])
            if reading is not None:
                for j in range(len(run.memory[b])):
                    s = s + reading.weights[:, j, None] * read[j]
            run.summary[b].append(s)
            run.hidden[b].append(run.provisional[b][-1] + (s if network.augmented else 0))
        outputs.append(
            np.stack(
                [
                    times_matrix(p["readout.weight"], run.hidden[b][-1])
                    + times_matrix(p["readout.summary_weight"], run.summary[b][-1])
                    + p["readout.bias"]
                    for b in range(batch)
                ],
                1,
            )
        )
        if t % network.store_every == 0:
            run.times.append(t)
            for b in range(batch):
                run.memory[b].append(run.hidden[b][-1])
    run.outputs = np.stack(outputs, 2)
    return run


def score(network: Any, p: Arrays, memory: np.ndarray, query: np.ndarray) -> np.ndarray:
    """a_tj, (D,)."""
    by_memory, by_query = p["attention.memory_weight"], p["attention.query_weight"]
    if network.score == "separable":
        return (by_query[:, 0] * np.tanh(query)).sum(-1) + (by_memory[:, 0] * np.tanh(memory)).sum(-1)
    if network.score == "mlp_tanh_in":
        memory, query = np.tanh(memory), np.tanh(query)
    excited = np.tanh(times_matrix(by_memory, memory) + times_matrix(by_query, query))
    return (p["attention.score_weight"] * excited).sum(-1)


def sparsify(
    network: Any, scores: list[np.ndarray | None], base: Run | None, step: int, threshold_frozen: bool
) -> list[Reading | None]:
    """S4 for all samples of a step."""
    if scores[0] is None:
        return [None] * len(scores)
    filled, batch = scores[0].shape[-1], len(scores)
    small = network.top > 0 and filled <= network.top
    rule = "raw" if network.top <= 0 else network.small_memory if small else network.sparsifier
    if rule in ("raw", "softmax", "zero"):
        return [_dense(rule, a) for a in scores]
    place = {"paper": network.top, "dev": network.top, "release": network.top - 1, "min": filled - 1}[rule]
    shift = {"paper": 0.0, "dev": -network.threshold_shift}.get(rule, network.threshold_shift)
    slots, thresholds, gaps = [], [], []
    for b, a in enumerate(scores):
        order = np.argsort(-a.real, axis=-1, kind="stable")
        slots.append(order[:, place])
        thresholds.append(np.take_along_axis(a, order[:, place, None], -1)[:, 0] + shift)
        if threshold_frozen and base is not None:
            thresholds[-1] = base.readings[b][step - 1].threshold
        ranked = np.take_along_axis(a.real, order, -1)[:, max(place - 1, 0) : place + 2]
        gaps.append(float((ranked[:, :-1] - ranked[:, 1:]).min()) if ranked.shape[1] > 1 else np.inf)
    found: list[Reading | None] = []
    for b, a in enumerate(scores):
        owners = [(b * filled + j) % batch if network.mix_batch else b for j in range(filled)]
        raised = np.stack([a[:, j] - thresholds[owners[j]] for j in range(filled)], -1)
        alive = raised.real > 0
        u = np.where(alive, raised, 0)
        total = u.sum(-1) + network.norm_shift
        weights = u / np.where(alive.any(-1), total, 1)[:, None]
        found.append(Reading(a, alive, weights, total, thresholds[b], slots[b], gaps[b], True))
    return found


def _dense(rule: str, a: np.ndarray) -> Reading:
    """No threshold."""
    every, nobody = np.ones(a.shape, bool), np.full(len(a), -1)
    weights = {"raw": a, "zero": np.zeros_like(a)}.get(rule)
    if weights is None:
        e = np.exp(a - a.real.max(-1, keepdims=True))
        weights = e / e.sum(-1, keepdims=True)
    alive = every & (rule != "zero")
    return Reading(a, alive, weights, np.ones(len(a)), np.zeros(len(a)), nobody, np.inf, False)


def loss(network: Any, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean over the read-out steps and the batch; (D,).

    Parameters
    ----------
    outputs : ndarray, (D, B, T, O)
        y.
    targets : ndarray
        Labels (T, B) or real targets (T, B, O); of the last step alone with readout "last".
    """
    if network.readout == "last":
        outputs, targets = outputs[:, :, -1:], targets[None]
    if network.loss_function == "mean_squared_error":
        return ((outputs - targets.swapaxes(0, 1)) ** 2).sum(-1).mean((1, 2)) / 2
    y = outputs - outputs.real.max(-1, keepdims=True)
    picked = np.take_along_axis(y, targets.T[None, :, :, None], -1)[..., 0]
    return (np.log(np.exp(y).sum(-1)) - picked).mean((1, 2))


def ensembles(leaves: Arrays, step: complex) -> Arrays:
    """One set for each number of each leaf, in which `step` was added to it; (D, ...)."""
    count, first, found = sum(leaf.size for leaf in leaves.values()), 0, {}
    for name, leaf in leaves.items():
        moved = np.repeat(leaf.reshape(1, -1), count, 0).astype(np.result_type(leaf, step))
        moved[first + np.arange(leaf.size), np.arange(leaf.size)] += step
        found[name], first = moved.reshape(count, *leaf.shape), first + leaf.size
    return found


def leafwise(numbers: np.ndarray, leaves: Arrays) -> Arrays:
    """The D numbers of `ensembles`, leaf by leaf."""
    found, first = {}, 0
    for name, leaf in leaves.items():
        found[name] = numbers[first : first + leaf.size].reshape(leaf.shape)
        first += leaf.size
    return found
