"""Prototypical networks: s <- sigma(W s + ...), the usual discrete-time recurrence (Ernoult et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.relaxation import leaky_step, leaky_step_slopes, nudged_inside, nudged_outside
from refsnn.models.contract import Parameters, State
from refsnn.models.coupled_layers import CoupledLayers, working_one
from refsnn.models.couplings import Arrays


@dataclass(frozen=True)
class PrototypicalNetwork(CoupledLayers):
    """s <- (1 - epsilon) s + epsilon sigma(u), nudged outside (E16) or inside (E17) of sigma.

    Phi = sum of s_post . (W s_pre + b) is a primitive function only if sigma is ignored; the true Jacobian
    (1 - epsilon) I + epsilon D W, D = diag sigma'(u), is not symmetric.

    Parameters
    ----------
    widths, couplings, activation, tied, edge
        As in `CoupledLayers`.
    step_size : float
        epsilon, by default 1: the paper's map.
    nudge_placement : {"outside", "inside"}
        Whether the nudge is added after the activation (the 2019 paper) or to its argument (later work).

    Examples
    --------
    >>> network = PrototypicalNetwork(widths=(2, 3, 4))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> state = network.initial_state(parameters, batch=1)
    >>> {name: array.shape for name, array in network.step(parameters, state, np.ones((1, 4))).items()}
    {'layer.0': (1, 2), 'layer.1': (1, 3)}
    """

    nudge_placement: str = "outside"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("nudge_placement", self.nudge_placement, ("outside", "inside"))

    def rates(self, state: State, inputs: np.ndarray | None = None) -> Arrays:
        """The states themselves: couplings read s and x, not sigma of them."""
        rates = {layer: state[name] for layer, name in enumerate(self.layers)}
        if inputs is not None:
            rates[self.depth] = self.input_rate(inputs)
        return rates

    def _slope(self, potential: np.ndarray) -> Any:
        """sigma'(u), a derivative that backpropagation takes: `edge` decides on the kinks."""
        return self.derivative(self.functions, potential)

    def step(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        targets: np.ndarray | None = None,
        nudge: complex = 0.0,
        drive: Arrays | None = None,
    ) -> State:
        """(E16) or (E17), all layers at once; nudged if `targets` are given.

        Parameters
        ----------
        parameters, state : dict of ndarray
            Parameters by name; states (B, d_n).
        inputs : ndarray, shape (B, d_N)
            The static input x.
        targets : ndarray, shape (B, d_0), optional
            y; without it the step is free.
        nudge : float or complex
            beta.
        drive : dict, optional
            What `static_drive` gave for these parameters and inputs.

        Returns
        -------
        dict of ndarray
            The next state.
        """
        drive = self.static_drive(parameters, inputs) if drive is None else drive
        potentials = self.wiring.potentials(parameters, self.rates(state), drive)
        after = {}
        for layer, name in enumerate(self.layers):
            unit, potential = state[name], potentials[layer]
            one = working_one(unit)
            force = self.force(layer, unit, targets, nudge)
            if force is None:
                pull = self.functions.value(potential, one)
            elif self.nudge_placement == "inside":
                pull = self.functions.value(nudged_inside(potential, force), one)
            else:
                pull = nudged_outside(self.functions.value(potential, one), force)
            after[name] = leaky_step(unit, pull, self.step_size, one)
        return after

    def step_vjp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None = None,
    ) -> tuple[State, Parameters]:
        """(E22): pull dL/ds_{t+1} back through one free step.

        Parameters
        ----------
        parameters, state, inputs
            As in `step`; the step is linearised at `state`.
        cotangent : dict of ndarray
            lambda^n = dL/ds^n_{t+1}, (B, d_n); the batch mean's 1/B is already in it.
        drive : dict, optional
            What `static_drive` gave for these parameters and inputs.

        Returns
        -------
        dict of ndarray, dict of ndarray
            dL/ds_t, and this step's share of dL/dtheta, summed over the batch.
        """
        drive = self.static_drive(parameters, inputs) if drive is None else drive
        rates = self.rates(state, inputs)
        potentials = self.wiring.potentials(parameters, rates, drive)
        own: State = {}
        delta: Arrays = {}
        for layer, name in enumerate(self.layers):
            by_state, by_pull = leaky_step_slopes(self.step_size, working_one(state[name]))
            own[name] = by_state * cotangent[name]
            delta[layer] = by_pull * (self._slope(potentials[layer]) * cotangent[name])
        for layer, share in self.wiring.pull_back(parameters, delta).items():
            own[self.layers[layer]] = own[self.layers[layer]] + share
        return own, self.wiring.parameter_share(delta, rates)

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Push tangents through one free step; leading axes of the tangents broadcast.

        Parameters
        ----------
        parameters, state, inputs
            As in `step`; the step is linearised at `state`.
        tangent : dict of ndarray
            (..., B, d_n).
        parameter_tangent : dict of ndarray
            (..., *shape of the parameter).

        Returns
        -------
        dict of ndarray
            Tangent of the next state, (..., B, d_n).
        """
        epsilon = self.step_size
        rates = self.rates(state, inputs)
        rate_tangents = {layer: tangent[name] for layer, name in enumerate(self.layers)}
        arriving = self.wiring.potential_tangents(parameters, rates, rate_tangents, parameter_tangent)
        potentials = self.wiring.potentials(parameters, rates, self.static_drive(parameters, inputs))
        return {
            name: tangent[name] + epsilon * (self._slope(potentials[layer]) * arriving[layer] - tangent[name])
            for layer, name in enumerate(self.layers)
        }
