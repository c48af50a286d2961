"""Recurrent cells and losses compiled by Numba; the twins of `refsnn.kernels.plain.recurrent`.

A loop writes one array, or few: with many, LLVM does not prove that they are apart, and computes one unit
after the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
from refsnn.kernels.compilation import compiled


def tanh_forward(drive: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.tanh_forward`."""
    _tanh_forward(drive, recurrent, bias, hidden)


def tanh_backward(hidden: np.ndarray, adjoint: np.ndarray, drive_adjoint: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.tanh_backward`."""
    _tanh_backward(hidden, adjoint, drive_adjoint, hidden.dtype.type(1))


def lstm_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray,
    before: np.ndarray,
    gates: np.ndarray,
    cell: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_gates`."""
    _lstm_gates(drive, recurrent, bias, before, gates, cell, gates.dtype.type(1))


def lstm_hidden(gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_hidden`."""
    _lstm_hidden(gates, cell, hidden)


def lstm_backward(
    gates: np.ndarray,
    cell: np.ndarray,
    before: np.ndarray,
    hidden_adjoint: np.ndarray,
    cell_adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.lstm_backward`."""
    one = gates.dtype.type(1)
    _lstm_backward(gates, cell, before, hidden_adjoint, cell_adjoint, drive_adjoint, one)


def gru_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    input_bias: np.ndarray,
    recurrent_bias: np.ndarray,
    gates: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_gates`."""
    _gru_gates(drive, recurrent, input_bias, recurrent_bias, gates, gates.dtype.type(1))


def gru_hidden(gates: np.ndarray, before: np.ndarray, hidden: np.ndarray) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_hidden`."""
    _gru_hidden(gates, before, hidden, gates.dtype.type(1))


def gru_backward(
    gates: np.ndarray,
    before: np.ndarray,
    adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
    recurrent_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.recurrent.gru_backward`."""
    _gru_backward(gates, before, adjoint, drive_adjoint, recurrent_adjoint, gates.dtype.type(1))


def squared_error(
    outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """See `refsnn.kernels.plain.recurrent.squared_error`."""
    return _loss_of(_squared_error, outputs, targets, weights, errors)


def cross_entropy(
    outputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """See `refsnn.kernels.plain.recurrent.cross_entropy`."""
    return _loss_of(_cross_entropy, outputs, labels, weights, errors)


def _loss_of(
    kernel: Callable, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> float:
    """Losses of the samples are summed in pairs: a running total in float32 forgets the small ones."""
    losses, number = np.empty(len(outputs), outputs.dtype), outputs.dtype.type
    kernel(outputs, targets, weights, errors, losses, number(len(outputs)), number(1))
    return float(losses.sum())


# ---- compiled ---------------------------------------------------------------------------------------------


@compiled
def _tanh_forward(drive, recurrent, bias, hidden):
    for b in range(drive.shape[0]):
        x, r, h = drive[b], recurrent[b], hidden[b]
        for j in range(h.size):
            h[j] = hyperbolic_tangent(total_drive(x[j], r[j], bias[j]))


@compiled
def _tanh_backward(hidden, adjoint, drive_adjoint, one):
    for b in range(hidden.shape[0]):
        h, d, a = hidden[b], adjoint[b], drive_adjoint[b]
        for j in range(h.size):
            a[j] = d[j] * tanh_slope_of(h[j], one)


@compiled
def _logistic(drive, recurrent, bias, gate, one):
    for j in range(gate.size):
        gate[j] = logistic(total_drive(drive[j], recurrent[j], bias[j]), one)


@compiled
def _hyperbolic(drive, recurrent, bias, gate):
    for j in range(gate.size):
        gate[j] = hyperbolic_tangent(total_drive(drive[j], recurrent[j], bias[j]))


@compiled
def _lstm_gates(drive, recurrent, bias, before, gates, cell, one):
    n = cell.shape[1]
    for b in range(cell.shape[0]):
        x, r, gate, past, c = drive[b], recurrent[b], gates[b], before[b], cell[b]
        _logistic(x[: 2 * n], r[: 2 * n], bias[: 2 * n], gate[: 2 * n], one)
        _hyperbolic(x[2 * n : 3 * n], r[2 * n : 3 * n], bias[2 * n : 3 * n], gate[2 * n : 3 * n])
        _logistic(x[3 * n :], r[3 * n :], bias[3 * n :], gate[3 * n :], one)
        i, f, g = gate[:n], gate[n : 2 * n], gate[2 * n : 3 * n]
        for j in range(n):
            c[j] = lstm_cell(past[j], i[j], f[j], g[j])


@compiled
def _lstm_hidden(gates, cell, hidden):
    n = cell.shape[1]
    for b in range(cell.shape[0]):
        o, c, h = gates[b, 3 * n :], cell[b], hidden[b]
        for j in range(n):
            h[j] = lstm_hidden_equation(c[j], o[j])


@compiled
def _lstm_backward(gates, cell, before, hidden_adjoint, cell_adjoint, drive_adjoint, one):
    n = cell.shape[1]
    for b in range(cell.shape[0]):
        gate, c, past, dh, dc, a = (
            gates[b], cell[b], before[b], hidden_adjoint[b], cell_adjoint[b], drive_adjoint[b],
        )  # fmt: skip
        i, f, g, o = gate[:n], gate[n : 2 * n], gate[2 * n : 3 * n], gate[3 * n :]
        a_i, a_f, a_g, a_o = a[:n], a[n : 2 * n], a[2 * n : 3 * n], a[3 * n :]
        for j in range(n):
            a_i[j], a_f[j], a_g[j], a_o[j], dc[j] = lstm_adjoint(
                dh[j], dc[j], past[j], c[j], i[j], f[j], g[j], o[j], one
            )


@compiled
def _gru_gates(drive, recurrent, input_bias, recurrent_bias, gates, one):
    n = gates.shape[1] // 4
    for b in range(gates.shape[0]):
        x, past, gate = drive[b], recurrent[b], gates[b]
        for j in range(2 * n):
            gate[j] = logistic((x[j] + input_bias[j]) + (past[j] + recurrent_bias[j]), one)
        r, candidate, q = gate[:n], gate[2 * n : 3 * n], gate[3 * n :]
        x_n, b_n, h_n, b_h = x[2 * n :], input_bias[2 * n :], past[2 * n :], recurrent_bias[2 * n :]
        for j in range(n):
            q[j] = h_n[j] + b_h[j]
        for j in range(n):
            candidate[j] = gru_candidate(x_n[j] + b_n[j], r[j], q[j])


@compiled
def _gru_hidden(gates, before, hidden, one):
    n = before.shape[1]
    for b in range(before.shape[0]):
        z, candidate, past, h = gates[b, n : 2 * n], gates[b, 2 * n : 3 * n], before[b], hidden[b]
        for j in range(n):
            h[j] = gru_hidden_equation(past[j], z[j], candidate[j], one)


@compiled
def _gru_backward(gates, before, adjoint, drive_adjoint, recurrent_adjoint, one):
    n = before.shape[1]
    for b in range(before.shape[0]):
        gate, past, d, a, h = gates[b], before[b], adjoint[b], drive_adjoint[b], recurrent_adjoint[b]
        r, z, candidate, q = gate[:n], gate[n : 2 * n], gate[2 * n : 3 * n], gate[3 * n :]
        a_r, a_z, a_n, a_q = a[:n], a[n : 2 * n], a[2 * n :], h[2 * n :]
        for j in range(n):
            a_r[j], a_z[j], a_n[j], a_q[j], d[j] = gru_adjoint(
                d[j], past[j], r[j], z[j], candidate[j], q[j], one
            )
        for j in range(2 * n):
            h[j] = a[j]


@compiled
def _squared_error(outputs, targets, weights, errors, losses, samples, one):
    for b in range(outputs.shape[0]):
        y, target, e, weight = outputs[b], targets[b], errors[b], weights[b]
        loss = one - one
        for c in range(y.size):
            e[c] = output_error(y[c], target[c], weight, samples)
            loss += squared_error_equation(y[c], target[c], weight, samples, one)
        losses[b] = loss


@compiled
def _cross_entropy(outputs, labels, weights, errors, losses, samples, one):
    for b in range(outputs.shape[0]):
        y, label, e, weight = outputs[b], labels[b], errors[b], weights[b]
        highest, total = y[0], one - one
        for c in range(1, y.size):
            highest = max(highest, y[c])
        for c in range(y.size):
            e[c] = exp(y[c] - highest)
            total += e[c]
        for c in range(y.size):
            e[c] = output_error(e[c] / total, (c == label) * one, weight, samples)
        losses[b] = weighted_cross_entropy(total, y[label] - highest, weight, samples)
