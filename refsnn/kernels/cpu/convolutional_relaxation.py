"""The relaxation of a network with images: all steps of one sample in one compiled loop.

Samples never meet, so each relaxes alone while its state stays in cache, and threads share the samples: the
same bits with any number of them.  All patches of a layer times its kernels are one matrix product.  Maxima
run along the channels, which stand last inside (`convolutional_layout`).

What is sent back through max pooling is not 0 at one entry of each window only, and rates are often 0
themselves: the adjoint adds up one kernel for each of the others.  Elsewhere it is a matrix product again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from refsnn.equations.relaxation import nudge_force
from refsnn.kernels.compilation import compiled
from refsnn.kernels.convergent import Nudge, Relaxing
from refsnn.kernels.cpu.blocks import over_columns
from refsnn.kernels.cpu.convolutional_layout import (
    channels_last,
    coupling_table,
    layer_table,
    pack,
    paddings_of,
    unpack,
)

# products of a matrix that take about as long as one step of a spiking neuron, by which threads are given out
_PRODUCTS_AN_ELEMENT = 16


def relax(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    steps: int,
    nudge: Nudge | None,
    tolerance: float,
    kept: tuple[np.ndarray, ...] | None,
) -> int:
    """See `refsnn.kernels.cpu.relaxation.relax`; layers are (B, d) or (B, C, H, W), coupled in a chain.

    Raises
    ------
    ValueError
        If units of hidden layers differ from each other.
    """
    output, hidden = problem.units[0], problem.units[-1]
    if any(unit is not hidden for unit in problem.units[1:]):
        raise ValueError("units: expected one kind of unit in all layers but the output, got several")
    kernel = _kernel(output.rate, output.advance, hidden.rate, hidden.advance)

    dtype, batch = state[0].dtype, len(state[0])
    real = np.empty(0, dtype).real.dtype.type
    paddings = paddings_of(problem.couplings, len(state))
    layers, (couplings, weights) = layer_table(state, paddings), coupling_table(problem.couplings, state)
    states, drive = pack(state, paddings), pack(problem.drive, paddings)
    ring = np.empty((0 if kept is None else len(kept[0]), *states.shape), dtype)
    if kept is not None:
        ring[0] = states
    moved = np.ones(batch, np.bool_)
    fixed = layers, couplings, weights, drive, *_force_of(nudge, state[0])
    constants = tolerance, real(problem.step_size), real(1)

    # samples wait for each other only where all have to stop together
    at_once = steps if tolerance < 0 else 1
    products = couplings["outs"] * couplings["terms"] * couplings["height"] * couplings["width"]
    work = at_once * (states.shape[1] + int(products.sum()) // _PRODUCTS_AN_ELEMENT)
    taken = 0
    while taken < steps and moved.any():
        over_columns(kernel, (work, batch), (states, ring, moved, taken, at_once, *fixed, *constants))
        taken += at_once
    unpack(states, state, layers, paddings)
    if kept is not None:
        unpack(ring, kept, layers, paddings)
    return taken


def _force_of(nudge: Nudge | None, top: np.ndarray) -> tuple[Any, ...]:
    """Targets, beta, whether to take the softmax, W_out and b_out; arrays are empty where there is none."""
    matrix, vector = np.empty((0, 0), top.dtype), np.empty(0, top.dtype)
    if nudge is None:
        return matrix, top.dtype.type(0), False, matrix, vector
    amount = top.dtype.type(nudge.amount)
    if nudge.readout_weight is None or nudge.readout_bias is None:
        return channels_last(nudge.targets, top), amount, nudge.softmax, matrix, vector
    return nudge.targets, amount, nudge.softmax, channels_last(nudge.readout_weight, top), nudge.readout_bias


# ---------------------------------------------------------------- one coupling, one sample


@register_jitable
def _copy(source, target):
    """A loop: Numba needs seconds to compile the assignment of a slice to a slice."""
    for j in range(target.size):
        target[j] = source[j]


@register_jitable
def _correlate(c, pre, image, weights, patches, maps):
    """w * h: a patch a row, times the kernels; only where windows lie."""
    run, terms = c.kernel * c.channels, c.terms
    used = patches[: c.height * c.width * terms]
    for y in range(c.height):
        for x in range(c.width):
            place = (y * c.width + x) * terms
            corner = pre.start + y * pre.stride + x * c.channels
            for p in range(c.kernel):
                piece = image[corner + p * pre.stride : corner + p * pre.stride + run]
                _copy(piece, used[place + p * run : place + (p + 1) * run])
    kernels = weights[c.weight : c.weight + c.outs * terms].reshape(c.outs, terms)
    outcome = maps[: c.height * c.width * c.outs].reshape(c.height * c.width, c.outs)
    np.dot(used.reshape(c.height * c.width, terms), kernels.T, outcome)


@register_jitable
def _add_maxima(c, post, maps, record, potential, largest):
    """u += P(m), and the record of where the first maximum of each window stands."""
    best = largest[: c.outs]
    for y in range(c.height // c.window):
        for x in range(c.width // c.window):
            place = (y * (c.width // c.window) + x) * c.outs
            where = record[place : place + c.outs]
            for entry in range(c.window * c.window):
                row, column = y * c.window + entry // c.window, x * c.window + entry % c.window
                start = (row * c.width + column) * c.outs
                m = maps[start : start + c.outs]
                if entry == 0:
                    _copy(m, best)
                    where[:] = 0
                    continue
                for o in range(best.size):
                    larger = m[o].real > best[o].real
                    best[o] = m[o] if larger else best[o]
                    where[o] = entry if larger else where[o]
            first = post.first + y * post.stride + x * c.outs
            u = potential[first : first + c.outs]
            for o in range(u.size):
                u[o] += best[o]


@register_jitable
def _add_means(c, post, maps, potential, means, one):
    """u += the mean of each window; of a window of one entry that is the map itself."""
    mean = means[: c.outs]
    for y in range(c.height // c.window):
        for x in range(c.width // c.window):
            entries = one - one
            mean[:] = 0
            for row in range(y * c.window, (y + 1) * c.window):
                for column in range(x * c.window, (x + 1) * c.window):
                    start = (row * c.width + column) * c.outs
                    m = maps[start : start + c.outs]
                    for o in range(m.size):
                        mean[o] += m[o]
                    entries += one
            first = post.first + y * post.stride + x * c.outs
            u = potential[first : first + c.outs]
            for o in range(u.size):
                u[o] += mean[o] / entries


@register_jitable
def _send_back_to_maxima(c, post, pre, rates, record, weights, potential, chosen, sent):
    """u += w ~* P^-1(h) through max pooling: one kernel for each rate that is not 0."""
    run, columns = c.kernel * c.channels, c.width // c.window
    for y in range(c.height // c.window):
        for x in range(columns):
            first, place = post.first + y * post.stride + x * c.outs, (y * columns + x) * c.outs
            h, where = rates[first : first + c.outs], record[place : place + c.outs]
            for entry in range(c.window * c.window):
                row, column = y * c.window + entry // c.window, x * c.window + entry % c.window
                corner = pre.start + row * pre.stride + column * c.channels
                number = 0
                for o in range(h.size):
                    if where[o] == entry and h[o] != 0:
                        chosen[number], sent[number] = c.feedback + o * c.terms, h[o]
                        number += 1
                # four kernels at a time: the potential is read and written once for them; nothing fills up
                for i in range(number, number + 3):
                    chosen[i], sent[i] = c.feedback, 0
                for i in range(0, number, 4):
                    w1, w2, w3, w4 = chosen[i], chosen[i + 1], chosen[i + 2], chosen[i + 3]
                    h1, h2, h3, h4 = sent[i], sent[i + 1], sent[i + 2], sent[i + 3]
                    for p in range(c.kernel):
                        u = potential[corner + p * pre.stride : corner + p * pre.stride + run]
                        at = p * run
                        _add_four(u, weights, w1 + at, w2 + at, w3 + at, w4 + at, h1, h2, h3, h4)


@register_jitable
def _add_four(u, weights, at1, at2, at3, at4, h1, h2, h3, h4):
    """u += the sum of four runs of weights, each times a rate."""
    w1, w2 = weights[at1 : at1 + u.size], weights[at2 : at2 + u.size]
    w3, w4 = weights[at3 : at3 + u.size], weights[at4 : at4 + u.size]
    for j in range(u.size):
        u[j] += (h1 * w1[j] + h2 * w2[j]) + (h3 * w3[j] + h4 * w4[j])


@register_jitable
def _send_back(c, post, pre, rates, weights, maps, patches, potential, one):
    """u += w ~* P^-1(h) otherwise: each rate is shared by its window, a product, and patches are added up."""
    run, terms = c.kernel * c.channels, c.terms
    entries = one - one
    for _ in range(c.window * c.window):
        entries += one
    for y in range(c.height):
        for x in range(c.width):
            first = post.first + (y // c.window) * post.stride + (x // c.window) * c.outs
            start = (y * c.width + x) * c.outs
            h, m = rates[first : first + c.outs], maps[start : start + c.outs]
            for o in range(m.size):
                m[o] = h[o] / entries
    kernels = weights[c.feedback : c.feedback + c.outs * terms].reshape(c.outs, terms)
    used = patches[: c.height * c.width * terms]
    unpooled = maps[: c.height * c.width * c.outs].reshape(c.height * c.width, c.outs)
    np.dot(unpooled, kernels, used.reshape(c.height * c.width, terms))
    for y in range(c.height):
        for x in range(c.width):
            place = (y * c.width + x) * terms
            corner = pre.start + y * pre.stride + x * c.channels
            for p in range(c.kernel):
                u = potential[corner + p * pre.stride : corner + p * pre.stride + run]
                piece = used[place + p * run : place + (p + 1) * run]
                for j in range(u.size):
                    u[j] += piece[j]


@register_jitable
def _add_products(matrix, vector, product, u):
    """u += matrix . vector, or vector . matrix where the matrix comes second."""
    np.dot(matrix, vector, product)
    for j in range(u.size):
        u[j] += product[j]


@compiled
def _receive(layers, couplings, weights, h, u, patches, maps, record, scratch, chosen, one):
    """u += all that the couplings of one sample bring, both ways."""
    for k in range(couplings.size):
        c = couplings[k]
        post, pre = layers[c.post], layers[c.pre]
        if c.kernel == 0:
            w = weights[c.weight : c.weight + c.outs * c.terms].reshape(c.outs, c.terms)
            v = weights[c.feedback : c.feedback + c.outs * c.terms].reshape(c.outs, c.terms)
            upper, lower = slice(post.start, post.stop), slice(pre.start, pre.stop)
            _add_products(w, h[lower], scratch[: c.outs], u[upper])
            _add_products(h[upper], v, scratch[: c.terms], u[lower])
            continue
        _correlate(c, pre, h, weights, patches, maps)
        if c.maxima != 0:
            _add_maxima(c, post, maps, record, u, scratch)
            _send_back_to_maxima(c, post, pre, h, record, weights, u, chosen, scratch)
        else:
            _add_means(c, post, maps, u, scratch, one)
            _send_back(c, post, pre, h, weights, maps, patches, u, one)


@compiled
def _force(s, target, amount, softmax, readout, bias, outputs, force):
    """-beta dl/ds of one sample: of its outputs, and through the read-out where there is one."""
    if readout.size > 0:
        np.dot(readout, s, outputs)
        for j in range(outputs.size):
            outputs[j] += bias[j]
    else:
        _copy(s, outputs)
    if softmax:
        highest = outputs[0].real
        for j in range(1, outputs.size):
            highest = max(highest, outputs[j].real)
        total = outputs[0] - outputs[0]
        for j in range(outputs.size):
            outputs[j] = np.exp(outputs[j] - highest)
            total += outputs[j]
        for j in range(outputs.size):
            outputs[j] /= total
    for j in range(outputs.size):
        outputs[j] = nudge_force(outputs[j], target[j], amount)
    if readout.size > 0:
        np.dot(outputs, readout, force)
    else:
        _copy(outputs, force)


# ---------------------------------------------------------------- the loop


@functools.cache
def _kernel(output_rate: Callable, output_advance: Callable, rate: Callable, advance: Callable) -> Callable:
    @register_jitable
    def read(layers, s, h, one):
        """h_n(s^n) of all layers; what stands around images stays 0."""
        for n in range(layers.size):
            layer = layers[n]
            for row in range(layer.rows):
                begin = layer.first + row * layer.stride
                s_row, h_row = s[begin : begin + layer.length], h[begin : begin + layer.length]
                if n == 0:
                    for j in range(s_row.size):
                        h_row[j] = output_rate(s_row[j], one)
                else:
                    for j in range(s_row.size):
                        h_row[j] = rate(s_row[j], one)

    @register_jitable
    def move(layers, s, u, force, nudged, tolerance, step_size, one):
        """Advance all units; how many moved by more than the tolerance, not a number among them."""
        moved = 0
        for n in range(layers.size):
            layer = layers[n]
            for row in range(layer.rows):
                begin = layer.first + row * layer.stride
                s_row, u_row = s[begin : begin + layer.length], u[begin : begin + layer.length]
                f_row = force[row * layer.length : (row + 1) * layer.length]
                for j in range(s_row.size):
                    if n > 0:
                        after = advance(s_row[j], u_row[j], one - one, step_size, one)
                    elif nudged:
                        after = output_advance(s_row[j], u_row[j], f_row[j], step_size, one)
                    else:
                        after = output_advance(s_row[j], u_row[j], one - one, step_size, one)
                    moved += not (abs(after - s_row[j]) <= tolerance)
                    s_row[j] = after
        return moved

    def kernel(
        states, ring, moved, taken, steps, layers, couplings, weights, drive,
        targets, amount, softmax, readout, bias, tolerance, step_size, one, first_sample, last_sample,
    ):  # fmt: skip
        units, most_patches, most_maps, widest = states.shape[1], 0, 0, 0
        for k in range(couplings.size):
            c = couplings[k]
            most_patches = max(most_patches, c.height * c.width * c.terms)
            most_maps = max(most_maps, c.height * c.width * c.outs)
            widest = max(widest, max(c.outs + 4, c.terms))
        patches, maps = np.empty(most_patches, states.dtype), np.empty(most_maps, states.dtype)
        record, chosen = np.empty(most_maps, np.int32), np.empty(widest, np.int64)
        scratch = np.empty(widest, states.dtype)
        h, u = np.zeros(units, states.dtype), np.empty(units, states.dtype)
        nudged, slots = targets.shape[0] > 0, ring.shape[0]
        outputs = np.empty(targets.shape[1], states.dtype)
        force = np.empty(layers[0].stop, states.dtype)
        for b in range(first_sample, last_sample):
            s = states[b]
            for t in range(taken + 1, taken + steps + 1):
                read(layers, s, h, one)
                _copy(drive[b], u)
                _receive(layers, couplings, weights, h, u, patches, maps, record, scratch, chosen, one)
                if nudged:
                    top = s[layers[0].start : layers[0].stop]
                    _force(top, targets[b], amount, softmax, readout, bias, outputs, force)
                moved[b] = move(layers, s, u, force, nudged, tolerance, step_size, one) > 0
                if slots > 0:
                    _copy(s, ring[t % slots, b])

    return compiled(kernel)
