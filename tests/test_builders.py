"""The networks of the papers: how many parameters, which nodes where, and how they begin."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

import networks_by_hand as by_hand
import numpy as np
import pytest

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.forward_mode import forward_mode
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.initialisation import initialise_kaiming, initialise_normal, initialise_uniform
from refsnn.models.builders.normaliser_free import expected_variances, nf_resnet34
from refsnn.models.builders.residual import places, preactivation_resnet34, resnet18, resnet19, sew_resnet34
from refsnn.models.builders.vgg import vgg, vgg11, vgg_dvs, vgg_feedback, vgg_sws
from refsnn.models.contract import Model
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.reshaping import Scale

SMALL = {"channels": (3, 4), "blocks": (1, 2)}
PLAN = (4, "pool", 5, 6)


def count(graph):
    return sum(prod(shape) for shape in graph.parameter_shapes().values())


# -- sizes -----------------------------------------------------------------------------------------------


def convolutions(*pairs, with_bias):
    return sum(below * above * 9 + (above if with_bias else 0) for below, above in pairs)


VGG11_PAIRS = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512), (512, 512), (512, 512), (512, 512)]
DVS_PAIRS = [(2, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
RESNET19_PAIRS = [
    (3, 128), *[(128, 128)] * 6, (128, 256), *[(256, 256)] * 5, (256, 512), *[(512, 512)] * 3,
]  # fmt: skip
# ResNet-34 of the vision libraries for 1000 classes, without biases in convolutions, with two numbers for
# each channel of a normalisation; and the channels of all its convolutions
RESNET34, RESNET34_CHANNELS = 21_797_672, 64 + 6 * 64 + 9 * 128 + 13 * 256 + 7 * 512


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (vgg_sws(10), 9_228_362),
        (vgg_sws(100), 9_274_532),
        (vgg_feedback(100), 9_569_508),
        (nf_resnet34(), 21_797_688),
        (nf_resnet34(), RESNET34 + 16),  # gain and bias in the place of gamma and beta, and 16 kappas
        (preactivation_resnet34(), RESNET34 + RESNET34_CHANNELS),
        (sew_resnet34(), RESNET34 + RESNET34_CHANNELS),
        (resnet18(10), 11_173_962),
        (
            resnet19(10),
            convolutions(*RESNET19_PAIRS, with_bias=False) + 128 * 256 + 256 * 512
            + 2 * (7 * 128 + 7 * 256 + 5 * 512) + 512 * 256 + 256 + 256 * 10 + 10,
        ),
        (
            vgg11(10),
            convolutions(*VGG11_PAIRS, with_bias=True) + 2 * sum(above for _, above in VGG11_PAIRS)
            + 512 * 10 + 10,
        ),
        (
            vgg_dvs(10),
            convolutions(*DVS_PAIRS, with_bias=True) + 2 * sum(above for _, above in DVS_PAIRS)
            + 4608 * 10 + 10,
        ),
        (dense_network((784, 400, 10), standardise=True, recurrent=True), 784 * 400 + 800 + 400 * 400 + 4010),
    ],
    ids=[
        "vgg_sws", "vgg_sws 100", "vgg_feedback", "nf_resnet34", "nf_resnet34 from resnet34", "preactivation",
        "sew", "resnet18", "resnet19", "vgg11", "vgg_dvs", "dense",
    ],
)  # fmt: skip
def test_parameter_counts(graph, expected):
    assert count(graph) == expected


def test_sizes_of_images_and_numbers_of_neurons():
    graph = vgg_sws()
    assert sum(prod(graph.shapes[name]) for name in graph.populations) == 409_600
    for build in (preactivation_resnet34, sew_resnet34, nf_resnet34):
        graph = build()
        sides = [graph.shapes[f"stage.{stage}.block.1.sum"] for stage in (1, 2, 3, 4)]
        assert sides == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
        assert graph.shapes["readout"] == (1000,)
    assert [resnet18().shapes[f"stage.{stage}.block.2.sum"][1] for stage in (1, 2, 3, 4)] == [32, 16, 8, 4]
    assert [resnet19().shapes[f"stage.{stage}.block.2.sum"][1] for stage in (1, 2, 3)] == [32, 16, 8]
    assert vgg_feedback().shapes["feedback.upsampled"] == (512, 32, 32)
    # the mean of an image does not ask how large it is, the read-out of every pixel does
    assert count(vgg11(image=(3, 16, 16))) == count(vgg11())
    assert count(vgg_dvs(image=(2, 32, 32))) == count(vgg_dvs()) - 10 * 512 * 5


def test_names_of_dense_parameters():
    graph = dense_network((4, 5, 6, 3), standardise=True, recurrent=[2], scale=2.0)
    assert list(graph.parameter_shapes().items()) == [
        ("layer.1.weight", (5, 4)), ("layer.1.gain", (5,)), ("layer.1.bias", (5,)),
        ("layer.2.weight", (6, 5)), ("layer.2.gain", (6,)), ("layer.2.bias", (6,)),
        ("layer.2.recurrent.weight", (6, 6)), ("readout.weight", (3, 6)), ("readout.bias", (3,)),
    ]  # fmt: skip
    assert list(graph.populations) == ["layer.1", "layer.2"]


# -- small networks and what they compute ----------------------------------------------------------------


def lively(graph, rng):
    """Parameters with nothing at a special value."""
    parameters = initialise_kaiming(graph, rng, readout_deviation=0.5)
    for name, value in parameters.items():
        last = name.split(".")[-1]
        if last in ("bias", "beta"):
            parameters[name] = rng.normal(0.4, 0.2, value.shape)
        elif last in ("gain", "gamma"):
            parameters[name] = rng.uniform(0.8, 1.4, value.shape)
        elif last == "scale":
            parameters[name] = rng.uniform(1, 3, value.shape)
        elif name == "feedback.weight":
            parameters[name] = rng.normal(0, 0.2, value.shape)
        elif f"{name[:-7]}.norm.gamma" not in parameters and name != "readout.weight":
            parameters[name] = 2.5 * value  # without effect where it is standardised
    return parameters


def problem(graph, seed, steps=4, batch=3):
    rng = np.random.default_rng(seed)
    parameters = lively(graph, rng)
    inputs = rng.normal(0.5, 1.5, (steps, batch, *graph.input_shape))
    return parameters, inputs, rng.integers(graph.classes, size=batch)


def stepped(graph, parameters, inputs):
    """The mean read-out, by the model contract."""
    state = graph.initial_state(parameters, inputs.shape[1])
    for x in inputs:
        state = graph.step(parameters, state, x)
    return graph.outputs(parameters, state, len(inputs))


# name: the network, the same by hand, its leak, and what else that needs
CONVOLUTIONAL = {
    "plain": (vgg(PLAN, 3, (2, 8, 8)), by_hand.vgg, 0.2, (PLAN, "average", 1.0, False, False, 0)),
    "maxima": (
        vgg(PLAN, 3, (2, 8, 8), pooling="max", bins=None),
        by_hand.vgg, 0.2, (PLAN, "max", 1.0, False, True, 0),
    ),
    "sws": (vgg_sws(3, (2, 8, 8), plan=PLAN), by_hand.vgg, 0.5, (PLAN, "average", 2.74, False, False, 0)),
    "feedback": (
        vgg_feedback(3, (2, 8, 8), plan=(*PLAN, "pool")),
        by_hand.vgg, 0.5, ((*PLAN, "pool"), "average", 2.74, False, False, 4),
    ),
    "vgg11": (
        vgg11(3, (2, 8, 8), plan=PLAN, over="step"),
        by_hand.vgg, 0.2, (PLAN, "average", 1.0, True, False, 0),
    ),
    "vgg_dvs": (
        vgg_dvs(3, (2, 8, 8), plan=PLAN, over="step"),
        by_hand.vgg, 0.2, (PLAN, "average", 1.0, True, True, 0),
    ),
    "resnet18": (resnet18(3, (2, 6, 6), over="step", **SMALL), by_hand.resnet18, 0.2, ()),
    "resnet19": (resnet19(3, (2, 6, 6), over="step", hidden=7, **SMALL), by_hand.resnet19, 0.2, ()),
    "preactivation": (
        preactivation_resnet34(3, (2, 16, 16), over="step", **SMALL), by_hand.preactivation, 0.2, (),
    ),
    "sew": (sew_resnet34(3, (2, 16, 16), over="step", **SMALL), by_hand.sew, 0.2, ()),
    "normaliser_free": (nf_resnet34(3, (2, 16, 16), **SMALL), by_hand.normaliser_free, 0.5, ()),
}  # fmt: skip


def is_alive(rates):
    return all(0.01 < rate < 0.99 for rate in rates.values())


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_networks_on_images_are_those_by_hand(name):
    graph, step, leak, options = CONVOLUTIONAL[name]
    alive = 0
    for seed in range(4):
        parameters, inputs, _ = problem(graph, seed)
        expected, rates = by_hand.mean_readout(step, parameters, leak, inputs, *options)
        assert rates.keys() == graph.populations.keys()
        alive += is_alive(rates)
        np.testing.assert_allclose(stepped(graph, parameters, inputs), expected, rtol=1e-10, atol=1e-11)
    assert alive >= 2, "dead networks say little"


@pytest.mark.parametrize("loops", [False, True, [2]], ids=["feed-forward", "recurrent", "one loop"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_dense_networks_are_those_by_hand(loops, dropout):
    leaks = [0.3, 0.8]
    neurons = [SpikingNeuron(leak=leak) for leak in leaks]
    for standardise in (False, True):
        graph = dense_network(
            (6, 9, 8, 3), neurons, standardise=standardise, scale=2.74, recurrent=loops, dropout=dropout
        ).with_dropout(np.random.default_rng(1), batch=3)
        drawn = [node.what.mask for node in graph.nodes if isinstance(node.what, Dropout)]
        masks = dict(enumerate(drawn, 1))
        assert len(masks) == (2 if dropout else 0)
        assert all(0 < (mask == 0).sum() < mask.size for mask in masks.values())
        parameters, inputs, _ = problem(graph, 2)
        numbers = {False: set(), True: {1, 2}}[loops] if isinstance(loops, bool) else set(loops)
        options = 2, 2.74, numbers, masks, leaks
        expected, rates = by_hand.mean_readout(by_hand.dense, parameters, 0.0, inputs, *options)
        assert is_alive(rates)
        np.testing.assert_allclose(stepped(graph, parameters, inputs), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONAL if name != "feedback"])
def test_gradients_layer_by_layer_and_step_by_step(name):
    """Feed-forward: two ways to one gradient, no leaf of it zero but what a normalisation takes away."""
    graph = CONVOLUTIONAL[name][0]
    assert isinstance(graph, Model)
    arguments = problem(graph, 1)
    layers, steps = bptt(graph, *arguments), bptt_over_steps(graph, *arguments)
    assert is_alive(layers.diagnostics.spike_rates)
    assert layers.loss == pytest.approx(steps.loss, rel=1e-12)
    for leaf, value in steps.gradients.items():
        size = np.abs(value).max()
        normalised = leaf.replace("conv.bias", "norm").replace(".bias", ".norm") in graph.normalisations
        if leaf.endswith("bias") and normalised:
            assert size < 1e-12
            continue
        assert size > 1e-8, leaf
        assert np.abs(layers.gradients[leaf] - value).max() <= 1e-10 * size, leaf


@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
@pytest.mark.parametrize(
    "build",
    [
        lambda **fields: dense_network((5, 7, 6, 3), SpikingNeuron(leak=0.6), recurrent=True, **fields),
        lambda **fields: vgg_feedback(3, (2, 4, 4), plan=(3, "pool", 4), **fields),
    ],
    ids=["recurrent", "feedback"],
)
def test_gradients_through_delays(build, loss_over):
    """Backwards against forwards in time, and feedback carries some of it."""
    graph = build(loss_over=loss_over)
    arguments = problem(graph, 3)
    result = bptt_over_steps(graph, *arguments)
    rng = np.random.default_rng(4)
    direction = {name: rng.standard_normal(value.shape) for name, value in arguments[0].items()}
    loss, derivative = forward_mode(graph, *arguments, direction)
    terms = np.concatenate([(result.gradients[name] * direction[name]).ravel() for name in direction])
    assert loss == pytest.approx(result.loss, rel=1e-12)
    assert abs(terms.sum() - derivative) < 1e-12 * np.abs(terms).sum()
    assert all(np.abs(value).max() > 1e-8 for value in result.gradients.values())


@pytest.mark.parametrize(
    "graph",
    [
        vgg11(3, (2, 8, 8), plan=PLAN),
        resnet18(3, (2, 6, 6), **SMALL),
        resnet19(3, (2, 6, 6), hidden=7, **SMALL),
        preactivation_resnet34(3, (2, 16, 16), **SMALL),
        sew_resnet34(3, (2, 16, 16), **SMALL),
    ],
    ids=["vgg11", "resnet18", "resnet19", "preactivation", "sew"],
)
def test_normalisation_over_the_sequence_is_the_default_and_trains(graph):
    assert {operator.over for operator in graph.normalisations.values()} == {"sequence"}
    parameters, inputs, targets = problem(graph, 1)
    first = bptt(graph, parameters, inputs, targets)
    assert is_alive(first.diagnostics.spike_rates)
    for _ in range(30):
        gradients = bptt(graph, parameters, inputs, targets).gradients
        parameters = {name: value - 0.1 * gradients[name] for name, value in parameters.items()}
    assert bptt(graph, parameters, inputs, targets).loss < 0.7 * first.loss


# -- where things stand: errors planted in the graphs ----------------------------------------------------


def with_node(graph, name, **changes):
    nodes = [replace(node, **changes) if node.name == name else node for node in graph.nodes]
    assert nodes != list(graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def without_node(graph, name, instead):
    """What read the node reads another."""
    nodes = [
        replace(node, inputs=tuple(instead if read == name else read for read in node.inputs))
        for node in graph.nodes
        if node.name != name
    ]
    assert len(nodes) == len(graph.nodes) - 1
    return replace(graph, nodes=tuple(nodes))


def operator_of(graph, name):
    return next(node.what for node in graph.nodes if node.name == name)


def with_stride_in_the_second(graph, block):
    first, second = (operator_of(graph, f"{block}.{which}.conv") for which in ("first", "second"))
    nodes = {
        f"{block}.first.conv": replace(first, stride=1),
        f"{block}.second.conv": replace(second, stride=2),
    }
    return replace(
        graph, nodes=tuple(replace(node, what=nodes.get(node.name, node.what)) for node in graph.nodes)
    )


B21 = "stage.2.block.1"
PLANTED = {
    "stride in the second convolution, post": ("resnet18", lambda g: with_stride_in_the_second(g, B21)),
    "stride in the second convolution, pre": ("preactivation", lambda g: with_stride_in_the_second(g, B21)),
    "stride in the second convolution, SEW": ("sew", lambda g: with_stride_in_the_second(g, B21)),
    "stride in the second convolution, NF": (
        "normaliser_free", lambda g: with_stride_in_the_second(g, B21),
    ),
    "shortcut of the spikes, pre": (
        "preactivation",
        lambda g: with_node(g, f"{B21}.shortcut.conv", inputs=(f"{B21}.first.spikes",)),
    ),
    "shortcut of the stream, NF": (
        "normaliser_free",
        lambda g: with_node(g, f"{B21}.shortcut.conv", inputs=("stage.1.block.1.sum",)),
    ),
    "shortcut of unscaled spikes, NF": (
        "normaliser_free",
        lambda g: with_node(g, f"{B21}.shortcut.conv", inputs=(f"{B21}.first.spikes",)),
    ),
    "beta after the block, NF": (
        "normaliser_free", lambda g: with_node(g, f"{B21}.divided", what=Scale(1 / sqrt(1.08))),
    ),
    "beta not reset, NF": (
        "normaliser_free",
        lambda g: with_node(g, "stage.2.block.2.divided", what=Scale(1 / sqrt(1.08))),
    ),
    "no alpha, NF": ("normaliser_free", lambda g: with_node(g, f"{B21}.branch", what=Scale(1.0))),
    "identity from the spikes, NF": (
        "normaliser_free",
        lambda g: with_node(
            g, "stage.1.block.1.sum", inputs=("stage.1.block.1.first.scaled", "stage.1.block.1.branch")
        ),
    ),
    "undivided stream, NF": (
        "normaliser_free",
        lambda g: without_node(g, "stage.2.block.2.divided", instead=f"{B21}.sum"),
    ),
    "no spikes in the shortcut, SEW": (
        "sew",
        lambda g: without_node(g, f"{B21}.shortcut.spikes", instead=f"{B21}.shortcut.norm"),
    ),
    "unscaled feedback": ("feedback", lambda g: with_node(g, "feedback.upsampled", inputs=("layer.3",))),
    "no gamma in front of the read-out": (
        "sws", lambda g: without_node(g, "layer.3.scaled", instead="layer.3"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_errors_planted_in_a_graph_are_seen(what):
    """What the comparison with the networks by hand would have passed if it looked at too little."""
    name, plant = PLANTED[what]
    graph, step, leak, options = CONVOLUTIONAL[name]
    if what == "unscaled feedback":
        graph = vgg_feedback(3, (2, 8, 8), plan=PLAN)
        options = PLAN, "average", 2.74, False, False, 2
    changed = plant(graph)
    parameters, inputs, _ = problem(graph, 1)
    expected, rates = by_hand.mean_readout(step, parameters, leak, inputs, *options)
    assert is_alive(rates)
    assert np.abs(stepped(graph, parameters, inputs) - expected).max() < 1e-11
    assert np.abs(stepped(changed, parameters, inputs) - expected).max() > 1e-3


def test_recurrent_connections_read_spikes_without_gamma_that_were_not_dropped():
    graph = dense_network((6, 9, 3), scale=2.74, recurrent=True, dropout=0.4)
    node = next(node for node in graph.nodes if node.delayed)
    assert (node.name, node.inputs) == ("layer.1.recurrent", ("layer.1.dropped",))
    parameters, inputs, _ = problem(graph, 5)
    graph = graph.with_dropout(np.random.default_rng(6), batch=3)
    right = stepped(graph, parameters, inputs)
    for wrong in ("layer.1", "layer.1.scaled"):
        changed = with_node(graph, "layer.1.recurrent", inputs=(wrong,))
        assert np.abs(stepped(changed, parameters, inputs) - right).max() > 1e-3


def test_gamma_may_stand_on_either_side_of_an_average():
    graph = vgg((4, "pool", 5), 3, (2, 8, 8), scale=2.74)
    order = ["layer.1", "layer.1.scaled", "pool.1", "layer.2.current"]
    assert [node.name for node in graph.nodes if node.name in order] == order
    reads = {"pool.1": "layer.1", "layer.1.scaled": "pool.1", "layer.2.current": "layer.1.scaled"}
    nodes = [replace(node, inputs=(reads.get(node.name, node.inputs[0]),)) for node in graph.nodes]
    at = [node.name for node in nodes].index("layer.1.scaled")
    nodes[at : at + 2] = nodes[at + 1], nodes[at]
    swapped = replace(graph, nodes=tuple(nodes))
    parameters, inputs, targets = problem(graph, 7)
    ours, theirs = bptt(graph, parameters, inputs, targets), bptt(swapped, parameters, inputs, targets)
    assert is_alive(ours.diagnostics.spike_rates)
    np.testing.assert_allclose(ours.diagnostics.outputs, theirs.diagnostics.outputs, rtol=1e-12)
    for name, value in ours.gradients.items():
        assert np.abs(theirs.gradients[name] - value).max() <= 1e-12 * np.abs(value).max(), name
    # without it the numbers are others
    bare = vgg((4, "pool", 5), 3, (2, 8, 8))
    assert np.abs(stepped(bare, parameters, inputs) - ours.diagnostics.outputs).max() > 1e-2


def test_expected_variances():
    graph = nf_resnet34()
    expected = [1.0, 1.04, 1.08, 1.12, 1.04, 1.08, 1.12, 1.16, 1.04, 1.08, 1.12, 1.16, 1.20, 1.24, 1.04, 1.08]
    factors = [node.what.factor for node in graph.nodes if node.name.endswith(".divided")]
    np.testing.assert_allclose(1 / np.square(factors), expected, rtol=1e-14)
    transitions = [place.transition for place in places((64, 128, 256, 512), (3, 4, 6, 3))]
    assert [index for index, one in enumerate(transitions) if one] == [3, 7, 13]
    assert [place.stride for place in places((64, 128, 256, 512), (3, 4, 6, 3))] == [
        2 if one else 1 for one in transitions
    ]
    np.testing.assert_allclose(expected_variances(transitions, 0.2), expected, rtol=1e-14)
    # the first stage is no transition; channels that stay but a stride that does not is one
    assert [place.transition for place in places((4, 4), (1, 2))] == [False, True, False]
    alpha = nf_resnet34(3, (1, 16, 16), **SMALL, alpha=0.5)
    found = [node.what.factor for node in alpha.nodes if node.name.endswith((".divided", ".branch"))]
    np.testing.assert_allclose(found, [1, 0.5, 1 / sqrt(1.25), 0.5, 1 / sqrt(1.25), 0.5])


# -- how they begin --------------------------------------------------------------------------------------


def deviation_is(values, expected, sigmas=5.0):
    """Within five standard errors of a normal sample, mean and deviation."""
    error = expected / sqrt(values.size)
    return abs(values.std() - expected) < sigmas * error and abs(values.mean()) < sigmas * error


def assert_other_leaves(parameters, biases_are_zero=True):
    for name, value in parameters.items():
        last = name.split(".")[-1]
        if last in ("gain", "gamma"):
            assert (value == 1).all(), name
        elif last in ("beta", "scale") or (last == "bias" and biases_are_zero):
            assert (value == 0).all(), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kaiming(dtype):
    rng = np.random.default_rng(0)
    graph = vgg_feedback(10, (3, 8, 8), plan=(16, "pool", 24))
    parameters = initialise_kaiming(graph, rng, dtype)
    assert list(parameters) == list(graph.parameter_shapes())
    assert {value.dtype for value in parameters.values()} == {np.dtype(dtype)}
    assert {name: value.shape for name, value in parameters.items()} == graph.parameter_shapes()
    assert deviation_is(parameters["layer.1.weight"], sqrt(2 / (16 * 9)))
    assert deviation_is(parameters["layer.2.weight"], sqrt(2 / (24 * 9)))
    assert not deviation_is(parameters["layer.2.weight"], sqrt(2 / (16 * 9)))  # the fan-in
    assert deviation_is(parameters["readout.weight"], 0.01)
    assert (parameters["feedback.weight"] == 0).all()
    assert_other_leaves(parameters)

    dense = dense_network((30, 40, 5), standardise=True, recurrent=True)
    parameters = initialise_kaiming(dense, rng, dtype)
    assert deviation_is(parameters["layer.1.weight"], sqrt(2 / 40))
    assert deviation_is(parameters["layer.1.recurrent.weight"], sqrt(2 / 40))
    assert_other_leaves(parameters)

    residual = nf_resnet34(10, (3, 16, 16), channels=(16, 24), blocks=(1, 1))
    parameters = initialise_kaiming(residual, rng, dtype, readout_deviation=0)
    assert deviation_is(parameters["stem.conv.weight"], sqrt(2 / (16 * 49)))
    assert deviation_is(parameters["stage.2.block.1.shortcut.conv.weight"], sqrt(2 / 24))
    assert (parameters["readout.weight"] == 0).all()
    assert_other_leaves(parameters)


def test_normal_and_uniform():
    rng = np.random.default_rng(1)
    graph = vgg11(10, (3, 8, 8), plan=(16, "pool", 24))
    parameters = initialise_normal(graph, rng)
    for name in ("layer.1.weight", "layer.2.weight", "readout.weight"):
        assert deviation_is(parameters[name], 0.5)
    assert_other_leaves(parameters)

    graph = resnet19(10, (3, 8, 8), channels=(16, 24), blocks=(1, 1), hidden=40)
    parameters = initialise_uniform(graph, rng, np.float32)
    fans = {"stem.conv": 27, "stage.2.block.1.first.conv": 144, "hidden.dense": 24, "readout": 40}
    for name, fan in fans.items():
        assert deviation_is(parameters[f"{name}.weight"], 1 / sqrt(3 * fan))
        assert 0.9 / sqrt(fan) < np.abs(parameters[f"{name}.weight"]).max() < 1 / sqrt(fan)
    assert 0 < np.abs(parameters["hidden.dense.bias"]).max() < 1 / sqrt(24)
    assert parameters["readout.bias"].dtype == np.float32
    assert_other_leaves(parameters, biases_are_zero=False)


def test_feedback_begins_as_if_it_were_not_there():
    plan, image = (8, "pool", 8), (2, 8, 8)
    graph = vgg_feedback(3, image, plan=plan)
    parameters = initialise_kaiming(graph, np.random.default_rng(2), readout_deviation=0.3)
    inputs = np.random.default_rng(3).normal(0, 3, (4, 3, *image))
    without = {name: value for name, value in parameters.items() if not name.startswith("feedback")}
    plain = vgg_sws(3, image, plan=plan)
    np.testing.assert_array_equal(stepped(graph, parameters, inputs), stepped(plain, without, inputs))
    assert is_alive(bptt(plain, without, inputs, [0, 1, 2]).diagnostics.spike_rates)
    gradients = bptt_over_steps(graph, parameters, inputs, np.array([0, 1, 2])).gradients
    assert np.abs(gradients["feedback.weight"]).max() > 1e-6  # and it learns


def test_blocks_of_a_normaliser_free_network_begin_without_branches():
    graph = nf_resnet34(3, (2, 16, 16), **SMALL)
    parameters = initialise_kaiming(graph, np.random.default_rng(4), readout_deviation=0.3)
    inputs = np.random.default_rng(5).normal(0, 3, (4, 3, 2, 16, 16))
    before = stepped(graph, parameters, inputs)
    assert np.abs(before).max() > 1e-3
    for block in ("stage.1.block.1", "stage.2.block.1", "stage.2.block.2"):
        parameters[f"{block}.second.conv.bias"] = parameters[f"{block}.second.conv.bias"] + 1.0
    np.testing.assert_array_equal(stepped(graph, parameters, inputs), before)
    gradients = bptt(graph, parameters, inputs, [0, 1, 2]).gradients
    assert abs(gradients["stage.2.block.2.kappa.scale"][0]) > 1e-6  # and they learn


# -- what else the graph takes, and bad input ------------------------------------------------------------


def test_fields_of_the_graph_pass_through():
    fields = {"loss_over": "each_step", "squared_share": 0.05, "readout_leak": 0.5}
    small = {"channels": (2,), "blocks": (1,)}
    for graph in (
        dense_network((4, 5, 3), **fields),
        vgg_sws(3, (2, 4, 4), plan=(3,), **fields),
        vgg_feedback(3, (2, 4, 4), plan=(3,), **fields),
        vgg11(3, (2, 4, 4), plan=(3,), **fields),
        vgg_dvs(3, (2, 4, 4), plan=(3,), **fields),
        *(build(3, (2, 8, 8), **small, **fields) for build in (resnet18, resnet19, nf_resnet34)),
        *(build(3, (2, 8, 8), **small, **fields) for build in (preactivation_resnet34, sew_resnet34)),
    ):
        assert {name: getattr(graph, name) for name in fields} == fields
    neuron = SpikingNeuron(leak=0.9, reset="hard")
    for build in (vgg_sws, vgg_feedback, vgg11, vgg_dvs, resnet18, resnet19, nf_resnet34):
        given, own = build(neuron=neuron), build()
        assert {population.neuron for population in given.populations.values()} == {neuron}
        leak = 0.5 if build in (vgg_sws, vgg_feedback, nf_resnet34) else 0.2
        assert {population.neuron for population in own.populations.values()} == {SpikingNeuron(leak=leak)}
    masks = [node for node in vgg_sws(dropout=0.1).nodes if isinstance(node.what, Dropout)]
    assert len(masks) == 8
    assert masks[0].inputs == ("layer.1",)  # spikes before gamma


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: dense_network((4,)), ValueError, "widths: expected at least 2"),
        (lambda: dense_network((4, 5, 3), 0.5), TypeError, r"neuron\[0\]: expected a SpikingNeuron"),
        (
            lambda: dense_network((4, 5, 3), [SpikingNeuron()] * 2), ValueError,
            "neuron: expected one for each of 1 hidden layers, got 2",
        ),
        (lambda: dense_network((4, 5, 3), recurrent=[2]), ValueError, "recurrent: expected hidden layers"),
        (lambda: dense_network((4, 5, 3), recurrent=[0]), ValueError, "recurrent: expected an integer of at"),
        (lambda: dense_network((4, 5, 3), recurrent=1), TypeError, "recurrent: expected True, False or"),
        (lambda: dense_network((4, 5, 3), dropout=1.0), ValueError, r"dropout: expected .* in \[0, 1\)"),
        (lambda: dense_network((4, 5, 3), scale=0.0), ValueError, r"scale: expected a finite number in \(0"),
        (lambda: dense_network((1, 5, 3), standardise=True), ValueError, "standardise: expected a fan-in"),
        (lambda: dense_network((4, 5, 3), standardise=1), TypeError, "standardise: expected a bool"),
        (lambda: dense_network((4, 5, 3), gamma=2.74), TypeError, "gamma"),
        (lambda: vgg("64A", 3, (2, 8, 8)), TypeError, "plan: expected numbers of channels and 'pool'"),
        (lambda: vgg((4, "A"), 3, (2, 8, 8)), ValueError, r"plan\[1\]: expected a number of channels or"),
        (lambda: vgg((4, 0), 3, (2, 8, 8)), ValueError, r"plan\[1\]: expected an integer of at least 1"),
        (lambda: vgg(("pool",), 3, (2, 8, 8)), ValueError, "plan: expected at least one layer"),
        (lambda: vgg((4, "pool"), 3, (2, 1, 1)), ValueError, "window: expected at most the padded image"),
        (lambda: vgg((4,), 3, (8, 8)), ValueError, "image: expected at least 3"),
        (lambda: vgg((4,), 3, (1, 2, 8, 8)), ValueError, r"image: expected \(channels, height, width\)"),
        (lambda: vgg((4,), 0, (2, 8, 8)), ValueError, "width: expected an integer of at least 1"),
        (lambda: vgg((4,), 3, (2, 8, 8), normalisation="bn"), ValueError, "normalisation: expected one of"),
        (lambda: vgg((4,), 3, (2, 8, 8), pooling="mean"), ValueError, "pooling: expected one of 'average'"),
        (lambda: vgg((4,), 3, (2, 8, 8), feedback=1), TypeError, "feedback: expected a bool"),
        (lambda: vgg((4,), 3, (2, 8, 8), bins=0), ValueError, "bins: expected an integer of at least 1"),
        (lambda: vgg((4,), 3, (2, 8, 8), neuron=0.5), TypeError, "neuron: expected a SpikingNeuron"),
        (
            lambda: vgg((4,), 3, (2, 8, 8), normalisation="batch", feedback=True), ValueError,
            "over: expected 'step' with feedback",
        ),
        (
            lambda: vgg_feedback(3, (2, 10, 10), plan=(4, "pool", "pool")), ValueError,
            "image: expected sides that feedback can be upsampled to, multiples of 4 .* got 10",
        ),
        (lambda: vgg11(over="time"), ValueError, "over: expected one of 'sequence', 'step'"),
        (lambda: resnet18(channels=(4, 8), blocks=(1,)), ValueError, "blocks: expected one number for each"),
        (lambda: resnet18(channels=(), blocks=()), ValueError, "channels: expected at least 1"),
        (lambda: resnet18(blocks=(2, 2, 0, 2)), ValueError, r"blocks\[2\]: expected an integer of"),
        (lambda: resnet18(over="time"), ValueError, "over: expected one of 'sequence', 'step'"),
        (lambda: resnet19(hidden=0), ValueError, "hidden: expected an integer of at least 1"),
        (lambda: sew_resnet34(image=(3, 224)), ValueError, "image: expected at least 3"),
        (lambda: nf_resnet34(alpha=0.0), ValueError, r"alpha: expected a finite number in \(0"),
        (lambda: nf_resnet34(scale=-1.0), ValueError, r"scale: expected a finite number in \(0"),
        (lambda: nf_resnet34(neuron="LIF"), TypeError, "neuron: expected a SpikingNeuron"),
    ],
)  # fmt: skip
def test_bad_networks_are_refused_by_name(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda g, r: initialise_kaiming("vgg", r), TypeError, "graph: expected a SpikingGraph"),
        (lambda g, r: initialise_kaiming(g, 0), TypeError, "rng: expected a numpy.random.Generator"),
        (lambda g, r: initialise_kaiming(g, r, np.int64), TypeError, "dtype: expected float32 or float64"),
        (
            lambda g, r: initialise_kaiming(g, r, readout_deviation=-1), ValueError,
            "readout_deviation: expected a finite number in",
        ),
        (lambda g, r: initialise_normal(g, r, deviation=np.nan), ValueError, "deviation: expected a finite"),
        (lambda g, r: initialise_uniform(g, None), TypeError, "rng: expected a numpy.random.Generator"),
    ],
)  # fmt: skip
def test_bad_initialisations_are_refused_by_name(draw, error, message):
    with pytest.raises(error, match=message):
        draw(dense_network((4, 5, 3)), np.random.default_rng(0))


def test_small_images_where_pooling_drops_a_row():
    """Without feedback odd sides are no error."""
    assert vgg((4, "pool", 5), 3, (2, 7, 5)).shapes["pool.1"] == (4, 3, 2)
    first = vgg(("pool", 4, "pool"), 3, (2, 8, 8), feedback=True)  # images of the first layer are smaller
    assert first.shapes["feedback.upsampled"] == first.shapes["layer.1"] == (4, 4, 4)
