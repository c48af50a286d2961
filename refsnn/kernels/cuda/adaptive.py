"""Adaptive spiking neurons on a CUDA device; the twin of `refsnn.kernels.plain.adaptive`.

One block is one sample, and a thread owns neurons: their column of the delay line, their state, and their
column of the sample's share of the weight gradients.  What is said goes from the speaker's thread to all
others through the spikes, and back through the adjoint of the delay line: one barrier a step.  A thread adds
what its neuron hears source by source in ascending order, products rounded: the spikes are those of the other
backends.  The delay lines are rings; that of the adjoint has one slot more than there are delays, so that
what is written is not what others still read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import cuda
from numba.extending import register_jitable

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
from refsnn.kernels.cuda import device
from refsnn.kernels.cuda.device import compiled, filled, over_samples, read, threads_for, updated


def _events(heard: Heard) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, sources and values of these steps; the others stay where they are."""
    first, last = heard.starts[0], heard.starts[-1]
    return heard.starts - first, heard.sources[first:last], heard.values[first:last]


def _by_pair(synapses: Synapses) -> np.ndarray:
    """Weights (sources, n), 0 where there is no connection."""
    weights = np.zeros(synapses.all_places.shape, synapses.weights.dtype)
    sources = np.repeat(np.arange(len(weights)), np.diff(synapses.starts))
    weights[sources, synapses.places % weights.shape[1]] = synapses.weights
    return weights


@register_jitable
def _wrapped(place, size):
    """A place of a ring, at most once around."""
    return place - size if place >= size else place


@register_jitable
def _hear(ring, present, target, starts, sources, values, cell, weight, places, zero):
    """Add to the target's slots what inputs send in one step of one sample."""
    for e in range(starts[cell], starts[cell + 1]):
        w = weight[sources[e], target]
        if w != zero:
            c = _wrapped(present + places[sources[e], target], ring.size)
            ring[c] += rounded_product(values[e], w)


@register_jitable
def _hear_each_other(ring, present, target, spikes, weight, places, zero):
    """Add to the target's slots what neurons send."""
    for i in range(spikes.size):
        if spikes[i] != zero:
            w = weight[i, target]
            if w != zero:
                c = _wrapped(present + places[i, target], ring.size)
                ring[c] += rounded_product(spikes[i], w)


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
    batch, _, n = currents.shape
    threads = threads_for(n)
    nearest = np.empty((batch, threads), margin.dtype)
    decay, *shares = averaging
    arguments = (
        *constants, *map(read, neurons), *map(read, _events(heard)), read(heard.noise), read(heard.masks),
        *map(read, (_by_pair(into), into.all_places, _by_pair(back), back.all_places)),
        *(read(array[0]) for array in before), *map(filled, after),
        updated(currents), filled(arrived), decay, *map(read, shares),
        updated(trace), updated(average), updated(averages), margin[0], filled(nearest),
        device.scratch(np.empty((batch, currents[0].size), currents.dtype)),
    )  # fmt: skip
    over_samples(_forward_kernel(equations.fire), batch, threads, 0, arguments)
    margin[0] = nearest.min()


@functools.cache
def _forward_kernel(fire: Callable) -> Callable:
    def kernel(
        late_reset, new_potential, threshold_reset, by_threshold, attached, recurrent, refractory, slope,
        height, time_step, spike_height, one,
        leak, decay, strength, baseline,
        starts, sources, values, noise, masks,
        into_weight, into_places, back_weight, back_places,
        spikes, potential, adaptation, counter,
        spikes_after, potential_after, adaptation_after, counter_after,
        currents, arrived, readout_decay, keep, share, window, trace, average, averages, margin, nearest,
        rings,
    ):  # fmt: skip
        s, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        zero = one - one
        batch, slots, n = currents.shape
        ring, p, m, closest = rings[s], trace[s], average[s], margin
        for j in range(thread, n, threads):
            for d in range(slots):
                ring[d * n + j] = currents[s, d, j]
        present = 0
        for k in range(keep.size):
            z, v, b, r = spikes[s], potential[s], adaptation[s], counter[s]
            if k > 0:
                z, v, b, r = (
                    spikes_after[k - 1, s], potential_after[k - 1, s], adaptation_after[k - 1, s],
                    counter_after[k - 1, s],
                )  # fmt: skip
            for j in range(thread, n, threads):
                _hear(
                    ring, present, j, starts, sources, values, k * batch + s, into_weight, into_places, zero
                )
                _hear_each_other(ring, present, j, z, back_weight, back_places, zero)
                current = ring[present + j]
                ring[present + j] = zero
                if noise.shape[0] > 0:
                    current += noise[k, s, j]
                if arrived.shape[0] > 0:
                    arrived[k, s, j] = current
                adapted, threshold, charged, distance = before_the_spike(
                    z[j], v[j], b[j], current, leak[j], decay[j], strength[j], baseline[j],
                    late_reset, new_potential, threshold_reset, by_threshold, time_step, one,
                )  # fmt: skip
                closed = masks[k, s, j] if masks.shape[0] > 0 else r[j] > 0
                fired = zero
                if not closed:
                    closest = closest_approach(closest, distance)
                    fired = fire(distance, slope, height, one) * spike_height
                spikes_after[k, s, j], adaptation_after[k, s, j] = fired, adapted
                potential_after[k, s, j] = after_the_spike(charged, fired, threshold, late_reset, time_step)
                left = r[j] - 1 if r[j] > 0 else 0
                counter_after[k, s, j] = refractory if fired > zero else left
                p[j] = leaky_mean(p[j], fired, readout_decay, one)
                m[j] = keep[k] * m[j] + rounded_product(share[k], p[j])
                if window[k] >= 0:
                    averages[window[k], s, j] = m[j]
            present = _wrapped(present + n, ring.size)
            cuda.syncthreads()
        for j in range(thread, n, threads):
            for d in range(slots):
                currents[s, d, j] = ring[_wrapped(present + d * n + j, ring.size)]
        nearest[s, thread] = closest

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
    batch, slots, n = adjoints.currents.shape
    dtype, decay, shares = adjoints.currents.dtype, averaging[0], averaging[1:]
    sums = gradients[:3]
    # the share of each sample; the samples are added up in their order
    parts = [device.scratch(np.empty((batch, *total.shape), dtype)) for total in sums]
    arguments = (
        *constants, *map(read, neurons), *map(read, _events(heard)), read(heard.masks),
        *map(read, (*into, *back)), *(read(array[0]) for array in before), *map(read, after),
        read(arrived), decay, *map(read, shares), *map(read, cotangents), *map(updated, adjoints),
        *parts, filled(gradients.inputs), device.scratch(np.empty((batch, (slots + 1) * n), dtype)),
    )  # fmt: skip
    then = [
        (_add_samples, total.size, (part, updated(total)))
        for part, total in zip(parts, sums, strict=True)
        if total.size
    ]
    over_samples(_backward_kernel(equations.surrogate), batch, threads_for(n), 0, arguments, then)
    np.fill_diagonal(gradients.back, 0)


@compiled
def _add_samples(parts, total):
    """total += sum_s parts_s, one thread an entry."""
    entry = cuda.grid(1)
    if entry >= total.size:
        return
    i, j = entry // total.shape[1], entry % total.shape[1]
    value = parts[0, i, j]
    for s in range(1, parts.shape[0]):
        value += parts[s, i, j]
    total[i, j] += value


@register_jitable
def _heard_later(ring, present, first, last, places, weights, zero):
    """sum_c w_c Ibar at the place of c."""
    total = zero
    for c in range(first, last):
        total += weights[c] * ring[_wrapped(present + places[c], ring.size)]
    return total


@functools.cache
def _backward_kernel(surrogate: Callable) -> Callable:
    def kernel(
        late_reset, new_potential, threshold_reset, by_threshold, attached, recurrent, refractory, slope,
        height, time_step, spike_height, one,
        leak, decay, strength, baseline,
        starts, sources, values, masks,
        into_starts, into_places, into_weights, into_all,
        back_starts, back_places, back_weights, back_all,
        spikes, potential, adaptation, counter,
        spikes_after, potential_after, adaptation_after, counter_after,
        arrived, readout_decay, keep, share, window,
        by_spikes, by_potentials, by_thresholds, by_averages, by_rates,
        zhat, vhat, bhat, queue, q, by_average,
        into_gradient, back_gradient, neuron_gradient, input_gradient, rings,
    ):  # fmt: skip
        s, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        zero = one - one
        batch, slots, n = queue.shape
        ring, gz, gv, gb, gp, gm = rings[s], zhat[s], vhat[s], bhat[s], q[s], by_average[s]
        for j in range(thread, n, threads):
            for d in range(slots):
                ring[(d + 1) * n + j] = queue[s, d, j]
            for i in range(into_gradient.shape[1]):
                into_gradient[s, i, j] = zero
            for i in range(n):
                back_gradient[s, i, j] = zero
            for i in range(neuron_gradient.shape[1]):
                neuron_gradient[s, i, j] = zero
        later, present = n, 0
        for k in range(keep.size - 1, -1, -1):
            z, v, b, r = spikes[s], potential[s], adaptation[s], counter[s]
            if k > 0:
                z, v, b, r = (
                    spikes_after[k - 1, s], potential_after[k - 1, s], adaptation_after[k - 1, s],
                    counter_after[k - 1, s],
                )  # fmt: skip
            z_after, v_after, b_after = spikes_after[k, s], potential_after[k, s], adaptation_after[k, s]
            for j in range(thread, n, threads):
                psi = zero
                closed = masks[k, s, j] if masks.shape[0] > 0 else r[j] > 0
                if not closed:
                    threshold = raised_threshold(b_after[j], baseline[j], strength[j])
                    compared = chosen(new_potential, v_after[j], v[j], one)
                    distance = (compared - threshold) / chosen(by_threshold, threshold, baseline[j], one)
                    psi = surrogate(distance, slope, height, one) * spike_height
                if k < keep.size - 1 and psi != zero:  # what others heard of z_{k+1}
                    gz[j] += recurrent * _heard_later(
                        ring, later, back_starts[j], back_starts[j + 1], back_places, back_weights, zero
                    )
                spike_adjoint, potential_adjoint, threshold_adjoint = gz[j] + by_rates[j], gv[j], zero
                if by_spikes.shape[0] > 0:
                    spike_adjoint += by_spikes[k, s, j]
                    potential_adjoint += by_potentials[k, s, j]
                    threshold_adjoint = by_thresholds[k, s, j]
                if window[k] >= 0:
                    gm[j] += by_averages[window[k], s, j]
                gp[j] += share[k] * gm[j]
                spike_adjoint += (one - readout_decay) * gp[j]
                gp[j] *= readout_decay
                gm[j] *= keep[k]
                (
                    by_current, gz[j], gv[j], gb[j], by_potential, by_threshold_now, by_baseline, by_adapted
                ) = adaptive_adjoint(
                    spike_adjoint, potential_adjoint, threshold_adjoint, gb[j], psi, z[j], z_after[j],
                    v[j], v_after[j], b_after[j], leak[j], decay[j], strength[j], baseline[j],
                    late_reset, new_potential, threshold_reset, by_threshold, attached, time_step, one,
                )  # fmt: skip
                ring[present + j] = by_current
                for e in range(starts[k * batch + s], starts[k * batch + s + 1]):
                    c = _wrapped(present + into_all[sources[e], j], ring.size)
                    into_gradient[s, sources[e], j] += values[e] * ring[c]
                for i in range(n):
                    if z[i] != zero:
                        c = _wrapped(present + back_all[i, j], ring.size)
                        back_gradient[s, i, j] += z[i] * ring[c]
                if neuron_gradient.shape[1] > 0:
                    neuron_gradient[s, 0, j] += by_potential * (v[j] - arrived[k, s, j])
                    neuron_gradient[s, 1, j] += by_adapted * (b[j] - z[j])
                    neuron_gradient[s, 2, j] += by_threshold_now * b_after[j]
                    neuron_gradient[s, 3, j] += by_threshold_now + by_baseline
            cuda.syncthreads()
            if input_gradient.shape[0] > 0:
                for i in range(thread, input_gradient.shape[2], threads):
                    input_gradient[k, s, i] = _heard_later(
                        ring, present, into_starts[i], into_starts[i + 1], into_places, into_weights, zero
                    )
            later = present
            present = present - n if present > 0 else ring.size - n
        for j in range(thread, n, threads):
            gz[j] += recurrent * _heard_later(
                ring, later, back_starts[j], back_starts[j + 1], back_places, back_weights, zero
            )
            for d in range(slots):
                queue[s, d, j] = ring[_wrapped(later + d * n + j, ring.size)]

    return compiled(kernel)


def transmit(heard: Heard, into: Synapses, back: Synapses, spikes: np.ndarray, currents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.adaptive.transmit`."""
    batch, _, n = currents.shape
    arguments = (
        *map(read, _events(heard)),
        *map(read, (_by_pair(into), into.all_places, _by_pair(back), back.all_places)),
        read(spikes), updated(currents),
        device.scratch(np.empty((batch, currents[0].size), currents.dtype)), currents.dtype.type(0),
    )  # fmt: skip
    over_samples(_transmit, batch, threads_for(n), 0, arguments)


@compiled
def _transmit(
    starts, sources, values, into_weight, into_places, back_weight, back_places, spikes, currents, rings, zero
):  # fmt: skip
    s, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    batch, slots, n = currents.shape
    ring = rings[s]
    for j in range(thread, n, threads):
        for d in range(slots):
            ring[d * n + j] = currents[s, d, j]
        present = 0
        for k in range(spikes.shape[0]):
            _hear(ring, present, j, starts, sources, values, k * batch + s, into_weight, into_places, zero)
            _hear_each_other(ring, present, j, spikes[k, s], back_weight, back_places, zero)
            ring[present + j] = zero
            present = _wrapped(present + n, ring.size)
        for d in range(slots):
            currents[s, d, j] = ring[_wrapped(present + d * n + j, ring.size)]
