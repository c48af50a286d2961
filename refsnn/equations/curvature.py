"""Lengths in spaces of constant curvature: the scalar functions of logarithm and distance.

With kappa the curvature, R = 1 / sqrt|kappa|, and s = <x - y, x - y> the square of the chord,

    distance  d = 2 R asinh(sqrt(s) / (2 R)),   2 R atan2(sqrt(s), |x + y|),   sqrt(s)

on the hyperboloid, on the sphere and in Euclidean space: accurate for near points, where arcosh and arccos
are not.  The logarithm at the origin turns rho = |y|, y the coordinates beside the first, into a length

    l = R asinh(rho / R),   R atan2(rho, -z_0),   rho .

Every length is given as its ratio to what it is the length of, 1 at 0, and its slope: nothing cancels.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.equations.elementary import (
    Value,
    angle_of,
    inverse_hyperbolic_sine,
    real_part,
    square_root,
)


@register_jitable
def arsinh_ratio(t: Value, one: Value) -> Value:
    """asinh(t) / t, 1 at 0.

    Examples
    --------
    >>> arsinh_ratio(0.0, 1.0)
    1.0
    """
    if t == one - one:
        return one
    return inverse_hyperbolic_sine(t) / t


@register_jitable
def distance_ratio(square: Value, sum_square: Value, curvature: Value, one: Value) -> Value:
    """d / sqrt(s), 1 at s = 0; `sum_square` is |x + y|^2, which only the sphere needs.

    Examples
    --------
    >>> distance_ratio(0.0, 4.0, 1.0, 1.0), distance_ratio(0.25, 0.0, 0.0, 1.0)
    (1.0, 1.0)
    """
    zero, two = one - one, one + one
    if real_part(curvature) < zero:
        return arsinh_ratio(square_root(-curvature * square) / two, one)
    if real_part(curvature) > zero and square != zero:
        chord = square_root(square)
        return two * angle_of(chord, square_root(sum_square)) / (square_root(curvature) * chord)
    return one


@register_jitable
def chord_cosine(square: Value, sum_square: Value, curvature: Value, one: Value) -> Value:
    """sqrt(1 - kappa s / 4), the cosine of half the distance; on the sphere |x + y| / 2R, 0 at antipodes.

    Examples
    --------
    >>> float(chord_cosine(0.0, 4.0, 1.0, 1.0)), float(chord_cosine(12.0, 0.0, -1.0, 1.0))
    (1.0, 2.0)
    """
    zero, two = one - one, one + one
    if real_part(curvature) > zero:
        return square_root(curvature * sum_square) / two
    return square_root(one - curvature * square / (two * two))


@register_jitable
def origin_bend(along: Value, square: Value, curvature: Value, one: Value) -> Value:
    """b = 1 + kappa <o, z>, from kappa <o, z> and |y|^2; on the manifold kappa |y|^2 / (1 - kappa <o, z>).

    The second form has all digits near the antipode of o, where the first is a difference of equal numbers.

    Examples
    --------
    >>> origin_bend(-1.0, 1e-20, 1.0, 1.0), origin_bend(0.5, 0.75, 1.0, 1.0)
    (5e-21, 1.5)
    """
    if real_part(along) < one - one:
        return curvature * square / (one - along)
    return one + along


@register_jitable
def origin_ratio(rho: Value, polar: Value, curvature: Value, one: Value) -> Value:
    """l / rho, 1 at rho = 0; `polar` is z_0, which only the sphere needs: off it the limit is R / |z_0|.

    Examples
    --------
    >>> origin_ratio(0.0, 1.0, -1.0, 1.0), origin_ratio(0.5, 0.0, 0.0, 1.0)
    (1.0, 1.0)
    """
    zero = one - one
    if real_part(curvature) < zero:
        return arsinh_ratio(square_root(-curvature) * rho, one)
    if real_part(curvature) > zero and rho != zero:
        return angle_of(rho, -polar) / (square_root(curvature) * rho)
    if real_part(curvature) > zero and real_part(polar) < zero:
        return -one / (square_root(curvature) * polar)
    return one


@register_jitable
def origin_slopes(rho: Value, polar: Value, curvature: Value, one: Value) -> tuple[Value, Value]:
    """dl/drho and dl/dz_0.

    Examples
    --------
    >>> [float(slope) for slope in origin_slopes(1.0, 0.0, 1.0, 1.0)]
    [-0.0, 1.0]
    """
    zero = one - one
    if real_part(curvature) < zero:
        return one / square_root(one - curvature * rho * rho), zero
    if real_part(curvature) > zero:
        scale = square_root(curvature) * (rho * rho + polar * polar)
        return -polar / scale, rho / scale
    return one, zero
