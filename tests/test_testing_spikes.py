"""refsnn.testing on spiking layers: right surrogate gradients pass, dead and wrong ones do not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.kernels.plain import spiking
from refsnn.testing import (
    AffineSpikes,
    GradientMismatch,
    VacuousCheck,
    assert_caught,
    assert_gradients_match,
    assert_surrogate_gradients_match,
    assert_taylor_slope,
    caught,
    taylor_slopes,
)
from refsnn.testing.strategies import AWKWARD, layer_case, layers

SHAPE = 6, 2, 3


def by_kernel(case, neuron=None):
    """The backward kernel of this package as a user's gradient; `neuron` for a wrong twin."""
    neuron = neuron or case.neuron

    def gradient(current, potential):
        charged, spikes, state = np.empty_like(current), np.empty_like(current), potential.copy()
        spiking.forward(case.neuron, current, state, charged, spikes)
        adjoint, state_adjoint = np.empty_like(current), case.last.copy()
        spiking.backward(neuron, charged, case.upstream, state_adjoint, adjoint, 0)
        return adjoint, state_adjoint

    return gradient


def check(case, gradient, **options):
    assert_surrogate_gradients_match(
        case.loss,
        gradient,
        case.arguments,
        surrogate=case.neuron.surrogate,
        fires=case.neuron.fires,
        **options,
    )


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("oracle", ["complex_step", "differences"])
def test_right_gradients_pass_and_planted_ones_do_not(reset, detached, oracle):
    neuron = SpikingNeuron(
        leak=0.8, reset=reset, detach_reset=detached, surrogate=Surrogate("arctan", 2.0, 1.0)
    )
    case = layer_case(3, SHAPE, "carried state", neuron)
    found = assert_caught(lambda df: check(case, df, oracle=oracle), by_kernel(case), case.arguments)
    assert len(found) == 14  # seven mistakes in both leaves
    for wrong, name in (
        (replace(neuron, detach_reset=not detached), "live for detached"),
        (replace(neuron, leak=0.8001), "leak"),
        (replace(neuron, surrogate=Surrogate("arctan", 2.001, 1.0)), "slope of psi"),
        (replace(neuron, reset="hard" if reset == "soft" else "soft"), "reset"),
    ):
        with caught(name):
            check(case, by_kernel(case, wrong), oracle=oracle)


@given(case=layers(kinds=("typical", *AWKWARD)))
def test_at_awkward_cases_too(case):
    """By complex step: far below the threshold numbers grow until differences cannot confirm it."""
    options = {"rates": None, "margin": 0.0, "dead": ("current", "potential"), "oracle": "complex_step"}
    check(case, by_kernel(case), **options)


@given(case=layers(kinds=("typical",), dtype=np.float32))
def test_float32(case):
    check(case, by_kernel(case), dead=("potential",))


def test_ordinary_differences_would_pass_a_dead_surrogate():
    """Why the oracle is needed: the binary layer is constant, and 0 is its derivative."""
    case = layer_case(0, SHAPE)
    binary = lambda current, potential: case.loss(  # noqa: E731
        current, potential, spike=lambda u: (np.real(u) >= 0) * 1.0, detach=lambda s: s
    )
    with pytest.raises(GradientMismatch):
        assert_gradients_match(binary, by_kernel(case), case.arguments, oracle="differences")
    dead = replace(case.neuron, surrogate=Surrogate("arctan", 2.0, 0.0))
    assert_gradients_match(binary, by_kernel(case, dead), case.arguments, oracle="differences", relative=1e-6)
    with pytest.raises(GradientMismatch):
        check(case, by_kernel(case, dead))


def test_any_function_is_a_surrogate():
    case = layer_case(1, SHAPE)
    psi = lambda u: case.neuron.surrogate.height / np.cosh(u) ** 2  # noqa: E731
    layer = AffineSpikes(case.loss, case.arguments, psi)
    slope = taylor_slopes(layer, [np.zeros(SHAPE), np.zeros(SHAPE[1:])], None)
    assert slope["current"][-1] == pytest.approx(1.0, abs=0.05)
    with pytest.raises(TypeError, match="surrogate: expected a Surrogate"):
        AffineSpikes(case.loss, case.arguments, "arctan")


def test_taylor_slopes_of_the_affine_layer():
    case = layer_case(2, SHAPE)
    layer = AffineSpikes(case.loss, case.arguments, case.neuron.surrogate)
    assert_taylor_slope(layer, by_kernel(case), None)
    with pytest.raises(GradientMismatch, match="2 at the end says right"):
        assert_taylor_slope(layer, by_kernel(case, replace(case.neuron, leak=0.89)), None)


def test_nominal_values_and_activity():
    case = layer_case(4, SHAPE)
    layer = AffineSpikes(case.loss, case.arguments, case.neuron.surrogate, case.neuron.fires)
    assert layer.rate == case.spikes.mean()
    assert layer.rates == list(case.spikes.mean(axis=(1, 2)))
    assert layer.margin == pytest.approx(case.margin, rel=1e-9)
    assert float(layer(layer.leaves)) == pytest.approx(float(layer.nominal), rel=1e-14)


@pytest.mark.parametrize("kind", ["silent", "saturated"])
def test_no_spikes_or_only_spikes_are_vacuous(kind):
    case = layer_case(0, SHAPE, kind)
    with pytest.raises(VacuousCheck, match=r"the firing rate of 'spikes of shape \(2, 3\)' is"):
        check(case, by_kernel(case))
    check(case, by_kernel(case), rates=None)


@pytest.mark.parametrize("names", [("first", "second"), (None, None)])
def test_a_silent_population_beside_a_live_one_is_vacuous(names):
    psi, weight = Surrogate("arctan", 2.0, 1.0), np.array([[0.4, 0.9], [1.3, 0.2], [0.1, 0.3]])
    x, upstream = np.array([1.2, 0.7]), np.array([1.0, -2.0, 0.5])

    def layers(x, *, spike, threshold):
        s = spike(x - 1.0, names[0])
        return (spike(weight @ s - threshold, names[1]) * upstream).sum()

    for threshold, alive in ((0.5, True), (9.0, False)):
        check_layers = partial(layers, threshold=threshold)
        affine = AffineSpikes(check_layers, x, psi)
        assert 0 < affine.rate < 1
        slopes = [psi_of(psi, u) for u in affine.distances]
        gradient = slopes[0] * (weight.T @ (slopes[1] * upstream))
        if alive:
            assert_surrogate_gradients_match(check_layers, gradient, x, surrogate=psi)
            continue
        with pytest.raises(VacuousCheck, match=f"'{names[1] or 'spikes of shape .3,.'}' is 0"):
            assert_surrogate_gradients_match(check_layers, gradient, x, surrogate=psi)


def psi_of(surrogate, u):
    return SURROGATES[surrogate.shape](u, surrogate.slope, surrogate.height, 1.0)


def test_what_the_gradient_changes_in_place_does_not_move_the_truth():
    """The layer divides by T what it was handed, or forgets its last entry: the specification sees it too."""
    x, psi = np.array([1.2, 0.7, 1.4]), Surrogate("arctan", 2.0, 1.0)

    def divided(array):
        array /= 3

    def forgotten(array):
        array[1] = 0  # of a neuron that does not fire: the loss does not tell

    for change in (divided, forgotten):
        upstream = np.array([1.0, -2.0, 3.0])

        def gradient(x, upstream=upstream, change=change):
            change(upstream)
            return upstream * psi_of(psi, x - 1.0)

        def layer(x, *, spike, upstream=upstream):
            return (upstream * spike(x - 1.0)).sum()

        with pytest.raises(GradientMismatch):
            assert_surrogate_gradients_match(layer, gradient, x, surrogate=psi)


def test_a_loss_that_cancels_is_compared_with_what_it_is_made_of():
    weights, x, psi = np.array([0.1, 0.2, -0.3]), np.array([1.2, 1.3, 1.4]), Surrogate("arctan", 2.0, 1.0)
    layer = lambda x, *, spike: (spike(x - 1.0) * weights).sum()  # noqa: E731
    loss = lambda x: (x[2] >= 1) * weights[2] + (x[1] >= 1) * weights[1] + (x[0] >= 1) * weights[0]  # noqa: E731
    gradient = weights * psi_of(psi, x - 1.0)
    assert loss(x) != layer(x, spike=lambda u: (u >= 0) * 1.0)
    assert_surrogate_gradients_match(layer, gradient, x, surrogate=psi, loss=loss, rates=None)


def test_a_surrogate_that_works_in_place():
    def psi(u):
        u *= u
        return 1 / (1 + u)

    x = np.array([1.2, 0.7])
    layer = lambda x, *, spike: (spike(x - 1.0) * np.array([1.0, 2.0])).sum()  # noqa: E731
    assert_surrogate_gradients_match(layer, np.array([1.0, 2.0]) / (1 + (x - 1) ** 2), x, surrogate=psi)


def test_a_potential_at_the_threshold_is_refused_unless_meant():
    case = layer_case(0, SHAPE, "exact threshold")
    with pytest.raises(VacuousCheck, match="from the threshold"):
        check(case, by_kernel(case))
    check(case, by_kernel(case), margin=0)
    other = replace(case.neuron, fires=">")
    layers = [AffineSpikes(case.loss, case.arguments, case.neuron.surrogate, fires) for fires in (">=", ">")]
    assert layers[0].rate > layers[1].rate
    loss = lambda current, potential: layers[1].nominal  # noqa: E731
    with pytest.raises(GradientMismatch, match="the forward passes differ before any gradient"):
        check(case, by_kernel(case, other), margin=0, loss=loss)


def test_a_surrogate_that_is_0_everywhere_is_vacuous():
    neuron = SpikingNeuron(leak=0.8, surrogate=Surrogate("boxcar", slope=1e6, height=1.0))
    case = layer_case(0, SHAPE, "typical", neuron)
    with pytest.raises(VacuousCheck, match="'current'"):
        assert_surrogate_gradients_match(
            lambda current, *, spike: (case.upstream * spike(current - 1.0)).sum(), np.zeros(SHAPE),
            case.current, surrogate=neuron.surrogate, rates=None,
        )  # fmt: skip


def test_functions_that_cannot_be_run_twice():
    with pytest.raises(TypeError, match="a keyword `spike`"):
        AffineSpikes(lambda x: x.sum(), np.ones(2), Surrogate())
    with pytest.raises(TypeError, match="calls `spike`, and it never did"):
        AffineSpikes(lambda x, *, spike: x.sum(), np.ones(2), Surrogate())

    def by_value(x, *, spike):
        s = spike(x - 1.0)
        return (spike(x) + s).sum() if np.real(s).max() > 1.05 else s.sum()

    layer = AffineSpikes(by_value, np.array([1.2]), Surrogate())
    with pytest.raises(TypeError, match="its course must not hang on values"):
        layer({"x": np.array([1.4])})


@given(seed=st.integers(0, 10**6))
def test_layers_of_layers(seed):
    """Two layers with weights: the gradient of both by hand, and with a factor left out."""
    rng = np.random.default_rng(seed)
    x, w1, w2 = rng.random((5, 3)), 1.5 * rng.random((4, 3)), 1.5 * rng.random((2, 4))
    psi = Surrogate("fast_sigmoid", 2.0, 1.0)
    height = lambda u: 1 / (1 + 2 * np.abs(u)) ** 2  # noqa: E731

    def layer(w1, w2, *, spike):
        return (spike(spike(x @ w1.T - 1.0) @ w2.T - 1.0) * np.arange(1.0, 3.0)).sum()

    def gradient(w1, w2, factor=1.0):
        u1 = x @ w1.T - 1.0
        s1 = (u1 >= 0) * 1.0
        d2 = np.arange(1.0, 3.0) * height(s1 @ w2.T - 1.0)
        d1 = factor * (d2 @ w2) * height(u1)
        return d1.T @ x, d2.T @ s1

    options = {"surrogate": psi, "rates": None, "dead": ("w2",)}
    assert_surrogate_gradients_match(layer, gradient, (w1, w2), **options)
    with pytest.raises(GradientMismatch, match=r"'w1'.*\n.*every entry is 0.99 times"):
        assert_surrogate_gradients_match(layer, lambda a, b: gradient(a, b, 0.99), (w1, w2), **options)
