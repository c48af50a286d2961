"""The recurrent spiking layer compiled by Numba; the twin of `refsnn.kernels.plain.recurrent_spiking`.

One call runs as many steps as it is told, and one step is a call of the same machine code: whoever runs steps
again gets the same bits.  Samples do not meet on the way forward, so time runs inside and a sample's state
stays in cache.  A source that is silent is passed over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from refsnn.equations.elementary import rounded_product
from refsnn.equations.recurrent import recurrent_potential, recurrent_potential_adjoint
from refsnn.equations.spiking import StepConstants, StepEquations, charge, charged_adjoint
from refsnn.kernels.compilation import compiled


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
    """See `refsnn.kernels.plain.recurrent_spiking.spiking_forward`."""
    _forward_kernel(equations.fire)(
        inputs, first, last, input_transposed, recurrent_transposed, bias, readout_transposed,
        readout_bias, readout_leak, potential, readout, scratch,
        constants.leak, constants.threshold, constants.one,
    )  # fmt: skip


@compiled
def _add_sources(total, sources, weight):
    """total += sum_j sources_j weight_j, one source after the other."""
    for j in range(sources.size):
        source = sources[j]
        if source != 0:
            row = weight[j]
            for i in range(total.size):
                total[i] += rounded_product(source, row[i])


@functools.cache
def _forward_kernel(fire: Callable) -> Callable:
    def kernel(
        inputs, first, last, input_transposed, recurrent_transposed, bias, readout_transposed,
        readout_bias, readout_leak, potential, readout, scratch, leak, threshold, one,
    ):  # fmt: skip
        n = bias.size
        z, current, drive = scratch[:n], scratch[n : 2 * n], scratch[2 * n : 2 * n + readout_bias.size]
        for b in range(potential.shape[0]):
            v, o = potential[b], readout[b]
            for i in range(n):
                z[i] = fire(v[i], threshold, one)
            for k in range(first, last + 1):
                for i in range(n):
                    current[i] = bias[i]
                _add_sources(current, inputs[min(k, inputs.shape[0]) - 1, b], input_transposed)
                _add_sources(current, z, recurrent_transposed)
                for i in range(n):
                    v[i] = recurrent_potential(v[i], current[i], z[i], leak, threshold, one)
                for i in range(n):
                    z[i] = fire(v[i], threshold, one)
                for c in range(drive.size):
                    drive[c] = readout_bias[c]
                _add_sources(drive, z, readout_transposed)
                for c in range(drive.size):
                    o[c] = charge(o[c], drive[c], readout_leak, one - one, one)

    return compiled(kernel)


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
    """See `refsnn.kernels.plain.recurrent_spiking.spiking_backward`."""
    leak, threshold, _, attached, slope, height, one = constants
    _backward_kernel(equations.fire, equations.surrogate)(
        inputs, before, after, errors, input_weight, recurrent_weight, readout_weight, readout_leak,
        potential_adjoint, readout_adjoint, input_gradient, recurrent_gradient, bias_gradient,
        readout_gradient, readout_bias_gradient, inputs_adjoint, scratch,
        leak, threshold, attached, slope, height, one,
    )  # fmt: skip


@compiled
def _multiply(left, weight, out):
    np.dot(left, weight, out)


@compiled
def _add_outer(left, right, gradient, memory):
    """gradient += left^T right; the batch is summed first, as the gradient of one step is."""
    product = memory[: gradient.size].reshape(gradient.shape)
    np.dot(left.T, right, product)
    for i in range(gradient.shape[0]):
        into, row = gradient[i], product[i]
        for j in range(row.size):
            into[j] += row[j]


@compiled
def _add_sum(left, gradient, memory):
    """gradient += the sum over the batch."""
    total = memory[: gradient.size]
    for j in range(total.size):
        total[j] = 0
    for b in range(left.shape[0]):
        row = left[b]
        for j in range(total.size):
            total[j] += row[j]
    for j in range(total.size):
        gradient[j] += total[j]


@functools.cache
def _backward_kernel(fire: Callable, surrogate: Callable) -> Callable:
    def kernel(
        inputs, before, after, errors, input_weight, recurrent_weight, readout_weight, readout_leak,
        potential_adjoint, readout_adjoint, input_gradient, recurrent_gradient, bias_gradient,
        readout_gradient, readout_bias_gradient, inputs_adjoint, scratch,
        leak, threshold, attached, slope, height, one,
    ):  # fmt: skip
        batch, n = before.shape
        size = batch * n
        z_before, z_after = scratch[:size].reshape(batch, n), scratch[size : 2 * size].reshape(batch, n)
        by_potential = scratch[2 * size : 3 * size].reshape(batch, n)
        heard, memory = scratch[3 * size : 4 * size].reshape(batch, n), scratch[4 * size :]
        for b in range(batch):
            go, e = readout_adjoint[b], errors[b]
            for c in range(go.size):
                go[c] += e[c]
        _multiply(readout_adjoint, readout_weight, heard)
        for b in range(batch):
            v, w, gv, d = before[b], after[b], potential_adjoint[b], heard[b]
            past, now, out = z_before[b], z_after[b], by_potential[b]
            for i in range(n):
                past[i], now[i] = fire(v[i], threshold, one), fire(w[i], threshold, one)
            for i in range(n):
                out[i] = charged_adjoint(d[i], gv[i], surrogate(w[i] - threshold, slope, height, one), one)
        _add_outer(by_potential, inputs, input_gradient, memory)
        _add_outer(by_potential, z_before, recurrent_gradient, memory)
        _add_sum(by_potential, bias_gradient, memory)
        _add_outer(readout_adjoint, z_after, readout_gradient, memory)
        _add_sum(readout_adjoint, readout_bias_gradient, memory)
        if inputs_adjoint.shape[0] > 0:
            _multiply(by_potential, input_weight, inputs_adjoint)
        _multiply(by_potential, recurrent_weight, heard)
        for b in range(batch):
            v, gv, r, out, go = before[b], potential_adjoint[b], heard[b], by_potential[b], readout_adjoint[b]
            for i in range(n):
                psi = surrogate(v[i] - threshold, slope, height, one)
                gv[i] = recurrent_potential_adjoint(out[i], r[i], psi, leak, threshold, attached, one)
            for c in range(go.size):
                go[c] *= readout_leak

    return compiled(kernel)
