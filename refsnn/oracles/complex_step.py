"""Complex step: the derivative of an analytic function to working precision, with no tolerance to choose.

f(x + i h) = f(x) + i h f'(x) + O(h^2), so Im f(x + i h) / h has no subtraction in it and h = 1e-30 leaves
no truncation error.  The function must be written without conjugates, absolute values and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks


def complex_step_derivative(function: Callable[[complex], Any], point: float, step: float = 1e-30) -> Any:
    """Derivative of an analytic function of one number.

    Parameters
    ----------
    function : callable
        From a complex number to a complex number or array.
    point : float
        Where.
    step : float
        h.

    Returns
    -------
    float or ndarray
        f'(point), shaped like the function's value.

    Raises
    ------
    TypeError
        If the function returned real numbers, so that the imaginary part was lost on the way.

    Examples
    --------
    >>> complex_step_derivative(lambda z: z * z, 3.0)
    6.0
    """
    point, step = checks.number("point", point), checks.number("step", step, 0, low_open=True)
    return _imaginary(function(complex(point, step))) / step


def complex_step_gradient(
    function: Callable[[dict[str, np.ndarray]], Any], parameters: dict[str, np.ndarray], step: float = 1e-30
) -> dict[str, np.ndarray]:
    """Gradient of an analytic scalar function of a dict of arrays, entry by entry.

    Parameters
    ----------
    function : callable
        From a dict like `parameters`, one of its arrays complex, to a complex number.
    parameters : dict of ndarray
        Where; float64.
    step : float
        h.

    Returns
    -------
    dict of ndarray
        One array a parameter, float64.

    Raises
    ------
    TypeError
        If the function returned a real number, or a parameter is not real.

    Examples
    --------
    >>> complex_step_gradient(lambda p: (p["w"] ** 2).sum(), {"w": np.array([1.0, 2.0])})
    {'w': array([2., 4.])}
    """
    step = checks.number("step", step, 0, low_open=True)
    gradient = {}
    for name, array in parameters.items():
        array = checks.float_array(f"parameters[{name!r}]", array)
        gradient[name] = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * step
            gradient[name][index] = _imaginary(function({**parameters, name: moved})) / step
    return gradient


def _imaginary(value: Any) -> Any:
    if not np.iscomplexobj(value):
        raise TypeError(
            f"function: expected complex values, got {type(value).__name__}; "
            "the imaginary part was lost on the way (abs, real, a comparison or a cast)"
        )
    return value.imag
