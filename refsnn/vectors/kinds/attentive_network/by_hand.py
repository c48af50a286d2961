"""An attentive network written out once more, with a switch for each mistake that is often made.

Without switches this is the oracle: the gradients are derivatives by complex step of the forward pass in
which what sparse attentive backtracking does not follow is constant, that is, real.  The selection is made of
real parts.  Nothing of this is shared with the network of the package.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.vectors.case import Hyperparameters, Leaves, Problem
from refsnn.vectors.kinds.every_direction import derivatives, detached

Arrays = dict[str, Any]


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that the hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given, inputs = problem.hyperparameters, problem.inputs
    run = _unrolled(given, inputs)
    slots, (steps, batch) = len(run["times"]), inputs["sequence"].shape[:2]
    leaves = {
        "outputs": np.stack(run["outputs"]),
        "weights": _dense(run["weights"], batch, slots, 0.0),
        "survivors": _dense(run["alive"], batch, slots, False).astype(np.int8),
        "threshold_slots": np.stack(run["thresholds"]).astype(np.int32),
        "slot_times": np.array(run["times"], np.int64),
        "loss": np.asarray(run["loss"]),
        "states/hidden": run["state"]["hidden"],
    }
    if "cell" in run["state"]:
        leaves["states/cell"] = run["state"]["cell"]
    probe = np.zeros((steps, batch, given["widths"][1]))  # added to h_t: its gradient is dL/dh_t
    names = [name for name in inputs if name.split("/")[0] in ("parameters", "start", "sequence")]
    by_all = derivatives(
        lambda moved: _unrolled(given, moved)["loss"], inputs | {"probe": probe}, [*names, "probe"]
    )
    leaves["reach"] = np.sqrt((by_all.pop("probe") ** 2).sum(axis=-1))
    return leaves | {f"gradients/{name.removeprefix('parameters/')}": a for name, a in by_all.items()}


def _dense(rows: list[np.ndarray | None], batch: int, slots: int, nothing: Any) -> np.ndarray:
    """(T, B, N) from what each step has of the slots that are filled."""
    whole = np.full((len(rows), batch, slots), nothing)
    for row, values in zip(whole, rows, strict=True):
        if values is not None:
            row[:, : values.shape[-1]] = values
    return whole


def _unrolled(given: Hyperparameters, inputs: Leaves) -> Arrays:
    """All steps; arrays may have an axis of directions in front."""
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    p = {name.removeprefix("parameters/"): a for name, a in inputs.items() if name.startswith("parameters/")}
    state = {name.removeprefix("start/"): a for name, a in inputs.items() if name.startswith("start/")}
    sequence = np.moveaxis(inputs["sequence"], -3, 0)
    probe = np.moveaxis(inputs["probe"], -3, 0) if "probe" in inputs else np.zeros((len(sequence), 1, 1))
    store, cut = given["store_every"], given["truncate_every"]
    memory, times = ([], []) if given["empty_memory"] else ([state["hidden"]], [0])
    run: Arrays = {"outputs": [], "weights": [], "alive": [], "thresholds": []}
    for t, x in enumerate(sequence, 1):
        if cut and (t - 1 if "cut-late" in made else t) % cut == 0 and t > ("cut-late" in made):
            state = {
                name: array if "cell-not-cut" in made and name == "cell" else detached(array)
                for name, array in state.items()
            }
            if "cut-erases" in made:
                memory = [detached(slot) for slot in memory]
        before = state["hidden"]
        state = _cell(given, p, x, state, made)
        provisional = state["hidden"]
        if store and t % store == 0 and "sees-itself" in made:
            memory, times = [*memory, provisional], [*times, t]
        summary = 0 * provisional
        reading = None
        if memory:
            asked = before if "query-past" in made else provisional
            scores = np.stack([_score(given, p, slot, asked, made) for slot in memory], axis=-1)
            reading = _sparsified(given, scores, made)
            for j, slot in enumerate(memory):
                value = detached(slot) if given["detach_value"] else slot
                summary = summary + reading["weights"][..., j, None] * value
        for name in ("weights", "alive"):
            run[name].append(None if reading is None else np.real(reading[name]))
        nobody = np.full(provisional.shape[-2], -1)
        run["thresholds"].append(nobody if reading is None else reading["threshold_slot"])
        hidden = (provisional + summary if given["augmented"] else provisional) + probe[t - 1]
        state = state | {"hidden": hidden}
        y = _product(hidden, p["readout.weight"]) + p["readout.bias"][..., None, :]
        if "summary-unread" not in made:
            y = y + _product(summary, p["readout.summary_weight"])
        run["outputs"].append(y)
        stored_now = store and (t - 1 if "stored-late" in made else t) % store == 0
        if stored_now and "sees-itself" not in made and t > ("stored-late" in made):
            kept = provisional if "stored-before-reminding" in made else hidden
            memory, times = [*memory, kept], [*times, t]
    return run | {
        "state": state,
        "times": times,
        "loss": _loss(given, inputs["targets"], run["outputs"], made),
    }


def _product(vector: Any, weight: Any) -> Any:
    return vector @ np.swapaxes(weight, -1, -2)


def _logistic(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def _cell(given: Hyperparameters, p: Arrays, x: Any, state: Arrays, made: set[str]) -> Arrays:
    """S2."""
    a = _product(x, p["cell.input_weight"]) + _product(state["hidden"], p["cell.recurrent_weight"])
    a = a + p["cell.input_bias"][..., None, :]
    if "one-bias" not in made:
        a = a + p["cell.recurrent_bias"][..., None, :]
    if given["cell"] == "tanh":
        return {"hidden": np.tanh(a)}
    i, f, g, o = np.split(a, 4, axis=-1)
    cell = _logistic(f) * state["cell"] + _logistic(i) * np.tanh(g)
    return {"hidden": _logistic(o) * np.tanh(cell), "cell": cell}


def _score(given: Hyperparameters, p: Arrays, memory: Any, query: Any, made: set[str]) -> Any:
    """S3, (..., B)."""
    memory = detached(memory) if given["detach_key"] else memory
    query = detached(query) if given["detach_query"] else query
    if given["score"] != "mlp":
        memory, query = np.tanh(memory), np.tanh(query)
    by_memory = _product(memory, p["attention.memory_weight"])
    by_query = 0 if "query-unheard" in made else _product(query, p["attention.query_weight"])
    if given["score"] == "separable":
        return (by_memory + by_query)[..., 0]
    return (p["attention.score_weight"][..., None, :] * np.tanh(by_memory + by_query)).sum(axis=-1)


def _sparsified(given: Hyperparameters, scores: Any, made: set[str]) -> Arrays:
    """S4."""
    filled, top = scores.shape[-1], given["top"]
    rule = "raw" if top <= 0 else given["small_memory"] if filled <= top else given["sparsifier"]
    batch = scores.shape[-2]
    real = np.real(scores)
    if rule in ("raw", "softmax", "zero"):
        shifted = np.exp(scores - real.max(axis=-1, keepdims=True))
        dense = {"raw": scores, "zero": 0 * scores, "softmax": shifted / shifted.sum(axis=-1, keepdims=True)}
        alive = np.full(real.shape, rule != "zero")
        return {"weights": dense[rule], "alive": alive, "threshold_slot": np.full(batch, -1)}
    place = {"paper": top, "dev": top, "release": top - 1, "min": filled - 1}[rule]
    shift = {"paper": 0.0, "dev": -1.0}.get(rule, 1.0) * given["threshold_shift"]
    if "ties-last" in made:
        order = filled - 1 - np.argsort(-real[..., ::-1], axis=-1, kind="stable")
    else:
        order = np.argsort(-real, axis=-1, kind="stable")
    slot = order[..., place]
    threshold = np.take_along_axis(scores, slot[..., None], axis=-1) + shift
    if "threshold-constant" in made:
        threshold = detached(threshold)
    if "batch-mixed" in made:
        owner = (np.arange(batch)[:, None] * filled + np.arange(filled)) % batch
        threshold = np.stack([threshold[..., owner[:, j], 0] for j in range(filled)], axis=-1)
    raised = scores - threshold
    alive = np.real(raised) > 0
    if "all-above" in made:
        alive = np.argsort(order, axis=-1) <= place
    kept = np.where(alive, raised, 0)
    if "scores-unshifted" in made:
        kept = np.where(alive, scores, 0)
    if "softmax-of-survivors" in made:
        kept = np.where(alive, np.exp(scores - real.max(axis=-1, keepdims=True)), 0)
    total = kept.sum(axis=-1, keepdims=True) + given["norm_shift"]
    if "normaliser-constant" in made:
        total = detached(total)
    if "not-normalised" in made:
        total = 1.0
    weights = kept / np.where(alive.any(axis=-1, keepdims=True), total, 1)
    return {"weights": weights, "alive": alive, "threshold_slot": slot}


def _loss(given: Hyperparameters, targets: np.ndarray, outputs: list[Any], made: set[str]) -> Any:
    """The mean over steps and samples, or that of the last step."""
    if given["readout"] == "last":
        outputs, targets = outputs[-1:], targets[None]
    total = 0
    for y, target in zip(outputs, targets, strict=True):
        if given["loss_function"] == "mean_squared_error":
            each = ((y - target) ** 2).sum(axis=-1) * (1.0 if "no-half" in made else 0.5)
        else:
            largest = np.real(y).max(axis=-1, keepdims=True)
            each = np.log(np.exp(y - largest).sum(axis=-1)) + largest[..., 0]
            each = (
                each - np.take_along_axis(y, np.broadcast_to(target[:, None], (*y.shape[:-1], 1)), -1)[..., 0]
            )
        total = total + each.mean(axis=-1)
    return total if "sum-over-steps" in made else total / len(outputs)
