"""Gated recurrent units: one number a unit, of which a gate says how much is replaced.

r, z = logistic(W_x x_k + b_x + W_h h_{k-1} + b_h),  q = (W_h h_{k-1} + b_h)_n,
n = tanh((W_x x_k + b_x)_n + r q),  h_k = (1 - z) n + z h_{k-1},       rows in the order r, z, n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from refsnn.equations.recurrent import gru_candidate, gru_hidden, logistic, logistic_slope, tanh_slope_of
from refsnn.models.contract import Parameters, State
from refsnn.models.recurrent.layered import Layer, LayeredCore, LayeredNetwork, UnitLayout


class GatedRecurrentUnitCore(LayeredCore):
    """The working core of a `GatedRecurrentUnit`; the tape is r, z, n, q and h_k.

    h_k follows from the others and h_{k-1}, but is kept: a run goes on from a tape alone.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`.
    """

    def activate(self, layer: Layer) -> None:
        """r, z, n, q and h_k."""
        self.kernels.gru_gates(
            layer.drive, layer.recurrent, layer.weights["input_bias"], layer.weights["recurrent_bias"],
            layer.tape["gates"],
        )  # fmt: skip
        self.kernels.gru_hidden(layer.tape["gates"], layer.before["hidden"], layer.tape["hidden"])

    def settle(self, layer: Layer) -> None:
        """h_k is on the tape."""
        np.copyto(layer.after["hidden"], layer.tape["hidden"])

    def pull_back(self, layer: Layer) -> np.ndarray:
        """The adjoints of the two products, and d z."""
        self.kernels.gru_backward(
            layer.tape["gates"], layer.before["hidden"], layer.adjoint["hidden"], layer.drive, layer.recurrent
        )
        return layer.recurrent


@dataclass(frozen=True)
class GatedRecurrentUnit(LayeredNetwork):
    """A stack of GRU layers, with a linear read-out of h_k of the last.

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
    >>> network = GatedRecurrentUnit((2, 8, 3))
    >>> network.parameter_shapes()["layer.1.recurrent_bias"]
    (24,)
    """

    layout: ClassVar[UnitLayout] = UnitLayout(
        3, ("input_bias", "recurrent_bias"), {"hidden": 1}, {"gates": 4, "hidden": 1}
    )
    core: ClassVar[type[LayeredCore]] = GatedRecurrentUnitCore

    def push_layer(
        self, weights: Parameters, past: State, tangent: State, drives: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, State]:
        """dn = (1 - n^2)(da_n + dr q + r dq),  dh_k = dz (h_{k-1} - n) + (1 - z) dn + z dh_{k-1}."""
        one = drives[0].real.dtype.type(1)
        x_r, x_z, x_n = np.split(drives[0], 3, axis=-1)
        h_r, h_z, q = np.split(drives[1], 3, axis=-1)
        moved_x_r, moved_x_z, moved_x_n = np.split(drives[2], 3, axis=-1)
        moved_h_r, moved_h_z, moved_q = np.split(drives[3], 3, axis=-1)
        r, z = logistic(x_r + h_r, one), logistic(x_z + h_z, one)
        n = gru_candidate(x_n, r, q)
        moved_r = logistic_slope(r, one) * (moved_x_r + moved_h_r)
        moved_z = logistic_slope(z, one) * (moved_x_z + moved_h_z)
        moved_n = tanh_slope_of(n, one) * (moved_x_n + moved_r * q + r * moved_q)
        hidden_moved = moved_z * (past["hidden"] - n) + (one - z) * moved_n + z * tangent["hidden"]
        return gru_hidden(past["hidden"], z, n, one), {"hidden": hidden_moved}
