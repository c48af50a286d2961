"""The geometry of products of spaces of constant curvature: laws, differentials, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifold_cases import MANIFOLDS, SEEDS, complex_step, scales, scene, some_points, some_vectors

from refsnn.models.manifold import differentials, geometry, length_differentials
from refsnn.models.manifold.geometry import (
    centroid,
    distance,
    exponential,
    geodesic,
    injectivity_radius,
    inner,
    logarithm,
    norm,
    project_points,
    project_vectors,
    riemannian_gradient,
    transport,
)
from refsnn.models.manifold.manifold import Manifold, euclidean, hyperbolic, spherical
from refsnn.models.manifold.maps import ExactMaps

TOLERANCE = 1e-12
TANGENTS = "transport", "project", "ambient"


def close(found, expected, manifold, factor=1.0):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=factor * TOLERANCE * scales(manifold))


# ---- laws -------------------------------------------------------------------------------------------------


@given(seed=SEEDS, manifold=MANIFOLDS, exponent=st.floats(-12, 0))
def test_logarithm_undoes_the_exponential(seed, manifold, exponent):
    rng, z, v, _ = scene(seed, manifold)
    v = 10**exponent * v
    x = exponential(manifold, z, v, invertible=True)
    close(logarithm(manifold, z, x), v, manifold)
    close(distance(manifold, z, x), norm(manifold, z, v), manifold)
    close(norm(manifold, z, logarithm(manifold, z, x)), distance(manifold, z, x), manifold)


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_distance_is_a_metric(seed, manifold):
    rng, z, _, x = scene(seed, manifold)
    y = some_points(rng, manifold)
    to_x, to_y, between = distance(manifold, z, x), distance(manifold, z, y), distance(manifold, x, y)
    assert (to_x > 0).all()
    close(distance(manifold, x, z), to_x, manifold)
    assert (to_x + between >= to_y - TOLERANCE * scales(manifold)).all()
    assert not distance(manifold, z, z).any()
    taxi = distance(manifold, z, x, product_distance="l1")
    assert (taxi >= to_x - TOLERANCE * scales(manifold)).all()
    parts = [
        distance(Manifold((factor,)), z[:, own], x[:, own])
        for factor, own in zip(manifold.factors, manifold.slices, strict=True)
    ]
    close(taxi, np.sum(parts, axis=0), manifold)
    close(to_x, np.linalg.norm(parts, axis=0), manifold)


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_geodesics_have_constant_speed_and_carry_their_velocity(seed, manifold):
    _, z, v, x = scene(seed, manifold)
    path = geodesic(manifold, z, v, [0.0, 0.25, 1.0])
    np.testing.assert_array_equal(path[0], z)
    close(path[2], x, manifold)
    close(distance(manifold, path[0], path[1]), 0.25 * norm(manifold, z, v), manifold)
    close(distance(manifold, path[1], path[2]), 0.75 * norm(manifold, z, v), manifold)
    close(transport(manifold, z, x, v), -logarithm(manifold, x, z), manifold)


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_transport_is_an_isometry_with_an_inverse(seed, manifold):
    rng, z, v, x = scene(seed, manifold)
    w, y = some_vectors(rng, manifold, z), some_vectors(rng, manifold, z)
    there, other = transport(manifold, z, x, w), transport(manifold, z, x, y)
    size = scales(manifold)
    close(inner(manifold, there, other), inner(manifold, w, y), manifold, size)
    close(transport(manifold, x, z, there), w, manifold)
    assert np.abs(there - w).max() > 0 or not any(factor.curved for factor in manifold.factors)


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_products_take_factor_by_factor(seed, manifold):
    rng, z, v, x = scene(seed, manifold)
    w = some_vectors(rng, manifold, z)
    for factor, own in zip(manifold.factors, manifold.slices, strict=True):
        alone = Manifold((factor,))
        for name, arguments in (
            ("exponential", (z, v)),
            ("logarithm", (z, x)),
            ("transport", (z, x, w)),
            ("project_vectors", (z, w)),
        ):
            whole = getattr(geometry, name)(manifold, *arguments)
            part = getattr(geometry, name)(alone, *(argument[:, own] for argument in arguments))
            np.testing.assert_array_equal(whole[:, own], part, err_msg=name)


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_projections(seed, manifold):
    rng, z, v, x = scene(seed, manifold)
    np.testing.assert_allclose(project_points(manifold, z), z, rtol=1e-14, atol=1e-14)
    close(project_vectors(manifold, z, v), v, manifold)
    u = rng.standard_normal(z.shape)
    tangent = project_vectors(manifold, z, u)
    # what is taken away is normal: no inner product with a tangent vector
    assert np.abs(inner(manifold, u - tangent, v)).max() <= TOLERANCE * scales(manifold) ** 2
    gradient = riemannian_gradient(manifold, z, u)
    close(inner(manifold, gradient, v), (u * v).sum(axis=1), manifold, scales(manifold))


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_centroid(seed, manifold):
    rng, z, v, _ = scene(seed, manifold)
    np.testing.assert_allclose(
        centroid(manifold, np.repeat(z[:1], 3, axis=0)), z[0], rtol=1e-13, atol=TOLERANCE * scales(manifold)
    )
    # of two points, the middle of the geodesic
    ends = geodesic(manifold, z, 0.5 * v, [0.0, 1.0])
    middle = centroid(manifold, np.moveaxis(ends, 0, 1))
    assert middle.shape == z.shape
    close(middle, geodesic(manifold, z, 0.5 * v, [0.5])[0], manifold)
    near = centroid(manifold, np.moveaxis(ends, 0, 1), np.tile([3.0, 1.0], (len(z), 1)))
    assert (distance(manifold, near, ends[0]) < distance(manifold, near, ends[1])).all()


def test_shapes_and_single_points():
    manifold = hyperbolic(2) * spherical(2)
    rng = np.random.default_rng(0)
    z = some_points(rng, manifold, 6).reshape(2, 3, 6)
    assert distance(manifold, z, manifold.origin()).shape == (2, 3)
    assert logarithm(manifold, manifold.origin(), z).shape == (2, 3, 6)
    np.testing.assert_allclose(
        logarithm(manifold, manifold.origin(), z),
        length_differentials.origin_logarithm(manifold, z),
        atol=1e-14,
    )
    assert distance(manifold, z[0, 0], z[0, 1]).shape == ()
    assert injectivity_radius(manifold) == pytest.approx(np.pi)
    assert injectivity_radius(hyperbolic(2)) == np.inf


@pytest.mark.parametrize(
    "manifold", [hyperbolic(3), spherical(3), euclidean(3), hyperbolic(2) * spherical(2)]
)
def test_float32_stays(manifold):
    rng = np.random.default_rng(1)
    z = some_points(rng, manifold).astype(np.float32)
    v = project_vectors(manifold, z, 0.5 * rng.standard_normal(z.shape).astype(np.float32))
    x = exponential(manifold, z, v)
    for found in (
        x,
        logarithm(manifold, z, x),
        distance(manifold, z, x),
        transport(manifold, z, x, v),
        centroid(manifold, z),
        project_points(manifold, z),
        norm(manifold, z, v),
        geodesic(manifold, z, v, np.float32([0.5])),
        differentials.step_tangent(manifold, z, v, v, v),
        *differentials.exponential_adjoint(manifold, z, v, z),
        length_differentials.origin_logarithm_tangent(manifold, z, v),
        length_differentials.distance_tangent(manifold, z, x, v, v),
    ):
        assert found.dtype == np.float32
    np.testing.assert_allclose(logarithm(manifold, z, x), v, atol=2e-5)


# ---- far out ----------------------------------------------------------------------------------------------


@given(seed=SEEDS, radius=st.floats(5, 20), curvature=st.sampled_from([-0.25, -1.0, -4.0]))
def test_far_out_distances_are_those_of_polar_coordinates(seed, radius, curvature):
    """Along a ray the difference of the radii; across it the law of cosines in angles that are exact."""
    rng = np.random.default_rng(seed)
    manifold, unit = hyperbolic(2, curvature), 1 / np.sqrt(-curvature)
    further = radius + rng.uniform(0.1, 2.0)
    angle = rng.uniform(0.1, 3.0)

    def at(r, phi):
        return project_points(manifold, unit * np.sinh(r) * np.array([0.0, np.cos(phi), np.sin(phi)]))

    found = distance(manifold, at(radius, angle), at(further, angle))
    # of the direction, epsilon; at that radius it is e^r / 2 as much, but at right angles
    assert found == pytest.approx(unit * (further - radius), rel=1e-12)
    half = np.sinh((further - radius) / 2) ** 2 + np.sinh(radius) * np.sinh(further) * np.sin(angle / 2) ** 2
    across = distance(manifold, at(radius, 0.0), at(further, angle))
    assert across == pytest.approx(2 * unit * np.arcsinh(np.sqrt(half)), rel=1e-13)
    opposite = distance(manifold, at(radius, 0.3), at(further, 0.3 + np.pi))
    assert opposite == pytest.approx(unit * (further + radius), rel=1e-12)
    for inner_radius in (0.0, 0.3, 3.0):  # to points further in, either way
        ends = at(inner_radius, angle), at(radius, angle)
        for one, other in (ends, ends[::-1]):
            expected = unit * (radius - inner_radius)
            assert distance(manifold, one, other) == pytest.approx(expected, rel=1e-13)
    # lengths of radial vectors: v = (sinh r, cosh r e) has length 1
    e = np.array([np.cos(angle), np.sin(angle)])
    v = np.concatenate([[np.sinh(radius)], np.cosh(radius) * e])
    naive = inner(manifold, v, v)
    if radius < 12:
        assert norm(manifold, at(radius, angle), v) == pytest.approx(1.0, rel=1e-7)
    if radius > 19:
        assert abs(naive - 1) > 1e-3


def test_transport_beside_far_out_stays_a_transport():
    manifold = hyperbolic(2)
    z = project_points(manifold, [0.0, np.sinh(8.0), 0.0])
    v = np.array([0.0, 0.0, 1.0])  # across the ray
    x = exponential(manifold, z, 1e-3 * v)
    assert norm(manifold, x, transport(manifold, z, x, v)) == pytest.approx(1.0, rel=1e-9)


# ---- differentials ----------------------------------------------------------------------------------------


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_exponential_differentials_are_its_derivatives(seed, manifold):
    rng, z, v, _ = scene(seed, manifold)
    w, g = rng.standard_normal(z.shape), rng.standard_normal(z.shape)
    by_vector = differentials.exponential_by_vector(manifold, z, v, w)
    by_point = differentials.exponential_by_point(manifold, z, v, w)
    close(by_vector, complex_step(lambda u: exponential(manifold, z, u), (v, w)), manifold)
    close(by_point, complex_step(lambda y: exponential(manifold, y, v), (z, w)), manifold)
    point_bar, vector_bar = differentials.exponential_adjoint(manifold, z, v, g)
    close((vector_bar * w).sum(axis=1), (g * by_vector).sum(axis=1), manifold)
    close((point_bar * w).sum(axis=1), (g * by_point).sum(axis=1), manifold)


@given(seed=SEEDS, manifold=MANIFOLDS, reach=st.floats(2, 6))
def test_exponential_by_vector_further_out(seed, manifold, reach):
    """The stable length of v keeps the derivative, also where v is no longer tangent under a complex step."""
    rng = np.random.default_rng(seed)
    z = some_points(rng, manifold, reach=reach)
    v, w = some_vectors(rng, manifold, z), rng.standard_normal(z.shape)
    found = differentials.exponential_by_vector(manifold, z, v, w)
    truth = complex_step(lambda u: exponential(manifold, z, u), (v, w))
    size = np.abs(truth).max(axis=1, keepdims=True)
    assert (np.abs(found - truth) / size).max() <= 1e-12 * np.exp(2 * reach)
    lengths = norm(manifold, z, v)
    slopes = complex_step(lambda u: norm(manifold, z, u), (v, w))
    np.testing.assert_allclose(
        slopes, inner(manifold, v, w) / lengths, rtol=1e-9 * np.exp(reach), atol=1e-10 * np.exp(2 * reach)
    )


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_origin_logarithm_differentials(seed, manifold):
    rng, z, v, _ = scene(seed, manifold)
    w, g = rng.standard_normal(z.shape), rng.standard_normal(z.shape)
    for at in (z, np.repeat(manifold.origin()[None], len(z), axis=0)):
        if at is not z:  # |y| is not analytic at 0 itself
            at = exponential(manifold, at, 1e-3 * manifold.tangent_mask() * w)
        tangent = length_differentials.origin_logarithm_tangent(manifold, at, w)
        truth = complex_step(lambda y: length_differentials.origin_logarithm(manifold, y), (at, w))
        close(tangent, truth, manifold, 10)
        bar = length_differentials.origin_logarithm_adjoint(manifold, at, g)
        close((bar * w).sum(axis=1), (g * tangent).sum(axis=1), manifold, 10)


@given(seed=SEEDS, manifold=MANIFOLDS, product=st.sampled_from(["l2", "l1"]))
def test_distance_differentials(seed, manifold, product):
    rng, z, _, x = scene(seed, manifold)
    # along the manifold: off it the sphere's two forms differ
    z_dot, x_dot = some_vectors(rng, manifold, z), some_vectors(rng, manifold, x)
    tangent = length_differentials.distance_tangent(manifold, z, x, z_dot, x_dot, product_distance=product)
    truth = complex_step(
        lambda a, b: distance(manifold, a, b, product_distance=product), (z, z_dot), (x, x_dot)
    )
    close(tangent, truth, manifold)
    g = rng.standard_normal(len(z))
    z_bar, x_bar = length_differentials.distance_adjoint(manifold, z, x, g, product_distance=product)
    close((z_bar * z_dot + x_bar * x_dot).sum(axis=1), g * tangent, manifold)
    still = length_differentials.distance_tangent(manifold, z, z, z_dot, z_dot, product_distance=product)
    assert not still.any()


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_transport_differentials(seed, manifold):
    rng, z, v, x = scene(seed, manifold)
    w, g = some_vectors(rng, manifold, z), rng.standard_normal(z.shape)
    dots = rng.standard_normal((3, *z.shape))
    tangent = differentials.transport_tangent(manifold, z, x, w, *dots)
    truth = complex_step(lambda a, b, c: transport(manifold, a, b, c), *zip((z, x, w), dots, strict=True))
    close(tangent, truth, manifold, 10 * scales(manifold))
    bars = differentials.transport_adjoint(manifold, z, x, w, g)
    pulled = np.sum([(bar * dot).sum(axis=1) for bar, dot in zip(bars, dots, strict=True)], axis=0)
    close(pulled, (g * tangent).sum(axis=1), manifold, 10 * scales(manifold))


@pytest.mark.parametrize("mode", TANGENTS)
@given(seed=SEEDS, manifold=MANIFOLDS)
def test_step_tangent_is_the_derivative_of_the_step(mode, seed, manifold):
    rng, z, _, _ = scene(seed, manifold)
    u, z_dot, u_dot, g = rng.standard_normal((4, *z.shape))
    maps = ExactMaps(manifold, mode, backend="plain")
    found = differentials.step_tangent(manifold, z, u, z_dot, u_dot, tangent=mode)
    truth = complex_step(maps.step, (z, z_dot), (u, u_dot))
    size = np.abs(truth).max(axis=1, keepdims=True)
    assert (np.abs(found - truth) / size).max() < 1e-11
    for backend in ("plain", "cpu"):
        u_bar, z_bar = ExactMaps(manifold, mode, backend=backend).step_backward(z, u, g)
        both = (u_bar * u_dot + z_bar * z_dot).sum(axis=1)
        terms = (
            np.abs(g * found).sum(axis=1)
            + np.abs(u_bar * u_dot).sum(axis=1)
            + np.abs(z_bar * z_dot).sum(axis=1)
        )
        assert (np.abs(both - (g * found).sum(axis=1)) / terms).max() < 1e-11


def test_logarithm_is_smooth_at_its_own_point():
    for manifold in (hyperbolic(3), spherical(3), euclidean(3)):
        rng, z, v, _ = scene(3, manifold)
        close(complex_step(lambda x, z=z, m=manifold: logarithm(m, z, x), (z, v)), v, manifold)


# ---- refusals ---------------------------------------------------------------------------------------------

H, S = hyperbolic(2), spherical(2)
OFF_H = [1.3, 0.75, 0.0]
step_tangent = differentials.step_tangent
ON_H, ON_S = [1.25, 0.75, 0.0], [-1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distance(H, OFF_H, ON_H), r"points: expected points of H2, got 1 of 1 off it, .* = 0\.13"),
        (lambda: distance(S, ON_S, [0.0, 1.1, 0.0]), r"ends: expected points of S2, .* = 0\.21"),
        (lambda: distance(H, ON_H, [-1.25, 0.75, 0.0]), "upper sheet"),
        (lambda: exponential(H, ON_H, [1.0, 0.0, 0.0]), r"vectors: expected vectors tangent to H2, .* 1\.2"),
        (lambda: norm(S, ON_S, [0.1, 1.0, 0.0]), r"tangent to S2, got 1 of 1 not so, .* = 0\.1"),
        (lambda: transport(S, ON_S, [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]), "vectors: expected vectors tangent"),
        (lambda: logarithm(S, ON_S, [1.0, 0.0, 0.0]), "ends: expected no antipodes"),
        (lambda: transport(S, ON_S, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), "ends: expected no antipodes"),
        (lambda: length_differentials.origin_logarithm(S, [1.0, 0.0, 0.0]), "no antipode of the origin"),
        (lambda: length_differentials.origin_logarithm_adjoint(S, [1.0, 0.0, 0.0], ON_S), "no antipode"),
        (lambda: length_differentials.distance_adjoint(S, ON_S, [1.0, 0.0, 0.0], 1.0), "no antipodes"),
        (lambda: distance(H, [np.nan, 0.0, 0.0], ON_H), "points: expected finite numbers"),
        (lambda: exponential(H, ON_H, [np.inf, 0.0, 0.0]), "vectors: expected finite numbers"),
        (lambda: distance(H, [1.0, 0.0], ON_H), r"expected shape \(..., 3\), .* of H2, got \(2,\)"),
        (lambda: distance(H, 1.0, ON_H), r"points: expected shape \(..., 3\)"),
        (lambda: distance(H, np.ones((0, 3)), ON_H), "at least one"),
        (lambda: distance(H, [ON_H] * 2, [ON_H] * 3), r"expected shape \(2, 3\) or \(3,\)"),
        (lambda: distance(H, ON_H, ON_H, product_distance="max"), "product_distance: expected one of"),
        (lambda: exponential(S, ON_S, [0.0, np.pi, 0.0], invertible=True), "below pi R, .* got 1 pi R"),
        (lambda: exponential(spherical(2, 4.0), [-0.5, 0, 0], [0, 1.6, 0.0], invertible=True), "below pi R"),
        (lambda: exponential(H, [1.0, 0.0, 0.0], [0.0, 800.0, 0.0]), "within 708 R .* got 800"),
        (lambda: project_points(S, [0.0, 0.0, 0.0]), "its middle"),
        (lambda: centroid(S, [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), "balance"),
        (lambda: centroid(H, [ON_H], [-1.0]), "weights: expected numbers of at least 0"),
        (lambda: centroid(H, [ON_H], [0.0]), "not all 0"),
        (lambda: centroid(H, ON_H), r"points: expected shape \(..., N, 3\)"),
        (lambda: step_tangent(H, OFF_H, ON_H, ON_H, ON_H), "points: expected points of H2"),
        (lambda: step_tangent(H, ON_H, ON_H, ON_H, ON_H, tangent="literal"), "tangent: expected one of"),
        (lambda: riemannian_gradient(H, [2.0, 0.0, 0.0], ON_H), "points: expected points of H2"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distance(H, [1, 0, 0], ON_H), "points: expected a float32 or float64 array"),
        (lambda: distance(H, np.float32(ON_H), ON_H), "ends: expected dtype float32 .* got float64"),
        (lambda: distance("H2", ON_H, ON_H), "manifold: expected a Manifold"),
        (lambda: injectivity_radius(1.0), "manifold: expected a Manifold"),
    ],
)  # fmt: skip
def test_bad_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_what_is_not_refused():
    """A point far out whose constraint is off by more than 1, and long vectors on the sphere."""
    z = project_points(H, [0.0, 1e9, 0.0])
    assert abs(inner(H, z, z) + 1) >= 1
    assert distance(H, z, ON_H) > 20
    np.testing.assert_allclose(exponential(S, ON_S, [0.0, 2 * np.pi, 0.0]), ON_S, atol=1e-15)
    # the ambient mode takes points off the manifold
    found = step_tangent(H, OFF_H, *np.ones((3, 3)), tangent="ambient")
    assert np.isfinite(found).all()
