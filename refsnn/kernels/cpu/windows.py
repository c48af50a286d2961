"""Windows that slide over images, compiled by Numba; the twins of `refsnn.kernels.plain.windows`.

Each kernel works on the planes [first, last) of samples and channels, n C + c: planes do not meet, so blocks
of them run on threads with the same bits in any order.  Inside, the pixel of the window runs outside and the
places along a row inside, so that the inner loop is vectorised and asks nothing about borders.

Rows are short: a view of each would cost more than its pixels.  So a plane is one flat view, and its indices
are unsigned, for one that may be negative is checked at every element.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.compilation import compiled
from refsnn.kernels.cpu.blocks import over_columns
from refsnn.kernels.sliding import inside, positions


def gather(images: np.ndarray, kernel: int, stride: int, padding: int, columns: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.gather`."""
    samples, channels, height, width = images.shape
    work = len(columns) // channels * columns.shape[2]
    window = kernel, stride, padding, height, width, positions(width, kernel, stride, padding)
    over_columns(_gather, (work, samples * channels), (_planes(images), *window, columns))


@compiled
def _gather(planes, kernel, stride, padding, height, width, map_width, columns, first, last):
    channels, map_height = columns.shape[0] // (kernel * kernel), columns.shape[2] // map_width
    for plane in range(first, last):
        pixels, n, c = planes[plane], plane // channels, plane % channels
        for i in range(kernel):
            top, bottom = inside(height, map_height, stride, i - padding)
            for j in range(kernel):
                left, right = inside(width, map_width, stride, j - padding)
                column = columns[(c * kernel + i) * kernel + j, n]
                column[:] = 0
                if right == left:
                    continue
                if stride == 1 and width == map_width and bottom > top:
                    # the map is the image shifted: one long row, of which the ends that ran over are cut
                    place = np.uint64(top * width + left)
                    pixel = np.uint64((top + i - padding) * width + left + j - padding)
                    for x in range(np.uint64((bottom - top - 1) * width + right - left)):
                        column[place + x] = pixels[pixel + x]
                    for y in range(top, bottom):
                        begin = np.uint64(y * width)
                        for x in range(np.uint64(left)):
                            column[begin + x] = 0
                        for x in range(np.uint64(right), np.uint64(width)):
                            column[begin + x] = 0
                    continue
                for y in range(top, bottom):
                    place = np.uint64(y * map_width + left)
                    pixel = np.uint64((y * stride + i - padding) * width + left * stride + j - padding)
                    for x in range(np.uint64(right - left)):
                        column[place + x] = pixels[pixel + x * np.uint64(stride)]


def scatter(columns: np.ndarray, kernel: int, stride: int, padding: int, images: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.scatter`."""
    samples, channels, height, width = images.shape
    work = len(columns) // channels * columns.shape[2]
    window = kernel, stride, padding, height, width, positions(width, kernel, stride, padding)
    over_columns(_scatter, (work, samples * channels), (columns, *window, _planes(images, filled=True)))


@compiled
def _scatter(columns, kernel, stride, padding, height, width, map_width, planes, first, last):
    channels, map_height = columns.shape[0] // (kernel * kernel), columns.shape[2] // map_width
    for plane in range(first, last):
        pixels, n, c = planes[plane], plane // channels, plane % channels
        pixels[:] = 0
        for i in range(kernel):
            top, bottom = inside(height, map_height, stride, i - padding)
            for j in range(kernel):
                left, right = inside(width, map_width, stride, j - padding)
                column = columns[(c * kernel + i) * kernel + j, n]
                for y in range(top, bottom):
                    place = np.uint64(y * map_width + left)
                    pixel = np.uint64((y * stride + i - padding) * width + left * stride + j - padding)
                    for x in range(np.uint64(right - left)):
                        pixels[pixel + x * np.uint64(stride)] += column[place + x]


def max_pool(
    images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray, record: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.windows.max_pool`."""
    samples, channels, map_height, map_width = pooled.shape
    shape = window * window * map_height * map_width, samples * channels
    lowest = pooled.dtype.type(-np.inf)
    sizes = *images.shape[2:], map_height, map_width
    filled = _planes(pooled, filled=True), _planes(record, filled=True)
    over_columns(_max_pool, shape, (_planes(images), window, stride, padding, *sizes, lowest, *filled))


@compiled
def _max_pool(
    planes, window, stride, padding, height, width, map_height, map_width,
    lowest, pooled, record, first, last,
):  # fmt: skip
    for plane in range(first, last):
        pixels, best, which = planes[plane], pooled[plane], record[plane]
        best[:] = lowest
        which[:] = 0
        for i in range(window):
            top, bottom = inside(height, map_height, stride, i - padding)
            for j in range(window):
                left, right = inside(width, map_width, stride, j - padding)
                for y in range(top, bottom):
                    place = np.uint64(y * map_width + left)
                    pixel = np.uint64((y * stride + i - padding) * width + left * stride + j - padding)
                    for x in range(np.uint64(right - left)):
                        value = pixels[pixel + x * np.uint64(stride)]
                        if value > best[place + x]:
                            best[place + x] = value
                            which[place + x] = pixel + x * np.uint64(stride)


def max_pool_adjoint(adjoint: np.ndarray, record: np.ndarray, images: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.max_pool_adjoint`."""
    shape = images.shape[2] * images.shape[3], images.shape[0] * images.shape[1]
    arguments = _planes(adjoint), _planes(record), _planes(images, filled=True)
    over_columns(_max_pool_adjoint, shape, arguments)


@compiled
def _max_pool_adjoint(adjoint, record, planes, first, last):
    for plane in range(first, last):
        pixels, which, arriving = planes[plane], record[plane], adjoint[plane]
        pixels[:] = 0
        for place in range(which.size):
            pixels[which[place]] += arriving[place]


def average_pool(images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray) -> None:
    """See `refsnn.kernels.plain.windows.average_pool`."""
    samples, channels, map_height, map_width = pooled.shape
    shape = window * window * map_height * map_width, samples * channels
    area = pooled.dtype.type(window * window)
    sizes = *images.shape[2:], map_height, map_width
    arguments = _planes(images), window, stride, padding, *sizes, area, _planes(pooled, filled=True)
    over_columns(_average_pool, shape, arguments)


@compiled
def _average_pool(
    planes, window, stride, padding, height, width, map_height, map_width, area, pooled, first, last
):
    for plane in range(first, last):
        pixels, means = planes[plane], pooled[plane]
        means[:] = 0
        for i in range(window):
            top, bottom = inside(height, map_height, stride, i - padding)
            for j in range(window):
                left, right = inside(width, map_width, stride, j - padding)
                for y in range(top, bottom):
                    place = np.uint64(y * map_width + left)
                    pixel = np.uint64((y * stride + i - padding) * width + left * stride + j - padding)
                    for x in range(np.uint64(right - left)):
                        means[place + x] += pixels[pixel + x * np.uint64(stride)]
        for place in range(means.size):
            means[place] /= area


def average_pool_adjoint(
    adjoint: np.ndarray, window: int, stride: int, padding: int, images: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.windows.average_pool_adjoint`."""
    samples, channels, map_height, map_width = adjoint.shape
    shape = window * window * map_height * map_width, samples * channels
    area = images.dtype.type(window * window)
    sizes = *images.shape[2:], map_height, map_width
    arguments = _planes(adjoint), window, stride, padding, *sizes, area, _planes(images, filled=True)
    over_columns(_average_pool_adjoint, shape, arguments)


@compiled
def _average_pool_adjoint(
    adjoint, window, stride, padding, height, width, map_height, map_width, area, planes, first, last
):
    for plane in range(first, last):
        pixels, arriving = planes[plane], adjoint[plane]
        pixels[:] = 0
        for i in range(window):
            top, bottom = inside(height, map_height, stride, i - padding)
            for j in range(window):
                left, right = inside(width, map_width, stride, j - padding)
                for y in range(top, bottom):
                    place = np.uint64(y * map_width + left)
                    pixel = np.uint64((y * stride + i - padding) * width + left * stride + j - padding)
                    for x in range(np.uint64(right - left)):
                        pixels[pixel + x * np.uint64(stride)] += arriving[place + x]
        for pixel in range(pixels.size):
            pixels[pixel] /= area


def _planes(images: np.ndarray, filled: bool = False) -> np.ndarray:
    """(N, C, H, W) as contiguous (N C, H W), a view of what is filled."""
    if filled and not images.flags.c_contiguous:
        raise ValueError("expected an array to fill that is contiguous in memory; make it with numpy.empty")
    return np.ascontiguousarray(images).reshape(images.shape[0] * images.shape[1], -1)
