"""What recurrent networks have in common: sizes, the door, the loss, and the contract made from a core.

    h_k = F(h_{k-1}, x_k),    y_k = what h_k is read as,    L = sum_k l_k(y_k),

    squared error    l_k = sum_b w_kb / (2B) ||y_kb - y*_kb||^2
    cross-entropy    l_k = sum_b w_kb / B    (log sum_c exp(y_kbc) - y_kb,label)

L is not divided by T, and B is the whole batch whatever the weights.  In the contract the sum is an
accumulator of the state, `loss.sum`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters, State, StaticInput, zeros_like
from refsnn.models.losses import LOSSES, cross_entropy_gradient, mean_squared_error_gradient
from refsnn.models.recurrent.core import RecurrentCore
from refsnn.models.recurrent.targets import check_step_targets
from refsnn.models.sequences import LabelledSequence, LabelledStep, StepTargets

LOSS_SUM, STEP = "loss.sum", "step"


@dataclass(frozen=True)
class RecurrentModel(ABC):
    """A recurrent network; what it computes is in the classes below it.

    Parameters
    ----------
    widths : tuple of int
        Inputs, the recurrent layers from the input up, outputs.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out at each step.

    Raises
    ------
    TypeError, ValueError
        For widths or a loss that are none.
    """

    widths: tuple[int, ...]
    loss_function: str = "cross_entropy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", checks.widths("widths", self.widths, minimum=3))
        checks.choice("loss_function", self.loss_function, LOSSES)

    # -- what the classes below say -------------------------------------------------------------------

    @abstractmethod
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, from the input up."""

    @abstractmethod
    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """What step k + 1 needs from the past: h_k, entry by entry."""

    @abstractmethod
    def tape_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """What the adjoint of a step needs besides the state before it; it holds the state after it."""

    def adjoint_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """What goes back from step to step: dL/dh_k."""
        return self.state_shapes(batch)

    @abstractmethod
    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: Any,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step`; tangents may have an axis in front (directions)."""

    @abstractmethod
    def working_core(
        self,
        parameters: Parameters,
        inputs: Any,
        targets: Any,
        *,
        backend: str = "cpu",
        input_gradients: bool = False,
    ) -> RecurrentCore:
        """One step at a time in memory that is allocated once; arguments as `check` returned them."""

    @abstractmethod
    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """The read-out of the last state, (B, outputs)."""

    @property
    def counts_steps(self) -> bool:
        """Whether a step depends on its number, which is then an entry of the state."""
        return False

    # -- parameters -----------------------------------------------------------------------------------

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64, gain: float = 1.0) -> Parameters:
        """Weights N(0, gain^2 / fan-in), biases 0.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain : float
            Of all weights but those of the read-out, whose gain is 1.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, a negative or infinite number.
        """
        checks.generator("rng", rng)
        dtype, gain = checks.float_dtype("dtype", dtype), checks.number("gain", gain, 0)
        parameters: Parameters = {}
        for name, shape in self.parameter_shapes().items():
            if len(shape) == 1:
                parameters[name] = np.zeros(shape, dtype)
            else:
                scale = (1.0 if name.startswith("readout") else gain) / np.sqrt(shape[1])
                parameters[name] = (scale * rng.standard_normal(shape)).astype(dtype)
        return parameters

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, Any]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, n_in), or StaticInput of (B, n_in)
            Network input, T >= 1, B >= 1.
        targets : array_like or StepTargets
            Labels (B,) or real targets (B, outputs) by the loss, the same at each step; or those of
            each step, with weights.

        Returns
        -------
        tuple
            The parameters, the inputs with targets and weights along, and these with an axis of time.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = next(iter(parameters.values())).dtype
        targets = check_step_targets(
            self.loss_function, targets, len(inputs), len(inputs[0]), self.widths[-1], dtype
        )
        return parameters, LabelledSequence(inputs, targets), targets

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, Any]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        dtype = next(iter(parameters.values())).dtype
        if isinstance(inputs, StaticInput):
            value = checks.float_array("inputs.value", inputs.value, ("B", self.widths[0]), dtype)
            return parameters, StaticInput(value, inputs.steps)
        return parameters, checks.float_array("inputs", inputs, ("T", "B", self.widths[0]), dtype)

    # -- the model contract ---------------------------------------------------------------------------

    @property
    def accumulators(self) -> frozenset[str]:
        """The running sum of the losses."""
        return frozenset({LOSS_SUM})

    @property
    def uncut(self) -> frozenset[str]:
        """State entries that truncation does not cut: what only adds up, and a read-out that runs along."""
        return self.accumulators

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """All zero, no loss yet.

        Parameters
        ----------
        parameters : dict of str to ndarray
            For the dtype.
        batch : int
            B.

        Returns
        -------
        dict of str to ndarray
            As `state_shapes` says; `loss.sum` (1,), and `step` (1,) where steps are counted.
        """
        dtype = np.result_type(*parameters.values())
        state = {name: np.zeros(shape, dtype) for name, shape in self.state_shapes(batch).items()}
        state[LOSS_SUM] = np.zeros(1, dtype)
        return state | ({STEP: np.zeros(1, np.int64)} if self.counts_steps else {})

    def step(self, parameters: Parameters, state: State, inputs: np.ndarray | LabelledStep) -> State:
        """One time step: the working core's, once."""
        core = self._core_of_one_step(parameters, state, inputs)
        core.forward(1)
        following = dict(state) | core.after.copies()
        following[LOSS_SUM] = state[LOSS_SUM] + core.step_loss(1)
        if self.counts_steps:
            following[STEP] = state[STEP] + 1
        return following

    def step_vjp(
        self, parameters: Parameters, state: State, inputs: np.ndarray | LabelledStep, cotangent: State
    ) -> tuple[State, Parameters]:
        """Adjoint of `step`: the working core's, once."""
        if isinstance(inputs, LabelledStep):
            weights = (1 if inputs.weights is None else inputs.weights) * cotangent[LOSS_SUM]
            inputs = LabelledStep(inputs.value, inputs.targets, weights)
        core = self._core_of_one_step(parameters, state, inputs)
        core.forward(1)
        core.adjoint.load({name: cotangent[name] for name in core.adjoint.arrays})
        core.backward(1)
        past = core.adjoint.copies() | {LOSS_SUM: cotangent[LOSS_SUM]}
        return zeros_like(state) | past, core.gradients

    def _core_of_one_step(
        self, parameters: Parameters, state: State, inputs: np.ndarray | LabelledStep
    ) -> RecurrentCore:
        """A core with a sequence of one step, at the state before it."""
        targets = None
        if isinstance(inputs, LabelledStep):
            weights = np.ones(1) if inputs.weights is None else inputs.weights
            targets = StepTargets(inputs.targets[None], weights[None])
        values = inputs.value if isinstance(inputs, LabelledStep) else inputs
        backend = "plain" if np.iscomplexobj(state[LOSS_SUM]) else "cpu"
        core = self.working_core(parameters, values[None], targets, backend=backend)
        core.place(state)
        return core

    def step_errors(self, outputs: np.ndarray, inputs: np.ndarray | LabelledStep) -> np.ndarray:
        """dl_k/dy_k of one step, (B, outputs), written apart from the cores."""
        if not isinstance(inputs, LabelledStep):
            return np.zeros_like(outputs)
        gradient = (
            cross_entropy_gradient if self.loss_function == "cross_entropy" else mean_squared_error_gradient
        )
        errors = gradient(outputs, inputs.targets)
        return errors if inputs.weights is None else inputs.weights[:, None] * errors

    def loss(self, parameters: Parameters, state: State, targets: Any, steps: int) -> float:
        """sum_k l_k."""
        return float(state[LOSS_SUM][0])

    def loss_gradient(
        self, parameters: Parameters, state: State, targets: Any, steps: int
    ) -> tuple[State, Parameters]:
        """1 for the sum of the losses; nothing else of the last state is in the loss."""
        cotangent = zeros_like(state)
        cotangent[LOSS_SUM] += 1
        return cotangent, {}

    def run(
        self, parameters: Parameters, inputs: Any, *, initial_state: State | None = None, backend: str = "cpu"
    ) -> np.ndarray:
        """The read-out of each step.

        Parameters
        ----------
        parameters, inputs
            As in `check`.
        initial_state : dict of str to ndarray, optional
            h_0; zeros by default.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.

        Returns
        -------
        ndarray, (T, B, outputs)

        Raises
        ------
        TypeError, ValueError
            For arguments of wrong kind, shape or range.
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        core = self.working_core(parameters, inputs, None, backend=backend)
        core.start(initial_state)
        outputs = np.empty((len(inputs), *core.read_out().shape), core.dtype)
        for step in range(1, len(inputs) + 1):
            core.forward(step)
            outputs[step - 1] = core.read_out()
            np.copyto(core.before.memory, core.after.memory)
        return outputs


def last_names(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one layer by their last names.

    Examples
    --------
    >>> list(last_names("layer.1", {"layer.1.bias": np.zeros(1), "readout.bias": np.zeros(1)}))
    ['bias']
    """
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def affine_tangent(
    values: np.ndarray, moved: np.ndarray, weight: np.ndarray, weight_tangent: np.ndarray
) -> np.ndarray:
    """Tangent of v W^T: v dW^T + dv W^T; tangents may have an axis in front.

    Parameters
    ----------
    values, moved : ndarray, (B, n), (..., B, n)
        v and its tangent.
    weight, weight_tangent : ndarray, (m, n), (..., m, n)
        W and its tangent.

    Returns
    -------
    ndarray, (..., B, m)

    Examples
    --------
    >>> affine_tangent(np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2)), np.ones((5, 1, 2))).shape
    (5, 1, 1)
    """
    return values @ np.swapaxes(weight_tangent, -1, -2) + moved @ weight.T
