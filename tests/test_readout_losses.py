"""Losses at each step or of the mean, the squared share, and read-outs with a leak, by complex step."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.stepwise import stepwise_gradient
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.kernels import spiking_kernels
from refsnn.models.losses import (
    cross_entropy,
    cross_entropy_gradient,
    mean_squared_error,
    mixed_loss,
    mixed_loss_gradient,
)
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import Node, Population, SpikingGraph
from tests.spiking_graphs import SEEDS, SOFT, assert_close, live, whole

STEP = 1e-30


def complex_step(function, array):
    gradient = np.empty(array.shape)
    for entry in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[entry] += 1j * STEP
        gradient[entry] = function(moved).imag / STEP
    return gradient


# ---------------------------------------------------------------- the mixed loss


def drawn(seed):
    rng = np.random.default_rng(seed)
    batch, classes = (int(n) for n in rng.integers(1, 6, size=2))
    return 3 * rng.normal(size=(batch, classes)), rng.integers(classes, size=batch), rng.uniform()


@given(seed=SEEDS)
def test_the_mixed_loss_is_its_definition(seed):
    y, labels, share = drawn(seed)
    batch, classes = y.shape
    by_hand = 0.0
    for b in range(batch):
        shares = np.exp(y[b]) / np.exp(y[b]).sum()
        by_hand -= (1 - share) * np.log(shares[labels[b]]) / batch
        for c in range(classes):
            by_hand += share * (y[b, c] - (c == labels[b])) ** 2 / (batch * classes)
    assert float(mixed_loss(y, labels, share)) == pytest.approx(by_hand, rel=1e-12)
    assert float(mixed_loss(y, labels, 0.0)) == float(cross_entropy(y, labels))


@given(seed=SEEDS)
def test_the_gradient_of_the_mixed_loss_by_complex_step(seed):
    y, labels, share = drawn(seed)
    found = mixed_loss_gradient(y, labels, share)
    truth = complex_step(lambda moved: mixed_loss(moved, labels, share), y)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(mixed_loss_gradient(y, labels, 0.0), cross_entropy_gradient(y, labels))


def test_the_mixed_loss_keeps_dtype_leading_axes_and_arguments():
    y, labels, _ = drawn(1)
    before = y.copy()
    assert mixed_loss(y.astype(np.float32), labels, 0.3).dtype == np.float32
    assert mixed_loss_gradient(y.astype(np.float32), labels, 0.3).dtype == np.float32
    stacked = mixed_loss(np.stack([y, 2 * y]), labels, 0.3)
    expected = [float(mixed_loss(one, labels, 0.3)) for one in (y, 2 * y)]
    np.testing.assert_allclose(stacked, expected, rtol=1e-14)
    mixed_loss_gradient(y, labels, 0.3)
    np.testing.assert_array_equal(y, before)


# ---------------------------------------------------------------- a read-out alone, with and without memory


def linear(**options):
    return SpikingGraph((Node("readout", ("input",), Dense(3)),), (4,), **options)


def loss_by_hand(graph, weight, bias, inputs, targets):
    """L of y_t = kappa y_{t-1} + W x_t + b, for complex W and b."""
    ys = []
    for x in inputs:
        ys.append(x @ weight.T + bias + (graph.readout_leak * ys[-1] if ys else 0.0))
    if graph.squared_share:
        one = partial(mixed_loss, labels=targets, squared_share=graph.squared_share)
    elif graph.loss_function == "cross_entropy":
        one = partial(cross_entropy, labels=targets)
    else:
        one = partial(mean_squared_error, targets=targets)
    return one(np.mean(ys, axis=0)) if graph.loss_over == "mean_readout" else np.mean([one(y) for y in ys])


OPTIONS = st.fixed_dictionaries(
    {
        "loss_over": st.sampled_from(["mean_readout", "each_step"]),
        "readout_leak": st.sampled_from([0.0, 0.4, 0.95]),
        "kind": st.sampled_from(
            [("cross_entropy", 0.0), ("cross_entropy", 0.3), ("mean_squared_error", 0.0)]
        ),
    }
)


@given(options=OPTIONS, seed=SEEDS, steps=st.integers(1, 5), batch=st.integers(1, 3))
def test_a_read_out_alone_by_complex_step(options, seed, steps, batch):
    """No population, nothing surrogate: true gradients, for every way of taking them."""
    loss, share = options.pop("kind")
    graph = linear(loss_function=loss, squared_share=share, **options)
    rng = np.random.default_rng(seed)
    parameters, inputs = graph.initialise(rng), rng.normal(size=(steps, batch, 4))
    labels = rng.integers(3, size=batch)
    targets = labels if loss == "cross_entropy" else rng.normal(size=(batch, 3))
    weight, bias = parameters["readout.weight"], parameters["readout.bias"]
    value = partial(loss_by_hand, graph, inputs=inputs, targets=targets)
    truth = {
        "readout.weight": complex_step(lambda moved: value(moved, bias), weight),
        "readout.bias": complex_step(lambda moved: value(weight, moved), bias),
    }
    problem = graph, parameters, inputs, targets
    results = [
        whole(problem),
        bptt(*problem),
        rtrl(*problem),
        stepwise_gradient(*problem, spiking_kernels("plain")),
        temporal_galerkin(*problem, n_modes=steps),
    ]
    for found in results:
        assert found.loss == pytest.approx(float(value(weight, bias).real), rel=1e-12)
        # at a loss of each step the two terms may all but cancel
        for name, gradient in truth.items():
            np.testing.assert_allclose(found.gradients[name], gradient, rtol=0, atol=1e-12, err_msg=name)
    assert np.abs(truth["readout.weight"]).max() > 1e-8


@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
@pytest.mark.parametrize("window", [1, 2, 3, 5, 9])
def test_windows_cut_the_memory_of_a_leaky_read_out(loss_over, window):
    """dL/do_t is a sum over the later steps of its window, which is counted from the end."""
    steps, kappa = 5, 0.6
    graph = linear(loss_over=loss_over, readout_leak=kappa)
    rng = np.random.default_rng(2)
    problem = graph, graph.initialise(rng), rng.normal(size=(steps, 2, 4)), np.array([0, 2])
    o = problem[2] @ problem[1]["readout.weight"].T + problem[1]["readout.bias"]
    y = [sum(kappa ** (t - i) * o[i] for i in range(t + 1)) for t in range(steps)]
    of_y = [np.mean(y, axis=0)] * steps if loss_over == "mean_readout" else y
    errors = [cross_entropy_gradient(one, problem[3]) / steps for one in of_y]
    expected = np.zeros((3, 4))
    for t in range(steps):
        last = steps - 1 - (steps - 1 - t) // window * window  # of the window that t is in
        for later in range(t, last + 1):
            expected += kappa ** (later - t) * errors[later].T @ problem[2][t]
    for found in (
        bptt(*problem, window=window),
        whole(problem, window=window),
        stepwise_gradient(*problem, spiking_kernels("plain"), window),
    ):
        np.testing.assert_allclose(found.gradients["readout.weight"], expected, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- on spikes


def spiking(**options):
    return SpikingGraph(
        (
            Node("in", ("input",), Dense(7), "layer.1"),
            Node("layer.1", ("in",), Population(SOFT)),
            Node("readout", ("layer.1",), Dense(3)),
        ),
        (4,),
        **options,
    )


def test_each_step_is_the_mean_of_losses_and_never_less_than_the_loss_of_the_mean():
    mean, each = (spiking(loss_over=over) for over in ("mean_readout", "each_step"))
    for seed in range(10):
        problem = live(np.random.default_rng(seed), mean, steps=6)
        whole_loss, step_loss = bptt(mean, *problem).loss, bptt(each, *problem).loss
        assert step_loss > whole_loss * (1 + 1e-6)  # Jensen
        ours, theirs = (bptt(graph, *problem).gradients["layer.1.weight"] for graph in (mean, each))
        assert np.abs(ours - theirs).max() > 1e-3 * np.abs(ours).max()
        parameters, inputs, targets = problem
        state = mean.initial_state(parameters, 3)
        losses = []
        for x in inputs:
            following = mean.step(parameters, state, x)
            y = following["readout.sum"] - state["readout.sum"]
            losses.append(float(cross_entropy(y, targets)))
            state = following
        assert step_loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_with_one_step_both_losses_are_the_same():
    problem = live(np.random.default_rng(3), spiking(), steps=1)
    ours, theirs = (bptt(spiking(loss_over=over), *problem) for over in ("mean_readout", "each_step"))
    assert ours.loss == theirs.loss
    assert_close(ours.gradients, theirs.gradients, error=1e-15)


def test_without_a_leak_there_is_no_memory():
    graph = spiking(readout_leak=0.0)
    parameters, _, _ = live(np.random.default_rng(4), graph)
    assert "readout.potential" not in graph.initial_state(parameters, 2)
    assert "loss.sum" not in graph.initial_state(parameters, 2)
    assert graph.with_loss(loss_over="each_step").initial_state(parameters, 2)["loss.sum"].shape == (1,)


@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
def test_rates_take_the_error_of_all_steps_together(loss_over):
    """Errors that differ from step to step: the bias has their sum, in either mode and scale."""
    graph = spiking(loss_over=loss_over, readout_leak=0.5)
    problem = live(np.random.default_rng(5), graph, steps=6)
    found = rate_backpropagation(graph, *problem, scale="bptt").gradients
    assert np.isfinite(found["layer.1.weight"]).all()
    truth = bptt(graph, *problem).gradients
    np.testing.assert_allclose(found["readout.bias"], truth["readout.bias"], rtol=1e-11)
    paper = rate_backpropagation(graph, *problem).gradients
    assert_close({name: 6 * value for name, value in paper.items()}, found, error=1e-14)
    single = rate_backpropagation(graph, *problem, scale="bptt", mode="single_step").gradients
    assert_close(single, found)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_over": "last_step"}, "loss_over: expected"),
        ({"squared_share": 1.5}, "squared_share: expected"),
        ({"squared_share": -0.1}, "squared_share: expected"),
        ({"readout_leak": 1.0}, "readout_leak: expected"),
        ({"readout_leak": -0.5}, "readout_leak: expected"),
        (
            {"squared_share": 0.1, "loss_function": "mean_squared_error"},
            "squared_share: expected 0 with loss_function='mean_squared_error', got 0.1",
        ),
    ],
)
def test_losses_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        linear(**options)
    with pytest.raises(ValueError, match=message):
        linear().with_loss(**options)
