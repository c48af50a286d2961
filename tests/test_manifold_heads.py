"""Heads of graph networks: classes and links against loops by hand, kinks, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from graph_network_cases import BACKENDS, BOTH, assert_close, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.differentiation_via_manifold import maps_of
from refsnn.algorithms.manifold_prediction import link_probabilities, node_logits
from refsnn.models.manifold.geometry import distance
from refsnn.models.manifold.heads import Links, NodeClasses, embedding, logits, total_distance

SEEDS = st.integers(0, 2**32 - 1)
HYPERBOLIC, SPHERE, PRODUCT = ((-0.5, 3),), ((2.0, 3),), ((-1.0, 2), (0.0, 2), (0.5, 2))
LINKS, ABSENT = [[0, 1, 2, 5], [1, 2, 3, 0]], [[0, 4, 7], [6, 5, 2]]


def with_links(seed=1, space=HYPERBOLIC, tangent="transport", **options):
    case = draw(seed, space, tangent)
    weights = {name: array for name, array in case.parameters.items() if name.startswith("layer")}
    given = {"radius": 0.6, "temperature": 0.3} | options
    return replace(case, head=Links(LINKS, ABSENT, **given), parameters=weights).changed(classes=0)


# -- classes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["manifold", "tangent"])
def test_the_loss_is_the_mean_cross_entropy_of_the_chosen_nodes(head):
    case = draw(1, PRODUCT)
    case = replace(case, head=NodeClasses(case.head.labels, [5, 2, 7], head))
    result = case.run()
    maps = maps_of(case.network, case.parameters, "plain")
    outputs = logits(case.network, case.parameters, result.run, maps, head)
    np.testing.assert_allclose(result.diagnostics.outputs, outputs, rtol=1e-12)
    total = 0.0
    for node in (5, 2, 7):
        row = outputs[node].tolist()
        total += math.log(sum(math.exp(x) for x in row)) - row[int(case.head.labels[node])]
    assert result.loss == pytest.approx(total / 3, rel=1e-13)


def test_a_mask_is_the_same_as_its_indices():
    case = draw(2)
    mask = np.zeros(8, bool)
    mask[[1, 4, 6]] = True
    one, other = (replace(case, head=replace(case.head, nodes=nodes)).run() for nodes in (mask, [1, 4, 6]))
    for name, array in one.gradients.items():
        np.testing.assert_array_equal(array, other.gradients[name])


@pytest.mark.parametrize("nodes", [[5, 2, 2], np.ones(9, np.int64)])
def test_a_node_that_is_named_twice_is_refused(nodes):
    """A mask of numbers would train on nodes 0 and 1 alone, many times each."""
    case = draw(2)
    with pytest.raises(
        ValueError, match=r"^nodes: expected each node once, got node \d \d times; a mask needs"
    ):
        replace(case, head=NodeClasses(case.head.labels, nodes)).run()


def test_predictions_are_those_of_the_training():
    case = draw(4)
    given = case.network, case.parameters, case.inputs
    result = case.run()
    np.testing.assert_array_equal(node_logits(*given), result.diagnostics.outputs)
    tangent = replace(case, head=replace(case.head, head="tangent")).run()
    np.testing.assert_array_equal(node_logits(*given, head="tangent"), tangent.diagnostics.outputs)
    pairs = np.array([[0, 1, 2], [3, 4, 2]])
    probabilities = link_probabilities(*given, pairs, radius=1.5, temperature=0.5)
    lengths = distance(case.network.manifold, *(result.run.points[-1][ends] for ends in pairs))
    np.testing.assert_allclose(probabilities, 1 / (np.exp((lengths - 1.5) / 0.5) + 1), rtol=1e-12)
    without = replace(case.network, classes=0)
    weights = {name: case.parameters[name] for name in without.parameter_shapes()}
    with pytest.raises(ValueError, match=r"^network: expected classes >= 1, got 0; for links take"):
        node_logits(without, weights, case.inputs)


def test_tangent_logits_are_read_from_the_drives_and_send_nothing_to_points():
    case = draw(3, PRODUCT)
    result = replace(case, head=replace(case.head, head="tangent")).run()
    assert all(not array.any() for array in result.point_gradients)
    for array in result.drive_gradients:
        np.testing.assert_array_equal(array, result.drive_gradients[0])
    columns = case.network.manifold.tangent_mask() == 0
    assert not result.gradients["readout.weight"][:, columns].any()
    assert not result.gradients["layer.1.weight"][columns].any()
    assert result.gradients["layer.1.weight"].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tangent_logits_have_no_gradient_by_the_curvature(dtype):
    case = draw(1, PRODUCT, learn_curvature=True)
    parameters = {name: array.astype(dtype) for name, array in case.parameters.items()}
    inputs = type(case.inputs).of(case.inputs.graph, case.inputs.features, 2, dtype)
    case = replace(case, parameters=parameters, inputs=inputs)
    assert case.run().gradients["curvature"][[0, 2]].all()
    tangent = replace(case, head=replace(case.head, head="tangent")).run().gradients["curvature"]
    np.testing.assert_array_equal(tangent, np.zeros(3, dtype))  # not even rounding, which Adam would scale up


def test_embeddings_have_no_part_along_the_origin():
    case = draw(4, PRODUCT)
    maps, run = maps_of(case.network, case.parameters, "cpu"), case.run().run
    for head in ("manifold", "tangent"):
        read = embedding(case.network, run, maps, head)
        assert not read[:, case.network.manifold.tangent_mask() == 0].any()
        assert np.abs(read).max() > 0.01


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"labels": [0, 1]},
            ValueError,
            r"labels: expected one integer for each of 8 nodes, got shape \(2,\)",
        ),
        ({"labels": np.zeros(8)}, ValueError, r"of dtype float64; take labels.astype\(int\)"),
        ({"labels": np.eye(8, 3)}, ValueError, r"if they are one-hot, labels.argmax\(axis=1\)"),
        ({"labels": np.full(8, 3)}, ValueError, "0 to 2, got 3 to 3; build the network with classes=4"),
        (
            {"labels": np.full(8, -1)},
            ValueError,
            "got -1 to -1; give nodes of unknown class any class, and leave",
        ),
        ({"nodes": []}, ValueError, "nodes: expected at least one node to learn from, got an empty split"),
        ({"nodes": np.zeros(8, bool)}, ValueError, "nodes: .* got an empty split"),
        ({"nodes": np.ones(7, bool)}, ValueError, r"nodes: expected a mask of 8 nodes, got shape \(7,\)"),
        ({"nodes": [8]}, ValueError, "nodes: expected nodes 0 to 7, got 8"),
        ({"nodes": [0.0]}, TypeError, "nodes: expected indices of nodes"),
        ({"head": "both"}, ValueError, "head: expected one of 'manifold', 'tangent', got 'both'"),
    ],
)
def test_bad_classes(options, kind, message):
    case = draw(1)
    for algorithm in BOTH:
        with pytest.raises(kind, match=message):
            replace(case, head=replace(case.head, **options)).run(algorithm)


def test_classes_need_a_classifier():
    case = draw(1).changed(classes=0)
    weights = {name: array for name, array in case.parameters.items() if name.startswith("layer")}
    with pytest.raises(ValueError, match="network: expected classes >= 1 for node classification, got 0"):
        replace(case, parameters=weights).run()


# -- links ----------------------------------------------------------------------------------------------


def lengths_by_hand(space, a, b):
    """Distances of the factors in textbook form."""
    found, first = [], 0
    for kappa, dimension in space:
        width = dimension + (kappa != 0)
        x, y = a[first : first + width], b[first : first + width]
        first += width
        if kappa == 0:
            found.append(math.dist(x, y))
        elif kappa < 0:
            inner = kappa * (x[1:] @ y[1:] - x[0] * y[0])
            found.append(math.acosh(max(inner, 1.0)) / math.sqrt(-kappa))
        else:
            found.append(math.acos(kappa * float(x @ y)) / math.sqrt(kappa))
    return found


@pytest.mark.parametrize("product_distance", ["l2", "l1"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("space", [HYPERBOLIC, SPHERE, PRODUCT])
def test_the_loss_of_links_by_hand(space, power, product_distance):
    case = with_links(2, space, power=power, product_distance=product_distance)
    result = case.run()
    z, total = result.run.points[-1], 0.0
    for pairs, linked in ((LINKS, True), (ABSENT, False)):
        for i, j in zip(*pairs, strict=True):
            lengths = lengths_by_hand(space, z[i], z[j])
            length = math.hypot(*lengths) if product_distance == "l2" else sum(lengths)
            p = 1 / (math.exp((length**power - 0.6) / 0.3) + 1)
            total -= math.log(p if linked else 1 - p) / len(pairs[0])
    assert result.loss == pytest.approx(total, rel=1e-7)  # arccos and arcosh lose half of their digits
    assert result.diagnostics.outputs.shape == (7,)
    assert "readout.weight" not in result.gradients


@pytest.mark.parametrize("product_distance", ["l2", "l1"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("algorithm", BOTH)
def test_links_of_both_backends(algorithm, power, product_distance):
    case = with_links(3, PRODUCT, power=power, product_distance=product_distance)
    plain, compiled = (case.run(algorithm, backend=backend) for backend in BACKENDS)
    assert_close(compiled.gradients, plain.gradients, 1e-11)
    assert case.run(algorithm).loss == case.run(algorithm).loss


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("power", [1, np.float64(2.0)])
def test_links_stay_single(backend, power):
    case = with_links(3, PRODUCT, power=power)
    inputs = type(case.inputs).of(case.inputs.graph, case.inputs.features, 2, np.float32)
    parameters = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    narrow = replace(case, inputs=inputs, parameters=parameters).run(backend=backend)
    plain = replace(case, inputs=inputs, parameters=parameters, head=replace(case.head, power=int(power)))
    assert narrow.loss == plain.run(backend=backend).loss
    arrays = [*narrow.gradients.values(), *narrow.point_gradients, narrow.diagnostics.outputs]
    assert {array.dtype for array in arrays} == {np.dtype("f4")}
    assert_close(narrow.gradients, case.run().gradients, 1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("space", [HYPERBOLIC, SPHERE, PRODUCT])
def test_a_pair_of_one_point_has_no_gradient(space, power, backend):
    """Distance 0 is a kink of d, where 0 is taken, and a minimum of d^2."""
    case = with_links(4, space, power=power)
    alone = replace(case, head=replace(case.head, links=[[3], [3]], absent=[[5], [5]])).run(backend=backend)
    for array in alone.gradients.values():
        assert np.isfinite(array).all()
        assert not array.any()
    assert np.isfinite(alone.loss)


@settings(max_examples=15)
@given(SEEDS)
def test_order_and_direction_of_pairs_do_not_matter(seed):
    case, rng = with_links(5, PRODUCT), np.random.default_rng(seed)
    pairs = rng.integers(0, 8, (2, 9))
    other = pairs[:, rng.permutation(9)]
    flip = rng.random(9) < 0.5
    other[:, flip] = other[::-1, flip]
    one, two = (replace(case, head=replace(case.head, links=ends)).run() for ends in (pairs, other))
    assert one.loss == pytest.approx(two.loss, rel=1e-13)
    assert_close(two.gradients, one.gradients, 1e-11)


def test_far_pairs_neither_overflow_nor_lose_their_gradient():
    case = with_links(6, HYPERBOLIC, radius=0.6, temperature=1e-4)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = case.run()
    assert np.isfinite(result.loss)
    assert result.gradients["layer.0.weight"].any()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"links": [[], []]}, ValueError, r"links: expected shape \(2, E\) with E >= 1, got \(2, 0\)"),
        ({"absent": [[0, 1]]}, ValueError, r"absent: expected shape \(2, E\) with E >= 1, got \(1, 2\)"),
        ({"absent": [0, 1]}, ValueError, "absent: expected shape"),
        ({"links": [[0], [8]]}, ValueError, "links: expected nodes 0 to 7, got 8"),
        ({"links": [[0.5], [1.0]]}, TypeError, "links: expected indices of nodes"),
        ({"radius": np.inf}, ValueError, "radius: expected a finite number"),
        ({"temperature": 0.0}, ValueError, "temperature: expected"),
        ({"power": 3}, ValueError, "power: expected 1 or 2, got 3"),
        ({"power": "2"}, TypeError, "power: expected a real number, got str '2'"),
        ({"power": np.array([1, 2])}, TypeError, "power: expected a real number, got ndarray"),
        ({"product_distance": "max"}, ValueError, "product_distance: expected one of 'l2', 'l1', got 'max'"),
    ],
)
def test_bad_links(options, kind, message):
    case = with_links()
    with pytest.raises(kind, match=message):
        replace(case, head=replace(case.head, **options)).run()


def test_links_need_points_on_the_manifold():
    with pytest.raises(ValueError, match="network: expected tangent 'transport' or 'project' for links"):
        with_links().changed(tangent="ambient").run()
    flat = with_links(1, ((0.0, 4),))
    assert flat.changed(tangent="ambient").run().loss == flat.run().loss


def test_a_classifier_beside_links_has_no_gradient():
    case = draw(1)
    gradients = replace(case, head=Links(LINKS, ABSENT)).run().gradients
    assert not gradients["readout.weight"].any()
    assert gradients["layer.0.weight"].any()


def test_total_distances():
    squares = np.array([[9.0], [16.0]])
    assert total_distance(squares) == [5.0]
    assert total_distance(squares, "l1") == [7.0]
