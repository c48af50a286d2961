"""Floor 1: the activations of convergent networks, each with its two derivatives right under it.

Every function has the signature ``(z, one)``; `one` is the number 1 in the working precision, so that no
literal promotes float32.  `tanh`, `sigm` and `identity` are holomorphic and take complex numbers too;
the hard sigmoids compare and do not.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from refsnn.equations import vectorised
from refsnn.equations.elementary import Value


def hyperbolic_tangent(z: Value) -> Value:
    """tanh of a number or an array, under one name in NumPy, compiled loops and CUDA kernels.

    Examples
    --------
    >>> float(hyperbolic_tangent(0.0))
    0.0
    """
    return np.tanh(z)


overload(hyperbolic_tangent)(
    lambda z: (lambda z: cmath.tanh(z)) if isinstance(z, types.Complex) else (lambda z: math.tanh(z))
)
overload(hyperbolic_tangent, target="cpu")(
    lambda z: vectorised.hyperbolic_tangent(z) if z in vectorised.FORMATS else None
)


@register_jitable
def tanh(z: Value, one: Value) -> Value:
    """tanh z.

    Examples
    --------
    >>> tanh(0.0, 1.0).item()
    0.0
    """
    return hyperbolic_tangent(z)


@register_jitable
def tanh_slope(z: Value, one: Value) -> Value:
    """d tanh / dz = (1 - tanh z)(1 + tanh z).

    Examples
    --------
    >>> tanh_slope(0.0, 1.0).item()
    1.0
    """
    value = hyperbolic_tangent(z)
    return (one - value) * (one + value)


@register_jitable
def tanh_curvature(z: Value, one: Value) -> Value:
    """d2 tanh / dz2 = -2 tanh z (1 - tanh z)(1 + tanh z).

    Examples
    --------
    >>> abs(tanh_curvature(0.0, 1.0).item())
    0.0
    """
    value = hyperbolic_tangent(z)
    return -(value + value) * (one - value) * (one + value)


@register_jitable
def sigm(z: Value, one: Value) -> Value:
    """1 / (1 + exp(-4 (z - 1/2))), written with tanh so that it never overflows.

    Examples
    --------
    >>> sigm(0.5, 1.0).item()
    0.5
    """
    two = one + one
    return (one + hyperbolic_tangent(two * z - one)) / two


@register_jitable
def sigm_slope(z: Value, one: Value) -> Value:
    """d sigm / dz = 4 sigm (1 - sigm) = (1 - tanh(2z - 1))(1 + tanh(2z - 1)).

    Examples
    --------
    >>> sigm_slope(0.5, 1.0).item()
    1.0
    """
    two = one + one
    value = hyperbolic_tangent(two * z - one)
    return (one - value) * (one + value)


@register_jitable
def sigm_curvature(z: Value, one: Value) -> Value:
    """d2 sigm / dz2 = 16 sigm (1 - sigm)(1 - 2 sigm) = -4 tanh(2z - 1) (1 - tanh(2z - 1)^2).

    Examples
    --------
    >>> abs(sigm_curvature(0.5, 1.0).item())
    0.0
    """
    two = one + one
    value = hyperbolic_tangent(two * z - one)
    return -(two + two) * value * (one - value) * (one + value)


@register_jitable
def hardsigm(z: Value, one: Value) -> Value:
    """min(max(z, 0), 1); not holomorphic.

    Examples
    --------
    >>> [hardsigm(z, 1.0) for z in (-0.5, 0.25, 2.0)]
    [0.0, 0.25, 1.0]
    """
    zero = one - one
    return z * ((z >= zero) * one) * ((z <= one) * one) + (z > one) * one


@register_jitable
def hardsigm_slope(z: Value, one: Value) -> Value:
    """Closed gate 1[0 <= z <= 1]: what the energy-based drive multiplies with, edges included.

    Examples
    --------
    >>> [hardsigm_slope(z, 1.0) for z in (-0.5, 0.0, 0.5, 1.0)]
    [0.0, 1.0, 1.0, 1.0]
    """
    zero = one - one
    return ((z >= zero) * one) * ((z <= one) * one)


@register_jitable
def hardsigm_slope_open(z: Value, one: Value) -> Value:
    """Open gate 1[0 < z < 1]: what automatic differentiation of a clamp gives in current frameworks.

    Examples
    --------
    >>> [hardsigm_slope_open(z, 1.0) for z in (-0.5, 0.0, 0.5, 1.0)]
    [0.0, 0.0, 1.0, 0.0]
    """
    zero = one - one
    return ((z > zero) * one) * ((z < one) * one)


@register_jitable
def hardsigm_curvature(z: Value, one: Value) -> Value:
    """0 everywhere; at the two kinks that is a convention.

    Examples
    --------
    >>> hardsigm_curvature(0.5, 1.0)
    0.0
    """
    return (one - one) * z


@register_jitable
def my_hard_sig(z: Value, one: Value) -> Value:
    """clip(z / 2, 0, 1) = hardsigm(z / 2), with the name it has in Laborieux 2021.

    Examples
    --------
    >>> [my_hard_sig(z, 1.0) for z in (-0.5, 0.5, 3.0)]
    [0.0, 0.25, 1.0]
    """
    return hardsigm(z / (one + one), one)


@register_jitable
def my_hard_sig_slope(z: Value, one: Value) -> Value:
    """Closed: 1/2 for 0 <= z <= 2, else 0.

    Examples
    --------
    >>> [my_hard_sig_slope(z, 1.0) for z in (-0.5, 0.0, 2.0, 3.0)]
    [0.0, 0.5, 0.5, 0.0]
    """
    two = one + one
    return hardsigm_slope(z / two, one) / two


@register_jitable
def my_hard_sig_slope_open(z: Value, one: Value) -> Value:
    """Open: 1/2 for 0 < z < 2, else 0.

    Examples
    --------
    >>> [my_hard_sig_slope_open(z, 1.0) for z in (0.0, 1.0, 2.0)]
    [0.0, 0.5, 0.0]
    """
    two = one + one
    return hardsigm_slope_open(z / two, one) / two


@register_jitable
def ctrd_hard_sig(z: Value, one: Value) -> Value:
    """clip(z, -1/2, 1/2) = hardsigm(z + 1/2) - 1/2, with the name it has in Laborieux 2021.

    Written with clamps of z and of -z, so that z near 0 is not rounded.

    Examples
    --------
    >>> [ctrd_hard_sig(z, 1.0) for z in (-2.0, -0.25, 0.25, 2.0)]
    [-0.5, -0.25, 0.25, 0.5]
    """
    half = one / (one + one)
    return z * ((z >= -half) * one) * ((z <= half) * one) + half * ((z > half) * one - (z < -half) * one)


@register_jitable
def ctrd_hard_sig_slope(z: Value, one: Value) -> Value:
    """Closed gate 1[-1/2 <= z <= 1/2].

    Examples
    --------
    >>> [ctrd_hard_sig_slope(z, 1.0) for z in (-0.75, -0.5, 0.0, 0.5)]
    [0.0, 1.0, 1.0, 1.0]
    """
    half = one / (one + one)
    return ((z >= -half) * one) * ((z <= half) * one)


@register_jitable
def ctrd_hard_sig_slope_open(z: Value, one: Value) -> Value:
    """Open gate 1[-1/2 < z < 1/2].

    Examples
    --------
    >>> [ctrd_hard_sig_slope_open(z, 1.0) for z in (-0.5, 0.0, 0.5)]
    [0.0, 1.0, 0.0]
    """
    half = one / (one + one)
    return ((z > -half) * one) * ((z < half) * one)


@register_jitable
def identity(z: Value, one: Value) -> Value:
    """z.

    Examples
    --------
    >>> identity(0.5, 1.0)
    0.5
    """
    return z


@register_jitable
def identity_slope(z: Value, one: Value) -> Value:
    """1, in the shape and kind of z.

    Examples
    --------
    >>> identity_slope(0.5, 1.0)
    1.0
    """
    return (one - one) * z + one


@register_jitable
def identity_curvature(z: Value, one: Value) -> Value:
    """0, in the shape and kind of z.

    Examples
    --------
    >>> identity_curvature(0.5, 1.0)
    0.0
    """
    return (one - one) * z


class Activation(NamedTuple):
    """An activation with its derivatives.

    Attributes
    ----------
    value, slope, curvature : callable
        The function and its first two derivatives, each of (z, one).
    slope_open : callable
        The slope with the kinks excluded; differs from `slope` for the hard sigmoids only.
    holomorphic : bool
        Whether complex arguments are allowed.
    """

    value: Callable[[Value, Value], Value]
    slope: Callable[[Value, Value], Value]
    curvature: Callable[[Value, Value], Value]
    slope_open: Callable[[Value, Value], Value]
    holomorphic: bool


ACTIVATIONS = {
    "tanh": Activation(tanh, tanh_slope, tanh_curvature, tanh_slope, True),
    "sigm": Activation(sigm, sigm_slope, sigm_curvature, sigm_slope, True),
    "hardsigm": Activation(hardsigm, hardsigm_slope, hardsigm_curvature, hardsigm_slope_open, False),
    "identity": Activation(identity, identity_slope, identity_curvature, identity_slope, True),
    "my_hard_sig": Activation(
        my_hard_sig, my_hard_sig_slope, hardsigm_curvature, my_hard_sig_slope_open, False
    ),
    "ctrd_hard_sig": Activation(
        ctrd_hard_sig, ctrd_hard_sig_slope, hardsigm_curvature, ctrd_hard_sig_slope_open, False
    ),
}
# two functions have a second name in the later codes
ACTIVATIONS["mysig"] = ACTIVATIONS["sigm"]
ACTIVATIONS["hard_sigmoid"] = ACTIVATIONS["hardsigm"]
