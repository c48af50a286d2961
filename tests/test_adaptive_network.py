"""The LSNN as a model: its contract, its conventions, and what it refuses."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.forward_mode import forward_mode
from refsnn.equations.surrogates import Surrogate
from refsnn.models.adaptive.conversion import EpropUnits, in_units_of, threshold_jump
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import Model
from refsnn.models.spike_events import SpikeEvents

SCHEMES = ["official", "paper", "eprop"]


def network(rng, scheme="official", **options):
    neuron = AdaptiveNeuron(
        leak=0.9, adaptation_decay=0.95, adaptation_strength=(0.0, 0.0, 0.0, 1.0, 1.0, 1.5), baseline=0.1,
        refractory=2, scheme=scheme,
    )  # fmt: skip
    chosen = {
        "delays": Delays.uniform(rng, 3, 4, 6),
        "trained": NEURON_PARAMETERS,
        "readout_decay": 0.8,
    } | options
    return AdaptiveSpikingNetwork((4, 6, 3), neuron=neuron, **chosen)


def single(scheme, refractory, **options):
    """One neuron that hears one input of weight 1; spikes of a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        neuron = AdaptiveNeuron(
            leak=float(np.exp(-1 / 20)),
            adaptation_strength=0.0,
            refractory=refractory,
            scheme=scheme,
            **options,
        )
    return AdaptiveSpikingNetwork((1, 1, 1), neuron=neuron)


def spikes_of(model, parameters, inputs):
    """z_{k+1}, (T, B, n), by the contract."""
    _, steps = model.check_inputs(parameters, inputs)
    state, found = model.initial_state(parameters, steps.batch), []
    for step in range(len(steps)):
        state = model.step(parameters, state, steps[step])
        found.append(state["layer.1.spikes"])
    return np.array(found)


# -- the contract -----------------------------------------------------------------------------------------


def test_shapes_and_names():
    model = network(np.random.default_rng(0))
    assert isinstance(model, Model)
    parameters = model.initialise(np.random.default_rng(1))
    assert {name: value.shape for name, value in parameters.items()} == model.parameter_shapes()
    assert list(parameters) == [
        "layer.1.input_weight", "layer.1.recurrent_weight", "layer.1.leak", "layer.1.adaptation_decay",
        "layer.1.adaptation_strength", "layer.1.baseline", "readout.weight", "readout.bias",
    ]  # fmt: skip
    state = model.initial_state(parameters, 5)
    assert state["layer.1.currents"].shape == (5, 3, 6)
    assert state["layer.1.refractory"].dtype == np.int16
    assert not any(value.any() for value in state.values())
    assert "layer.1.refractory" not in model.adjoint_shapes(5)


def test_initial_weights_have_the_paper_s_scale():
    model = AdaptiveSpikingNetwork((400, 300, 20), readout_bias=False)
    parameters = model.initialise(np.random.default_rng(2))
    assert parameters["layer.1.input_weight"].std() == pytest.approx(1 / 20, rel=0.02)
    assert parameters["layer.1.recurrent_weight"].std() == pytest.approx(1 / np.sqrt(300), rel=0.02)
    limit = np.sqrt(6 / 320)
    assert 0.98 * limit < np.abs(parameters["readout.weight"]).max() <= limit
    assert "readout.bias" not in parameters


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("time_step", [1.0, 2.0])
def test_the_contract_is_the_run(scheme, noisy, time_step):
    rng = np.random.default_rng(3)
    model = network(rng, scheme)
    model = replace(model, neuron=replace(model.neuron, time_step=time_step))
    parameters = model.initialise(rng, gain=1.5)
    inputs = (rng.random((40, 2, 4)) < 0.3) * 1.0
    if noisy:  # the current of the forward mode holds the noise too
        inputs = DrivenInput(inputs, noise=0.05 * rng.standard_normal((40, 2, 6)))
    targets = WindowTargets([5, 20], [9, 39], rng.integers(0, 3, (2, 2)))
    run, steps = (
        adaptive_bptt(model, parameters, inputs, targets),
        bptt_over_steps(model, parameters, inputs, targets),
    )
    assert run.loss == pytest.approx(steps.loss, rel=1e-14)
    assert run.diagnostics.spike_rates["layer.1"] > 0.02
    for name, value in run.gradients.items():
        assert np.allclose(steps.gradients[name], value, rtol=1e-11, atol=1e-14), name
    direction = {name: rng.standard_normal(value.shape) for name, value in parameters.items()}
    loss, derivative = forward_mode(model, parameters, inputs, targets, direction)
    along = sum((run.gradients[name] * direction[name]).sum() for name in direction)
    assert loss == pytest.approx(run.loss, rel=1e-14)
    assert derivative == pytest.approx(along, rel=1e-11)


def test_a_last_state_goes_on_with_a_new_filter():
    rng = np.random.default_rng(4)
    model = network(rng)
    parameters = model.initialise(rng, gain=1.5)
    last = adaptive_bptt(model, parameters, np.ones((30, 2, 4)), None).final_state
    carried = model.for_next_sequence(last)
    assert last["readout.trace"].any()
    for name, value in carried.items():
        if name.startswith("readout"):
            assert not value.any()
        else:
            assert np.array_equal(value, last[name])


# -- conventions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "refractory", "raster"),
    [
        ("official", 0, "000001100000001100000001100000"),
        ("paper", 0, "000001000010000100010000100001"),
        ("official", 1, "000001000010000100001000010000"),
    ],
)
def test_one_neuron_under_constant_current(scheme, refractory, raster):
    model = single(scheme, refractory)
    parameters = model.initialise(np.random.default_rng(0)) | {"layer.1.input_weight": np.ones((1, 1))}
    found = spikes_of(model, parameters, np.full((30, 1, 1), 0.05))
    assert "".join("01"[int(spike)] for spike in found[:, 0, 0]) == raster


@pytest.mark.parametrize(("scheme", "delay"), [("official", 0), ("official", 3), ("eprop", 0), ("paper", 2)])
def test_a_spike_wakes_another_neuron_two_steps_later(scheme, delay):
    neuron = AdaptiveNeuron(leak=0.5, adaptation_strength=0.0, refractory=50, scheme=scheme)
    delays = Delays(4, np.zeros((2, 1), int), np.full((2, 2), delay))
    model = AdaptiveSpikingNetwork((1, 2, 1), neuron=neuron, delays=delays)
    parameters = model.initialise(np.random.default_rng(0)) | {
        "layer.1.input_weight": np.array([[1.0], [0.0]]),
        "layer.1.recurrent_weight": np.array([[0.0, 0.0], [1.0, 0.0]]),
    }
    inputs = np.zeros((12, 1, 1))
    inputs[0] = 1.0
    found = spikes_of(model, parameters, inputs)[:, 0]
    first, second = (int(np.flatnonzero(found[:, j])[0]) for j in (0, 1))
    latency = 1 if scheme == "eprop" else 2
    # x_k is heard at step k, z_{k+1} at step k + 1
    assert first == latency - 1
    assert second - first == latency + delay


def test_a_spike_is_one_over_the_time_step_and_its_jump_is_the_formula_s():
    neuron = AdaptiveNeuron.of_time_constants(20.0, 700.0, adaptation_strength=1.8, time_step=0.5)
    model = AdaptiveSpikingNetwork((1, 1, 1), neuron=neuron)
    parameters = model.initialise(np.random.default_rng(0)) | {"layer.1.input_weight": np.ones((1, 1))}
    _, steps = model.check_inputs(parameters, np.full((3, 1, 1), 5.0))
    state = model.initial_state(parameters, 1)
    for step in range(3):
        before, state = state, model.step(parameters, state, steps[step])
        if before["layer.1.spikes"][0, 0]:
            assert before["layer.1.spikes"][0, 0] == 2.0
            rise = 1.8 * (state["layer.1.adaptation"] - before["layer.1.adaptation"])[0, 0]
            assert rise == pytest.approx(threshold_jump(neuron), rel=1e-14)
            return
    raise AssertionError("no spike")


def test_the_window_s_mean_is_that_of_the_filtered_spikes():
    rng = np.random.default_rng(5)
    model = network(rng)
    parameters = model.initialise(rng, gain=1.5)
    inputs = (rng.random((40, 2, 4)) < 0.3) * 1.0
    targets = WindowTargets([3, 11, 30], [9, 11, 39], rng.integers(0, 3, (3, 2)))
    outputs = adaptive_bptt(model, parameters, inputs, targets).window_outputs
    filtered, each = np.zeros((2, 6)), []
    for spikes in spikes_of(model, parameters, inputs):
        filtered = 0.8 * filtered + 0.2 * spikes
        each.append(filtered @ parameters["readout.weight"].T + parameters["readout.bias"])
    for window, (first, last) in enumerate(zip(targets.first, targets.last, strict=True)):
        assert np.allclose(outputs[window], np.mean(each[first : last + 1], axis=0), rtol=1e-12)
    assert np.abs(outputs).max() > 0


def test_units_of_e_prop_and_of_the_potential():
    neuron = AdaptiveNeuron.of_time_constants(
        20.0, (300.0, 700.0), adaptation_strength=(0.0, 1.8), scheme="eprop"
    )
    units = EpropUnits.of(neuron)
    assert units.adaptation_strength[1] == pytest.approx(0.0527, abs=5e-5)
    again = units.neuron(refractory=neuron.refractory)
    assert again.divisor == "baseline"
    for name in NEURON_PARAMETERS:
        assert np.allclose(getattr(again, name), getattr(neuron, name), rtol=1e-14), name
    with pytest.raises(ValueError, match="neuron: expected scheme 'eprop'"):
        EpropUnits.of(AdaptiveNeuron())
    rng = np.random.default_rng(6)
    model = network(rng, trained=())
    parameters, inputs = model.initialise(rng, gain=1.5), (rng.random((40, 2, 4)) < 0.3) * 1.0
    truth = spikes_of(model, parameters, inputs)
    assert truth.any()
    for baseline in (True, False):
        other, scaled = in_units_of(model.neuron, parameters, 8.0, baseline=baseline)
        found = spikes_of(replace(model, neuron=other), scaled, inputs)
        assert np.array_equal(found, truth) == baseline
    with pytest.raises(ValueError, match="factor: expected"):
        in_units_of(model.neuron, parameters, 0.0)


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"leak": 1.0}, ValueError, "leak: expected"),
        ({"leak": (0.5, 1.5)}, ValueError, r"leak\[1\]: expected"),
        ({"adaptation_decay": 0.0}, ValueError, "adaptation_decay: expected"),
        ({"adaptation_strength": -1.7}, ValueError, "adaptation_strength: expected"),
        ({"baseline": 0.0}, ValueError, "baseline: expected"),
        ({"refractory": -1}, ValueError, "refractory: expected"),
        ({"refractory": 2.5}, TypeError, "refractory: expected"),
        ({"refractory": 2**15}, ValueError, "refractory: expected at most 32767"),
        ({"time_step": 0.0}, ValueError, "time_step: expected"),
        ({"scheme": "norse"}, ValueError, "scheme: expected one of"),
        ({"divisor": "B"}, ValueError, "divisor: expected one of"),
        ({"stop_reset": 1}, TypeError, "stop_reset: expected True or False"),
        ({"stop_recurrent": "yes"}, TypeError, "stop_recurrent: expected True or False"),
        ({"surrogate": 0.3}, TypeError, "surrogate: expected"),
        ({"smooth": True}, ValueError, "refractory: expected 0 with smooth=True"),
        (
            {"smooth": True, "refractory": 0, "surrogate": Surrogate("gaussian", 1.0, 1.0)},
            ValueError,
            "surrogate",
        ),
    ],
)
def test_neurons_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        AdaptiveNeuron(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"membrane": 0.5},
            r"membrane: expected time constants of at least one time step \(1.0 ms\), got 0.5",
        ),
        ({"adaptation": [700.0, 0.9]}, r"adaptation: expected time constants .* got 0.9"),
        ({"membrane": 20.0, "time_step": 25.0}, "membrane: expected time constants"),
        ({"membrane": -20.0}, "membrane: expected time constants"),
        ({"time_step": -1.0}, "time_step: expected"),
    ],
)
def test_time_constants_below_a_step_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveNeuron.of_time_constants(**options)


def test_pairs_of_spikes_are_warned_of():
    with pytest.warns(SpikePairsWarning, match="refractory"):
        AdaptiveNeuron(refractory=0)
    AdaptiveNeuron(refractory=0, scheme="paper")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, np.zeros((2, 1), int), np.zeros((2, 2), int)), ValueError, "slots: expected"),
        (
            (3, np.full((2, 1), 3), np.zeros((2, 2), int)),
            ValueError,
            r"delays.input: expected delays from 0 to 2",
        ),
        (
            (3, np.zeros((2, 1), int), np.full((2, 2), -1)),
            ValueError,
            "delays.recurrent: expected delays from 0",
        ),
        ((3, np.full((2, 1), 0.5), np.zeros((2, 2), int)), TypeError, "delays.input: expected whole numbers"),
        (
            (3, np.zeros((2, 1), int), np.zeros((2, 3), int)),
            ValueError,
            "delays.recurrent: expected one for each",
        ),
        ((3, np.zeros((3, 1), int), np.zeros((2, 2), int)), ValueError, "delays.input: expected 2 rows"),
    ],
)
def test_delays_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Delays(*arguments)


@pytest.mark.parametrize(
    ("widths", "options", "error", "message"),
    [
        ((4, 6), {}, ValueError, "widths: expected"),
        ((4, 6, 6, 3), {}, ValueError, "widths: expected three"),
        (
            (4, 5, 3),
            {"delays": Delays.none(4, 6)},
            ValueError,
            "delays: expected those of 4 inputs to 5 neurons",
        ),
        ((4, 5, 3), {"delays": 3}, TypeError, "delays: expected"),
        (
            (4, 5, 3),
            {"neuron": AdaptiveNeuron(leak=(0.5,) * 4)},
            ValueError,
            "neuron.leak: expected one number",
        ),
        ((4, 5, 3), {"neuron": "ALIF"}, TypeError, "neuron: expected"),
        ((4, 5, 3), {"readout_decay": 1.0}, ValueError, "readout_decay: expected"),
        ((4, 5, 3), {"readout_bias": 1}, TypeError, "readout_bias: expected"),
        ((4, 5, 3), {"trained": "leak"}, TypeError, "trained: expected a tuple"),
        ((4, 5, 3), {"trained": ("tau",)}, ValueError, "trained: expected one of"),
        ((4, 5, 3), {"loss_function": "hinge"}, ValueError, "loss_function: expected one of"),
    ],
)
def test_networks_that_are_refused(widths, options, error, message):
    with pytest.raises(error, match=message):
        AdaptiveSpikingNetwork(widths, **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"noise": np.zeros((40, 2, 5))}, ValueError, "inputs.noise: expected shape"),
        ({"noise": np.zeros((40, 2, 6), np.float32)}, TypeError, "inputs.noise: expected"),
        ({"masks": np.zeros((39, 2, 6), bool)}, ValueError, "inputs.masks: expected True where"),
        ({"masks": np.zeros((40, 2, 6))}, ValueError, "inputs.masks: expected True where"),
        ({"inputs": np.zeros((40, 2, 5))}, ValueError, "inputs: expected shape"),
        ({"inputs": np.zeros((40, 2, 4), np.float32)}, TypeError, "inputs: expected"),
        ({"inputs": np.full((40, 2, 4), np.nan)}, ValueError, "inputs: "),
        (
            {"inputs": SpikeEvents.from_array(np.zeros((40, 2, 5)))},
            ValueError,
            "inputs: expected events of 4",
        ),
        (
            {"inputs": SpikeEvents.from_array(np.ones((40, 2, 4), np.float32))},
            TypeError,
            "inputs: expected events",
        ),
    ],
)
def test_inputs_that_are_refused(change, error, message):
    rng = np.random.default_rng(7)
    model = network(rng)
    given = {"inputs": np.zeros((40, 2, 4))} | change
    with pytest.raises(error, match=message):
        model.check(model.initialise(rng), DrivenInput(**given), [0, 1])


@pytest.mark.parametrize(
    ("first", "last", "values", "weights", "error", "message"),
    [
        ([5], [4], [[0, 1]], None, ValueError, "targets.first, targets.last: expected windows"),
        ([0, 3], [3, 9], [[0, 1]] * 2, None, ValueError, "targets.first, targets.last: expected windows"),
        ([0.0], [4.0], [[0, 1]], None, TypeError, "targets.first: expected whole numbers"),
        ([0], [4, 9], [[0, 1]], None, ValueError, "targets.last: expected as many"),
        ([0], [4], [[0, 3]], None, ValueError, "targets"),
        ([0], [4], [[0, 1, 2]], None, ValueError, "targets.values: expected labels of shape"),
        ([0], [4], [[0, 1]], [[1.0]], ValueError, "targets.weights: expected shape"),
    ],
)
def test_windows_that_are_refused(first, last, values, weights, error, message):
    rng = np.random.default_rng(8)
    model = network(rng)
    with pytest.raises(error, match=message):
        model.check(model.initialise(rng), np.zeros((40, 2, 4)), WindowTargets(first, last, values, weights))


def test_trained_constants_out_of_range_and_parameters_of_another_network_are_refused():
    rng = np.random.default_rng(9)
    model = network(rng)
    parameters, inputs = model.initialise(rng), np.zeros((5, 1, 4))
    for name, value in (
        ("leak", 1.0),
        ("adaptation_decay", 0.0),
        ("adaptation_strength", -0.1),
        ("baseline", 0.0),
    ):
        wrong = parameters | {f"layer.1.{name}": np.full(6, value)}
        with pytest.raises(ValueError, match=rf"parameters\['layer.1.{name}'\]: expected values"):
            model.check(wrong, inputs, [0])
    model.check(parameters | {"layer.1.adaptation_strength": np.zeros(6)}, inputs, [0])
    with pytest.raises(ValueError, match="parameters: expected the keys"):
        replace(model, trained=()).check(parameters, inputs, [0])


def test_the_state_of_another_network_is_refused():
    rng = np.random.default_rng(10)
    model, longer = network(rng), network(rng, delays=Delays.uniform(rng, 5, 4, 6))
    parameters, inputs = model.initialise(rng), np.zeros((5, 2, 4))
    other = adaptive_bptt(longer, parameters, inputs, None).final_state
    with pytest.raises(ValueError, match=r"initial_state\['layer.1.currents'\]: expected shape"):
        adaptive_bptt(model, parameters, inputs, None, initial_state=other)
    own = adaptive_bptt(model, parameters, inputs, None).final_state
    for name, wrong, error in (
        ("layer.1.refractory", own["layer.1.refractory"].astype(np.int64), ValueError),
        ("layer.1.potential", own["layer.1.potential"].astype(np.float32), TypeError),
        ("layer.1.spikes", np.full((2, 6), np.inf), ValueError),
    ):
        with pytest.raises(error, match=rf"initial_state\['{name}'\]: "):
            adaptive_bptt(model, parameters, inputs, None, initial_state=own | {name: wrong})
    with pytest.raises(ValueError, match=r"initial_state: expected the entries .* missing"):
        adaptive_bptt(model, parameters, inputs, None, initial_state={"layer.1.spikes": np.zeros((2, 6))})
