"""E-prop on adaptive neurons: BPTT with the recurrence stopped, forward in time."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt
from refsnn.algorithms.adaptive_eprop import adaptive_eprop
from refsnn.equations.surrogates import Surrogate
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.spike_events import SpikeEvents


def network(rng, scheme="official", divisor="threshold", trained=NEURON_PARAMETERS, **options):
    neuron = AdaptiveNeuron(
        leak=0.9, adaptation_decay=0.95, adaptation_strength=(0.0, 0.0, 0.0, 1.0, 1.0, 1.5), baseline=0.1,
        **({"refractory": 2} | options), scheme=scheme, divisor=divisor,
    )  # fmt: skip
    delays = Delays.uniform(rng, 3, 4, 6)
    return AdaptiveSpikingNetwork((4, 6, 3), neuron=neuron, delays=delays, trained=trained, readout_decay=0.8)


def arguments(rng, model, steps=40, batch=2):
    parameters = model.initialise(rng, gain=1.5)
    inputs = (rng.random((steps, batch, 4)) < 0.3) * 1.0
    labels, weights = rng.integers(0, 3, (2, batch)), rng.uniform(0.3, 2, (2, batch))
    return parameters, inputs, WindowTargets([5, 20], [9, steps - 1], labels, weights)


def stopped(model):
    return replace(model, neuron=replace(model.neuron, stop_recurrent=True))


def agree(found, truth, bound=1e-12):
    for name, value in truth.gradients.items():
        size = np.abs(value).max()
        assert size > 1e-9, name
        assert np.abs(found.gradients[name] - value).max() <= bound * size, name
        assert found.gradients[name].dtype == value.dtype


@given(
    seed=st.integers(0, 10**6),
    scheme=st.sampled_from(["official", "paper", "eprop"]),
    divisor=st.sampled_from(["threshold", "baseline"]),
    stop_reset=st.booleans(),
)
def test_it_is_bptt_with_the_recurrence_stopped(seed, scheme, divisor, stop_reset):
    rng = np.random.default_rng(seed)
    model = network(rng, scheme, divisor, stop_reset=stop_reset)
    for _ in range(20):
        given_arguments = arguments(rng, model)
        truth = adaptive_bptt(stopped(model), *given_arguments, regulariser=RateRegulariser(1.0, 0.2))
        if all(np.abs(value).max() > 1e-6 for value in truth.gradients.values()):
            break
    found = adaptive_eprop(model, *given_arguments, regulariser=RateRegulariser(1.0, 0.2))
    assert found.loss == truth.loss
    assert found.diagnostics.spike_rates["layer.1"] > 0
    assert found.diagnostics.spike_rates["layer.1"] == pytest.approx(truth.diagnostics.spike_rates["layer.1"])
    assert np.array_equal(found.diagnostics.outputs, truth.diagnostics.outputs)
    agree(found, truth)


def test_with_the_recurrence_alive_it_is_another_gradient():
    rng = np.random.default_rng(3)
    model = network(rng)
    given_arguments = arguments(rng, model)
    found, truth = adaptive_eprop(model, *given_arguments), adaptive_bptt(model, *given_arguments)
    with pytest.raises(AssertionError):
        agree(found, truth, 1e-3)


def test_in_mid_sequence_with_noise_and_a_loss_of_ones_own():
    rng = np.random.default_rng(4)
    model = network(rng)
    parameters, inputs, targets = arguments(rng, model)
    start = model.for_next_sequence(adaptive_bptt(model, parameters, inputs, None).final_state)
    drive = DrivenInput(SpikeEvents.from_array(inputs), noise=0.05 * rng.standard_normal((40, 2, 6)))
    options = {
        "cotangents": {
            name: rng.standard_normal((40, 2, 6)) for name in ("spikes", "potential", "threshold")
        },
        "initial_state": start,
    }
    found = adaptive_eprop(model, parameters, drive, targets, **options)
    truth = adaptive_bptt(stopped(model), parameters, drive, targets, **options)
    agree(found, truth)
    alone = adaptive_eprop(model, parameters, drive, None, **options)
    truth = adaptive_bptt(stopped(model), parameters, drive, None, **options)
    assert not alone.gradients["readout.weight"].any()
    layer = {name: value for name, value in truth.gradients.items() if not name.startswith("readout")}
    agree(alone, replace(truth, gradients=layer))


def test_smooth_spikes_with_masks():
    rng = np.random.default_rng(5)
    model = network(rng, refractory=0, smooth=True, surrogate=Surrogate("triangle", 1.0, 1.0))
    parameters, inputs, targets = arguments(rng, model)
    drive = DrivenInput(inputs, masks=rng.random((40, 2, 6)) < 0.2)
    found = adaptive_eprop(model, parameters, drive, targets)
    agree(found, adaptive_bptt(stopped(model), parameters, drive, targets))


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_backends_and_single_precision(backend):
    rng = np.random.default_rng(6)
    model = network(rng, trained=())
    parameters, inputs, targets = arguments(rng, model)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    sent = inputs.astype(np.float32)
    targets = WindowTargets(targets.first, targets.last, targets.values, targets.weights.astype(np.float32))
    found = adaptive_eprop(model, single, sent, targets, regulariser=RateRegulariser(1.0), backend=backend)
    truth = adaptive_bptt(
        stopped(model), single, sent, targets, regulariser=RateRegulariser(1.0), backend=backend
    )
    assert all(value.dtype == np.float32 for value in found.gradients.values())
    agree(found, truth, 1e-4)


def test_memory_does_not_grow_with_time():
    rng = np.random.default_rng(7)
    model = network(rng)
    parameters = model.initialise(rng, gain=1.5)
    kept = {
        steps: adaptive_eprop(model, parameters, np.ones((steps, 2, 4)), [0, 1]).diagnostics.bytes_kept
        for steps in (5, 200)
    }
    assert kept[5] == kept[200] > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "LSNN"}, TypeError, "model: expected"),
        ({"regulariser": 0.1}, TypeError, "regulariser: expected"),
        ({"cotangents": {"rates": np.zeros((40, 2, 6))}}, ValueError, "cotangents: expected a dict"),
        (
            {"cotangents": {"spikes": np.zeros((40, 2, 5))}},
            ValueError,
            r"cotangents\['spikes'\]: expected shape",
        ),
        (
            {"initial_state": {"layer.1.spikes": np.zeros((2, 6))}},
            ValueError,
            "initial_state: expected the entries",
        ),
        ({"backend": "fast"}, ValueError, "backend: expected one of"),
        ({"inputs": np.zeros((40, 2, 5))}, ValueError, "inputs: expected shape"),
    ],
)
def test_what_is_refused(change, error, message):
    rng = np.random.default_rng(8)
    model = network(rng)
    parameters, inputs, targets = arguments(rng, model)
    given_arguments = {
        "model": model,
        "parameters": parameters,
        "inputs": inputs,
        "targets": targets,
    } | change
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            adaptive_eprop(**given_arguments)
