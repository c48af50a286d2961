"""The penalty on mean activities: against differences and forward mode, the same bits under all schedules."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_cases import POLICIES, bits, logistic_problem, schedule_of
from recurrent_cases import ALL, SPIKING, problem

from refsnn.algorithms.activity_penalty import ITSELF, SQUARE, Activity, ActivityPenalty, spikes_of
from refsnn.algorithms.memory_efficient_bptt import bptt_until, memory_efficient_bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import zeros_like

ACTIVITIES = {"itself": ITSELF, "square": SQUARE, "pair": (np.sin, np.cos)}
STEPS = 9


def tanh_problem(dtype=np.float64):
    return problem(ALL["tanh, two layers"], steps=STEPS, dtype=dtype)


def penalised(arguments, penalty, policy="msm", **options):
    schedule = schedule_of(policy, len(arguments[2]), 4)
    return memory_efficient_bptt(*arguments, schedule=schedule, hooks=penalty, **options)


def value_of(network, parameters, inputs, targets, activity, strength, target):
    """L + R, from the states of the contract, written once more."""
    _, sequence, _ = network.check(parameters, inputs, targets)
    state, read = network.initial_state(parameters, inputs.shape[1]), []
    for step in range(len(inputs)):
        state = network.step(parameters, state, sequence[step])
        read.append(activity[0](state["layer.1.hidden"]))
    mean = np.mean(read, axis=(0, 1))
    return network.loss(parameters, state, targets, len(inputs)) + strength * ((mean - target) ** 2).sum()


@pytest.mark.parametrize("activity", ACTIVITIES.values(), ids=ACTIVITIES)
def test_against_differences(activity):
    """Five points, in random directions of each parameter and in single entries."""
    network, parameters, inputs, targets = tanh_problem()
    strength, target = 3.0, 0.3
    penalty = ActivityPenalty("layer.1.hidden", strength, target, activity)
    result = penalised((network, parameters, inputs, targets), penalty)
    settings = inputs, targets, activity, strength, target
    expected = value_of(network, parameters, *settings)
    assert result.loss + penalty.loss == pytest.approx(expected, rel=1e-13)
    plain = memory_efficient_bptt(network, parameters, inputs, targets, strategy="nothing")
    assert result.loss == plain.loss
    rng = np.random.default_rng(0)
    for name, gradient in result.gradients.items():
        direction, e = rng.standard_normal(gradient.shape), 1e-3
        direction /= np.linalg.norm(direction)
        at = lambda s: value_of(network, parameters | {name: parameters[name] + s * direction}, *settings)  # noqa: B023, E731
        slope = (8 * (at(e) - at(-e)) - (at(2 * e) - at(-2 * e))) / (12 * e)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-8, abs=1e-9), name
        above = "layer.2" in name or "readout" in name  # the penalty is on the first layer
        assert np.array_equal(gradient, plain.gradients[name]) == above, name


@pytest.mark.parametrize("name", SPIKING)
def test_spikes_against_forward_mode(name):
    """sum_k dR/dv_k . dv_k with tangents of the contract's own step: no adjoint in it."""
    network, parameters, inputs, targets = problem(SPIKING[name], steps=12)
    strength, target, neuron = 2.0, 0.1, network.neuron
    penalty = ActivityPenalty("layer.1.potential", strength, target, spikes_of(neuron))
    result = penalised((network, parameters, inputs, targets), penalty)
    plain = memory_efficient_bptt(network, parameters, inputs, targets, strategy="nothing")

    _, sequence, _ = network.check(parameters, inputs, targets)
    start, potentials, moved = network.initial_state(parameters, 3), [], []
    directions = {n: np.eye(p.size).reshape(p.size, *p.shape) for n, p in parameters.items() if "layer" in n}
    for parameter, units in directions.items():
        tangent = {n: np.zeros((len(units), *p.shape)) for n, p in parameters.items()} | {parameter: units}
        state, change = start, {n: np.zeros((len(units), *v.shape)) for n, v in start.items()}
        potentials, moved = [], []
        for step in range(12):
            change = network.step_jvp(parameters, state, sequence[step], change, tangent)
            state = network.step(parameters, state, sequence[step])
            potentials.append(state["layer.1.potential"])
            moved.append(change["layer.1.potential"])
        v, dv = np.array(potentials), np.stack(moved, axis=1)
        fired = v > neuron.threshold if neuron.fires == ">" else v >= neuron.threshold
        distance, height, slope = v - neuron.threshold, neuron.surrogate.height, neuron.surrogate.slope
        if neuron.surrogate.shape == "triangle":
            psi = height * np.maximum(0, 1 - slope * np.abs(distance))
        else:
            psi = height / (1 + slope * np.abs(distance)) ** 2
        mean = fired.mean(axis=(0, 1))
        assert 0 < mean.max() < 1
        expected = 2 * strength * np.einsum("i,tbi,ptbi->p", mean - target, psi, dv) / v[..., 0].size
        share = (result.gradients[parameter] - plain.gradients[parameter]).ravel()
        np.testing.assert_allclose(share, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(penalty.mean, mean, rtol=1e-14)
    assert penalty.loss == pytest.approx(strength * ((mean - target) ** 2).sum(), rel=1e-13)


@pytest.mark.parametrize("name", ["tanh, dropout", "lstm", "gru, two layers", "attached", "detached"])
def test_the_bits_are_the_same_under_all_schedules(name):
    arguments = problem(ALL[name], steps=17)
    spiking = name in SPIKING
    entry, activity = (
        ("layer.1.potential", spikes_of(ALL[name].neuron)) if spiking else ("layer.1.hidden", SQUARE)
    )
    found, losses, means = [], set(), set()
    for policy in POLICIES:
        penalty = ActivityPenalty(entry, 1.0, 0.2, activity)
        found.append(bits(penalised(arguments, penalty, policy, input_gradients=True)))
        losses.add(penalty.loss)
        means.add(penalty.mean.tobytes())
    assert all(one == found[0] for one in found)
    assert len(losses) == len(means) == 1
    plain = memory_efficient_bptt(*arguments, strategy="nothing", input_gradients=True)
    assert bits(plain)["layer.1.input_weight"] != found[0]["layer.1.input_weight"]


def test_one_object_serves_many_runs_of_any_length():
    penalty = ActivityPenalty("layer.1.hidden", 3.0, 0.3, SQUARE)
    arguments, other = tanh_problem(), problem(ALL["tanh"], steps=4, batch=2, seed=5)
    first = bits(penalised(arguments, penalty))
    before = penalty.loss
    penalised(other, penalty)
    assert penalty.loss != before
    assert bits(penalised(arguments, penalty)) == first
    assert penalty.loss == before


def test_with_unknown_length_and_on_models_of_the_contract():
    """The mean is over the steps that were run."""
    network, parameters, inputs, targets = logistic_problem()
    online, known = (ActivityPenalty("s", 3.0, 0.3, SQUARE) for _ in range(2))
    result = bptt_until(
        network, parameters, inputs, targets, stop=lambda step, state: step == 15, budget="5 kB", hooks=online
    )
    reference = penalised((network, parameters, inputs[:15], targets), known)
    assert bits(result) == bits(reference)
    assert online.loss == known.loss


def test_no_strength_is_no_penalty_and_half_is_half():
    arguments = tanh_problem()
    none, half, full = (
        penalised(arguments, ActivityPenalty("layer.1.hidden", strength, 0.3, SQUARE)).gradients
        for strength in (0.0, 1.5, 3.0)
    )
    plain = memory_efficient_bptt(*arguments, strategy="nothing").gradients
    for name, value in plain.items():
        np.testing.assert_array_equal(none[name], value)
        np.testing.assert_allclose(2 * half[name], value + full[name], rtol=1e-12, atol=1e-14)


def test_single_precision_stays():
    """The share of the adjoint is float32; sums over steps are in float64 and so are mean and value."""
    exact, single = ActivityPenalty("layer.1.hidden", 3.0, 0.3, SQUARE), None
    reference = penalised(tanh_problem(), exact).gradients
    single = ActivityPenalty("layer.1.hidden", 3.0, 0.3, SQUARE)
    found = penalised(tanh_problem(np.float32), single).gradients
    for name, value in reference.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5 * np.abs(value).max())
    assert single.mean.dtype == np.float64
    assert isinstance(single.loss, float)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, 1.0, 0.1), TypeError, "^entry: expected the name"),
        (("s", -1.0, 0.1), ValueError, "^strength"),
        (("s", float("nan"), 0.1), ValueError, "^strength"),
        (("s", "1", 0.1), TypeError, "^strength"),
        (("s", 1.0, float("inf")), ValueError, "^target"),
        (("s", 1.0, None), TypeError, "^target"),
        (("s", 1.0, 0.1, np.square), TypeError, "^activity: expected phi and its slope"),
        (("s", 1.0, 0.1, (np.square, 2.0)), TypeError, "^activity"),
        (("s", 1.0, 0.1, (np.sin, np.cos, np.tan)), TypeError, "^activity"),
    ],
)
def test_arguments_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        ActivityPenalty(*arguments)


def test_other_bad_input():
    with pytest.raises(TypeError, match=r"^neuron: expected a SpikingNeuron"):
        spikes_of(0.9)
    penalty = ActivityPenalty("layer.2.potential", 1.0, 0.1, spikes_of(SpikingNeuron(leak=0.9)))
    for figure in ("mean", "loss"):
        with pytest.raises(RuntimeError, match=r"expected a run before"):
            getattr(penalty, figure)
    with pytest.raises(ValueError, match=r"^entry: expected one of \['layer.1.potential', .* got 'layer.2"):
        penalised(problem(ALL["attached"]), penalty)
    promoting = Activity(np.square, lambda state: 2.0 * state.astype(np.float64))
    with pytest.raises(TypeError, match=r"hooks.direct returned.* expected dtype float32"):
        penalised(tanh_problem(np.float32), ActivityPenalty("layer.1.hidden", 1.0, 0.1, promoting))
    wrong_shape = Activity(np.square, lambda state: state[:1])
    with pytest.raises(ValueError, match=r"hooks.direct returned.* expected shape"):
        penalised(tanh_problem(), ActivityPenalty("layer.1.hidden", 1.0, 0.1, wrong_shape))


def test_slopes_are_derivatives():
    at, e = np.random.default_rng(0).standard_normal((4, 5)), 1e-6
    for activity in (ITSELF, SQUARE):
        slope = (activity.value(at + e) - activity.value(at - e)) / (2 * e)
        np.testing.assert_allclose(activity.slope(at), slope, rtol=1e-7)
    assert zeros_like({"a": ITSELF.slope(at.astype(np.float32))})["a"].dtype == np.float32
