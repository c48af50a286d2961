"""Models of the contract that break its rules: refused by name or right all the same; no silent wrong."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from checkpoint_cases import Logistic, assert_same_bits, bits, logistic_problem, schedule_of
from recurrent_cases import ALL, problem

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.memory_efficient_bptt import bptt_until, memory_efficient_bptt
from refsnn.models.working_core import Block


def gradient(model, policy="hsm", steps=12, dtype=np.float64):
    arguments = logistic_problem(model, steps, dtype=dtype)
    return memory_efficient_bptt(*arguments, schedule=schedule_of(policy, steps, 3))


def changing(change):
    """A model whose step returns something else from the sixth on; the step is counted in the state."""

    class Changing(Logistic):
        def initial_state(self, parameters, batch):
            return super().initial_state(parameters, batch) | {"step": np.zeros(1, np.int64)}

        def step(self, parameters, state, inputs):
            following = super().step(parameters, state, inputs) | {"step": state["step"] + 1}
            return change(following) if state["step"][0] >= 5 else following

        def step_vjp(self, parameters, state, inputs, cotangent):
            past, share = super().step_vjp(parameters, state, inputs, cotangent)
            return past | {"step": np.zeros(1, np.int64)}, share

    return Changing()


def test_a_state_with_whole_numbers_in_it():
    """The same gradient as without them."""
    assert_same_bits(gradient(changing(lambda state: state)), gradient(Logistic()).gradients)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda s: s | {"s": np.tile(s["s"], (1, 2))},
            ValueError,
            r"\['s'\]: expected shape \(2, 3\).*\(2, 6\)",
        ),
        (lambda s: s | {"s": s["s"][:1]}, ValueError, r"\['s'\]: expected shape \(2, 3\) .* got \(1, 3\)"),
        (lambda s: s | {"s": s["s"][0]}, ValueError, r"\['s'\]: expected shape \(2, 3\) .* got \(3,\)"),
        (lambda s: s | {"s": s["s"].astype(np.float32)}, ValueError, "dtype float64 .* got .* float32"),
        (lambda s: s | {"step": s["step"] + 0.0}, ValueError, "dtype int64 .* got .* float64"),
        (
            lambda s: s | {"memory": s["s"]},
            ValueError,
            r"expected the entries .* got \['memory', 's', 'step'\]",
        ),
        (lambda s: {"s": s["s"]}, ValueError, r"expected the entries \['s', 'step'\], got \['s'\]"),
        (lambda s: s | {"s": s["s"].tolist()}, TypeError, r"\['s'\]: expected an array, got \[\["),
        (lambda s: s | {"s": 0.5}, TypeError, r"\['s'\]: expected an array, got 0.5"),
        (lambda s: (s["s"], s["step"]), TypeError, "expected a dict of arrays, got a tuple"),
        (lambda s: None, TypeError, "expected a dict of arrays, got a NoneType"),
    ],
)
def test_states_that_change(change, error, message):
    with pytest.raises(error, match=rf"model: the state after step 6.*{message}"):
        gradient(changing(change))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"s": 0.5}, "initial_state should return arrays of numbers, got 0.5 for 's'"),
        ({"s": np.zeros((2, 3)), "past": np.array([None])}, ".*arrays of numbers, .* for 'past'"),
        ([np.zeros((2, 3))], "initial_state should return a dict of arrays, got a list"),
    ],
)
def test_initial_states_that_are_none(given, message):
    class Bad(Logistic):
        def initial_state(self, parameters, batch):
            return given

    with pytest.raises(TypeError, match=rf"model: Bad.{message}"):
        gradient(Bad())


def test_single_precision_that_is_promoted():
    class Promoting(Logistic):
        def step(self, parameters, state, inputs):
            return {"s": super().step(parameters, state, inputs)["s"].astype(np.float64)}

    with pytest.raises(ValueError, match=r"after step 1.* dtype float32 .* got .* float64"):
        gradient(Promoting(), dtype=np.float32)


# -- writing to what was given -------------------------------------------------------------------------------


class WritesState(Logistic):
    def step(self, parameters, state, inputs):
        state["s"] *= parameters["a"] * (1 - state["s"])
        state["s"] += inputs
        return state


class WritesInput(Logistic):
    def step(self, parameters, state, inputs):
        inputs += parameters["a"] * state["s"] * (1 - state["s"])
        return {"s": inputs.copy()}


class WritesCotangent(Logistic):
    def step_vjp(self, parameters, state, inputs, cotangent):
        _, share = super().step_vjp(parameters, state, inputs, cotangent)
        cotangent["s"] *= parameters["a"] * (1 - 2 * state["s"])
        return cotangent, share


class WritesStateBackwards(Logistic):
    def step_vjp(self, parameters, state, inputs, cotangent):
        np.subtract(1, state["s"], out=state["s"])
        return super().step_vjp(parameters, state, inputs, cotangent)


class WritesStateAtTheEnd(Logistic):
    def loss_gradient(self, parameters, state, targets, steps):
        state["s"] -= targets
        return {"s": state["s"] / len(targets)}, {}


@numba.njit
def _in_place(state, a, inputs):
    for row in range(state.shape[0]):
        for column in range(state.shape[1]):
            s = state[row, column]
            state[row, column] = a[column] * s * (1 - s) + inputs[row, column]


class WritesCompiled(Logistic):
    def step(self, parameters, state, inputs):
        _in_place(state["s"], parameters["a"], inputs)
        return state


@pytest.mark.parametrize(
    ("model", "function"),
    [
        (WritesState, "step"),
        (WritesInput, "step"),
        (WritesCotangent, "step_vjp"),
        (WritesStateBackwards, "step_vjp"),
        (WritesStateAtTheEnd, "loss_gradient"),
        (WritesCompiled, "step"),
    ],
)
@pytest.mark.parametrize("policy", ["all tapes", "hsm"])
def test_models_that_write_to_what_they_were_given(model, function, policy):
    message = f"model: {model.__name__}.{function} writes to the .* it was given; .* return new arrays"
    with pytest.raises(ValueError, match=message):
        gradient(model(), policy)


class SharedBuffer(Logistic):
    """Returns the same array each time."""

    def __init__(self):
        self.buffer = {np.dtype(kind): np.zeros((2, 3), kind) for kind in (np.float32, np.float64)}

    def step(self, parameters, state, inputs):
        buffer = self.buffer[state["s"].dtype]
        buffer[...] = super().step(parameters, state, inputs)["s"]
        return {"s": buffer}


class PassesThrough(Logistic):
    """An entry that no step changes is handed back as it came; views and transposed arrays are returned."""

    def initial_state(self, parameters, batch):
        return super().initial_state(parameters, batch) | {"gain": np.full((batch, 3), 0.9)}

    def step(self, parameters, state, inputs):
        s = super().step(parameters, state, state["gain"] * inputs)["s"]
        return {"s": np.asfortranarray(s)[:, ::-1][:, ::-1], "gain": state["gain"]}

    def step_vjp(self, parameters, state, inputs, cotangent):
        past, share = super().step_vjp(parameters, state, inputs, cotangent)
        return past | {"gain": cotangent["gain"] + cotangent["s"] * inputs}, share


class ChangesTheDict(Logistic):
    """Puts the new arrays into the dict that it got."""

    def step(self, parameters, state, inputs):
        state["s"] = super().step(parameters, state, inputs)["s"]
        return state


@pytest.mark.parametrize("model", [SharedBuffer, PassesThrough, ChangesTheDict])
@pytest.mark.parametrize("policy", ["all tapes", "hsm", "ism", "msm", "nothing"])
def test_aliases_are_harmless(model, policy):
    result = gradient(model(), policy)
    if model is PassesThrough:
        reference = bptt_over_steps(*logistic_problem(PassesThrough(), 12)).gradients
        assert np.abs(result.initial_gradients["gain"]).max() > 0
    else:
        reference = bptt_over_steps(*logistic_problem(steps=12)).gradients
    assert_same_bits(result, reference)


# -- steps that are no function of their arguments -----------------------------------------------------------


class Noisy(Logistic):
    """Draws from a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def step(self, parameters, state, inputs):
        noise = 1e-12 * self.rng.standard_normal(inputs.shape)
        return super().step(parameters, state, inputs + noise)


class Remembers(Logistic):
    """Counts its steps itself."""

    calls = 0

    def step(self, parameters, state, inputs):
        self.calls += 1
        return super().step(parameters, state, inputs * (1 + self.calls % 3))


@pytest.mark.parametrize("model", [Noisy, Remembers])
@pytest.mark.parametrize("policy", ["hsm", "ism", "msm", "all states", "nothing", "periodic", "bisection"])
def test_a_step_that_gives_something_else_when_it_is_run_again(model, policy):
    with pytest.raises(ValueError, match=rf"model: {model.__name__}.step gave another state at step .* seed"):
        gradient(model(), policy)


def test_without_running_it_again_there_is_nothing_to_refuse():
    """Each step once: the gradient along the very run that was made."""
    assert_same_bits(
        gradient(Noisy(), "all tapes"), bptt_over_steps(*logistic_problem(Noisy(), 12)).gradients
    )


class CountedNoise(Logistic):
    """Noise of a seed and of a step count in the state, as it should be."""

    def initial_state(self, parameters, batch):
        return super().initial_state(parameters, batch) | {"step": np.zeros(1, np.int64)}

    def step(self, parameters, state, inputs):
        rng = np.random.default_rng([7, int(state["step"][0])])
        s = super().step(parameters, state, inputs + 0.02 * rng.standard_normal(inputs.shape))["s"]
        return {"s": s, "step": state["step"] + 1}

    def step_vjp(self, parameters, state, inputs, cotangent):
        past, share = super().step_vjp(parameters, state, inputs, cotangent)
        return past | {"step": np.zeros(1, np.int64)}, share


@pytest.mark.parametrize("policy", ["hsm", "ism", "msm", "nothing"])
def test_noise_that_is_counted(policy):
    reference = bptt_over_steps(*logistic_problem(CountedNoise(), 12)).gradients
    assert_same_bits(gradient(CountedNoise(), policy), reference)
    assert not np.array_equal(reference["a"], gradient(Logistic()).gradients["a"])


# -- gradients that do not fit -------------------------------------------------------------------------------


def with_share(change, at_end=False):
    class Bad(Logistic):
        def step_vjp(self, parameters, state, inputs, cotangent):
            past, share = super().step_vjp(parameters, state, inputs, cotangent)
            return (past, share) if at_end else change(past, share)

        def loss_gradient(self, parameters, state, targets, steps):
            cotangent, direct = super().loss_gradient(parameters, state, targets, steps)
            return change(cotangent, direct) if at_end else (cotangent, direct)

    return Bad()


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda past, share: (past, {"b": np.zeros(3)}),
            ValueError,
            r"expected parameters among \['a'\], got 'b'",
        ),
        (lambda past, share: (past, {"a": np.zeros(1)}), ValueError, r"expected shape \(3,\) .* got \(1,\)"),
        (lambda past, share: (past, {"a": np.zeros(3, np.float32)}), ValueError, "dtype float64 .* float32"),
        (lambda past, share: (past, {"a": 0.0}), TypeError, "'a': expected an array, got 0.0"),
        (lambda past, share: ({}, share), ValueError, r"expected the entries \['s'\], got \[\]"),
        (lambda past, share: ({"s": past["s"][:1]}, share), ValueError, r"expected shape \(2, 3\)"),
        (lambda past, share: past, ValueError, "should return a pair"),
        (lambda past, share: (past, None), TypeError, "expected a dict of arrays, got a NoneType"),
    ],
)
def test_gradients_that_do_not_fit(change, error, message, at_end):
    with pytest.raises(error, match=rf"model: .*{message}"):
        gradient(with_share(change, at_end))


def test_shares_may_be_left_out():
    result = gradient(with_share(lambda past, share: (past, {})))
    assert not result.gradients["a"].any()
    assert np.abs(result.initial_gradients["s"]).max() > 0


def test_gradients_of_the_input_are_not_in_the_contract():
    with pytest.raises(ValueError, match=r"input_gradients: Logistic has no working core of its own"):
        memory_efficient_bptt(*logistic_problem(), strategy="nothing", input_gradients=True)


# -- numbers that are none -----------------------------------------------------------------------------------


class Explodes(Logistic):
    """NaN from the sixth step on; the loss does not look at that entry."""

    def initial_state(self, parameters, batch):
        return super().initial_state(parameters, batch) | {"v": np.ones(2)}

    def step(self, parameters, state, inputs):
        v = np.array([state["v"][0] + 1, self.value if state["v"][0] == 5 else state["v"][1]])
        return super().step(parameters, state, inputs) | {"v": v}

    def step_vjp(self, parameters, state, inputs, cotangent):
        past, share = super().step_vjp(parameters, state, inputs, cotangent)
        return past | {"v": cotangent["v"]}, share


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_no_number_is_refused_though_the_loss_is_one(value):
    model = Explodes()
    model.value = value
    assert np.isfinite(bptt_over_steps(*logistic_problem(model, 12)).loss)
    with pytest.raises(FloatingPointError, match=r"h_T, T = 12: v: expected finite .* on_first_visit"):
        gradient(model)
    with pytest.raises(FloatingPointError, match=r"h_T, T = 7: v"):
        bptt_until(*logistic_problem(model), stop=lambda step, state: step == 7, budget="10 kB")
    gradient(model, steps=4)


def test_the_hook_that_the_message_speaks_of_finds_the_step():
    class Finds(Hooks):
        found = None

        def on_first_visit(self, step, state):
            if self.found is None and not all(np.isfinite(value).all() for value in state.values()):
                self.found = step

    model, hooks = Explodes(), Finds()
    model.value = np.nan
    with pytest.raises(FloatingPointError):
        memory_efficient_bptt(*logistic_problem(model), strategy="nothing", hooks=hooks)
    assert hooks.found == 5


class Steep(Logistic):
    def step_vjp(self, parameters, state, inputs, cotangent):
        past, share = super().step_vjp(parameters, state, inputs, cotangent)
        return {"s": 1e200 * past["s"]}, share


def test_gradients_that_leave_the_range():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            FloatingPointError, match=r"the gradient of a: expected finite numbers, got NaN or inf"
        ),
    ):
        gradient(Steep())


def test_a_loss_that_is_no_number():
    class NoLoss(Logistic):
        def loss(self, parameters, state, targets, steps):
            return np.nan

    with pytest.raises(FloatingPointError, match=r"the loss: expected finite"):
        gradient(NoLoss())


@pytest.mark.parametrize("name", ["attached", "detached"])
def test_potentials_that_overflow_are_no_silence(name):
    """inf - inf = NaN never fires: a network that looks dead."""
    network, parameters, inputs, targets = problem(ALL[name], steps=20)
    weight = parameters["layer.1.recurrent_weight"]
    weight[...] = 1.5e308 * np.sign(weight)
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match=r"h_T, T = 20: layer.1.potential"),
    ):
        memory_efficient_bptt(network, parameters, inputs, targets, strategy="nothing")


def test_starts_that_are_no_numbers():
    class NaNs(Logistic):
        def initial_state(self, parameters, batch):
            return {"s": np.full((batch, 3), np.nan)}

    with pytest.raises(ValueError, match=r"initial_state\['s'\]: expected finite numbers"):
        gradient(NaNs())


# -- blocks --------------------------------------------------------------------------------------------------


def test_what_a_block_takes():
    block = Block({"h": ((2,), np.float64), "k": ((1,), np.int64)})
    good = {"h": [0.5, 1.0], "k": np.array([3])}
    assert set(block.checked("start", good)) == {"h", "k"}
    assert set(block.checked("start", {"k": np.array([3])}, whole=False)) == {"k"}
    for bad in (np.array([3.0]), np.array([3, 4]), np.array(3)):
        with pytest.raises(ValueError, match=r"start\['k'\]: expected shape \(1,\) and dtype int64"):
            block.checked("start", good | {"k": bad})


def test_results_are_the_same_through_and_through():
    """A model run twice gives the same bits twice: nothing is left over from the first run."""
    model = PassesThrough()
    assert bits(gradient(model)) == bits(gradient(model))
