"""The recurrent spiking layer in NumPy: the specification as executed.

Currents are summed source by source in ascending order, in every backend, so that all fire the same spikes;
a product of a matrix library has an order of its own.  Weights whose sources are looped over come transposed.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.elementary import rounded_product
from refsnn.equations.recurrent import recurrent_potential, recurrent_potential_adjoint
from refsnn.equations.spiking import StepConstants, StepEquations, charge, charged_adjoint


def spiking_forward(
    equations: StepEquations,
    constants: StepConstants,
    inputs: np.ndarray,
    first: int,
    last: int,
    input_transposed: np.ndarray,
    recurrent_transposed: np.ndarray,
    bias: np.ndarray,
    readout_transposed: np.ndarray,
    readout_bias: np.ndarray,
    readout_leak: np.floating,
    potential: np.ndarray,
    readout: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Steps `first` to `last` of v and o, in place.

        v_k = leak v_{k-1} + (b + W_in x_k + W_rec z_{k-1}) - threshold z_{k-1},   z_k = H(v_k - threshold),
        o_k = readout_leak o_{k-1} + (b_o + W_o z_k).

    Parameters
    ----------
    equations, constants
        Of the neuron.
    inputs : ndarray, (T, B, n_in) or (1, B, n_in)
        x_1, x_2, ..., or the one that all steps see.
    first, last : int
        Steps, counted from 1.
    input_transposed, recurrent_transposed, bias : ndarray, (n_in, n), (n, n), (n,)
        W_in^T, W_rec^T, b.
    readout_transposed, readout_bias : ndarray, (n, C), (C,)
        W_o^T, b_o.
    readout_leak : floating
        Share of o that survives a step.
    potential, readout : ndarray, (B, n), (B, C)
        v and o before the first step in, after the last one out.
    scratch : ndarray, (2 n + C,)
        Memory to work in.
    """
    leak, threshold, one = constants.leak, constants.threshold, constants.one
    spikes = equations.fire(potential, threshold, one)
    for k in range(first, last + 1):
        drive = _summed(bias, inputs[min(k, len(inputs)) - 1], input_transposed)
        drive = _summed(drive, spikes, recurrent_transposed)
        potential[...] = recurrent_potential(potential, drive, spikes, leak, threshold, one)
        spikes = equations.fire(potential, threshold, one)
        into_readout = _summed(readout_bias, spikes, readout_transposed)
        readout[...] = charge(readout, into_readout, readout_leak, one - one, one)


def _summed(start: np.ndarray, sources: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """start + sum_j sources_j weight_j, one source after the other."""
    total = np.broadcast_to(start, (len(sources), weight.shape[1])).copy()
    for source, row in zip(sources.T, weight, strict=True):
        total += rounded_product(source[:, None], row)
    return total


def spiking_backward(
    equations: StepEquations,
    constants: StepConstants,
    inputs: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    errors: np.ndarray,
    input_weight: np.ndarray,
    recurrent_weight: np.ndarray,
    readout_weight: np.ndarray,
    readout_leak: np.floating,
    potential_adjoint: np.ndarray,
    readout_adjoint: np.ndarray,
    input_gradient: np.ndarray,
    recurrent_gradient: np.ndarray,
    bias_gradient: np.ndarray,
    readout_gradient: np.ndarray,
    readout_bias_gradient: np.ndarray,
    inputs_adjoint: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """The adjoint of one step; gradients are added to.

    With e = dl_k/do_k, g_o += e and d = g_o W_o:

        V = dL/dv_k = g_v + d psi(v_k),
        dW_in += V^T x_k, dW_rec += V^T z_{k-1}, db += V, dW_o += g_o^T z_k, db_o += g_o, dx_k = V W_in,
        g_v <- leak V + (V W_rec - threshold V) psi(v_{k-1}),   g_o <- readout_leak g_o.

    Parameters
    ----------
    equations, constants
        Of the neuron.
    inputs : ndarray, (B, n_in)
        x_k.
    before, after : ndarray, (B, n)
        v_{k-1} and v_k.
    errors : ndarray, (B, C)
        e.
    input_weight, recurrent_weight, readout_weight : ndarray, (n, n_in), (n, n), (C, n)
        W_in, W_rec, W_o.
    readout_leak : floating
        Share of o that survives a step.
    potential_adjoint, readout_adjoint : ndarray, (B, n), (B, C)
        g_v and g_o: dL/dv_k and dL/do_k without l_k in, dL/dv_{k-1} and dL/do_{k-1} without l_{k-1} out.
    input_gradient, recurrent_gradient, bias_gradient, readout_gradient, readout_bias_gradient : ndarray
        Added to; shaped like the parameters.
    inputs_adjoint : ndarray, (B, n_in) or (0, n_in)
        Filled with dL/dx_k; without rows it is not wanted.
    scratch : ndarray, (4 B n + n max(n, n_in, C),)
        Memory to work in.
    """
    leak, threshold, _, attached, slope, height, one = constants
    z_before, z_after = (equations.fire(v, threshold, one) for v in (before, after))
    readout_adjoint += errors
    direct = readout_adjoint @ readout_weight
    by_potential = charged_adjoint(
        direct, potential_adjoint, equations.surrogate(after - threshold, slope, height, one), one
    )
    input_gradient += by_potential.T @ inputs
    recurrent_gradient += by_potential.T @ z_before
    bias_gradient += by_potential.sum(axis=0)
    readout_gradient += readout_adjoint.T @ z_after
    readout_bias_gradient += readout_adjoint.sum(axis=0)
    if len(inputs_adjoint):
        inputs_adjoint[...] = by_potential @ input_weight
    heard = by_potential @ recurrent_weight
    slope_before = equations.surrogate(before - threshold, slope, height, one)
    potential_adjoint[...] = recurrent_potential_adjoint(
        by_potential, heard, slope_before, leak, threshold, attached, one
    )
    readout_adjoint *= readout_leak
