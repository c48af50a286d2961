"""Trainings on graphs: which epoch is kept, what counts as lost, what is asked about, and what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from refsnn.datasets import LabelledGraph, split_links, split_nodes, stochastic_blocks
from refsnn.models.manifold.heads import Links, NodeClasses
from refsnn.models.manifold.manifold import euclidean, hyperbolic, spherical
from refsnn.models.manifold.maps import ExactMaps
from validation.experiments import Unavailable, experiments, graph_blocks, graph_links, graph_nodes
from validation.experiments.graph_convolution import (
    DECAY,
    GraphConvolutionalNetwork,
    class_loss,
    train_baseline,
)
from validation.experiments.graph_training import (
    Judged,
    Learner,
    Model,
    Recipe,
    Step,
    Trained,
    costs,
    losses_of,
    percent,
    train,
    train_nodes,
)
from validation.experiments.hyperbolic_disk import directions, draw, on_disk
from validation.experiments.link_learners import Convolutional, Spiking, flat_loss, inner_product_loss
from validation.experiments.torus_square import angles
from validation.experiments.torus_square import draw as square

SHORT = Recipe(epochs=2)
MODELS = [
    Model(hyperbolic(3)),
    Model(hyperbolic(3), by="spikes"),
    Model(spherical(3), "project"),
    Model(euclidean(3)),
    Model(hyperbolic(2) * spherical(2)),
    Model(hyperbolic(3), "ambient"),
]


def small(seed=0, sparse_features=False) -> LabelledGraph:
    """60 nodes in three blocks, 6 features."""
    rng = np.random.default_rng(seed)
    data = stochastic_blocks(rng, 3, 20, 0.3, 0.03, 6)
    if not sparse_features:
        return data
    words = sparse.csr_array((rng.random(data.features.shape) < 0.3).astype(float))
    return replace(data, features=words)


def split_of(data, seed=1):
    return split_nodes(np.random.default_rng(seed), data.nodes, (0.3, 0.2))


def quiet(*_):
    """No progress is shown."""


# ---- the loop ---------------------------------------------------------------------------------------------


def by_script(scores, fails=None):
    """A training whose weight counts epochs and whose scores are given."""
    recipe = Recipe()
    calls = []

    def learn(parameters):
        calls.append(1)
        if len(calls) == fails:
            raise FloatingPointError("points: expected finite numbers after block 1")
        return Step(float(len(calls)), {"weight": -np.ones(1)}, 0.5)

    def judge(parameters):
        return Judged(scores[len(calls) - 1], {"manifold": len(calls) / 10})

    return train({"weight": np.zeros(1)}, learn, judge, recipe.optimiser, len(scores))


def test_the_first_epoch_of_the_highest_validation_score_is_kept():
    trained = by_script([0.2, 0.7, 0.5, 0.7, 0.1])
    assert trained.best == 2
    assert trained.judged == Judged(0.7, {"manifold": 0.2})
    np.testing.assert_allclose(
        trained.parameters["weight"], [0.02], rtol=1e-6
    )  # two steps of Adam along one sign
    assert trained.scores == [0.2, 0.7, 0.5, 0.7, 0.1]
    assert trained.losses == [1, 2, 3, 4, 5]
    assert trained.epochs == 5
    assert not trained.lost


def test_a_training_whose_numbers_are_lost_is_counted_and_in_no_mean():
    whole, lost = by_script([0.2, 0.7, 0.5]), by_script([0.2, 0.9, 0.5], fails=3)
    assert lost.lost == "epoch 3: points: expected finite numbers after block 1"
    assert lost.best == 2
    assert lost.epochs == 2
    assert percent([whole, whole, lost], "manifold") == "20.0 ± 0.0"
    assert percent([lost], "manifold") == "–"
    assert losses_of([whole, lost]) == "1 of 2, in epoch 3"
    assert losses_of([whole]) == "0"


def test_projection_on_the_hyperboloid_with_large_steps_is_lost_and_transport_is_not():
    data, wild = small(), Recipe(epochs=4, step_size=30.0, dropout=0.0)
    rows = [graph_nodes.Row(Model(hyperbolic(3), mode), wild, seeds=2) for mode in ("project", "transport")]
    found = graph_nodes.compare(rows, data, quiet)
    lines = graph_nodes.table(found)
    assert all(one.lost for one in found[rows[0]])
    assert lines[0][2:5] == ("–", "–", "–")
    assert lines[0][10].startswith("2 of 2, in epoch ")
    assert lines[0][6:10] == ("–",) * 4
    assert lines[1][10] == "0"
    assert "2 of 2 trainings were lost" in graph_nodes.before(rows[0], found[rows[0]])
    assert "–" not in lines[1]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_two_epochs_change_all_weights_and_are_judged_by_both_heads(model):
    data = small()
    split, rng = split_of(data), np.random.default_rng(5)
    start = model.network(SHORT, 6, 3).initialise(np.random.default_rng(5))
    trained = train_nodes(model, SHORT, data, split, rng)
    assert trained.epochs == 2
    assert 0.02 < trained.rate < 0.98
    learner = Learner.of(model, SHORT, data, 3)
    for name, value in trained.parameters.items():
        assert np.abs(value - start[name]).max() > 1e-3, name
    run, maps = learner.run(trained.parameters)
    weight = trained.parameters["readout.weight"]
    mask = model.manifold.tangent_mask()
    for head, read in (
        ("manifold", maps.origin_logarithm(run.points[-1])),
        ("tangent", sum(run.drives) * mask),
    ):
        right = (read @ weight.T).argmax(axis=1) == data.labels
        assert trained.judged.tested[head] == right[split.test].mean()


def test_test_labels_choose_nothing():
    data = small()
    split = split_of(data)
    other = data.labels.copy()
    other[split.test] = (other[split.test] + 1) % 3
    recipe = Recipe(epochs=12)
    one, two = (
        train_nodes(MODELS[0], recipe, which, split, np.random.default_rng(2))
        for which in (data, replace(data, labels=other))
    )
    assert one.best == two.best
    assert one.scores == two.scores
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, two.parameters[name])
    assert one.judged.tested != two.judged.tested


def test_masks_are_of_each_step_or_of_all(monkeypatch):
    data, head = small(), NodeClasses(small().labels, np.arange(20))
    seen = []
    original = graph_nodes.Learner.step.__globals__["GRADIENTS"]["manifold"]

    def spy(network, parameters, inputs, head):
        seen.append([mask.shape for mask in inputs.masks])
        return original(network, parameters, inputs, head)

    monkeypatch.setitem(graph_nodes.Learner.step.__globals__["GRADIENTS"], "manifold", spy)
    for each_step in (True, False):
        learner = Learner.of(MODELS[0], Recipe(each_step=each_step), data, 3)
        learner.step(learner.network.initialise(np.random.default_rng(0)), head, np.random.default_rng(1))
    assert seen == [[(60, 4), (5, 60, 4)], [(60, 4), (60, 4)]]


def test_the_cost_is_that_of_the_network_that_was_kept():
    data, model = small(), Model(hyperbolic(3))
    trained = train_nodes(model, Recipe(epochs=4), data, split_of(data), np.random.default_rng(0))
    learner = Learner.of(model, SHORT, data, 3)
    rates = learner.run(trained.parameters)[0].rates
    assert 0 < trained.cost.rate == pytest.approx(np.mean(rates))
    encoder, neurons = np.sum(rates) * learner.network.steps, data.nodes * 4
    products, spikes = trained.cost.energy.full - trained.cost.energy.official, trained.cost.energy.paper
    assert products == pytest.approx(4.6 * neurons * (6 + 3) - 2 * neurons * 3)
    assert spikes > 4.6 * encoder > 0
    kept = trained.cost, replace(trained.cost, rate=0.0)
    trainings = [Trained(judged=trained.judged, cost=cost) for cost in kept]
    assert costs(trainings)[0] == f"{trained.cost.rate / 2:.3f}"
    assert costs(trainings)[3] == f"{1e-9 * trained.cost.energy.full:.3g}"
    trainings[1].lost = "epoch 1"
    assert costs(trainings)[0] == f"{trained.cost.rate:.3f}"
    baseline = train_baseline(data, split_of(data), np.random.default_rng(0), epochs=2)
    joules = 4.6e-9 * (60 * 6 * 16 + 16 * data.graph.edges + 60 * 16 * 3 + 3 * data.graph.edges)
    assert costs([baseline]) == ("–", f"{joules:.3g}", "–", f"{joules:.3g}")


# ---- the baseline -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse_features", [False, True])
def test_the_baselines_gradient_is_that_of_differences(sparse_features):
    data = small(sparse_features=sparse_features)
    network, nodes = GraphConvolutionalNetwork.of(data), np.arange(0, 60, 3)
    parameters = network.initialise(np.random.default_rng(0), 3)
    loss_of = class_loss(data.labels, nodes)
    found = network.step(parameters, loss_of, None)
    for name, value in parameters.items():
        expected = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[place] += sign * 1e-6
                ends.append(network.step(parameters | {name: moved}, loss_of, None).loss)
            expected[place] = (ends[0] - ends[1]) / 2e-6
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found.gradients[name], expected, atol=1e-7 * np.abs(expected).max() + 1e-9)


def test_the_baselines_outputs_are_those_of_the_formula_and_its_dropout_keeps_the_mean():
    data = small(sparse_features=True)
    network = GraphConvolutionalNetwork.of(data)
    words = data.features.toarray()
    rows = words / np.maximum(words.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(network.features.toarray(), rows, rtol=1e-15)
    parameters = network.initialise(np.random.default_rng(0), 3)
    dense = data.graph.normalised().scipy().toarray()
    hidden = np.maximum(dense @ rows @ parameters["first.weight"].T, 0)
    expected = dense @ hidden @ parameters["second.weight"].T
    np.testing.assert_allclose(network.outputs(parameters), expected, rtol=1e-12, atol=1e-15)
    rng = np.random.default_rng(1)
    loss_of = class_loss(data.labels, np.arange(60))
    losses = [network.step(parameters, loss_of, rng).loss for _ in range(50)]
    without = network.step(parameters, loss_of, None).loss
    assert np.std(losses) > 1e-4
    assert abs(np.mean(losses) - without) < 0.02
    assert without > DECAY / 2 * (parameters["first.weight"] ** 2).sum()


def test_the_baseline_learns_blocks():
    data = small()
    trained = train_baseline(data, split_of(data), np.random.default_rng(0), epochs=100)
    assert trained.judged.tested["logits"] > 0.8


# ---- links ------------------------------------------------------------------------------------------------


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    linked, absent = np.array([-1.0, -2.0, -5.0]), np.array([-3.0, -2.0])
    # of six pairs: -1 > -3, -1 > -2, -2 > -3, and -2 = -2 by half
    assert graph_links.area(linked, absent) == pytest.approx(3.5 / 6)
    # of the first, of the first three, where two are tied, and of all five
    assert graph_links.average_precision(linked, absent) == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)


def test_links_are_ranked_by_geodesic_distance_and_messages_pass_along_others(monkeypatch):
    data = small()
    split = split_links(np.random.default_rng(0), data.graph, (0.6, 0.2))
    asked = []
    original = Learner.step

    def spy(self, parameters, head, rng):
        asked.append((self.inputs.graph, head))
        return original(self, parameters, head, rng)

    monkeypatch.setattr(Learner, "step", spy)
    model = Spiking(Model(hyperbolic(3)))
    train_set = set(zip(*split.train.tolist(), strict=True))
    for share in (0.25, 1.0):
        asked.clear()
        rng = np.random.default_rng(1)
        trained = graph_links.train_links(model, SHORT, data, split, rng, share)
        for graph, head in asked:
            assert isinstance(head, Links)
            heard = set(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
            links = set(zip(*head.links.tolist(), strict=True))
            assert links <= train_set
            assert len(links) == int(share * len(train_set)) == head.absent.shape[1]
            apart = train_set if share == 1 else train_set - links
            assert heard == apart | {(target, source) for source, target in apart}
        assert len({str(head.links) for _, head in asked}) == (2 if share < 1 else 1)
        assert len({str(head.absent) for _, head in asked}) == 2  # fresh pairs in each epoch
        learner = Learner.of(model.model, SHORT, replace(data, graph=split.graph), 0)
        z = learner.run(trained.parameters)[0].points[-1]
        far = [
            -np.arccosh(z[i, 0] * z[j, 0] - (z[i, 1:] * z[j, 1:]).sum(axis=1))
            for i, j in (split.test, split.test_absent)
        ]
        assert trained.judged.tested["AUC"] == pytest.approx(graph_links.area(*far), abs=1e-12)
        assert trained.judged.tested["AP"] == pytest.approx(graph_links.average_precision(*far), abs=1e-12)


def test_links_of_blocks_are_learnt():
    data = stochastic_blocks(np.random.default_rng(4), 2, 30, 0.5, 0.02, 8, separation=1.0)
    split = split_links(np.random.default_rng(0), data.graph)
    recipe = Recipe(epochs=60, dropout=0.0, step_size=1.0)
    trained = graph_links.train_links(
        Spiking(Model(hyperbolic(4))), recipe, data, split, np.random.default_rng(0)
    )
    assert trained.judged.tested["AUC"] > 0.75
    assert graph_links.features_alone(data, split) == graph_links.features_alone(
        replace(data, features=sparse.csr_array(data.features)), split
    )


@pytest.mark.parametrize("loss_of", [flat_loss, inner_product_loss])
def test_losses_of_the_baselines_links_are_those_of_their_probabilities(loss_of):
    rng = np.random.default_rng(0)
    places = rng.normal(size=(12, 3))
    links = Links(rng.integers(0, 12, (2, 9)), np.stack([np.arange(11), np.arange(1, 12)]))  # one end often

    def by_hand(places):
        total = 0.0
        for pairs, linked in ((links.links, True), (links.absent, False)):
            for i, j in pairs.T:
                logit = places[i] @ places[j]
                if loss_of is flat_loss:
                    logit = 2 - np.sqrt(((places[i] - places[j]) ** 2).sum())
                probability = 1 / (1 + np.exp(-logit))
                total -= np.log(probability if linked else 1 - probability) / pairs.shape[1]
        return total

    links.links[1] = (links.links[0] + 1 + np.arange(9)) % 12  # not twice one place: there is a kink
    found, by_places = loss_of(places, links)
    assert found == pytest.approx(by_hand(places), rel=1e-12)
    expected = np.zeros_like(places)
    for place in np.ndindex(places.shape):
        moved = [places.copy(), places.copy()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        expected[place] = (by_hand(moved[0]) - by_hand(moved[1])) / 2e-6
    np.testing.assert_allclose(by_places, expected, atol=1e-8)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("decoder", ["Fermi-Dirac", "inner product"])
def test_the_baseline_learns_links_of_blocks(decoder):
    data = stochastic_blocks(np.random.default_rng(4), 2, 30, 0.5, 0.02, 8, separation=1.0)
    split = split_links(np.random.default_rng(0), data.graph)
    model, recipe = Convolutional(decoder), Recipe(epochs=60)
    trained = graph_links.train_links(model, recipe, data, split, np.random.default_rng(0))
    assert trained.judged.tested["AUC"] > 0.7
    assert trained.judged.tested["AP"] > 0.7
    heard = model.on(recipe, data, split.graph).network.adjacency.toarray() > 0
    assert heard.sum() == split.graph.edges + data.nodes
    assert not heard[tuple(split.test)].any()
    places = model.on(recipe, data, split.graph).network.outputs(trained.parameters)
    one, other = places[split.test]
    scores = (one * other).sum(axis=1)
    if decoder == "Fermi-Dirac":
        scores = -np.linalg.norm(one - other, axis=1)
    found = model.on(recipe, data, split.graph).scores(trained.parameters, split.test)
    np.testing.assert_allclose(found, scores, rtol=1e-12)


# ---- drawings ---------------------------------------------------------------------------------------------


def points_on(manifold, rng, size=40, spread=1.0):
    drive = spread * rng.standard_normal((size, manifold.width))
    return ExactMaps(manifold).step(np.repeat(manifold.origin()[None], size, axis=0), drive)


@pytest.mark.parametrize("curvature", [-1.0, -0.25])
def test_the_disk_is_the_stereographic_projection(curvature):
    manifold = hyperbolic(2, curvature)
    z = points_on(manifold, np.random.default_rng(0))
    plane, share = directions(manifold, z)
    radius = manifold.factors[0].radius
    np.testing.assert_allclose(on_disk(manifold, z, plane), z[:, 1:] / (radius + z[:, :1]), rtol=1e-12)
    assert share == 1
    np.testing.assert_array_equal(on_disk(manifold, manifold.origin()[None], plane), [[0, 0]])


def test_of_more_dimensions_those_are_drawn_that_hold_most():
    manifold, rng = hyperbolic(5), np.random.default_rng(0)
    drive = rng.standard_normal((200, 6)) * [0, 0.1, 2.0, 0.1, 1.0, 0.1]
    z = ExactMaps(manifold).step(np.repeat(manifold.origin()[None], 200, axis=0), drive)
    plane, share = directions(manifold, z)
    squares, axes = np.linalg.eigh(drive[:, 1:].T @ drive[:, 1:])  # Log_o(z) is the drive again
    np.testing.assert_allclose(np.abs(plane @ axes[:, [-1, -2]]), np.eye(2), atol=1e-8)
    assert np.abs(plane[:, [1, 3]]).min(axis=1).max() < 0.1 < 0.9 < np.abs(plane[:, [1, 3]]).max(axis=1).min()
    assert share == pytest.approx(squares[-2:].sum() / squares.sum(), abs=1e-10)
    assert (np.linalg.norm(on_disk(manifold, z, plane), axis=1) < 1).all()
    with pytest.raises(ValueError, match="expected a hyperboloid of two dimensions or more, got S2"):
        directions(spherical(2), z)
    figure, _ = draw(manifold, [z], rng.integers(0, 2, 200), "t")
    assert len(figure.axes[0].collections) == 2


def test_the_square_shows_both_angles_and_ways_that_leave_it_come_in_from_the_other_side():
    torus = spherical(1, 4.0) * spherical(1)
    turned = np.array([[[0.0, 0.0], [0.5, -1.0]], [[2.5, 1.0], [0.6, -0.5]], [[-2.8, 1.5], [0.2, -0.4]]])
    radii = np.array([0.5, 1.0])
    paths = np.zeros((3, 2, 4))
    paths[..., ::2], paths[..., 1::2] = -radii * np.cos(turned), radii * np.sin(turned)
    np.testing.assert_allclose(angles(torus, paths[1]), turned[1], atol=1e-15)
    readout = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    figure = square(torus, paths, np.array([0, 1]), "", readout, np.array([0]), ("a", "b"))
    (axes,) = figure.axes
    lines = [np.array(line.get_data()).T for line in axes.lines]
    turn = 2 * np.pi
    ways = [line for line in lines if len(line) == 3]
    inside = [np.abs(way - way.mean(axis=0)).max() < 4 for way in ways]
    assert all(inside)  # no line runs across the square
    ends = np.array([way[-1] for way in ways])
    begins = np.array([way[0] for way in ways])
    assert (np.abs(begins - [0, 0]).max(axis=1) < 1e-12).any()  # the way out
    assert (np.abs(ends - [-2.8, 1.5]).max(axis=1) < 1e-12).any()  # and the way in
    leaves = ways[np.abs(begins - [0, 0]).max(axis=1).argmin()]
    np.testing.assert_allclose(leaves[-1], [turn - 2.8, 1.5], atol=1e-12)
    doubt = lines[-1]
    tangents = doubt * radii  # Log_o on the dashed line
    scores = np.zeros((2, 4))
    scores[:, 1::2] = tangents
    np.testing.assert_allclose(scores @ readout[0], scores @ readout[1], atol=1e-12)
    with pytest.raises(ValueError, match="expected S1 x S1, got S2"):
        angles(spherical(2), np.zeros((1, 3)))


# ---- the experiments --------------------------------------------------------------------------------------


def test_the_experiments_are_registered_and_only_those_that_need_files_are_long():
    found = {entry.id.split("/")[1]: entry.long for entry in experiments() if entry.paper == PAPER}
    graphs = dict.fromkeys(("cora", "citeseer", "airport", "disease", "links"), True)
    assert {"blocks": False, "karate": False, **graphs}.items() <= found.items()


PAPER = "manifold_spiking_gnn"


def test_what_needs_files_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path))
    with pytest.raises(Unavailable, match=r"cora\.npz"):
        graph_links.links(quiet)
    for entry in experiments():
        if entry.id == f"{PAPER}/airport":
            with pytest.raises(Unavailable, match=r"airport\.npz"):
                entry.run(quiet)


def test_the_report_on_a_graph_of_files(monkeypatch):
    monkeypatch.setattr(graph_nodes, "available", lambda name: small())
    monkeypatch.setattr(graph_nodes, "SHARES", (0.3, 0.2))
    rows = [graph_nodes.Row(model, SHORT, seeds=5) for model in (graph_nodes.H, graph_nodes.E)]
    shown = []
    result = graph_nodes.report("cora", "Small", rows, lambda *args: shown.append(args))
    assert [line[:2] for line in result.table_rows] == [
        (name, seeds) for name in ("H32, transport, DvM", "E32, DvM") for seeds in ("0 to 3", "0 to 4")
    ]
    assert all(len(line) == len(result.table_header) for line in result.table_rows)
    assert result.table_rows[2][2] == result.table_rows[2][3]  # on flat space both heads are one
    assert [done for done, _, _ in shown] == list(range(1, 21))
    assert "right in 33.3 %" in result.notes[3]
    assert "over 5 splits" in result.notes[4]
    (_, caption, _) = result.figures[0]
    assert "first two principal directions" in caption


def test_the_report_on_links(monkeypatch):
    monkeypatch.setattr(graph_links, "available", lambda name: small())
    few = {name: replace(graph_links.RECIPES[name], epochs=2) for name in ("cora", "airport")}
    monkeypatch.setattr(graph_links, "RECIPES", few)
    monkeypatch.setattr(graph_links, "SEEDS", 2)
    shown = []
    result = graph_links.links(lambda *args: shown.append(args))
    assert len(result.table_rows) == 2 * (7 + 6)
    assert all(len(line) == len(result.table_header) for line in result.table_rows)
    assert [line[2] for line in result.table_rows[5:7]] == ["GCN, Fermi-Dirac", "GCN, inner product"]
    assert [line[7] == "–" for line in result.table_rows[:7]] == [False] * 5 + [True] * 2  # it has no spikes
    assert shown[-1][:2] == (2 * 2 * 26, 2 * 2 * 26)
    assert sum("nothing learnt" in note for note in result.notes) == 2


def test_who_wins_is_said_of_splits_and_not_of_one():
    def trainings(values):
        return [Trained(judged=Judged(0, {"h": value})) for value in values]

    names, heads = ("A", "B"), ("h",)
    low, high = trainings([0.5, 0.6, 0.7]), trainings([0.6, 0.71, 0.8])
    assert "-10.3 ± 0.3 points" in graph_nodes.contest(low, high, names, heads)
    assert "ahead in 0): B wins." in graph_nodes.contest(low, high, names, heads)
    assert "ahead in 3): A wins." in graph_nodes.contest(high, low, names, heads)
    mixed = trainings([0.9, 0.5, 0.7])
    assert "no difference that so many splits could show" in graph_nodes.contest(mixed, high, names, heads)
    high[0].lost = high[1].lost = "epoch 1"
    assert "too few splits" in graph_nodes.contest(low, high, names, heads)


def test_the_short_experiments_run(monkeypatch):
    for name in ("BLOCKS", "CLUB"):
        monkeypatch.setattr(graph_blocks, name, replace(getattr(graph_blocks, name), epochs=2))
    monkeypatch.setattr(graph_blocks, "SEEDS", 2)
    shown = []
    result = graph_blocks.blocks(lambda *args: shown.append(args))
    assert [line[0] for line in result.table_rows] == [model.name for model in graph_blocks.BLOCK_MODELS]
    assert shown[-1][:2] == (32, 32)
    result = graph_blocks.karate(quiet)
    assert len(result.table_rows) == 4
    assert [title for title, _, _ in result.figures] == [
        "The karate club on $H^2$",
        r"The karate club on $S^1\times S^1$",
    ]


@pytest.mark.parametrize("kind", [hyperbolic, spherical, euclidean])
def test_blocks_are_found(kind):
    found = [graph_blocks.train_blocks(Model(kind(16)), graph_blocks.BLOCKS, seed, quiet) for seed in (0, 1)]
    assert all(0.2 < one.rate < 0.8 for one in found)
    assert np.mean([one.judged.tested["manifold"] for one in found]) > 0.85


def test_the_club_falls_apart_as_it_did_and_its_last_epoch_is_kept():
    trained, _, data = graph_blocks.train_club(Model(spherical(1) * spherical(1)), graph_blocks.CLUB, 0)
    assert trained.best == trained.epochs == graph_blocks.CLUB.epochs
    assert trained.judged.tested["manifold"] >= 0.85
    assert data.labels[graph_blocks.LEADERS].tolist() == [0, 1]
