"""Adaptive spiking neurons compiled by Numba; the twin of `refsnn.kernels.plain.adaptive`.

A delay line is a strip of 2 D slots along which the present moves, so that no index wraps around; it is moved
back every D steps.  Work follows the events: who is silent sends nothing, and on the way back what others
hear of a spike is summed only where its slope is not 0, one step late.  Time runs outside and samples inside,
so that one call of many steps and many calls of one step add in the same order: the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from refsnn.equations.adaptive import (
    adaptive_adjoint,
    after_the_spike,
    before_the_spike,
    chosen,
    leaky_mean,
    raised_threshold,
)
from refsnn.equations.elementary import rounded_product
from refsnn.equations.spiking import closest_approach
from refsnn.kernels.adaptive import (
    AdaptiveConstants,
    AdaptiveEquations,
    Adjoints,
    Averaging,
    Cotangents,
    Gradients,
    Heard,
    Neurons,
    States,
    Synapses,
)
from refsnn.kernels.compilation import compiled


def adaptive_forward(
    equations: AdaptiveEquations,
    constants: AdaptiveConstants,
    neurons: Neurons,
    heard: Heard,
    into: Synapses,
    back: Synapses,
    before: States,
    after: States,
    currents: np.ndarray,
    arrived: np.ndarray,
    averaging: Averaging,
    trace: np.ndarray,
    average: np.ndarray,
    averages: np.ndarray,
    margin: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.adaptive.adaptive_forward`."""
    _forward_kernel(equations.fire)(
        *constants, *neurons, *heard, *into[:3], *back[:3], *before, *after, currents, arrived, *averaging,
        trace, average, averages, margin, scratch,
    )  # fmt: skip


@functools.cache
def _forward_kernel(fire: Callable) -> Callable:
    def kernel(
        late_reset, new_potential, threshold_reset, by_threshold, attached, recurrent, refractory, slope,
        height, time_step, spike_height, one,
        leak, decay, strength, baseline,
        starts, sources, values, noise, masks,
        into_starts, into_places, into_weights, back_starts, back_places, back_weights,
        spikes, potential, adaptation, counter,
        spikes_after, potential_after, adaptation_after, counter_after,
        currents, arrived, readout_decay, keep, share, window, trace, average, averages, margin, scratch,
    ):  # fmt: skip
        zero = one - one
        batch, slots, n = currents.shape
        length = slots * n
        for s in range(batch):
            strip, given = scratch[s], currents[s]
            for d in range(slots):
                for j in range(n):
                    strip[d * n + j] = given[d, j]
                    strip[length + d * n + j] = zero
        nearest, present = margin[0], 0
        for k in range(spikes.shape[0]):
            if present == length:
                present = 0
                for s in range(batch):
                    strip = scratch[s]
                    for c in range(length):
                        strip[c] = strip[length + c]
                        strip[length + c] = zero
            for s in range(batch):
                strip = scratch[s, present : present + length]
                z, v, b, r = spikes[k, s], potential[k, s], adaptation[k, s], counter[k, s]
                z_after, v_after = spikes_after[k, s], potential_after[k, s]
                b_after, r_after = adaptation_after[k, s], counter_after[k, s]
                for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                    value, source = values[e], sources[e]
                    for c in range(into_starts[source], into_starts[source + 1]):
                        strip[into_places[c]] += rounded_product(value, into_weights[c])
                for i in range(n):
                    value = z[i]
                    if value != zero:
                        for c in range(back_starts[i], back_starts[i + 1]):
                            strip[back_places[c]] += rounded_product(value, back_weights[c])
                if noise.shape[0] > 0:
                    for j in range(n):
                        strip[j] += noise[k, s, j]
                if arrived.shape[0] > 0:
                    for j in range(n):
                        arrived[k, s, j] = strip[j]
                for j in range(n):
                    adapted, threshold, charged, distance = before_the_spike(
                        z[j], v[j], b[j], strip[j], leak[j], decay[j], strength[j], baseline[j],
                        late_reset, new_potential, threshold_reset, by_threshold, time_step, one,
                    )  # fmt: skip
                    closed = masks[k, s, j] if masks.shape[0] > 0 else r[j] > 0
                    fired = zero
                    if not closed:
                        nearest = closest_approach(nearest, distance)
                        fired = fire(distance, slope, height, one) * spike_height
                    z_after[j], b_after[j] = fired, adapted
                    v_after[j] = after_the_spike(charged, fired, threshold, late_reset, time_step)
                    r_after[j] = refractory if fired > zero else max(r[j] - 1, 0)
                p, m = trace[s], average[s]
                for j in range(n):
                    p[j] = leaky_mean(p[j], z_after[j], readout_decay, one)
                    m[j] = keep[k] * m[j] + rounded_product(share[k], p[j])
                if window[k] >= 0:
                    averages[window[k], s] = m
            present += n
        for s in range(batch):
            strip, wanted = scratch[s], currents[s]
            for d in range(slots):
                for j in range(n):
                    wanted[d, j] = strip[present + d * n + j]
        margin[0] = nearest

    return compiled(kernel)


def adaptive_backward(
    equations: AdaptiveEquations,
    constants: AdaptiveConstants,
    neurons: Neurons,
    heard: Heard,
    into: Synapses,
    back: Synapses,
    before: States,
    after: States,
    arrived: np.ndarray,
    averaging: Averaging,
    cotangents: Cotangents,
    adjoints: Adjoints,
    gradients: Gradients,
    scratch: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.adaptive.adaptive_backward`."""
    _backward_kernel(equations.surrogate)(
        *constants, *neurons, *heard, *into, *back, *before, *after[:3], arrived, *averaging,
        *cotangents, *adjoints, *gradients, scratch,
    )  # fmt: skip


@compiled
def _heard_later(strip, first, last, places, weights, zero):
    """sum_c w_c Ibar at the place of c; four sums side by side, as the processor adds."""
    one = two = three = four = zero
    c = first
    while c + 3 < last:
        one += weights[c] * strip[places[c]]
        two += weights[c + 1] * strip[places[c + 1]]
        three += weights[c + 2] * strip[places[c + 2]]
        four += weights[c + 3] * strip[places[c + 3]]
        c += 4
    while c < last:
        one += weights[c] * strip[places[c]]
        c += 1
    return (one + two) + (three + four)


@functools.cache
def _backward_kernel(surrogate: Callable) -> Callable:
    def kernel(
        late_reset, new_potential, threshold_reset, by_threshold, attached, recurrent, refractory, slope,
        height, time_step, spike_height, one,
        leak, decay, strength, baseline,
        starts, sources, values, noise, masks,
        into_starts, into_places, into_weights, into_all,
        back_starts, back_places, back_weights, back_all,
        spikes, potential, adaptation, counter, spikes_after, potential_after, adaptation_after,
        arrived, readout_decay, keep, share, window,
        by_spikes, by_potentials, by_thresholds, by_averages, by_rates,
        zhat, vhat, bhat, queue, q, by_average,
        into_gradient, back_gradient, neuron_gradient, input_gradient, scratch,
    ):  # fmt: skip
        zero = one - one
        batch, slots, n = queue.shape
        length = slots * n
        for s in range(batch):
            strip, given = scratch[s], queue[s]
            for d in range(slots):
                for j in range(n):
                    strip[length + d * n + j] = given[d, j]
        present, whole = length, True
        for k in range(spikes.shape[0] - 1, -1, -1):
            if present == 0:
                present = length
                for s in range(batch):
                    strip = scratch[s]
                    for c in range(length):
                        strip[length + c] = strip[c]
            for s in range(batch):
                later = scratch[s, present : present + length]
                psi = scratch[s, 2 * length : 2 * length + n]
                z, v, b, r = spikes[k, s], potential[k, s], adaptation[k, s], counter[k, s]
                z_after, v_after, b_after = spikes_after[k, s], potential_after[k, s], adaptation_after[k, s]
                gz, gv, gb, gp, gm = zhat[s], vhat[s], bhat[s], q[s], by_average[s]
                for j in range(n):
                    closed = masks[k, s, j] if masks.shape[0] > 0 else r[j] > 0
                    psi[j] = zero
                    if not closed:
                        threshold = raised_threshold(b_after[j], baseline[j], strength[j])
                        compared = chosen(new_potential, v_after[j], v[j], one)
                        distance = (compared - threshold) / chosen(by_threshold, threshold, baseline[j], one)
                        psi[j] = surrogate(distance, slope, height, one) * spike_height
                if not whole and recurrent != zero:  # what others heard of z_{k+1}
                    for j in range(n):
                        if psi[j] != zero:
                            gz[j] += recurrent * _heard_later(
                                later, back_starts[j], back_starts[j + 1], back_places, back_weights, zero
                            )
                if window[k] >= 0:
                    for j in range(n):
                        gm[j] += by_averages[window[k], s, j]
                strip = scratch[s, present - n : present - n + length]
                for j in range(n):
                    spike_adjoint, potential_adjoint, threshold_adjoint = gz[j] + by_rates[j], gv[j], zero
                    if by_spikes.shape[0] > 0:
                        spike_adjoint += by_spikes[k, s, j]
                        potential_adjoint += by_potentials[k, s, j]
                        threshold_adjoint = by_thresholds[k, s, j]
                    gp[j] += share[k] * gm[j]
                    spike_adjoint += (one - readout_decay) * gp[j]
                    gp[j] *= readout_decay
                    gm[j] *= keep[k]
                    (
                        strip[j], gz[j], gv[j], gb[j], by_potential, by_threshold_now, by_baseline, by_adapted
                    ) = adaptive_adjoint(
                        spike_adjoint, potential_adjoint, threshold_adjoint, gb[j], psi[j], z[j], z_after[j],
                        v[j], v_after[j], b_after[j], leak[j], decay[j], strength[j], baseline[j],
                        late_reset, new_potential, threshold_reset, by_threshold, attached, time_step, one,
                    )  # fmt: skip
                    if neuron_gradient.shape[0] > 0:
                        neuron_gradient[0, j] += by_potential * (v[j] - arrived[k, s, j])
                        neuron_gradient[1, j] += by_adapted * (b[j] - z[j])
                        neuron_gradient[2, j] += by_threshold_now * b_after[j]
                        neuron_gradient[3, j] += by_threshold_now + by_baseline
                for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                    value, row, places = values[e], into_gradient[sources[e]], into_all[sources[e]]
                    for j in range(n):
                        row[j] += value * strip[places[j]]
                for i in range(n):
                    value = z[i]
                    if value != zero:
                        row, places = back_gradient[i], back_all[i]
                        for j in range(n):
                            row[j] += value * strip[places[j]]
                if input_gradient.shape[0] > 0:
                    for i in range(input_gradient.shape[2]):
                        input_gradient[k, s, i] = _heard_later(
                            strip, into_starts[i], into_starts[i + 1], into_places, into_weights, zero
                        )
            present -= n
            whole = False
        for s in range(batch):
            strip, wanted, gz = scratch[s, present : present + length], queue[s], zhat[s]
            for j in range(n):
                gz[j] += recurrent * _heard_later(
                    strip, back_starts[j], back_starts[j + 1], back_places, back_weights, zero
                )
            for d in range(slots):
                for j in range(n):
                    wanted[d, j] = strip[d * n + j]
        for i in range(n):
            back_gradient[i, i] = zero

    return compiled(kernel)


def transmit(heard: Heard, into: Synapses, back: Synapses, spikes: np.ndarray, currents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.adaptive.transmit`."""
    _transmit(*heard[:3], *into[:3], *back[:3], spikes, currents)


@compiled
def _transmit(
    starts, sources, values, into_starts, into_places, into_weights, back_starts, back_places, back_weights,
    spikes, currents,
):  # fmt: skip
    batch, slots, n = currents.shape
    for s in range(batch):
        strip = currents[s].reshape(slots * n)
        for k in range(spikes.shape[0]):
            for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                for c in range(into_starts[sources[e]], into_starts[sources[e] + 1]):
                    strip[into_places[c]] += rounded_product(values[e], into_weights[c])
            for i in range(n):
                value = spikes[k, s, i]
                if value != 0:
                    for c in range(back_starts[i], back_starts[i + 1]):
                        strip[back_places[c]] += rounded_product(value, back_weights[c])
            for c in range((slots - 1) * n):
                strip[c] = strip[c + n]
            for c in range((slots - 1) * n, slots * n):
                strip[c] = 0
