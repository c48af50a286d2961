"""Spiking-neuron loops compiled by Numba; the twins of `refsnn.kernels.plain.spiking`.

Time runs outside and neurons inside, contiguous, so that the inner loop is vectorised and the state stays
in cache.  Each kernel works on the columns [first, last) of its arrays: neurons do not meet, so blocks of
them run on threads with the same bits in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from refsnn.equations.spiking import SpikingNeuron, StepEquations, charged_adjoint, next_trace
from refsnn.kernels.compilation import compiled
from refsnn.kernels.cpu.blocks import over_columns


def forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    charged: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.forward`."""
    charge, fire, reset, _, _ = neuron.equations
    kernel = _forward_kernel(charge, fire, reset)
    leak, threshold, rest, _, _, _, one = neuron.constants(potential.dtype)
    over_columns(kernel, current.shape, (current, potential, charged, spikes, leak, threshold, rest, one))


@functools.cache
def _forward_kernel(charge: Callable, fire: Callable, reset: Callable) -> Callable:
    def kernel(current, potential, charged, spikes, leak, threshold, rest, one, first, last):
        for t in range(current.shape[0]):
            for j in range(first, last):
                h = charge(potential[j], current[t, j], leak, rest, one)
                spike = fire(h, threshold, one)
                charged[t, j] = h
                spikes[t, j] = spike
                potential[j] = reset(h, spike, threshold, rest, one)

    return compiled(kernel)


def backward(
    neuron: SpikingNeuron,
    charged: np.ndarray,
    spike_adjoint: np.ndarray,
    potential_adjoint: np.ndarray,
    current_adjoint: np.ndarray,
    window: int,
) -> None:
    """See `refsnn.kernels.plain.spiking.backward`."""
    _, fire, _, reset_slope, surrogate = neuron.equations
    kernel = _backward_kernel(fire, reset_slope, surrogate)
    constants = neuron.constants(potential_adjoint.dtype)
    over_columns(
        kernel,
        charged.shape,
        (charged, spike_adjoint, potential_adjoint, current_adjoint, window, *constants),
    )


@functools.cache
def _backward_kernel(fire: Callable, reset_slope: Callable, surrogate: Callable) -> Callable:
    def kernel(
        charged, spike_adjoint, potential_adjoint, current_adjoint, window,
        leak, threshold, rest, attached, slope, height, one, first, last,
    ):  # fmt: skip
        steps = charged.shape[0]
        for t in range(steps - 1, -1, -1):
            kept = one - one if window > 0 and (steps - t) % window == 0 else one
            for j in range(first, last):
                h = charged[t, j]
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, rest, one)
                adjoint = charged_adjoint(
                    spike_adjoint[t, j], potential_adjoint[j], spike_slope, slope_of_reset
                )
                current_adjoint[t, j] = adjoint
                potential_adjoint[j] = kept * (leak * adjoint)

    return compiled(kernel)


def rate_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    trace: np.ndarray,
    slope_sum: np.ndarray,
    spike_sum: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.rate_forward`."""
    kernel = _rate_kernel(neuron.equations)
    constants = neuron.constants(potential.dtype)
    over_columns(kernel, current.shape, (current, potential, trace, slope_sum, spike_sum, spikes, *constants))


@functools.cache
def _rate_kernel(equations: StepEquations) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, potential, trace, slope_sum, spike_sum, spikes,
        leak, threshold, rest, attached, slope, height, one, first, last,
    ):  # fmt: skip
        for t in range(current.shape[0]):
            for j in range(first, last):
                h = charge(potential[j], current[t, j], leak, rest, one)
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, rest, one)
                slope_sum[j] += spike_slope * trace[j]
                spike_sum[j] += spike
                trace[j] = next_trace(one, trace[j], leak * slope_of_reset)
                potential[j] = reset(h, spike, threshold, rest, one)
                spikes[t, j] = spike

    return compiled(kernel)


def galerkin_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    basis: np.ndarray,
    potential: np.ndarray,
    traces: np.ndarray,
    factor: np.ndarray,
    gains: np.ndarray,
    coefficients: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.galerkin_forward`."""
    kernel = _galerkin_kernel(neuron.equations)
    constants = neuron.constants(potential.dtype)
    over_columns(
        kernel,
        current.shape,
        (current, basis, potential, traces, factor, gains, coefficients, spikes, *constants),
    )


@functools.cache
def _galerkin_kernel(equations: StepEquations) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, basis, potential, traces, factor, gains, coefficients, spikes,
        leak, threshold, rest, attached, slope, height, one, first, last,
    ):  # fmt: skip
        modes = basis.shape[0]
        for t in range(current.shape[0]):
            for j in range(first, last):
                h = charge(potential[j], current[t, j], leak, rest, one)
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, rest, one)
                for k in range(modes):
                    traces[k, j] = next_trace(basis[k, t], traces[k, j], factor[j])
                    response = spike_slope * traces[k, j]
                    for i in range(modes):
                        gains[i, k, j] += basis[i, t] * response
                    coefficients[k, j] += basis[k, t] * spike
                factor[j] = leak * slope_of_reset
                potential[j] = reset(h, spike, threshold, rest, one)
                spikes[t, j] = spike

    return compiled(kernel)
