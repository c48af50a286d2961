"""Sequences in parts, states of other networks, read-outs of each step, and what may be kept by whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt, raster_bptt
from refsnn.algorithms.adaptive_eprop import adaptive_eprop
from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.algorithms.optimisers import GradientDescent
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import AdaptiveNeuron
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.sequences import StepTargets
from refsnn.models.spike_events import SpikeEvents
from validation.cli import named_experiments

STEPS, BATCH = 60, 3


def case(dtype=np.float64, slots=4, trained=(), **options):
    """A live network with its parameters and input."""
    rng = np.random.default_rng(2)
    options = {"refractory": 2, "adaptation_strength": (0.0,) * 4 + (1.0,) * 4, "baseline": 0.1, **options}
    network = AdaptiveSpikingNetwork(
        (5, 8, 3),
        neuron=AdaptiveNeuron(leak=0.9, adaptation_decay=0.95, **options),
        delays=Delays.uniform(rng, slots, 5, 8),
        trained=trained,
    )
    parameters = network.initialise(rng, dtype, gain=1.5)
    return network, parameters, (rng.random((STEPS, BATCH, 5)) < 0.3).astype(dtype)


LABELS = [0, 2, 1]
AT_THE_END = WindowTargets.at_the_end(STEPS, 10, LABELS)
EACH_STEP = StepTargets(np.array(LABELS))


def same(one, other):
    for name, value in one.gradients.items():
        assert value.dtype == other.gradients[name].dtype, name
        assert np.array_equal(value, other.gradients[name]), name
    assert one.loss == other.loss


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("targets", [AT_THE_END, EACH_STEP], ids=["window", "steps"])
@pytest.mark.parametrize("trained", [(), ("leak", "baseline")])
def test_all_ways_give_the_same_bits_in_either_precision(dtype, targets, trained):
    network, parameters, inputs = case(dtype, trained=trained)
    whole = adaptive_bptt(network, parameters, inputs, targets)
    assert 0.02 < whole.diagnostics.spike_rates["layer.1"] < 0.5
    same(whole, adaptive_bptt(network, parameters, inputs, targets, regulariser=RateRegulariser(0.0)))
    same(whole, memory_efficient_bptt(network, parameters, inputs, targets, strategy="periodic", every=7))
    for segment in (1, 3, 7, 60, None):
        raster = raster_bptt(network, parameters, inputs, targets, segment=segment)
        same(whole, raster)
        assert np.array_equal(whole.window_outputs, raster.window_outputs)
        for name, value in whole.final_state.items():
            assert np.array_equal(value, raster.final_state[name]), name


def test_a_raster_keeps_little_also_with_a_loss_at_each_step():
    network, parameters, _ = case()
    inputs = (np.random.default_rng(0).random((2400, BATCH, 5)) < 0.1).astype(float)
    whole = adaptive_bptt(network, parameters, inputs, EACH_STEP)
    raster = raster_bptt(network, parameters, inputs, EACH_STEP)
    states = 2400 * BATCH * 8 * 3 * 8
    assert raster.diagnostics.bytes_kept < 0.1 * states < whole.diagnostics.bytes_kept


def test_a_long_refractory_period_is_kept_through_a_raster():
    network, parameters, inputs = case(refractory=25)
    first = adaptive_bptt(network, parameters, inputs, None)
    assert first.final_state["layer.1.refractory"].max() > 6
    start = first.final_state
    whole = adaptive_bptt(network, parameters, inputs, AT_THE_END, initial_state=start)
    same(whole, raster_bptt(network, parameters, inputs, AT_THE_END, segment=6, initial_state=start))


def test_the_state_of_another_network_is_refused():
    network, parameters, inputs = case()
    state = adaptive_bptt(network, parameters, inputs, None).final_state
    longer = state | {"layer.1.refractory": state["layer.1.refractory"] + np.int16(3)}
    with pytest.raises(ValueError, match=r"initial_state\['layer.1.refractory'\]: expected 0 to 2 steps"):
        adaptive_bptt(network, parameters, inputs, AT_THE_END, initial_state=longer)
    shorter = state | {"layer.1.refractory": state["layer.1.refractory"] - np.int16(9)}
    with pytest.raises(ValueError, match=r"initial_state.*refractory"):
        raster_bptt(network, parameters, inputs, AT_THE_END, initial_state=shorter)
    other = state | {"layer.1.spikes": np.full((BATCH, 8), 2.0)}
    with pytest.raises(
        ValueError, match=r"initial_state\['layer.1.spikes'\]: expected 0 or 1 / time step = 1"
    ):
        adaptive_bptt(network, parameters, inputs, AT_THE_END, initial_state=other)
    with pytest.raises(TypeError, match="state: expected the final_state of a result"):
        network.for_next_sequence({})


def test_truncation_leaves_each_step_its_own_error():
    """Against parts without a gradient between them, with the read-out's derivative by spikes by hand."""
    network, parameters, inputs = case()
    targets, name = WindowTargets.at_the_end(STEPS, STEPS, LABELS), "layer.1.input_weight"
    whole = adaptive_bptt(network, parameters, inputs, targets)
    outputs = whole.window_outputs[0]
    share = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    by_mean = (share - np.eye(3)[LABELS]) / BATCH @ parameters["readout.weight"]
    by_spikes, carried = np.zeros((STEPS, BATCH, 8)), 0.0
    for step in reversed(range(STEPS)):
        carried = network.readout_decay * carried + by_mean / STEPS
        by_spikes[step] = (1 - network.readout_decay) * carried
    expected, state = 0.0, None
    for first in range(0, STEPS, 5):
        part = slice(first, first + 5)
        run = adaptive_bptt(
            network,
            parameters,
            inputs[part],
            None,
            cotangents={"spikes": by_spikes[part]},
            initial_state=state,
        )
        expected, state = expected + run.gradients[name], run.final_state
    found = truncated_bptt(network, parameters, inputs, targets, window=5).gradients[name]
    assert np.allclose(found, expected, rtol=1e-11, atol=1e-15)
    assert np.abs(found - whole.gradients[name]).max() > 1e-3 * np.abs(found).max()
    cut_nowhere = truncated_bptt(network, parameters, inputs, targets, window=STEPS).gradients[name]
    assert np.allclose(cut_nowhere, whole.gradients[name], rtol=1e-12, atol=1e-15)


def test_a_driven_input_ends():
    for inputs in (np.zeros((4, 2, 3)), SpikeEvents.from_array(np.ones((4, 2, 3)))):
        driven = DrivenInput(inputs)
        assert [len(step) for step in driven] == [2, 2, 2, 2]
        with pytest.raises(IndexError, match="below 4, got 4"):
            driven[4]
        with pytest.raises(IndexError, match="below 4, got -5"):
            driven[-5]


def test_what_was_checked_cannot_be_changed_from_outside():
    starts, sources, values = np.array([0, 1, 2]), np.array([0, 2]), np.array([1.0, 1.0])
    events = SpikeEvents(2, 1, 3, starts, sources, values)
    sources[0] = 2_000_000
    assert events.sources.max() == 2
    signs = np.ones((2, 2))
    rule = DeepRewiring({"weight": signs}, GradientDescent(0.1), connectivity=1.0)
    signs[0] = -1
    assert (rule.signs["weight"] == 1).all()
    state = rule.initial_state({"weight": np.full((2, 2), 0.5), "bias": np.zeros(2)})
    rule.weights(state)["bias"] += 5
    assert (rule.weights(state)["bias"] == 0).all()


def test_time_constants_follow_the_time_step_and_may_be_whole_numbers():
    assert AdaptiveNeuron(time_step=0.5).leak == pytest.approx(np.exp(-0.5 / 20))
    assert AdaptiveNeuron(time_step=0.5).adaptation_decay == pytest.approx(np.exp(-0.5 / 700))
    neuron = AdaptiveNeuron.of_time_constants(20, [700, 1200], adaptation_strength=(0, 1))
    assert neuron.leak == pytest.approx(np.exp(-1 / 20))
    network = AdaptiveSpikingNetwork((2, 2, 2), neuron=AdaptiveNeuron(time_step=0.5))
    assert network.readout_decay == pytest.approx(np.exp(-0.5 / 20))
    with pytest.raises(
        ValueError, match="adaptation: expected time constants that can be told from infinity"
    ):
        AdaptiveNeuron.of_time_constants(20.0, 1e20)
    long = AdaptiveNeuron.of_time_constants(20.0, 1e8)
    with pytest.raises(ValueError, match=r"neuron.adaptation_decay: expected values .* in float32"):
        long.of_each(3, np.float32)


def test_trained_constants_come_back_into_their_range():
    network, parameters, inputs = case(
        trained=("leak", "adaptation_decay", "adaptation_strength", "baseline")
    )
    for name, step in (("leak", 0.3), ("adaptation_strength", -2.0), ("baseline", -0.5)):
        parameters[f"layer.1.{name}"] = parameters[f"layer.1.{name}"] + step
    with pytest.raises(ValueError, match="within_range"):
        adaptive_bptt(network, parameters, inputs, AT_THE_END)
    inside = network.within_range(parameters)
    adaptive_bptt(network, inside, inputs, AT_THE_END)
    assert np.array_equal(inside["readout.weight"], parameters["readout.weight"])


def test_a_target_in_hertz_is_refused_at_the_door():
    network, parameters, inputs = case()
    for algorithm in (adaptive_bptt, raster_bptt, adaptive_eprop):
        with pytest.raises(ValueError, match=r"regulariser.target: expected spikes per ms"):
            algorithm(network, parameters, inputs, AT_THE_END, regulariser=RateRegulariser(0.1, 10.0))


def test_eprop_goes_on_from_its_last_state():
    network, parameters, inputs = case(stop_recurrent=True)
    first = adaptive_eprop(network, parameters, inputs, AT_THE_END, regulariser=RateRegulariser(0.1))
    truth = adaptive_bptt(network, parameters, inputs, AT_THE_END, regulariser=RateRegulariser(0.1))
    assert first.penalty == pytest.approx(truth.penalty, rel=1e-12)
    assert np.allclose(first.window_outputs, truth.window_outputs, rtol=1e-13)
    assert np.array_equal(first.rates, truth.rates)
    for name, value in truth.final_state.items():
        assert np.array_equal(value, first.final_state[name]), name


def test_losses_that_come_by_cotangents_only_are_named():
    network, parameters, inputs = case()
    with pytest.raises(TypeError, match="targets: expected WindowTargets"):
        memory_efficient_bptt(network, parameters, inputs, None, budget="1 MB")


def test_another_divisor_is_another_gradient_and_the_same_raster():
    network, parameters, inputs = case()
    other = replace(network, neuron=replace(network.neuron, divisor="baseline"))
    one, two = (adaptive_bptt(model, parameters, inputs, AT_THE_END) for model in (network, other))
    assert one.loss == two.loss
    name = "layer.1.input_weight"
    assert np.abs(one.gradients[name] - two.gradients[name]).max() > 1e-4 * np.abs(one.gradients[name]).max()


def test_an_experiment_is_found_by_its_name():
    (found,) = named_experiments(["lsnn/store-recall", "lsnn/O2"])
    assert found.id == "lsnn/store-recall"
    assert named_experiments(["lsnn"]) == []
