"""Finite differences and Taylor rates: truth about gradients of functions that take no complex numbers.

Rounding and truncation together leave about 1e-8 with the central rule (step 1e-5) and 1e-10 with the
five-point rule (step 1e-3) on functions of order one.  `taylor_slopes` needs no tolerance at all: the
remainder |L(x + h d) - L(x) - h <G, d>| falls with slope 2 if and only if <G, d> is the derivative along d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from refsnn import checks

Arrays = dict[str, np.ndarray]
Function = Callable[[Arrays], float]


def shifted(point: Arrays, direction: Arrays, amount: float) -> Arrays:
    """point + amount * direction, array by array.

    Examples
    --------
    >>> shifted({"w": np.array([1.0])}, {"w": np.array([2.0])}, 0.5)
    {'w': array([2.])}
    """
    return {name: point[name] + amount * direction[name] for name in point}


def directional_derivative(
    function: Function, parameters: Arrays, direction: Arrays, step: float = 1e-3, order: int = 4
) -> float:
    """Derivative of `function` along `direction` by central differences.

    Parameters
    ----------
    function : callable
        From a dict of arrays to a float.
    parameters, direction : dict of ndarray
        Where, and which way; same names and shapes, float64.
    step : float
        h.
    order : {2, 4}
        2 is the central rule, 4 the five-point rule.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For a step or an order out of range, and a direction that does not fit.

    Examples
    --------
    >>> square = lambda p: float((p["w"] ** 2).sum())
    >>> round(directional_derivative(square, {"w": np.ones(3)}, {"w": np.ones(3)}), 9)
    6.0
    """
    step = checks.number("step", step, 0, low_open=True)
    if order not in (2, 4):
        raise ValueError(f"order: expected 2 or 4, got {order!r}")
    _check_fit("direction", parameters, direction)

    def difference(reach: float) -> float:
        ahead = function(shifted(parameters, direction, reach))
        return (ahead - function(shifted(parameters, direction, -reach))) / (2 * reach)

    return difference(step) if order == 2 else (4 * difference(step) - difference(2 * step)) / 3


def central_gradient(function: Function, parameters: Arrays, step: float = 1e-5) -> Arrays:
    """Gradient by central differences, entry by entry; error of order h^2.

    Parameters
    ----------
    function : callable
        From a dict of arrays to a float.
    parameters : dict of ndarray
        Where; float64.
    step : float
        h.

    Returns
    -------
    dict of ndarray

    Raises
    ------
    TypeError, ValueError
        For a step that is not positive.

    Examples
    --------
    >>> gradient = central_gradient(lambda p: float((p["w"] ** 2).sum()), {"w": np.array([1.0, 2.0])})
    >>> gradient["w"].round(6)
    array([2., 4.])
    """
    return _by_entries(function, parameters, step, order=2)


def five_point_gradient(function: Function, parameters: Arrays, step: float = 1e-3) -> Arrays:
    """Gradient by the five-point rule, entry by entry; error of order h^4.

    Parameters
    ----------
    function : callable
        From a dict of arrays to a float.
    parameters : dict of ndarray
        Where; float64.
    step : float
        h.

    Returns
    -------
    dict of ndarray

    Raises
    ------
    TypeError, ValueError
        For a step that is not positive.

    Examples
    --------
    >>> gradient = five_point_gradient(lambda p: float((p["w"] ** 4).sum()), {"w": np.array([1.0, 2.0])})
    >>> gradient["w"].round(9)
    array([ 4., 32.])
    """
    return _by_entries(function, parameters, step, order=4)


def _by_entries(function: Function, parameters: Arrays, step: float, order: int) -> Arrays:
    gradient = {}
    for name, array in parameters.items():
        gradient[name] = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            direction = {key: np.zeros(value.shape) for key, value in parameters.items()}
            direction[name][index] = 1.0
            gradient[name][index] = directional_derivative(function, parameters, direction, step, order)
    return gradient


def taylor_slopes(
    function: Function,
    parameters: Arrays,
    gradient: Arrays,
    direction: Arrays,
    steps: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4),
) -> np.ndarray:
    """Slopes of log R(h) between neighbouring steps, R(h) = |L(x + h d) - L(x) - h <G, d>|.

    Parameters
    ----------
    function : callable
        L, from a dict of arrays to a float.
    parameters : dict of ndarray
        x.
    gradient : dict of ndarray
        G, what is on trial.
    direction : dict of ndarray
        d.
    steps : sequence of float
        Decreasing h; at least two.

    Returns
    -------
    ndarray, shape (len(steps) - 1,)
        Near 2 where <G, d> is the derivative along d (more, if the curvature along d vanishes), near 1 where
        it is not.  Errors of G across d do not show: take several directions, or one for each array.
        A remainder of exactly 0 counts as the smallest positive number.

    Raises
    ------
    ValueError
        If the steps do not decrease, or a dict does not fit.

    Examples
    --------
    >>> square = lambda p: float((p["w"] ** 2).sum())
    >>> point, direction = {"w": np.array([1.0, 2.0])}, {"w": np.array([1.0, 1.0])}
    >>> taylor_slopes(square, point, {"w": np.array([2.0, 4.0])}, direction).round(3)
    array([2., 2., 2.])
    >>> taylor_slopes(square, point, {"w": np.array([2.0, 4.4])}, direction).round(1)[-1]
    np.float64(1.0)
    """
    lengths = np.asarray(steps, float)
    if lengths.ndim != 1 or len(lengths) < 2 or (lengths <= 0).any() or (np.diff(lengths) >= 0).any():
        raise ValueError(f"steps: expected at least two decreasing positive numbers, got {steps!r}")
    _check_fit("gradient", parameters, gradient)
    _check_fit("direction", parameters, direction)
    base = function(parameters)
    slope = sum(float((gradient[name] * direction[name]).sum()) for name in parameters)
    remainders = np.array(
        [abs(function(shifted(parameters, direction, h)) - base - h * slope) for h in lengths]
    )
    remainders = np.maximum(remainders, np.finfo(float).tiny)
    return np.diff(np.log(remainders)) / np.diff(np.log(lengths))


def _check_fit(name: str, parameters: Arrays, other: Arrays) -> None:
    expected = {key: np.shape(value) for key, value in parameters.items()}
    came = {key: np.shape(value) for key, value in other.items()}
    if expected != came:
        raise ValueError(f"{name}: expected the shapes {expected}, got {came}")
