"""The working core of a recurrent network: what it is made of, its loss, and how gradients are added up.

Every array is made here, once.  Matrix products are written into memory that waits for them, and a gradient
of a step is made whole before it is added to the sum over steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from refsnn import checks
from refsnn.kernels import BACKENDS, recurrent_kernels
from refsnn.models.contract import Parameters, State, StaticInput
from refsnn.models.sequences import LabelledSequence, StepTargets
from refsnn.models.working_core import Layout, WorkingCore

# entries of the contract's state that are no part of h_k
_OF_THE_CONTRACT = ("loss.sum", "step")


class Shaped(Protocol):
    """What a core asks of its model."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, layers, outputs."""
        ...

    @property
    def loss_function(self) -> str:
        """Of the read-out at each step."""
        ...

    @property
    def counts_steps(self) -> bool:
        """Whether a step depends on its number."""
        ...

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """h_k."""
        ...

    def tape_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """I_k without h_{k-1}."""
        ...

    def adjoint_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """What goes back from step to step."""
        ...


class RecurrentCore(WorkingCore):
    """One step at a time of a recurrent network.

    Parameters
    ----------
    model : RecurrentModel
        The network.
    parameters : dict of str to ndarray
        Checked; complex ones are taken by the plain backend.
    inputs : ndarray, (T, B, n_in), StaticInput or LabelledSequence
        Checked.
    targets : StepTargets or None
        Checked; None has no loss.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.
    input_gradients : bool
        Whether dL/dx is wanted, (T, B, n_in).

    Attributes
    ----------
    dtype : dtype
        Of everything.
    errors : ndarray, (B, outputs)
        dl_k/dy_k of the step at hand.

    Raises
    ------
    TypeError, ValueError
        For an unknown backend, and complex parameters under any but "plain".
    """

    def __init__(
        self,
        model: Shaped,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        backend: str,
        input_gradients: bool,
    ) -> None:
        checks.choice("backend", backend, BACKENDS)
        self.dtype = np.result_type(*parameters.values())
        if self.dtype.kind == "c" and backend != "plain":
            raise TypeError(f"backend: expected 'plain' with complex parameters, got {backend!r}")
        self.kernels, self.targets = recurrent_kernels(backend), targets
        self.parameters = {name: np.ascontiguousarray(a, self.dtype) for name, a in parameters.items()}
        self.inputs: Any
        self.batch, input_shape = self._take(inputs)
        super().__init__(
            self._layout(model.state_shapes(self.batch)),
            self._layout(model.tape_shapes(self.batch)),
            self._layout(model.adjoint_shapes(self.batch)),
            self.parameters,
            len(inputs),
        )
        if input_gradients:
            self.input_gradients = np.zeros((self.steps, *input_shape), self.dtype)
        self.errors = self.scratch(np.zeros((self.batch, model.widths[-1]), self.dtype))
        self._weights = self.scratch(np.zeros(self.batch, np.empty(0, self.dtype).real.dtype))
        squared = model.loss_function == "mean_squared_error"
        self._loss = self.kernels.squared_error if squared else self.kernels.cross_entropy
        self._first_step, self.counts_steps = 0, model.counts_steps
        # the gradient of one step, of any parameter
        largest = max(array.size for array in self.parameters.values())
        memory = self.scratch(np.zeros(largest, self.dtype))
        self._share = {name: memory[: a.size].reshape(a.shape) for name, a in self.parameters.items()}

    def _take(self, inputs: Any) -> tuple[int, tuple[int, ...]]:
        """Put x into `inputs`; B, and the shape of one step."""
        if isinstance(inputs, LabelledSequence):
            inputs = inputs.inputs
        static = isinstance(inputs, StaticInput)
        # one row where all steps see the same
        self.inputs = np.ascontiguousarray(inputs.value[None] if static else inputs)
        return self.inputs.shape[1], self.inputs.shape[1:]

    def _layout(self, shapes: dict[str, tuple[int, ...]]) -> Layout:
        return {name: (shape, self.dtype) for name, shape in shapes.items()}

    @abstractmethod
    def read_out(self) -> np.ndarray:
        """y_k of the state in `after`, (B, outputs); valid until the next step."""

    # -- start and end --------------------------------------------------------------------------------

    def start(self, state: State | None) -> None:
        """Put h_0 into `before`: zeros, or the one given.

        Parameters
        ----------
        state : dict of str to ndarray, or None
            Entries as `state_shapes` says; a state of the contract may be given as it is, its `step` says how
            many steps were made before.

        Raises
        ------
        TypeError, ValueError
            For missing entries, wrong shapes, dtypes or numbers.
        """
        if state is None:
            self.before.memory.fill(0)
            self._first_step = 0
            return
        own = state
        if isinstance(state, Mapping):
            own = {name: value for name, value in state.items() if name not in _OF_THE_CONTRACT}
        checked = self.before.checked("initial_state", own)
        if self.counts_steps:
            checked["step"] = _checked_step(state.get("step"))
        self.place(checked)

    def state_after(self, step: int) -> State:
        """See `WorkingCore.state_after`; where steps are counted, with how many were made."""
        state = self.after.guarded
        if self.counts_steps:
            state["step"] = np.array([self._first_step + step])
            state["step"].flags.writeable = False
        return state

    def place(self, state: State) -> None:
        """`start` at a state that was checked."""
        self.before.load({name: state[name] for name in self.before.arrays})
        self._first_step = int(state["step"][0]) if "step" in state else 0

    def seed(self, adjoint: State | None = None) -> None:
        """Begin to go back: no gradient yet, and nothing behind the last step but what is given.

        Parameters
        ----------
        adjoint : dict of str to ndarray, optional
            A further dL/dh_T, by names of the state; entries that are left out are 0.

        Raises
        ------
        TypeError, ValueError
            For unknown entries, wrong shapes, dtypes or numbers.
        """
        self.adjoint.memory.fill(0)
        for gradient in self.gradients.values():
            gradient.fill(0)
        self.loss = 0.0
        if adjoint is not None:
            for name, value in self.adjoint.checked("final_adjoint", adjoint, whole=False).items():
                np.copyto(self.adjoint.arrays[name], value)

    # -- one step -------------------------------------------------------------------------------------

    def input_of(self, step: int) -> np.ndarray:
        """x_k, (B, n_in)."""
        return self.inputs[step - 1 if len(self.inputs) > 1 else 0]

    def step_loss(self, step: int) -> Any:
        """l_k of the state in `after`; its gradient is then in `errors`."""
        if self.targets is None:
            return 0.0
        values, weights = self.targets.at(step - 1)
        np.copyto(self._weights, weights)
        return self._loss(self.read_out(), values, self._weights, self.errors)

    def _add_product(self, name: str, left: np.ndarray, right: np.ndarray) -> None:
        """gradient += left^T right."""
        np.dot(left.T, right, out=self._share[name])
        np.add(self.gradients[name], self._share[name], out=self.gradients[name])

    def _add_sum(self, name: str, left: np.ndarray) -> None:
        """gradient += the sum over the batch."""
        np.add.reduce(left, axis=0, out=self._share[name])
        np.add(self.gradients[name], self._share[name], out=self.gradients[name])


def _checked_step(given: Any) -> np.ndarray:
    """How many steps were made before, as it stands in a state; none, if it does not."""
    step = np.asarray([0] if given is None else given)
    if step.shape != (1,) or step.dtype.kind not in "iu" or step[0] < 0:
        raise ValueError(
            f"initial_state['step']: expected how many steps were made before, like np.array([10]), "
            f"got {given!r}; the masks of this network are drawn by it"
        )
    return step
