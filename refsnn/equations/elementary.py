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
