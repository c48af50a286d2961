"""The working core: the one step at hand of a long computation, in memory that is allocated once.

A core belongs to one model, its parameters, and one sequence.  It holds the state before the step, the state
after it, the tape (what the adjoint of the step needs besides the state before it: Gruslys 2016 calls both
together the internal state), and the adjoint.  Whatever the order in which steps are run, run again and
pulled back, the same arrays are used, so that the same step gives the same bits.

`ContractCore` makes a core of any model; a model that offers `working_core` brings its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn.models.contract import Model, Parameters, State, zeros_like

Layout = Mapping[str, tuple[tuple[int, ...], Any]]


class Block:
    """Named arrays side by side in one piece of memory, to be copied as one.

    Parameters
    ----------
    layout : mapping of str to (shape, dtype)
        What it holds, in this order.

    Attributes
    ----------
    memory : ndarray of uint8
        All of it.
    arrays : dict of str to ndarray
        Views.

    Examples
    --------
    >>> block = Block({"h": ((2, 3), np.float64), "k": ((1,), np.float32)})
    >>> block.nbytes, block.arrays["h"].shape
    (52, (2, 3))
    """

    def __init__(self, layout: Layout) -> None:
        sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in layout.values()]
        # wide items first, so that each array is aligned without padding
        order = sorted(layout, key=lambda name: -np.dtype(layout[name][1]).itemsize)
        size = dict(zip(layout, sizes, strict=True))
        self.memory = np.zeros(sum(sizes), np.uint8)
        views, first = {}, 0
        for name in order:
            shape, dtype = layout[name]
            views[name] = self.memory[first : first + size[name]].view(dtype).reshape(shape)
            first += size[name]
        self.arrays: dict[str, np.ndarray] = {name: views[name] for name in layout}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.memory.nbytes

    def load(self, arrays: Mapping[str, np.ndarray], what: str = "arrays") -> None:
        """Copy arrays in; their names, shapes and dtypes must be those of the block.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            One for each name.
        what : str
            Their name in error messages.

        Raises
        ------
        ValueError
            If a name is missing or not expected, or a shape or dtype differs.
        """
        if arrays.keys() != self.arrays.keys():
            raise ValueError(f"{what}: expected the entries {sorted(self.arrays)}, got {sorted(arrays)}")
        for name, view in self.arrays.items():
            array = arrays[name]
            if array.shape != view.shape or array.dtype != view.dtype:
                raise ValueError(
                    f"{what}[{name!r}]: expected shape {view.shape} and dtype {view.dtype} as at the start, "
                    f"got {array.shape} and {array.dtype}; a state of fixed size is what can be kept in slots"
                )
            np.copyto(view, array)

    @property
    def guarded(self) -> dict[str, np.ndarray]:
        """Views that nobody can write to."""
        views = {name: view.view() for name, view in self.arrays.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    def copies(self) -> dict[str, np.ndarray]:
        """The arrays as they are now."""
        return {name: view.copy() for name, view in self.arrays.items()}


def layout_of(arrays: Mapping[str, np.ndarray]) -> Layout:
    """Names, shapes and dtypes of arrays.

    Examples
    --------
    >>> layout_of({"h": np.zeros((2, 3))})
    {'h': ((2, 3), dtype('float64'))}
    """
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


class WorkingCore(ABC):
    """One step at a time, forward and back; steps are numbered from 1.

    Parameters
    ----------
    state, tape, adjoint : mapping of str to (shape, dtype)
        What a state, a tape (without the state before the step) and an adjoint consist of.
    parameters : dict of str to ndarray
        For the shapes of the gradients.
    steps : int
        T.

    Attributes
    ----------
    before, after : Block
        The state that the step starts from, and the one that it ends in.
    tape : Block
        Of the step that was run last, or that was copied back.
    adjoint : Block
        What later steps send back to the state after the step at hand.
    parameters : dict of str to ndarray
        As given.
    gradients : dict of str to ndarray
        Sum over the steps that were pulled back.
    input_gradients : ndarray, (T, B, ...), or None
        dL/dx, where it was asked for and can be had.
    loss : float
        Sum over the steps that were pulled back, or the loss of the last state.
    steps : int
        T; where the length is not known before, the executor sets it when the end is reached.
    """

    def __init__(
        self, state: Layout, tape: Layout, adjoint: Layout, parameters: Parameters, steps: int
    ) -> None:
        self.before, self.after = Block(state), Block(state)
        self.tape, self.adjoint = Block(tape), Block(adjoint)
        self.parameters, self.gradients = parameters, zeros_like(parameters)
        self.input_gradients: np.ndarray | None = None
        self.loss = 0.0
        self.steps = steps

    @abstractmethod
    def start(self, state: State | None) -> None:
        """Put h_0 into `before`: the model's own, or the one given."""

    @abstractmethod
    def forward(self, step: int) -> None:
        """Run one step: from `before` to `after`, with its tape."""

    @abstractmethod
    def recover(self, step: int) -> None:
        """Fill `after` from the tape of that step alone, with the bits that `forward` gave."""

    @abstractmethod
    def seed(self, adjoint: State | None = None) -> None:
        """With h_T in `after`: set its adjoint, plus the one given, and the loss if it is one of h_T."""

    @abstractmethod
    def backward(self, step: int) -> None:
        """Pull `adjoint` through the step, given `before`, `after`, `tape`; add to the gradients."""

    def advance(self, first: int, last: int) -> None:
        """Steps `first` to `last`: from `before` to `before`; the tape is overwritten."""
        for step in range(first, last + 1):
            self.forward(step)
            np.copyto(self.before.memory, self.after.memory)

    def initial_gradients(self) -> State:
        """dL/dh_0, once step 1 was pulled back."""
        return self.adjoint.copies()


class ContractCore(WorkingCore):
    """The core of any model: `step` and `step_vjp`, with the state after a step for its tape.

    The model allocates what it likes inside a step; what is kept between steps is here.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets
        As `model.check` returned them.

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> network, rng = dense_network((4, 8, 3)), np.random.default_rng(0)
    >>> parameters = network.initialise(rng, gain=3.0)
    >>> core = ContractCore(network, *network.check(parameters, rng.random((5, 2, 4)), [0, 2]))
    >>> core.start(None)
    >>> core.advance(1, 5)
    """

    def __init__(self, model: Model, parameters: Parameters, inputs: Any, targets: Any) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets
        layout = layout_of(model.initial_state(parameters, len(inputs[0])))
        super().__init__(layout, layout, layout, parameters, len(inputs))

    def start(self, state: State | None) -> None:
        """See `WorkingCore.start`."""
        own = self.model.initial_state(self.parameters, len(self.inputs[0]))
        self.before.load(own if state is None else state, "initial_state")

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        following = self._pure(self.model.step, self.before.guarded, self.inputs[step - 1])
        self.after.load(following, f"the state after step {step}")
        np.copyto(self.tape.memory, self.after.memory)

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        np.copyto(self.after.memory, self.tape.memory)

    def seed(self, adjoint: State | None = None) -> None:
        """See `WorkingCore.seed`."""
        arguments = self.parameters, self.after.guarded, self.targets, self.steps
        cotangent, direct = self.model.loss_gradient(*arguments)
        self.adjoint.load(cotangent, "the gradient of the loss")
        for name, value in (adjoint or {}).items():
            self.adjoint.arrays[name] += value
        for name, gradient in self.gradients.items():
            gradient[...] = direct.get(name, 0)
        self.loss = self.model.loss(*arguments)

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        arguments = self.before.guarded, self.inputs[step - 1], self.adjoint.guarded
        cotangent, share = self._pure(self.model.step_vjp, *arguments)
        self.adjoint.load(cotangent, f"the adjoint before step {step}")
        for name, value in share.items():
            self.gradients[name] += value

    def _pure(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the model; one that writes to what it was given is named."""
        try:
            return function(self.parameters, *arguments)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(
                f"model: {type(self.model).__name__}.{function.__name__} writes to the state that it was "
                "given; a step that is run again needs it unchanged: return new arrays instead"
            ) from error
