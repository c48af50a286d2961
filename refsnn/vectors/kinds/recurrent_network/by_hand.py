"""Tanh networks, LSTM and GRU written out once more, with a switch for each mistake that is often made.

Without switches this is the oracle: the gradients are derivatives of this forward pass by complex step, and
nothing of it is shared with the models of the package.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.vectors.case import Hyperparameters, Leaves, Problem
from refsnn.vectors.kinds.every_direction import derivatives, detached, with_slope

Arrays = dict[str, Any]
ORDERS = {"ifgo": "ifgo", "gates-iofg": "iofg", "gates-igfo": "igfo", "gates-fiog": "fiog"}


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
    nominal = _unrolled(given, inputs)
    leaves = {
        f"states/{name}": np.stack([state[name].real for state in nominal["states"]])
        for name in nominal["states"][0]
    }
    leaves["outputs"] = np.stack(nominal["outputs"]).real
    leaves["loss"] = np.asarray(nominal["loss"].real)
    names = [name for name in inputs if name.split("/")[0] in ("parameters", "start", "sequence")]
    by_all = derivatives(lambda moved: _unrolled(given, moved)["loss"], inputs, names)
    return leaves | {"gradients/" + name.removeprefix("parameters/"): value for name, value in by_all.items()}


def _unrolled(given: Hyperparameters, inputs: Leaves) -> Arrays:
    """All steps; arrays may have an axis of directions in front."""
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    layers = len(given["widths"]) - 2
    sequence = np.moveaxis(inputs["sequence"], -3, 0)
    weights = np.ones_like(inputs["loss_weights"]) if "weights-ignored" in made else inputs["loss_weights"]
    steps, batch = len(sequence), sequence.shape[-2]
    state = {name.removeprefix("start/"): a for name, a in inputs.items() if name.startswith("start/")}
    if "ignores-start" in made:
        state = {name: 0 * array for name, array in state.items()}
    states, outputs, loss = [], [], 0 * sequence.sum(axis=(0, -2, -1))
    for k, below in enumerate(sequence):
        if "cut" in made or ("chunks-of-4" in made and k and k % 4 == 0):
            state = {name: detached(array) for name, array in state.items()}
        if "cell-cut" in made:
            state = {n: detached(array) if n.endswith("cell") else array for n, array in state.items()}
        following: Arrays = {}
        for layer in range(1, layers + 1):
            own = {
                name.removeprefix(f"parameters/layer.{layer}."): array
                for name, array in inputs.items()
                if name.startswith(f"parameters/layer.{layer}.")
            }
            past = {n.rsplit(".", 1)[1]: a for n, a in state.items() if n.startswith(f"layer.{layer}.")}
            after = _unit(given["cell"], own, below, past, made)
            following |= {f"layer.{layer}.{name}": array for name, array in after.items()}
            late = "below-late" in made and layer < layers
            below = past["hidden"] if late else after["hidden"]
        if "read-before" in made:
            below = state[f"layer.{layers}.hidden"]
        readout, bias = inputs["parameters/readout.weight"], inputs["parameters/readout.bias"]
        y = _product(below, readout) + bias[..., None, :]
        state = following
        states.append(state)
        outputs.append(y)
        if not ("last-step-lost" in made and k == steps - 1):
            share = weights[k] / (
                (1 if "sum-over-batch" in made else batch) * (steps if "mean" in made else 1)
            )
            loss = loss + (share * _losses(given["loss_function"], y, inputs["targets"][k], made)).sum(
                axis=-1
            )
    return {"states": states, "outputs": outputs, "loss": loss}


def _losses(name: str, y: Any, target: np.ndarray, made: set[str]) -> Any:
    """One number a sample."""
    if name == "mean_squared_error":
        half = 1.0 if "no-half" in made else 0.5
        return half * ((y - target) ** 2).sum(axis=-1) / (y.shape[-1] if "mean-of-outputs" in made else 1)
    if "softmax-twice" in made:
        y = np.exp(y - detached(y).max(axis=-1, keepdims=True))
        y = y / y.sum(axis=-1, keepdims=True)
    largest = detached(y).max(axis=-1, keepdims=True)
    total = np.log(np.exp(y - largest).sum(axis=-1)) + largest[..., 0]
    return total - np.take_along_axis(y, np.broadcast_to(target[:, None], (*y.shape[:-1], 1)), -1)[..., 0]


def _product(vector: Any, weight: Any) -> Any:
    return vector @ np.swapaxes(weight, -1, -2)


def _back_product(vector: Any, weight: Any, made: set[str]) -> Any:
    """W_h h, and what the gradient sees of it."""
    if "transposed" in made and weight.shape[-1] == weight.shape[-2]:
        return vector @ weight
    if "transposed-back" in made and weight.shape[-1] == weight.shape[-2]:
        real = _product(vector.real, weight.real)
        return real + 1j * (vector.imag @ weight.real + _product(vector.real, weight.imag))
    return _product(vector, weight)


def _unit(cell: str, own: Arrays, below: Any, past: Arrays, made: set[str]) -> Arrays:
    twice = 2 if "bias-twice" in made else 1
    hidden = past["hidden"]
    from_input = _product(below, own["input_weight"])
    from_past = _back_product(hidden, own["recurrent_weight"], made)
    if cell == "tanh":
        return {"hidden": _tanh(from_input + from_past + twice * own["bias"][..., None, :], made)}
    if cell == "lstm":
        return _lstm(from_input + from_past + twice * own["bias"][..., None, :], past["cell"], made)
    from_input = from_input + own["input_bias"][..., None, :]
    order = "zrn" if "gates-zrn" in made else "rzn"
    x = dict(zip(order, np.split(from_input, 3, axis=-1), strict=True))
    bias = dict(zip(order, np.split(own["recurrent_bias"][..., None, :], 3, axis=-1), strict=True))
    h = dict(zip(order, np.split(from_past, 3, axis=-1), strict=True))
    r = _logistic(x["r"] + h["r"] + bias["r"], made)
    z = _logistic(x["z"] + h["z"] + bias["z"], made)
    if "reset-before" in made:
        back = np.split(own["recurrent_weight"], 3, axis=-2)[order.index("n")]
        n = _tanh(x["n"] + _product(r * hidden, back) + bias["n"], made)
    elif "bias-outside" in made:
        n = _tanh(x["n"] + r * h["n"] + bias["n"], made)
    else:
        n = _tanh(x["n"] + r * (h["n"] + bias["n"]), made)
    if "update-swapped" in made:
        return {"hidden": z * n + (1 - z) * hidden}
    return {"hidden": (1 - z) * n + z * hidden}


def _lstm(drive: Any, cell: Any, made: set[str]) -> Arrays:
    order = next((ORDERS[name] for name in sorted(made) if name in ORDERS), "ifgo")
    a = dict(zip(order, np.split(drive, 4, axis=-1), strict=True))
    if "forget-bias" in made:
        a["f"] = a["f"] + 1
    i, f, o = (_logistic(a[name], made) for name in "ifo")
    cell = f * cell + i * _tanh(a["g"], made)
    if "no-tanh-of-cell" in made:
        return {"hidden": o * cell, "cell": cell}
    return {"hidden": o * _tanh(cell, made), "cell": cell}


def _logistic(a: Any, made: set[str]) -> Any:
    value = 1 / (1 + np.exp(-a))
    if "slope-of-value" in made:
        again = 1 / (1 + np.exp(-value.real))
        return with_slope(value, a, again * (1 - again))
    return value


def _tanh(a: Any, made: set[str]) -> Any:
    value = np.tanh(a)
    return with_slope(value, a, 1 - np.tanh(value.real) ** 2) if "slope-of-value" in made else value
