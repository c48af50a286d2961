"""O7, O8, O13, O14, O17, N6: settings in which edges, or the scores, do nothing at all."""

from __future__ import annotations

import numpy as np

from refsnn.kernels import recurrent_kernels
from validation.claims.sparse_attentive_backtracking.by_hand import Reading, sparsify
from validation.claims.sparse_attentive_backtracking.problems import (
    BACKENDS,
    DETACHED,
    OFF,
    Problem,
    differing,
    draw,
    variety,
)
from validation.ledger import Measured, claim, require

ATTENTION = "attention.memory_weight", "attention.query_weight", "attention.score_weight"


def all_bits(problem: Problem, backend: str) -> dict[str, np.ndarray]:
    """Gradients of parameters and inputs, loss, outputs; not those of h_0, which raw steps read as slot 0."""
    result = problem.result(backend)
    known = {"loss": np.array(result.loss), "outputs": result.outputs, "inputs": result.input_gradients}
    return result.gradients | known


@claim(
    "sparse_attentive_backtracking/O7",
    r"`release` with $k_{top}=1$ has no survivor: to the last bit the network without a memory.",
    source="specification, O7",
    metric="gradients, losses and outputs that differ, 6 networks, both backends",
    relation="==",
    bound=0,
    control="empty memory, whose step with one slot is raw",
)
def release_of_one(rng: np.random.Generator) -> Measured:
    value = control = 0
    for setting in ((1, 1, 3), (1, 2, 4), (1, 2, OFF)):
        for score in ("mlp", "separable"):
            problem = draw(rng, setting, sparsifier="release", score=score, zero_start=True)
            for backend in BACKENDS:
                off = all_bits(problem.changed(store_every=problem.steps + 1), backend)
                value += differing(all_bits(problem, backend), off)
                control += differing(all_bits(problem.changed(empty_memory=True), backend), off)
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O8",
    r"Cuts and detachments are facts about the way back only: loss, outputs, weights and final state do not depend on $k_{trunc}$ or any switch.",
    source="specification, O8",
    metric="arrays that differ in a bit, 18 networks, 7 changes each",
    relation="==",
    bound=0,
    control=r"another $k_{att}$",
)
def forward_values(rng: np.random.Generator) -> Measured:
    def values(problem: Problem) -> dict[str, np.ndarray]:
        result = problem.result(BACKENDS[number % 2], input_gradients=False)
        known = {"loss": np.array(result.loss), "outputs": result.outputs, "weights": result.weights}
        return known | {f"final {name}": value for name, value in result.final_state.items()}

    value = control = 0
    for number, problem in enumerate(variety(rng, mix_batch=False, detached=())):
        own = values(problem)
        changes = [{"truncate_every": k} for k in (1, 2, 5, problem.steps, None)]
        changes += [{"detached": names} for names in (DETACHED[1 + number % 3], DETACHED[-1])]
        value += sum(differing(values(problem.changed(**change)), own) for change in changes)
        other = values(problem.changed(store_every=problem.network.store_every + 1))
        control += differing(
            {name: other[name] for name in ("loss", "outputs")},
            {name: own[name] for name in ("loss", "outputs")},
        )
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O13",
    r"$k_{top}=1$, `paper`, $\varepsilon=0$: the weight is 1 whatever the score, $\bar W_1=\bar W_2=\bar w_3=0$, and $w_3\to\lambda w_3$ changes no output.",
    source="specification, O13",
    metric="largest entry of these gradients and change of an output, 6 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="empty memory, whose step with one slot is raw",
)
def one_survivor(rng: np.random.Generator) -> Measured:
    def found(problem: Problem, backend: str) -> float:
        scaled = problem.with_parameters(score_weight=3.7 * problem.parameters["attention.score_weight"])
        result, other = problem.result(backend), scaled.result(backend)
        largest = [np.abs(result.gradients[name]).max() for name in ATTENTION]
        return float(max(*largest, np.abs(result.outputs - other.outputs).max()))

    value = control = 0.0
    for setting in ((1, 1, 3), (1, 2, 4), (1, 2, OFF)) * 2:
        problem = draw(rng, setting, norm_shift=0.0, zero_start=True)
        require(bool(problem.result().weights[:, :, 1:].any()), "no state was ever retrieved")
        value = max(value, *(found(problem, backend) for backend in BACKENDS))
        control = max(control, found(problem.changed(empty_memory=True), "cpu"))
    return Measured(value, control)


def ranked_by_memories(problem: Problem) -> tuple[float, int]:
    """Largest difference of weights to those of the memories' share of the score alone; survivors that differ."""
    network, base = problem.network, problem.base
    by_memory = problem.parameters["attention.memory_weight"][0]
    distance, others, result = 0.0, 0, problem.result()
    for t in range(problem.steps):
        readings: list[Reading | None] = [row[t] for row in base.readings]
        if readings[0] is None or not readings[0].thresholded:
            continue
        filled = readings[0].scores.shape[1]
        alone: list[np.ndarray | None] = [
            np.array([[by_memory @ np.tanh(memory[0]) for memory in base.memory[b][:filled]]])
            for b in range(problem.batch)
        ]
        weights = result.weights[t]
        for b, expected in enumerate(sparsify(network, alone, None, t + 1, False)):
            assert expected is not None
            distance = max(distance, np.abs(expected.weights[0] - weights[b, :filled]).max())
            others += int((expected.alive[0] != (weights[b, :filled] != 0)).sum())
    return distance, others


@claim(
    "sparse_attentive_backtracking/O14",
    r"The released score is blind to the query: once $M_t>k_{top}$, survivors and weights follow from $w_k^\top\tanh m_j$ alone.",
    source="specification, O14",
    metric="largest difference of a weight, 6 networks in which survivors are the same",
    relation="<=",
    bound=1e-13,
    control="the MLP score",
)
def query_blind(rng: np.random.Generator) -> Measured:
    value = control = 0.0
    for number, setting in enumerate(((2, 2, 3), (3, 1, 1), (2, 1, OFF)) * 2):
        sparsifier = ("paper", "release", "dev")[number % 3]
        problem = draw(rng, setting, score="separable", sparsifier=sparsifier, gap=1e-4)
        distance, others = ranked_by_memories(problem)
        require(others == 0, f"{others} survivors differ")
        value = max(value, distance)
        control = max(control, ranked_by_memories(draw(rng, setting, score_width=4))[0])
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O14.query",
    r"and with $k_{top}=1$ nothing but rounding comes to $w_q$.",
    source="specification, O14",
    metric=r"largest entry of $\bar w_q$, 6 networks, both backends",
    relation="<=",
    bound=1e-14,
    control="empty memory, whose raw step feeds it",
)
def query_untrained(rng: np.random.Generator) -> Measured:
    def largest(problem: Problem, backend: str) -> float:
        return float(np.abs(problem.result(backend).gradients["attention.query_weight"]).max())

    value = control = 0.0
    for setting in ((1, 1, 3), (1, 2, 4), (1, 2, OFF)) * 2:
        problem = draw(rng, setting, score="separable", zero_start=True)
        require(bool(problem.result().weights[:, :, 1:].any()), "no state was ever retrieved")
        value = max(value, *(largest(problem, backend) for backend in BACKENDS))
        control = max(control, largest(problem.changed(empty_memory=True), "cpu"))
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O17",
    r"$k_{trunc}=1$: $\bar c_0=0$, and $\bar h_0$ comes from slot 0 only; without mental updates $\bar h_t=V_1^\top\bar y_t$ at every step.",
    source="specification, O17",
    metric="numbers that are not exactly so, 6 networks, both backends",
    relation="==",
    bound=0,
    control=r"$k_{trunc}=2$",
)
def cut_everywhere(rng: np.random.Generator) -> Measured:
    def violations(problem: Problem, backend: str) -> int:
        first = problem.result(backend).initial_gradients
        require(bool(first["hidden"].any()), "slot 0 has no gradient")
        empty = problem.changed(empty_memory=True).result(backend).initial_gradients
        count = int((first["cell"] != 0).sum() + (empty["hidden"] != 0).sum())
        alone = problem.changed(detached=("query", "key", "value")).result(backend)
        errors, kernels = np.zeros_like(alone.outputs[0]), recurrent_kernels(backend)
        for t, outputs in enumerate(alone.outputs):
            weights = np.full(problem.batch, 1 / problem.steps)
            kernels.cross_entropy(outputs.copy(), problem.targets[t], weights, errors)
            direct = errors @ problem.parameters["readout.weight"]
            count += int((alone.reach[t] != np.sqrt(np.square(np.abs(direct)).sum(axis=1))).sum())
        return count

    value = control = 0
    for setting in ((2, 1, 1), (2, 2, 1), (3, 1, 1)) * 2:
        problem = draw(rng, setting)
        value += sum(violations(problem, backend) for backend in BACKENDS)
        control += violations(problem.changed(truncate_every=2), "cpu")
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/N6",
    r"Weights do not see the scale of $w_3$, but the network does: its first steps, with $M_t\le k_{top}$, are raw ($k_{top}\ge2$, $\varepsilon=0$).",
    source="specification, N6",
    metric=r"largest change of an output under $w_3\to2w_3$, smallest of 6 networks",
    relation=">=",
    bound=1e-4,
    control=r"small memories not read at all, `zero`",
)
def scale_of_the_network(rng: np.random.Generator) -> Measured:
    def change(problem: Problem) -> float:
        doubled = problem.with_parameters(score_weight=2 * problem.parameters["attention.score_weight"])
        return float(np.abs(problem.result().outputs - doubled.result().outputs).max())

    values, controls = [], []
    for setting in ((2, 2, 3), (3, 1, 1), (2, 1, OFF)) * 2:
        problem = draw(rng, setting, norm_shift=0.0)
        values.append(change(problem))
        controls.append(change(problem.changed(small_memory="zero")))
    return Measured(min(values), max(controls), {"largest": max(values)})
