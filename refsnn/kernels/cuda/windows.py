"""Windows that slide over images, on a CUDA device; the twins of `refsnn.kernels.plain.windows`.

One thread is one entry of the array that is filled, and sums what it needs in the order of the window: no two
threads meet.  Only what maxima send back is one thread a plane, for a record does not say whose it is.
"""

from __future__ import annotations

import numpy as np
from numba import cuda
from numba.extending import register_jitable

from refsnn.kernels.cuda.device import compiled, filled, over_columns, read
from refsnn.kernels.sliding import inside, positions


def gather(images: np.ndarray, kernel: int, stride: int, padding: int, columns: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.gather`."""
    width = positions(images.shape[3], kernel, stride, padding)
    arguments = read(images), kernel, stride, padding, width, images.dtype.type(0), filled(columns)
    over_columns(_gather, (1, columns.size), arguments)


@compiled
def _gather(images, kernel, stride, padding, width, zero, columns):
    entry = cuda.grid(1)
    if entry >= columns.size:
        return
    samples, places = columns.shape[1:]
    place, n, row = entry % places, entry // places % samples, entry // (places * samples)
    i, j, c = row // kernel % kernel, row % kernel, row // (kernel * kernel)
    y = place // width * stride + i - padding
    x = place % width * stride + j - padding
    value = zero
    if 0 <= y < images.shape[2] and 0 <= x < images.shape[3]:
        value = images[n, c, y, x]
    columns[row, n, place] = value


def scatter(columns: np.ndarray, kernel: int, stride: int, padding: int, images: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.scatter`."""
    height = positions(images.shape[2], kernel, stride, padding)
    width = positions(images.shape[3], kernel, stride, padding)
    zero = images.dtype.type(0)
    arguments = read(columns), kernel, stride, padding, height, width, zero, filled(images)
    over_columns(_scatter, (1, images.size), arguments)


@compiled
def _scatter(columns, kernel, stride, padding, height, width, zero, images):
    entry = cuda.grid(1)
    if entry >= images.size:
        return
    n, c, pixel_row, pixel_column = _unravelled(entry, images.shape)
    total = zero
    for i in range(kernel):
        y = pixel_row + padding - i
        if y >= 0 and y % stride == 0 and y // stride < height:
            for j in range(kernel):
                x = pixel_column + padding - j
                if x >= 0 and x % stride == 0 and x // stride < width:
                    row = (c * kernel + i) * kernel + j
                    total += columns[row, n, y // stride * width + x // stride]
    images[n, c, pixel_row, pixel_column] = total


def max_pool(
    images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray, record: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.windows.max_pool`."""
    lowest = pooled.dtype.type(-np.inf)
    arguments = read(images), window, stride, padding, lowest, filled(pooled), filled(record)
    over_columns(_max_pool, (1, pooled.size), arguments)


@compiled
def _max_pool(images, window, stride, padding, lowest, pooled, record):
    entry = cuda.grid(1)
    if entry >= pooled.size:
        return
    n, c, y, x = _unravelled(entry, pooled.shape)
    best, which = lowest, 0
    top, bottom = inside(images.shape[2], window, 1, y * stride - padding)
    left, right = inside(images.shape[3], window, 1, x * stride - padding)
    for i in range(top, bottom):
        for j in range(left, right):
            pixel_row, pixel_column = y * stride + i - padding, x * stride + j - padding
            pixel = images[n, c, pixel_row, pixel_column]
            if pixel > best:
                best, which = pixel, pixel_row * images.shape[3] + pixel_column
    pooled[n, c, y, x] = best
    record[n, c, y, x] = which


def max_pool_adjoint(adjoint: np.ndarray, record: np.ndarray, images: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.max_pool_adjoint`."""
    arguments = read(adjoint), read(record), images.dtype.type(0), filled(images)
    over_columns(_max_pool_adjoint, (1, images.shape[0] * images.shape[1]), arguments)


@compiled
def _max_pool_adjoint(adjoint, record, zero, images):
    plane = cuda.grid(1)
    if plane >= images.shape[0] * images.shape[1]:
        return
    n, c, columns = plane // images.shape[1], plane % images.shape[1], images.shape[3]
    for y in range(images.shape[2]):
        for x in range(columns):
            images[n, c, y, x] = zero
    for y in range(adjoint.shape[2]):
        for x in range(adjoint.shape[3]):
            taken = record[n, c, y, x]
            images[n, c, taken // columns, taken % columns] += adjoint[n, c, y, x]


def average_pool(images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.average_pool`."""
    zero, area = pooled.dtype.type(0), pooled.dtype.type(window * window)
    over_columns(
        _average_pool, (1, pooled.size), (read(images), window, stride, padding, zero, area, filled(pooled))
    )


@compiled
def _average_pool(images, window, stride, padding, zero, area, pooled):
    entry = cuda.grid(1)
    if entry >= pooled.size:
        return
    n, c, y, x = _unravelled(entry, pooled.shape)
    total = zero
    top, bottom = inside(images.shape[2], window, 1, y * stride - padding)
    left, right = inside(images.shape[3], window, 1, x * stride - padding)
    for i in range(top, bottom):
        for j in range(left, right):
            total += images[n, c, y * stride + i - padding, x * stride + j - padding]
    pooled[n, c, y, x] = total / area


def average_pool_adjoint(
    adjoint: np.ndarray, window: int, stride: int, padding: int, images: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.windows.average_pool_adjoint`."""
    zero, area = images.dtype.type(0), images.dtype.type(window * window)
    arguments = read(adjoint), window, stride, padding, zero, area, filled(images)
    over_columns(_average_pool_adjoint, (1, images.size), arguments)


@compiled
def _average_pool_adjoint(adjoint, window, stride, padding, zero, area, images):
    entry = cuda.grid(1)
    if entry >= images.size:
        return
    n, c, pixel_row, pixel_column = _unravelled(entry, images.shape)
    total = zero
    for i in range(window):
        y = pixel_row + padding - i
        if y >= 0 and y % stride == 0 and y // stride < adjoint.shape[2]:
            for j in range(window):
                x = pixel_column + padding - j
                if x >= 0 and x % stride == 0 and x // stride < adjoint.shape[3]:
                    total += adjoint[n, c, y // stride, x // stride]
    images[n, c, pixel_row, pixel_column] = total / area


@register_jitable
def _unravelled(entry, shape):
    """Index of an entry of (N, C, H, W) in row-major order."""
    height, width = shape[2:]
    plane = entry // (height * width)
    return plane // shape[1], plane % shape[1], entry // width % height, entry % width
