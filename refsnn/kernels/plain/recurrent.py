"""Recurrent cells and losses in NumPy: the specification as executed.

Arrays are (B, n), those of several gates (B, n times their number) with the gates side by side.  A function
fills the arrays that it is given; matrix products are made outside.
"""

from __future__ import annotations

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


def tanh_forward(drive: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, hidden: np.ndarray) -> None:
    """h_k = tanh(W_x x_k + W_h h_{k-1} + b).

    Parameters
    ----------
    drive, recurrent : ndarray, (B, n)
        The two products.
    bias : ndarray, (n,)
        b.
    hidden : ndarray, (B, n)
        Filled with h_k.
    """
    hidden[...] = hyperbolic_tangent(total_drive(drive, recurrent, bias))


def tanh_backward(hidden: np.ndarray, adjoint: np.ndarray, drive_adjoint: np.ndarray) -> None:
    """The adjoint of `tanh_forward`.

    Parameters
    ----------
    hidden : ndarray, (B, n)
        h_k.
    adjoint : ndarray, (B, n)
        dL/dh_k.
    drive_adjoint : ndarray, (B, n)
        Filled with dL/da.
    """
    drive_adjoint[...] = adjoint * tanh_slope_of(hidden, _one(hidden))


def lstm_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray,
    before: np.ndarray,
    gates: np.ndarray,
    cell: np.ndarray,
) -> None:
    """i, f, g, o and c_k of a long short-term memory.

    Parameters
    ----------
    drive, recurrent : ndarray, (B, 4n)
        The two products.
    bias : ndarray, (4n,)
        b.
    before : ndarray, (B, n)
        c_{k-1}.
    gates : ndarray, (B, 4n)
        Filled with i, f, g, o.
    cell : ndarray, (B, n)
        Filled with c_k.
    """
    one = _one(gates)
    kinds = (logistic, logistic, None, logistic)
    for kind, gate, a in zip(
        kinds, _gates(gates, 4), _gates(total_drive(drive, recurrent, bias), 4), strict=True
    ):
        gate[...] = hyperbolic_tangent(a) if kind is None else kind(a, one)
    i, f, g, _ = _gates(gates, 4)
    cell[...] = lstm_cell(before, i, f, g)


def lstm_hidden(gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray) -> None:
    """h_k, from what `lstm_gates` left.

    Parameters
    ----------
    gates : ndarray, (B, 4n)
        i, f, g, o.
    cell : ndarray, (B, n)
        c_k.
    hidden : ndarray, (B, n)
        Filled with h_k.
    """
    hidden[...] = lstm_hidden_equation(cell, _gates(gates, 4)[3])


def lstm_backward(
    gates: np.ndarray,
    cell: np.ndarray,
    before: np.ndarray,
    hidden_adjoint: np.ndarray,
    cell_adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
) -> None:
    """The adjoint of `lstm_gates` and `lstm_hidden`.

    Parameters
    ----------
    gates : ndarray, (B, 4n)
        i, f, g, o.
    cell, before : ndarray, (B, n)
        c_k and c_{k-1}.
    hidden_adjoint : ndarray, (B, n)
        dL/dh_k.
    cell_adjoint : ndarray, (B, n)
        What later steps say about c_k in, dL/dc_{k-1} out.
    drive_adjoint : ndarray, (B, 4n)
        Filled with dL/da of i, f, g, o.
    """
    i, f, g, o = _gates(gates, 4)
    *drives, past = lstm_adjoint(hidden_adjoint, cell_adjoint, before, cell, i, f, g, o, _one(gates))
    for gate, value in zip(_gates(drive_adjoint, 4), drives, strict=True):
        gate[...] = value
    cell_adjoint[...] = past


def gru_gates(
    drive: np.ndarray,
    recurrent: np.ndarray,
    input_bias: np.ndarray,
    recurrent_bias: np.ndarray,
    gates: np.ndarray,
) -> None:
    """r, z, n and q of a gated recurrent unit.

    Parameters
    ----------
    drive, recurrent : ndarray, (B, 3n)
        The two products, for r, z, n.
    input_bias, recurrent_bias : ndarray, (3n,)
        b_x and b_h.
    gates : ndarray, (B, 4n)
        Filled with r, z, n, q.
    """
    one = _one(gates)
    r, z, n, q = _gates(gates, 4)
    x_r, x_z, x_n = _gates(drive + input_bias, 3)
    h_r, h_z, h_n = _gates(recurrent + recurrent_bias, 3)
    r[...], z[...] = logistic(x_r + h_r, one), logistic(x_z + h_z, one)
    q[...] = h_n
    n[...] = gru_candidate(x_n, r, q)


def gru_hidden(gates: np.ndarray, before: np.ndarray, hidden: np.ndarray) -> None:
    """h_k, from what `gru_gates` left.

    Parameters
    ----------
    gates : ndarray, (B, 4n)
        r, z, n, q.
    before : ndarray, (B, n)
        h_{k-1}.
    hidden : ndarray, (B, n)
        Filled with h_k.
    """
    _, z, n, _ = _gates(gates, 4)
    hidden[...] = gru_hidden_equation(before, z, n, _one(gates))


def gru_backward(
    gates: np.ndarray,
    before: np.ndarray,
    adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
    recurrent_adjoint: np.ndarray,
) -> None:
    """The adjoint of `gru_gates` and `gru_hidden`.

    Parameters
    ----------
    gates : ndarray, (B, 4n)
        r, z, n, q.
    before : ndarray, (B, n)
        h_{k-1}.
    adjoint : ndarray, (B, n)
        dL/dh_k in; out the part of dL/dh_{k-1} that passes no matrix.
    drive_adjoint, recurrent_adjoint : ndarray, (B, 3n)
        Filled with the adjoints of the two products.
    """
    r, z, n, q = _gates(gates, 4)
    *drives, by_past, past = gru_adjoint(adjoint, before, r, z, n, q, _one(gates))
    for gate, value in zip(_gates(drive_adjoint, 3), drives, strict=True):
        gate[...] = value
    for gate, value in zip(_gates(recurrent_adjoint, 3), (*drives[:2], by_past), strict=True):
        gate[...] = value
    adjoint[...] = past


def squared_error(
    outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """sum_b w_b / (2B) ||y_b - y*_b||^2, and its gradient.

    Parameters
    ----------
    outputs, targets : ndarray, (B, C)
        y and y*.
    weights : ndarray, (B,)
        w of each sample.
    errors : ndarray, (B, C)
        Filled with dl/dy.

    Returns
    -------
    float
        The loss; a complex number of complex outputs.
    """
    one, samples, weight = _one(outputs), weights.dtype.type(len(outputs)), weights[:, None]
    errors[...] = output_error(outputs, targets, weight, samples)
    return squared_error_equation(outputs, targets, weight, samples, one).sum().item()


def cross_entropy(
    outputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, errors: np.ndarray
) -> complex:
    """sum_b w_b / B (log sum_c exp(y_bc) - y_b,label), and its gradient.

    Parameters
    ----------
    outputs : ndarray, (B, C)
        y.
    labels : ndarray of int64, (B,)
        Classes.
    weights : ndarray, (B,)
        w of each sample.
    errors : ndarray, (B, C)
        Filled with dl/dy.

    Returns
    -------
    float
        The loss; a complex number of complex outputs.
    """
    samples, rows = weights.dtype.type(len(outputs)), np.arange(len(outputs))
    shifted = outputs - outputs.real.max(axis=1, keepdims=True)  # exact, and never overflows
    errors[...] = exp(shifted)
    total = errors.sum(axis=1)
    onehot = np.zeros_like(shifted)
    onehot[rows, labels] = 1
    errors[...] = output_error(errors / total[:, None], onehot, weights[:, None], samples)
    return weighted_cross_entropy(total, shifted[rows, labels], weights, samples).sum().item()


def _gates(joined: np.ndarray, count: int) -> list[np.ndarray]:
    """The gates that lie side by side, as views."""
    return np.split(joined, count, axis=-1)


def _one(array: np.ndarray) -> np.floating:
    """1 in the real working precision."""
    return array.real.dtype.type(1)
