"""One factor of constant curvature in NumPy, what the steps of a network and the public geometry share.

All take the columns (N, d) of one factor; <a, b> = sum_i J_i a_i b_i, the manifold is kappa <z, z> = 1.

On the hyperboloid <v, v> and <x - y, x - y> lose what z_0^2 is larger than R^2.  Both are written as sums of
positive terms here, for points that are on the manifold and vectors that are tangent, so that far out only
the rounding of the coordinates themselves is left.  A complex step may lead off the manifold: the imaginary
parts of the constraints are kept, only their real parts, which are rounding, are taken as they should be.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.curvature import chord_cosine, distance_ratio, origin_bend
from refsnn.equations.stumpff import stumpff, stumpff_slopes
from refsnn.kernels.manifold import PROJECT, TRANSPORT, FactorColumns


def each(equation, *columns):  # type: ignore[no-untyped-def]
    """An equation of numbers, node by node, each of its values as a column."""
    rows = [equation(*row) for row in zip(*columns, strict=True)]
    return (np.array(part)[:, None] for part in zip(*rows, strict=True))


def signs_of(factor: FactorColumns) -> np.ndarray:
    """J."""
    signs = np.full(factor.last - factor.first, factor.one)
    if factor.curvature < 0:
        signs[0] = -factor.one
    return signs


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Plain inner products of rows, as a column."""
    return (a * b).sum(axis=1, keepdims=True)


def inner(factor: FactorColumns, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """<a, b>, as a column."""
    return product(signs_of(factor) * a, b)


def stumpff_of(q: np.ndarray, factor: FactorColumns):  # type: ignore[no-untyped-def]
    """c0, c1, c2, c3 of a column."""
    return each(lambda value: stumpff(value, factor.one), q[:, 0])


def stumpff_slopes_of(c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, factor: FactorColumns):  # type: ignore[no-untyped-def]
    """Of c0 and c1 by q."""
    return stumpff_slopes(c1, c2, c3, factor.one)


def stepped(value: np.ndarray) -> np.ndarray:
    """What a complex step has added to a constraint: its imaginary part alone."""
    return 1j * value.imag if np.iscomplexobj(value) else np.zeros_like(value)


# ---- lengths ----------------------------------------------------------------------------------------------


def tangent_square(factor: FactorColumns, z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """<v, v> of tangent vectors.

    Far out on the hyperboloid with v along z and across it, v_s = alpha e + w, e = y / |y|:
    |w|^2 + alpha^2 R^2 / z_0^2.
    """
    square = inner(factor, v, v)
    if factor.curvature >= 0:
        return square
    y, space = z[:, 1:], v[:, 1:]
    length = np.sqrt(product(y, y))
    far = length.real > factor.origin
    direction = y / np.where(far, length, factor.one)
    along = product(direction, space)
    across = space - along * direction
    # 1 - |y|^2 / z_0^2 = -<z, z> / z_0^2, and v_0 = (y.v - <z, v>) / z_0
    slack = (factor.origin**2 - stepped(inner(factor, z, z))) / z[:, :1] ** 2
    off = stepped(inner(factor, z, v))
    lost = (2 * factor.one) * off * product(y, space) / z[:, :1] ** 2
    return np.where(far, product(across, across) + along**2 * slack + lost, square)


def made_tangent(factor: FactorColumns, z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """v without its rounding along z: v_0 from the others on the hyperboloid, P_z(v) on the sphere."""
    if factor.curvature < 0:
        return np.hstack([product(z[:, 1:], v[:, 1:]) / z[:, :1], v[:, 1:]])
    return v - factor.curvature * inner(factor, z, v) * z


def chord(factor: FactorColumns, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """s = <x - y, x - y> and |x + y|^2 of points.

    Where both are near the origin of the hyperboloid, s = |D|^2 - (D.S / (x_0 + y_0))^2 with D and S
    difference and sum of the other coordinates.  Further out the law of cosines in half angles,

        sinh^2(d / 2R) = sinh^2((r_x - r_y) / 2) + sinh r_x sinh r_y sin^2(angle / 2)
    """
    total = product(x + y, x + y)
    if factor.curvature >= 0:
        return inner(factor, x - y, x - y), total
    swap = (product(x[:, 1:], x[:, 1:]) < product(y[:, 1:], y[:, 1:])).real.astype(bool)
    x, y = np.where(swap, y, x), np.where(swap, x, y)
    xs, ys = x[:, 1:], y[:, 1:]
    apart, radius = xs - ys, factor.origin
    x_square, y_square = product(xs, xs), product(ys, ys)
    x_polar, y_polar = np.sqrt(radius**2 + x_square), np.sqrt(radius**2 + y_square)
    shrink = product(apart, xs + ys)  # |x|^2 - |y|^2
    by_polar = shrink / (x_polar + y_polar)
    near = product(apart, apart) - by_polar**2

    far = x_square.real > radius**2
    x_length = np.sqrt(np.where(far, x_square, factor.one))
    y_length = np.sqrt(np.where(y_square == 0, 0 * factor.one, y_square))
    by_length = shrink / (x_length + y_length)
    direction = ys / np.where(y_length == 0, factor.one, y_length)
    turned = apart - by_length * direction  # |x| (x / |x| - y / |y|)
    radial = (by_length + by_polar) ** 2 / ((x_polar + x_length) * (y_polar + y_length)) * radius**2
    square = np.where(far, radial + product(turned, turned) * (y_length / x_length), near)
    off = stepped(x[:, :1] - x_polar) - stepped(y[:, :1] - y_polar)
    return square - (2 * factor.one) * by_polar * off, total


def lengths(factor: FactorColumns, x: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
    """s, d / sqrt(s) and sqrt(1 - kappa s / 4) of pairs of points, as columns."""
    square, total = chord(factor, x, y)
    ratio, cosine = each(
        lambda s, other: (
            distance_ratio(s, other, factor.curvature, factor.one),
            chord_cosine(s, other, factor.curvature, factor.one),
        ),
        square[:, 0],
        total[:, 0],
    )
    return square, ratio, cosine


# ---- steps ------------------------------------------------------------------------------------------------


def from_origin(factor: FactorColumns, points: np.ndarray, drive: np.ndarray):  # type: ignore[no-untyped-def]
    """o, o + z, w, a and b of the transport; (o + z)_0 = b o_0, which does not cancel as b does not."""
    origin = np.zeros_like(points[:1])
    if factor.curvature == 0:
        return origin, points, drive, np.zeros_like(points[:, :1]), np.ones_like(points[:, :1])
    origin[:, 0] = factor.origin
    moved, y = drive.copy(), points[:, 1:]
    moved[:, 0] = 0
    along = factor.curvature * inner(factor, points, origin)
    off = factor.curvature * stepped(inner(factor, points, points))
    (b,) = each(
        lambda inward, square: (origin_bend(inward, square, factor.curvature, factor.one),),
        along[:, 0],
        product(y, y)[:, 0],
    )
    beyond = along.real < 0
    b = b - np.where(beyond, off / np.where(beyond, factor.one - along, factor.one), np.zeros_like(off))
    return origin, np.hstack([factor.origin * b, y]), moved, factor.curvature * product(points, moved), b


def vector_of(
    factor: FactorColumns, mode: int, z: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """v of a drive, and q."""
    if mode == TRANSPORT:
        _, both, w, a, b = from_origin(factor, z, u)
        return w - a / b * both, factor.curvature * product(w, w)
    v = u - factor.curvature * inner(factor, z, u) * z if mode == PROJECT else u
    return v, factor.curvature * inner(factor, v, v)


# ---- maps, their tangents and adjoints --------------------------------------------------------------------


def exponential_adjoint(
    factor: FactorColumns, z: np.ndarray, v: np.ndarray, q: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of c0(q) z + c1(q) v at fixed q: by z and v, and dL/dq."""
    c0, c1, c2, c3 = stumpff_of(q, factor)
    by_c0, by_c1 = stumpff_slopes_of(c1, c2, c3, factor)
    return c0 * g, c1 * g, by_c0 * product(z, g) + by_c1 * product(v, g)


def exponential_tangent(
    factor: FactorColumns,
    z: np.ndarray,
    v: np.ndarray,
    q: np.ndarray,
    z_tangent: np.ndarray,
    v_tangent: np.ndarray,
    q_tangent: np.ndarray,
) -> np.ndarray:
    """Of c0(q) z + c1(q) v, q on its own."""
    c0, c1, c2, c3 = stumpff_of(q, factor)
    by_c0, by_c1 = stumpff_slopes_of(c1, c2, c3, factor)
    return c0 * z_tangent + c1 * v_tangent + q_tangent * (by_c0 * z + by_c1 * v)


def transport_adjoint(
    factor: FactorColumns,
    start: np.ndarray,
    end: np.ndarray,
    both: np.ndarray,
    vectors: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    g: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of w - (a/b)(start + end), a = kappa <end, w>, b = 1 + kappa <start, end>: by start, end and w."""
    signs, kappa = signs_of(factor), factor.curvature
    total = product(both, g)
    straight = -(a / b) * g
    bent = a * kappa / (b * b) * total
    return (
        straight + bent * (signs * end),
        straight - kappa / b * total * (signs * vectors) + bent * (signs * start),
        g - kappa / b * total * (signs * end),
    )


def transport_tangent(
    factor: FactorColumns,
    start: np.ndarray,
    end: np.ndarray,
    both: np.ndarray,
    vectors: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    start_tangent: np.ndarray,
    end_tangent: np.ndarray,
    vector_tangent: np.ndarray,
) -> np.ndarray:
    """Of w - (a/b)(start + end)."""
    kappa = factor.curvature
    a_tangent = kappa * (inner(factor, end_tangent, vectors) + inner(factor, end, vector_tangent))
    b_tangent = kappa * (inner(factor, start_tangent, end) + inner(factor, start, end_tangent))
    return (
        vector_tangent
        - (a_tangent / b - a * b_tangent / (b * b)) * both
        - a / b * (start_tangent + end_tangent)
    )
