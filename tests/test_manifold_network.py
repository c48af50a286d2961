"""Spiking graph networks on manifolds: twins, what is refused, degenerate graphs, symmetries, memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_network_cases import BACKENDS, BOTH, SPACES, TANGENTS, Case, assert_close, draw, neuron
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.algorithms.manifold_forward_mode import manifold_forward_mode
from refsnn.algorithms.manifold_prediction import link_probabilities, node_logits
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import Links, NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from refsnn.models.manifold.network import ManifoldSpikingNetwork, integrate_and_fire, product_of

SEEDS = st.integers(0, 2**32 - 1)
MODES = st.sampled_from(TANGENTS)
GEOMETRIES = st.sampled_from(SPACES)


def directional(case, direction):
    return manifold_forward_mode(*case.arguments, direction)


# -- twins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("tangent", TANGENTS)
@pytest.mark.parametrize("space", SPACES)
def test_backends_give_the_same_spikes_and_gradients(space, tangent, algorithm):
    case = draw(1, space, tangent)
    plain, compiled = (case.run(algorithm, backend=backend) for backend in BACKENDS)
    for one, other in zip(plain.run.rates, compiled.run.rates, strict=True):
        np.testing.assert_array_equal(one, other)
    assert plain.run.margin == pytest.approx(compiled.run.margin, rel=1e-9)
    assert_close(compiled.gradients, plain.gradients, 1e-12)


@pytest.mark.parametrize("tangent", TANGENTS)
def test_backends_agree_on_the_printed_adjoint(tangent):
    case = draw(1, SPACES[3], tangent)
    plain, compiled = (case.run(adjoint="paper", backend=backend).gradients for backend in BACKENDS)
    assert_close(compiled, plain, 1e-12)
    off = np.abs(plain["layer.0.weight"] - case.run().gradients["layer.0.weight"]).max()
    assert (off > 1e-4) == (
        tangent != "ambient"
    )  # as printed it is another adjoint, but for the ambient step


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("space", SPACES)
def test_single_precision_stays_single(space, backend, algorithm):
    case = draw(2, space, learn_curvature=any(kappa for kappa, _ in space))
    inputs = GraphInputs.of(case.inputs.graph, case.inputs.features, 2, np.float32)
    parameters = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    narrow = replace(case, inputs=inputs, parameters=parameters).run(algorithm, backend=backend)
    arrays = [*narrow.run.points, *narrow.run.drives, *narrow.run.rates, *narrow.run.gathered]
    arrays += [*narrow.run.charged, *narrow.point_gradients, *narrow.drive_gradients]
    arrays += [*narrow.gradients.values(), narrow.diagnostics.outputs]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    wide = case.run(algorithm)
    for one, other in zip(wide.run.rates, narrow.run.rates, strict=True):
        np.testing.assert_array_equal(one.astype(np.float32), other)
    assert_close({k: v for k, v in narrow.gradients.items() if k != "curvature"},
                 {k: v for k, v in wide.gradients.items() if k != "curvature"}, 2e-4)  # fmt: skip


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_twice(backend, algorithm):
    case = draw(3, SPACES[3])
    kept = {name: array.copy() for name, array in case.parameters.items()}
    one, other = (case.run(algorithm, backend=backend) for _ in range(2))
    assert one.loss == other.loss
    for name, array in one.gradients.items():
        np.testing.assert_array_equal(array, other.gradients[name])
        np.testing.assert_array_equal(case.parameters[name], kept[name])


def test_drawing_parameters_is_determined_by_the_generator():
    network = ManifoldSpikingNetwork(4, hyperbolic(3), 2, learn_curvature=True)
    one, other = (network.initialise(np.random.default_rng(7)) for _ in range(2))
    assert list(one) == list(network.parameter_shapes())
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
        assert array.shape == network.parameter_shapes()[name]
    assert one["curvature"] == -1
    assert np.abs(one["layer.0.weight"]).max() <= np.sqrt(6 / 8)
    assert np.abs(one["readout.weight"]).max() <= 1 / 2
    assert network.initialise(np.random.default_rng(7), np.float32)["curvature"].dtype == np.float32


# -- memory ---------------------------------------------------------------------------------------------


def test_memory_over_the_manifold_does_not_grow_with_time():
    kept = {algorithm: [] for algorithm in BOTH}
    for steps in (5, 50):
        for algorithm in BOTH:
            kept[algorithm].append(draw(4).changed(steps=steps).run(algorithm).diagnostics.bytes_kept)
    assert len(set(kept[differentiation_via_manifold])) == 1
    short, long = kept[differentiation_via_spikes]
    trains = 2 * 8 * 4 * 8 * 2  # potentials and sums of two blocks, 8 nodes, 4 columns, in bytes
    assert long - short == 45 * trains


@pytest.mark.parametrize("layers", [1, 2])
def test_masks_of_each_step_are_what_costs_memory(layers):
    case = draw(4, layers=layers)
    rng, width = np.random.default_rng(0), case.network.width
    sizes = {}
    for each in (False, True):
        for steps in (5, 50):
            inputs = case.inputs.with_noise(rng, width, dropout=0.3, each_of=steps if each else None)
            noisy = replace(case, inputs=inputs).changed(steps=steps)
            sizes[each, steps] = noisy.run().diagnostics.bytes_kept
    assert sizes[False, 5] == sizes[False, 50]
    assert sizes[True, 50] > sizes[True, 5]


# -- properties -----------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(SEEDS, GEOMETRIES, MODES)
def test_names_of_nodes_do_not_matter(seed, space, tangent):
    case = draw(seed, space, tangent)
    order = np.random.default_rng(seed).permutation(case.inputs.nodes)
    back, graph = np.argsort(order), case.inputs.graph
    renamed = Case(
        case.network,
        case.parameters,
        GraphInputs.of(
            Graph(graph.nodes, order[graph.sources], order[graph.targets]), case.inputs.features[back], 2
        ),
        NodeClasses(case.head.labels[back], order[case.head.nodes]),
    )
    for algorithm in BOTH:
        one, other = case.run(algorithm), renamed.run(algorithm)
        for rate, theirs in zip(one.run.rates, other.run.rates, strict=True):
            np.testing.assert_array_equal(rate, theirs[order])
        assert_close(other.gradients, one.gradients, 1e-11)


@settings(max_examples=15)
@given(SEEDS, MODES)
def test_a_product_moves_its_factors_apart(seed, tangent):
    """Weights without a block between the factors: two networks side by side."""
    case = draw(seed, ((-1.0, 2), (0.5, 2)), tangent, classes=2)
    halves = slice(0, 3), slice(3, 6)
    parameters = {name: array.copy() for name, array in case.parameters.items()}
    for layer in (1, 2):
        parameters[f"layer.{layer}.weight"][halves[0], halves[1]] = 0
        parameters[f"layer.{layer}.weight"][halves[1], halves[0]] = 0
    whole = replace(case, parameters=parameters).run()
    for own, (kappa, dimension) in zip(halves, ((-1.0, 2), (0.5, 2)), strict=True):
        alone = replace(case.network, manifold=product_of((kappa, dimension)))
        mine = {"layer.0.weight": parameters["layer.0.weight"][own]}
        mine |= {f"layer.{layer}.weight": parameters[f"layer.{layer}.weight"][own, own] for layer in (1, 2)}
        mine["readout.weight"] = parameters["readout.weight"][:, own]
        run = differentiation_via_manifold(alone, mine, case.inputs, case.head).run
        for one, other in zip(run.points, whole.run.points, strict=True):
            np.testing.assert_allclose(one, other[:, own], rtol=1e-12, atol=1e-13)


NOISES = st.sampled_from([{}, {"dropout": 0.3, "drop_edge": 0.2}, {"dropout": 0.3, "each_of": 5}])


@settings(max_examples=20)
@given(SEEDS, GEOMETRIES, MODES, st.sampled_from(["manifold", "tangent"]), NOISES)
def test_forward_mode_is_the_gradient_along_a_direction(seed, space, tangent, head, noise):
    learn = any(kappa for kappa, _ in space)
    case, rng = draw(seed, space, tangent, learn_curvature=learn), np.random.default_rng(seed)
    inputs = case.inputs.with_noise(rng, case.network.width, **noise)
    some = rng.permutation(8)[:5]
    case = replace(case, head=replace(case.head, nodes=some, head=head), inputs=inputs)
    direction = {name: rng.standard_normal(array.shape) for name, array in case.parameters.items()}
    gradients = case.run().gradients
    terms = [float((gradients[name] * direction[name]).sum()) for name in gradients]
    assert max(map(abs, terms)) > 1e-6
    expected = pytest.approx(sum(terms), abs=1e-11 * max(map(abs, terms)))
    assert directional(case, direction).derivative == expected


# -- degenerate graphs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize(
    "graph",
    [
        Graph(1, [], []),
        Graph(1, [0], [0]),
        Graph(2, [0], [1]),
        Graph(6, [], []),
        Graph(6, [0, 0, 0, 3, 3, 5], [1, 1, 1, 3, 4, 5]),
    ],
    ids=["one node", "one loop", "directed", "no edges", "many kinds"],
)
@pytest.mark.parametrize("space", [((-1.0, 1),), ((1.0, 1),), ((0.0, 1),), ((-1.0, 1), (0.0, 1), (1.0, 1))])
def test_small_graphs_and_dimensions(space, graph, algorithm, backend):
    case = draw(5, space, graph=graph, layers=1, neuron=neuron(threshold=0.15))
    result = case.run(algorithm, backend=backend)
    tangents = [case.run(algorithm, backend="plain").gradients, result.gradients]
    for name, array in tangents[1].items():
        np.testing.assert_allclose(array, tangents[0][name], rtol=1e-11, atol=1e-14)
    if algorithm is differentiation_via_manifold:
        rng = np.random.default_rng(0)
        direction = {name: rng.standard_normal(array.shape) for name, array in case.parameters.items()}
        expected = sum((result.gradients[name] * direction[name]).sum() for name in direction)
        assert directional(case, direction).derivative == pytest.approx(expected, abs=1e-12)


def test_no_layers_leave_the_encoder_alone():
    case = draw(6, layers=0)
    result = case.run()
    assert result.run.rates == []
    assert result.run.margin == np.inf
    assert len(result.run.points) == 2
    for name, array in case.run(differentiation_via_spikes).gradients.items():
        np.testing.assert_array_equal(array, result.gradients[name])


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("fires", [">", ">="])
def test_the_threshold_met_exactly(reset, fires):
    """x = theta, dyadic: fires at each step if that counts as reached, else at every second, or one less."""
    met = SpikingNeuron(leak=1.0, threshold=0.5, fires=fires, reset=reset)
    network = ManifoldSpikingNetwork(1, euclidean(1), layers=1, steps=6, neuron=met)
    inputs = GraphInputs.of(Graph(1, [], []), np.array([[0.5]]), 1)
    weights = {f"layer.{block}.weight": np.eye(1) for block in (0, 1)}
    two = replace(network, classes=1)
    head = NodeClasses([0], [0])
    for backend in BACKENDS:
        run = differentiation_via_manifold(
            two, weights | {"readout.weight": np.eye(1)}, inputs, head, backend=backend
        ).run
        expected = {(">=", "soft"): 6, (">=", "hard"): 6, (">", "soft"): 5, (">", "hard"): 3}[fires, reset]
        assert round(run.rates[0].item() * 6) == expected
        assert run.margin == 0


# -- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"features": 0}, ValueError, "features: expected an integer of at least 1, got 0"),
        ({"manifold": -1.0}, TypeError, "manifold: expected"),
        ({"classes": -1}, ValueError, "classes: expected an integer of at least 0, got -1"),
        ({"layers": -1}, ValueError, "layers: expected an integer of at least 0, got -1"),
        ({"steps": 0}, ValueError, "steps: expected an integer of at least 1, got 0"),
        ({"step_size": 0.0}, ValueError, "step_size: expected"),
        ({"step_size": np.nan}, ValueError, "step_size: expected"),
        ({"gain": -1.0}, ValueError, "gain: expected"),
        ({"neuron": 1.0}, TypeError, "neuron: expected"),
        ({"tangent": "parallel"}, ValueError, "tangent: expected one of 'transport', 'project', 'ambient'"),
        ({"compat": "geoopt"}, ValueError, "compat: expected one of 'exact', 'official', got 'geoopt'"),
        ({"compat": "official"}, ValueError, "compat: 'official' takes the drive itself"),
        (
            {"compat": "official", "tangent": "ambient", "learn_curvature": True},
            ValueError,
            "compat: 'official' has curvatures of -1, 0 and 1 alone; leave learn_curvature",
        ),
        (
            {"compat": "official", "tangent": "ambient", "manifold": hyperbolic(2, -0.5)},
            ValueError,
            "compat: 'official' has curvatures of -1, 0 and 1 alone, got -0.5",
        ),
        ({"learn_curvature": 1}, TypeError, "learn_curvature: expected True or False, got 1"),
        (
            {"learn_curvature": True, "manifold": euclidean(2)},
            ValueError,
            "learn_curvature: expected a curved",
        ),
    ],
)
def test_bad_settings(options, kind, message):
    with pytest.raises(kind, match=message):
        ManifoldSpikingNetwork(**{"features": 4, "manifold": hyperbolic(2)} | options)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: hyperbolic(3, 1.0),
            ValueError,
            r"below 0 for a hyperbolic space, got 1.0; .* hyperbolic\(3, -1.0\) or spherical\(3, 1.0\)",
        ),
        (lambda: hyperbolic(2, 0.0), ValueError, r"got 0.0; did you mean euclidean\(2\)"),
        (lambda: spherical(2, -0.5), ValueError, r"spherical\(2, 0.5\) or hyperbolic\(2, -0.5\)"),
        (lambda: spherical(2, np.nan), ValueError, "curvature: expected"),
        (lambda: hyperbolic(0), ValueError, "dimension: expected an integer of at least 1, got 0"),
        (lambda: euclidean(1.5), TypeError, "dimension: expected an integer"),
        (lambda: hyperbolic(2) * 3, TypeError, "unsupported operand"),
    ],
)
def test_bad_spaces(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def changed(case, **parts):
    parameters = dict(case.parameters)
    parameters.update(parts.pop("parameters", {}))
    return replace(case, parameters=parameters, **parts)


BAD_CALLS = {
    "key": (lambda c: changed(c, parameters={"bias": np.ones(2)}), ValueError, "unknown .'bias'."),
    "shape": (
        lambda c: changed(c, parameters={"layer.1.weight": np.ones((4, 5))}),
        ValueError,
        r"parameters\['layer.1.weight'\]: expected shape \(4, 4\)",
    ),
    "nan": (
        lambda c: changed(c, parameters={"layer.0.weight": np.full((4, 5), np.nan)}),
        ValueError,
        r"parameters\['layer.0.weight'\]",
    ),
    "dtype": (
        lambda c: changed(c, parameters={"layer.0.weight": np.ones((4, 5), np.float32)}),
        TypeError,
        "nothing is promoted",
    ),
    "inputs": (lambda c: replace(c, inputs=c.inputs.features), TypeError, "inputs: expected"),
    "features": (
        lambda c: replace(c, inputs=GraphInputs.of(c.inputs.graph, np.ones((8, 7)), 2)),
        ValueError,
        "inputs: expected 5 features a node, got 7",
    ),
    "layers": (
        lambda c: replace(c, inputs=GraphInputs.of(c.inputs.graph, c.inputs.features, 3)),
        ValueError,
        r"inputs: expected adjacencies of 2 blocks, got 3; use GraphInputs.of\(..., layers=2\)",
    ),
    "single": (
        lambda c: replace(c, inputs=GraphInputs.of(c.inputs.graph, c.inputs.features, 2, np.float32)),
        TypeError,
        "inputs: expected dtype float64 like the parameters, got float32",
    ),
    "masks": (
        lambda c: replace(c, inputs=replace(c.inputs, masks=(None, np.ones((4, 8, 4)), None))),
        ValueError,
        r"inputs: expected a mask of shape \(5, 8, 4\), got \(4, 8, 4\)",
    ),
    "mask of the encoder": (
        lambda c: replace(c, inputs=replace(c.inputs, masks=(np.ones((5, 8, 4)), None, None))),
        ValueError,
        r"inputs: expected a mask of shape \(8, 4\), got \(5, 8, 4\)",
    ),
    "number of masks": (
        lambda c: replace(c, inputs=replace(c.inputs, masks=(None, None))),
        ValueError,
        "inputs: expected 3 masks or None, got 2",
    ),
    "dtype of masks": (
        lambda c: replace(c, inputs=replace(c.inputs, masks=(None, np.ones((8, 4), np.float32), None))),
        TypeError,
        "inputs: expected masks of dtype float64, got float32",
    ),
    "other graph": (
        lambda c: replace(c, inputs=replace(c.inputs, adjacencies=(Graph(9, [], []).normalised(),) * 2)),
        ValueError,
        "inputs: expected adjacencies of 8 nodes in float64, got one of 9 x 9 in float64",
    ),
    "single graph": (
        lambda c: replace(
            c, inputs=replace(c.inputs, adjacencies=tuple(a.astype(np.float32) for a in c.inputs.adjacencies))
        ),
        ValueError,
        "inputs: expected adjacencies of 8 nodes in float64, got one of 8 x 8 in float32",
    ),
    "head": (lambda c: replace(c, head=[0, 1]), TypeError, "head: expected a loss such as"),
    "network": (lambda c: replace(c, network=c.parameters), TypeError, "network: expected"),
}


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name, algorithm):
    spoil, kind, message = BAD_CALLS[name]
    with pytest.raises(kind, match=message):
        spoil(draw(1)).run(algorithm)


@pytest.mark.parametrize("algorithm", BOTH)
def test_bad_options(algorithm):
    with pytest.raises(ValueError, match="backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        draw(1).run(algorithm, backend="gpu")
    with pytest.raises(ValueError, match="adjoint: expected one of 'exact', 'paper', got 'theorem'"):
        draw(1).run(adjoint="theorem")


def test_a_curvature_that_changes_its_sign():
    case = draw(1, learn_curvature=True)
    for value in (0.5, 0.0):
        with pytest.raises(ValueError, match=r"parameters\['curvature'\]: expected the signs of H3, got"):
            changed(case, parameters={"curvature": np.array([value])}).run()


def test_points_that_leave_the_numbers_are_an_error():
    case = draw(1, tangent="project").changed(step_size=1e3)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="take tangent='transport'"):
        case.run()
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="take a smaller step_size"):
        case.changed(tangent="transport", step_size=1e6).run()


@pytest.mark.parametrize(("dtype", "reach", "limit"), [(np.float64, 352.5, 354), (np.float32, 42.0, 43)])
def test_points_whose_squares_leave_the_numbers_are_an_error_and_others_are_not(dtype, reach, limit):
    """The encoder takes one node so far, and the other half as far at a right angle."""
    network = ManifoldSpikingNetwork(2, hyperbolic(2), classes=2, step_size=1.0)
    parameters = {name: np.zeros(shape, dtype) for name, shape in network.parameter_shapes().items()}
    parameters["readout.weight"][:, 1] = 1, -1
    inputs = GraphInputs.of(Graph(2, [], []), np.eye(2), 1, dtype)
    encoder = parameters["layer.0.weight"]
    encoder[1, 0], encoder[2, 1] = reach, reach / 2
    np.testing.assert_allclose(
        node_logits(network, parameters, inputs), [[reach, -reach], [0, 0]], rtol=1e-6, atol=1e-4
    )
    (probability,) = link_probabilities(network, parameters, inputs, [[0], [1]], radius=1.5 * reach)
    assert probability == pytest.approx(1 / (1 + np.exp(-np.log(2))), rel=1e-4)  # d = r + r' - ln 2
    result = differentiation_via_manifold(network, parameters, inputs, Links([[0], [1]], [[1], [0]]))
    assert result.loss == pytest.approx(1.5 * reach - np.log(2) - 2, rel=1e-5)
    encoder[1, 0] = reach + 2
    for judged in (
        lambda: node_logits(network, parameters, inputs),
        lambda: link_probabilities(network, parameters, inputs, [[0], [1]]),
        lambda: differentiation_via_manifold(network, parameters, inputs, NodeClasses([0, 1], [0])),
    ):
        with pytest.raises(FloatingPointError, match=f"on a hyperboloid {limit} R from the origin"):
            judged()


def test_forward_mode_refuses():
    case = draw(1, tangent="ambient")
    with pytest.raises(ValueError, match="network: expected compat='exact', got 'official'"):
        directional(case.changed(compat="official"), case.parameters)
    with pytest.raises(ValueError, match="direction: expected the keys"):
        directional(case, {})
    wrong = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    with pytest.raises(TypeError, match=r"direction.*expected dtype float64"):
        directional(case, wrong)
    with pytest.raises(TypeError, match="head: expected"):
        directional(replace(case, head=None), case.parameters)


def test_the_default_neuron_is_that_of_the_published_code():
    made = integrate_and_fire()
    assert (made.leak, made.threshold, made.fires, made.reset) == (1.0, 1.0, ">", "soft")
    assert made.surrogate.slope == 4.0
    assert made.surrogate.height == 1.0
    assert made.detach_reset
