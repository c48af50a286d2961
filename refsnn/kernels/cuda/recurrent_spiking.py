"""The recurrent spiking layer on a CUDA device; the twin of `refsnn.kernels.plain.recurrent_spiking`.

One block is one sample: its neurons hear of each other at every step, samples never.  Between two barriers
each entry is written by one thread and read by nobody else.  A thread sums its sources in ascending order,
with products that are rounded before they are added: the potentials are those of the other backends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import cuda
from numba.extending import register_jitable

from refsnn.equations.elementary import rounded_product
from refsnn.equations.recurrent import recurrent_potential, recurrent_potential_adjoint
from refsnn.equations.spiking import StepConstants, StepEquations, charge, charged_adjoint
from refsnn.kernels.cuda import device
from refsnn.kernels.cuda.device import (
    compiled,
    filled,
    over_columns,
    over_samples,
    read,
    threads_for,
    updated,
)


@register_jitable
def _summed(start, sources, weight, target):
    """start + sum_j sources_j weight_j,target, one source after the other."""
    total = start
    for j in range(sources.size):
        total += rounded_product(sources[j], weight[j, target])
    return total


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
    weights = input_transposed, recurrent_transposed, bias, readout_transposed, readout_bias
    heard = inputs if len(inputs) == 1 else inputs[first - 1 : last]  # only these steps are copied
    arguments = (
        read(heard), last - first + 1, *map(read, weights), readout_leak,
        updated(potential), updated(readout), device.scratch(np.empty_like(potential)),
        constants.leak, constants.threshold, constants.one,
    )  # fmt: skip
    over_samples(_forward_kernel(equations.fire), len(potential), threads_for(bias.size), 0, arguments)


@functools.cache
def _forward_kernel(fire: Callable) -> Callable:
    def kernel(
        inputs, steps, input_transposed, recurrent_transposed, bias, readout_transposed, readout_bias,
        readout_leak, potential, readout, spikes, leak, threshold, one,
    ):  # fmt: skip
        b, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        v, o, z = potential[b], readout[b], spikes[b]
        for i in range(thread, v.size, threads):
            z[i] = fire(v[i], threshold, one)
        cuda.syncthreads()
        for k in range(steps):
            x = inputs[k if inputs.shape[0] > 1 else 0, b]  # one array of inputs is that of all steps
            for i in range(thread, v.size, threads):
                current = _summed(_summed(bias[i], x, input_transposed, i), z, recurrent_transposed, i)
                v[i] = recurrent_potential(v[i], current, z[i], leak, threshold, one)
            cuda.syncthreads()
            for i in range(thread, v.size, threads):
                z[i] = fire(v[i], threshold, one)
            cuda.syncthreads()
            for c in range(thread, o.size, threads):
                drive = _summed(readout_bias[c], z, readout_transposed, c)
                o[c] = charge(o[c], drive, readout_leak, one - one, one)

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
    kernel = _backward_kernel(equations.fire, equations.surrogate)
    z_before, z_after, by_potential = (np.empty_like(before) for _ in range(3))
    by_readout = np.empty_like(readout_adjoint)
    arguments = (
        *map(read, (before, after, errors, input_weight, recurrent_weight, readout_weight)), readout_leak,
        updated(potential_adjoint), updated(readout_adjoint), updated(inputs_adjoint),
        filled(z_before), filled(z_after), filled(by_potential), filled(by_readout),
        leak, threshold, attached, slope, height, one,
    )  # fmt: skip
    over_samples(kernel, len(before), threads_for(before.shape[1]), 0, arguments)
    _add_outer(by_potential, inputs, input_gradient)
    _add_outer(by_potential, z_before, recurrent_gradient)
    _add_outer(by_potential, np.ones((len(before), 1), before.dtype), bias_gradient[:, None])
    _add_outer(by_readout, z_after, readout_gradient)
    _add_outer(by_readout, np.ones((len(before), 1), before.dtype), readout_bias_gradient[:, None])


@functools.cache
def _backward_kernel(fire: Callable, surrogate: Callable) -> Callable:
    def kernel(
        before, after, errors, input_weight, recurrent_weight, readout_weight, readout_leak,
        potential_adjoint, readout_adjoint, inputs_adjoint, z_before, z_after, by_potential, by_readout,
        leak, threshold, attached, slope, height, one,
    ):  # fmt: skip
        b, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        v, w, gv, go = before[b], after[b], potential_adjoint[b], readout_adjoint[b]
        into, out = by_readout[b], by_potential[b]
        for c in range(thread, go.size, threads):
            into[c] = go[c] + errors[b, c]
            go[c] = readout_leak * into[c]
        cuda.syncthreads()
        for i in range(thread, v.size, threads):
            z_before[b, i], z_after[b, i] = fire(v[i], threshold, one), fire(w[i], threshold, one)
            direct = _summed(one - one, into, readout_weight, i)
            psi = surrogate(w[i] - threshold, slope, height, one)
            out[i] = charged_adjoint(direct, gv[i], psi, one)
        cuda.syncthreads()
        for i in range(thread, v.size, threads):
            heard = _summed(one - one, out, recurrent_weight, i)
            psi = surrogate(v[i] - threshold, slope, height, one)
            gv[i] = recurrent_potential_adjoint(out[i], heard, psi, leak, threshold, attached, one)
        if inputs_adjoint.shape[0] > 0:
            for j in range(thread, inputs_adjoint.shape[1], threads):
                inputs_adjoint[b, j] = _summed(one - one, out, input_weight, j)

    return compiled(kernel)


def _add_outer(left: np.ndarray, right: np.ndarray, gradient: np.ndarray) -> None:
    """gradient += left^T right, one thread an entry."""
    arguments = read(left), read(right), updated(gradient), left.dtype.type(0)
    over_columns(_outer, (1, gradient.size), arguments)


@compiled
def _outer(left, right, gradient, zero):
    entry = cuda.grid(1)
    if entry >= gradient.size:
        return
    i, j = entry // gradient.shape[1], entry % gradient.shape[1]
    total = zero
    for b in range(left.shape[0]):
        total += left[b, i] * right[b, j]
    gradient[i, j] += total
