"""Schedules as lists of rows, a model of the contract that a user might write, and comparisons by bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn.models.contract import zeros_like
from refsnn.schedules.baselines import Bisection, Periodic, StoreAll, StoreHidden, StoreNothing
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.operations import Operation, operations
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed, revolve

POLICIES = ("hsm", "revolve", "ism", "msm", "msm unshared", "all tapes", "all states", "nothing", "periodic",
            "bisection")  # fmt: skip


def schedule_of(policy: str, steps: int, units: int) -> PolicySchedule:
    """A schedule; `units` are what is left to those that choose what they keep."""
    state, tape = 1, 2
    made = {
        "hsm": lambda: HiddenStates(),
        "revolve": lambda: revolve(),
        "ism": lambda: InternalStates(),
        "msm": lambda: Mixed(mixed_tables(steps, units, state, tape)),
        "msm unshared": lambda: Mixed(mixed_tables(steps, units, state, tape, shares_input=False)),
        "all tapes": lambda: StoreAll(state, tape),
        "all states": lambda: StoreHidden(),
        "nothing": lambda: StoreNothing(),
        "periodic": lambda: Periodic(state, tape, every=1 + units % 5),
        "bisection": lambda: Bisection(),
    }[policy]()
    return PolicySchedule(made, steps, max(units, made.least_units(steps)))


@dataclass
class Rows:
    """A schedule of given operations."""

    rows: list[Operation]
    steps: int
    units: int
    hidden_units: int = 1
    internal_units: int = 1
    shares_input: bool = True
    disk_slots: int = 0

    @classmethod
    def of(cls, schedule) -> Rows:
        names = ("steps", "units", "hidden_units", "internal_units", "shares_input", "disk_slots")
        return cls(list(operations(schedule)), **{name: getattr(schedule, name) for name in names})

    def chunks(self):
        yield np.array(self.rows, np.int64).reshape(-1, 5)


def bits(result) -> dict[str, bytes]:
    """All that was found, leaf by leaf."""
    start = {f"start.{name}": value for name, value in result.initial_gradients.items()}
    leaves = result.gradients | start | {"loss": np.array(result.loss)}
    if result.input_gradients is not None:
        leaves["inputs"] = result.input_gradients
    return {name: value.tobytes() for name, value in leaves.items()}


def assert_same_bits(result, reference: dict[str, np.ndarray]) -> None:
    """Gradients of a result and of another algorithm; none of them zero everywhere."""
    assert result.gradients.keys() == reference.keys()
    for name, value in reference.items():
        assert np.abs(value).max() > 0, name
        found = result.gradients[name]
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        np.testing.assert_array_equal(found, value, err_msg=name)


class Logistic:
    """s' = a s (1 - s) + x, L = mean (s_T - y)^2 / 2: the contract and nothing more."""

    accumulators = frozenset()

    def parameter_shapes(self):
        return {"a": (3,)}

    def initialise(self, rng, dtype=np.float64):
        return {"a": rng.uniform(2.5, 3.5, 3).astype(dtype)}

    def initial_state(self, parameters, batch):
        return {"s": np.full((batch, 3), 0.3, parameters["a"].dtype)}

    def check(self, parameters, inputs, targets):
        return parameters, np.asarray(inputs), np.asarray(targets)

    def step(self, parameters, state, inputs):
        return {"s": parameters["a"] * state["s"] * (1 - state["s"]) + inputs}

    def step_vjp(self, parameters, state, inputs, cotangent):
        s, g = state["s"], cotangent["s"]
        return {"s": g * parameters["a"] * (1 - 2 * s)}, {"a": (g * s * (1 - s)).sum(axis=0)}

    def step_jvp(self, parameters, state, inputs, tangent, parameter_tangent):
        s = state["s"]
        moved = parameter_tangent["a"] * s * (1 - s) + parameters["a"] * (1 - 2 * s) * tangent["s"]
        return {"s": moved}

    def outputs(self, parameters, state, steps):
        return state["s"]

    def loss(self, parameters, state, targets, steps):
        return float(((state["s"] - targets) ** 2).sum() / (2 * len(targets)))

    def loss_gradient(self, parameters, state, targets, steps):
        return zeros_like(state) | {"s": (state["s"] - targets) / len(targets)}, {}


def logistic_problem(model=None, steps=23, batch=2, dtype=np.float64):
    """The model, parameters, inputs, targets."""
    rng, model = np.random.default_rng(3), model or Logistic()
    inputs = rng.uniform(-0.02, 0.02, (steps, batch, 3)).astype(dtype)
    return model, model.initialise(rng, dtype), inputs, rng.random((batch, 3)).astype(dtype)
