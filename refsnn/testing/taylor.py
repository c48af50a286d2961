"""Taylor slopes: a check of a gradient whose verdict is a slope, 2 or 1, and not a difference.

R(h) = |f(x + h d) - f(x) - h <G, d>| falls with slope 2 (in a double logarithm) if G is the gradient, and
with slope 1, sooner or later, if it is not.  Slopes are taken as far down as rounding lets R be seen; where
rounding would hide an error of 1 % of the derivative (5 % in single precision), nothing is said but that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
_HIDDEN = {8: 0.01, 4: 0.05}  # the share of a derivative that rounding may hide, by itemsize


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
    return {name: found[0] for name, found in _measured(f, df, arguments, seed, directions, convert).items()}


def _measured(
    f: Any, df: Any, arguments: Any, seed: int, directions: int, convert: Convert | None
) -> dict[str, tuple[np.ndarray, float]]:
    """Slopes of each leaf, and what rounding hides of its derivative, in units of what it may."""
    function = f if isinstance(f, ScalarFunction) else ScalarFunction(f, arguments, convert)
    rng = np.random.default_rng(checks.count("seed", seed, 0))
    leaves, dtype = working_precision(function)
    base = function(leaves)
    function.refuse_moods(leaves, base, "in two calls", VacuousCheck)
    rays: dict[str, list[_Ray]] = {}  # all of f before the gradient, which could change what f uses
    for name, value in leaves.items():
        scale = np.abs(value).max(initial=0.0) or 1.0
        rays[name] = []
        for _ in range(checks.count("directions", directions)):
            direction = rng.standard_normal(value.shape)
            direction *= scale / max(1.0, float(np.linalg.norm(direction)))
            rays[name].append(_Ray(direction, _along(function, leaves, name, direction)))
    gradients = function.same_gradients(df)
    found = {}
    for name, value in leaves.items():
        gradient = gradients[name]
        if gradient.shape != value.shape:
            raise GradientMismatch(
                f"{name!r}: the gradient has shape {gradient.shape}, the argument {value.shape}"
            )
        if gradient.dtype.kind != "f" or not np.isfinite(gradient).all():
            raise GradientMismatch(f"{name!r}: expected finite real floating-point numbers, got {gradient}")
        seen = [_slopes(ray, gradient, float(np.real(base)), dtype) for ray in rays[name]]
        if all(np.isinf(hidden) for _, hidden in seen):
            raise VacuousCheck(f"{name!r}: f does not change along it, so no slope is there to be seen")
        worst = min((slopes for slopes, _ in seen), key=lambda slopes: slopes[-1] if len(slopes) else np.inf)
        most = _HIDDEN[4 if min(dtype.itemsize, gradient.dtype.itemsize) <= 4 else 8]
        found[name] = worst, min(hidden for _, hidden in seen) / most
    return found


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
        Naming the leaves whose slope is nearer to 1, and all slopes; for a gradient that is not finite, or
        another one when it is asked for again.
    VacuousCheck
        If f does not change at all along a leaf, or so little that rounding would hide an error of 1 %, or of
        5 % in single precision.
    TypeError, ValueError
        For arguments of wrong kind.

    Examples
    --------
    >>> loss, weight = lambda weight: np.sin(weight).sum(), np.array([0.5, 1.0])
    >>> assert_taylor_slope(loss, np.cos(weight), weight)
    """
    wrong, drowned = [], []
    for name, (slopes, hidden) in _measured(f, df, arguments, seed, directions, convert).items():
        if hidden > 1:
            drowned.append(f"  {name!r}: rounding of f hides {hidden:.1f} times what it may")
        if len(slopes) and not slopes[-1] >= _HALFWAY:
            shown = ", ".join(f"{slope:.2f}" for slope in slopes)
            wrong.append(f"  {name!r}: slopes {shown}; 2 at the end says right, 1 says wrong")
    if wrong:
        raise GradientMismatch(
            "\n".join(["the Taylor remainder falls too slowly", *wrong, f"  repeat with seed={seed}"])
        )
    if drowned:
        advice = "take a smaller loss (without its offset), longer steps of larger arguments, or float64"
        raise VacuousCheck("\n".join([f"slopes would say nothing; {advice}", *drowned]))


@dataclass(frozen=True)
class _Ray:
    """A direction, and f along it at the lengths of `_LENGTHS`."""

    direction: np.ndarray
    values: np.ndarray


def _along(function: ScalarFunction, leaves: Leaves, name: str, direction: np.ndarray) -> np.ndarray:
    found = []
    for length in _LENGTHS:
        moved = (leaves[name] + length * direction).astype(leaves[name].dtype)
        found.append(float(np.real(function({**leaves, name: moved}))))
    if not np.isfinite(found).all():
        raise VacuousCheck(f"{name!r}: f is not finite near its arguments")
    return np.array(found)


def _slopes(ray: _Ray, gradient: np.ndarray, base: float, dtype: np.dtype) -> tuple[np.ndarray, float]:
    """Along one direction, while the remainder is above rounding; and what share of the slope that hides."""
    slope = float((gradient.astype(float) * ray.direction).sum())
    # a gradient of another precision is right to its own digits only
    floor = _SEEN * float(np.finfo(dtype).eps)
    blur = 4 * float(np.finfo(gradient.dtype).eps) * float(np.abs(gradient * ray.direction).sum())
    remainders, lengths, hidden = [], [], 0.0
    for length, value in zip(_LENGTHS, ray.values, strict=True):
        remainder = abs(value - base - length * slope)
        seen = floor * max(abs(base), abs(value), abs(length * slope))
        seen += 10 * length * blur * (gradient.dtype != np.float64)
        if remainder <= seen:
            change = max(abs(value - base), abs(length * slope))
            hidden = seen / change if change else np.inf
            break
        remainders.append(remainder)
        lengths.append(length)
    if len(lengths) < 2:
        return np.empty(0), hidden
    return np.diff(np.log(remainders)) / np.diff(np.log(lengths)), hidden
