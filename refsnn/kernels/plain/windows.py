"""Windows that slide over images, in NumPy: patches for a convolution, pooling, and their adjoints.

Images are (N, C, H, W), real or complex, and each function fills the array that its docstring names, of the
dtype of the array that it reads.  A window of k x k pixels stands at P = H' W' places, `stride` apart, on the
image with `padding` pixels around it; H' and W' are `positions(H, k, stride, padding)` and of W.  Sums run
over the k k pixels of a window in row-major order, whatever the backend: twins give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refsnn.kernels.sliding import inside, positions


def gather(images: np.ndarray, kernel: int, stride: int, padding: int, columns: np.ndarray) -> None:
    """The patches of the images, one a column, with the samples side by side: one matrix for one product.

    Parameters
    ----------
    images : ndarray, (N, C, H, W)
        Zero outside its frame.
    kernel, stride, padding : int
        k, and where patches stand.
    columns : ndarray, (C k k, N, P)
        Filled; rows in the order of a flattened kernel, places in the order of a flattened map.
    """
    channels, (height, width) = images.shape[1], _places(images, kernel, stride, padding)
    columns[...] = 0
    for index, rows, pixel_rows, cols, pixel_cols in _shifts(images, kernel, stride, padding):
        patch = columns[index :: kernel * kernel].reshape(channels, len(images), height, width)
        patch[:, :, rows, cols] = images[:, :, pixel_rows, pixel_cols].swapaxes(0, 1)
        columns[index :: kernel * kernel] = patch.reshape(channels, len(images), -1)


def scatter(columns: np.ndarray, kernel: int, stride: int, padding: int, images: np.ndarray) -> None:
    """The adjoint of `gather`: each pixel sums its entries of all patches.

    Parameters
    ----------
    columns : ndarray, (C k k, N, P)
        One patch a column.
    kernel, stride, padding : int
        As in `gather`.
    images : ndarray, (N, C, H, W)
        Filled.
    """
    channels, (height, width) = images.shape[1], _places(images, kernel, stride, padding)
    images[...] = 0
    for index, rows, pixel_rows, cols, pixel_cols in _shifts(images, kernel, stride, padding):
        patch = columns[index :: kernel * kernel].reshape(channels, len(images), height, width)
        images[:, :, pixel_rows, pixel_cols] += patch[:, :, rows, cols].swapaxes(0, 1)


def max_pool(
    images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray, record: np.ndarray
) -> None:
    """The largest pixel of each window, and which one it was.

    Parameters
    ----------
    images : ndarray, (N, C, H, W)
        Real and finite; minus infinity outside its frame.
    window, stride, padding : int
        Where windows stand; padding < window, so that each meets the image.
    pooled : ndarray, (N, C, H', W')
        Filled.
    record : ndarray of int, (N, C, H', W')
        Filled with the index in H W of the first maximum in row-major order of the window.
    """
    places = np.arange(images.shape[2] * images.shape[3]).reshape(images.shape[2:])
    pooled[...], record[...] = -np.inf, 0
    for _, rows, pixel_rows, cols, pixel_cols in _shifts(images, window, stride, padding):
        best, which = pooled[:, :, rows, cols], record[:, :, rows, cols]
        pixels = images[:, :, pixel_rows, pixel_cols]
        larger = pixels > best
        np.copyto(which, places[pixel_rows, pixel_cols], where=larger)
        np.copyto(best, pixels, where=larger)


def max_pool_adjoint(adjoint: np.ndarray, record: np.ndarray, images: np.ndarray) -> None:
    """The adjoint of `max_pool` at its record: what arrives goes to the pixels that were taken.

    Parameters
    ----------
    adjoint : ndarray, (N, C, H', W')
        What arrives.
    record : ndarray of int, (N, C, H', W')
        Of `max_pool`.
    images : ndarray, (N, C, H, W)
        Filled.
    """
    samples, channels, height, width = images.shape
    images[...] = 0
    planes = np.arange(samples * channels).reshape(samples, channels, 1, 1)
    taken = planes * height * width + record
    flat = np.zeros(images.size, images.dtype)
    np.add.at(flat, taken.ravel(), adjoint.ravel())
    images[...] = flat.reshape(images.shape)


def average_pool(images: np.ndarray, window: int, stride: int, padding: int, pooled: np.ndarray) -> None:
    """The mean of each window, of which the padding is a part: always divided by window^2.

    Parameters
    ----------
    images : ndarray, (N, C, H, W)
        Zero outside its frame.
    window, stride, padding : int
        Where windows stand.
    pooled : ndarray, (N, C, H', W')
        Filled.
    """
    pooled[...] = 0
    for _, rows, pixel_rows, cols, pixel_cols in _shifts(images, window, stride, padding):
        pooled[:, :, rows, cols] += images[:, :, pixel_rows, pixel_cols]
    pooled /= pooled.real.dtype.type(window * window)


def average_pool_adjoint(
    adjoint: np.ndarray, window: int, stride: int, padding: int, images: np.ndarray
) -> None:
    """The adjoint of `average_pool`: each pixel gets 1 / window^2 of what its windows got.

    Parameters
    ----------
    adjoint : ndarray, (N, C, H', W')
        What arrives.
    window, stride, padding : int
        As in `average_pool`.
    images : ndarray, (N, C, H, W)
        Filled.
    """
    images[...] = 0
    for _, rows, pixel_rows, cols, pixel_cols in _shifts(images, window, stride, padding):
        images[:, :, pixel_rows, pixel_cols] += adjoint[:, :, rows, cols]
    images /= images.real.dtype.type(window * window)


def _places(images: np.ndarray, window: int, stride: int, padding: int) -> tuple[int, int]:
    """H' and W'."""
    height, width = images.shape[2:]
    return positions(height, window, stride, padding), positions(width, window, stride, padding)


def _shifts(
    images: np.ndarray, window: int, stride: int, padding: int
) -> Iterator[tuple[int, slice, slice, slice, slice]]:
    """For each pixel of the window: its index, and at which places it is which rows and columns of pixels."""
    sides = list(zip(images.shape[2:], _places(images, window, stride, padding), strict=True))
    for index in range(window * window):
        slices: list[slice] = []
        for (side, places), shift in zip(sides, divmod(index, window), strict=True):
            offset = shift - padding
            first, last = inside(side, places, stride, offset)
            begin = first * stride + offset
            slices += [slice(first, last), slice(begin, begin + (last - first) * stride, stride)]
        rows, pixel_rows, columns, pixel_columns = slices
        yield index, rows, pixel_rows, columns, pixel_columns
