"""What one unit hears through matrices, on a CUDA device: dense couplings and the read-out.

Each function is one entry of a matrix product or of a softmax, summed by one thread in a fixed order.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.kernels.cuda.relaxation_layout import MATRIX, SOURCE, TARGET


@register_jitable
def links_into(layer, unit, links, firsts, weights, rate, zero):
    """What a unit hears through all dense couplings of its layer."""
    total = zero
    for k in range(links.shape[0]):
        if links[k, TARGET] == layer:
            total += linked(links[k], firsts, weights, rate, unit, zero)
    return total


@register_jitable
def linked(link, firsts, weights, rate, unit, zero):
    """(W h) or (W^T h) at a unit of the target layer, counted within it."""
    first, last = firsts[link[SOURCE]], firsts[link[SOURCE] + 1]
    width = firsts[link[TARGET] + 1] - firsts[link[TARGET]]
    entry = link[MATRIX] + unit
    total = zero
    for k in range(first, last):
        total += weights[entry] * rate[k]
        entry += width
    return total


@register_jitable
def output_of(own, readout_weight, readout_bias, c):
    """z_c = (W_out s^0 + b_out)_c, or s^0_c itself where there is no read-out."""
    if readout_weight.shape[0] == 0:
        return own[c]
    total = readout_bias[c]
    for i in range(readout_weight.shape[1]):
        total += readout_weight[c, i] * own[i]
    return total


@register_jitable
def through_readout(error, readout_weight, unit, zero):
    """(W_out^T e) at a unit of layer 0, or e itself where there is no read-out."""
    if readout_weight.shape[0] == 0:
        return error[unit]
    total = zero
    for c in range(error.size):
        total += error[c] * readout_weight[c, unit]
    return total


@register_jitable
def highest(outputs):
    """max_c z_c, of the real parts: what keeps an exponential from overflowing."""
    top = outputs[0].real
    for c in range(1, outputs.size):
        if outputs[c].real > top:
            top = outputs[c].real
    return top


@register_jitable
def share(weight, c, zero):
    """softmax_c, of weights that are exponentials."""
    total = zero
    for other in range(weight.size):
        total += weight[other]
    return weight[c] / total
