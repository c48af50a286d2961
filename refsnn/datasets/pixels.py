"""Images as sequences, one pixel a step: row by row, or in one order that was drawn for all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.encoding import analog_pixels


def pixel_sequences(images: Any, order: Any = None) -> np.ndarray:
    """Images pixel by pixel.

    Parameters
    ----------
    images : array_like of float, (N, pixels)
        Grey levels from 0 to 1, rows of an image after one another.
    order : array_like of int, (pixels,), optional
        Which pixel each step shows: a permutation, the same for all images; as they are by default.

    Returns
    -------
    ndarray, (pixels, N, 1)
        In the images' dtype.

    Raises
    ------
    TypeError, ValueError
        For images of another kind or range, and an order that is no permutation of their pixels.

    Examples
    --------
    >>> pixel_sequences([[0.25, 1.0, 0.5]], order=[2, 0, 1])[:, 0, 0]
    array([0.5 , 0.25, 1.  ])
    """
    sequences = analog_pixels(images)
    if order is None:
        return sequences
    places, pixels = checks.as_numpy("order", order), len(sequences)
    if places.dtype.kind not in "iu":
        raise TypeError(f"order: expected integers, got {places.dtype}")
    if places.shape != (pixels,) or not np.array_equal(np.sort(places), np.arange(pixels)):
        raise ValueError(
            f"order: expected a permutation of 0 .. {pixels - 1}, one place for each pixel, got shape "
            f"{places.shape}; draw one with rng.permutation({pixels})"
        )
    return np.ascontiguousarray(sequences[places])


def mean_pooled(images: Any, factor: int) -> np.ndarray:
    """Square images made smaller: means over squares of `factor` by `factor` pixels.

    Parameters
    ----------
    images : array_like of float, (N, side^2)
        Rows of an image after one another.
    factor : int
        Divides the side.

    Returns
    -------
    ndarray, (N, (side / factor)^2)
        In the images' dtype.

    Raises
    ------
    TypeError, ValueError
        For images that are no floats or not square, and a factor that is no count or does not divide the
        side.

    Examples
    --------
    >>> mean_pooled([[0.0, 1.0, 1.0, 0.0]], factor=2)
    array([[0.5]])
    """
    factor, grey = checks.count("factor", factor), checks.float_array("images", images, ("N", "pixels"))
    side = math.isqrt(grey.shape[1])
    if side * side != grey.shape[1]:
        raise ValueError(f"images: expected square images, got {grey.shape[1]} pixels")
    if side % factor:
        raise ValueError(f"factor: expected a divisor of the side, {side} pixels, got {factor}")
    small = side // factor
    return grey.reshape(-1, small, factor, small, factor).mean(axis=(2, 4)).reshape(len(grey), -1)
