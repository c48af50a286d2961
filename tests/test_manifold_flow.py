"""Equations on manifolds: Euler and midpoint steps, drives of a network, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from manifold_cases import MANIFOLDS, SEEDS, scales, scene, some_points

from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.manifold.flow import drive_field, drive_flow, euler_step, flow, midpoint_step
from refsnn.models.manifold.geometry import (
    distance,
    exponential,
    norm,
    project_points,
    project_vectors,
    transport,
)
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Manifold, euclidean, hyperbolic, spherical
from refsnn.models.manifold.maps import ExactMaps
from refsnn.models.manifold.network import ManifoldSpikingNetwork

NEURON = SpikingNeuron(leak=1.0, threshold=0.2, fires=">")


def rotation(seed: int, manifold: Manifold):
    """A field z' = A z of an isometry of one factor, its start and where it is at time 1."""
    rng = np.random.default_rng(seed)
    skew = rng.standard_normal((manifold.width,) * 2)
    matrix = manifold.signature()[:, None] * (skew - skew.T)
    matrix /= np.linalg.norm(matrix, 2)
    z = some_points(rng, manifold, 3, 0.7)
    return lambda y, t: project_vectors(manifold, y, y @ matrix.T), z, z @ scipy.linalg.expm(matrix).T


@settings(max_examples=5)
@pytest.mark.parametrize("kappa", [-1.0, -0.3, 0.5, 2.0])
@given(seed=SEEDS)
def test_orders(kappa, seed):
    manifold = hyperbolic(3, kappa) if kappa < 0 else spherical(3, kappa)
    field, z, end = rotation(seed, manifold)
    end = project_points(manifold, end)
    for method, power in (("euler", 1), ("midpoint", 2)):
        errors = [
            np.linalg.norm(distance(manifold, flow(manifold, field, z, steps=n, method=method)[-1], end))
            for n in (32, 64)
        ]
        assert 0.75 * 2**power < errors[0] / errors[1] < 1.35 * 2**power
    assert errors[1] < 1e-3 * scales(manifold)  # midpoint


@given(seed=SEEDS, manifold=MANIFOLDS)
def test_one_step_is_an_exponential(seed, manifold):
    _, z, v, x = scene(seed, manifold, 0.5)
    np.testing.assert_allclose(
        euler_step(manifold, lambda y, t: 2 * v, z, 0.0, 0.5), x, rtol=1e-14, atol=1e-14
    )
    np.testing.assert_array_equal(
        flow(manifold, lambda y, t: v, z, steps=1), [z, exponential(manifold, z, v)]
    )


@settings(max_examples=10)
@given(seed=SEEDS, manifold=MANIFOLDS)
def test_midpoint_follows_a_geodesic_exactly(seed, manifold):
    """Where the field is the velocity of one geodesic, the vector carried back is the first one."""
    _, z, v, x = scene(seed, manifold, 0.5)

    def along(y, t):
        return transport(manifold, z, y, v)

    np.testing.assert_allclose(
        midpoint_step(manifold, along, z, 0.0, 1.0), x, rtol=1e-12, atol=1e-12 * scales(manifold)
    )


@pytest.mark.parametrize("tangent", ["transport", "project", "ambient"])
@given(seed=SEEDS, manifold=MANIFOLDS)
def test_drives_are_the_steps_of_the_network(tangent, seed, manifold):
    rng, z, _, _ = scene(seed, manifold)
    given_drives = 0.3 * rng.standard_normal((3, *z.shape))
    path = drive_flow(manifold, lambda t: given_drives[round(3 * t)], z, steps=3, tangent=tangent)
    maps = ExactMaps(manifold, tangent, backend="cpu")
    for index, drive in enumerate(given_drives):
        expected = maps.step(path[index], drive / 3)
        np.testing.assert_allclose(path[index + 1], expected, rtol=1e-11, atol=1e-12 * scales(manifold))
    if tangent != "ambient":
        field = drive_field(manifold, lambda t: given_drives[round(3 * t)], tangent)
        euler = flow(manifold, field, z, steps=3)
        np.testing.assert_allclose(path, euler, rtol=1e-9, atol=1e-10 * scales(manifold))


def test_the_blocks_of_a_network_are_a_flow():
    rng = np.random.default_rng(4)
    manifold = hyperbolic(2) * spherical(2)
    network = ManifoldSpikingNetwork(5, manifold, classes=2, layers=3, step_size=0.2, neuron=NEURON)
    graph = Graph.undirected(6, [0, 1, 2, 3, 4], [1, 2, 3, 4, 5])
    inputs = GraphInputs.of(graph, 4 * rng.random((6, 5)), layers=3)
    head = NodeClasses([0, 0, 0, 1, 1, 1], np.arange(6))
    run = differentiation_via_manifold(network, network.initialise(rng), inputs, head).run
    assert min(rate.mean() for rate in run.rates) > 0
    path = drive_flow(
        manifold, lambda t: run.drives[round(t)], np.tile(manifold.origin(), (6, 1)), steps=4, stop=4.0
    )
    np.testing.assert_allclose(path, run.points, rtol=1e-13, atol=1e-14)


def test_one_drive_for_all_points_and_times():
    path = drive_flow(euclidean(2), lambda t: [1.0, t], np.zeros((3, 2)), steps=4, start=1.0, stop=3.0)
    assert path.shape == (5, 3, 2)
    np.testing.assert_allclose(path[-1], np.tile([2.0, 0.5 * (1 + 1.5 + 2 + 2.5)], (3, 1)))
    seen = []
    flow(euclidean(1), lambda z, t: seen.append(t) or z, [1.0], steps=4, start=1.0, stop=3.0)
    assert seen == [1.0, 1.5, 2.0, 2.5]


def test_midpoint_samples_the_field_in_the_middle():
    path = flow(euclidean(1), lambda z, t: np.array([t]), [0.0], steps=2, method="midpoint")
    np.testing.assert_allclose(path[:, 0], [0.0, 0.125, 0.5], rtol=1e-15)


def test_ambient_leaves_the_manifold_and_transport_does_not():
    manifold = spherical(3)
    for tangent, off in (("transport", False), ("project", False), ("ambient", True)):
        z = drive_flow(manifold, lambda t: [1.0, 1.0, t, 0.5], manifold.origin(), steps=20, tangent=tangent)[
            -1
        ]
        assert (abs(z @ z - 1) > 0.1) == off
        assert off or abs(z @ z - 1) < 1e-13


@given(seed=SEEDS, kappa=st.sampled_from([-1.0, -0.3, 1.0]))
def test_transport_is_as_long_as_its_drives(seed, kappa):
    rng = np.random.default_rng(seed)
    manifold = hyperbolic(3, kappa) if kappa < 0 else spherical(3, kappa)
    m = 0.5 * rng.standard_normal(manifold.width)
    z = some_points(rng, manifold)
    field = drive_field(manifold, lambda t: m)(z, 0.0)
    length = np.linalg.norm(m * manifold.tangent_mask())
    np.testing.assert_allclose(norm(manifold, z, field), length, rtol=1e-11)


H = hyperbolic(2)
STILL = [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow(H, lambda z, t: z, H.origin(), steps=2), "vectors: expected vectors tangent"),
        (lambda: flow(H, lambda z, t: z[:2], H.origin(), steps=2), "field: expected vectors of shape"),
        (lambda: flow(H, lambda z, t: 0 * z, [2.0, 0.0, 0.0], steps=2), "points: expected points of H2"),
        (lambda: flow(H, lambda z, t: np.nan * z, H.origin(), steps=2), "vectors: expected finite"),
        (lambda: flow(H, lambda z, t: 0 * z, H.origin(), steps=0), "steps: expected an integer"),
        (lambda: flow(H, lambda z, t: 0 * z, H.origin(), steps=2, method="heun"), "method: expected one of"),
        (lambda: flow(H, lambda z, t: 0 * z, H.origin(), steps=2, stop=np.inf), "stop: expected a finite"),
        (lambda: drive_field(H, lambda t: STILL, "ambient"), "tangent: expected one of"),
        (lambda: drive_flow(H, lambda t: [0.0, 1.0], H.origin(), steps=2), r"drive: expected shape \(3,\)"),
        (lambda: drive_flow(H, lambda t: [0.0, 1.0, np.nan], H.origin(), steps=2), "drive: expected finite"),
        (lambda: drive_flow(H, lambda t: STILL, [2.0, 0, 0], steps=2), "points: expected points"),
        (lambda: drive_flow(H, lambda t: STILL, H.origin(), steps=2, tangent="x"), "tangent: "),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
