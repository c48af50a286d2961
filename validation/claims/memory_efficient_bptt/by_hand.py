"""BPTT of the four cells written down from their equations, layer by layer, in NumPy alone.

Whole arrays of time: (T, B, n), weight gradients as one product over time and batch.  Nothing is shared with
the models but the names of their parameters, so that what agrees with it agrees with the equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.models.sequences import StepTargets

Arrays = dict[str, np.ndarray]
Backward = Callable[[np.ndarray, Arrays], tuple[np.ndarray, Arrays, Arrays]]


@dataclass(frozen=True)
class ByHand:
    """Loss, and gradients of parameters, input and start, keyed as `running.Leaves` are."""

    loss: float
    leaves: Arrays
    hidden: np.ndarray  # of the last layer, h_1, ..., h_T; spikes of a spiking one


def by_hand(
    model: Any,
    parameters: Arrays,
    inputs: np.ndarray,
    targets: StepTargets,
    start: Arrays,
    adjoint: Arrays,
    start_slope: bool = True,
) -> ByHand:
    """BPTT with every array kept.

    Parameters
    ----------
    model
        One of the recurrent networks.
    parameters, inputs, targets
        As the model takes them; targets and weights of each step.
    start, adjoint : dict of str to ndarray
        h_0 (and `step`, where masks count from it), and what is added to dL/dh_T.
    start_slope : bool
        Whether dL/dv_0 of a spiking layer has the term psi(v_0) dL/dz_0.
    """
    if isinstance(model, RecurrentSpikingLayer):
        return _spiking(model, parameters, inputs, targets, start, adjoint, start_slope)
    below, backwards = inputs, []
    for index, prefix in enumerate(model.prefixes):
        weights, first = _last_names(prefix, parameters), _last_names(prefix, start)
        if isinstance(model, TanhNetwork):
            made = int(start["step"][0]) if "step" in start else 0
            masks = _masks(model, index, range(made + 1, made + len(inputs) + 1), first["hidden"].shape)
            below, backward = _tanh(weights, below, first, masks)
        else:
            gated = {LongShortTermMemory: _lstm, GatedRecurrentUnit: _gru}[type(model)]
            below, backward = gated(weights, below, first)
        backwards.append((prefix, backward))
    readout, bias = parameters["readout.weight"], parameters["readout.bias"]
    loss, e = _loss(model.loss_function, below @ readout.T + bias, targets)
    leaves = {"readout.weight": _outer(e, below), "readout.bias": e.sum(axis=(0, 1))}
    d = e @ readout
    for prefix, backward in reversed(backwards):
        d, gradients, first = backward(d, _last_names(prefix, adjoint))
        leaves |= {f"{prefix}.{name}": value for name, value in gradients.items()}
        leaves |= {f"start.{prefix}.{name}": value for name, value in first.items()}
    return ByHand(loss, leaves | {"inputs": d}, below)


def _last_names(prefix: str, arrays: Arrays) -> Arrays:
    return {name.rsplit(".", 1)[1]: a for name, a in arrays.items() if name.startswith(f"{prefix}.")}


def _outer(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """sum over time and batch of left^T right."""
    return np.tensordot(left, right, axes=((0, 1), (0, 1)))


def _loss(kind: str, y: np.ndarray, targets: StepTargets) -> tuple[float, np.ndarray]:
    """L and dL/dy."""
    steps, batch, classes = y.shape
    weights = np.broadcast_to(targets.weights, (steps, batch)) / batch
    if kind == "mean_squared_error":
        difference = y - targets.values
        return float((weights[..., None] * difference**2).sum() / 2), weights[..., None] * difference
    shifted = y - y.max(axis=-1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    onehot = np.eye(classes)[np.broadcast_to(targets.values, (steps, batch))]
    return float(-(weights * (onehot * logarithms).sum(axis=-1)).sum()), weights[..., None] * (
        np.exp(logarithms) - onehot
    )


def _logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def _with_start(start: np.ndarray, steps: int) -> np.ndarray:
    """(T + 1, B, n), the start in front."""
    states = np.zeros((steps + 1, *start.shape))
    states[0] = start
    return states


def _masks(model: TanhNetwork, layer: int, steps: range, shape: tuple[int, ...]) -> np.ndarray:
    """M_k of one layer: entry by entry 0 where u < p, else 1 / (1 - p), with u drawn by seed, layer and k."""
    masks = np.ones((len(steps), *shape))
    for mask, k in zip(masks, steps if model.dropout else (), strict=False):
        bits = np.random.Philox(counter=[0, k, layer, 0], key=model.dropout_seed)
        mask[...] = (np.random.Generator(bits).random(shape) >= model.dropout) / (1 - model.dropout)
    return masks


# -- cells: forward returns h_1..h_T and a function that goes back ----------------------------------------


def _tanh(w: Arrays, x: np.ndarray, start: Arrays, masks: np.ndarray) -> tuple[np.ndarray, Backward]:
    drive, h = x @ w["input_weight"].T + w["bias"], _with_start(start["hidden"], len(x))
    for k in range(len(x)):
        h[k + 1] = np.tanh(drive[k] + (masks[k] * h[k]) @ w["recurrent_weight"].T)

    def backward(d: np.ndarray, adjoint: Arrays) -> tuple[np.ndarray, Arrays, Arrays]:
        a, g = np.zeros_like(drive), adjoint["hidden"]
        for k in reversed(range(len(x))):
            a[k] = (g + d[k]) * (1 - h[k + 1] ** 2)
            g = masks[k] * (a[k] @ w["recurrent_weight"])
        gradients = {"input_weight": _outer(a, x), "recurrent_weight": _outer(a, masks * h[:-1])}
        return a @ w["input_weight"], gradients | {"bias": a.sum(axis=(0, 1))}, {"hidden": g}

    return h[1:], backward


def _lstm(w: Arrays, x: np.ndarray, start: Arrays) -> tuple[np.ndarray, Backward]:
    drive = x @ w["input_weight"].T + w["bias"]
    h, c = _with_start(start["hidden"], len(x)), _with_start(start["cell"], len(x))
    gates = np.zeros_like(drive)
    for k in range(len(x)):
        a_i, a_f, a_g, a_o = np.split(drive[k] + h[k] @ w["recurrent_weight"].T, 4, axis=-1)
        i, f, g, o = _logistic(a_i), _logistic(a_f), np.tanh(a_g), _logistic(a_o)
        gates[k] = np.concatenate([i, f, g, o], axis=-1)
        c[k + 1] = f * c[k] + i * g
        h[k + 1] = o * np.tanh(c[k + 1])

    def backward(d: np.ndarray, adjoint: Arrays) -> tuple[np.ndarray, Arrays, Arrays]:
        dz, gh, gc = np.zeros_like(gates), adjoint["hidden"], adjoint["cell"]
        for k in reversed(range(len(x))):
            i, f, g, o = np.split(gates[k], 4, axis=-1)
            dh, tc = gh + d[k], np.tanh(c[k + 1])
            dc = gc + dh * o * (1 - tc**2)
            dz[k] = np.concatenate(
                [dc * g * i * (1 - i), dc * c[k] * f * (1 - f), dc * i * (1 - g**2), dh * tc * o * (1 - o)],
                axis=-1,
            )
            gh, gc = dz[k] @ w["recurrent_weight"], dc * f
        gradients = {"input_weight": _outer(dz, x), "recurrent_weight": _outer(dz, h[:-1])}
        gradients["bias"] = dz.sum(axis=(0, 1))
        return dz @ w["input_weight"], gradients, {"hidden": gh, "cell": gc}

    return h[1:], backward


def _gru(w: Arrays, x: np.ndarray, start: Arrays) -> tuple[np.ndarray, Backward]:
    drive, h = x @ w["input_weight"].T + w["input_bias"], _with_start(start["hidden"], len(x))
    kept = []
    for k in range(len(x)):
        x_r, x_z, x_n = np.split(drive[k], 3, axis=-1)
        h_r, h_z, q = np.split(h[k] @ w["recurrent_weight"].T + w["recurrent_bias"], 3, axis=-1)
        r, z = _logistic(x_r + h_r), _logistic(x_z + h_z)
        n = np.tanh(x_n + r * q)
        h[k + 1] = (1 - z) * n + z * h[k]
        kept.append((r, z, n, q))

    def backward(d: np.ndarray, adjoint: Arrays) -> tuple[np.ndarray, Arrays, Arrays]:
        by_x, by_h, g = np.zeros_like(drive), np.zeros_like(drive), adjoint["hidden"]
        for k in reversed(range(len(x))):
            r, z, n, q = kept[k]
            total = g + d[k]
            an = total * (1 - z) * (1 - n**2)
            ar, az = an * q * r * (1 - r), total * (h[k] - n) * z * (1 - z)
            by_x[k], by_h[k] = (np.concatenate([ar, az, last], axis=-1) for last in (an, an * r))
            g = total * z + by_h[k] @ w["recurrent_weight"]
        gradients = {
            "input_weight": _outer(by_x, x),
            "recurrent_weight": _outer(by_h, h[:-1]),
            "input_bias": by_x.sum(axis=(0, 1)),
            "recurrent_bias": by_h.sum(axis=(0, 1)),
        }
        return by_x @ w["input_weight"], gradients, {"hidden": g}

    return h[1:], backward


class _Sent(NamedTuple):
    """What a step sends back to the one before."""

    potential: np.ndarray
    spikes: np.ndarray
    readout: np.ndarray


def _spiking(
    model: RecurrentSpikingLayer,
    parameters: Arrays,
    x: np.ndarray,
    targets: StepTargets,
    start: Arrays,
    adjoint: Arrays,
    start_slope: bool,
) -> ByHand:
    """The adjoint as (gv, gz, go), with the surrogate of the triangle."""
    neuron, names = model.neuron, ("layer.1.potential", "readout.potential")
    w, readout = _last_names("layer.1", parameters), _last_names("readout", parameters)
    recurrent, out = w["recurrent_weight"], readout["weight"]
    drive = x @ w["input_weight"].T + w["bias"]
    v, o = (_with_start(start[name], len(x)) for name in names)
    for k in range(len(x)):
        z = (v[k] >= neuron.threshold) * 1.0
        v[k + 1] = neuron.leak * v[k] + drive[k] + z @ recurrent.T - neuron.threshold * z
        o[k + 1] = model.readout_leak * o[k] + (v[k + 1] >= neuron.threshold) @ out.T + readout["bias"]
    z = (v >= neuron.threshold) * 1.0
    psi = neuron.surrogate.height * np.maximum(0, 1 - neuron.surrogate.slope * np.abs(v - neuron.threshold))
    loss, e = _loss(model.loss_function, o[1:], targets)

    sent = _Sent(adjoint[names[0]], np.zeros_like(v[0]), adjoint[names[1]])
    by_potential, by_readout = np.zeros_like(drive), np.zeros_like(e)
    for k in reversed(range(len(x))):
        by_readout[k] = sent.readout + e[k]
        by_potential[k] = sent.potential + (sent.spikes + by_readout[k] @ out) * psi[k + 1]
        spikes = by_potential[k] @ recurrent
        if not neuron.detach_reset:
            spikes = spikes - neuron.threshold * by_potential[k]
        sent = _Sent(neuron.leak * by_potential[k], spikes, model.readout_leak * by_readout[k])
    first = sent.potential + sent.spikes * psi[0] if start_slope else sent.potential
    leaves = {
        "layer.1.input_weight": _outer(by_potential, x),
        "layer.1.recurrent_weight": _outer(by_potential, z[:-1]),
        "layer.1.bias": by_potential.sum(axis=(0, 1)),
        "readout.weight": _outer(by_readout, z[1:]),
        "readout.bias": by_readout.sum(axis=(0, 1)),
        "inputs": by_potential @ w["input_weight"],
        f"start.{names[0]}": first,
        f"start.{names[1]}": sent.readout,
    }
    return ByHand(loss, leaves, z[1:])
