"""What is refused of recurrent networks, and in which words; and what targets of each step may look like."""

from __future__ import annotations

import numpy as np
import pytest
from recurrent_cases import ALL, SMOOTH, SPIKING, problem, pulled_back, state_of

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import StaticInput
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.models.sequences import LabelledSequence, StepTargets

KINDS = (TanhNetwork, LongShortTermMemory, GatedRecurrentUnit, RecurrentSpikingLayer)


@pytest.mark.parametrize("kind", KINDS)
def test_networks(kind):
    for widths, message in (
        ((4, 3), r"^widths: expected at least 3 widths, got \(4, 3\)"),
        ((4, 0, 3), r"^widths\[1\]: expected an integer of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(widths)
    with pytest.raises(TypeError, match=r"^widths: expected a sequence of positive integers, got 4"):
        kind(4)
    with pytest.raises(ValueError, match=r"^loss_function: expected one of 'cross_entropy', 'mean_squared"):
        kind((2, 3, 2), loss_function="hinge")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, r"^dropout: expected a finite number in \[0, 1\), got 1.0"),
        ({"dropout": "some"}, TypeError, "^dropout: expected a real number, got str"),
        ({"dropout_seed": -1}, ValueError, "^dropout_seed: expected an integer of at least 0, got -1"),
        ({"dropout_seed": 0.5}, TypeError, "^dropout_seed: expected an integer, got float"),
    ],
)
def test_dropout(options, error, message):
    with pytest.raises(error, match=message):
        TanhNetwork((2, 3, 2), **options)


def test_spiking_layers():
    with pytest.raises(ValueError, match=r"^widths: expected three \(inputs, neurons, outputs\), got"):
        RecurrentSpikingLayer((2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"^neuron: expected reset='soft', got 'hard'; this layer subtracts"):
        RecurrentSpikingLayer((2, 3, 2), neuron=SpikingNeuron(reset="hard"))
    with pytest.raises(TypeError, match=r"^neuron: expected a SpikingNeuron such as"):
        RecurrentSpikingLayer((2, 3, 2), neuron=0.9)
    with pytest.raises(ValueError, match=r"^readout_leak: expected a finite number in \[0, 1\], got 1.5"):
        RecurrentSpikingLayer((2, 3, 2), readout_leak=1.5)


@pytest.mark.parametrize("name", ALL)
def test_the_door(name):
    network, parameters, inputs, targets = problem(ALL[name])
    last = network.widths[-1]
    for broken, error, message in (
        (({}, inputs, targets), ValueError, r"^parameters: expected the keys .* missing \['layer.1"),
        ((parameters, inputs[0], targets), ValueError, r"^inputs: expected shape \(T, B, 2\), got \(3, 2\)"),
        ((parameters, inputs[:0], targets), ValueError, r"^inputs: expected shape \(T, B, 2\) with T >= 1"),
        ((parameters, inputs[:, :, :1], targets), ValueError, r"^inputs: expected shape \(T, B, 2\), got"),
        ((parameters, inputs * np.nan, targets), ValueError, "^inputs: expected finite numbers, got 36 NaN"),
        ((parameters, inputs.astype(np.float32), targets), TypeError, "^inputs: expected dtype float64 like"),
        ((parameters, StaticInput(inputs, 2), targets), ValueError, r"^inputs.value: expected shape \(B, 2"),
        ((parameters, inputs, targets.values), ValueError, r"^targets: .* as StepTargets\(values\)$"),
        ((parameters, inputs, [0, 1]), ValueError, r"^targets: expected shape \(3,\), got \(2,\)"),
        ((parameters, inputs, np.zeros(3)), TypeError, "^targets: expected integer class labels"),
        ((parameters, inputs, [0, last, 0]), ValueError, rf"^targets: expected labels in \[0, {last}\)"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            network.check(*broken)


@pytest.mark.parametrize(
    ("values", "weights", "error", "message"),
    [
        (np.zeros((5, 3), int), None, ValueError, r"^targets.values: expected labels of shape \(6, 3\)"),
        (np.zeros((6, 2), int), None, ValueError, r"^targets.values: expected labels of shape \(6, 3\)"),
        (np.zeros((6, 3)), None, TypeError, "^targets.values: expected integer class labels, got"),
        (np.full((6, 3), -1), None, ValueError, r"^targets.values: expected labels in \[0, 3\), got values"),
        (np.zeros((6, 3, 3), int), None, ValueError, r"^targets.values: expected labels of shape \(6, 3\)"),
        (np.zeros(3, int), np.ones(5), ValueError, r"^targets.weights: expected shape \(6,\), got \(5,\)"),
        (np.zeros(3, int), np.ones((6, 1)), ValueError, r"^targets.weights: expected shape \(6, 3\), got"),
        (np.zeros(3, int), np.ones(6, int), TypeError, "^targets.weights: expected a float32 or float64"),
        (np.zeros(3, int), np.full(6, np.inf), ValueError, "^targets.weights: expected finite numbers"),
        (np.zeros(3, int), np.ones(6, np.float32), TypeError, "^targets.weights: expected dtype float64"),
    ],
)
def test_targets_of_each_step(values, weights, error, message):
    network, parameters, inputs, _ = problem(SMOOTH["tanh"])
    with pytest.raises(error, match=message):
        network.check(parameters, inputs, StepTargets(values, weights))


def test_real_targets_of_each_step():
    network, parameters, inputs, targets = problem(SMOOTH["tanh"], loss="mean_squared_error")
    with pytest.raises(ValueError, match=r"^targets.values: expected shape \(6, 3, 3\), got \(6, 3, 2\)"):
        network.check(parameters, inputs, StepTargets(targets.values[:, :, :2]))
    with pytest.raises(TypeError, match=r"^targets: expected one-hot \(B, classes\) floats under"):
        network.check(parameters, inputs, [0, 1, 2])
    with pytest.raises(ValueError, match=r"^targets: .* as StepTargets\(values\)$"):
        network.check(parameters, inputs, targets.values)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_ways_to_say_the_same(loss):
    """One step's targets stand for all; weights of steps for those of each sample; a mask for its numbers."""
    network, parameters, inputs, targets = problem(SMOOTH["gru"], loss=loss)
    row, mask = targets.values[0], np.arange(6) > 2
    whole = StepTargets(np.repeat(row[None], 6, axis=0), np.repeat(mask[:, None], 3, axis=1).astype(float))
    expected = pulled_back(network, parameters, inputs, whole)
    for same in (
        StepTargets(row, mask), StepTargets(row[None], mask.astype(float)), StepTargets(row.tolist(), mask),
    ):  # fmt: skip
        found = pulled_back(network, parameters, inputs, same)
        assert found.loss == expected.loss > 0
        for key, value in expected.gradients.items():
            np.testing.assert_array_equal(found.gradients[key], value)
    plain, ones = (pulled_back(network, parameters, inputs, t) for t in (row, StepTargets(row, np.ones(6))))
    assert plain.loss == ones.loss > expected.loss


def test_sequences_bring_targets_along():
    network, parameters, inputs, targets = problem(SMOOTH["tanh"])
    _, sequence, checked = network.check(parameters, inputs, targets)
    assert isinstance(sequence, LabelledSequence)
    step = sequence[4]
    np.testing.assert_array_equal(step.value, inputs[4])
    np.testing.assert_array_equal(step.targets, targets.values[4])
    np.testing.assert_array_equal(step.weights, targets.weights[4])
    later = sequence[2:]
    assert (len(later), len(later.targets.values)) == (4, 4)
    np.testing.assert_array_equal(later[2].targets, step.targets)
    np.testing.assert_array_equal(later[2].weights, step.weights)
    static = network.check(parameters, StaticInput(inputs[0], 6), targets.values[0])[1]
    assert (len(static[1:]), static[1:][3].weights.tolist()) == (5, [1.0])
    assert checked.values.shape == (6, 3)


@pytest.mark.parametrize("name", ALL)
def test_starts_and_adjoints(name):
    network, parameters, inputs, targets = problem(ALL[name])
    core = network.working_core(*network.check(parameters, inputs, targets))
    state = state_of(network)
    first = next(iter(state))
    with pytest.raises(ValueError, match=rf"^initial_state: expected the entries .* missing \['{first}'\]"):
        core.start({key: value for key, value in state.items() if key != first})
    for wrong, error, message in (
        (state[first][:1], ValueError, r"expected shape \(3, \d\), got"),
        (state[first].astype(np.float32), TypeError, "expected dtype float64"),
        (state[first] * np.nan, ValueError, "expected finite numbers"),
    ):
        with pytest.raises(error, match=rf"^initial_state\['{first}'\]: {message}"):
            core.start(state | {first: wrong})
        with pytest.raises(error, match=rf"^final_adjoint\['{first}'\]: {message}"):
            core.seed({first: wrong})
    with pytest.raises(ValueError, match=r"^final_adjoint: expected entries among .* got \['hidden'\]"):
        core.seed({"hidden": state[first]})
    with pytest.raises(ValueError, match=r"^backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'"):
        network.working_core(parameters, inputs, None, backend="gpu")


def test_complex_parameters_have_one_backend():
    network, parameters, inputs, _ = problem(SMOOTH["lstm"])
    moved = {key: value.astype(complex) for key, value in parameters.items()}
    with pytest.raises(TypeError, match=r"^backend: expected 'plain' with complex parameters, got 'cpu'"):
        network.working_core(moved, inputs, None)
    spiking = SPIKING["attached"]
    moved = {
        key: value.astype(complex) for key, value in spiking.initialise(np.random.default_rng(0)).items()
    }
    with pytest.raises(TypeError, match=r"^parameters: expected real ones, got complex"):
        spiking.working_core(moved, inputs, None, backend="plain")


@pytest.mark.parametrize("kind", KINDS)
def test_initialise(kind):
    network = kind((400, 300, 5))
    with pytest.raises(TypeError, match=r"^rng: expected a numpy.random.Generator"):
        network.initialise(0)
    with pytest.raises(ValueError, match=r"^gain: expected a finite number in \[0, inf\), got -1"):
        network.initialise(np.random.default_rng(0), gain=-1)
    parameters = network.initialise(np.random.default_rng(0), np.float32, gain=2.0)
    assert {name: value.shape for name, value in parameters.items()} == network.parameter_shapes()
    assert {value.dtype for value in parameters.values()} == {np.dtype(np.float32)}
    weight, readout = parameters["layer.1.input_weight"], parameters["readout.weight"]
    assert weight.std() == pytest.approx(2 / np.sqrt(400), rel=0.02)
    assert readout.std() == pytest.approx(1 / np.sqrt(300), rel=0.1)
    if kind is LongShortTermMemory:
        assert (parameters["layer.1.bias"] != 0).nonzero()[0].tolist() == list(range(300, 600))
