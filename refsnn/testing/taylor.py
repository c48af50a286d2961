"""Taylor slopes: a check of a gradient that has no tolerance in it.

R(h) = |f(x + h d) - f(x) - h <G, d>| falls with slope 2 (in a double logarithm) if G is the gradient, and
with slope 1, sooner or later, if it is not.  Slopes are taken as far down as rounding lets R be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert
from refsnn.testing.errors import GradientMismatch, VacuousCheck
from refsnn.testing.function import Leaves, ScalarFunction
from refsnn.testing.references import working_precision

_LENGTHS = 0.1 * 0.25 ** np.arange(14)
_HALFWAY = 1.5  # between the slopes of right and wrong
_SEEN = 100.0  # roundings of f that a remainder must be above


def taylor_slopes(
    f: Callable[..., Any],
    df: Any,
    arguments: Any,
    *,
    seed: int = 0,
    directions: int = 3,
    convert: Convert | None = None,
) -> dict[str, np.ndarray]:
    """Slopes of the Taylor remainder along random directions of each leaf, from long steps to short ones.

    Parameters
    ----------
    f, df, arguments
        As in `refsnn.testing.assert_gradients_match`; f may also be an `AffineSpikes`, then `arguments` and
        `convert` are its own.
    seed : int
        Draws the directions.
    directions : int
        How many a leaf: an error that is hardly seen along one of them is seen along another.
    convert : callable, optional
        As there.

    Returns
    -------
    dict of str to ndarray
        Of each leaf, along the direction whose last slope is least; empty where the remainder is rounding
        alone, as for a linear function.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind.
    VacuousCheck
        If f does not change at all along a leaf.

    Examples
    --------
    >>> loss, weight = lambda weight: np.sin(weight).sum(), np.array([0.5, 1.0])
    >>> taylor_slopes(loss, np.cos(weight), weight)["weight"][-1].round(2)
    np.float64(2.0)
    >>> taylor_slopes(loss, 1.01 * np.cos(weight), weight)["weight"][-1].round(2)
    np.float64(1.0)
    """
    function = f if isinstance(f, ScalarFunction) else ScalarFunction(f, arguments, convert)
    rng = np.random.default_rng(checks.count("seed", seed, 0))
    gradients = function.gradients(df)
    leaves, dtype = working_precision(function)
    base = float(np.real(function(leaves)))
    slopes = {}
    for name, value in leaves.items():
        if gradients[name].shape != value.shape:
            raise GradientMismatch(
                f"{name!r}: the gradient has shape {gradients[name].shape}, the argument {value.shape}"
            )
        scale = np.abs(value).max(initial=0.0) or 1.0
        seen = []
        for _ in range(checks.count("directions", directions)):
            direction = rng.standard_normal(value.shape)
            direction *= scale / max(1.0, float(np.linalg.norm(direction)))
            seen.append(_slopes(function, leaves, name, direction, gradients[name], base, dtype))
        slopes[name] = min(seen, key=lambda found: found[-1] if len(found) else np.inf)
    return slopes


def assert_taylor_slope(
    f: Callable[..., Any],
    df: Any,
    arguments: Any,
    *,
    seed: int = 0,
    directions: int = 3,
    convert: Convert | None = None,
) -> None:
    """Assert that the Taylor remainder falls with slope 2 along random directions of each leaf.

    Parameters
    ----------
    f, df, arguments, seed, directions, convert
        As in `taylor_slopes`.

    Raises
    ------
    GradientMismatch
        Naming the leaves whose slope is nearer to 1, and all slopes.
    VacuousCheck
        If f does not change at all along a leaf.
    TypeError, ValueError
        For arguments of wrong kind.

    Examples
    --------
    >>> loss, weight = lambda weight: np.sin(weight).sum(), np.array([0.5, 1.0])
    >>> assert_taylor_slope(loss, np.cos(weight), weight)
    """
    wrong = []
    found = taylor_slopes(f, df, arguments, seed=seed, directions=directions, convert=convert)
    for name, slopes in found.items():
        if len(slopes) and slopes[-1] < _HALFWAY:
            shown = ", ".join(f"{slope:.2f}" for slope in slopes)
            wrong.append(f"  {name!r}: slopes {shown}; 2 at the end says right, 1 says wrong")
    if wrong:
        raise GradientMismatch(
            "\n".join(["the Taylor remainder falls too slowly", *wrong, f"  repeat with seed={seed}"])
        )


def _slopes(
    function: ScalarFunction,
    leaves: Leaves,
    name: str,
    direction: np.ndarray,
    gradient: np.ndarray,
    base: float,
    dtype: np.dtype,
) -> np.ndarray:
    """Along one direction, while the remainder is above rounding."""
    slope = float((gradient.astype(float) * direction).sum())
    # a gradient of another precision is right to its own digits only
    floor = _SEEN * float(np.finfo(dtype).eps)
    blur = 4 * float(np.finfo(gradient.dtype).eps) * float(np.abs(gradient * direction).sum())
    remainders, lengths, largest = [], [], 0.0
    for length in _LENGTHS:
        moved = (leaves[name] + length * direction).astype(leaves[name].dtype)
        value = float(np.real(function({**leaves, name: moved})))
        largest = max(largest, abs(value - base))
        remainder = abs(value - base - length * slope)
        seen = floor * max(abs(base), abs(value), abs(length * slope))
        if remainder <= seen + 10 * length * blur * (gradient.dtype != np.float64):
            break
        remainders.append(remainder)
        lengths.append(length)
    if largest == 0 and slope == 0:
        raise VacuousCheck(f"{name!r}: f does not change along it, so no slope is there to be seen")
    return np.diff(np.log(remainders)) / np.diff(np.log(lengths)) if len(lengths) > 1 else np.empty(0)
