"""The model contract: all that an algorithm or an oracle may rely on.

A model is a frozen set of hyper-parameters with pure functions.  Its parameters are a plain dict of
arrays with dotted names; its state is a dict too, and explicit: everything that the next step needs is
in it.  A running mean that the loss is taken of is a part of the state (an *accumulator*), so that every
loss of this package is a function of the last state (and of a read-out outside the recurrence, if there is
one), and backpropagation through time is one recursion

    s_t = F(x_t, s_{t-1}, theta),    L = loss(s_T, y, theta).

`step_vjp` and `step_jvp` are the two derivatives of the same F, written by hand: one runs from the last
layer to the first, the other from the first to the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from refsnn import checks

Parameters = dict[str, np.ndarray]
State = dict[str, np.ndarray]


@runtime_checkable
class Model(Protocol):
    """What every network of this package offers.

    Shapes: `inputs` is what one step sees, (B, ...); every state entry has the batch first.
    """

    @property
    def accumulators(self) -> frozenset[str]:
        """Names of state entries that only add up over time; truncation does not cut them."""
        ...

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in the order in which results list them."""
        ...

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64) -> Parameters:
        """Draw parameters the way the paper does."""
        ...

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """State before the first step, in the dtype of the parameters."""
        ...

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, np.ndarray]:
        """Refuse bad arguments at the door; return them as arrays, inputs as a sequence of T steps."""
        ...

    def step(self, parameters: Parameters, state: State, inputs: Any) -> State:
        """F: one time step."""
        ...

    def step_vjp(
        self, parameters: Parameters, state: State, inputs: Any, cotangent: State
    ) -> tuple[State, Parameters]:
        """Pull dL/d(next state) back to dL/d(state) and this step's share of dL/d(parameters)."""
        ...

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: Any,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Push a tangent of the state and of the parameters through the step."""
        ...

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """What the loss is taken of, (B, classes)."""
        ...

    def loss(self, parameters: Parameters, state: State, targets: np.ndarray, steps: int) -> float:
        """The loss of the last state, a mean over the batch."""
        ...

    def loss_gradient(
        self, parameters: Parameters, state: State, targets: np.ndarray, steps: int
    ) -> tuple[State, Parameters]:
        """dL/d(last state), where BPTT starts, and dL/dtheta at a fixed state where it is not 0."""
        ...


@dataclass(frozen=True)
class StaticInput(Sequence):
    """The same input at each of `steps` time steps, stored once.

    Parameters
    ----------
    value : ndarray, shape (B, ...)
        What every step sees.
    steps : int
        Number of steps T.

    Raises
    ------
    TypeError, ValueError
        If `steps` is no integer of at least 1.

    Examples
    --------
    >>> drive = StaticInput(np.ones((1, 2)), steps=3)
    >>> len(drive), drive[2].shape
    (3, (1, 2))
    """

    value: np.ndarray
    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", checks.count("steps", self.steps))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return StaticInput(self.value, len(range(*index.indices(self.steps))))
        if not -self.steps <= index < self.steps:
            raise IndexError(f"index: expected a step below {self.steps}, got {index}")
        return self.value


def zeros_like(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A dict of zeros with the same names, shapes and dtypes (parameters, states, gradients).

    Examples
    --------
    >>> zeros_like({"a": np.ones(2)})
    {'a': array([0., 0.])}
    """
    return {name: np.zeros_like(array) for name, array in arrays.items()}
