"""The simple recurrent network h_k = tanh(W_x x_k + W_h h_{k-1} + b), with dropout on h_{k-1}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from refsnn import checks
from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.recurrent import tanh_slope_of
from refsnn.models.contract import Parameters, State
from refsnn.models.recurrent.cell import STEP
from refsnn.models.recurrent.layered import Layer, LayeredCore, LayeredNetwork, UnitLayout
from refsnn.models.sequences import StepTargets


class CountedMasks:
    """Dropout masks that depend on a seed, a layer and a step only: run again, a step draws the same one.

    The generator is Philox, which makes a block of random bits of a key and a counter; the counter begins at
    (0, step, layer, 0), so that no two steps share a block.

    Parameters
    ----------
    probability : float
        p, of being dropped.
    seed : int
        The key.

    Examples
    --------
    >>> masks, kept = CountedMasks(0.5, seed=1), np.zeros((1, 4))
    >>> masks.fill(kept, 0, 3)
    >>> bool(set(kept.ravel()) <= {0.0, 2.0})
    True
    """

    def __init__(self, probability: float, seed: int) -> None:
        self.probability = probability
        self._bits = np.random.Philox(key=seed)
        self._generator = np.random.Generator(self._bits)
        self._fresh: Any = dict(self._bits.state)
        self._counter = np.zeros(4, np.uint64)
        self._fresh["state"] = {"counter": self._counter, "key": self._fresh["state"]["key"]}
        self._uniform: dict[tuple[int, ...], np.ndarray] = {}

    def fill(self, mask: np.ndarray, layer: int, step: int) -> None:
        """Write 0 with probability p, else 1 / (1 - p).

        Parameters
        ----------
        mask : ndarray, (B, n)
            Filled.
        layer, step : int
            Which layer, and which step.
        """
        if mask.shape not in self._uniform:
            self._uniform[mask.shape] = np.zeros(mask.shape)
        uniform = self._uniform[mask.shape]
        self._counter[1], self._counter[2] = step, layer
        self._bits.state = self._fresh
        self._generator.random(out=uniform)
        # 1 where u >= p, in operations that need no buffer to convert in
        np.subtract(uniform, self.probability, out=uniform)
        np.heaviside(uniform, 1.0, out=uniform)
        np.copyto(mask, uniform, casting="same_kind")
        np.multiply(mask, mask.dtype.type(1 / (1 - self.probability)), out=mask)


class TanhCore(LayeredCore):
    """The working core of a `TanhNetwork`.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`.
    """

    def __init__(
        self,
        model: TanhNetwork,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        backend: str,
        input_gradients: bool,
    ) -> None:
        super().__init__(model, parameters, inputs, targets, backend, input_gradients)
        self._masks = CountedMasks(model.dropout, model.dropout_seed) if model.dropout else None
        self._masked = (
            [self.scratch(np.zeros_like(layer.heard)) for layer in self.layers] if model.dropout else []
        )
        if model.dropout:
            for layer in self.layers:
                layer.mask = self.scratch(np.zeros_like(layer.heard, self.errors.real.dtype))
            drawn = {layer.heard.shape: layer.heard.size for layer in self.layers}
            self.scratch_bytes += sum(drawn.values()) * np.dtype(float).itemsize

    def prepare(self, step: int) -> None:
        """Draw M_k, and M_k h_{k-1}, of all layers."""
        if self._masks is not None:
            for index, layer in enumerate(self.layers):
                self._masks.fill(layer.mask, index, self._first_step + step)
                np.multiply(layer.mask, layer.before["hidden"], out=self._masked[index])

    def past(self, layer: Layer) -> np.ndarray:
        """h_{k-1}, or M_k h_{k-1}."""
        return self._masked[self.layers.index(layer)] if self._masked else layer.before["hidden"]

    def activate(self, layer: Layer) -> None:
        """h_k = tanh(a)."""
        self.kernels.tanh_forward(layer.drive, layer.recurrent, layer.weights["bias"], layer.tape["hidden"])

    def settle(self, layer: Layer) -> None:
        """The tape is h_k."""
        np.copyto(layer.after["hidden"], layer.tape["hidden"])

    def pull_back(self, layer: Layer) -> np.ndarray:
        """da = d (1 - h_k^2)."""
        self.kernels.tanh_backward(layer.tape["hidden"], layer.adjoint["hidden"], layer.drive)
        layer.adjoint["hidden"].fill(0)
        return layer.drive

    def send_back(self, layer: Layer, by_recurrent: np.ndarray) -> None:
        """M_k (da W_h)."""
        super().send_back(layer, by_recurrent)
        if self._masks is not None:
            np.multiply(layer.adjoint["hidden"], layer.mask, out=layer.adjoint["hidden"])


@dataclass(frozen=True)
class TanhNetwork(LayeredNetwork):
    """A stack of tanh layers, h_k = tanh(W_x x_k + W_h (M_k h_{k-1}) + b), y_k = W_o h_k + b_o.

    Parameters
    ----------
    widths : tuple of int
        Inputs, the recurrent layers from the input up, outputs.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out at each step; the loss of a sequence is the sum over its steps.
    dropout : float in [0, 1)
        Probability of an entry of M_k to be 0; the others are 1 / (1 - dropout).
    dropout_seed : int
        M_k depends on this number, the layer and k only.

    Raises
    ------
    TypeError, ValueError
        For values out of range.

    Examples
    --------
    >>> network, rng = TanhNetwork((2, 8, 3)), np.random.default_rng(0)
    >>> parameters = network.initialise(rng)
    >>> list(parameters)
    ['layer.1.input_weight', 'layer.1.recurrent_weight', 'layer.1.bias', 'readout.weight', 'readout.bias']
    >>> network.run(parameters, rng.random((5, 1, 2))).shape
    (5, 1, 3)
    """

    dropout: float = 0.0
    dropout_seed: int = 0

    layout: ClassVar[UnitLayout] = UnitLayout(1, ("bias",), {"hidden": 1}, {"hidden": 1})
    core: ClassVar[type[LayeredCore]] = TanhCore

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("dropout", self.dropout, 0, 1, high_open=True)
        checks.count("dropout_seed", self.dropout_seed, minimum=0)

    @property
    def counts_steps(self) -> bool:
        """With dropout."""
        return self.dropout > 0

    def recurrent_mask(self, layer: int, state: State) -> np.ndarray | None:
        """M_k."""
        if not self.dropout:
            return None
        hidden = state[f"{self.prefixes[layer]}.hidden"]
        mask = np.zeros(hidden.shape, hidden.real.dtype)
        CountedMasks(self.dropout, self.dropout_seed).fill(mask, layer, int(state[STEP][0]) + 1)
        return mask

    def push_layer(
        self, weights: Parameters, past: State, tangent: State, drives: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, State]:
        """dh_k = (1 - h_k^2) da."""
        drive, recurrent, drive_moved, recurrent_moved = drives
        hidden = hyperbolic_tangent(drive + recurrent)
        slope = tanh_slope_of(hidden, hidden.real.dtype.type(1))
        return hidden, {"hidden": slope * (drive_moved + recurrent_moved)}
