"""What the algorithms on spiking stacks say beside the gradient is what happened."""

import numpy as np
import pytest

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import StaticInput
from refsnn.models.losses import LOSSES
from refsnn.models.spiking_stack import DenseSpikingStack
from validation.claims.rate_backpropagation.reference import record_run
from validation.nets import live_case


@pytest.fixture
def case():
    return live_case(
        np.random.default_rng(4),
        (7, 6),
        SpikingNeuron(leak=0.6),
        5,
        static=False,
        batch=3,
        inputs=8,
        classes=4,
    )


def rates_of(case):
    return {name: record.spikes.mean() for name, record in record_run(case).items()}


@pytest.mark.parametrize(
    "run",
    [
        bptt,
        rate_backpropagation,
        lambda *case: rate_backpropagation(*case, mode="single_step"),
        lambda *case: temporal_galerkin(*case, n_modes=2),
    ],
    ids=["bptt", "rate, multi-step", "rate, single-step", "galerkin"],
)
def test_rates_and_outputs(case, run):
    found = run(*case.arguments).diagnostics
    expected = rates_of(case)
    assert found.spike_rates.keys() == expected.keys()
    for name, rate in expected.items():
        assert found.spike_rates[name] == pytest.approx(rate, rel=1e-12)
    top = list(record_run(case).values())[-1].spikes
    outputs = top @ case.parameters["readout.weight"].T + case.parameters["readout.bias"]
    np.testing.assert_allclose(found.outputs, outputs.mean(axis=0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("run", [bptt_over_steps, rtrl], ids=["bptt over steps", "rtrl"])
def test_outputs_of_the_algorithms_over_steps(case, run):
    np.testing.assert_allclose(
        run(*case.arguments).diagnostics.outputs,
        bptt(*case.arguments).diagnostics.outputs,
        rtol=1e-12,
        atol=1e-14,
    )


def test_run_gives_the_outputs_of_bptt(case):
    model, parameters, inputs, _ = case.arguments
    expected = bptt(*case.arguments).diagnostics.outputs
    for backend in ("plain", "cpu"):
        np.testing.assert_allclose(model.run(parameters, inputs, backend), expected, rtol=1e-12, atol=1e-14)


def test_margin_is_the_smallest_distance_to_the_threshold(case):
    distances = [np.abs(record.charged - 1.0) for record in record_run(case).values()]
    expected = min(each.min() for each in distances)
    assert expected < 0.1 * max(each.max() for each in distances)  # the largest would not do
    for found in (
        bptt(*case.arguments),
        rate_backpropagation(*case.arguments),
        rate_backpropagation(*case.arguments, mode="single_step", backend="plain"),
        temporal_galerkin(*case.arguments, n_modes=2),
        temporal_galerkin(*case.arguments, n_modes=2, backend="plain"),
    ):
        assert found.diagnostics.margin == pytest.approx(expected, rel=1e-9)


def test_bytes_kept(case):
    batch, (inputs, first, second, _), steps = 3, case.model.widths, 5
    hidden = first + second
    assert bptt(*case.arguments).diagnostics.bytes_kept == 8 * steps * batch * hidden
    # rates of input and layers, slopes of layers
    assert rate_backpropagation(*case.arguments).diagnostics.bytes_kept == 8 * batch * (inputs + 2 * hidden)
    # K coefficients of input and layers, K^2 gains of layers
    galerkin = temporal_galerkin(*case.arguments, n_modes=2).diagnostics.bytes_kept
    assert galerkin == 8 * batch * (2 * (inputs + hidden) + 4 * hidden)


def test_what_rate_based_backpropagation_keeps_does_not_depend_on_the_number_of_steps(case):
    model, parameters, inputs, targets = case.arguments
    for mode in ("multi_step", "single_step"):
        kept = [
            rate_backpropagation(model, parameters, inputs[:1].repeat(steps, 0), targets, mode=mode)
            for steps in (1, 32)
        ]
        assert kept[0].diagnostics.bytes_kept == kept[1].diagnostics.bytes_kept
    grows = [bptt(model, parameters, inputs[:1].repeat(steps, 0), targets) for steps in (1, 32)]
    assert grows[1].diagnostics.bytes_kept == 32 * grows[0].diagnostics.bytes_kept


def test_steps_executed(case):
    for run in (bptt, bptt_over_steps, rate_backpropagation):
        assert run(*case.arguments).diagnostics.steps_executed == 5
    # one run over the sequence for each of the six parameters' directions
    assert rtrl(*case.arguments).diagnostics.steps_executed == 5 * 6


@pytest.mark.parametrize(("threshold", "fires", "rate"), [(0.7, ">=", 1.0), (0.1, ">", 0.0)])
def test_rates_are_compared_in_the_dtype_that_fired(threshold, fires, rate):
    """0.7 and 0.1 are no float32 numbers: the nearest ones lie on the other side of the float64 threshold."""
    model = DenseSpikingStack((1, 1, 1), SpikingNeuron(leak=0.0, threshold=threshold, fires=fires))
    parameters = {
        "layer.1.weight": np.zeros((1, 1), np.float32),
        "layer.1.bias": np.array([threshold], np.float32),
        "readout.weight": np.ones((1, 1), np.float32),
        "readout.bias": np.zeros(1, np.float32),
    }
    result = bptt(model, parameters, StaticInput(np.zeros((1, 1), np.float32), 2), [0])
    assert result.diagnostics.spike_rates["layer.1"] == rate
    assert result.diagnostics.outputs[0, 0] == rate
    assert result.diagnostics.margin == 0


@pytest.mark.parametrize("fires", [">=", ">"])
def test_spikes_exactly_at_the_threshold_of_a_lower_layer(fires):
    """The weight gradient above needs the spikes again: with the comparison that fired them."""
    model = DenseSpikingStack((1, 2, 2, 2), SpikingNeuron(leak=0.5, fires=fires))
    rng = np.random.default_rng(1)
    parameters = model.initialise(rng, gain=2.0, bias_mean=0.5)
    parameters["layer.1.weight"][:] = 1.0
    parameters["layer.1.bias"][:] = [0.0, 0.5]  # h = 1 exactly at the first step of the first neuron
    inputs = np.ones((3, 1, 1))
    by_layers, by_steps = (run(model, parameters, inputs, [1]) for run in (bptt, bptt_over_steps))
    assert by_layers.diagnostics.margin == 0
    for name, truth in by_steps.gradients.items():
        assert np.abs(truth).max() > 0
        np.testing.assert_allclose(by_layers.gradients[name], truth, rtol=1e-12, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradients_stay_single(loss):
    model = DenseSpikingStack((4, 6, 3), loss_function=loss)
    rng = np.random.default_rng(0)
    parameters = model.initialise(rng, np.float32, gain=3.0)
    inputs = rng.random((5, 2, 4)).astype(np.float32)
    targets = [0, 2] if loss == "cross_entropy" else rng.random((2, 3)).astype(np.float32)
    for run in (bptt, bptt_over_steps, rate_backpropagation, rtrl):
        result = run(model, parameters, inputs, targets)
        assert {value.dtype for value in result.gradients.values()} == {np.dtype(np.float32)}, run.__name__
        assert result.diagnostics.outputs.dtype == np.float32


def test_initialisation_has_the_stated_moments():
    model = DenseSpikingStack((400, 300, 10))
    parameters = model.initialise(np.random.default_rng(0), gain=2.0, bias_mean=0.3, bias_deviation=0.2)
    weight, bias = parameters["layer.1.weight"], parameters["layer.1.bias"]
    assert weight.std() * np.sqrt(400) == pytest.approx(2.0, rel=0.02)
    assert abs(weight.mean()) < 4 * weight.std() / np.sqrt(weight.size)
    assert bias.mean() == pytest.approx(0.3, abs=4 * 0.2 / np.sqrt(300))
    assert bias.std() == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dtype": np.int64}, TypeError, "^dtype: expected float32 or float64"),
        ({"dtype": np.float16}, TypeError, "^dtype: expected float32 or float64"),
        ({"gain": np.nan}, ValueError, "^gain: expected a finite number"),
        ({"gain": -1.0}, ValueError, "^gain: expected a finite number"),
        ({"bias_deviation": -1.0}, ValueError, "^bias_deviation: "),
    ],
)
def test_initialisation_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        DenseSpikingStack((2, 3)).initialise(np.random.default_rng(0), **changes)


def test_doors_that_were_ajar(case):
    model, parameters, inputs, targets = case.arguments
    with pytest.raises(TypeError, match=r"^inputs: expected an array without a mask"):
        bptt(model, parameters, np.ma.masked_array(inputs, inputs > 0), targets)
    with pytest.raises(TypeError, match=r"^model: expected a Model"):
        bptt(3, parameters, inputs, targets)
    with pytest.raises(ValueError, match=r"^backend: "):
        DenseSpikingStack((8, 4)).run(
            DenseSpikingStack((8, 4)).initialise(np.random.default_rng(0)), inputs, backend="none"
        )
    with pytest.raises(ValueError, match=r"^threshold: .*float32"):
        SpikingNeuron(threshold=1e-50).constants(np.float32)
    with pytest.raises(ValueError, match=r"^threshold: .*float32"):
        SpikingNeuron(reset="hard", reset_value=1 - 1e-9).constants(np.float32)
    whole, longer = bptt(*case.arguments), bptt(*case.arguments, window=10**30)
    assert all((whole.gradients[name] == longer.gradients[name]).all() for name in whole.gradients)
