"""The kernels of geometry and graphs are twins: same names, same numbers, in each mode and curvature."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from refsnn.kernels import graph_kernels, manifold_kernels
from refsnn.kernels.manifold import CODES
from refsnn.models.manifold.graph import SparseMatrix, incidence
from refsnn.models.manifold.maps import ExactMaps
from refsnn.models.manifold.network import product_of

RELATIVE = {np.float64: 1e-12, np.float32: 3e-5}
TWINS = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
CURVATURES = st.sampled_from([-1.0, -0.3, 0.0, 0.5, 1.0, 2.0])


def public_signatures(module):
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize(("module", "functions"), [("manifold", 6), ("graph", 1)])
def test_twins_by_name(backend, module, functions):
    plain = public_signatures(importlib.import_module(f"refsnn.kernels.plain.{module}"))
    assert len(plain) == functions
    assert public_signatures(importlib.import_module(f"refsnn.kernels.{backend}.{module}")) == plain


def close(found, expected, dtype, what, stretch=1.0):
    assert found.dtype == expected.dtype == dtype, what
    assert np.abs(expected).max() > 0, what
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error <= RELATIVE[dtype] * stretch, f"{what}: off by {error:.1e}"


def points_and_drives(rng, manifold, nodes, dtype):
    """Points that two steps from the origin have led to, drives, and any adjoint."""
    points = np.repeat(manifold.origin()[None], nodes, axis=0)
    for _ in range(2):
        points = stepped("plain", manifold, "transport", points, rng.normal(0, 0.5, points.shape))
    drives, adjoint = rng.normal(0, 0.5, points.shape), rng.normal(0, 1, points.shape)
    return points.astype(dtype), drives.astype(dtype), adjoint.astype(dtype)


def stepped(backend, manifold, mode, points, drives):
    moved = np.full_like(points, np.nan)
    for factor in manifold.columns(points.dtype):
        manifold_kernels(backend).step(factor, CODES[mode], points, drives, moved)
    return moved


def all_of_it(backend, manifold, mode, literal, points, drives, adjoint, pairs):
    """All that the kernels write, by name."""
    kernels, found = manifold_kernels(backend), {"moved": stepped(backend, manifold, mode, points, drives)}
    for name in ("by_drive", "by_point", "read", "by_read", "by_pairs"):
        found[name] = np.full_like(points, np.nan)
    squares = np.full((len(manifold.factors), len(pairs.sources)), np.nan, points.dtype)
    slopes = squares.copy()
    for place, factor in enumerate(manifold.columns(points.dtype)):
        kernels.step_backward(
            factor, CODES[mode], literal, points, drives, adjoint, found["by_drive"], found["by_point"]
        )
        kernels.origin_logarithm(factor, points, found["read"])
        kernels.origin_logarithm_backward(factor, points, adjoint, found["by_read"])
        kernels.squared_distances(factor, points, pairs, squares[place], slopes[place])
        kernels.squared_distances_backward(factor, points, pairs, slopes[place], found["by_pairs"])
    return found | {"squares": squares, "slopes": slopes}


def check(backend, seed, factors, mode, literal, dtype, nodes):
    rng, manifold = np.random.default_rng(seed), product_of(*factors)
    points, drives, adjoint = points_and_drives(rng, manifold, nodes, dtype)
    sources = rng.integers(0, nodes, 2 * nodes)
    pairs = incidence(nodes, sources, (sources + rng.integers(1, nodes, 2 * nodes)) % nodes)
    given = points, drives, adjoint, pairs
    expected = all_of_it("plain", manifold, mode, literal, *given)
    for name, value in all_of_it(backend, manifold, mode, literal, *given).items():
        if name == "by_drive" and not value.any() and not expected[name].any():
            continue  # a curved factor of dimension 1 can be moved along its first coordinate only
        # far out a projected drive is as long as z_0, and z_0^2 cancels in its <v, v>
        stretch = max(1.0, np.abs(points).max() ** 2) if mode == "project" else 1.0
        close(value, expected[name], dtype, name, stretch)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(CURVATURES, st.integers(1, 4)), min_size=1, max_size=3),
    st.sampled_from(sorted(CODES)),
    st.booleans(),
    st.sampled_from([np.float64, np.float32]),
)
def test_cpu_is_plain(seed, factors, mode, literal, dtype):
    check("cpu", seed, factors, mode, literal, dtype, 6)


@pytest.mark.cuda
@settings(max_examples=6, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(CURVATURES, st.integers(1, 3)), min_size=2, max_size=3),
    st.sampled_from(sorted(CODES)),
    st.booleans(),
    st.sampled_from([np.float64, np.float32]),
)
def test_cuda_is_plain(seed, factors, mode, literal, dtype):
    check("cuda", seed, factors, mode, literal, dtype, 3)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
@pytest.mark.parametrize("mode", sorted(CODES))
def test_the_adjoint_may_be_written_over_what_came(backend, mode):
    rng, manifold = np.random.default_rng(3), product_of((-1.0, 2), (0.0, 1), (0.7, 2))
    points, drives, adjoint = points_and_drives(rng, manifold, 3, np.float64)
    apart, into = np.full_like(points, np.nan), np.full_like(points, np.nan)
    over, again = adjoint.copy(), np.full_like(points, np.nan)
    for factor in manifold.columns(np.float64):
        given = factor, CODES[mode], False, points, drives
        manifold_kernels(backend).step_backward(*given, adjoint, into, apart)
        manifold_kernels(backend).step_backward(*given, over, again, over)
    np.testing.assert_array_equal(over, apart)
    np.testing.assert_array_equal(again, into)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_at_the_origin_and_at_equal_points(backend, dtype):
    """Nothing is divided by zero: the logarithm of o is 0, and so is the distance of a point to itself."""
    manifold = product_of((-0.5, 2), (0.0, 2), (2.0, 2))
    points = np.repeat(manifold.origin(dtype)[None], 2, axis=0)
    pairs, rest = incidence(2, np.array([0]), np.array([1])), np.zeros_like(points)
    adjoint = np.arange(1, points.size + 1).reshape(points.shape).astype(dtype)
    found = all_of_it(backend, manifold, "transport", False, points, rest, adjoint, pairs)
    np.testing.assert_array_equal(found["moved"], points)
    np.testing.assert_array_equal(found["squares"], 0)
    np.testing.assert_allclose(found["slopes"], 1, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(found["by_pairs"], 0)
    np.testing.assert_array_equal(found["read"], 0)
    mask = manifold.tangent_mask(dtype)
    # R / |z_0| is 1 up to the rounding of z_0
    np.testing.assert_allclose(found["by_read"], mask * adjoint, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(found["by_drive"], mask * adjoint)
    assert all(value.dtype == dtype for value in found.values())


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_over_neighbours(backend, dtype):
    """Rows without entries, repeated ones, a matrix that is not square; each row in the order listed."""
    rng = np.random.default_rng(5)
    dense = rng.normal(size=(5, 4)) * (rng.random((5, 4)) < 0.5)
    dense[2] = 0
    matrix = SparseMatrix.of(sparse.csr_array(dense), dtype)
    signals, out = rng.normal(size=(4, 3)).astype(dtype), np.full((5, 3), np.nan, dtype)
    expected = out.copy()
    for name, into in ((backend, out), ("plain", expected)):
        graph_kernels(name).propagate(matrix.starts, matrix.neighbours, matrix.values, signals, into)
    close(out, expected, dtype, "product")
    assert not out[2].any()
    np.testing.assert_allclose(out, dense @ signals, rtol=1e-12 if dtype is np.float64 else 1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
@pytest.mark.parametrize(("dtype", "radius"), [(np.float64, 15.0), (np.float32, 6.0)])
def test_distances_far_out_keep_their_digits(backend, dtype, radius):
    """Two points of one ray: the chord taken as it stands would be rounded by the square of z_0."""
    manifold, apart = product_of((-1.0, 2)), 0.5
    along = np.array([radius, radius + apart])
    points = np.stack([np.cosh(along), 0.6 * np.sinh(along), 0.8 * np.sinh(along)], axis=1).astype(dtype)
    pairs = incidence(2, np.array([0, 1]), np.array([1, 0]))
    squares, slopes = np.empty(2, dtype), np.empty(2, dtype)
    (factor,) = manifold.columns(dtype)
    manifold_kernels(backend).squared_distances(factor, points, pairs, squares, slopes)
    np.testing.assert_allclose(np.sqrt(squares), apart, rtol=10 * np.finfo(dtype).eps)
    np.testing.assert_allclose(slopes, 0.5 / np.sinh(0.5), rtol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", TWINS)
@pytest.mark.parametrize("mode", sorted(CODES))
def test_nodes_without_a_gradient_are_left_out(backend, mode):
    """Zeros come from zeros, and the others get what they get alone."""
    rng, manifold = np.random.default_rng(4), product_of((-1.0, 2), (0.0, 1), (0.7, 2))
    points, drives, adjoint = points_and_drives(rng, manifold, 4, np.float64)
    adjoint[[0, 2]] = 0
    adjoint[1, :3] = 0  # one factor of a node alone
    adjoint[3, [0, 2, 4, 6]] = 0  # first and last coordinates alone are no silence
    pairs = incidence(4, np.array([0, 1]), np.array([1, 2]))
    expected = all_of_it("plain", manifold, mode, False, points, drives, adjoint, pairs)
    found = all_of_it(backend, manifold, mode, False, points, drives, adjoint, pairs)
    for name in ("by_drive", "by_point", "by_read"):
        assert not found[name][[0, 2]].any()
        assert not found[name][1, :3].any()
        close(found[name], expected[name], np.float64, name)


@pytest.mark.parametrize("backend", ["plain", *TWINS])
def test_below_the_pole_the_logarithm_has_the_slope_of_its_neighbours(backend):
    """An ambient step along the axis leaves y = 0 with z_0 that is not -R."""
    maps = ExactMaps(product_of((4.0, 2)), "ambient", backend=backend)
    g = np.array([[0.3, 1.0, -2.0]])
    for polar in (-0.5, -0.4, -0.8):
        z, near = np.array([[polar, 0.0, 0.0]]), np.array([[polar, 1e-9, 0.0]])
        found = maps.origin_logarithm_backward(z, g)
        np.testing.assert_allclose(found, [[0, -0.5 / polar, 1 / polar]], rtol=1e-15)
        np.testing.assert_allclose(found[0, 1], maps.origin_logarithm(near)[0, 1] / 1e-9, rtol=1e-12)
