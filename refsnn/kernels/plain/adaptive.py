"""Adaptive spiking neurons with delays in NumPy: the specification as executed (Bellec 2018).

One step, in this order: currents into the delay line, adaptation, threshold, potential and spike by the
scheme (`refsnn.equations.adaptive`), refractory counter, shift of the delay line, read-out.
Currents are summed source by source in ascending order, inputs before neurons, in every backend.
"""

from __future__ import annotations

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
    """Steps k = 0..T-1 from z_k, v_k, b_k to z_{k+1}, v_{k+1}, b_{k+1}.

    Parameters
    ----------
    equations, constants, neurons
        Of the neurons.
    heard : Heard
        Inputs, noise, masks.
    into, back : Synapses
        Of the inputs, and between neurons.
    before, after : States
        Views of the same steps, one apart; only the first row of `before` is given.
    currents : ndarray, (B, D, n)
        The delay line before the first step in, after the last one out: slot d arrives d steps later.
    arrived : ndarray, (T, B, n) or (0, B, n)
        Filled with I_k.
    averaging : Averaging
        kappa, and the windows.
    trace, average : ndarray, (B, n)
        p and m, in place.
    averages : ndarray, (W, B, n)
        Filled with m at the ends of windows.
    margin : ndarray, (1,)
        Lowered to the smallest |u| of a neuron that is not refractory.
    scratch : ndarray, (B, 2 D n)
        Memory to work in.
    """
    late, new, to_threshold, by_threshold, _, _, refractory, slope, height, step, spike_height, one = (
        constants
    )
    batch, slots, n = currents.shape
    for k in range(len(before.spikes)):
        z, v, b, r = (array[k] for array in before)
        flat = currents.reshape(batch, slots * n)
        _add_events(flat, heard, k, into)
        _add_sources(flat, z, back)
        current = currents[:, 0] + heard.noise[k] if len(heard.noise) else currents[:, 0].copy()
        if len(arrived):
            arrived[k] = current
        adapted, threshold, charged, distance = before_the_spike(
            z, v, b, current, *neurons, late, new, to_threshold, by_threshold, step, one
        )
        closed = heard.masks[k] if len(heard.masks) else r > 0
        fired = np.where(closed, one - one, equations.fire(distance, slope, height, one)) * spike_height
        after.spikes[k], after.adaptation[k] = fired, adapted
        after.potential[k] = after_the_spike(charged, fired, threshold, late, step)
        after.refractory[k] = np.where(fired.real > 0, refractory, np.maximum(r - 1, 0))
        currents[:, :-1] = currents[:, 1:].copy()
        currents[:, -1] = 0
        trace[...] = leaky_mean(trace, fired, averaging.decay, one)
        average[...] = averaging.keep[k] * average + rounded_product(averaging.share[k], trace)
        if averaging.window[k] >= 0:
            averages[averaging.window[k]] = average
        if not closed.all():
            margin[0] = min(margin[0], np.abs(distance[~closed].real).min())


def _add_events(flat: np.ndarray, heard: Heard, step: int, synapses: Synapses) -> None:
    """What the inputs send at one step."""
    for s, row in enumerate(flat):
        first, last = heard.starts[step * len(flat) + s : step * len(flat) + s + 2]
        for source, value in zip(heard.sources[first:last], heard.values[first:last], strict=True):
            mine = slice(synapses.starts[source], synapses.starts[source + 1])
            row[synapses.places[mine]] += rounded_product(value, synapses.weights[mine])


def _add_sources(flat: np.ndarray, spikes: np.ndarray, synapses: Synapses) -> None:
    """What the neurons send."""
    for source in np.flatnonzero(spikes.any(axis=0)):
        mine = slice(synapses.starts[source], synapses.starts[source + 1])
        flat[:, synapses.places[mine]] += rounded_product(spikes[:, source, None], synapses.weights[mine])


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
    """The adjoint of `adaptive_forward`, step after step from the last.

    Parameters
    ----------
    equations, constants, neurons, heard, into, back, before, after, arrived, averaging
        As they were there; `before` and `after` whole, `arrived` where gradients by the neurons are wanted.
    cotangents : Cotangents
        Where the loss looks at the run.
    adjoints : Adjoints
        By the state after the last step in, before the first one out.
    gradients : Gradients
        Added to.
    scratch : ndarray, (B, (2 D + 4) n)
        Memory to work in.
    """
    late, new, to_threshold, by_threshold, attached, recurrent, _, slope, height, step, spike_height, one = (
        constants
    )
    zhat, vhat, bhat, queue, q, by_average = adjoints
    batch, slots, n = queue.shape
    for k in reversed(range(len(before.spikes))):
        z, v, b, r = (array[k] for array in before)
        z_after, v_after, adapted, _ = (array[k] for array in after)
        # direct terms: the rate of each neuron, any of z, v, B, and the read-out
        zbar, vbar, threshold_bar = zhat + cotangents.rates, vhat, np.zeros_like(vhat)
        if len(cotangents.spikes):
            zbar, vbar = zbar + cotangents.spikes[k], vbar + cotangents.potential[k]
            threshold_bar = cotangents.threshold[k]
        if averaging.window[k] >= 0:
            by_average += cotangents.averages[averaging.window[k]]
        q += averaging.share[k] * by_average
        zbar = zbar + (one - averaging.decay) * q
        q *= averaging.decay
        by_average *= averaging.keep[k]

        threshold = raised_threshold(adapted, neurons.baseline, neurons.strength)
        divisor = chosen(by_threshold, threshold, neurons.baseline, one)
        distance = (chosen(new, v_after, v, one) - threshold) / divisor
        closed = heard.masks[k] if len(heard.masks) else r > 0
        psi = np.where(closed, one - one, equations.surrogate(distance, slope, height, one)) * spike_height
        by_current, zhat[...], vhat[...], bhat[...], *inner = adaptive_adjoint(
            zbar, vbar, threshold_bar, bhat, psi, z, z_after, v, v_after, adapted, *neurons,
            late, new, to_threshold, by_threshold, attached, step, one,
        )  # fmt: skip
        queue[:, 1:] = queue[:, :-1].copy()
        queue[:, 0] = by_current
        flat = queue.reshape(batch, slots * n)
        for i in range(n):
            mine = slice(back.starts[i], back.starts[i + 1])
            zhat[:, i] += recurrent * (flat[:, back.places[mine]] @ back.weights[mine])
        _add_gradients(gradients, flat, heard, z, k, into, back)
        if len(gradients.neurons):
            by_potential, by_threshold_now, by_baseline, by_adapted = inner
            gradients.neurons[0] += (by_potential * (v - arrived[k])).sum(axis=0)
            gradients.neurons[1] += (by_adapted * (b - z)).sum(axis=0)
            gradients.neurons[2] += (by_threshold_now * adapted).sum(axis=0)
            gradients.neurons[3] += (by_threshold_now + by_baseline).sum(axis=0)


def _add_gradients(
    gradients: Gradients,
    flat: np.ndarray,
    heard: Heard,
    spikes: np.ndarray,
    step: int,
    into: Synapses,
    back: Synapses,
) -> None:
    """dW_ij += s_i Ibar_{k + d_ij, j} for inputs and neurons; a neuron does not hear itself."""
    for s, row in enumerate(flat):
        first, last = heard.starts[step * len(flat) + s : step * len(flat) + s + 2]
        for source, value in zip(heard.sources[first:last], heard.values[first:last], strict=True):
            gradients.into[source] += value * row[into.all_places[source]]
        for source in np.flatnonzero(spikes[s]):
            gradients.back[source] += spikes[s, source] * row[back.all_places[source]]
    np.fill_diagonal(gradients.back, 0)
    if len(gradients.inputs):
        for source in range(gradients.inputs.shape[2]):
            mine = slice(into.starts[source], into.starts[source + 1])
            gradients.inputs[step, :, source] = flat[:, into.places[mine]] @ into.weights[mine]


def transmit(heard: Heard, into: Synapses, back: Synapses, spikes: np.ndarray, currents: np.ndarray) -> None:
    """What inputs and given spikes leave in the delay line, as `adaptive_forward` would.

    Parameters
    ----------
    heard : Heard
        Inputs of the steps.
    into, back : Synapses
        Of the inputs, and between neurons.
    spikes : ndarray, (T, B, n)
        z_k of the steps.
    currents : ndarray, (B, D, n)
        The delay line before the first step in, after the last one out.
    """
    batch, slots, n = currents.shape
    for k, z in enumerate(spikes):
        flat = currents.reshape(batch, slots * n)
        _add_events(flat, heard, k, into)
        _add_sources(flat, z, back)
        currents[:, :-1] = currents[:, 1:].copy()
        currents[:, -1] = 0
