"""BPTT through adaptive neurons: the same bits by every way, chunks, penalties, dtypes, kinds of input."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.activity_penalty import ActivityPenalty
from refsnn.algorithms.adaptive_bptt import RateRegulariser, adaptive_bptt, raster_bptt
from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.models.adaptive.core import ADJOINT_NAMES, CURRENTS
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import StaticInput
from refsnn.models.spike_events import SpikeEvents

SCHEMES = ["official", "paper", "eprop"]
STEPS, BATCH, N = 40, 2, 6


def network(rng, scheme="official", trained=NEURON_PARAMETERS, slots=3, **options):
    neuron = AdaptiveNeuron(
        leak=0.9, adaptation_decay=0.95, adaptation_strength=(0.0, 0.0, 0.0, 1.0, 1.0, 1.5), baseline=0.1,
        **({"refractory": 2} | options), scheme=scheme,
    )  # fmt: skip
    delays = Delays.uniform(rng, slots, 4, N)
    return AdaptiveSpikingNetwork((4, N, 3), neuron=neuron, delays=delays, trained=trained, readout_decay=0.8)


def problem(rng, model, steps=STEPS):
    """Parameters, inputs, targets and a state in mid-sequence; drawn until every leaf has a gradient."""
    for _ in range(50):
        parameters = model.initialise(rng, gain=1.5)
        inputs = (rng.random((steps, BATCH, 4)) < 0.3) * 1.0
        labels, weights = rng.integers(0, 3, (2, BATCH)), rng.uniform(0.3, 2, (2, BATCH))
        targets = WindowTargets([2, steps // 2], [steps // 4, steps - 1], labels, weights)
        before = (rng.random((30, BATCH, 4)) < 0.4) * 1.0
        state = model.for_next_sequence(adaptive_bptt(model, parameters, before, None).final_state)
        found = adaptive_bptt(model, parameters, inputs, targets, initial_state=state)
        alive = 0.02 < found.diagnostics.spike_rates["layer.1"] < 0.5
        if alive and all(np.abs(value).max() > 1e-6 for value in found.gradients.values()):
            return parameters, inputs, targets, state
    raise AssertionError("no live network")


def same_bits(found, truth):
    assert found.gradients.keys() == truth.gradients.keys()
    for name, value in truth.gradients.items():
        assert value.any(), name
        assert np.array_equal(found.gradients[name], value), name
    assert found.loss == truth.loss


def close(found, truth, bound=1e-12):
    for name, value in truth.items():
        size = np.abs(value).max()
        assert size > 0, name
        assert np.abs(found[name] - value).max() <= bound * size, name


# -- the same bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("slots", [1, 4])
def test_a_raster_of_bits_gives_the_same_bits(scheme, slots):
    rng = np.random.default_rng(1)
    model = network(rng, scheme, slots=slots)
    parameters, inputs, targets, state = problem(rng, model)
    options = {"initial_state": state, "regulariser": RateRegulariser(1.0, 0.2)}
    adjoint = {name: rng.standard_normal(shape) for name, shape in model.adjoint_shapes(BATCH).items()}
    for ends in ({}, {"final_adjoint": adjoint}):
        whole = adaptive_bptt(model, parameters, inputs, targets, **options, **ends)
        for segment in (None, *range(1, 9), 13, STEPS - 1, STEPS, STEPS + 5):
            frugal = raster_bptt(model, parameters, inputs, targets, segment=segment, **options, **ends)
            same_bits(frugal, whole)
            assert frugal.penalty == whole.penalty > 0
            for name in ADJOINT_NAMES:
                assert np.array_equal(frugal.initial_gradients[name], whole.initial_gradients[name]), name
            for name, value in whole.final_state.items():
                assert np.array_equal(frugal.final_state[name], value), (name, segment)
            assert frugal.diagnostics.margin == whole.diagnostics.margin
            assert np.array_equal(frugal.window_outputs, whole.window_outputs)


@given(
    seed=st.integers(0, 10**6),
    refractory=st.integers(1, 9),
    slots=st.integers(1, 6),
    segment=st.integers(1, 12),
)
@settings(max_examples=15)
def test_a_raster_of_bits_with_any_refractory_period_and_delay(seed, refractory, slots, segment):
    rng = np.random.default_rng(seed)
    model = network(rng, slots=slots, refractory=refractory, trained=())
    parameters, inputs, targets, state = problem(rng, model, 30)
    whole = adaptive_bptt(model, parameters, inputs, targets, initial_state=state)
    same_bits(raster_bptt(model, parameters, inputs, targets, initial_state=state, segment=segment), whole)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_checkpoints_and_the_contract_give_the_same_bits(scheme):
    rng = np.random.default_rng(2)
    model = network(rng, scheme)
    parameters, inputs, targets, state = problem(rng, model)
    whole = adaptive_bptt(model, parameters, inputs, targets, initial_state=state)
    for budget in ("20 kB", "60 kB"):
        same_bits(
            memory_efficient_bptt(model, parameters, inputs, targets, budget=budget, initial_state=state),
            whole,
        )
    rest = adaptive_bptt(model, parameters, inputs, targets)
    over_steps = bptt_over_steps(model, parameters, inputs, targets)
    close(over_steps.gradients, rest.gradients)
    assert over_steps.loss == pytest.approx(rest.loss, rel=1e-14)


def test_a_penalty_on_rates_is_the_hook_of_checkpoints():
    rng = np.random.default_rng(3)
    model = network(rng)
    parameters, inputs, targets, _ = problem(rng, model)
    hook = ActivityPenalty("layer.1.spikes", 2.0, 0.2)
    found = memory_efficient_bptt(model, parameters, inputs, targets, budget="30 kB", hooks=hook)
    truth = adaptive_bptt(model, parameters, inputs, targets, regulariser=RateRegulariser(2.0, 0.2))
    without = adaptive_bptt(model, parameters, inputs, targets)
    assert hook.loss == pytest.approx(truth.penalty, rel=1e-13)
    assert np.allclose(hook.mean, truth.rates, rtol=1e-13)
    close(found.gradients, truth.gradients)
    change = truth.gradients["layer.1.input_weight"] - without.gradients["layer.1.input_weight"]
    assert np.abs(change).max() > 1e-6


def test_the_penalty_is_its_formula_and_divides_by_the_time_step_only_when_told():
    rng = np.random.default_rng(4)
    model = network(rng, time_step=0.5)
    parameters, inputs, _, _ = problem(rng, model)
    plain = adaptive_bptt(model, parameters, inputs, None, regulariser=RateRegulariser(0.5, 0.02))
    twice = adaptive_bptt(
        model, parameters, inputs, None, regulariser=RateRegulariser(0.5, 0.02, compat_rate_dt=True)
    )
    assert plain.rates.any()
    assert plain.penalty == pytest.approx(0.5 * ((plain.rates - 0.02) ** 2).sum(), rel=1e-13)
    assert twice.penalty == pytest.approx(0.5 * ((plain.rates / 0.5 - 0.02) ** 2).sum(), rel=1e-13)
    # the gradient carries 1 / delta, too: a direct cotangent by hand
    by_spike = 2 * 0.5 / 0.5 / (STEPS * BATCH) * (plain.rates / 0.5 - 0.02)
    by_hand = adaptive_bptt(
        model,
        parameters,
        inputs,
        None,
        cotangents={"spikes": np.broadcast_to(by_spike, (STEPS, BATCH, N)).copy()},
    )
    layer = {k: v for k, v in by_hand.gradients.items() if v.any()}
    assert len(layer) == 6
    close(twice.gradients, layer)


# -- chunks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_chunks(scheme):
    rng = np.random.default_rng(5)
    model = network(rng, scheme)
    parameters, inputs, _, state = problem(rng, model)
    signals = {name: rng.standard_normal((STEPS, BATCH, N)) for name in ("spikes", "potential", "threshold")}
    whole = adaptive_bptt(
        model, parameters, inputs, None, cotangents=signals, initial_state=state, input_gradients=True
    )
    cuts = [0, 1, 3, 17, 18, STEPS]
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    starts = [state]
    for part in parts:
        starts.append(
            adaptive_bptt(model, parameters, inputs[part], None, initial_state=starts[-1]).final_state
        )
    for name, value in whole.final_state.items():
        assert np.array_equal(starts[-1][name], value), name

    def back(forgotten=()):
        adjoint, total, by_inputs = None, {}, []
        for part, start in zip(reversed(parts), reversed(starts[:-1]), strict=True):
            if adjoint is not None:
                adjoint = {name: value for name, value in adjoint.items() if name not in forgotten}
            result = adaptive_bptt(
                model, parameters, inputs[part], None, initial_state=start, final_adjoint=adjoint,
                cotangents={name: value[part] for name, value in signals.items()}, input_gradients=True,
            )  # fmt: skip
            adjoint = result.initial_gradients
            total = {name: total.get(name, 0) + value for name, value in result.gradients.items()}
            by_inputs.insert(0, result.input_gradients)
        return total, adjoint, np.concatenate(by_inputs)

    total, adjoint, by_inputs = back()
    layer = {name: value for name, value in whole.gradients.items() if name.startswith("layer")}
    close(total, layer, 1e-14)
    assert np.array_equal(by_inputs, whole.input_gradients)
    assert by_inputs.any()
    for name in ADJOINT_NAMES:
        assert np.array_equal(adjoint[name], whole.initial_gradients[name]), name
    with pytest.raises(AssertionError):
        close(back({CURRENTS})[0], layer, 1e-3)


# -- inputs, backends, dtypes -----------------------------------------------------------------------------


def test_the_same_input_as_array_events_and_static():
    rng = np.random.default_rng(6)
    model = network(rng)
    parameters, inputs, targets, _ = problem(rng, model)
    truth = adaptive_bptt(model, parameters, inputs, targets)
    same_bits(adaptive_bptt(model, parameters, SpikeEvents.from_array(inputs), targets), truth)
    same_bits(adaptive_bptt(model, parameters, DrivenInput(inputs), targets), truth)
    value = rng.uniform(0.2, 0.6, (BATCH, 4))
    static = adaptive_bptt(model, parameters, StaticInput(value, STEPS), targets)
    same_bits(static, adaptive_bptt(model, parameters, np.broadcast_to(value, inputs.shape).copy(), targets))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("stops", [{}, {"stop_reset": True}, {"stop_recurrent": True}])
def test_plain_and_cpu_agree(scheme, stops):
    rng = np.random.default_rng(7)
    model = network(rng, scheme, **stops)
    parameters, inputs, targets, state = problem(rng, model)
    drive = DrivenInput(inputs, noise=0.02 * rng.standard_normal((STEPS, BATCH, N)))
    results = [
        adaptive_bptt(
            model, parameters, drive, targets, initial_state=state, input_gradients=True, backend=backend
        )
        for backend in ("plain", "cpu")
    ]
    close(results[0].gradients, results[1].gradients)
    close(results[0].initial_gradients, {n: v for n, v in results[1].initial_gradients.items() if v.any()})
    close({"x": results[0].input_gradients}, {"x": results[1].input_gradients})
    assert np.array_equal(results[0].rates, results[1].rates)
    for name in ("layer.1.spikes", "layer.1.refractory"):
        assert np.array_equal(results[0].final_state[name], results[1].final_state[name])


def test_noise_is_added_to_the_current_and_neither_kept_nor_delayed():
    rng = np.random.default_rng(8)
    model = network(rng, slots=1)
    parameters, inputs, targets, state = problem(rng, model)
    noise = 0.05 * rng.standard_normal((STEPS, BATCH, N))
    # six more inputs of weight 1 without delay say the same
    wide = replace(model, widths=(4 + N, N, 3), delays=Delays.none(4 + N, N))
    more = parameters | {
        "layer.1.input_weight": np.concatenate([parameters["layer.1.input_weight"], np.eye(N)], axis=1)
    }
    by_inputs = adaptive_bptt(
        wide, more, np.concatenate([inputs, noise], axis=2), targets, initial_state=state
    )
    by_noise = adaptive_bptt(model, parameters, DrivenInput(inputs, noise), targets, initial_state=state)
    without = adaptive_bptt(model, parameters, inputs, targets, initial_state=state)
    assert by_noise.loss == pytest.approx(by_inputs.loss, rel=1e-13)
    assert by_noise.loss != without.loss
    close(
        {"w": by_noise.gradients["layer.1.recurrent_weight"]},
        {"w": by_inputs.gradients["layer.1.recurrent_weight"]},
    )


@pytest.mark.parametrize("algorithm", [adaptive_bptt, raster_bptt])
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_single_precision_stays_single(algorithm, backend):
    rng = np.random.default_rng(9)
    model = network(rng)
    parameters, inputs, targets, state = problem(rng, model)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    start = {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in state.items()}
    few = WindowTargets(targets.first, targets.last, targets.values, targets.weights.astype(np.float32))
    options = {"regulariser": RateRegulariser(1.0), "initial_state": start, "backend": backend}
    result = algorithm(model, single, inputs.astype(np.float32), few, **options)
    assert all(value.dtype == np.float32 for value in result.gradients.values())
    assert all(value.dtype == np.float32 for value in result.initial_gradients.values())
    assert result.window_outputs.dtype == np.float32
    kinds = {name: value.dtype for name, value in result.final_state.items()}
    assert kinds.pop("layer.1.refractory") == np.int16
    assert set(kinds.values()) == {np.dtype(np.float32)}
    double = algorithm(model, parameters, inputs, targets, **(options | {"initial_state": state}))
    assert result.loss == pytest.approx(double.loss, rel=1e-3)
    close(result.gradients, double.gradients, 1e-2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_by_the_input_are_those_of_weights_of_a_single_event(scheme):
    """dL/dx_ki sum_i ... : with one input on for one step, x dL/dx = sum_j W_ji dL/dW_ji."""
    rng = np.random.default_rng(10)
    model = network(rng, scheme)
    parameters, inputs, targets, state = problem(rng, model)
    result = adaptive_bptt(model, parameters, inputs, targets, initial_state=state, input_gradients=True)
    weight, gradient = parameters["layer.1.input_weight"], result.gradients["layer.1.input_weight"]
    by_weights = (weight * gradient).sum(axis=0)
    by_inputs = (inputs * result.input_gradients).sum(axis=(0, 1))
    assert np.abs(by_weights).min() > 1e-9
    assert np.allclose(by_inputs, by_weights, rtol=1e-10, atol=1e-14)


# -- the door ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": None}, TypeError, "model: expected"),
        ({"regulariser": 0.1}, TypeError, "regulariser: expected"),
        ({"cotangents": [1]}, ValueError, "cotangents: expected a dict"),
        ({"cotangents": {"rate": 1}}, ValueError, "cotangents: expected a dict"),
        (
            {"cotangents": {"spikes": np.zeros((STEPS, BATCH, N + 1))}},
            ValueError,
            r"cotangents\['spikes'\]: ",
        ),
        (
            {"cotangents": {"spikes": np.full((STEPS, BATCH, N), np.nan)}},
            ValueError,
            r"cotangents\['spikes'\]: ",
        ),
        (
            {"final_adjoint": {"layer.1.refractory": np.zeros((BATCH, N))}},
            ValueError,
            "adjoint: expected entries",
        ),
        ({"initial_state": {}}, ValueError, "initial_state: expected the entries"),
        ({"initial_state": 3}, TypeError, "initial_state: expected a dict"),
        ({"backend": "gpu"}, ValueError, "backend: expected one of"),
        (
            {"targets": WindowTargets([0], [STEPS], [[0, 1]])},
            ValueError,
            "targets.first, targets.last: expected",
        ),
    ],
)
def test_what_is_refused(change, error, message):
    rng = np.random.default_rng(11)
    model = network(rng)
    parameters, inputs, targets, _ = problem(rng, model)
    given_arguments = {
        "model": model,
        "parameters": parameters,
        "inputs": inputs,
        "targets": targets,
    } | change
    with pytest.raises(error, match=message):
        adaptive_bptt(**given_arguments)


def test_a_raster_refuses_what_is_no_segment_and_spikes_that_are_no_bits():
    rng = np.random.default_rng(12)
    model = network(rng)
    parameters, inputs, targets, _ = problem(rng, model)
    with pytest.raises(ValueError, match="segment: expected"):
        raster_bptt(model, parameters, inputs, targets, segment=0)
    smooth = replace(model, neuron=replace(model.neuron, smooth=True, refractory=0))
    with pytest.raises(ValueError, match="smooth"):
        raster_bptt(smooth, parameters, inputs, targets)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1.0,), ValueError, "strength: expected"),
        ((1.0, -0.1), ValueError, "target: expected"),
        ((1.0, 0.01, 1), TypeError, "compat_rate_dt: expected"),
    ],
)
def test_what_a_penalty_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        RateRegulariser(*arguments)
