"""Convergent networks with static input: the step, its derivatives, the loss, the primitive function.

Both families are this class with other unit equations.  One step lets every layer n receive

    u_n = sum of W h(s_pre) + b over its couplings, up and down,             (E12), (E15), (E19)

and then advance by itself, s_n <- advance(s_n, u_n, force); only layer 0 feels a force, and only in a nudged
phase: -beta dl/ds, with the error of the outputs y - s^0 (mean squared error) or y - softmax(s^0)
(cross-entropy), and through W_out where there is a read-out outside the dynamics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.equations.relaxation import UnitEquations, nudge_force
from refsnn.kernels.convergent import Coupling, Nudge, Relaxing
from refsnn.models.contract import Parameters, State
from refsnn.models.coupled_layers import CoupledLayers, largest_difference, working_one
from refsnn.models.coupling_maps import ConvolutionalMap, flat, unflat
from refsnn.models.couplings import Arrays
from refsnn.models.losses import cross_entropy_to, mean_squared_error, softmax


@dataclass(frozen=True)
class ConvergentNetwork(CoupledLayers, ABC):
    """A network that relaxes; `EnergyBasedNetwork` and `PrototypicalNetwork` say what its units compute."""

    @abstractmethod
    def unit(self, layer: int) -> UnitEquations:
        """The equations of a unit of `layer`."""

    def input_rate(self, inputs: np.ndarray) -> np.ndarray:
        """h_N(x), what the couplings read of the input: x itself, unless the family says otherwise."""
        return inputs

    def rates(self, state: State, inputs: np.ndarray | None = None) -> Arrays:
        """h_n(s^n) for every layer, and h_N(x) under key N if `inputs` are given."""
        rates = {
            layer: self.unit(layer).rate(state[name], working_one(state[name]))
            for layer, name in enumerate(self.layers)
        }
        if inputs is not None:
            rates[self.depth] = self.input_rate(inputs)
        return rates

    def static_drive(self, parameters: Parameters, inputs: np.ndarray) -> Arrays:
        """All that arrives at the layers but does not change during a relaxation.

        Biases, and W h_N(x) of the couplings that read the input: computed once a mini-batch.
        """
        return self.wiring.static_drive(parameters, self.input_rate(inputs))

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
        """F: one synchronous step of all layers, (E13), (E16) or (E17); nudged if `targets` are given.

        Parameters
        ----------
        parameters, state : dict of ndarray
            Parameters by name; states (B, *shape of the layer).
        inputs : ndarray, shape (B, d_N) or (B, C, H, W)
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
        rates = self.rates(state)
        records = self.wiring.records(parameters, rates)
        potentials = self.wiring.potentials(parameters, rates, drive, records)
        after = {}
        for layer, name in enumerate(self.layers):
            one = working_one(state[name])
            force = one - one
            if layer == 0 and targets is not None:
                force = self.force(parameters, state, targets, nudge)
            after[name] = self.unit(layer).advance(state[name], potentials[layer], force, self.step_size, one)
        return after

    def step_vjp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None = None,
    ) -> tuple[State, Parameters]:
        """(E22), (E23): pull dL/ds_{t+1} back through one free step.

        Parameters
        ----------
        parameters, state, inputs
            As in `step`; the step is linearised at `state`, pooling at the maxima of that state.
        cotangent : dict of ndarray
            lambda^n = dL/ds^n_{t+1}; the batch mean's 1/B is already in it.
        drive : dict, optional
            What `static_drive` gave for these parameters and inputs.

        Returns
        -------
        dict of ndarray, dict of ndarray
            dL/ds_t, and this step's share of dL/dtheta, summed over the batch.
        """
        own, delta = self._pulled_back(parameters, state, inputs, cotangent, drive)
        rates = self.rates(state, inputs)
        share = self.wiring.parameter_share(delta, rates, self.wiring.records(parameters, rates))
        return own, self._with_readout(parameters, share)

    def state_vjp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None = None,
    ) -> State:
        """J^T lambda alone, with J = dF/ds at `state`: `step_vjp` without the products for the parameters.

        Parameters
        ----------
        parameters, state, inputs, cotangent, drive
            As in `step_vjp`.

        Returns
        -------
        dict of ndarray
            dL/ds_t.
        """
        return self._pulled_back(parameters, state, inputs, cotangent, drive)[0]

    def _pulled_back(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        cotangent: State,
        drive: Arrays | None,
    ) -> tuple[State, Arrays]:
        """dL/ds_t, and dL/du of every layer."""
        drive = self.static_drive(parameters, inputs) if drive is None else drive
        rates = self.rates(state)
        records = self.wiring.records(parameters, rates)
        potentials = self.wiring.potentials(parameters, rates, drive, records)
        own: State = {}
        delta: Arrays = {}
        for layer, name in enumerate(self.layers):
            by_state, by_potential = self._slopes(layer, state, potentials)
            own[name] = by_state * cotangent[name]
            delta[layer] = by_potential * cotangent[name]
        for layer, share in self.wiring.pull_back(parameters, delta, records).items():
            own[self.layers[layer]] = own[self.layers[layer]] + self._rate_slope(layer, state) * share
        return own, delta

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
            As in `step_vjp`.
        tangent : dict of ndarray
            (..., B, *shape of the layer).
        parameter_tangent : dict of ndarray
            (..., *shape of the parameter).

        Returns
        -------
        dict of ndarray
            Tangent of the next state, (..., B, *shape of the layer).
        """
        rates = self.rates(state, inputs)
        return self._pushed(parameters, state, tangent, rates, parameter_tangent, None, inputs)

    def state_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        tangent: State,
        drive: Arrays | None = None,
    ) -> State:
        """J times a tangent of the state alone, with J = dF/ds at `state`.

        Parameters
        ----------
        parameters, state, inputs, tangent
            As in `step_jvp`.
        drive : dict, optional
            What `static_drive` gave for these parameters and inputs.

        Returns
        -------
        dict of ndarray
            Tangent of the next state.
        """
        return self._pushed(parameters, state, tangent, self.rates(state), None, drive, inputs)

    def _pushed(
        self,
        parameters: Parameters,
        state: State,
        tangent: State,
        rates: Arrays,
        parameter_tangent: Parameters | None,
        drive: Arrays | None,
        inputs: np.ndarray,
    ) -> State:
        """A tangent of the next state, of tangents of the state and perhaps of the parameters."""
        records = self.wiring.records(parameters, rates)
        drive = self.static_drive(parameters, inputs) if drive is None else drive
        potentials = self.wiring.potentials(parameters, rates, drive, records)
        rate_tangents = {
            layer: self._rate_slope(layer, state) * tangent[name] for layer, name in enumerate(self.layers)
        }
        arriving = self.wiring.potential_tangents(
            parameters, rates, rate_tangents, parameter_tangent, records
        )
        pushed = {}
        for layer, name in enumerate(self.layers):
            by_state, by_potential = self._slopes(layer, state, potentials)
            pushed[name] = by_state * tangent[name] + by_potential * arriving[layer]
        return pushed

    def _slopes(self, layer: int, state: State, potentials: Arrays) -> tuple[Any, Any]:
        unit = state[self.layers[layer]]
        return self.unit(layer).slopes(unit, potentials[layer], self.step_size, working_one(unit))

    def _rate_slope(self, layer: int, state: State) -> Any:
        unit = state[self.layers[layer]]
        return self.unit(layer).rate_slope(unit, working_one(unit))

    # ---------------------------------------------------------------- the loss and the force it exerts

    def outputs(self, parameters: Parameters, state: State, steps: int = 1) -> np.ndarray:
        """What the loss is taken of: s^0 (B, d_0), or the read-out's z (B, classes)."""
        top = state[self.layers[0]]
        if self.readout is None:
            return top
        return flat(top, self.shapes[0]) @ parameters["readout.weight"].T + parameters["readout.bias"]

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """What the targets are compared with: the outputs, or their softmax for cross-entropy."""
        return softmax(outputs) if self.loss_function == "cross_entropy" else outputs

    def loss(self, parameters: Parameters, state: State, targets: np.ndarray, steps: int = 1) -> Any:
        """L, the mean over the batch of l(s_b, y_b); complex for complex states.

        l = 1/2 |s^0 - y|^2, or the cross-entropy - sum_c y_c log softmax(s^0)_c; of z with a read-out.
        """
        function = cross_entropy_to if self.loss_function == "cross_entropy" else mean_squared_error
        outputs = self.outputs(parameters, state)
        if outputs.ndim > 2:  # an image: one row a sample
            outputs, targets = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
        return function(outputs, targets).item()

    def loss_gradient(
        self, parameters: Parameters, state: State, targets: np.ndarray, steps: int = 1
    ) -> tuple[State, Parameters]:
        """dL/ds, not 0 on layer 0 only, and dL/dtheta at fixed s, not 0 for a read-out only."""
        error = (self.predictions(self.outputs(parameters, state)) - targets) / len(targets)
        gradient = {name: np.zeros_like(array) for name, array in state.items()}
        gradient[self.layers[0]] = self._through_readout(parameters, error)
        if self.readout is None:
            return gradient, {}
        top = flat(state[self.layers[0]], self.shapes[0])
        return gradient, {"readout.weight": error.T @ top, "readout.bias": error.sum(axis=0)}

    def force(self, parameters: Parameters, state: State, targets: np.ndarray, nudge: complex) -> np.ndarray:
        """-beta dl/ds^0 of each sample: what a nudged layer 0 feels (E5), section 2.7 for cross-entropy."""
        # a plain Python number: it never promotes float32
        amount = complex(nudge) if np.iscomplexobj(nudge) else float(nudge.real)
        error = nudge_force(self.predictions(self.outputs(parameters, state)), targets, amount)
        return self._through_readout(parameters, error)

    def _through_readout(self, parameters: Parameters, error: np.ndarray) -> np.ndarray:
        if self.readout is None:
            return error
        return unflat(error @ parameters["readout.weight"], self.shapes[0])

    def _with_readout(self, parameters: Parameters, share: Parameters) -> Parameters:
        """A share of all parameters: the step does not see the read-out."""
        if self.readout is not None:
            share |= {name: np.zeros_like(parameters[name]) for name in ("readout.weight", "readout.bias")}
        return share

    # ---------------------------------------------------------------- for the compiled loops

    def relaxing(self, parameters: Parameters, drive: Arrays, batch: int, dtype: Any) -> Relaxing:
        """This network as the kernels are told of it, with arrays of `dtype`.

        Parameters
        ----------
        parameters : dict of ndarray
            By name.
        drive : dict of ndarray
            From `static_drive`.
        batch : int
            B.
        dtype : dtype
            That of the states, complex where the nudge is.

        Returns
        -------
        Relaxing
        """

        def cast(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(array, dtype)

        couplings = []
        for (post, pre), name in self.wiring.names.items():
            if pre == self.depth:
                continue
            weight = cast(parameters[f"{name}.weight"])
            feedback = weight if self.tied else cast(self.wiring.feedback(parameters, (post, pre)))
            coupling = Coupling(post, pre, weight, feedback)
            kind = self.wiring.maps[post, pre]
            if isinstance(kind, ConvolutionalMap):
                convolution = kind.convolution
                window = 1 if convolution.pooling == "none" else convolution.window
                coupling = coupling._replace(
                    padding=convolution.padding, window=window, pooling=convolution.pooling
                )
            couplings.append(coupling)
        return Relaxing(
            tuple(self.unit(layer) for layer in range(self.depth)),
            tuple(couplings),
            tuple(
                cast(np.broadcast_to(drive[layer], (batch, *self.shapes[layer])))
                for layer in range(self.depth)
            ),
            self.step_size,
        )

    def nudge_of(self, parameters: Parameters, targets: np.ndarray, amount: complex, dtype: Any) -> Nudge:
        """The force of a nudged phase as the kernels are told of it.

        Parameters
        ----------
        parameters : dict of ndarray
            By name.
        targets : ndarray, (B, *target_shape)
            y.
        amount : float or complex
            beta.
        dtype : dtype
            As in `relaxing`.

        Returns
        -------
        Nudge
        """
        names = ("readout.weight", "readout.bias") if self.readout is not None else ()
        readout = [np.ascontiguousarray(parameters[name], dtype) for name in names]
        rows = np.ascontiguousarray(targets.reshape(len(targets), -1), dtype)
        return Nudge(amount, rows, self.loss_function == "cross_entropy", *readout)

    # ---------------------------------------------------------------- what is measured on a state

    def primitive_function(self, parameters: Parameters, state: State, inputs: np.ndarray) -> Any:
        """(E11), (E18): Phi = sum over couplings of <h_post, W h_pre + b>, summed over the batch.

        Raises
        ------
        ValueError
            For untied networks: a vector field has no primitive function.
        """
        self._require_tied()
        rates = self.rates(state, inputs)
        return self.wiring.primitive_function(parameters, rates, self.wiring.records(parameters, rates))

    def primitive_gradient(
        self, parameters: Parameters, state: State, inputs: np.ndarray, maxima_at: State | None = None
    ) -> Parameters:
        """dPhi/dtheta of the couplings, summed over the batch: the Hebbian products.

        Parameters
        ----------
        parameters, state, inputs
            As in `step`.
        maxima_at : dict of ndarray, optional
            The state whose pooling maxima are taken; `state` by default.  The authors' code takes those of
            the state one step earlier.

        Returns
        -------
        dict of ndarray
            One array a coupling parameter.

        Raises
        ------
        ValueError
            For untied networks: a vector field has no primitive function.
        """
        self._require_tied()
        rates = self.rates(state, inputs)
        pooled = rates if maxima_at is None else self.rates(maxima_at, inputs)
        return self.wiring.hebbian_products(rates, self.wiring.records(parameters, pooled))

    def primitive_contrast(
        self,
        parameters: Parameters,
        after: State,
        before: State,
        inputs: np.ndarray,
        scale: complex = 1.0,
        maxima_at: tuple[State, State] | None = None,
    ) -> Parameters:
        """scale (dPhi/dtheta(after) - dPhi/dtheta(before)), summed over the batch (E7).

        Parameters
        ----------
        parameters, after, before, inputs
            As in `step`; two states.
        scale : float or complex
            1 / (beta B), or another factor.
        maxima_at : pair of states, optional
            As in `primitive_gradient`, for `after` and for `before`.

        Returns
        -------
        dict of ndarray
            One array a coupling parameter.

        Raises
        ------
        ValueError
            For untied networks: a vector field has no primitive function.
        """
        self._require_tied()
        later, earlier = self.rates(after, inputs), self.rates(before, inputs)
        pooled = (later, earlier)
        if maxima_at is not None:
            pooled = self.rates(maxima_at[0], inputs), self.rates(maxima_at[1], inputs)
        records = self.wiring.records(parameters, pooled[0]), self.wiring.records(parameters, pooled[1])
        return self.wiring.hebbian_contrast(later, earlier, records, scale)

    def vector_field_update(
        self, parameters: Parameters, moved: State, state: State, inputs: np.ndarray
    ) -> Parameters:
        """(E21): how far the units have moved times what they read, summed over the batch.

        That is (dF/dtheta)^T `moved` at `state` without the derivative of the activation: W and b take the
        motion of post, V that of pre; a tied weight takes both.

        Parameters
        ----------
        parameters : dict of ndarray
            By name.
        moved : dict of ndarray
            s_{t+1} - s_t, or s^beta - s_*.
        state, inputs
            Where the presynaptic factors are taken.

        Returns
        -------
        dict of ndarray
            One array a coupling parameter.
        """
        rates = self.rates(state, inputs)
        motion = {layer: moved[name] for layer, name in enumerate(self.layers)}
        return self.wiring.parameter_share(motion, rates, self.wiring.records(parameters, rates))

    def _require_tied(self) -> None:
        if not self.tied:
            raise ValueError(
                "tied: expected a network with tied=True, got an untied one; "
                "a vector field has no primitive function and no Hebbian contrast"
            )

    def residual(self, parameters: Parameters, state: State, inputs: np.ndarray) -> float:
        """max |F(s) - s|: how far one more free step would move any unit."""
        return largest_difference(self.step(parameters, state, inputs), state)
