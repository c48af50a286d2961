"""A recurrent network that is reminded of its past states, and sparse attentive backtracking through it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from refsnn.algorithms.sparse_attentive_backtracking import AttentiveResult, sparse_attentive_backtracking
from refsnn.models.attentive.network import AttentiveNetwork, ReminderWarning
from refsnn.models.sequences import StepTargets
from refsnn.vectors.case import Case, Hyperparameters, Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.attentive_network.by_hand import by_hand
from refsnn.vectors.kinds.attentive_network.mistakes import (
    BACK,
    CELL,
    LOSS,
    MISTAKES,
    READ,
    REMIND,
    SPARSE,
    STORE,
)
from refsnn.vectors.kinds.recurrent_network.kind import under

LEAVES = (
    Leaf("outputs", "(T, B, O)", "y_1 .. y_T", READ),
    Leaf(
        "weights",
        "(T, B, N)",
        "w_tj of each slot, 0 for those that did not survive or are not filled",
        SPARSE,
    ),
    Leaf("survivors", "(T, B, N)", "1 for a slot that was read, else 0", SPARSE, 0.0),
    Leaf("threshold_slots", "(T, B)", "whose score was the threshold, -1 for none", SPARSE, 0.0),
    Leaf("slot_times", "(N,)", "the step after which each slot was written, 0 for the start", STORE, 0.0),
    Leaf("states/hidden", "(B, H)", "h_T", REMIND),
    Leaf("states/cell", "(B, H)", "c_T of an LSTM", CELL),
    Leaf("loss", "()", "a mean over the steps, or of the last one, and over the batch", LOSS),
    Leaf("reach", "(T, B)", "the Euclidean norm of dL/dh_t of each sample: where credit came to", BACK),
    Leaf("gradients/sequence", "(T, B, I)", "dL/dx_t", BACK),
    Leaf("gradients/start/*", "(B, H)", "dL/dh_0 and dL/dc_0", BACK),
    Leaf("gradients/*", "as the parameter", "dL/dparameter in the graph with cuts (Ke 2018)", BACK),
)
INPUTS = {
    "widths": "numbers of inputs I, units H, outputs O",
    "score_width": "A, of the score; 1 if it is separable",
    "top": "k_top: how many memories are kept; 0 keeps all, with raw scores",
    "store_every": "k_att: h_t is stored if t mod k_att = 0, t from 1; 0: never",
    "truncate_every": "k_trunc: no gradient from step t to (h_{t-1}, c_{t-1}) if t mod k_trunc = 0; 0: none",
    "cell": "'lstm' (rows in the order i, f, g, o) or 'tanh'; both biases are added",
    "score": "'mlp': w3 . tanh(W1 m + W2 hhat); 'mlp_tanh_in': of tanh(m) and tanh(hhat); "
    "'separable': W1 tanh(m) + W2 tanh(hhat)",
    "sparsifier": "with more than k_top slots the threshold is the (k_top + 1)-th score ('paper'), the same "
    "less threshold_shift ('dev'), or the k_top-th plus threshold_shift ('release'); of equal scores the "
    "earlier slot comes first; who is above it survives",
    "small_memory": "with at most k_top slots: weights are the scores ('raw'), a softmax ('softmax'), 0 "
    "('zero'), or as above with the least score plus threshold_shift for the threshold ('min')",
    "norm_shift": "eps_norm, added to the sum that weights are divided by",
    "threshold_shift": "eps_thr",
    "detach_query": "whether hhat_t is a constant in the scores, for the gradient",
    "detach_key": "whether the memories are constants in the scores",
    "detach_value": "whether the memories are constants in the sum s_t",
    "empty_memory": "whether there is no slot for the start h_0",
    "augmented": "whether h_t = hhat_t + s_t; else h_t = hhat_t",
    "loss_function": "'mean_squared_error': |y - target|^2 / 2 summed over outputs, or 'cross_entropy'",
    "readout": "'all': the loss is a mean over steps and samples; 'last': of the last step",
    "inputs/sequence": "(T, B, I): x_1 .. x_T",
    "inputs/targets": "labels (T, B) or numbers (T, B, O); without T for the last step",
    "inputs/start/hidden": "(B, H): h_0",
    "inputs/start/cell": "(B, H): c_0 of an LSTM",
    "inputs/parameters/cell.*": "input_weight (4H or H, I), recurrent_weight (4H or H, H), input_bias, "
    "recurrent_bias (4H or H,)",
    "inputs/parameters/attention.*": "memory_weight W1 (A, H), query_weight W2 (A, H), score_weight w3 (A,)",
    "inputs/parameters/readout.*": "weight V1 (O, H), summary_weight V2 (O, H), bias b (O,)",
}


def network_of(given: Hyperparameters) -> AttentiveNetwork:
    """The network of a case, without the advice that it would give.

    Parameters
    ----------
    given : dict
        Hyper-parameters.

    Returns
    -------
    AttentiveNetwork
    """
    names = (
        "top", "cell", "score", "score_width", "sparsifier", "small_memory", "empty_memory", "norm_shift",
        "threshold_shift", "augmented", "loss_function", "readout",
    )  # fmt: skip
    options = {name: given[name] for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return AttentiveNetwork(
            tuple(given["widths"]),
            store_every=given["store_every"] or None,
            truncate_every=given["truncate_every"] or None,
            detached=tuple(name for name in ("query", "key", "value") if given[f"detach_{name}"]),
            **options,
        )


def _result(problem: Problem, backend: str) -> AttentiveResult:
    inputs, given = problem.inputs, problem.hyperparameters
    sequence: np.ndarray = inputs["sequence"]
    targets: np.ndarray | StepTargets = inputs["targets"]
    if given["readout"] == "all":
        targets = StepTargets(targets, np.full(len(sequence), 1 / len(sequence), sequence.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        return sparse_attentive_backtracking(
            network_of(given), under("parameters", inputs), sequence, targets,
            initial_state=under("start", inputs), input_gradients=True, backend=backend,
        )  # fmt: skip


def solve(problem: Problem, backend: str) -> Solution:
    """Sparse attentive backtracking.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whose kernels.

    Returns
    -------
    Solution
    """
    found, dtype = _result(problem, backend), problem.inputs["sequence"].dtype
    chosen, slots = found.readings.chosen, np.arange(found.readings.slots)
    assert found.input_gradients is not None  # they were asked for
    leaves: Leaves = {
        "outputs": found.outputs,
        "weights": found.weights,
        "survivors": (chosen[..., None] == slots).any(axis=2).astype(np.int8),
        "threshold_slots": found.threshold_slots,
        "slot_times": found.slot_times,
        "loss": np.asarray(found.loss, dtype),
        "reach": found.reach,
        "gradients/sequence": found.input_gradients,
    }
    leaves |= {f"states/{name}": array for name, array in found.final_state.items()}
    leaves |= {f"gradients/start/{name}": array for name, array in found.initial_gradients.items()}
    leaves |= {f"gradients/{name}": array for name, array in found.gradients.items()}
    return Solution(leaves, found.gap)


DEFAULTS: Hyperparameters = {
    "widths": [2, 3, 4], "score_width": 5, "top": 3, "store_every": 2, "truncate_every": 5, "cell": "lstm",
    "score": "mlp", "sparsifier": "paper", "small_memory": "raw", "norm_shift": 1e-7,
    "threshold_shift": 1e-7, "detach_query": False, "detach_key": False, "detach_value": False,
    "empty_memory": False, "augmented": True, "loss_function": "cross_entropy", "readout": "all",
}  # fmt: skip


def cases(large: bool) -> Iterator[Case]:
    """All rules of selection, all cuts, and what goes wrong at the edges.

    Parameters
    ----------
    large : bool
        Wider and longer ones in addition.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20181207)
    squared: Hyperparameters = {"loss_function": "mean_squared_error"}
    for sparsifier in ("paper", "release", "dev"):
        yield _case(rng, f"sparsifier/{sparsifier}", "which score is the threshold", sparsifier=sparsifier)
    for small in ("raw", "min", "softmax", "zero"):
        few = "more memories are asked for than there are, at first"
        yield _case(rng, f"small-memory/{small}", few, small_memory=small, top=4, **squared)
    for score in ("mlp_tanh_in", "separable"):
        width = 1 if score == "separable" else 5
        yield _case(rng, f"score/{score}", "how memories are scored", score=score, score_width=width)
    constants = {"query": ["query"], "key": ["key"], "value": ["value"], "no-score": ["query", "key"]}
    for name, parts in (constants | {"none": ["query", "key", "value"]}).items():
        options: Hyperparameters = {f"detach_{part}": True for part in parts}
        yield _case(rng, f"detached/{name}", "where no credit goes", **options)
    yield _case(rng, "cuts/none", "nothing is cut: the true gradient", truncate_every=0)
    yield _case(rng, "cuts/every-step", "credit travels by attention alone", truncate_every=1, store_every=1)
    yield _case(rng, "memory/none", "nothing is ever stored: truncated BPTT", store_every=0, rest=True)
    yield _case(rng, "memory/empty", "there is no slot at first", empty_memory=True)
    yield _case(rng, "memory/all", "k_top = 0: all memories, raw scores", top=0, steps=8)
    yield _case(rng, "self-attention", "h_t is not reminded", augmented=False)
    yield _case(rng, "cell/tanh", "the simple recurrence", cell="tanh", **squared)
    yield _case(rng, "last-step", "only the last step has a loss", readout="last")
    yield _case(
        rng, "shifts", "eps_norm and eps_thr that can be seen", norm_shift=0.25, threshold_shift=0.125
    )
    yield from _awkward(rng)
    if large:
        many: Hyperparameters = {"widths": [3, 12, 4], "score_width": 8, "batch": 3, "top": 5}
        yield _case(rng, "wide/paper", "many units, many steps", steps=80, margin=1e-5, **many)


def _awkward(rng: np.random.Generator) -> Iterator[Case]:
    yield _case(rng, "one-step", "T = 1, a slot for the start alone", steps=1, batch=1, truncate_every=2)
    yield _two_calls(rng)
    yield _case(
        rng, "long", "hundreds of steps, tens of slots", widths=[1, 2, 1], score_width=2, steps=200, batch=1,
        store_every=20, truncate_every=30, readout="last", loss_function="mean_squared_error", margin=1e-5,
    )  # fmt: skip
    # the sequence begins with zeros from a start of zeros, without biases: the first states are the same
    equal = _case(rng, "ties", "", cell="tanh", store_every=1, truncate_every=6, top=2, rest=True, steps=9)
    yield _tied(equal)


def _two_calls(rng: np.random.Generator) -> Case:
    """State is carried, memory is not: slot 0 of the second call is the last state of the first."""
    first = _case(rng, "two-calls", "goes on where a call with other inputs ended", steps=10)
    ended = solve(first.problem, "plain").leaves
    start = {f"start/{name}": ended[f"states/{name}"] for name in ("hidden", "cell")}
    sequence = rng.standard_normal(first.problem.inputs["sequence"].shape)
    problem = Problem(first.problem.hyperparameters, first.problem.inputs | start | {"sequence": sequence})
    return Case(first.name, first.purpose, (*first.flags, "two-calls"), problem)


def _tied(case: Case) -> Case:
    inputs = dict(case.problem.inputs)
    for name in ("cell.input_bias", "cell.recurrent_bias"):
        inputs[f"parameters/{name}"] = 0 * inputs[f"parameters/{name}"]
    inputs["sequence"] = inputs["sequence"].copy()
    inputs["sequence"][:4] = 0
    purpose = "equal memories: of equal scores the earlier slot comes first"
    return Case(case.name, purpose, (*case.flags, "ties"), Problem(case.problem.hyperparameters, inputs))


def _case(
    rng: np.random.Generator,
    name: str,
    purpose: str,
    *,
    steps: int = 12,
    batch: int = 2,
    rest: bool = False,
    margin: float = 1e-3,
    **options: Any,
) -> Case:
    """Drawn again until the attention is alive and no selection is close."""
    given = DEFAULTS | options
    network = network_of(given)
    units, outputs = network.widths[1:]
    for _ in range(1000):
        inputs: Leaves = {"sequence": rng.standard_normal((steps, batch, network.widths[0]))}
        shape = (batch,) if given["readout"] == "last" else (steps, batch)
        entropy = given["loss_function"] == "cross_entropy"
        inputs["targets"] = (
            rng.integers(0, outputs, shape) if entropy else rng.standard_normal((*shape, outputs))
        )
        for part in ("hidden", "cell")[: 2 if given["cell"] == "lstm" else 1]:
            inputs[f"start/{part}"] = (0 if rest else 0.5) * rng.standard_normal((batch, units))
        for path, shape_of in network.parameter_shapes().items():
            scale = 1.0 if path == "attention.score_weight" else 0.7
            inputs[f"parameters/{path}"] = scale * rng.standard_normal(shape_of)
        problem = Problem(given, inputs)
        if _alive(problem, margin):
            return Case(name, purpose, _flags(problem, rest), problem)
    raise ArithmeticError(f"attentive_network/{name}: no live network in 1000 tries")


def _alive(problem: Problem, margin: float) -> bool:
    found = solve(problem, "plain")
    leaves, given = found.leaves, problem.hyperparameters
    if found.margin < margin or np.abs(leaves["outputs"]).max() > 20:
        return False
    if not given["store_every"] or len(problem.inputs["sequence"]) == 1:
        return True
    # some memory that is not the start is read, and each parameter has its share of the gradient
    gradients = [
        np.abs(a).max() for path, a in leaves.items() if path.startswith("gradients/") and "start" not in path
    ]
    return bool(leaves["survivors"][..., 1:].any()) and min(gradients) > 1e-4 * max(gradients)


def _flags(problem: Problem, rest: bool) -> tuple[str, ...]:
    steps, batch = problem.inputs["sequence"].shape[:2]
    widths = problem.hyperparameters["widths"]
    holds = {
        "random": steps > 1,
        "one-step": steps == 1,
        "one-sample": batch == 1,
        "unequal-widths": len(set(widths)) == len(widths),
        "carried-state": not rest,
        "long": steps >= 200,
    }
    return tuple(flag for flag, it_does in holds.items() if it_does)


ATTENTIVE_NETWORK = Kind(
    name="attentive_network",
    summary="A recurrent network with sparse attention over its past, and sparse attentive backtracking.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="complex step through a transcription in which cuts and detached parts are constants",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
    agreement=1e-9,
)
