"""Gradients of spiking stacks: every way to the same number, and the ways that must differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stack_cases import Network, assert_gradients_agree, is_live, largest_difference, make, networks

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.forward_mode import forward_mode, rtrl
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Model, StaticInput
from refsnn.models.losses import softmax
from refsnn.models.spiking_stack import DenseSpikingStack
from refsnn.oracles.affine_spike import affine_spike_gradient

BACKENDS = ["plain", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def by_backend(network: Network, backend: str) -> dict[str, dict[str, np.ndarray]]:
    """Gradients of every algorithm that runs on kernels."""
    arguments = network.arguments
    results = {
        "bptt": bptt(*arguments, backend=backend),
        "truncated": truncated_bptt(*arguments, window=2, backend=backend),
        "rate": rate_backpropagation(*arguments, backend=backend),
        "rate, single step": rate_backpropagation(*arguments, mode="single_step", backend=backend),
        "galerkin": temporal_galerkin(*arguments, n_modes=3, backend=backend),
    }
    return {name: result.gradients for name, result in results.items()}


# -- one gradient, five ways ------------------------------------------------------------------------------


@given(network=networks())
@settings(max_examples=40)
def test_bptt_is_its_twins_and_the_oracle(network):
    layers = bptt(*network.arguments, backend="plain")
    steps = bptt_over_steps(*network.arguments)
    forward = rtrl(*network.arguments)
    assert layers.loss == pytest.approx(steps.loss, rel=1e-13)
    assert layers.loss == pytest.approx(forward.loss, rel=1e-13)
    np.testing.assert_allclose(layers.diagnostics.outputs, steps.diagnostics.outputs, rtol=1e-12, atol=1e-13)
    truth = affine_spike_gradient(*network.arguments)
    for gradients in (layers.gradients, steps.gradients, forward.gradients):
        assert_gradients_agree(gradients, truth)


@given(network=networks(max_width=8, max_steps=9), seed=st.integers(0, 2**32 - 1))
def test_directional_derivative(network, seed):
    rng = np.random.default_rng(seed)
    direction = {name: rng.standard_normal(value.shape) for name, value in network.parameters.items()}
    result = bptt(*network.arguments, backend="plain")
    loss, derivative = forward_mode(*network.arguments, direction)
    terms = np.concatenate([(result.gradients[name] * direction[name]).ravel() for name in direction])
    assert loss == pytest.approx(result.loss, rel=1e-13)
    assert abs(terms.sum() - derivative) < 1e-12 * np.abs(terms).sum()


def test_the_stack_fulfils_the_contract():
    assert isinstance(make(0).stack, Model)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "neuron",
    [
        SpikingNeuron(leak=0.7, surrogate=Surrogate("sigmoid", 2.0, 1.0)),
        SpikingNeuron(0.9, 1.0, "hard", -0.2, False, ">", Surrogate("fast_sigmoid", 1.0, 0.5)),
    ],
    ids=["soft", "hard"],
)
def test_every_algorithm_on_every_backend(backend, neuron):
    network = make(11, neuron=neuron)
    assert is_live(network)
    expected = by_backend(network, "plain")
    for name, gradients in by_backend(network, backend).items():
        assert_gradients_agree(gradients, expected[name], 1e-12)


# -- truncation -------------------------------------------------------------------------------------------


def spatial_gradient(network: Network) -> dict[str, np.ndarray]:
    """The potential before a step taken as a constant: T unconnected networks, written out."""
    stack, parameters, inputs, targets = network.arguments
    neuron, depth, steps = stack.neuron, len(stack.hidden), network.steps
    weights = [parameters[f"layer.{l}.weight"] for l in stack.hidden] + [parameters["readout.weight"]]
    biases = [parameters[f"layer.{l}.bias"] for l in stack.hidden] + [parameters["readout.bias"]]
    potentials = [np.zeros((inputs.shape[1], width)) for width in stack.widths[1:-1]]
    total, records = 0.0, []
    for x in inputs:
        signals, slopes = [x], []
        for l in range(depth):
            h = neuron.leak * potentials[l] + signals[-1] @ weights[l].T + biases[l]
            s = (h >= neuron.threshold).astype(float)
            potentials[l] = h - neuron.threshold * s
            signals.append(s)
            slopes.append(
                neuron.surrogate.height / (1 + (neuron.surrogate.slope * (h - neuron.threshold)) ** 2)
            )
        total = total + signals[-1] @ weights[-1].T + biases[-1]
        records.append((signals, slopes))
    share = np.exp(total / steps)
    share /= share.sum(axis=1, keepdims=True)
    share[np.arange(len(targets)), targets] -= 1
    names = [f"layer.{l}" for l in stack.hidden] + ["readout"]
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    for signals, slopes in records:
        delta = share / len(targets) / steps
        for l in reversed(range(depth + 1)):
            gradients[f"{names[l]}.weight"] += delta.T @ signals[l]
            gradients[f"{names[l]}.bias"] += delta.sum(axis=0)
            if l > 0:
                delta = slopes[l - 1] * (delta @ weights[l])
    return gradients


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(4, 8))
@settings(max_examples=15)
def test_truncated_bptt(seed, steps):
    network = make(seed, steps=steps, neuron=SpikingNeuron(leak=0.8, surrogate=Surrogate("arctan", 1.5, 0.8)))
    assume(is_live(network))
    whole = bptt(*network.arguments, backend="plain").gradients
    cut = {
        window: truncated_bptt(*network.arguments, window=window, backend="plain").gradients
        for window in range(1, steps + 3)
    }
    for window, gradients in cut.items():
        # twins cut at the same places
        assert_gradients_agree(bptt_over_steps(*network.arguments, window=window).gradients, gradients)
        for name in whole:
            if window >= steps:
                np.testing.assert_array_equal(gradients[name], whole[name])
            elif name.startswith("readout"):  # no potential on the way
                assert largest_difference(gradients, whole, name) < 1e-13
            elif (
                name.endswith("bias") or name == "layer.1.weight"
            ):  # a weight may see no spike before the cut
                assert largest_difference(gradients, whole, name) > 1e-6, (window, name)
    assert_gradients_agree(cut[1], spatial_gradient(network))
    assert largest_difference(cut[2], cut[1], "layer.1.weight") > 1e-6


# -- rates and modes --------------------------------------------------------------------------------------


@given(network=networks(max_width=8, max_steps=9))
def test_rate_backpropagation(network):
    several = rate_backpropagation(*network.arguments, backend="plain")
    single = rate_backpropagation(*network.arguments, mode="single_step", backend="plain")
    assert_gradients_agree(single.gradients, several.gradients)
    assert several.loss == pytest.approx(single.loss, rel=1e-13)
    scaled = rate_backpropagation(*network.arguments, scale="bptt", backend="plain")
    assert scaled.loss == several.loss
    exact = network.steps in (2, 4, 8)  # powers of two commute with rounding
    for name, value in several.gradients.items():
        np.testing.assert_allclose(
            scaled.gradients[name],
            network.steps * value,
            rtol=0 if exact else 1e-12,
            atol=0 if exact else 1e-15,
        )
    one_mode = temporal_galerkin(*network.arguments, n_modes=1, backend="plain")
    assert_gradients_agree(one_mode.gradients, scaled.gradients)


@given(network=networks(max_width=8, max_steps=9), seed=st.integers(0, 2**32 - 1))
def test_all_modes_are_bptt_in_any_basis(network, seed):
    square = np.random.default_rng(seed).standard_normal((network.steps, network.steps))
    basis = np.linalg.qr(square)[0].T
    found = temporal_galerkin(*network.arguments, n_modes=network.steps, basis=basis, backend="plain")
    whole = bptt(*network.arguments, backend="plain")
    assert found.loss == pytest.approx(whole.loss, rel=1e-13)
    assert_gradients_agree(found.gradients, whole.gradients, 1e-10)


def test_fewer_modes_are_not_bptt():
    network = make(3, steps=6)
    assert is_live(network)
    whole = bptt(*network.arguments, backend="plain").gradients
    for n_modes in (1, 3, 5):
        few = temporal_galerkin(*network.arguments, n_modes=n_modes, backend="plain").gradients
        assert largest_difference(few, whole, "layer.1.weight") > 1e-4


# -- dtypes and inputs ------------------------------------------------------------------------------------


def test_float32_stays_float32():
    network, double = make(5, dtype=np.float32), make(5)
    assert is_live(double)
    arguments = network.arguments
    results = {
        "steps": bptt_over_steps(*arguments),
        "rtrl": rtrl(*arguments),
        **{
            f"{name}, {backend}": result
            for backend in ("plain", "cpu")
            for name, result in {
                "layers": bptt(*arguments, backend=backend),
                "truncated": truncated_bptt(*arguments, window=2, backend=backend),
                "rate": rate_backpropagation(*arguments, backend=backend),
                "rate, single step": rate_backpropagation(*arguments, mode="single_step", backend=backend),
                "galerkin": temporal_galerkin(*arguments, n_modes=5, backend=backend),
            }.items()
        },
    }
    truth = bptt(*double.arguments, backend="plain").gradients
    for name, result in results.items():
        assert result.diagnostics.outputs.dtype == np.float32, name
        for leaf, value in result.gradients.items():
            assert value.dtype == np.float32, (name, leaf)
            if "rate" not in name and "truncated" not in name:
                error = np.abs(value - truth[leaf]).max() / np.abs(truth[leaf]).max()
                assert 0 < error < 1e-4, (name, leaf, error)


@given(network=networks(max_width=6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_static_input_is_the_input_repeated(network, seed):
    stack, parameters, inputs, targets = network.arguments
    image = np.random.default_rng(seed).random(inputs.shape[1:])
    static = StaticInput(image, network.steps)
    repeated = np.repeat(image[None], network.steps, axis=0)
    runs = {
        "layers": lambda x: bptt(stack, parameters, x, targets, backend="plain"),
        "steps": lambda x: bptt_over_steps(stack, parameters, x, targets),
        "rtrl": lambda x: rtrl(stack, parameters, x, targets),
        "multi": lambda x: rate_backpropagation(stack, parameters, x, targets, backend="plain"),
        "single": lambda x: rate_backpropagation(
            stack, parameters, x, targets, mode="single_step", backend="plain"
        ),
        "galerkin": lambda x: temporal_galerkin(stack, parameters, x, targets, n_modes=2, backend="plain"),
    }
    for name, run in runs.items():
        one, other = run(static), run(repeated)
        assert one.loss == other.loss, name
        for leaf, value in other.gradients.items():
            np.testing.assert_array_equal(one.gradients[leaf], value, err_msg=f"{name} {leaf}")


class Foreign:
    """An array of another library."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.array, dtype=dtype)


class Exported:
    """An array that only speaks DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("wrap", [Foreign, Exported])
def test_arrays_of_other_libraries_are_accepted(wrap):
    network = make(6)
    stack, parameters, inputs, targets = network.arguments
    wrapped = {name: wrap(value) for name, value in parameters.items()}
    for algorithm in (bptt, bptt_over_steps, rtrl, rate_backpropagation):
        found = algorithm(stack, wrapped, wrap(inputs), wrap(targets))
        for leaf, value in algorithm(*network.arguments).gradients.items():
            np.testing.assert_array_equal(found.gradients[leaf], value)


def test_arguments_are_left_as_they_were():
    network = make(6)
    before = [network.inputs.copy(), *(value.copy() for value in network.parameters.values())]
    for backend in ("plain", "cpu"):
        by_backend(network, backend)
    for array, copy in zip([network.inputs, *network.parameters.values()], before, strict=True):
        np.testing.assert_array_equal(array, copy)


# -- the corners ------------------------------------------------------------------------------------------

CORNERS = {
    "no hidden layer": {"widths": (4, 3)},
    "one step": {"steps": 1},
    "one sample": {"batch": 1},
    "unequal widths": {"widths": (3, 9, 2, 7, 4)},
    "one neuron": {"widths": (1, 1, 1), "loss_function": "mean_squared_error"},
    "silent": {"bias_mean": -40.0},
    "saturated": {"bias_mean": 40.0, "gain": 1.0},
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners(corner):
    network = make(12, **CORNERS[corner])
    truth = affine_spike_gradient(*network.arguments)
    results = {
        "layers": bptt(*network.arguments, backend="plain"),
        "compiled": bptt(*network.arguments),
        "steps": bptt_over_steps(*network.arguments),
        "rtrl": rtrl(*network.arguments),
        "galerkin": temporal_galerkin(*network.arguments, n_modes=network.steps),
    }
    if network.steps == 1:  # nothing to average
        results["rate"] = rate_backpropagation(*network.arguments)
        results["truncated"] = truncated_bptt(*network.arguments, window=1)
    for name, result in results.items():
        assert list(result.gradients) == list(truth)
        for leaf, value in truth.items():
            np.testing.assert_allclose(
                result.gradients[leaf],
                value,
                rtol=1e-11,
                atol=1e-13 * np.abs(value).max(),
                err_msg=(name, leaf),
            )
    rates = results["layers"].diagnostics.spike_rates
    expected_rate = {"silent": 0.0, "saturated": 1.0}.get(corner)
    if expected_rate is None:
        assert all(0 < rate < 1 for rate in rates.values())
        assert all(np.abs(value).max() > 0 for value in truth.values())
    else:
        assert set(rates.values()) == {expected_rate}
        assert len(rates) == 2
        assert (np.abs(truth["readout.weight"]).max() > 0) == (corner == "saturated")
        assert np.abs(truth["readout.bias"]).max() > 0


def test_without_a_hidden_layer_it_is_logistic_regression():
    network = make(13, widths=(4, 3))
    stack, parameters, inputs, targets = network.arguments
    mean = inputs.mean(axis=0)
    share = np.exp(mean @ parameters["readout.weight"].T + parameters["readout.bias"])
    share /= share.sum(axis=1, keepdims=True)
    loss = -np.log(share[np.arange(3), targets]).mean()
    share[np.arange(3), targets] -= 1
    expected = {"readout.weight": share.T @ mean / 3, "readout.bias": share.sum(axis=0) / 3}
    for algorithm in (bptt, bptt_over_steps, rtrl):
        result = algorithm(*network.arguments)
        assert result.loss == pytest.approx(loss, rel=1e-14)
        assert_gradients_agree(result.gradients, expected)
    rate = rate_backpropagation(*network.arguments, scale="bptt")
    assert_gradients_agree(rate.gradients, expected)
    assert bptt(*network.arguments).diagnostics.margin is None


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(("reset", "value"), [("soft", 0.0), ("hard", -0.3)])
def test_the_trace_factor_of_the_official_code(reset, value, detach, backend):
    """leak (1 - psi) where a soft reset lives, leak ((1 - s) - h psi) for a hard one, step by step."""
    neuron = SpikingNeuron(0.7, 1.3, reset, value, detach)
    rng = np.random.default_rng(3)
    stack = DenseSpikingStack((3, 5, 2), neuron)
    parameters, inputs = stack.initialise(rng, gain=4.0, bias_mean=0.5), rng.random((6, 2, 3))
    arguments = stack, parameters, inputs, [0, 1]
    official = rate_backpropagation(*arguments, trace_factor="official", backend=backend, scale="bptt")

    v, rho, slopes = np.full((2, 5), value), np.ones((2, 5)), np.zeros((2, 5))
    fired = 0.0
    for x in inputs:
        h = 0.7 * v + x @ parameters["layer.1.weight"].T + parameters["layer.1.bias"]
        h += 0.3 * value if reset == "hard" else 0.0
        s, p = (h >= 1.3).astype(float), 1 / (1 + np.exp(-4 * (h - 1.3)))
        psi = 4 * p * (1 - p)
        slopes, fired = slopes + psi * rho / 6, fired + s.mean() / 6
        if reset == "soft":
            factor, v = 0.7 * (1 - (0 if detach else 1) * psi), h - 1.3 * s
        else:
            factor, v = 0.7 * ((1 - s) - h * psi), (1 - s) * h + s * value
        rho = 1 + factor * rho
    assert 0.1 < fired < 0.9
    readout = official.gradients["readout.bias"]
    error = softmax(official.diagnostics.outputs) - np.eye(2)[[0, 1]]
    np.testing.assert_allclose(readout, error.sum(axis=0) / 2, rtol=1e-12)
    expected = (slopes * (error / 2 @ parameters["readout.weight"])).T @ inputs.mean(axis=0)
    np.testing.assert_allclose(official.gradients["layer.1.weight"], expected, rtol=1e-11, atol=1e-15)
    exact = rate_backpropagation(*arguments, backend=backend, scale="bptt").gradients["layer.1.weight"]
    same = np.allclose(exact, expected, rtol=1e-9)
    assert same == (reset == "soft" and detach)
