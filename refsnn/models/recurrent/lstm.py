"""Long short-term memory: two numbers a unit, one of which passes from step to step without a matrix.

i, f, o = logistic(a),  g = tanh(a),      a = W_x x_k + W_h h_{k-1} + b, rows in the order i, f, g, o,
c_k = f c_{k-1} + i g,  h_k = o tanh(c_k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.recurrent import (
    logistic,
    logistic_slope,
    lstm_cell,
    lstm_hidden,
    tanh_slope_of,
)
from refsnn.models.contract import Parameters, State
from refsnn.models.recurrent.layered import Layer, LayeredCore, LayeredNetwork, UnitLayout


class LongShortTermMemoryCore(LayeredCore):
    """The working core of a `LongShortTermMemory`; the tape is i, f, g, o and c_k.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`.
    """

    def activate(self, layer: Layer) -> None:
        """i, f, g, o and c_k."""
        self.kernels.lstm_gates(
            layer.drive, layer.recurrent, layer.weights["bias"], layer.before["cell"],
            layer.tape["gates"], layer.tape["cell"],
        )  # fmt: skip

    def settle(self, layer: Layer) -> None:
        """c_k, and h_k = o tanh(c_k)."""
        np.copyto(layer.after["cell"], layer.tape["cell"])
        self.kernels.lstm_hidden(layer.tape["gates"], layer.tape["cell"], layer.after["hidden"])

    def pull_back(self, layer: Layer) -> np.ndarray:
        """da of the four, and dL/dc_{k-1}."""
        self.kernels.lstm_backward(
            layer.tape["gates"], layer.tape["cell"], layer.before["cell"],
            layer.adjoint["hidden"], layer.adjoint["cell"], layer.drive,
        )  # fmt: skip
        layer.adjoint["hidden"].fill(0)
        return layer.drive


@dataclass(frozen=True)
class LongShortTermMemory(LayeredNetwork):
    """A stack of LSTM layers, with a linear read-out of h_k of the last.

    Parameters
    ----------
    widths : tuple of int
        Inputs, the recurrent layers from the input up, outputs.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out at each step; the loss of a sequence is the sum over its steps.

    Raises
    ------
    TypeError, ValueError
        For widths or a loss that are none.

    Examples
    --------
    >>> network, rng = LongShortTermMemory((2, 8, 8, 3)), np.random.default_rng(0)
    >>> parameters = network.initialise(rng)
    >>> parameters["layer.2.recurrent_weight"].shape, network.tape_shapes(batch=1)["layer.2.gates"]
    ((32, 8), (1, 32))
    """

    layout: ClassVar[UnitLayout] = UnitLayout(4, ("bias",), {"hidden": 1, "cell": 1}, {"gates": 4, "cell": 1})
    core: ClassVar[type[LayeredCore]] = LongShortTermMemoryCore

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64, gain: float = 1.0) -> Parameters:
        """As in `RecurrentModel`, with biases of 1 at the forget gates, so that cells remember at first.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain : float
            Of all weights but those of the read-out.

        Returns
        -------
        dict of str to ndarray
        """
        parameters = super().initialise(rng, dtype, gain)
        for prefix, width in zip(self.prefixes, self.widths[1:-1], strict=True):
            parameters[f"{prefix}.bias"][width : 2 * width] = 1
        return parameters

    def push_layer(
        self, weights: Parameters, past: State, tangent: State, drives: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, State]:
        """dc_k = df c_{k-1} + f dc_{k-1} + di g + i dg,  dh_k = do tanh(c_k) + o (1 - tanh^2 c_k) dc_k."""
        drive, recurrent, drive_moved, recurrent_moved = drives
        one = drive.real.dtype.type(1)
        a_i, a_f, a_g, a_o = np.split(drive + recurrent, 4, axis=-1)
        moved_i, moved_f, moved_g, moved_o = np.split(drive_moved + recurrent_moved, 4, axis=-1)
        i, f, g, o = logistic(a_i, one), logistic(a_f, one), hyperbolic_tangent(a_g), logistic(a_o, one)
        cell = lstm_cell(past["cell"], i, f, g)
        cell_moved = logistic_slope(f, one) * moved_f * past["cell"] + f * tangent["cell"]
        cell_moved = cell_moved + logistic_slope(i, one) * moved_i * g + i * tanh_slope_of(g, one) * moved_g
        squashed = hyperbolic_tangent(cell)
        hidden_moved = logistic_slope(o, one) * moved_o * squashed
        hidden_moved = hidden_moved + o * tanh_slope_of(squashed, one) * cell_moved
        return lstm_hidden(cell, o), {"hidden": hidden_moved, "cell": cell_moved}
