"""How far a gradient is from a yardstick, leaf by leaf; peak memory; time."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters

T = TypeVar("T")


def cosine_and_error(
    gradient: np.ndarray, yardstick: np.ndarray, nothing: float = 0.0
) -> tuple[float | None, float | None]:
    """Cosine <a, b> / (|a| |b|) of two arrays, and relative error |a - b| / |b|.

    Parameters
    ----------
    gradient, yardstick : ndarray
        a and b, of one shape.
    nothing : float
        Norms up to this count as 0: what rounding leaves of a gradient that is 0.

    Returns
    -------
    cosine, error : float or None
        No cosine where either is 0; no error where both are, and an infinite one where only b is.

    Examples
    --------
    >>> cosine_and_error(np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    (1.0, 1.0)
    >>> cosine_and_error(np.array([2.0]), np.array([0.0])), cosine_and_error(np.zeros(1), np.zeros(1))
    ((None, inf), (None, None))
    """
    # in float64, and scaled, so that squares of small float32 numbers do not vanish
    a, b = (np.asarray(value, np.float64).reshape(-1) for value in (gradient, yardstick))
    length_a, length_b = norm(a), norm(b)
    if length_b <= nothing:
        return None, None if length_a <= nothing else float("inf")
    error = norm(a - b) / length_b
    if length_a <= nothing:
        return None, error
    return float(np.clip((a / length_a) @ (b / length_b), -1, 1)), error


def norm(value: np.ndarray) -> float:
    """Euclidean norm of all entries, in float64.

    Examples
    --------
    >>> norm(np.array([[3.0], [4.0]]))
    5.0
    """
    return float(np.linalg.norm(np.asarray(value, np.float64)))


def rounding(gradients: Parameters) -> float:
    """The norm up to which a leaf is 0 but for rounding: 100 units of the largest leaf's last digit.

    A bias in front of a batch normalisation has such a gradient.

    Parameters
    ----------
    gradients : dict of str to ndarray
        Of the yardstick.

    Returns
    -------
    float

    Examples
    --------
    >>> rounding({"weight": np.ones(1)}) < 1e-13
    True
    """
    eps = max(float(np.finfo(value.dtype).eps) for value in gradients.values())
    return 100 * eps * max(norm(value) for value in gradients.values())


def peak_memory(call: Callable[[], T]) -> tuple[T, int]:
    """What a call returns, and how many bytes it held at most above those in use at its start.

    Counted is what Python and NumPy allocate, by `tracemalloc`: arrays, results, and the objects around
    them.  Not counted are what was there before (network, parameters, inputs), work space inside BLAS and
    compiled code, and memory of a device.  Call once before, so that compilation is not counted.

    Parameters
    ----------
    call : callable
        Without arguments.

    Returns
    -------
    result
        Of the call.
    peak : int
        Bytes.

    Examples
    --------
    >>> _, peak = peak_memory(lambda: np.zeros(10**6).sum())
    >>> 8_000_000 <= peak < 8_100_000
    True
    """
    traced_before = tracemalloc.is_tracing()
    if traced_before:
        gc.collect()  # what is freed of it during the call would hide as much of the call's own
    else:
        tracemalloc.start()  # garbage of before is not known to it
    try:
        tracemalloc.reset_peak()
        start, _ = tracemalloc.get_traced_memory()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not traced_before:
            tracemalloc.stop()
    return result, peak - start


def best_time(call: Callable[[], Any], repeat: int) -> float:
    """Seconds of the fastest of so many calls: the one that was disturbed least.

    Parameters
    ----------
    call : callable
        Without arguments; called once before, if it compiles anything.
    repeat : int
        Number of calls.

    Returns
    -------
    float

    Examples
    --------
    >>> best_time(lambda: None, 3) >= 0
    True
    """
    seconds = []
    for _ in range(checks.count("repeat", repeat)):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
