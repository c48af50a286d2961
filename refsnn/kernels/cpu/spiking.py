"""Spiking-neuron loops compiled by Numba; the twins of `refsnn.kernels.plain.spiking`.

Time runs outside and neurons inside, contiguous, so that the inner loop is vectorised and the state stays
in cache.  Each kernel works on the columns [first, last) of its arrays: neurons do not meet, so blocks of
them run on threads with the same bits in any order.

Two habits keep the inner loop vectorised, several times faster than without: it counts from 0 over row
views (an index that may be negative is checked at every element), and a kernel that works in place names
its array once (two names of one memory look like a dependence between neurons).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from refsnn.equations.spiking import (
    SpikingNeuron,
    StepEquations,
    charged_adjoint,
    closest_approach,
    next_trace,
)
from refsnn.kernels.compilation import compiled
from refsnn.kernels.cpu.blocks import over_columns, same_memory


def forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    charged: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.spiking.forward`."""
    charge, fire, reset, _, _ = neuron.equations
    kernel = _forward_kernel(charge, fire, reset, in_place=same_memory(current, charged))
    leak, threshold, reset_value, _, _, _, one = neuron.constants(potential.dtype)
    over_columns(
        kernel, current.shape, (current, potential, charged, spikes, leak, threshold, reset_value, one)
    )


@functools.cache
def _forward_kernel(charge: Callable, fire: Callable, reset: Callable, in_place: bool) -> Callable:
    def kernel(current, potential, charged, spikes, leak, threshold, reset_value, one, first, last):
        v = potential[first:last]
        for t in range(current.shape[0]):
            charged_t, spikes_t = charged[t, first:last], spikes[t, first:last]
            current_t = charged_t if in_place else current[t, first:last]
            for j in range(v.size):
                h = charge(v[j], current_t[j], leak, reset_value, one)
                spike = fire(h, threshold, one)
                charged_t[j] = h
                spikes_t[j] = spike
                v[j] = reset(h, spike, threshold, reset_value, one)

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
    kernel = _backward_kernel(fire, reset_slope, surrogate, in_place=same_memory(charged, current_adjoint))
    constants = neuron.constants(potential_adjoint.dtype)
    over_columns(
        kernel,
        charged.shape,
        (charged, spike_adjoint, potential_adjoint, current_adjoint, window, *constants),
    )


@functools.cache
def _backward_kernel(fire: Callable, reset_slope: Callable, surrogate: Callable, in_place: bool) -> Callable:
    def kernel(
        charged, spike_adjoint, potential_adjoint, current_adjoint, window,
        leak, threshold, reset_value, attached, slope, height, one, first, last,
    ):  # fmt: skip
        steps = charged.shape[0]
        v_adjoint = potential_adjoint[first:last]
        for t in range(steps - 1, -1, -1):
            kept = one - one if window > 0 and (steps - t) % window == 0 else one
            spike_adjoint_t, current_adjoint_t = spike_adjoint[t, first:last], current_adjoint[t, first:last]
            charged_t = current_adjoint_t if in_place else charged[t, first:last]
            for j in range(v_adjoint.size):
                h = charged_t[j]
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
                adjoint = charged_adjoint(spike_adjoint_t[j], v_adjoint[j], spike_slope, slope_of_reset)
                current_adjoint_t[j] = adjoint
                v_adjoint[j] = kept * (leak * adjoint)

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
    over_columns(
        kernel,
        (steps, current.size),
        (current, steps, potential, spike_sum, margin, leak, threshold, reset_value, one),
    )


@functools.cache
def _count_kernel(charge: Callable, fire: Callable, reset: Callable) -> Callable:
    def kernel(current, steps, potential, spike_sum, margin, leak, threshold, reset_value, one, first, last):
        drive, v = current[first:last], potential[first:last]
        counts, nearest = spike_sum[first:last], margin[first:last]
        for _ in range(steps):
            for j in range(v.size):
                h = charge(v[j], drive[j], leak, reset_value, one)
                spike = fire(h, threshold, one)
                counts[j] += spike
                nearest[j] = closest_approach(nearest[j], h - threshold)
                v[j] = reset(h, spike, threshold, reset_value, one)

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
    kernel = _rate_kernel(neuron.equations, in_place=same_memory(current, spikes))
    constants = neuron.constants(potential.dtype)
    over_columns(
        kernel, current.shape, (current, potential, trace, slope_sum, spike_sum, margin, spikes, *constants)
    )


@functools.cache
def _rate_kernel(equations: StepEquations, in_place: bool) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, potential, trace, slope_sum, spike_sum, margin, spikes,
        leak, threshold, reset_value, attached, slope, height, one, first, last,
    ):  # fmt: skip
        v, rho = potential[first:last], trace[first:last]
        slopes, counts, nearest = slope_sum[first:last], spike_sum[first:last], margin[first:last]
        for t in range(current.shape[0]):
            spikes_t = spikes[t, first:last]
            current_t = spikes_t if in_place else current[t, first:last]
            for j in range(v.size):
                h = charge(v[j], current_t[j], leak, reset_value, one)
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
                slopes[j] += spike_slope * rho[j]
                counts[j] += spike
                nearest[j] = closest_approach(nearest[j], h - threshold)
                rho[j] = next_trace(one, rho[j], leak * slope_of_reset)
                v[j] = reset(h, spike, threshold, reset_value, one)
                spikes_t[j] = spike

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
    kernel = _galerkin_kernel(neuron.equations, in_place=same_memory(current, spikes))
    constants = neuron.constants(potential.dtype)
    over_columns(
        kernel,
        current.shape,
        (current, basis, potential, traces, factor, gains, coefficients, margin, spikes, *constants),
    )


@functools.cache
def _galerkin_kernel(equations: StepEquations, in_place: bool) -> Callable:
    charge, fire, reset, reset_slope, surrogate = equations

    def kernel(
        current, basis, potential, traces, factor, gains, coefficients, margin, spikes,
        leak, threshold, reset_value, attached, slope, height, one, first, last,
    ):  # fmt: skip
        modes = basis.shape[0]
        v, old_factor, nearest = potential[first:last], factor[first:last], margin[first:last]
        slopes, fired, new_factor = np.empty_like(v), np.empty_like(v), np.empty_like(v)
        for t in range(current.shape[0]):
            spikes_t = spikes[t, first:last]
            current_t = spikes_t if in_place else current[t, first:last]
            for j in range(v.size):
                h = charge(v[j], current_t[j], leak, reset_value, one)
                spike = fire(h, threshold, one)
                spike_slope = surrogate(h - threshold, slope, height, one)
                slope_of_reset = reset_slope(h, spike, attached * spike_slope, threshold, reset_value, one)
                slopes[j], fired[j], new_factor[j] = spike_slope, spike, leak * slope_of_reset
                nearest[j] = closest_approach(nearest[j], h - threshold)
                v[j] = reset(h, spike, threshold, reset_value, one)
                spikes_t[j] = spike
            for k in range(modes):
                drive, rho, coefficient = basis[k, t], traces[k, first:last], coefficients[k, first:last]
                for j in range(v.size):
                    rho[j] = next_trace(drive, rho[j], old_factor[j])
                    coefficient[j] += drive * fired[j]
                for i in range(modes):
                    weight, gain = basis[i, t], gains[i, k, first:last]
                    for j in range(v.size):
                        gain[j] += weight * (slopes[j] * rho[j])
            old_factor[:] = new_factor

    return compiled(kernel)
