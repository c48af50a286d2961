"""What one unit hears through convolutional couplings, on a CUDA device: direct sums, no intermediate maps.

Both directions gather: a unit of post sums over its window and the kernel, a unit of pre over the kernel
positions that reach a pooled unit, if that unit took its value from there.  Nothing is scattered, so the
order of every sum is fixed.  The tables are those of `refsnn.kernels.cuda.relaxation_layout`.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.kernels.cuda.relaxation_layout import (
    DOWN,
    KERNEL,
    MAXIMA,
    PADDING,
    POST,
    POST_CHANNELS,
    POST_COLUMNS,
    POST_FIRST,
    POST_ROWS,
    PRE,
    PRE_CHANNELS,
    PRE_COLUMNS,
    PRE_FIRST,
    PRE_ROWS,
    RECORD,
    UP,
    WINDOW,
)


@register_jitable
def convolved_up(layer, unit, convolutions, areas, weights, rate, records, zero):
    """What a unit hears of the layers below it, through all convolutions of which its layer is post."""
    total = zero
    for m in range(convolutions.shape[0]):
        if convolutions[m, POST] == layer:
            total += convolve_up(convolutions[m], areas[m], weights, rate, records, unit, zero)
    return total


@register_jitable
def convolved_down(layer, unit, convolutions, areas, weights, rate, records, zero):
    """What a unit hears of the layers above it, through all convolutions of which its layer is pre."""
    total = zero
    for m in range(convolutions.shape[0]):
        if convolutions[m, PRE] == layer:
            total += convolve_down(convolutions[m], areas[m], weights, rate, records, unit, zero)
    return total


@register_jitable
def correlation_at(shape, weights, rate, channel, row, column, zero):
    """(w * h)[channel, row, column] of the map before pooling.

    The image is zero outside its frame: kernel positions beyond it are left out.
    """
    kernel, padding = shape[KERNEL], shape[PADDING]
    rows, columns = shape[PRE_ROWS], shape[PRE_COLUMNS]
    total = zero
    for c in range(shape[PRE_CHANNELS]):
        image = shape[PRE_FIRST] + c * rows * columns
        taps = shape[UP] + (channel * shape[PRE_CHANNELS] + c) * kernel * kernel
        for p in range(kernel):
            y = row + p - padding
            if y < 0 or y >= rows:
                continue
            for q in range(kernel):
                x = column + q - padding
                if x < 0 or x >= columns:
                    continue
                total += weights[taps + p * kernel + q] * rate[image + y * columns + x]
    return total


@register_jitable
def convolve_up(shape, area, weights, rate, records, unit, zero):
    """P(w * h) at a unit of post, the unit counted within its layer; notes where a maximum stands.

    The first of equal maxima in row-major order.  Where nothing is pooled, windows have one entry.
    """
    columns, window = shape[POST_COLUMNS], shape[WINDOW]
    channel = unit // (shape[POST_ROWS] * columns)
    row = (unit // columns % shape[POST_ROWS]) * window
    column = (unit % columns) * window
    maxima = shape[MAXIMA] != 0
    chosen = 0
    pooled = correlation_at(shape, weights, rate, channel, row, column, zero)
    for place in range(1, window * window):
        value = correlation_at(
            shape, weights, rate, channel, row + place // window, column + place % window, zero
        )
        if not maxima:
            pooled += value
        elif value.real > pooled.real:  # complex networks have no maxima, but are compiled too
            pooled, chosen = value, place
    if maxima:
        records[shape[RECORD] + unit] = chosen
        return pooled
    return pooled / area


@register_jitable
def convolve_down(shape, area, weights, rate, records, unit, zero):
    """(w ~* P^-1(h)) at a unit of pre, the unit counted within its layer.

    Map entries that crop drops belong to no window and send nothing back.
    """
    kernel, window = shape[KERNEL], shape[WINDOW]
    rows, columns = shape[POST_ROWS], shape[POST_COLUMNS]
    channels = shape[PRE_CHANNELS]
    channel = unit // (shape[PRE_ROWS] * shape[PRE_COLUMNS])
    y = unit // shape[PRE_COLUMNS] % shape[PRE_ROWS] + shape[PADDING]
    x = unit % shape[PRE_COLUMNS] + shape[PADDING]
    maxima = shape[MAXIMA] != 0
    total = zero
    for p in range(kernel):
        row = y - p
        if row < 0 or row >= rows * window:
            continue
        for q in range(kernel):
            column = x - q
            if column < 0 or column >= columns * window:
                continue
            place = (row % window) * window + column % window
            pooled = (row // window) * columns + column // window
            for o in range(shape[POST_CHANNELS]):
                above = o * rows * columns + pooled
                if not maxima or records[shape[RECORD] + above] == place:
                    tap = shape[DOWN] + ((o * channels + channel) * kernel + p) * kernel + q
                    total += weights[tap] * rate[shape[POST_FIRST] + above]
    if maxima:
        return total
    return total / area
