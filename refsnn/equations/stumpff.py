"""Stumpff functions: sines and hyperbolic sines of any sign of curvature, in one entire function each.

    c_k(q) = sum_j (-q)^j / (k + 2j)!

    q = s^2 > 0:   c0 = cos s,   c1 = sin s / s,   c2 = 2 sin^2(s/2) / q,   c3 = (s - sin s) / s^3
    q = -s^2 < 0:  c0 = cosh s,  c1 = sinh s / s,  c2 = 2 sinh^2(s/2) / s^2,  c3 = (sinh s - s) / s^3

With kappa the curvature and n = <v, v>, a geodesic is Exp_z(v) = c0(kappa n) z + c1(kappa n) v on the
hyperboloid, in Euclidean space and on the sphere.  Near 0 the differences cancel: there stand the series.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.equations.elementary import (
    Value,
    cosine,
    hyperbolic_cosine,
    hyperbolic_sine,
    magnitude,
    real_part,
    sine,
    square_root,
)

# so many terms of a series are exact to rounding for |q| < 1
TERMS = 12


@register_jitable
def stumpff_series(q: Value, one: Value) -> tuple[Value, Value]:
    """c2 and c3 of a small q, Horner's way from the last term to the first.

    Examples
    --------
    >>> c2, c3 = stumpff_series(0.0, 1.0)
    >>> c2, round(6 * c3, 15)
    (0.5, 1.0)
    """
    two = one + one
    k = one
    for _ in range(TERMS):
        k += two
    c2 = c3 = one
    for _ in range(TERMS):
        c2 = one - q / (k * (k + one)) * c2
        c3 = one - q / ((k + one) * (k + two)) * c3
        k -= two
    return c2 / two, c3 / (two * (two + one))


@register_jitable
def stumpff(q: Value, one: Value) -> tuple[Value, Value, Value, Value]:
    """c0, c1, c2, c3 of one number; complex ones for a complex step.

    Examples
    --------
    >>> c0, c1, c2, c3 = stumpff(-4.0, 1.0)
    >>> import math
    >>> bool(abs(c0 - math.cosh(2)) < 1e-15 and abs(c1 - math.sinh(2) / 2) < 1e-15)
    True
    """
    two = one + one
    if magnitude(real_part(q)) < one:
        c2, c3 = stumpff_series(q, one)
        return one - q * c2, one - q * c3, c2, c3
    if real_part(q) >= one:
        s = square_root(q)
        half = sine(s / two)
        c1 = sine(s) / s
        return cosine(s), c1, two * half * half / q, (one - c1) / q
    s = square_root(-q)
    half = hyperbolic_sine(s / two)
    c1 = hyperbolic_sine(s) / s
    return hyperbolic_cosine(s), c1, two * half * half / -q, (c1 - one) / -q


@register_jitable
def stumpff_slopes(c1: Value, c2: Value, c3: Value, one: Value) -> tuple[Value, Value]:
    """dc0/dq = -c1 / 2 and dc1/dq = (c3 - c2) / 2.

    Examples
    --------
    >>> stumpff_slopes(1.0, 0.5, 0.25, 1.0)
    (-0.5, -0.125)
    """
    two = one + one
    return -c1 / two, (c3 - c2) / two
