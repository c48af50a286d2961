"""The working core: the one step at hand of a long computation, in memory that is allocated once.

A core belongs to one model, its parameters, and one sequence.  It holds the state before the step, the state
after it, the tape (what the adjoint of the step needs besides the state before it: Gruslys 2016 calls both
together the internal state), and the adjoint.  Whatever the order in which steps are run, run again and
pulled back, the same arrays are used, so that the same step gives the same bits.

`ContractCore` makes a core of any model; a model that offers `working_core` brings its own.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn import checks
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
        TypeError, ValueError
            If it is no dict of arrays, a name is missing or not expected, or a shape or dtype differs.
        """
        if not isinstance(arrays, Mapping):
            raise TypeError(f"{what}: expected a dict of arrays, got a {type(arrays).__name__}")
        if arrays.keys() != self.arrays.keys():
            raise ValueError(f"{what}: expected the entries {sorted(self.arrays)}, got {sorted(arrays)}")
        for name, view in self.arrays.items():
            array = arrays[name]
            if not isinstance(array, (np.ndarray, np.generic)):
                raise TypeError(f"{what}[{name!r}]: expected an array, got {array!r}")
            if array.shape != view.shape or array.dtype != view.dtype:
                raise ValueError(
                    f"{what}[{name!r}]: expected shape {view.shape} and dtype {view.dtype} as at the start, "
                    f"got {array.shape} and {array.dtype}; a state of fixed size is what can be kept in slots"
                )
            np.copyto(view, array)

    def checked(self, what: str, given: Any, whole: bool = True) -> dict[str, np.ndarray]:
        """What a user gave for the arrays of this block, if it fits.

        Parameters
        ----------
        what : str
            Its name in error messages.
        given : dict of str to array_like
            Arrays by names of the block.
        whole : bool
            Whether all names must be there, or some may be left out.

        Returns
        -------
        dict of str to ndarray
            Finite, with the shapes and dtypes of the block.

        Raises
        ------
        TypeError, ValueError
            For anything but a dict, unknown or missing names, other shapes or dtypes, NaN and infinity.

        Examples
        --------
        >>> block = Block({"h": ((2,), np.float64), "v": ((2,), np.float64)})
        >>> block.checked("final_adjoint", {"h": [0.5, 1.0]}, whole=False)
        {'h': array([0.5, 1. ])}
        """
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{what}: expected a dict of arrays with entries among {sorted(self.arrays)}, "
                f"got {checks.shortened(given)}"
            )
        unknown, missing = sorted(given.keys() - self.arrays), sorted(self.arrays.keys() - given)
        if unknown:
            raise ValueError(f"{what}: expected entries among {sorted(self.arrays)}, got {unknown}")
        if whole and missing:
            raise ValueError(f"{what}: expected the entries {sorted(self.arrays)}, missing {missing}")
        found = {}
        for name, value in given.items():
            own, label = self.arrays[name], f"{what}[{name!r}]"
            if own.dtype.kind in "fc":
                found[name] = checks.float_array(
                    label, value, own.shape, own.dtype, allow_complex=own.dtype.kind == "c"
                )
                continue
            found[name] = checks.as_numpy(label, value)
            if found[name].shape != own.shape or found[name].dtype != own.dtype:
                raise ValueError(
                    f"{label}: expected shape {own.shape} and dtype {own.dtype}, got {found[name].shape} and "
                    f"{found[name].dtype}; convert it, nothing is broadcast or promoted silently"
                )
        return found

    @property
    def guarded(self) -> dict[str, np.ndarray]:
        """Views that nobody can write to."""
        views = {name: view.view() for name, view in self.arrays.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    def checksum(self) -> int:
        """Of all bytes."""
        return zlib.crc32(self.memory.data)

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
    scratch_bytes : int
        Bytes of all arrays beside blocks, parameters and gradients: factors, products, masks of one step.
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
        self.scratch_bytes = 0
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

    def scratch(self, array: np.ndarray) -> np.ndarray:
        """Count an array that one step is worked out in."""
        self.scratch_bytes += array.nbytes
        return array

    def state_after(self, step: int) -> State:
        """h_k in `after` as others may see it: views that nobody can write to."""
        return self.after.guarded

    def initial_gradients(self) -> State:
        """dL/dh_0, once step 1 was pulled back."""
        return self.adjoint.copies()


class ContractCore(WorkingCore):
    """The core of any model: `step` and `step_vjp`, with the state after a step for its tape.

    The model allocates what it likes inside a step; what is kept between steps is here.  Its functions see
    arrays that cannot be written to, and what they return must fit.  A step that is run again has to give the
    same bits: on the way back the state that step k + 1 was pulled back from is compared with the one that
    step k ended in, by checksums.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets
        As `model.check` returned them.

    Raises
    ------
    TypeError
        If the model's initial state is no dict of arrays of numbers.

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
        layout = layout_of(self._own_start(parameters))
        super().__init__(layout, layout, layout, parameters, len(inputs))
        self._started_from: int | None = None
        self._given = {name: value.view() for name, value in parameters.items()}
        for view in self._given.values():
            view.flags.writeable = False

    def _own_start(self, parameters: Parameters) -> State:
        state = self.model.initial_state(parameters, len(self.inputs[0]))
        name = f"{type(self.model).__name__}.initial_state"
        if not isinstance(state, Mapping):
            raise TypeError(f"model: {name} should return a dict of arrays, got a {type(state).__name__}")
        for entry, value in state.items():
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
                raise TypeError(
                    f"model: {name} should return arrays of numbers, got {value!r} for {entry!r}; what a "
                    "step needs from the past has to be in arrays, to be kept in slots"
                )
        return state

    def start(self, state: State | None) -> None:
        """See `WorkingCore.start`."""
        own = self._own_start(self.parameters)
        if isinstance(state, Mapping):
            sums = {name: own[name] for name in self.model.accumulators if name in own}
            own = sums | dict(state)
        elif state is not None:
            own = state
        self.before.load(self.before.checked("initial_state", own), "initial_state")

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        following = self._pure(self.model.step, self.before.guarded, self._input(step))
        self.after.load(following, f"model: the state after step {step}")
        np.copyto(self.tape.memory, self.after.memory)

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        np.copyto(self.after.memory, self.tape.memory)

    def seed(self, adjoint: State | None = None) -> None:
        """See `WorkingCore.seed`."""
        arguments = self.after.guarded, self.targets, self.steps
        cotangent, direct = self._pair(self.model.loss_gradient, *arguments)
        self.adjoint.load(cotangent, "model: the gradient of the loss")
        for name, value in (adjoint or {}).items():
            self.adjoint.arrays[name] += value
        for gradient in self.gradients.values():
            gradient.fill(0)
        self._add(direct, "model: the gradient of the loss with respect to parameters")
        self.loss = self._pure(self.model.loss, *arguments)
        self._started_from = None

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`.

        Parameters
        ----------
        step : int
            k, from 1.

        Raises
        ------
        TypeError, ValueError
            If the model gave another state when it ran the step again, writes to what it is given, or returns
            arrays of other names, shapes or dtypes.
        """
        if self._started_from not in (None, self.after.checksum()):
            raise ValueError(
                f"model: {type(self.model).__name__}.step gave another state at step {step} when it was run "
                "again; a step may depend on its arguments only: take random numbers from a seed and a step "
                "count in the state, keep nothing in the model"
            )
        self._started_from = self.before.checksum()
        arguments = self.before.guarded, self._input(step), self.adjoint.guarded
        cotangent, share = self._pair(self.model.step_vjp, *arguments)
        self.adjoint.load(cotangent, f"model: the adjoint before step {step}")
        self._add(share, f"model: the gradient of step {step}")

    def _add(self, share: Mapping[str, np.ndarray], what: str) -> None:
        """Add to the gradients; parameters may be left out."""
        if not isinstance(share, Mapping):
            raise TypeError(f"{what}: expected a dict of arrays, got a {type(share).__name__}")
        for name, value in share.items():
            if name not in self.gradients:
                raise ValueError(f"{what}: expected parameters among {sorted(self.gradients)}, got {name!r}")
            own = self.gradients[name]
            if not isinstance(value, (np.ndarray, np.generic)):
                raise TypeError(f"{what}, {name!r}: expected an array, got {value!r}")
            if value.shape != own.shape or value.dtype != own.dtype:
                raise ValueError(
                    f"{what}, {name!r}: expected shape {own.shape} and dtype {own.dtype} as of the "
                    f"parameter, got {value.shape} and {value.dtype}"
                )
            own += value

    def _input(self, step: int) -> Any:
        """What the step sees; arrays cannot be written to."""
        value = self.inputs[step - 1]
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        return value

    def _pair(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        """What goes back to the state, and to the parameters."""
        returned = self._pure(function, *arguments)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise ValueError(
                f"model: {type(self.model).__name__}.{function.__name__} should return a pair, an adjoint of "
                f"the state and gradients of parameters, got a {type(returned).__name__}"
            )
        return returned

    def _pure(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the model; one that writes to what it was given is named."""
        try:
            return function(self._given, *arguments)
        except Exception as error:  # NumPy's ValueError, or what Numba raises while it compiles
            if "read-only" not in str(error) and "Cannot modify readonly" not in str(error):
                raise
            raise ValueError(
                f"model: {type(self.model).__name__}.{function.__name__} writes to the parameters, state, "
                "input or cotangent that it was given; a step that is run again needs them unchanged: return "
                "new arrays instead"
            ) from error
