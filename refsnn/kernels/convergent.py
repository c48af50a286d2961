"""What a compiled relaxation is told of a network: arrays and equations, nothing else.

`refsnn.kernels.cpu.relaxation` and `refsnn.kernels.cuda.relaxation` are twins by name; the specification
they follow is the step of `refsnn.models.convergent_network`, in a loop over time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refsnn.equations.relaxation import UnitEquations


class Coupling(NamedTuple):
    """A coupling between two layers that move.

    Attributes
    ----------
    post, pre : int
        The layers, post < pre.
    weight : ndarray, (d_post, d_pre) or (C_post, C_pre, F, F)
        What post hears pre through.
    feedback : ndarray, like `weight`
        What pre hears post through, by the adjoint; the same array where weights are tied.
    padding, window : int
        Of a convolution; 0 and 1 in a dense coupling.
    pooling : {"max", "average", "none"}
        Of a convolution; "none" in a dense coupling.
    """

    post: int
    pre: int
    weight: np.ndarray
    feedback: np.ndarray
    padding: int = 0
    window: int = 1
    pooling: str = "none"


class Relaxing(NamedTuple):
    """A network with everything that stands still during a relaxation.

    Attributes
    ----------
    units : tuple of UnitEquations
        One a layer.
    couplings : tuple of Coupling
        In the order of the model; those that read the input are in the drive.
    drive : tuple of ndarray, (B, *shape of the layer)
        Biases and what the input sends, contiguous.
    step_size : float
        epsilon.
    """

    units: tuple[UnitEquations, ...]
    couplings: tuple[Coupling, ...]
    drive: tuple[np.ndarray, ...]
    step_size: float


class Nudge(NamedTuple):
    """The force on layer 0: amount * (y - p), through W_out where there is a read-out.

    Attributes
    ----------
    amount : float or complex
        beta.
    targets : ndarray, (B, outputs)
        y.
    softmax : bool
        Whether p is the softmax of the outputs, or the outputs themselves.
    readout_weight : ndarray, (outputs, units of layer 0), or None
        W_out; without it the outputs are layer 0.
    readout_bias : ndarray, (outputs,), or None
        b_out.
    """

    amount: complex
    targets: np.ndarray
    softmax: bool = False
    readout_weight: np.ndarray | None = None
    readout_bias: np.ndarray | None = None
