"""What the strategies of refsnn.testing draw: alive, of the kind that was asked for, and the same again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.testing import VacuousCheck, adaptive_problems, graph_problems, problems
from refsnn.testing import strategies as drawn
from refsnn.testing.drives import currents_at_rate, potentials

MAKERS = {
    **{name: value for name, value in vars(problems).items() if name.endswith("_problem")},
    **{name: value for name, value in vars(adaptive_problems).items() if name.endswith("_problem")},
    "graph_problem": graph_problems.graph_problem,
    "layer_case": drawn.layer_case,
}
NETWORKS = {
    "spiking": drawn.spiking_networks(),
    "recurrent": drawn.recurrent_networks(),
    "adaptive": drawn.adaptive_networks(),
    "attentive": drawn.attentive_networks(),
    "convergent": drawn.convergent_networks(),
    "graph": drawn.graph_networks(),
    "layer": drawn.layers(kinds=("typical", *drawn.AWKWARD)),
}


def examples(strategy, count=40):
    """So many draws, the same at every run."""
    seen = []

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value):
        seen.append(value)

    collect()
    return seen


@given(
    neuron=drawn.spiking_neurons(),
    rate=st.floats(0.1, 0.7),
    seed=drawn.seeds(),
    dtype=drawn.dtypes(),
)
def test_currents_meet_rate_and_margin(neuron, rate, seed, dtype):
    shape = 20, 3, 4
    current = currents_at_rate(np.random.default_rng(seed), neuron, shape, rate=rate, dtype=dtype)
    charged, spikes = potentials(neuron, current)
    assert current.dtype == charged.dtype == dtype
    assert abs(spikes.mean() - rate) <= 0.1
    assert np.abs(charged - neuron.threshold).min() >= 0.99e-3 * neuron.threshold
    again = currents_at_rate(np.random.default_rng(seed), neuron, shape, rate=rate, dtype=dtype)
    np.testing.assert_array_equal(again, current)


def test_plain_random_floats_are_dead_and_these_are_not():
    """What the strategies are for: the share of networks in which nothing ever fires."""
    elements = st.floats(-2, 2)

    @st.composite
    def naive(draw):
        x = np.array(draw(st.lists(elements, min_size=8, max_size=8))).reshape(4, 2)
        weight = np.array(draw(st.lists(elements, min_size=6, max_size=6))).reshape(3, 2)
        return potentials(SpikingNeuron(leak=0.9), x @ weight.T)[1].mean()

    silent = np.mean([rate == 0 for rate in examples(naive(), 100)])
    assert silent > 0.2
    narrow = drawn.spiking_neurons(surrogate=drawn.surrogates(kinds=["triangle", "boxcar"]))
    for neurons in (None, narrow):
        cases = examples(drawn.layers(kinds=("typical", "carried state"), neurons=neurons), 500)
        assert not any(case.spikes.mean() in (0, 1) for case in cases)
        assert all(psi_of(case).any() for case in cases)


@pytest.mark.parametrize("rate", [0.05, 0.95])
@pytest.mark.parametrize("shape", [(2, 1), (1, 3), (3, 1)])
def test_of_a_few_numbers_some_fire_and_some_do_not(shape, rate):
    """As many as the rate asks for would be none, or all."""
    neuron = SpikingNeuron(leak=0.9, reset="hard")
    for seed in range(100):
        current = currents_at_rate(np.random.default_rng(seed), neuron, shape, rate=rate)
        assert 0 < potentials(neuron, current)[1].mean() < 1, seed


def psi_of(case):
    charged, _ = potentials(case.neuron, case.current, case.potential)
    surrogate = case.neuron.surrogate
    return SURROGATES[surrogate.shape](
        charged - case.neuron.threshold, surrogate.slope, surrogate.height, 1.0
    )


@pytest.mark.parametrize("arguments", [{"rate": 0.0}, {"rate": 1.5}, {"margin": -1}, {"dtype": int}])
def test_bad_arguments_of_currents(arguments):
    with pytest.raises((TypeError, ValueError)):
        currents_at_rate(np.random.default_rng(0), SpikingNeuron(), (3, 2), **arguments)
    with pytest.raises(TypeError, match="rng"):
        currents_at_rate(0, SpikingNeuron(), (3, 2))


def test_a_margin_that_cannot_be_met():
    with pytest.raises(VacuousCheck, match="lower the margin"):
        currents_at_rate(np.random.default_rng(0), SpikingNeuron(), (50, 50), margin=0.5)


def test_every_option_of_a_neuron_is_drawn():
    neurons = examples(drawn.spiking_neurons(), 300)
    options = Counter((n.reset, n.fires, n.detach_reset) for n in neurons)
    assert len(options) == 8
    assert {n.surrogate.shape for n in neurons} == set(SURROGATES)
    assert {0.0, 0.5, 1.0} <= {n.leak for n in neurons}
    assert any(n.reset_value < 0 for n in neurons)


# -- awkward cases ----------------------------------------------------------------------------------------


@given(case=drawn.layers(kinds=("exact threshold",)), dtype=drawn.dtypes())
def test_exactly_at_the_threshold(case, dtype):
    assert case.margin == 0
    assert drawn.layer_case(case.seed, case.current.shape, case.kind, case.neuron, dtype).margin == 0
    trains = [
        potentials(replace(case.neuron, fires=fires), case.current, case.potential)[1]
        for fires in (">=", ">")
    ]
    assert not np.array_equal(*trains)  # the comparison decides


@given(case=drawn.layers(kinds=("residual above threshold",)))
def test_residual_above_the_threshold(case):
    charged, spikes = potentials(case.neuron, case.current, case.potential)
    left = charged - case.neuron.threshold * spikes
    assert case.neuron.reset == "soft"
    assert (left > case.neuron.threshold).any()


@given(case=drawn.layers(kinds=("silent", "saturated", "strongly negative")))
def test_silent_saturated_and_far_below(case):
    charged, spikes = potentials(case.neuron, case.current, case.potential)
    if case.kind == "strongly negative":
        unit = case.neuron.threshold - case.neuron.reset_value
        assert charged.min() < -unit or (case.current > 0).all()
    else:
        assert spikes.all() if case.kind == "saturated" else not spikes.any()


@given(case=drawn.layers(kinds=("carried state", "zero upstream", "typical")))
def test_carried_state_and_zero_upstream(case):
    rest = np.full_like(case.potential, case.neuron.reset_value)
    assert np.array_equal(case.potential, rest) == (case.kind != "carried state")
    assert case.upstream.any() == (case.kind != "zero upstream")
    assert case.last.any()
    assert 0 < case.spikes.mean() < 1


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="kind: expected one of 'typical', 'exact threshold'"):
        drawn.layer_case(0, (2, 1, 1), "odd")


def test_corners_of_shapes_are_drawn():
    shapes = examples(drawn.shapes(), 150)
    for axis in range(3):
        assert any(shape[axis] == 1 for shape in shapes)
        assert any(shape[axis] > 1 for shape in shapes)


# -- networks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_printed_makes_the_same_arrays_again(name):
    names = {**MAKERS, "SpikingNeuron": SpikingNeuron, "Surrogate": Surrogate}
    for value in examples(NETWORKS[name], 6):
        again = eval(repr(value), names)
        assert repr(again) == repr(value)
        if name == "layer":
            for one, other in zip(again.arguments, value.arguments, strict=True):
                np.testing.assert_array_equal(one, other)
            continue
        for key, array in value.parameters.items():
            np.testing.assert_array_equal(again.parameters[key], array, err_msg=key)
        if name != "graph":
            np.testing.assert_array_equal(again.inputs, value.inputs)


def test_spiking_networks_fire_and_have_gradients():
    problems = examples(drawn.spiking_networks(), 60)
    for problem in problems:
        result = bptt(*problem.arguments, backend="plain")
        assert all(0 < rate < 1 for rate in result.diagnostics.spike_rates.values())
        assert result.diagnostics.margin > 1e-9
        silent = len(problem.inputs) == 1 and [node.name for node in problem.model.delayed]
        for name, value in result.gradients.items():
            assert value.any() or name.startswith(tuple(silent)), name
    assert {len(problem.inputs) == 1 for problem in problems} == {True, False}
    assert {bool(problem.model.delayed) for problem in problems} == {True, False}
    assert len({tuple(problem.parameters) for problem in problems}) > 2


def test_recurrent_networks_are_of_every_cell():
    problems = examples(drawn.recurrent_networks(), 60)
    assert len({type(problem.model) for problem in problems}) == 4
    for problem in problems[:10]:
        assert all(value.any() for value in bptt_over_steps(*problem.arguments).gradients.values())


def test_float32_networks():
    for strategy in (drawn.spiking_networks(dtype=np.float32), drawn.recurrent_networks(dtype=np.float32)):
        for problem in examples(strategy, 5):
            assert {value.dtype for value in problem.parameters.values()} == {np.dtype(np.float32)}
            found = bptt_over_steps(*problem.arguments).gradients
            assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}


def test_a_failing_network_shrinks_to_a_small_one():
    same = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    wanted = lambda problem: len(problem.inputs) > 1 and bool(problem.model.delayed)  # noqa: E731
    found = find(drawn.spiking_networks(), wanted, settings=same)
    assert len(found.inputs) == 2
    assert found.inputs.shape == (2, 1, 2)
    assert "seed=0, widths=(2, 2, 2), steps=2, batch=1" in repr(found)


def test_a_network_that_stays_dead_is_refused():
    with pytest.raises(VacuousCheck, match="no live network in 40 draws: spiking_problem"):
        problems.spiking_problem(0, neuron=SpikingNeuron(surrogate=Surrogate("sigmoid", 4.0, 0.0)))
