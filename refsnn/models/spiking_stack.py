"""A stack of dense layers of spiking neurons with a linear readout of the time mean (Yu 2024, section 3).

    I^l_t = W^l s^{l-1}_t + b^l,   s^0_t = x_t,   l = 1 .. L-1 through the neuron of `equations.spiking`,
    o_t = W^L s^{L-1}_t + b^L,     loss = l(mean_t o_t, y).

No layer looks back at another, only at its own potential: that is why each can take all its time steps in
one matrix product.  `step` and its derivatives do one time step of the whole stack, for algorithms and
oracles that run forward in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron, charged_adjoint
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters, State, StaticInput
from refsnn.models.losses import LOSSES, check_targets
from refsnn.models.sequences import as_sequence
from refsnn.models.spiking_layer import spiking_layer_forward

Inputs = np.ndarray | StaticInput


@dataclass(frozen=True)
class DenseSpikingStack:
    """Hyper-parameters of the stack.

    Parameters
    ----------
    widths : tuple of int
        Input, hidden layers, classes: (n_0, n_1, ..., n_L).  Without a hidden layer it is a linear model.
    neuron : SpikingNeuron
        The neuron of all hidden layers.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the readout averaged over time; integer labels (B,), or real targets (B, n_L).

    Raises
    ------
    TypeError, ValueError
        For widths that are not positive integers, or an unknown loss.

    Examples
    --------
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> stack.parameter_shapes()["layer.1.weight"], stack.parameter_shapes()["readout.bias"]
    ((8, 4), (3,))
    """

    widths: tuple[int, ...]
    neuron: SpikingNeuron = field(default_factory=SpikingNeuron)
    loss_function: str = "cross_entropy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", checks.widths("widths", self.widths))
        checks.choice("loss_function", self.loss_function, LOSSES)
        checks.instance("neuron", self.neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")

    # -- parameters and state -------------------------------------------------------------------------

    @property
    def hidden(self) -> range:
        """Indices l of the spiking layers, 1 .. L-1."""
        return range(1, len(self.widths) - 1)

    @property
    def accumulators(self) -> frozenset[str]:
        """The readout's running sum."""
        return frozenset({"readout.sum"})

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights (n_l, n_{l-1}) and biases (n_l,): `layer.1.weight`, ..., `readout.bias`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, rows, columns in self._maps():
            shapes[f"{name}.weight"] = (rows, columns)
            shapes[f"{name}.bias"] = (rows,)
        return shapes

    def _maps(self) -> Iterator[tuple[str, int, int]]:
        names = [f"layer.{index}" for index in self.hidden] + ["readout"]
        return zip(names, self.widths[1:], self.widths[:-1], strict=True)

    def initialise(
        self,
        rng: np.random.Generator,
        dtype: Any = np.float64,
        gain: float = 1.5,
        bias_mean: float = 0.1,
        bias_deviation: float = 0.1,
    ) -> Parameters:
        """Weights N(0, gain^2 / n_in) and biases N(bias_mean, bias_deviation^2).

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain, bias_mean, bias_deviation : float
            1.5, 0.1 and 0.1 train; 2 to 2.5 with bias 0.3 keeps random networks of any depth firing.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, a negative or infinite number.

        Examples
        --------
        >>> DenseSpikingStack((2, 3)).initialise(np.random.default_rng(0))["readout.weight"].shape
        (3, 2)
        """
        checks.generator("rng", rng)
        dtype = checks.float_dtype("dtype", dtype)
        gain = checks.number("gain", gain, 0)
        bias_mean = checks.number("bias_mean", bias_mean)
        bias_deviation = checks.number("bias_deviation", bias_deviation, 0)
        parameters = {}
        for name, rows, columns in self._maps():
            deviation = gain / np.sqrt(columns)
            parameters[f"{name}.weight"] = (deviation * rng.standard_normal((rows, columns))).astype(dtype)
            parameters[f"{name}.bias"] = rng.normal(bias_mean, bias_deviation, rows).astype(dtype)
        return parameters

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """Potentials at the reset value, readout sum 0.

        Parameters
        ----------
        parameters : dict of str to ndarray
            For the dtype.
        batch : int
            B.

        Returns
        -------
        dict of str to ndarray
            `layer.1.potential` (B, n_1), ..., `readout.sum` (B, n_L).

        Examples
        --------
        >>> stack = DenseSpikingStack((2, 3))
        >>> stack.initial_state(stack.initialise(np.random.default_rng(0)), batch=1)
        {'readout.sum': array([[0., 0., 0.]])}
        """
        dtype = parameters["readout.bias"].dtype
        state = {
            f"layer.{index}.potential": np.full((batch, self.widths[index]), self.neuron.reset_value, dtype)
            for index in self.hidden
        }
        state["readout.sum"] = np.zeros((batch, self.widths[-1]), dtype)
        return state

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Inputs, np.ndarray]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, n_0), or StaticInput of (B, n_0)
            Network input, T >= 1, B >= 1.
        targets : array_like
            Labels (B,) or real targets (B, n_L), by the loss.

        Returns
        -------
        tuple
            The three, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.

        Examples
        --------
        >>> stack = DenseSpikingStack((2, 3))
        >>> stack.check(stack.initialise(np.random.default_rng(0)), np.ones((4, 1, 5)), [0])
        Traceback (most recent call last):
        ...
        ValueError: inputs: expected shape (T, B, 2), got (4, 1, 5); nothing is broadcast silently
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = parameters["readout.bias"].dtype
        targets = check_targets(self.loss_function, targets, len(inputs[0]), self.widths[-1], dtype)
        return parameters, inputs, targets

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, Inputs]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two, as arrays.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        dtype = parameters["readout.bias"].dtype
        if isinstance(inputs, StaticInput):
            value = checks.float_array("inputs.value", inputs.value, ("B", self.widths[0]), dtype)
            return parameters, StaticInput(value, checks.count("inputs.steps", inputs.steps))
        return parameters, checks.float_array("inputs", inputs, ("T", "B", self.widths[0]), dtype)

    def run(self, parameters: Parameters, inputs: Inputs, backend: str = "cpu") -> np.ndarray:
        """The readout averaged over time, without anything kept for a gradient.

        Parameters
        ----------
        parameters : dict of str to ndarray
            As `parameter_shapes` says.
        inputs : ndarray, (T, B, n_0), or StaticInput
            Network input.
        backend : {"plain", "cpu", "cuda"}
            Which kernels run the neurons.

        Returns
        -------
        ndarray, (B, n_L)
            mean_t o_t.

        Examples
        --------
        >>> stack = DenseSpikingStack((2, 8, 3))
        >>> stack.run(stack.initialise(np.random.default_rng(0)), StaticInput(np.ones((5, 2)), 4)).shape
        (5, 3)
        """
        parameters, inputs = self.check_inputs(parameters, inputs)
        checks.choice("backend", backend, BACKENDS)
        spikes = as_sequence(inputs)
        for index in self.hidden:
            weight, bias = parameters[f"layer.{index}.weight"], parameters[f"layer.{index}.bias"]
            spikes, _ = spiking_layer_forward(self.neuron, weight, bias, spikes, backend)
        return self.mean_readout(parameters, spikes.mean(axis=0))

    def mean_readout(self, parameters: Parameters, rates: np.ndarray) -> np.ndarray:
        """mean_t o_t = W^L mean_t s_t + b^L.

        Parameters
        ----------
        parameters : dict of str to ndarray
            As `parameter_shapes` says.
        rates : ndarray, (B, n_{L-1})
            mean_t s_t of the last hidden layer.

        Returns
        -------
        ndarray, (B, n_L)
            The readout averaged over time.
        """
        return rates @ parameters["readout.weight"].T + parameters["readout.bias"]

    # -- one time step and its derivatives ------------------------------------------------------------

    def step(self, parameters: Parameters, state: State, inputs: np.ndarray) -> State:
        """One time step of the whole stack (Yu 2024, Eq. 1)."""
        constants = self.neuron.constants(inputs.dtype)
        _, fire, reset, _, _ = self.neuron.equations
        following, spikes = {}, inputs
        for index in self.hidden:
            charged = self._charged(parameters, state, index, spikes)
            spikes = fire(charged, constants.threshold, constants.one)
            following[f"layer.{index}.potential"] = reset(
                charged, spikes, constants.threshold, constants.reset_value, constants.one
            )
        following["readout.sum"] = state["readout.sum"] + (
            spikes @ parameters["readout.weight"].T + parameters["readout.bias"]
        )
        return following

    def _charged(self, parameters: Parameters, state: State, index: int, spikes: np.ndarray) -> np.ndarray:
        """h of layer `index`, from the spikes below it."""
        constants = self.neuron.constants(spikes.dtype)
        current = spikes @ parameters[f"layer.{index}.weight"].T + parameters[f"layer.{index}.bias"]
        potential = state[f"layer.{index}.potential"]
        return self.neuron.equations.charge(
            potential, current, constants.leak, constants.reset_value, constants.one
        )

    def _slopes(self, charged: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Spikes, ds/dh and dv/dh at the charged potential."""
        leak, threshold, reset_value, attached, slope, height, one = self.neuron.constants(charged.dtype)
        _, fire, _, reset_slope, surrogate = self.neuron.equations
        spikes = fire(charged, threshold, one)
        spike_slope = surrogate(charged - threshold, slope, height, one)
        return (
            spikes,
            spike_slope,
            reset_slope(charged, spikes, attached * spike_slope, threshold, reset_value, one),
        )

    def step_vjp(
        self, parameters: Parameters, state: State, inputs: np.ndarray, cotangent: State
    ) -> tuple[State, Parameters]:
        """Adjoint of `step`: layers from the top down (Yu 2024, Eq. 2)."""
        below, records = inputs, []
        for index in self.hidden:
            charged = self._charged(parameters, state, index, below)
            spikes, spike_slope, reset_slope = self._slopes(charged)
            records.append((index, below, spike_slope, reset_slope))
            below = spikes
        readout = cotangent["readout.sum"]
        gradients = {"readout.weight": readout.T @ below, "readout.bias": readout.sum(axis=0)}
        previous = {"readout.sum": readout}
        spike_adjoint = readout @ parameters["readout.weight"]
        leak = self.neuron.constants(inputs.dtype).leak
        for index, below, spike_slope, reset_slope in reversed(records):
            name = f"layer.{index}"
            adjoint = charged_adjoint(spike_adjoint, cotangent[f"{name}.potential"], spike_slope, reset_slope)
            gradients[f"{name}.weight"] = adjoint.T @ below
            gradients[f"{name}.bias"] = adjoint.sum(axis=0)
            previous[f"{name}.potential"] = leak * adjoint
            spike_adjoint = adjoint @ parameters[f"{name}.weight"]
        return previous, gradients

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step`: layers from the bottom up; tangents may have axes in front (directions)."""
        leak = self.neuron.constants(inputs.dtype).leak
        following, spikes, spike_tangent = {}, inputs, np.zeros_like(inputs)
        for index in self.hidden:
            name = f"layer.{index}"
            charged = self._charged(parameters, state, index, spikes)
            charged_tangent = (
                leak * tangent[f"{name}.potential"]
                + spike_tangent @ parameters[f"{name}.weight"].T
                + spikes @ np.swapaxes(parameter_tangent[f"{name}.weight"], -1, -2)
                + parameter_tangent[f"{name}.bias"][..., None, :]
            )
            spikes, spike_slope, reset_slope = self._slopes(charged)
            following[f"{name}.potential"] = reset_slope * charged_tangent
            spike_tangent = spike_slope * charged_tangent
        following["readout.sum"] = (
            tangent["readout.sum"]
            + spike_tangent @ parameters["readout.weight"].T
            + spikes @ np.swapaxes(parameter_tangent["readout.weight"], -1, -2)
            + parameter_tangent["readout.bias"][..., None, :]
        )
        return following

    # -- loss -----------------------------------------------------------------------------------------

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """The readout averaged over time, (B, n_L)."""
        return state["readout.sum"] / steps

    def loss(self, parameters: Parameters, state: State, targets: np.ndarray, steps: int) -> float:
        """l(mean_t o_t, y), a mean over the batch."""
        return float(LOSSES[self.loss_function][0](self.outputs(parameters, state, steps), targets))

    def loss_gradient(
        self, parameters: Parameters, state: State, targets: np.ndarray, steps: int
    ) -> tuple[State, Parameters]:
        """dl/d(readout sum) = dl/d(mean) / T; nothing flows into the last potentials or directly to theta."""
        cotangent = {name: np.zeros_like(value) for name, value in state.items()}
        outputs = self.outputs(parameters, state, steps)
        cotangent["readout.sum"] = LOSSES[self.loss_function][1](outputs, targets) / steps
        return cotangent, {}
