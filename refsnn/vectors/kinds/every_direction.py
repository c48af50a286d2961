"""Gradients of a transcription by complex step, all entries of all arrays in one run.

The transcription is run with an axis in front of every array, one entry of it for each number that the loss
is derived by; that number alone has an imaginary step there.  What the gradient must not see is cut by taking
the real part, which is how a transcription detaches, and makes the mistakes that are detachments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves

_STEP = 1e-30
_AT_ONCE = 512


def derivatives(function: Callable[[Leaves], Any], point: Leaves, names: Iterable[str]) -> Leaves:
    """Gradient of an analytic scalar function of several arrays.

    Parameters
    ----------
    function : callable
        From a dict like `point`, in which the arrays of `names` have an axis in front, to complex numbers
        (directions,).
    point : dict of str to ndarray
        Where.
    names : iterable of str
        The arrays to derive by.

    Returns
    -------
    dict of str to ndarray
        One array a name, of its shape.

    Raises
    ------
    TypeError
        If the function returned real numbers.

    Examples
    --------
    >>> derivatives(lambda p: (p["w"] ** 2).sum(axis=-1), {"w": np.array([1.0, 2.0])}, ["w"])
    {'w': array([2., 4.])}
    """
    names = list(names)
    sizes = [point[name].size for name in names]
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    gradient = np.empty(total)
    for first in range(0, total, _AT_ONCE):
        chunk = np.arange(first, min(first + _AT_ONCE, total))
        moved = dict(point)
        for name, size, end in zip(names, sizes, ends, strict=True):
            array = np.zeros((len(chunk), size), complex)
            array += point[name].reshape(-1)
            own = np.flatnonzero((chunk >= end - size) & (chunk < end))
            array[own, chunk[own] - (end - size)] += 1j * _STEP
            moved[name] = array.reshape(len(chunk), *point[name].shape)
        value = function(moved)
        if not np.iscomplexobj(value):
            raise TypeError("function: expected complex numbers, got real ones; the step was lost on the way")
        gradient[chunk] = np.broadcast_to(value, chunk.shape).imag / _STEP
    parts = np.split(gradient, ends[:-1])
    return {name: part.reshape(point[name].shape) for name, part in zip(names, parts, strict=True)}


def detached(value: Any) -> Any:
    """The value without what the gradient sees of it.

    Parameters
    ----------
    value : ndarray
        Of a transcription.

    Returns
    -------
    ndarray
        Its real part.

    Examples
    --------
    >>> detached(np.array([1.0 + 1e-30j]))
    array([1.])
    """
    return np.real(value)


def with_slope(value: Any, argument: Any, slope: Any) -> Any:
    """A function's value whose derivative is another: how a wrong derivative is made.

    Parameters
    ----------
    value : ndarray
        f(a).
    argument : ndarray
        a, with what the gradient sees.
    slope : ndarray
        What is taken for f'(a).

    Returns
    -------
    ndarray

    Examples
    --------
    >>> derivatives(lambda p: with_slope(p["a"][:, 0] ** 2, p["a"][:, 0], 3.0), {"a": np.array([1.0])}, ["a"])
    {'a': array([3.])}
    """
    return np.real(value) + 1j * np.real(slope) * np.imag(argument)
