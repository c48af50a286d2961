"""What is done at one node, or for one pair: the loops over coordinates that compiled backends share.

A function works on the columns [first, last) of rows; v is not stored: in every mode v_i = u_i - k z_i, but
for coordinate 0 of a transported drive, which is -(a/b)(o + z)_0 = -a o_0.  Formulas:
`refsnn.kernels.plain.manifold`.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.equations.curvature import (
    chord_cosine,
    distance_ratio,
    origin_bend,
    origin_ratio,
    origin_slopes,
)
from refsnn.equations.elementary import square_root
from refsnn.equations.stumpff import stumpff
from refsnn.kernels.manifold import PROJECT, TRANSPORT


@register_jitable
def tangent(first, last, curvature, origin, one, mode, z, u):  # type: ignore[no-untyped-def]
    """q, k, v_0, and a and b of the transport or <z, u> and 1 of the projection."""
    zero = one - one
    sign = -one if curvature < zero else one
    if mode == TRANSPORT:
        square = product = rest = zero
        start = first if curvature == zero else first + 1
        for i in range(start, last):
            square += u[i] * u[i]
            product += z[i] * u[i]
            rest += z[i] * z[i]
        a = curvature * product
        b = origin_bend(curvature * (sign * z[first] * origin), rest, curvature, one)
        return curvature * square, a / b, u[first] if curvature == zero else -a * origin, a, b
    along = zero
    if mode == PROJECT:
        along = sign * z[first] * u[first]
        for i in range(first + 1, last):
            along += z[i] * u[i]
    k = curvature * along
    first_v = u[first] - k * z[first]
    square = sign * first_v * first_v
    for i in range(first + 1, last):
        v = u[i] - k * z[i]
        square += v * v
    return curvature * square, k, first_v, along, one


@register_jitable
def step(first, last, curvature, origin, one, mode, z, u, to):  # type: ignore[no-untyped-def]
    """z' = c0 z + c1 v."""
    q, k, first_v, _, _ = tangent(first, last, curvature, origin, one, mode, z, u)
    c0, c1, _, _ = stumpff(q, one)
    for i in range(first, last):
        to[i] = c0 * z[i] + c1 * (u[i] - k * z[i])
    to[first] = c0 * z[first] + c1 * first_v


@register_jitable
def step_backward(  # type: ignore[no-untyped-def]
    first, last, curvature, origin, one, mode, literal, node, points, drive, moved_adjoint, drive_adjoint,
    point_adjoint,
):  # fmt: skip
    """dL/du and dL/dz of one node; that by z' may lie where that by z will."""
    zero, g = one - one, moved_adjoint[node]
    if silent(first, last, zero, g):  # nobody learns at this node: most of a graph, where few have labels
        for i in range(first, last):
            drive_adjoint[node, i] = point_adjoint[node, i] = zero
        return
    z, u, into, back = points[node], drive[node], drive_adjoint[node], point_adjoint[node]
    sign = -one if curvature < zero else one
    q, k, first_v, a, b = tangent(first, last, curvature, origin, one, mode, z, u)
    c0, c1, c2, c3 = stumpff(q, one)
    z0, u0, g0 = z[first], u[first], g[first]
    by_y, by_v = zero, first_v * g0
    for i in range(first + 1, last):
        by_y += z[i] * g[i]
        by_v += (u[i] - k * z[i]) * g[i]
    by_z = z0 * g0 + by_y
    along = curvature * (-c1 * by_z + (c3 - c2) * by_v)
    if mode == TRANSPORT:
        total = c1 * (by_y + b * origin * g0)  # (o + z)_0 = b o_0
        slope = curvature / b * total
        lost, kept = (zero, c0) if literal else (slope, c0 - k * c1)
        for i in range(first, last):
            gi = g[i]
            into[i] = c1 * gi - slope * z[i] + along * u[i]
            back[i] = kept * gi - lost * u[i]
        if curvature != zero:
            into[first] = zero
            back[first] = kept * g0 + lost * k * (sign * origin)
        return
    # vbar = c1 g + along (J v), total = z . vbar
    total = c1 * by_z + along * (sign * first_v * z0)
    for i in range(first + 1, last):
        total += along * ((u[i] - k * z[i]) * z[i])
    slope = curvature * total if mode == PROJECT else zero
    pulled = zero if literal else curvature * a
    lost = zero if literal else slope
    for i in range(first, last):
        gi = g[i]
        by_vector = c1 * gi + along * (u[i] - k * z[i])
        into[i] = by_vector - slope * z[i]
        back[i] = c0 * gi - lost * u[i] - pulled * by_vector
    by_vector = c1 * g0 + along * (sign * first_v)
    into[first] = by_vector - slope * (sign * z0)
    back[first] = c0 * g0 - lost * (sign * u0) - pulled * by_vector


@register_jitable
def silent(first, last, zero, g):  # type: ignore[no-untyped-def]
    """Whether nothing comes from above."""
    quiet = True
    for i in range(first, last):
        quiet = quiet and g[i] == zero
    return quiet


@register_jitable
def radius(first, last, z, one):  # type: ignore[no-untyped-def]
    """rho."""
    square = one - one
    for i in range(first + 1, last):
        square += z[i] * z[i]
    return square_root(square)


@register_jitable
def origin_logarithm(first, last, curvature, one, z, to):  # type: ignore[no-untyped-def]
    """(0, (l / rho) y)."""
    zero, ratio = one - one, one
    if curvature != zero:
        ratio = origin_ratio(radius(first, last, z, one), z[first], curvature, one)
    for i in range(first, last):
        to[i] = ratio * z[i]
    if curvature != zero:
        to[first] = zero


@register_jitable
def origin_logarithm_backward(  # type: ignore[no-untyped-def]
    first, last, curvature, one, node, points, tangent_adjoint, point_adjoint
):
    """Across y scaled by l / rho, along it by dl/drho."""
    zero, g = one - one, tangent_adjoint[node]
    if curvature == zero or silent(first, last, zero, g):
        for i in range(first, last):
            point_adjoint[node, i] = g[i]
        return
    z, back = points[node], point_adjoint[node]
    rho = radius(first, last, z, one)
    ratio = origin_ratio(rho, z[first], curvature, one)
    slope, polar_slope = origin_slopes(rho, z[first], curvature, one)
    inverse = one / rho if rho > zero else zero
    along = zero
    for i in range(first + 1, last):
        along += z[i] * g[i]
    along *= inverse
    bend = (slope - ratio) * along * inverse
    for i in range(first + 1, last):
        back[i] = ratio * g[i] + bend * z[i]
    back[first] = polar_slope * along


@register_jitable
def hyperbolic_chord(first, last, radius, one, x, y):  # type: ignore[no-untyped-def]
    """<x - y, x - y> as a sum of positive terms; see `refsnn.kernels.plain.curvature.chord`."""
    x_square = y_square = apart_square = shrink = one - one
    for i in range(first + 1, last):
        x_square += x[i] * x[i]
        y_square += y[i] * y[i]
        apart_square += (x[i] - y[i]) * (x[i] - y[i])
        shrink += (x[i] - y[i]) * (x[i] + y[i])
    if x_square < y_square:
        return hyperbolic_chord_of(first, last, radius, one, y, x, y_square, x_square, apart_square, -shrink)
    return hyperbolic_chord_of(first, last, radius, one, x, y, x_square, y_square, apart_square, shrink)


@register_jitable
def hyperbolic_chord_of(  # type: ignore[no-untyped-def]
    first, last, radius, one, x, y, x_square, y_square, apart_square, shrink
):
    """The same for x not nearer to the origin than y."""
    zero = one - one
    x_polar, y_polar = square_root(radius * radius + x_square), square_root(radius * radius + y_square)
    by_polar = shrink / (x_polar + y_polar)
    if x_square <= radius * radius:
        return apart_square - by_polar * by_polar
    x_length, y_length = square_root(x_square), square_root(y_square)
    by_length = shrink / (x_length + y_length)
    turned = zero
    for i in range(first + 1, last):
        along = by_length * (y[i] / y_length) if y_length > zero else zero
        turned += (x[i] - y[i] - along) * (x[i] - y[i] - along)
    both = (by_length + by_polar) * radius
    return both * both / ((x_polar + x_length) * (y_polar + y_length)) + turned * (y_length / x_length)


@register_jitable
def squared_distance(first, last, curvature, origin, one, x, y):  # type: ignore[no-untyped-def]
    """d^2, and its slope by the square of the chord."""
    zero = one - one
    chord = total = zero
    for i in range(first, last):
        chord += (x[i] - y[i]) * (x[i] - y[i])
        total += (x[i] + y[i]) * (x[i] + y[i])
    if curvature < zero:
        chord = hyperbolic_chord(first, last, origin, one, x, y)
    ratio = distance_ratio(chord, total, curvature, one)
    return ratio * ratio * chord, ratio / chord_cosine(chord, total, curvature, one)


@register_jitable
def squared_distances_backward(  # type: ignore[no-untyped-def]
    first, last, curvature, one, node, points, sources, targets, starts, entries, by_chord, back
):
    """Shares of all pairs of one node, in the order of its entries."""
    zero, two = one - one, one + one
    for i in range(first, last):
        back[i] = zero
    for place in range(starts[node], starts[node + 1]):
        pair = entries[place] // 2
        x, y = points[sources[pair]], points[targets[pair]]
        share = two * by_chord[pair]
        if entries[place] % 2:
            share = -share
        for i in range(first, last):
            back[i] += share * (x[i] - y[i])
    if curvature < zero:
        back[first] = -back[first]
