"""The published code's maps and decoder: clamps entry by entry, bad input, single precision."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from graph_network_cases import BOTH, draw

from refsnn.models.manifold.heads import Links
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from refsnn.models.manifold.network import product_of
from refsnn.models.manifold.official import OfficialMaps
from refsnn.models.manifold.official_links import OfficialLinks, ranking_scores

LINKS, ABSENT = [[0, 1, 2, 5], [1, 2, 3, 0]], [[0, 4, 7], [6, 5, 2]]
SPACES = [((-1.0, 3),), ((1.0, 3),), ((0.0, 4),)]


def row(*numbers):
    return np.array([numbers], float)


def test_a_time_like_drive_counts_as_a_length_of_1e_4():
    z, u = row(1.2, 0.3, 0.1), row(0.5, 0.2, 0.1)
    length = 1e-4
    expected = math.cosh(length) * z + math.sinh(length) / length * u
    np.testing.assert_allclose(OfficialMaps(hyperbolic(2)).step(z, u), expected, rtol=1e-15)
    g = row(0.3, -0.2, 0.7)
    by_drive, by_point = OfficialMaps(hyperbolic(2)).step_backward(z, u, g)
    along = (z @ g.T + (u @ g.T) / 3).item()
    np.testing.assert_allclose(by_drive, g + row(-0.5, 0.2, 0.1) * along, rtol=1e-7)
    np.testing.assert_allclose(by_point, math.cosh(length) * g, rtol=1e-15)
    over_spikes, _ = OfficialMaps(hyperbolic(2), by_spikes=True).step_backward(z, u, g)
    np.testing.assert_allclose(over_spikes, math.sinh(length) / length * g, rtol=1e-15)


def test_short_steps_on_the_sphere():
    z, u, g = row(-1.1, 0.2, 0.1), row(3e-8, 4e-8, 0.0), row(0.3, -0.2, 0.7)
    maps = OfficialMaps(spherical(2))
    np.testing.assert_allclose(maps.step(z, u), (z + u) / np.linalg.norm(z + u), rtol=1e-15)
    np.testing.assert_allclose(maps.step_backward(z, u, g)[1], math.cos(0.01) * g, rtol=1e-15)
    spikes = OfficialMaps(spherical(2), by_spikes=True)
    np.testing.assert_allclose(spikes.step_backward(z, 1e5 * u, g)[1], math.cos(0.005) * g, rtol=1e-15)
    np.testing.assert_allclose(maps.step_backward(z, 1e5 * u, g)[1], math.cos(0.01) * g, rtol=1e-15)
    np.testing.assert_allclose(
        maps.step(z, 1e7 * u), math.cos(0.5) * z + math.sin(0.5) / 0.5 * 1e7 * u, rtol=1e-15
    )


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_over_spikes_a_short_step_is_differentiated_as_it_is_made(size):
    z, u, g = row(-1.1, 0.2, 0.1), size * row(3e-8, 4e-8, 0.0), row(0.3, -0.2, 0.7)
    end, length = (z + u) / np.linalg.norm(z + u), np.linalg.norm(z + u)
    expected = (g - (g @ end.T) * end) / length
    for found in OfficialMaps(spherical(2), by_spikes=True).step_backward(z, u, g):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    by_drive, by_point = OfficialMaps(spherical(2)).step_backward(z, u, g)  # closed forms, not the derivative
    assert np.abs(by_drive - expected).max() > 0.1
    assert np.abs(by_point - expected).max() > 0.1


def test_clamps_of_the_sphere_are_wider_in_single_precision():
    z, u = row(-1.1, 0.2, 0.1), row(3e-5, 4e-5, 0.0)
    maps = OfficialMaps(spherical(2))
    assert np.linalg.norm(maps.step(z, u)) > 1.1
    narrow = maps.step(z.astype(np.float32), u.astype(np.float32))
    assert np.linalg.norm(narrow) == pytest.approx(1, abs=1e-6)
    point = row(0.0, 3e-5, 4e-5)
    np.testing.assert_allclose(maps.origin_logarithm(point), np.pi / 2 * row(0, 0.6, 0.8), rtol=1e-12)
    narrow = maps.origin_logarithm(point.astype(np.float32))
    np.testing.assert_allclose(narrow, np.pi / 4 * row(0, 0.6, 0.8), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "margin"), [(np.float64, 1e-7), (np.float32, 1e-4)])
def test_the_logarithm_of_a_point_below_the_hyperboloid(dtype, margin):
    z, g = row(0.9, 0.3, 0.4).astype(dtype), row(9.0, 1.0, -1.0).astype(dtype)
    maps, length = OfficialMaps(hyperbolic(2)), math.acosh(1 + margin)
    found = maps.origin_logarithm(z)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, length / 0.5 * row(0, 0.3, 0.4), rtol=4e-4 if margin == 1e-4 else 1e-8)
    back = maps.origin_logarithm_backward(z, g)
    assert back.dtype == dtype
    assert back[0, 0] == 0
    above = maps.origin_logarithm_backward(row(1.1, 0.3, 0.4).astype(dtype), g)
    np.testing.assert_allclose(above[0, 0], (0.3 - 0.4) / 0.5 / math.sqrt(1.1**2 - 1), rtol=1e-4)


@pytest.mark.parametrize("polar", [-1.3, 1.3])
def test_the_logarithm_of_a_point_outside_the_sphere(polar):
    z, g = row(polar, 0.3, 0.4), row(9.0, 1.0, -1.0)
    maps, length = OfficialMaps(spherical(2)), math.acos(math.copysign(1 - 1e-7, -polar))
    np.testing.assert_allclose(maps.origin_logarithm(z), length / 0.5 * row(0, 0.3, 0.4), rtol=1e-12)
    assert maps.origin_logarithm_backward(z, g)[0, 0] == 0
    inside = maps.origin_logarithm_backward(row(0.6, 0.3, 0.4), g)
    np.testing.assert_allclose(inside[0, 0], (0.3 - 0.4) / 0.5 / 0.8, rtol=1e-14)


@pytest.mark.parametrize("space", [hyperbolic(2), spherical(2)])
def test_the_logarithm_of_the_origin(space):
    maps = OfficialMaps(space)
    z, g = space.origin()[None], row(0.0, 1.0, 2.0)
    assert not maps.origin_logarithm(z).any()
    assert np.isfinite(maps.origin_logarithm_backward(z, g)).all()


def test_flat_space_has_no_clamps():
    maps, z, u = OfficialMaps(euclidean(3)), row(1.0, 2.0, 3.0), row(0.1, 0.2, 0.3)
    np.testing.assert_array_equal(maps.step(z, u), z + u)
    for array in (*maps.step_backward(z, u, u), maps.origin_logarithm_backward(z, u)):
        np.testing.assert_array_equal(array, u)


def test_products_are_blockwise():
    rng = np.random.default_rng(0)
    both = product_of((-1.0, 2), (1.0, 2))
    z, u, g = rng.standard_normal((3, 5, 6))
    whole, parts = OfficialMaps(both), (OfficialMaps(hyperbolic(2)), OfficialMaps(spherical(2)))
    for own, part in zip((slice(0, 3), slice(3, 6)), parts, strict=True):
        np.testing.assert_array_equal(whole.step(z, u)[:, own], part.step(z[:, own], u[:, own]))
        for one, other in zip(
            whole.step_backward(z, u, g), part.step_backward(z[:, own], u[:, own], g[:, own]), strict=True
        ):
            np.testing.assert_array_equal(one[:, own], other)
        np.testing.assert_array_equal(whole.origin_logarithm(z)[:, own], part.origin_logarithm(z[:, own]))


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("space", SPACES)
def test_published_networks_stay_single(space, algorithm):
    case = draw(1, space, "ambient").changed(compat="official")
    inputs = GraphInputs.of(case.inputs.graph, case.inputs.features, 2, np.float32)
    parameters = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    narrow = replace(case, inputs=inputs, parameters=parameters).run(algorithm)
    arrays = [
        *narrow.run.points,
        *narrow.gradients.values(),
        *narrow.point_gradients,
        *narrow.drive_gradients,
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_the_exact_maps_are_others():
    case = draw(1, SPACES[0], "ambient")
    assert abs(case.changed(compat="official").run().loss / case.run().loss - 1) > 1e-3


# -- links ----------------------------------------------------------------------------------------------


def published(seed, space, **options):
    case = draw(seed, space, "ambient")
    weights = {name: array for name, array in case.parameters.items() if name.startswith("layer")}
    given = {"radius": 0.8, "temperature": 0.4} | options
    return replace(case, head=OfficialLinks(LINKS, ABSENT, **given), parameters=weights).changed(
        classes=0, compat="official"
    )


def loss_by_hand(case, h):
    """Of vectors at the origin, pair by pair."""
    kappa, head, total = case.network.manifold.factors[0].curvature, case.head, 0.0
    for pairs, linked in ((LINKS, True), (ABSENT, False)):
        for i, j in zip(*pairs, strict=True):
            a, b = h[i], h[j]
            if kappa < 0:
                score = a @ b / (max(math.hypot(*a), 1e-8) * max(math.hypot(*b), 1e-8))
                p = 1 / (1 + math.exp(-score))
            else:
                bounded = min(max(a @ b, -1 + 1e-7), 1 - 1e-7)
                length = math.acos(bounded) if kappa > 0 else math.dist(a, b)
                p = min(max(1 / (1 + math.exp((length - head.radius) / head.temperature)), 0.01), 0.99)
            total -= math.log(p if linked else 1 - p) / len(pairs[0])
    return total


@pytest.mark.parametrize("space", SPACES)
def test_the_loss_of_the_published_decoder(space):
    case = published(2, space)
    result = case.run()
    h = OfficialMaps(case.network.manifold).origin_logarithm(result.run.points[-1])
    assert result.loss == pytest.approx(loss_by_hand(case, h), rel=1e-13)
    assert result.diagnostics.outputs.shape == (7,)
    for name, array in result.gradients.items():
        assert np.abs(array).max() > 1e-6, name


@pytest.mark.parametrize("space", SPACES)
def test_its_gradient_by_differences_in_h(space):
    """dL/dh of `_of_pairs`, by moving one vector at a time."""
    case = published(3, space)
    rng = np.random.default_rng(0)
    a, b = 0.6 * rng.standard_normal((2, 6, 4))
    kappa = case.network.manifold.factors[0].curvature
    for linked in (True, False):
        _, losses, by_a, by_b = case.head._of_pairs(kappa, a, b, linked)
        for place in np.ndindex(a.shape):
            for one, slopes in ((a, by_a), (b, by_b)):
                ends = []
                for sign in (1, -1):
                    one[place] += sign * 1e-6
                    ends.append(case.head._of_pairs(kappa, a, b, linked)[1][place[0]])
                    one[place] -= sign * 1e-6
                assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slopes[place], abs=2e-8)
        assert np.isfinite(losses).all()


def test_clipped_probabilities_pass_no_gradient():
    case = published(2, SPACES[2], radius=-50.0)
    result = case.run()
    assert result.loss == pytest.approx(-math.log(0.01) - math.log(0.99))
    assert not any(array.any() for array in result.gradients.values())
    far = published(2, SPACES[2], radius=50.0).run()
    assert far.loss == pytest.approx(-math.log(0.99) - math.log(0.01))


def test_clipped_arcs_pass_no_gradient():
    head = OfficialLinks(LINKS, ABSENT)
    a, b = row(1.0, 1.0, 0.0), row(1.0, 0.5, 0.0)
    lengths, _, by_a, by_b = head._of_pairs(1.0, a, b, True)
    assert lengths[0] == pytest.approx(math.acos(1 - 1e-7))
    assert not by_a.any()
    assert not by_b.any()


@pytest.mark.parametrize("kappa", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_of_nothing(kappa, dtype):
    zero = np.zeros((2, 3), dtype)
    for array in OfficialLinks(LINKS, ABSENT)._of_pairs(kappa, zero, zero, True):
        assert np.isfinite(array).all()
        assert array.dtype == dtype


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("space", SPACES)
def test_published_links_stay_single(space, algorithm):
    case = published(2, space)
    inputs = GraphInputs.of(case.inputs.graph, case.inputs.features, 2, np.float32)
    parameters = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    narrow = replace(case, inputs=inputs, parameters=parameters).run(algorithm)
    assert {array.dtype for array in narrow.gradients.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("curvature", [-0.7, 1.3])
def test_the_published_decoder_on_exact_maps_learns_curvature(curvature):
    """As an option beside the exact maps, where curvatures can be learned: against differences."""
    case = draw(2, ((curvature, 3),), learn_curvature=True)
    case = replace(case, head=OfficialLinks(LINKS, ABSENT, 0.8, 0.4))
    found = case.run().gradients["curvature"].item()
    losses = []
    for step in (1e-6, -1e-6):
        moved = case.parameters | {"curvature": case.parameters["curvature"] + step}
        losses.append(replace(case, parameters=moved).run().loss)
    assert abs(found) > 1e-4
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(found, rel=1e-5)


def test_ranking_is_by_summed_drives():
    case = published(2, SPACES[0])
    run = case.run().run
    h = sum(run.drives)[:, 1:]
    expected = [
        h[i] @ h[j] / (np.linalg.norm(h[i]) * np.linalg.norm(h[j])) for i, j in zip(*LINKS, strict=True)
    ]
    np.testing.assert_allclose(ranking_scores(case.network, run, LINKS), expected, rtol=1e-13)
    with pytest.raises(ValueError, match="pairs: expected nodes 0 to 7, got 9"):
        ranking_scores(case.network, run, [[0], [9]])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"links": [[], []]}, ValueError, r"links: expected shape \(2, E\) with E >= 1, got \(2, 0\)"),
        ({"absent": [0, 1]}, ValueError, "absent: expected shape"),
        ({"links": [[0], [8]]}, ValueError, "links: expected nodes 0 to 7, got 8"),
        ({"absent": [[0.0], [1.0]]}, TypeError, "absent: expected indices of nodes"),
        ({"radius": np.nan}, ValueError, "radius: expected a finite number"),
        ({"temperature": -1.0}, ValueError, "temperature: expected"),
    ],
)
def test_bad_published_links(options, kind, message):
    case = published(2, SPACES[0])
    with pytest.raises(kind, match=message):
        replace(case, head=replace(case.head, **options)).run()


def test_the_published_decoder_knows_no_products():
    case = draw(1, ((-1.0, 2), (1.0, 2)), "ambient").changed(compat="official")
    with pytest.raises(ValueError, match="network: expected one factor, got H2 x S2"):
        replace(case, head=OfficialLinks(LINKS, ABSENT)).run()
    with pytest.raises(ValueError, match="network: expected tangent 'transport' or 'project' for links"):
        replace(case, head=Links(LINKS, ABSENT)).run()
