"""Random crops and flips of a batch of images: new arrays, every draw from the Generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks


def random_crop(images: Any, rng: np.random.Generator, padding: int = 4) -> np.ndarray:
    """Return each image shifted by up to `padding` pixels a way, zeros where it was moved away.

    That is: padded with zeros on all four sides, then cut at a uniformly drawn place to its own size.  Do it
    before `standardise`, so that the zeros are black.

    Parameters
    ----------
    images : array_like of float or uint8, shape (N, C, H, W)
        The batch; it stays as it is.
    rng : numpy.random.Generator
        Draws a row and a column for each image.
    padding : int
        Pixels added on each side, from 0.

    Returns
    -------
    ndarray
        Shape and dtype of the images.

    Raises
    ------
    TypeError, ValueError
        For something else than images, a Generator and a count.

    Examples
    --------
    >>> random_crop([[[[1.0, 2.0], [3.0, 4.0]]]], np.random.default_rng(0), padding=1)
    array([[[[3., 4.],
             [0., 0.]]]])
    """
    array = image_batch("images", images)
    rng = checks.generator("rng", rng)
    padding = checks.count("padding", padding, minimum=0)
    batch, _, height, width = array.shape
    padded = np.pad(array, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    corners = rng.integers(0, 2 * padding, (batch, 2), endpoint=True)
    cropped = np.empty_like(array)
    for image, (row, column) in enumerate(corners):
        cropped[image] = padded[image, :, row : row + height, column : column + width]
    return cropped


def random_flip(images: Any, rng: np.random.Generator, probability: float = 0.5) -> np.ndarray:
    """Return the images, each mirrored left to right with the given probability.

    Parameters
    ----------
    images : array_like of float or uint8, shape (N, C, H, W)
        The batch; it stays as it is.
    rng : numpy.random.Generator
        Draws for each image.
    probability : float
        In [0, 1].

    Returns
    -------
    ndarray
        Shape and dtype of the images.

    Raises
    ------
    TypeError, ValueError
        For something else than images, a Generator and a probability.

    Examples
    --------
    >>> random_flip(np.array([[[[1.0, 2.0]]]]), np.random.default_rng(0), probability=1)
    array([[[[2., 1.]]]])
    """
    array = image_batch("images", images)
    rng = checks.generator("rng", rng)
    probability = checks.number("probability", probability, 0, 1)
    chosen = rng.random(len(array)) < probability
    flipped = array.copy()
    flipped[chosen] = array[chosen, ..., ::-1]
    return flipped


def image_batch(name: str, value: Any) -> np.ndarray:
    """Return `value` as an array (N, C, H, W) of float64, float32 or uint8.

    Raises
    ------
    TypeError
        For another dtype.
    ValueError
        For another shape, no image, NaN or infinity.

    Examples
    --------
    >>> image_batch("images", np.zeros((2, 3, 32, 32), np.uint8)).shape
    (2, 3, 32, 32)
    """
    array = np.asarray(value)
    if array.dtype != np.uint8:
        return checks.float_array(name, array, ("N", "C", "H", "W"))
    if array.ndim != 4 or not array.size:
        raise ValueError(
            f"{name}: expected shape (N, C, H, W) with at least one pixel, got {array.shape}; "
            "one image alone needs a leading axis: image[None]"
        )
    return array
