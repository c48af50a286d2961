"""Spiking-neuron loops on a CUDA device; the twins of `refsnn.kernels.plain.spiking`.

One thread is one neuron of one sample.  It runs through time alone, with its state in registers:
neurons do not meet, so that the number of threads cannot change a bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import cuda

from refsnn.equations.spiking import (
    SpikingNeuron,
    StepEquations,
    charged_adjoint,
    closest_approach,
    next_trace,
)
from refsnn.kernels.cuda.device import compiled, filled, over_columns, read, updated


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
    leak, threshold, reset_value, _, _, _, one = neuron.constants(potential.dtype)
    arrays = read(current), updated(potential), filled(charged), filled(spikes)
    over_columns(kernel, current.shape, (*arrays, leak, threshold, reset_value, one))


@functools.cache
def _forward_kernel(charge: Callable, fire: Callable, reset: Callable) -> Callable:
    def kernel(current, potential, charged, spikes, leak, threshold, reset_value, one):
        j = cuda.grid(1)
        if j >= current.shape[1]:
            return
        v = potential[j]
        for t in range(current.shape[0]):
            h = charge(v, current[t, j], leak, reset_value, one)
            spike = fire(h, threshold, one)
            charged[t, j] = h
            spikes[t, j] = spike
            v = reset(h, spike, threshold, reset_value, one)
        potential[j] = v

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
    arrays = read(charged), read(spike_adjoint), updated(potential_adjoint), filled(current_adjoint)
    over_columns(kernel, charged.shape, (*arrays, window, *constants))


@functools.cache
def _backward_kernel(fire: Callable, reset_slope: Callable, surrogate: Callable) -> Callable:
    def kernel(
        charged, spike_adjoint, potential_adjoint, current_adjoint, window,
        leak, threshold, reset_value, attached, slope, height, one,
    ):  # fmt: skip
        j = cuda.grid(1)
        if j >= charged.shape[1]:
            return
        steps = charged.shape[0]
        from_later = potential_adjoint[j]
        for t in range(steps - 1, -1, -1):
            kept = one - one if window > 0 and (steps - t) % window == 0 else one
            h = charged[t, j]
            spike = fire(h, threshold, one)
            spike_slope = surrogate(h - threshold, slope, height, one)
            slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
            adjoint = charged_adjoint(spike_adjoint[t, j], from_later, spike_slope, slope_of_reset)
            current_adjoint[t, j] = adjoint
            from_later = kept * (leak * adjoint)
        potential_adjoint[j] = from_later

    return compiled(kernel)


def count_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    steps: int,
    potential: np.ndarray,
    spike_sum: np.ndarray,
    margin: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.count_forward`."""
    charge, fire, reset, _, _ = neuron.equations
    kernel = _count_kernel(charge, fire, reset)
    leak, threshold, reset_value, _, _, _, one = neuron.constants(potential.dtype)
    arrays = read(current), steps, updated(potential), updated(spike_sum), updated(margin)
    over_columns(kernel, (steps, current.size), (*arrays, leak, threshold, reset_value, one))


@functools.cache
def _count_kernel(charge: Callable, fire: Callable, reset: Callable) -> Callable:
    def kernel(current, steps, potential, spike_sum, margin, leak, threshold, reset_value, one):
        j = cuda.grid(1)
        if j >= current.shape[0]:
            return
        v, counts, nearest = potential[j], spike_sum[j], margin[j]
        for _ in range(steps):
            h = charge(v, current[j], leak, reset_value, one)
            spike = fire(h, threshold, one)
            counts += spike
            nearest = closest_approach(nearest, h - threshold)
            v = reset(h, spike, threshold, reset_value, one)
        potential[j], spike_sum[j], margin[j] = v, counts, nearest

    return compiled(kernel)


def rate_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    trace: np.ndarray,
    slope_sum: np.ndarray,
    spike_sum: np.ndarray,
    margin: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.rate_forward`."""
    kernel = _rate_kernel(neuron.equations)
    constants = neuron.constants(potential.dtype)
    state = updated(potential), updated(trace), updated(slope_sum), updated(spike_sum), updated(margin)
    over_columns(kernel, current.shape, (read(current), *state, filled(spikes), *constants))


@functools.cache
def _rate_kernel(equations: StepEquations) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, potential, trace, slope_sum, spike_sum, margin, spikes,
        leak, threshold, reset_value, attached, slope, height, one,
    ):  # fmt: skip
        j = cuda.grid(1)
        if j >= current.shape[1]:
            return
        v, rho, slopes, count = potential[j], trace[j], slope_sum[j], spike_sum[j]
        nearest = margin[j]
        for t in range(current.shape[0]):
            h = charge(v, current[t, j], leak, reset_value, one)
            spike = fire(h, threshold, one)
            spike_slope = surrogate(h - threshold, slope, height, one)
            slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
            slopes += spike_slope * rho
            count += spike
            nearest = closest_approach(nearest, h - threshold)
            rho = next_trace(one, rho, leak * slope_of_reset)
            v = reset(h, spike, threshold, reset_value, one)
            spikes[t, j] = spike
        potential[j], trace[j], slope_sum[j], spike_sum[j] = v, rho, slopes, count
        margin[j] = nearest

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
    margin: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.galerkin_forward`."""
    kernel = _galerkin_kernel(neuron.equations)
    constants = neuron.constants(potential.dtype)
    carried = (potential, traces, factor, gains, coefficients, margin)
    state = [updated(array) for array in carried]
    over_columns(kernel, current.shape, (read(current), read(basis), *state, filled(spikes), *constants))


@functools.cache
def _galerkin_kernel(equations: StepEquations) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, basis, potential, traces, factor, gains, coefficients, margin, spikes,
        leak, threshold, reset_value, attached, slope, height, one,
    ):  # fmt: skip
        j = cuda.grid(1)
        if j >= current.shape[1]:
            return
        modes = basis.shape[0]
        v, f, nearest = potential[j], factor[j], margin[j]
        for t in range(current.shape[0]):
            h = charge(v, current[t, j], leak, reset_value, one)
            spike = fire(h, threshold, one)
            spike_slope = surrogate(h - threshold, slope, height, one)
            slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
            for k in range(modes):
                rho = next_trace(basis[k, t], traces[k, j], f)
                traces[k, j] = rho
                response = spike_slope * rho
                for i in range(modes):
                    gains[i, k, j] += basis[i, t] * response
                coefficients[k, j] += basis[k, t] * spike
            nearest = closest_approach(nearest, h - threshold)
            f = leak * slope_of_reset
            v = reset(h, spike, threshold, reset_value, one)
            spikes[t, j] = spike
        potential[j], factor[j], margin[j] = v, f, nearest

    return compiled(kernel)
