"""What operators on images (C, H, W) share: their shapes, and which backend takes an array."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from refsnn.kernels import window_kernels
from refsnn.kernels.sliding import positions
from refsnn.models.operators.operator import Shape


def image_shape(name: str, what: str, shape: Shape) -> tuple[int, int, int]:
    """(C, H, W), of inputs that are images.

    Parameters
    ----------
    name : str
        A hyper-parameter of the operator, for the message.
    what : str
        The operator.
    shape : tuple of int
        Of one input.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        For inputs of any other number of dimensions.

    Examples
    --------
    >>> image_shape("kernel", "a convolution", (3, 8, 8))
    (3, 8, 8)
    """
    if len(shape) != 3:
        raise ValueError(
            f"{name}: expected images (C, H, W) under {what}, got {shape}; put it before what flattens them"
        )
    channels, height, width = shape
    return channels, height, width


def window_places(
    name: str, shape: tuple[int, int, int], window: int, stride: int, padding: int
) -> tuple[int, int]:
    """H' and W': at how many places a window stands.

    Parameters
    ----------
    name : str
        What the window's size is called, for the message.
    shape : (C, H, W)
        Of one image.
    window, stride, padding : int
        Pixels.

    Returns
    -------
    int, int

    Raises
    ------
    ValueError
        If the window is larger than the padded image.

    Examples
    --------
    >>> window_places("kernel", (3, 8, 9), window=3, stride=2, padding=1)
    (4, 5)
    """
    places = tuple(positions(side, window, stride, padding) for side in shape[1:])
    if min(places) < 1:
        padded = tuple(side + 2 * padding for side in shape[1:])
        raise ValueError(
            f"{name}: expected at most the padded image {padded}, got {window}; "
            "take a smaller one, more padding or larger images"
        )
    return places[0], places[1]


def kernels_for(backend: str, images: np.ndarray) -> ModuleType:
    """The window kernels that take these images: complex ones are NumPy's.

    Parameters
    ----------
    backend : {"plain", "cpu", "cuda"}
        What was asked for.
    images : ndarray
        Real or complex.

    Returns
    -------
    module

    Examples
    --------
    >>> kernels_for("cpu", np.zeros((1, 1, 2, 2), complex)).__name__
    'refsnn.kernels.plain.windows'
    """
    return window_kernels("plain" if np.iscomplexobj(images) else backend)
