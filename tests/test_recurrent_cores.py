"""Working cores of recurrent networks: the bits of the contract, no allocation, degenerate cases, dropout."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from recurrent_cases import (
    ALL,
    LOSSES,
    SMOOTH,
    SPIKING,
    assert_close,
    keep_all,
    leaves,
    problem,
    pulled_back,
    state_of,
)

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.forward_mode import rtrl
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Model, StaticInput
from refsnn.models.recurrent import RecurrentSpikingLayer
from refsnn.models.sequences import StepTargets

BY_NAME = pytest.mark.parametrize("name", ALL)
BY_LOSS = pytest.mark.parametrize("loss", LOSSES)


# -- the core and the contract -------------------------------------------------------------------------------


@BY_NAME
@BY_LOSS
def test_core_is_the_contract_bit_for_bit(name, loss):
    network, parameters, inputs, targets = problem(ALL[name], steps=20, batch=4, loss=loss)
    assert isinstance(network, Model)
    expected = bptt_over_steps(network, parameters, inputs, targets)
    core = pulled_back(network, parameters, inputs, targets)
    for key, value in expected.gradients.items():
        assert np.abs(value).max() > 0
        np.testing.assert_array_equal(core.gradients[key], value, err_msg=key)
    assert core.loss == pytest.approx(expected.loss, rel=1e-14)


@BY_NAME
def test_backends_agree(name):
    network, parameters, inputs, targets = problem(ALL[name], steps=10)
    cpu, plain = (leaves(pulled_back(network, parameters, inputs, targets, b)) for b in ("cpu", "plain"))
    assert_close(cpu, plain, 1e-12)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["tanh", "lstm", "gru, two layers", "attached"])
def test_cuda_agrees(name):
    network, parameters, inputs, targets = problem(ALL[name], steps=3, batch=2)
    cuda, plain = (leaves(pulled_back(network, parameters, inputs, targets, b)) for b in ("cuda", "plain"))
    assert_close(cuda, plain, 1e-12)


@BY_NAME
def test_advance_has_the_bits_of_single_steps(name):
    network, parameters, inputs, targets = problem(ALL[name], steps=9)
    core = network.working_core(*network.check(parameters, inputs, targets))
    core.start(None)
    states = []
    for step in range(1, 10):
        core.forward(step)
        states.append(core.after.memory.copy())
        np.copyto(core.before.memory, core.after.memory)
    core.start(None)
    for first, last in ((1, 1), (2, 6), (7, 9)):
        core.advance(first, last)
        np.testing.assert_array_equal(core.before.memory, states[last - 1])


@BY_NAME
def test_steps_that_are_run_again(name):
    """Nothing kept but the start: each step is run once more for every later one; its loss counts once."""
    network, parameters, inputs, targets = problem(ALL[name], steps=7)
    expected = pulled_back(network, parameters, inputs, targets, "cpu", state_of(network))
    core = network.working_core(*network.check(parameters, inputs, targets), input_gradients=True)
    for step in range(7, 0, -1):
        core.start(state_of(network))
        core.advance(1, step - 1)
        core.forward(step)
        if step == 7:
            core.seed()
        core.backward(step)
    assert core.loss == expected.loss != 0
    for key, value in leaves(expected).items():
        np.testing.assert_array_equal(leaves(core)[key], value, err_msg=key)


@BY_NAME
def test_nothing_is_allocated_per_step(name):
    wide = replace(ALL[name], widths=tuple(20 * width for width in ALL[name].widths))
    network, parameters, inputs, targets = problem(wide, steps=101, batch=40)
    checked = network.check(parameters, inputs, targets)
    core = network.working_core(*checked, input_gradients=True)
    core.start(None)
    core.seed()

    def there_and_back(steps):
        for step in steps:
            core.forward(step)
            np.copyto(core.before.memory, core.after.memory)
            core.recover(step)
            core.backward(step)
        core.advance(2, 20)

    there_and_back(range(1, 3))
    tracemalloc.start()
    try:
        there_and_back(range(1, 3))
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        there_and_back(range(1, 101))
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    smallest = min(array.nbytes for array in (*core.before.arrays.values(), *core.tape.arrays.values()))
    smallest = min(smallest, *(array.nbytes for array in parameters.values() if array.ndim > 1))
    assert smallest > 2 * 4096  # one array, once, would show
    assert after - held < 1000
    assert peak - held < 4096


@BY_NAME
def test_float32_stays(name):
    network, parameters, inputs, targets = problem(ALL[name], dtype=np.float32)
    core = pulled_back(network, parameters, inputs, targets)
    result = bptt_over_steps(network, parameters, inputs, targets)
    double = problem(ALL[name])[1:]
    reference = pulled_back(network, *double)
    for key, value in leaves(core).items():
        assert value.dtype == np.float32, key
        expected = leaves(reference)[key]
        assert np.abs(value - expected).max() < 1e-4 * np.abs(expected).max(), key
    for key, value in result.gradients.items():
        np.testing.assert_array_equal(value, core.gradients[key])
    final = network.step(parameters, network.initial_state(parameters, 3), inputs[0])
    assert {value.dtype for key, value in final.items() if key != "step"} == {np.dtype(np.float32)}


@BY_NAME
def test_static_input(name):
    network, parameters, inputs, targets = problem(ALL[name])
    static, repeated = StaticInput(inputs[0], 6), np.repeat(inputs[:1], 6, axis=0)
    one, other = (leaves(pulled_back(network, parameters, x, targets)) for x in (static, repeated))
    for key, value in other.items():
        np.testing.assert_array_equal(one[key], value, err_msg=key)


@BY_NAME
def test_a_core_can_be_used_again(name):
    """`start` and `seed` leave nothing of the run before."""
    network, parameters, inputs, targets = problem(ALL[name])
    core = pulled_back(network, parameters, inputs, targets)
    expected, loss = {key: value.copy() for key, value in leaves(core).items()}, core.loss
    keep_all(core, state_of(network), state_of(network, seed=3))
    assert any((value != expected[key]).any() for key, value in leaves(core).items())
    keep_all(core)
    assert core.loss == loss
    for key, value in leaves(core).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


# -- degenerate cases ----------------------------------------------------------------------------------------


@BY_NAME
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (5, 1)])
def test_one_step_and_one_sample(name, steps, batch):
    network, parameters, inputs, targets = problem(ALL[name], steps, batch, seed=4, loss="mean_squared_error")
    expected = rtrl(network, parameters, inputs, targets).gradients
    core = pulled_back(network, parameters, inputs, targets)
    for key, value in expected.items():
        largest = np.abs(value).max()
        assert largest > 0 or (steps == 1 and "recurrent" in key) or name in SPIKING, key
        assert np.abs(core.gradients[key] - value).max() <= 1e-12 * largest, key


@BY_NAME
def test_rows_without_weight(name):
    """A masked sample has no gradient at all, and the others one as if B were still the whole batch."""
    network, parameters, inputs, targets = problem(ALL[name])
    mask = np.ones((6, 3), bool)
    mask[:, 1] = False
    core = pulled_back(network, parameters, inputs, StepTargets(targets.values, mask))
    by_inputs = core.input_gradients
    assert (by_inputs[:, 1] == 0).all()
    assert all((by_inputs[:, b] != 0).any() for b in (0, 2))
    assert all((value[1] == 0).all() for value in core.initial_gradients().values())
    if network.counts_steps:
        return  # a mask of dropout belongs to a place in the batch
    few = StepTargets(targets.values[:, ::2], np.ones((6, 2)))
    alone = pulled_back(network, parameters, inputs[:, ::2], few)
    assert core.loss == pytest.approx(alone.loss * 2 / 3, rel=1e-13)
    assert_close(core.gradients, {key: 2 / 3 * value for key, value in alone.gradients.items()}, 1e-12)


@BY_NAME
def test_loss_at_the_end_and_none_there(name):
    network, parameters, inputs, targets = problem(ALL[name])
    end = (np.arange(6) == 5).astype(float)
    parts = [
        pulled_back(network, parameters, inputs, StepTargets(targets.values, weights))
        for weights in (end, 1 - end, np.ones(6))
    ]
    assert all(part.loss > 0 for part in parts)
    whole = {key: parts[0].gradients[key] + parts[1].gradients[key] for key in parameters}
    assert_close(parts[2].gradients, whole, 1e-12)
    # only at the end: the early inputs are heard of through the state alone
    assert (parts[0].input_gradients[0] != 0).any() or name in SPIKING
    assert (parts[1].input_gradients[5] == 0).all()
    shorter = pulled_back(network, parameters, inputs[:5], StepTargets(targets.values[:5]))
    for key in parameters:
        np.testing.assert_array_equal(parts[1].gradients[key], shorter.gradients[key], err_msg=key)


def test_silent_network():
    """No spike at all: recurrent and read-out weights have no gradient where z is 0, the bias has."""
    network, parameters, inputs, targets = problem(SPIKING["attached"])
    parameters["layer.1.bias"] -= 10.0
    silent = pulled_back(network, parameters, inputs, targets)
    for key, value in silent.gradients.items():
        assert (value != 0).any() == (key == "readout.bias"), key
    # near the threshold but below: psi is alive
    parameters["layer.1.bias"][:] = 0.15
    parameters["layer.1.input_weight"] *= 0.01
    parameters["layer.1.recurrent_weight"] *= 0
    near = pulled_back(network, parameters, inputs, targets)
    assert (near.after.arrays["layer.1.potential"] < 1).all()
    for key, value in near.gradients.items():
        dead = "recurrent" in key or key == "readout.weight"
        assert (value != 0).any() == (not dead), key
    expected = rtrl(network, parameters, inputs, targets).gradients
    assert np.abs(near.gradients["layer.1.bias"] - expected["layer.1.bias"]).max() < 1e-14


def test_spiking_at_each_step_with_psi_zero():
    """Far above the threshold a triangle is 0: the read-out alone learns."""
    network, parameters, inputs, targets = problem(SPIKING["attached"])
    parameters["layer.1.bias"] += 20.0
    core = pulled_back(network, parameters, inputs, targets)
    assert (core.after.arrays["layer.1.potential"] > 3).all()
    for key, value in core.gradients.items():
        assert (value != 0).any() == key.startswith("readout"), key


def test_one_neuron_exactly_at_the_threshold():
    """Dyadic numbers: v_1 = 1 fires or not, and what is taken off has not leaked."""
    ends = {}
    for fires in (">=", ">"):
        neuron = SpikingNeuron(0.5, 1.0, fires=fires, surrogate=Surrogate("triangle", 1.0, 0.5))
        network = RecurrentSpikingLayer((1, 1, 2), neuron=neuron, readout_leak=0.5)
        one = {
            "layer.1.input_weight": [[1.0]], "layer.1.recurrent_weight": [[0.25]], "layer.1.bias": [0.0],
            "readout.weight": [[1.0], [2.0]], "readout.bias": [0.0, 0.25],
        }  # fmt: skip
        parameters = {key: np.array(value) for key, value in one.items()}
        ends[fires] = network.run(parameters, np.array([[[1.0]], [[0.75]]]))[:, 0].tolist()
    # fired: v_2 = 0.5 + 0.75 + 0.25 - 1 = 0.5; silent: v_2 = 0.5 + 0.75 = 1.25
    assert ends == {">=": [[1.0, 2.25], [0.5, 1.375]], ">": [[0.0, 0.25], [1.0, 2.375]]}


# -- dropout -------------------------------------------------------------------------------------------------


def test_masks_belong_to_seed_layer_and_step():
    network, parameters, inputs, targets = problem(SMOOTH["tanh, dropout"], batch=50)

    def masks(network, steps, offset=0):
        core = network.working_core(*network.check(parameters, inputs, targets))
        core.start(network.initial_state(parameters, 50) | {"step": np.array([offset])})
        found = []
        for step in steps:
            core.prepare(step)
            found.append(np.concatenate([layer.mask.ravel() for layer in core.layers]))
        return np.array(found)

    drawn = masks(network, (1, 2, 3))
    np.testing.assert_array_equal(drawn[::-1], masks(network, (3, 2, 1)))
    np.testing.assert_array_equal(drawn[1:], masks(network, (1, 2), offset=1))
    assert set(np.unique(drawn)) == {0.0, 1 / 0.6}
    assert abs(drawn.mean() - 1) < 0.1
    assert (drawn[0] != drawn[1]).mean() > 0.3
    assert (drawn[0][:150] != drawn[0][200:]).mean() > 0.3  # two layers
    assert (drawn[0] != masks(replace(network, dropout_seed=6), (1,))[0]).mean() > 0.3


def test_a_run_goes_on_with_the_masks_of_its_steps():
    """From a state of the contract in the middle, the core goes on as if it had come from the start."""
    network, parameters, inputs, targets = problem(SMOOTH["tanh, dropout"])
    _, sequence, _ = network.check(parameters, inputs, targets)
    state = network.initial_state(parameters, 3)
    middle = None
    for k, step in enumerate(sequence):
        middle = state if k == 3 else middle
        state = network.step(parameters, state, step)
    assert state["step"].tolist() == [6]
    core = network.working_core(parameters, inputs[3:], None)
    core.start(middle)
    core.advance(1, 3)
    for name, value in core.before.arrays.items():
        np.testing.assert_array_equal(value, state[name])
