"""Prototypical networks: s <- sigma(W s + ...), the usual discrete-time recurrence (Ernoult et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from refsnn import checks
from refsnn.equations.activations import identity, identity_slope
from refsnn.equations.relaxation import UnitEquations, prototypical_unit
from refsnn.models.convergent_network import ConvergentNetwork


@dataclass(frozen=True)
class PrototypicalNetwork(ConvergentNetwork):
    """s <- (1 - epsilon) s + epsilon sigma(u), nudged outside (E16) or inside (E17) of sigma.

    Phi = sum of s_post . (W s_pre + b) is a primitive function only if sigma is ignored; the true Jacobian
    (1 - epsilon) I + epsilon D W, D = diag sigma'(u), is not symmetric.

    Parameters
    ----------
    widths, couplings, activation, tied, edge, convolutions, image, loss_function, readout
        As in `CoupledLayers`.
    step_size : float
        epsilon, by default 1: the paper's map.
    nudge_placement : {"outside", "inside"}
        Whether the nudge is added after the activation (the 2019 paper) or to its argument (later work).
    output : {"sigma", "linear"}
        Whether the output layer has the activation too, or none.

    Examples
    --------
    >>> import numpy as np
    >>> network = PrototypicalNetwork(widths=(2, 3, 4))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> state = network.initial_state(parameters, batch=1)
    >>> {name: array.shape for name, array in network.step(parameters, state, np.ones((1, 4))).items()}
    {'layer.0': (1, 2), 'layer.1': (1, 3)}

    The convolutional network of the 2019 paper:

    >>> from refsnn.models.convolution import Convolution
    >>> network = PrototypicalNetwork(
    ...     (10, 64, 32, 1), activation="hardsigm", convolutions=[Convolution(5)] * 2, image=(28, 28))
    >>> network.shapes
    ((10,), (64, 4, 4), (32, 12, 12), (1, 28, 28))
    """

    nudge_placement: str = "outside"
    output: str = "sigma"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("nudge_placement", self.nudge_placement, ("outside", "inside"))
        checks.choice("output", self.output, ("sigma", "linear"))

    def unit(self, layer: int) -> UnitEquations:
        """(E16) or (E17) with sigma, or with no activation where the output is linear."""
        if layer == 0 and self.output == "linear":
            return prototypical_unit(identity, identity_slope, self.nudge_placement)
        functions = self.functions
        slope = functions.slope if self.edge == "closed" else functions.slope_open
        return prototypical_unit(functions.value, slope, self.nudge_placement)
