"""Energy-based networks: Euler steps down an energy E = |s|^2 / 2 - Phi (Ernoult et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.activations import ACTIVATIONS, hardsigm
from refsnn.equations.relaxation import energy_pull, energy_pull_slopes, leaky_step, leaky_step_slopes
from refsnn.models.contract import Parameters, State
from refsnn.models.coupled_layers import CoupledLayers, working_one
from refsnn.models.couplings import Arrays


@dataclass(frozen=True)
class EnergyBasedNetwork(CoupledLayers):
    """s <- (1 - epsilon) s + epsilon (h'(s) u + nudge), (E13).

    Parameters
    ----------
    widths, couplings, activation, tied, edge
        As in `CoupledLayers`.
    step_size : float
        epsilon, by default 0.2.
    output : {"rho", "linear", "official"}
        How the output layer acts.  "rho": h_0 = rho, gate rho', like the hidden layers.  "linear":
        h_0 = id, gate 1.  "official": h_0 = rho but gate 1, the mixture of the authors' layered
        code, which is no gradient system.
    clamp : bool
        Whether states are clamped to [0, 1] after each step, as the papers do in training.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("output", self.output, ("rho", "linear", "official"))
        checks.instance("clamp", self.clamp, bool, "False")

    @property
    def holomorphic(self) -> bool:
        """Clamping compares, so a clamped network is not holomorphic."""
        return super().holomorphic and not self.clamp

    # ---------------------------------------------------------------- h_n, its derivative, and the gate m_n

    def input_rate(self, inputs: np.ndarray) -> np.ndarray:
        """h_N(x) = rho(x): energy-based networks read the input through the activation."""
        return self.functions.value(inputs, working_one(inputs))

    def rates(self, state: State, inputs: np.ndarray | None = None) -> Arrays:
        """h_n(s^n) for every layer, and h_N(x) under key N if `inputs` are given."""
        rates = {}
        for layer, name in enumerate(self.layers):
            linear = layer == 0 and self.output == "linear"
            unit = state[name]
            rates[layer] = unit if linear else self.functions.value(unit, working_one(unit))
        if inputs is not None:
            rates[self.depth] = self.input_rate(inputs)
        return rates

    def _gate(self, layer: int, unit: np.ndarray) -> Any:
        """m_n: part of the drive, so the hard sigmoid's gate is closed."""
        one = working_one(unit)
        return one if layer == 0 and self.output != "rho" else self.functions.slope(unit, one)

    def _gate_slope(self, layer: int, unit: np.ndarray) -> Any:
        """m_n'."""
        one = working_one(unit)
        return one - one if layer == 0 and self.output != "rho" else self.functions.curvature(unit, one)

    def _rate_slope(self, layer: int, unit: np.ndarray) -> Any:
        """h_n', a derivative that backpropagation takes: `edge` decides on the kinks."""
        if layer == 0 and self.output == "linear":
            return working_one(unit)
        return self.derivative(self.functions, unit)

    def _clamp_slope(self, before: np.ndarray) -> Any:
        """Derivative of the clamp, a hard sigmoid, at what the step gave before it."""
        return self.derivative(ACTIVATIONS["hardsigm"], before)

    # ---------------------------------------------------------------- the step and its derivatives

    def step(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        targets: np.ndarray | None = None,
        nudge: complex = 0.0,
        drive: Arrays | None = None,
    ) -> State:
        """(E13), all layers at once; nudged if `targets` are given.

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
        after = self._before_clamp(parameters, state, inputs, targets, nudge, drive)
        if self.clamp:
            after = {name: hardsigm(unit, working_one(unit)) for name, unit in after.items()}
        return after

    def _before_clamp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        targets: np.ndarray | None,
        nudge: complex,
        drive: Arrays | None,
    ) -> State:
        drive = self.static_drive(parameters, inputs) if drive is None else drive
        potentials = self.wiring.potentials(parameters, self.rates(state), drive)
        after = {}
        for layer, name in enumerate(self.layers):
            unit = state[name]
            pull = energy_pull(self._gate(layer, unit), potentials[layer])
            force = self.force(layer, unit, targets, nudge)
            pull = pull if force is None else pull + force
            after[name] = leaky_step(unit, pull, self.step_size, working_one(unit))
        return after

    def step_vjp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None = None,
    ) -> tuple[State, Parameters]:
        """(E23): pull dL/ds_{t+1} back through one free step.

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
        if self.clamp:
            before = self._before_clamp(parameters, state, inputs, None, 0.0, drive)
            cotangent = {name: self._clamp_slope(before[name]) * cotangent[name] for name in self.layers}
        own: State = {}
        delta: Arrays = {}
        for layer, name in enumerate(self.layers):
            unit = state[name]
            by_state, by_pull = leaky_step_slopes(self.step_size, working_one(unit))
            by_gate, by_potential = energy_pull_slopes(
                self._gate(layer, unit), self._gate_slope(layer, unit), potentials[layer]
            )
            own[name] = by_state * cotangent[name] + by_pull * (cotangent[name] * by_gate)
            delta[layer] = by_pull * (by_potential * cotangent[name])
        back = self.wiring.pull_back(parameters, delta)
        for layer, name in enumerate(self.layers):
            if layer in back:
                own[name] = own[name] + self._rate_slope(layer, state[name]) * back[layer]
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
        rate_tangents = {
            layer: self._rate_slope(layer, state[name]) * tangent[name]
            for layer, name in enumerate(self.layers)
        }
        arriving = self.wiring.potential_tangents(parameters, rates, rate_tangents, parameter_tangent)
        potentials = self.wiring.potentials(parameters, rates, self.static_drive(parameters, inputs))
        pushed = {}
        for layer, name in enumerate(self.layers):
            unit, moved = state[name], tangent[name]
            gate, gate_tangent = self._gate(layer, unit), self._gate_slope(layer, unit) * moved
            pushed[name] = moved + epsilon * (
                gate_tangent * potentials[layer] + gate * arriving[layer] - moved
            )
        if self.clamp:
            before = self._before_clamp(parameters, state, inputs, None, 0.0, None)
            pushed = {name: pushed[name] * self._clamp_slope(before[name]) for name in self.layers}
        return pushed
