"""Adaptive spiking neurons compiled by Numba; the twin of `refsnn.kernels.plain.adaptive`.

A delay line is a strip of 2 D slots along which the present moves, so that no index wraps around; it is moved
back every D steps.  Work follows the events: who is silent sends nothing, and on the way back what others
hear of a spike is summed only where its slope is not 0, one step late.

Samples go together in groups whose strips stay in the cache.  Weight gradients are added up step by step and
within a step sample by sample, whatever the groups are: one call of many steps and many calls of one step
give the same bits.
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

# Numbers in the strips of a group: a quarter of a megabyte in float64.
_STRIPS_TOGETHER = 1 << 15


@compiled
def _samples_together(length):
    """How many samples go together, by the length of a delay line."""
    return max(1, _STRIPS_TOGETHER // (2 * length))


def _unsigned(synapses: Synapses) -> Synapses:
    """Starts and places as what is never negative: no loop asks whether an index counts from the end."""
    starts, places, weights, all_places = synapses
    return Synapses(starts.view(np.uint64), places.view(np.uint32), weights, all_places.view(np.uint32))


@compiled
def _move_back(strip, length):
    """Let the second half of a strip be the first."""
    for c in range(length):
        strip[c] = strip[length + c]
        strip[length + c] = 0


@compiled
def _send(strip, value, source, starts, places, weights):
    """What one source adds to a delay line."""
    for c in range(starts[source], starts[source + 1]):
        strip[places[c]] += rounded_product(value, weights[c])


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
        *constants, *neurons, *heard, *_unsigned(into)[:3], *_unsigned(back)[:3], *before, *after,
        currents, arrived, *averaging, trace, average, averages, margin, scratch,
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
        together = _samples_together(length)
        nearest = margin[0]
        for first in range(0, batch, together):
            last = min(first + together, batch)
            for s in range(first, last):
                strip, given = scratch[s], currents[s].reshape(length)
                for c in range(length):
                    strip[c] = given[c]
                    strip[length + c] = zero
            present = 0
            for k in range(spikes.shape[0]):
                if present == length:
                    present = 0
                    for s in range(first, last):
                        _move_back(scratch[s], length)
                for s in range(first, last):
                    strip = scratch[s, present : present + length]
                    z, v, b, r = spikes[k, s], potential[k, s], adaptation[k, s], counter[k, s]
                    z_after, v_after = spikes_after[k, s], potential_after[k, s]
                    b_after, r_after = adaptation_after[k, s], counter_after[k, s]
                    for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                        _send(strip, values[e], sources[e], into_starts, into_places, into_weights)
                    for i in range(n):
                        if z[i] != zero:
                            _send(strip, z[i], i, back_starts, back_places, back_weights)
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
            for s in range(first, last):
                strip, wanted = scratch[s, present : present + length], currents[s].reshape(length)
                for c in range(length):
                    wanted[c] = strip[c]
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
        *constants, *neurons, *heard, *_unsigned(into), *_unsigned(back), *before, *after[:3],
        arrived, *averaging, *cotangents, *adjoints, *gradients, scratch,
    )  # fmt: skip


@compiled
def _heard_later(strip, source, starts, places, weights, zero):
    """sum_c w_c Ibar at the place of c; four sums side by side, as the processor adds."""
    first, last = np.int64(starts[source]), np.int64(starts[source + 1])
    at, by = places[first:last], weights[first:last]
    one = two = three = four = zero
    whole = at.size // 4 * 4
    for c in range(0, whole, 4):
        one += by[c] * strip[at[c]]
        two += by[c + 1] * strip[at[c + 1]]
        three += by[c + 2] * strip[at[c + 2]]
        four += by[c + 3] * strip[at[c + 3]]
    for c in range(whole, at.size):
        one += by[c] * strip[at[c]]
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
        length, count = slots * n, spikes.shape[0]
        together = _samples_together(length)
        # sums over time and samples: in the order of single steps, which groups would change
        at_once = 1 if neuron_gradient.shape[0] > 0 else slots
        for s in range(batch):
            strip, given = scratch[s], queue[s].reshape(length)
            for c in range(length):
                strip[length + c] = given[c]
        present, end = length, count
        while end > 0:
            if present == 0:
                present = length
                for s in range(batch):
                    strip = scratch[s]
                    for c in range(length):
                        strip[length + c] = strip[c]
            begin = max(end - min(at_once, present // n), 0)
            for first in range(0, batch, together):
                for k in range(end - 1, begin - 1, -1):
                    here = present - (end - 1 - k) * n
                    for s in range(first, min(first + together, batch)):
                        later = scratch[s, here : here + length]
                        psi = scratch[s, 2 * length : 2 * length + n]
                        z, v, b, r = spikes[k, s], potential[k, s], adaptation[k, s], counter[k, s]
                        z_after, v_after, b_after = (
                            spikes_after[k, s],
                            potential_after[k, s],
                            adaptation_after[k, s],
                        )
                        gz, gv, gb, gp, gm = zhat[s], vhat[s], bhat[s], q[s], by_average[s]
                        for j in range(n):
                            closed = masks[k, s, j] if masks.shape[0] > 0 else r[j] > 0
                            psi[j] = zero
                            if not closed:
                                threshold = raised_threshold(b_after[j], baseline[j], strength[j])
                                compared = chosen(new_potential, v_after[j], v[j], one)
                                distance = (compared - threshold) / chosen(
                                    by_threshold, threshold, baseline[j], one
                                )
                                psi[j] = surrogate(distance, slope, height, one) * spike_height
                        if k < count - 1 and recurrent != zero:  # what others heard of z_{k+1}
                            for j in range(n):
                                if psi[j] != zero:
                                    gz[j] += recurrent * _heard_later(
                                        later, j, back_starts, back_places, back_weights, zero
                                    )
                        if window[k] >= 0:
                            for j in range(n):
                                gm[j] += by_averages[window[k], s, j]
                        strip = scratch[s, here - n : here - n + length]
                        for j in range(n):
                            spike_adjoint, potential_adjoint, threshold_adjoint = (
                                gz[j] + by_rates[j],
                                gv[j],
                                zero,
                            )
                            if by_spikes.shape[0] > 0:
                                spike_adjoint += by_spikes[k, s, j]
                                potential_adjoint += by_potentials[k, s, j]
                                threshold_adjoint = by_thresholds[k, s, j]
                            gp[j] += share[k] * gm[j]
                            spike_adjoint += (one - readout_decay) * gp[j]
                            gp[j] *= readout_decay
                            gm[j] *= keep[k]
                            (
                                strip[j], gz[j], gv[j], gb[j],
                                by_potential, by_threshold_now, by_baseline, by_adapted,
                            ) = adaptive_adjoint(
                                spike_adjoint, potential_adjoint, threshold_adjoint, gb[j], psi[j],
                                z[j], z_after[j], v[j], v_after[j], b_after[j],
                                leak[j], decay[j], strength[j], baseline[j], late_reset, new_potential,
                                threshold_reset, by_threshold, attached, time_step, one,
                            )  # fmt: skip
                            if neuron_gradient.shape[0] > 0:
                                neuron_gradient[0, j] += by_potential * (v[j] - arrived[k, s, j])
                                neuron_gradient[1, j] += by_adapted * (b[j] - z[j])
                                neuron_gradient[2, j] += by_threshold_now * b_after[j]
                                neuron_gradient[3, j] += by_threshold_now + by_baseline
            for k in range(end - 1, begin - 1, -1):
                present -= n
                for s in range(batch):
                    strip, z = scratch[s, present : present + length], spikes[k, s]
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
                                strip, i, into_starts, into_places, into_weights, zero
                            )
            end = begin
        for s in range(batch):
            strip, wanted, gz = scratch[s, present : present + length], queue[s].reshape(length), zhat[s]
            for j in range(n):
                gz[j] += recurrent * _heard_later(strip, j, back_starts, back_places, back_weights, zero)
            for c in range(length):
                wanted[c] = strip[c]
        for i in range(n):
            back_gradient[i, i] = zero

    return compiled(kernel)


def transmit(heard: Heard, into: Synapses, back: Synapses, spikes: np.ndarray, currents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.adaptive.transmit`."""
    _transmit(*heard[:3], *_unsigned(into)[:3], *_unsigned(back)[:3], spikes, currents)


@compiled
def _transmit(
    starts, sources, values, into_starts, into_places, into_weights, back_starts, back_places, back_weights,
    spikes, currents,
):  # fmt: skip
    batch, slots, n = currents.shape
    length = slots * n
    both = np.empty(2 * length, currents.dtype)
    for s in range(batch):
        given = currents[s].reshape(length)
        for c in range(length):
            both[c], both[length + c] = given[c], 0
        present = 0
        for k in range(spikes.shape[0]):
            if present == length:
                present = 0
                _move_back(both, length)
            strip = both[present : present + length]
            for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                _send(strip, values[e], sources[e], into_starts, into_places, into_weights)
            for i in range(n):
                if spikes[k, s, i] != 0:
                    _send(strip, spikes[k, s, i], i, back_starts, back_places, back_weights)
            present += n
        for c in range(length):
            given[c] = both[present + c]
