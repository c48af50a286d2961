"""Recurrent cells and losses on a CUDA device; the twins of `refsnn.kernels.plain.recurrent`.

One thread is one unit of one sample, or one sample of a loss: no two threads meet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.elementary import exp
from refsnn.equations.recurrent import (
    gru_adjoint,
    gru_candidate,
    logistic,
    lstm_adjoint,
    lstm_cell,
    output_error,
    tanh_slope_of,
    total_drive,
    weighted_cross_entropy,
)
from refsnn.equations.recurrent import gru_hidden as gru_hidden_equation
from refsnn.equations.recurrent import lstm_hidden as lstm_hidden_equation
from refsnn.equations.recurrent import squared_error as squared_error_equation
from refsnn.kernels.cuda.device import compiled, filled, over_columns, read, updated


def tanh_forward(drive: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.tanh_forward`."""
    over_columns(_tanh_forward, (1, hidden.size), (*map(read, (drive, recurrent, bias)), filled(hidden)))


@compiled
def _tanh_forward(drive, recurrent, bias, hidden):
    entry = cuda.grid(1)
    if entry >= hidden.size:
        return
    b, j = entry // hidden.shape[1], entry % hidden.shape[1]
    hidden[b, j] = hyperbolic_tangent(total_drive(drive[b, j], recurrent[b, j], bias[j]))


def tanh_backward(hidden: np.ndarray, adjoint: np.ndarray, drive_adjoint: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.tanh_backward`."""
    arguments = read(hidden), read(adjoint), filled(drive_adjoint), hidden.dtype.type(1)
    over_columns(_tanh_backward, (1, hidden.size), arguments)


@compiled
def _tanh_backward(hidden, adjoint, drive_adjoint, one):
    entry = cuda.grid(1)
    if entry >= hidden.size:
        return
    b, j = entry // hidden.shape[1], entry % hidden.shape[1]
    drive_adjoint[b, j] = adjoint[b, j] * tanh_slope_of(hidden[b, j], one)


def lstm_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray,
    before: np.ndarray,
    gates: np.ndarray,
    cell: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_gates`."""
    arrays = *map(read, (drive, recurrent, bias, before)), filled(gates), filled(cell)
    over_columns(_lstm_gates, (1, cell.size), (*arrays, cell.dtype.type(1)))


@compiled
def _lstm_gates(drive, recurrent, bias, before, gates, cell, one):
    entry, n = cuda.grid(1), cell.shape[1]
    if entry >= cell.size:
        return
    b, j = entry // n, entry % n
    i = logistic(total_drive(drive[b, j], recurrent[b, j], bias[j]), one)
    f = logistic(total_drive(drive[b, n + j], recurrent[b, n + j], bias[n + j]), one)
    g = hyperbolic_tangent(total_drive(drive[b, 2 * n + j], recurrent[b, 2 * n + j], bias[2 * n + j]))
    o = logistic(total_drive(drive[b, 3 * n + j], recurrent[b, 3 * n + j], bias[3 * n + j]), one)
    gates[b, j], gates[b, n + j], gates[b, 2 * n + j], gates[b, 3 * n + j] = i, f, g, o
    cell[b, j] = lstm_cell(before[b, j], i, f, g)


def lstm_hidden(gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_hidden`."""
    over_columns(_lstm_hidden, (1, cell.size), (read(gates), read(cell), filled(hidden)))


@compiled
def _lstm_hidden(gates, cell, hidden):
    entry, n = cuda.grid(1), cell.shape[1]
    if entry >= cell.size:
        return
    b, j = entry // n, entry % n
    hidden[b, j] = lstm_hidden_equation(cell[b, j], gates[b, 3 * n + j])


def lstm_backward(
    gates: np.ndarray,
    cell: np.ndarray,
    before: np.ndarray,
    hidden_adjoint: np.ndarray,
    cell_adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_backward`."""
    arrays = map(read, (gates, cell, before, hidden_adjoint))
    arguments = *arrays, updated(cell_adjoint), filled(drive_adjoint), cell.dtype.type(1)
    over_columns(_lstm_backward, (1, cell.size), arguments)


@compiled
def _lstm_backward(gates, cell, before, hidden_adjoint, cell_adjoint, drive_adjoint, one):
    entry, n = cuda.grid(1), cell.shape[1]
    if entry >= cell.size:
        return
    b, j = entry // n, entry % n
    i, f, g, o = gates[b, j], gates[b, n + j], gates[b, 2 * n + j], gates[b, 3 * n + j]
    by_i, by_f, by_g, by_o, past = lstm_adjoint(
        hidden_adjoint[b, j], cell_adjoint[b, j], before[b, j], cell[b, j], i, f, g, o, one
    )
    drive_adjoint[b, j], drive_adjoint[b, n + j] = by_i, by_f
    drive_adjoint[b, 2 * n + j], drive_adjoint[b, 3 * n + j] = by_g, by_o
    cell_adjoint[b, j] = past


def gru_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    input_bias: np.ndarray,
    recurrent_bias: np.ndarray,
    gates: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_gates`."""
    arrays = *map(read, (drive, recurrent, input_bias, recurrent_bias)), filled(gates)
    over_columns(_gru_gates, (1, gates.size // 4), (*arrays, gates.dtype.type(1)))


@compiled
def _gru_gates(drive, recurrent, input_bias, recurrent_bias, gates, one):
    entry, n = cuda.grid(1), gates.shape[1] // 4
    if entry >= gates.shape[0] * n:
        return
    b, j = entry // n, entry % n
    k, m = n + j, 2 * n + j
    r = logistic((drive[b, j] + input_bias[j]) + (recurrent[b, j] + recurrent_bias[j]), one)
    z = logistic((drive[b, k] + input_bias[k]) + (recurrent[b, k] + recurrent_bias[k]), one)
    q = recurrent[b, m] + recurrent_bias[m]
    gates[b, j], gates[b, k] = r, z
    gates[b, m], gates[b, 3 * n + j] = gru_candidate(drive[b, m] + input_bias[m], r, q), q


def gru_hidden(gates: np.ndarray, before: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_hidden`."""
    arguments = read(gates), read(before), filled(hidden), hidden.dtype.type(1)
    over_columns(_gru_hidden, (1, hidden.size), arguments)


@compiled
def _gru_hidden(gates, before, hidden, one):
    entry, n = cuda.grid(1), hidden.shape[1]
    if entry >= hidden.size:
        return
    b, j = entry // n, entry % n
    hidden[b, j] = gru_hidden_equation(before[b, j], gates[b, n + j], gates[b, 2 * n + j], one)


def gru_backward(
    gates: np.ndarray,
    before: np.ndarray,
    adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
    recurrent_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_backward`."""
    arrays = read(gates), read(before), updated(adjoint), filled(drive_adjoint), filled(recurrent_adjoint)
    over_columns(_gru_backward, (1, adjoint.size), (*arrays, adjoint.dtype.type(1)))


@compiled
def _gru_backward(gates, before, adjoint, drive_adjoint, recurrent_adjoint, one):
    entry, n = cuda.grid(1), adjoint.shape[1]
    if entry >= adjoint.size:
        return
    b, j = entry // n, entry % n
    r, z, candidate, q = gates[b, j], gates[b, n + j], gates[b, 2 * n + j], gates[b, 3 * n + j]
    by_r, by_z, by_n, by_q, past = gru_adjoint(adjoint[b, j], before[b, j], r, z, candidate, q, one)
    drive_adjoint[b, j], drive_adjoint[b, n + j], drive_adjoint[b, 2 * n + j] = by_r, by_z, by_n
    recurrent_adjoint[b, j], recurrent_adjoint[b, n + j], recurrent_adjoint[b, 2 * n + j] = by_r, by_z, by_q
    adjoint[b, j] = past


def squared_error(
    outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """See `refsnn.kernels.plain.recurrent.squared_error`."""
    return _loss_of(_squared_error, outputs, targets, weights, errors)


@compiled
def _squared_error(outputs, targets, weights, errors, losses, samples, one):
    b = cuda.grid(1)
    if b >= outputs.shape[0]:
        return
    loss = one - one
    for c in range(outputs.shape[1]):
        y, target = outputs[b, c], targets[b, c]
        errors[b, c] = output_error(y, target, weights[b], samples)
        loss += squared_error_equation(y, target, weights[b], samples, one)
    losses[b] = loss


def cross_entropy(
    outputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """See `refsnn.kernels.plain.recurrent.cross_entropy`."""
    return _loss_of(_cross_entropy, outputs, labels, weights, errors)


@compiled
def _cross_entropy(outputs, labels, weights, errors, losses, samples, one):
    b = cuda.grid(1)
    if b >= outputs.shape[0]:
        return
    highest, total = outputs[b, 0], one - one
    for c in range(1, outputs.shape[1]):
        if outputs[b, c] > highest:  # not max: Numba does not type it in every CUDA kernel
            highest = outputs[b, c]
    for c in range(outputs.shape[1]):
        share = exp(outputs[b, c] - highest)
        errors[b, c] = share
        total += share
    for c in range(outputs.shape[1]):
        target = (c == labels[b]) * one
        errors[b, c] = output_error(errors[b, c] / total, target, weights[b], samples)
    losses[b] = weighted_cross_entropy(total, outputs[b, labels[b]] - highest, weights[b], samples)


def _loss_of(
    kernel: Callable, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> float:
    """One thread a sample; their losses are summed here, in order."""
    losses, number = np.empty(len(outputs), outputs.dtype), outputs.dtype.type
    arrays = read(outputs), read(targets), read(weights), filled(errors), filled(losses)
    over_columns(kernel, (1, len(outputs)), (*arrays, number(len(outputs)), number(1)))
    return float(losses.sum())
