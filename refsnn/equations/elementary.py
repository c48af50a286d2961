"""The few functions that NumPy, compiled loops and CUDA kernels spell differently.

Each is called by one name everywhere; `overload` tells Numba what stands for it in compiled code.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from refsnn.equations import vectorised

# Scalars or arrays, real or complex: an equation does not care.
Value = Any


def exp(x: Value) -> Value:
    """Exponential of `x`.

    Examples
    --------
    >>> float(exp(0.0))
    1.0
    """
    return np.exp(x)


overload(exp)(lambda x: (lambda x: cmath.exp(x)) if isinstance(x, types.Complex) else (lambda x: math.exp(x)))
overload(exp, target="cpu")(lambda x: vectorised.exponential(x) if x in vectorised.FORMATS else None)


def arctan(x: Value) -> Value:
    """Inverse tangent of `x`, in radians.

    Examples
    --------
    >>> float(arctan(0.0))
    0.0
    """
    return np.arctan(x)


overload(arctan)(lambda x: lambda x: math.atan(x))


def square_root(x: Value) -> Value:
    """Square root of `x`.

    Examples
    --------
    >>> float(square_root(4.0))
    2.0
    """
    return np.sqrt(x)


overload(square_root)(lambda x: lambda x: math.sqrt(x))


def sine(x: Value) -> Value:
    """Sine of `x`, in radians.

    Examples
    --------
    >>> float(sine(0.0))
    0.0
    """
    return np.sin(x)


overload(sine)(lambda x: lambda x: math.sin(x))


def cosine(x: Value) -> Value:
    """Cosine of `x`, in radians.

    Examples
    --------
    >>> float(cosine(0.0))
    1.0
    """
    return np.cos(x)


overload(cosine)(lambda x: lambda x: math.cos(x))


def hyperbolic_sine(x: Value) -> Value:
    """sinh of `x`.

    Examples
    --------
    >>> float(hyperbolic_sine(0.0))
    0.0
    """
    return np.sinh(x)


overload(hyperbolic_sine)(lambda x: lambda x: math.sinh(x))


def hyperbolic_cosine(x: Value) -> Value:
    """cosh of `x`.

    Examples
    --------
    >>> float(hyperbolic_cosine(0.0))
    1.0
    """
    return np.cosh(x)


overload(hyperbolic_cosine)(lambda x: lambda x: math.cosh(x))


def inverse_hyperbolic_sine(x: Value) -> Value:
    """arsinh of `x`.

    Examples
    --------
    >>> float(inverse_hyperbolic_sine(0.0))
    0.0
    """
    return np.arcsinh(x)


overload(inverse_hyperbolic_sine)(lambda x: lambda x: math.asinh(x))


def angle_of(y: Value, x: Value) -> Value:
    """Angle of the point (x, y) in radians, in (-pi, pi]; complex numbers to first order in a complex step.

    Examples
    --------
    >>> float(angle_of(1.0, 0.0)) == math.pi / 2
    True
    >>> float(angle_of(1.0 + 1e-30j, 1.0).imag)
    5e-31
    """
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        angle = np.arctan2(np.real(y), np.real(x))
        return angle + 1j * (np.imag(y) * np.real(x) - np.imag(x) * np.real(y)) / (
            np.real(x) * np.real(x) + np.real(y) * np.real(y)
        )
    return np.arctan2(y, x)


overload(angle_of)(lambda y, x: lambda y, x: math.atan2(y, x))


def real_part(x: Value) -> Value:
    """What comparisons look at: a threshold is crossed by the real part, never by a complex step.

    Examples
    --------
    >>> float(real_part(2.0 + 1e-30j))
    2.0
    """
    return np.real(x)


overload(real_part)(lambda x: lambda x: x)


def magnitude(x: Value) -> Value:
    """|x| for real `x`; for complex `x` its analytic continuation, x times the sign of the real part.

    Examples
    --------
    >>> complex(magnitude(-2.0 + 1e-30j))
    (2-1e-30j)
    """
    return np.where(np.real(x) < 0, -x, x)[()]


overload(magnitude)(lambda x: lambda x: abs(x))


def smaller(a: Value, b: Value) -> Value:
    """The smaller of two real numbers.

    Examples
    --------
    >>> float(smaller(2.0, 0.5))
    0.5
    """
    return np.minimum(a, b)


overload(smaller)(lambda a, b: lambda a, b: a if a < b else b)


def rounded_product(a: Value, b: Value) -> Value:
    """a * b, rounded before anything is added to it.

    A GPU contracts a product and a sum into one fused operation with one rounding, which can move a
    potential across the threshold.  Where a product decides over a spike it is written with this function,
    so that all backends fire the same spikes.

    Examples
    --------
    >>> rounded_product(0.5, 3.0)
    1.5
    """
    return a * b


overload(rounded_product)(lambda a, b: lambda a, b: a * b)
