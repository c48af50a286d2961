"""Starts and ends that are given: the bits of BPTT from there, two halves are the whole, bad ones refused."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_cases import logistic_problem, schedule_of
from recurrent_cases import ALL, keep_all, leaves, problem, state_of

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt


class Called(Hooks):
    """Whether a step was made."""

    called = False

    def on_first_visit(self, step, state):
        self.called = True


@pytest.mark.parametrize("name", sorted(ALL))
def test_initial_state_and_final_adjoint(name):
    arguments = problem(ALL[name], steps=11)
    start, end = state_of(ALL[name], seed=1), state_of(ALL[name], seed=2)
    network, parameters, inputs, targets = arguments
    core = network.working_core(*network.check(parameters, inputs, targets), input_gradients=True)
    reference = keep_all(core, start, end)
    result = memory_efficient_bptt(
        *arguments, schedule=schedule_of("ism", 11, 3), input_gradients=True, initial_state=start,
        final_adjoint=end,
    )  # fmt: skip
    found = result.gradients | {"inputs": result.input_gradients}
    found |= {f"start.{name}": value for name, value in result.initial_gradients.items()}
    for leaf, value in leaves(reference).items():
        assert found[leaf].tobytes() == value.tobytes(), leaf


@pytest.mark.parametrize("cut", [1, 9, 22])
def test_two_halves_are_the_whole(cut):
    """h and its adjoint carried by hand from one call to the next, on a model of the contract."""
    model, parameters, inputs, targets = logistic_problem()
    reference = bptt_over_steps(model, parameters, inputs, targets).gradients["a"]
    state = model.initial_state(parameters, 2)
    for x in inputs[:cut]:
        state = model.step(parameters, state, x)
    late = memory_efficient_bptt(
        model, parameters, inputs[cut:], targets, strategy="nothing", initial_state=state
    )
    # the first half's own loss is silenced: its target is what it reaches
    early = memory_efficient_bptt(
        model, parameters, inputs[:cut], state["s"], strategy="nothing",
        final_adjoint=late.initial_gradients,
    )  # fmt: skip
    assert early.loss == 0
    np.testing.assert_allclose(early.gradients["a"] + late.gradients["a"], reference, rtol=1e-13)


def own():
    network, parameters, inputs, targets = problem(ALL["tanh"], steps=4)
    return (network, parameters, inputs, targets), "layer.1.hidden", (3, 4)


def by_contract():
    return logistic_problem(steps=4), "s", (2, 3)


@pytest.mark.parametrize("argument", ["initial_state", "final_adjoint"])
@pytest.mark.parametrize("case", [own, by_contract])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda name, shape: {"typo": np.zeros(shape), name: np.zeros(shape)}, ValueError, "typo"),
        (lambda name, shape: {name: np.zeros((*shape[:-1], shape[-1] + 1))}, ValueError, "expected shape"),
        (lambda name, shape: {name: np.zeros((1, shape[-1]))}, ValueError, "expected shape"),
        (lambda name, shape: {name: np.zeros(shape, np.float32)}, TypeError, "dtype float64"),
        (lambda name, shape: {name: np.zeros(shape, int)}, TypeError, "float"),
        (lambda name, shape: {name: np.full(shape, np.nan)}, ValueError, "expected finite"),
        (lambda name, shape: {name: np.full(shape, np.inf)}, ValueError, "expected finite"),
        (lambda name, shape: {name: None}, TypeError, "expected"),
        (lambda name, shape: np.zeros(shape), TypeError, "expected a dict"),
        (lambda name, shape: [name], TypeError, "expected a dict"),
    ],
)
def test_starts_and_ends_that_do_not_fit(case, argument, spoil, error, message):
    arguments, name, shape = case()
    seen = Called()
    with pytest.raises(error, match=message) as caught:
        memory_efficient_bptt(*arguments, strategy="nothing", hooks=seen, **{argument: spoil(name, shape)})
    assert str(caught.value).startswith(argument)
    assert not seen.called  # before the first step


@pytest.mark.parametrize("case", [own, by_contract])
def test_a_start_with_an_entry_missing(case):
    with pytest.raises(ValueError, match=r"initial_state: expected the entries .* missing"):
        memory_efficient_bptt(*case()[0], strategy="nothing", initial_state={})
