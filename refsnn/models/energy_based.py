"""Energy-based networks: Euler steps down an energy E = |s|^2 / 2 - Phi (Ernoult et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.equations.activations import ACTIVATIONS, Activation, identity, identity_curvature, identity_slope
from refsnn.equations.relaxation import UnitEquations, energy_based_unit
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.coupled_layers import working_one


@dataclass(frozen=True)
class EnergyBasedNetwork(ConvergentNetwork):
    """s <- (1 - epsilon) s + epsilon (h'(s) u + nudge), (E13).

    Parameters
    ----------
    widths, couplings, activation, tied, edge, convolutions, image, loss_function, readout
        As in `CoupledLayers`.
    step_size : float
        epsilon, by default 0.2.
    output : {"rho", "linear", "official"}
        How the output layer acts.  "rho": h_0 = rho, gate rho', like the hidden layers.  "linear":
        h_0 = id, gate 1.  "official": h_0 = rho but gate 1, the mixture of the authors' layered
        code, which is no gradient system.
    clamp : bool
        Whether states are clamped to [0, 1] after each step, as the papers do in training.
    gated : bool
        Whether the drive carries the gate h'(s).  Without it, as in the continuous vector field of the
        continual learning code (C-EP), the network is no gradient system even when tied.

    Examples
    --------
    >>> network = EnergyBasedNetwork(widths=(2, 3, 4))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> list(network.parameter_shapes())
    ['coupling.0.1.weight', 'coupling.0.1.bias', 'coupling.1.2.weight', 'coupling.1.2.bias']
    >>> state = network.initial_state(parameters, batch=1)
    >>> {name: array.shape for name, array in network.step(parameters, state, np.ones((1, 4))).items()}
    {'layer.0': (1, 2), 'layer.1': (1, 3)}
    """

    step_size: float = 0.2
    output: str = "rho"
    clamp: bool = False
    gated: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("output", self.output, ("rho", "linear", "official"))
        checks.instance("clamp", self.clamp, bool, "False")
        checks.instance("gated", self.gated, bool, "True")

    @property
    def holomorphic(self) -> bool:
        """Clamping compares, so a clamped network is not holomorphic."""
        return super().holomorphic and not self.clamp

    def not_holomorphic(self) -> str:
        """What keeps the step from being analytic, in words."""
        return "clamp=True" if self.clamp else super().not_holomorphic()

    def input_rate(self, inputs: np.ndarray) -> np.ndarray:
        """h_N(x) = rho(x): energy-based networks read the input through the activation."""
        return self.functions.value(inputs, working_one(inputs))

    def unit(self, layer: int) -> UnitEquations:
        """(E13) with h_n, and with the gate m_n, which is h_n' but where `output` or `gated` say otherwise.

        The gate of a hard sigmoid is part of the drive and closed; h' in the bracket of (E23) is a
        derivative that backpropagation takes, and follows `edge`.
        """
        rho, hard = self.functions, ACTIVATIONS["hardsigm"]
        linear = layer == 0 and self.output == "linear"
        rate, rate_slope = (identity, identity_slope) if linear else (rho.value, self._taken_slope(rho))
        gate, gate_slope = rho.slope, rho.curvature
        if not self.gated or (layer == 0 and self.output != "rho"):
            gate, gate_slope = identity_slope, identity_curvature
        clamp_slope = self._taken_slope(hard) if self.clamp else None
        return energy_based_unit(rate, rate_slope, gate, gate_slope, clamp_slope)

    def _taken_slope(self, function: Activation):  # type: ignore[no-untyped-def]
        return function.slope if self.edge == "closed" else function.slope_open
