"""Stacks of recurrent layers with a linear read-out of the last one: all but what one unit computes.

    a_k = W_x (h_k of the layer below, or x_k) + W_h h_{k-1} + b,    h_k = unit(a_k, ...),
    y_k = W_o h_k + b_o.

Back through a step, with e = dl_k/dy_k and d = dL/dh_k of a layer,

    dW_o += e^T h_k, db_o += e, d += e W_o        at the last layer,
    dW_x += da^T below, dW_h += da^T h_{k-1}, db += da,
    da W_x is added to d of the layer below (dx_k at the first), and da W_h goes to step k - 1.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.recurrent.cell import LOSS_SUM, RecurrentModel, affine_tangent, last_names
from refsnn.models.recurrent.core import RecurrentCore
from refsnn.models.sequences import LabelledStep, StepTargets


class UnitLayout(NamedTuple):
    """What a unit has; numbers are in units of the layer's width.

    Attributes
    ----------
    drives : int
        Numbers that the matrices give it: gates and candidates.
    biases : tuple of str
        Last names of its biases.
    state, tape : dict of str to int
        Entries of h_k and of the tape.
    """

    drives: int
    biases: tuple[str, ...]
    state: dict[str, int]
    tape: dict[str, int]


@dataclass(frozen=True)
class LayeredNetwork(RecurrentModel):
    """A stack of recurrent layers.

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

    layout: ClassVar[UnitLayout]
    core: ClassVar[type[LayeredCore]]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """`layer.1`, `layer.2`, ..."""
        return tuple(f"layer.{index}" for index in range(1, len(self.widths) - 1))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer.1.input_weight`, `layer.1.recurrent_weight`, its biases, ..., `readout.bias`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for prefix, below, width in zip(self.prefixes, self.widths, self.widths[1:], strict=False):
            rows = self.layout.drives * width
            shapes[f"{prefix}.input_weight"] = (rows, below)
            shapes[f"{prefix}.recurrent_weight"] = (rows, width)
            shapes |= {f"{prefix}.{bias}": (rows,) for bias in self.layout.biases}
        shapes["readout.weight"], shapes["readout.bias"] = self.widths[-1:-3:-1], self.widths[-1:]
        return shapes

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """`layer.1.hidden` (B, n), ..."""
        return self._shapes(batch, self.layout.state)

    def tape_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """`layer.1.gates` (B, 4n), ..."""
        return self._shapes(batch, self.layout.tape)

    def _shapes(self, batch: int, entries: dict[str, int]) -> dict[str, tuple[int, ...]]:
        return {
            f"{prefix}.{name}": (batch, count * width)
            for prefix, width in zip(self.prefixes, self.widths[1:-1], strict=True)
            for name, count in entries.items()
        }

    def working_core(
        self,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        *,
        backend: str = "cpu",
        input_gradients: bool = False,
    ) -> LayeredCore:
        """One step at a time in memory that is allocated once.

        Parameters
        ----------
        parameters, inputs, targets
            As `check` returned them; complex parameters with "plain" only, and None for no loss.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.
        input_gradients : bool
            Whether dL/dx is wanted.

        Returns
        -------
        LayeredCore
        """
        return self.core(self, parameters, inputs, targets, backend, input_gradients)

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """y of the last state, (B, outputs)."""
        return (
            state[f"{self.prefixes[-1]}.hidden"] @ parameters["readout.weight"].T + parameters["readout.bias"]
        )

    @abstractmethod
    def push_layer(
        self, weights: Parameters, past: State, tangent: State, drives: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, State]:
        """h_k of one layer, and the tangents of its state.

        Parameters
        ----------
        weights : dict of str to ndarray
            Parameters of the layer, by last names.
        past, tangent : dict of str to ndarray
            Its state before the step, and the tangent of that.
        drives : tuple of ndarray
            W_x below and W_h h_{k-1} with their biases, then the tangents of the two.

        Returns
        -------
        hidden : ndarray, (B, n)
            h_k.
        tangents : dict of str to ndarray, (..., B, n)
            Of its state after the step.
        """

    def recurrent_mask(self, layer: int, state: State) -> np.ndarray | None:
        """What h_{k-1} is multiplied with before W_h."""
        return None

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray | LabelledStep,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step`, from the input up; tangents may have an axis in front (directions)."""
        below: np.ndarray = inputs.value if isinstance(inputs, LabelledStep) else inputs
        moved, following = np.zeros_like(below), zeros_like(state)
        first_bias, last_bias = self.layout.biases[0], self.layout.biases[-1]
        for layer, prefix in enumerate(self.prefixes):
            weights, directions = last_names(prefix, parameters), last_names(prefix, parameter_tangent)
            past, past_moved = last_names(prefix, state), last_names(prefix, tangent)
            hidden, hidden_moved = past["hidden"], past_moved["hidden"]
            mask = self.recurrent_mask(layer, state)
            if mask is not None:
                hidden, hidden_moved = mask * hidden, mask * hidden_moved
            into, back = weights["input_weight"], weights["recurrent_weight"]
            drive = below @ into.T + weights[first_bias]
            drive_moved = affine_tangent(below, moved, into, directions["input_weight"])
            drive_moved = drive_moved + directions[first_bias][..., None, :]
            recurrent = hidden @ back.T
            recurrent_moved = affine_tangent(hidden, hidden_moved, back, directions["recurrent_weight"])
            if last_bias != first_bias:
                recurrent = recurrent + weights[last_bias]
                recurrent_moved = recurrent_moved + directions[last_bias][..., None, :]
            below, entries = self.push_layer(
                weights, past, past_moved, (drive, recurrent, drive_moved, recurrent_moved)
            )
            moved = entries["hidden"]
            following |= {f"{prefix}.{name}": value for name, value in entries.items()}
        readout, directions = parameters["readout.weight"], last_names("readout", parameter_tangent)
        outputs = below @ readout.T + parameters["readout.bias"]
        outputs_moved = affine_tangent(below, moved, readout, directions["weight"])
        outputs_moved = outputs_moved + directions["bias"][..., None, :]
        change = (self.step_errors(outputs, inputs) * outputs_moved).sum(axis=(-2, -1))
        following[LOSS_SUM] = tangent[LOSS_SUM] + change[..., None]
        return following


class Layer:
    """One layer of a working core: views of its blocks, and memory to work in.

    Parameters
    ----------
    prefix : str
        Such as "layer.1".
    core : RecurrentCore
        Whose layer it is.
    layout : UnitLayout
        What its units have.
    """

    def __init__(self, prefix: str, core: RecurrentCore, layout: UnitLayout) -> None:
        self.into_name, self.back_name = f"{prefix}.input_weight", f"{prefix}.recurrent_weight"
        self.bias_names = tuple(f"{prefix}.{bias}" for bias in layout.biases)
        self.weights = last_names(prefix, core.parameters)
        self.before, self.after = (
            last_names(prefix, core.before.arrays),
            last_names(prefix, core.after.arrays),
        )
        self.tape, self.adjoint = (
            last_names(prefix, core.tape.arrays),
            last_names(prefix, core.adjoint.arrays),
        )
        self.into, self.back = self.weights["input_weight"], self.weights["recurrent_weight"]
        self.into_transposed, self.back_transposed = self.into.T, self.back.T
        batch, width = self.before["hidden"].shape
        # on the way forward the two products, on the way back their adjoints
        self.drive, self.recurrent = (
            core.scratch(np.zeros((batch, layout.drives * width), core.dtype)) for _ in range(2)
        )
        self.heard = core.scratch(np.zeros((batch, width), core.dtype))
        self.mask = np.zeros((0, 0))


class LayeredCore(RecurrentCore):
    """The working core of a stack of layers.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`.
    """

    def __init__(
        self,
        model: LayeredNetwork,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        backend: str,
        input_gradients: bool,
    ) -> None:
        super().__init__(model, parameters, inputs, targets, backend, input_gradients)
        self.model = model
        self.layers = [Layer(prefix, self, model.layout) for prefix in model.prefixes]
        self._outputs = self.scratch(np.zeros_like(self.errors))
        self._readout = self.parameters["readout.weight"]
        # spread over the batch once: NumPy allocates a buffer for every sum of a matrix and a row
        self._readout_bias = self.scratch(np.tile(self.parameters["readout.bias"], (self.batch, 1)))
        self._readout_transposed = self._readout.T

    # -- what one unit does ---------------------------------------------------------------------------

    @abstractmethod
    def activate(self, layer: Layer) -> None:
        """From the two products and the state before the step to the tape."""

    @abstractmethod
    def settle(self, layer: Layer) -> None:
        """From the tape to the state after the step."""

    @abstractmethod
    def pull_back(self, layer: Layer) -> np.ndarray:
        """From the adjoint of the state after the step to those of the two products.

        Afterwards they stand in `drive` and `recurrent` (one array, if they are the same: the one for W_h is
        returned), and the adjoint of the state before holds all but what passes W_h.
        """

    def prepare(self, step: int) -> None:
        """Whatever the number of the step says, before it is run in either direction."""

    def past(self, layer: Layer) -> np.ndarray:
        """What W_h is multiplied with."""
        return layer.before["hidden"]

    # -- one step -------------------------------------------------------------------------------------

    def read_out(self) -> np.ndarray:
        """y_k = W_o h_k + b_o."""
        np.dot(self.layers[-1].after["hidden"], self._readout_transposed, out=self._outputs)
        np.add(self._outputs, self._readout_bias, out=self._outputs)
        return self._outputs

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        self.prepare(step)
        below = self.input_of(step)
        for layer in self.layers:
            np.dot(below, layer.into_transposed, out=layer.drive)
            np.dot(self.past(layer), layer.back_transposed, out=layer.recurrent)
            self.activate(layer)
            self.settle(layer)
            below = layer.after["hidden"]

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        for layer in self.layers:
            self.settle(layer)

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        self.prepare(step)
        self._pull_back_loss(step)
        for index in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[index]
            lower = self.layers[index - 1] if index else None
            below = lower.after["hidden"] if lower else self.input_of(step)
            by_recurrent = self.pull_back(layer)
            self._add_product(layer.into_name, layer.drive, below)
            self._add_product(layer.back_name, by_recurrent, self.past(layer))
            self._add_sum(layer.bias_names[0], layer.drive)
            if len(layer.bias_names) > 1:
                self._add_sum(layer.bias_names[1], by_recurrent)
            if lower:
                np.dot(layer.drive, layer.into, out=lower.heard)
                np.add(lower.adjoint["hidden"], lower.heard, out=lower.adjoint["hidden"])
            elif self.input_gradients is not None:
                np.dot(layer.drive, layer.into, out=self.input_gradients[step - 1])
            self.send_back(layer, by_recurrent)

    def send_back(self, layer: Layer, by_recurrent: np.ndarray) -> None:
        """What passes W_h on the way to h_{k-1}."""
        np.dot(by_recurrent, layer.back, out=layer.heard)
        np.add(layer.adjoint["hidden"], layer.heard, out=layer.adjoint["hidden"])

    def _pull_back_loss(self, step: int) -> None:
        """l_k, and what it says of the read-out and of the last layer."""
        if self.targets is None:
            return
        self.loss += self.step_loss(step)
        top = self.layers[-1]
        self._add_product("readout.weight", self.errors, top.after["hidden"])
        self._add_sum("readout.bias", self.errors)
        np.dot(self.errors, self._readout, out=top.heard)
        np.add(top.adjoint["hidden"], top.heard, out=top.adjoint["hidden"])
