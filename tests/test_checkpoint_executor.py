"""The executor: refuses what is not there, counts as the simulator does, and gives the bits of plain BPTT."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from checkpoint_cases import POLICIES, assert_same_bits, bits, logistic_problem, schedule_of
from equilibrium_cases import draw, energy, prototypical
from hypothesis import assume, given
from hypothesis import strategies as st
from recurrent_cases import ALL, keep_all, leaves, problem, state_of
from spiking_graphs import SEEDS, dense_graphs

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.checkpoint_executor import Executor, Hooks
from refsnn.algorithms.checkpoint_slots import MemorySlots
from refsnn.algorithms.memory_efficient_bptt import bptt_until, memory_efficient_bptt, memory_plan
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import StaticInput
from refsnn.models.sequences import StepTargets
from refsnn.models.working_core import ContractCore
from refsnn.schedules.online import OnlineSchedule
from refsnn.schedules.simulation import simulate
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule

NETWORKS = sorted(ALL)


def whole(network, parameters, inputs, targets, **given):
    """BPTT with everything kept, apart from executor and slots."""
    core = network.working_core(*network.check(parameters, inputs, targets), input_gradients=True)
    return keep_all(core, **given)


def assert_live(core):
    """Every gradient is felt."""
    for name, value in leaves(core).items():
        assert np.abs(value).max() > 0, name


# -- the same bits and the same counts -----------------------------------------------------------------------


@given(
    st.sampled_from(NETWORKS),
    st.sampled_from(POLICIES),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(0, 2**32 - 1),
)
def test_any_schedule_gives_the_bits_of_bptt_and_the_counts_of_the_simulator(
    name, policy, steps, units, seed
):
    arguments = problem(ALL[name], steps=steps, batch=2, seed=seed)
    schedule = schedule_of(policy, steps, units)
    start = state_of(ALL[name], 2, seed)
    result = memory_efficient_bptt(*arguments, schedule=schedule, input_gradients=True, initial_state=start)
    reference = whole(*arguments, state=start)
    if name not in ("attached", "detached", "fast sigmoid"):
        assert_live(reference)
    found = result.gradients | {"inputs": result.input_gradients}
    found |= {f"start.{name}": value for name, value in result.initial_gradients.items()}
    for leaf, value in leaves(reference).items():
        assert found[leaf].tobytes() == value.tobytes(), leaf
    assert result.loss == reference.loss
    counts, expected = result.counts, simulate(schedule)
    assert (counts.advances, counts.tapes, counts.backs) == (expected.advances, expected.tapes, steps)
    assert counts.peak_units == expected.peak_units <= schedule.units
    assert counts.restores == expected.restores
    assert counts.pushes == expected.hidden_pushes + expected.internal_pushes
    assert result.diagnostics.steps_executed == counts.cost == schedule.cost


class Counting(Hooks):
    """Every call, and copies of the states."""

    def __init__(self):
        self.calls, self.states = [], {}

    def on_first_visit(self, step, state):
        self.calls.append(("first", step))
        self.states[step] = {name: value.copy() for name, value in state.items()}

    def direct(self, step, state):
        self.calls.append(("direct", step))
        self.compare(step, state)

    def on_back(self, step, state):
        self.calls.append(("back", step))
        self.compare(step, state)

    def compare(self, step, state):
        for name, value in state.items():
            assert value.tobytes() == self.states[step][name].tobytes()
            assert not value.flags.writeable


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("policy", POLICIES)
def test_hooks_come_once_a_step_in_order_and_change_no_bit(policy, name):
    steps, arguments = 17, problem(ALL[name], steps=17)
    hooks = Counting()
    hooked = memory_efficient_bptt(*arguments, schedule=schedule_of(policy, steps, 4), hooks=hooks)
    down = [(kind, step) for step in range(steps, 0, -1) for kind in ("direct", "back")]
    assert hooks.calls == [("first", step) for step in range(1, steps + 1)] + down
    plain = memory_efficient_bptt(*arguments, schedule=schedule_of(policy, steps, 4))
    assert bits(hooked) == bits(plain)


def test_hooks_come_once_a_step_online_and_with_a_disk_too():
    steps = 30
    arguments = problem(ALL["lstm"], steps=steps)
    for schedule in (TwoLevelSchedule(steps, 2, 3, TransferCosts(1, 0, 0, 2, 2)), OnlineSchedule(steps, 4)):
        hooks = Counting()
        memory_efficient_bptt(*arguments, schedule=schedule, hooks=hooks)
        assert hooks.calls[:steps] == [("first", step) for step in range(1, steps + 1)]
        assert [call for call in hooks.calls if call[0] == "back"] == [
            ("back", k) for k in range(steps, 0, -1)
        ]
        assert set(Counter(hooks.calls).values()) == {1}


class LossOfStates(Hooks):
    """sum over k and entries of w_k h_k: what a loss at each step would add to the adjoint."""

    def __init__(self, weights, entry):
        self.weights, self.entry, self.value = weights, entry, 0.0

    def on_first_visit(self, step, state):
        self.value += float((self.weights[step - 1] * state[self.entry]).sum())

    def direct(self, step, state):
        return {self.entry: self.weights[step - 1]}


@pytest.mark.parametrize("policy", POLICIES)
def test_direct_terms_are_a_loss_of_their_own(policy):
    """On the logistic map, whose own loss is one of h_T: both together against five-point differences."""
    model, parameters, inputs, targets = logistic_problem(steps=12)
    weights = np.random.default_rng(5).standard_normal((12, 2, 3))

    def total(a):
        state, value = model.initial_state(parameters, 2), 0.0
        for weight, x in zip(weights, inputs, strict=True):
            state = model.step({"a": a}, state, x)
            value += float((weight * state["s"]).sum())
        return value + model.loss(parameters, state, targets, 12)

    hooks = LossOfStates(weights, "s")
    schedule = schedule_of(policy, 12, 3)
    result = memory_efficient_bptt(model, parameters, inputs, targets, schedule=schedule, hooks=hooks)
    assert result.loss + hooks.value == pytest.approx(total(parameters["a"]), rel=1e-13)
    for i, by_rule in enumerate(result.gradients["a"]):
        e = 1e-3 * np.eye(3)[i]
        far, near = (total(parameters["a"] + s * e) - total(parameters["a"] - s * e) for s in (2, 1))
        assert by_rule == pytest.approx((8 * near - far) / 12e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        ({"hiden": 0}, ValueError, "hooks.direct returned: expected entries among .*hiden"),
        (
            {"layer.1.hidden": np.zeros((3, 5))},
            ValueError,
            r"hooks.direct returned\['layer.1.hidden'\].*\(3, 4\)",
        ),
        ({"layer.1.hidden": np.zeros((3, 4), np.float32)}, TypeError, "hooks.direct .* dtype float64"),
        ({"layer.1.hidden": np.full((3, 4), np.nan)}, ValueError, "hooks.direct .* finite"),
        (np.zeros((3, 4)), TypeError, "hooks.direct returned: expected a dict"),
    ],
)
def test_direct_terms_that_do_not_fit(returned, error, message):
    class Bad(Hooks):
        def direct(self, step, state):
            return returned

    with pytest.raises(error, match=message):
        memory_efficient_bptt(*problem(ALL["tanh"]), strategy="nothing", hooks=Bad())


@pytest.mark.parametrize("hooks", [Hooks, object(), "no"])
def test_hooks_that_are_none(hooks):
    with pytest.raises(TypeError, match=r"hooks: expected a Hooks such as one of a class that inherits"):
        memory_efficient_bptt(*problem(ALL["tanh"]), strategy="nothing", hooks=hooks)


def test_states_cannot_be_written_to_by_hooks_and_stops():
    def spoil(step, state):
        state["layer.1.hidden"][0, 0] = 0.0
        return False

    class Writing(Hooks):
        on_first_visit = staticmethod(spoil)

    arguments = problem(ALL["tanh"])
    with pytest.raises(ValueError, match=r"read-only"):
        memory_efficient_bptt(*arguments, strategy="nothing", hooks=Writing())
    with pytest.raises(ValueError, match=r"read-only"):
        bptt_until(*arguments, stop=spoil, budget="10 kB")


def test_progress_is_told():
    told = []
    arguments = problem(ALL["lstm"], steps=200)
    memory_efficient_bptt(*arguments, budget="3 kB", progress=lambda done, all_: told.append((done, all_)))
    assert len(told) > 5
    assert told[-1] == (200, 200)
    assert told == sorted(told)
    assert {whole for _, whole in told} == {200}


def close(found, expected):
    """Leaf by leaf; sums may have been made in another order."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-10, atol=1e-12 * np.abs(value).max(), err_msg=name
        )


# -- unknown length ------------------------------------------------------------------------------------------


def shortened(arguments, steps):
    """The problem, ended there."""
    network, parameters, inputs, targets = arguments
    if isinstance(targets, StepTargets):
        targets = StepTargets(targets.values[:steps], targets.weights[:steps])
    return network, parameters, inputs[:steps], targets


def ended_at(arguments, steps, budget):
    asked = []

    def stop(step, state):
        asked.append(step)
        return step == steps

    result = bptt_until(*arguments, stop=stop, budget=budget)
    assert asked == list(range(1, steps + 1))
    return result


@pytest.mark.parametrize("name", ["tanh, dropout", "lstm", "attached"])
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_run_that_ends_anywhere_is_a_run_of_that_length(name, slots):
    arguments = problem(ALL[name], steps=40)
    sizes = memory_plan(*arguments, strategy="nothing").sizes
    budget = sizes.fixed + (slots - 1) * sizes.state
    for steps in (*range(1, 25), 40):
        result = ended_at(arguments, steps, budget)
        reference = memory_efficient_bptt(*shortened(arguments, steps), strategy="all_tapes")
        assert bits(result) == bits(reference)
        expected = simulate(OnlineSchedule(steps, slots))
        assert result.counts.cost == expected.cost
        assert result.counts.peak_units == expected.peak_units <= slots - 1
        np.testing.assert_array_equal(result.diagnostics.outputs, reference.diagnostics.outputs)


@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
def test_a_loss_that_depends_on_the_length_is_that_of_the_run(loss_over):
    """The mean over steps is over those that were run."""
    graph, rng = dense_network((4, 8, 3), recurrent=True, loss_over=loss_over), np.random.default_rng(0)
    arguments = graph, graph.initialise(rng, gain=3.0), rng.random((30, 2, 4)), np.array([0, 2])
    losses = []
    for steps in (1, 2, 3, 7, 15, 29, 30):
        result = ended_at(arguments, steps, 5000)
        assert bits(result) == bits(memory_efficient_bptt(*shortened(arguments, steps), strategy="all_tapes"))
        reference = bptt_over_steps(*shortened(arguments, steps))
        assert result.loss == pytest.approx(reference.loss, rel=1e-13)
        losses.append(result.loss)
        close(result.gradients, reference.gradients)
    assert min(np.abs(value).max() for value in reference.gradients.values()) > 1e-3
    assert len(set(losses)) == len(losses)


# -- the disk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh, two layers", "lstm", "gru", "attached"])
@pytest.mark.parametrize(
    ("steps", "memory", "disk", "write"),
    [(1, 1, 0, 0), (2, 1, 1, 0), (25, 1, 3, 0.5), (60, 3, 3, 5), (60, 2, 20, 0)],
)
def test_with_a_disk_the_bits_are_the_same(name, steps, memory, disk, write, tmp_path):
    arguments = problem(ALL[name], steps=steps)
    schedule = TwoLevelSchedule(steps, memory, disk, TransferCosts(disk_write=write, disk_read=write))
    result = memory_efficient_bptt(
        *arguments, schedule=schedule, input_gradients=True, spill_folder=tmp_path if disk else None
    )
    reference = memory_efficient_bptt(*arguments, strategy="all_tapes", input_gradients=True)
    assert bits(result) == bits(reference)
    counts, expected = result.counts, simulate(schedule)
    state = memory_plan(*arguments, strategy="nothing").sizes.state
    assert counts.bytes_written == expected.disk_pushes * state
    assert counts.bytes_read == expected.disk_restores * state
    assert (expected.disk_pushes > 0) == (expected.disk_restores > 0) == (disk > 1)
    assert counts.cost == expected.cost
    assert counts.peak_units == expected.peak_units <= memory
    assert counts.restores == expected.restores + expected.disk_restores


def test_the_disk_works_with_models_of_the_contract(tmp_path):
    arguments = logistic_problem(steps=50)
    schedule = TwoLevelSchedule(50, 2, 3, TransferCosts(disk_write=2, disk_read=2))
    result = memory_efficient_bptt(*arguments, schedule=schedule, spill_folder=tmp_path)
    assert_same_bits(result, bptt_over_steps(*arguments).gradients)
    assert result.counts.bytes_read > 0


# -- models of the contract ----------------------------------------------------------------------------------


def through_the_contract(schedule, model, parameters, inputs, targets):
    """With `ContractCore`, also for models that have a core of their own."""
    core = ContractCore(model, *model.check(parameters, inputs, targets))
    core.start(None)
    tape = core.tape.nbytes + (0 if schedule.shares_input else core.before.nbytes)
    unit = max(core.before.nbytes, -(-tape // schedule.internal_units))
    Executor(core, schedule, MemorySlots(schedule.units, unit)).run()
    return core


@given(dense_graphs(), st.sampled_from(POLICIES), st.integers(0, 6))
def test_spiking_graphs(arguments, policy, units):
    """Loops, feedback, branches, batch normalisation of each step, dropout."""
    reference = bptt_over_steps(*arguments)
    assume(all(np.abs(value).max() > 0 for name, value in reference.gradients.items() if "readout" in name))
    schedule = schedule_of(policy, len(arguments[2]), units)
    core = through_the_contract(schedule, *arguments)
    assert core.loss == reference.loss
    for name, value in reference.gradients.items():
        np.testing.assert_array_equal(core.gradients[name], value, err_msg=name)
    own = memory_efficient_bptt(*arguments, schedule=schedule)
    assert bits(own) == bits(memory_efficient_bptt(*arguments, strategy="all_tapes"))
    close(own.gradients, reference.gradients)


@given(st.sampled_from(["energy", "prototypical"]), SEEDS, st.sampled_from(POLICIES), st.integers(0, 6))
def test_convergent_networks(family, seed, policy, units):
    model, parameters, inputs, targets = draw(seed, (energy if family == "energy" else prototypical)())
    arguments = model, parameters, StaticInput(inputs, 15), targets
    result = memory_efficient_bptt(*arguments, schedule=schedule_of(policy, 15, units))
    reference = bptt_over_steps(*arguments)
    assert result.loss == reference.loss
    assert_same_bits(result, reference.gradients)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_model_of_the_contract_is_enough(policy, dtype):
    arguments = logistic_problem(dtype=dtype)
    result = memory_efficient_bptt(*arguments, schedule=schedule_of(policy, 23, 5))
    reference = bptt_over_steps(*arguments)
    assert_same_bits(result, reference.gradients)
    assert result.loss == reference.loss
    assert {value.dtype for value in result.initial_gradients.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", NETWORKS)
def test_single_precision_stays(name):
    arguments = problem(ALL[name], steps=9, dtype=np.float32)
    result = memory_efficient_bptt(*arguments, schedule=schedule_of("msm", 9, 4), input_gradients=True)
    arrays = [*result.gradients.values(), *result.initial_gradients.values(), result.input_gradients]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    reference = whole(*arguments)
    for leaf, value in reference.gradients.items():
        assert result.gradients[leaf].tobytes() == value.tobytes()
