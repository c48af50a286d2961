"""LSNN: a recurrent layer of adaptive spiking neurons with delays, and a linear read-out (Bellec 2018).

State entering step k: spikes z_k, potentials v_k, adaptation b_k, the D slots of the delay line, a refractory
counter, the trace p and the mean m of the read-out.  One step (official order):

    1  c^(d) += sum_{i: d_ji = d} W^in_ji x_ki + sum_{i != j: d_ji = d} W^rec_ji z_ki,      I_k = c^(0)
    2  b_{k+1} = rho b_k + (1 - rho) z_k
    3  B_{k+1} = b^0 + beta b_{k+1}
    4  v_{k+1} = alpha v_k + (1 - alpha) I_k - delta z_k B_{k+1}
    5  u_{k+1} = (v_k - B_{k+1}) / B_{k+1}          from the OLD potential
    6  m_{k+1} = 1 within R steps of a spike
    7  z_{k+1} = (1 - m_{k+1}) H(u_{k+1}) / delta
    8  the delay line moves on by one slot
       p_k = kappa p_{k-1} + (1 - kappa) z_{k+1},   y_k = W^out p_k + c

A spike takes two steps to make another one at delay 0, and is subtracted one step after it was fired.  The
other schemes are in `refsnn.equations.adaptive`.  Weights are (post, pre).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.adaptive import (
    before_the_spike,
    leaky_mean,
    tangent_after_the_spike,
    tangent_before_the_spike,
)
from refsnn.models.adaptive.core import (
    ADAPTATION,
    ADJOINT_NAMES,
    AVERAGE,
    COUNTER,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
    TRACE,
    AdaptiveCore,
    Wiring,
)
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput, DrivenStep, WindowedSequence, check_driven_input
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron
from refsnn.models.adaptive.windows import CheckedWindows, check_windows
from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.losses import cross_entropy_gradient, mean_squared_error_gradient
from refsnn.models.recurrent.cell import LOSS_SUM, RecurrentModel

READOUT_TIME = 20.0  # tau_out in ms, of all the paper's networks
# strictly between 0 and 1, and above 0: where trained neuron constants may be
_DECAYS = "leak", "adaptation_decay"


@dataclass(frozen=True)
class AdaptiveSpikingNetwork(RecurrentModel):
    """LIF and adaptive LIF neurons that hear the input and each other, and a linear read-out.

    Parameters
    ----------
    widths : tuple of int
        Inputs, neurons, outputs.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out averaged over windows (`WindowTargets`).
    neuron : AdaptiveNeuron
        Constants of the neurons; an `adaptation_strength` of 0 makes a LIF neuron.
    delays : Delays, optional
        Of all connections; none by default.
    readout_decay : float in [0, 1), optional
        kappa = exp(-time_step / tau_out); tau_out = 20 ms by default.
    readout_bias : bool
        Whether the read-out has one.
    trained : tuple of str
        Which constants of the neurons are parameters, each (n,): "leak", "adaptation_decay",
        "adaptation_strength", "baseline".

    Raises
    ------
    TypeError, ValueError
        For values out of range, and delays or constants of another number of neurons.

    Examples
    --------
    >>> neuron = AdaptiveNeuron(adaptation_strength=(0.0,) * 10 + (1.7,) * 10)
    >>> network, rng = AdaptiveSpikingNetwork((4, 20, 2), neuron=neuron), np.random.default_rng(0)
    >>> parameters = network.initialise(rng)
    >>> network.run(parameters, rng.random((5, 1, 4))).shape
    (5, 1, 2)
    """

    neuron: AdaptiveNeuron = field(default_factory=AdaptiveNeuron)
    delays: Delays = None  # type: ignore[assignment]
    readout_decay: float = None  # type: ignore[assignment]
    readout_bias: bool = True
    trained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != 3:
            raise ValueError(f"widths: expected three (inputs, neurons, outputs), got {self.widths!r}")
        inputs, neurons, _ = self.widths
        checks.instance("neuron", self.neuron, AdaptiveNeuron, "AdaptiveNeuron(refractory=5)")
        self.neuron.of_each(neurons)
        if self.delays is None:
            object.__setattr__(self, "delays", Delays.none(inputs, neurons))
        checks.instance("delays", self.delays, Delays, "Delays.uniform(rng, 10, inputs=80, neurons=220)")
        self.delays.fits(inputs, neurons)
        if self.readout_decay is None:
            object.__setattr__(self, "readout_decay", float(np.exp(-self.neuron.time_step / READOUT_TIME)))
        checks.number("readout_decay", self.readout_decay, 0, 1, high_open=True)
        if not isinstance(self.readout_bias, bool):
            raise TypeError(f"readout_bias: expected True or False, got {self.readout_bias!r}")
        if isinstance(self.trained, str):
            raise TypeError(f"trained: expected a tuple of names such as ('leak',), got {self.trained!r}")
        for name in self.trained:
            checks.choice("trained", name, NEURON_PARAMETERS)
        object.__setattr__(self, "trained", tuple(n for n in NEURON_PARAMETERS if n in self.trained))

    # -- shapes ---------------------------------------------------------------------------------------

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights of the layer (post, pre), trained constants of its neurons, and the read-out."""
        inputs, neurons, outputs = self.widths
        shapes: dict[str, tuple[int, ...]] = {
            "layer.1.input_weight": (neurons, inputs),
            "layer.1.recurrent_weight": (neurons, neurons),
        }
        shapes |= {f"layer.1.{name}": (neurons,) for name in self.trained}
        shapes["readout.weight"] = (outputs, neurons)
        return shapes | ({"readout.bias": (outputs,)} if self.readout_bias else {})

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """z, v, b, the delay line (B, D, n), the refractory counter, and p and m of the read-out."""
        each = batch, self.widths[1]
        shapes: dict[str, tuple[int, ...]] = {
            name: each for name in (SPIKES, POTENTIAL, ADAPTATION, REFRACTORY)
        }
        shapes[CURRENTS] = (batch, self.delays.slots, self.widths[1])
        return shapes | {TRACE: each, AVERAGE: each}

    def tape_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The state after the step, and the arrived current where constants of the neurons are trained."""
        arrived = {"arrived": (batch, self.widths[1])} if self.trained else {}
        return self.state_shapes(batch) | arrived

    def adjoint_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """As the state without the counter, by which no gradient goes."""
        shapes = self.state_shapes(batch)
        return {name: shapes[name] for name in ADJOINT_NAMES}

    def initialise(self, rng: np.random.Generator, dtype: Any = np.float64, gain: float = 1.0) -> Parameters:
        """Weights N(0, gain^2 / fan-in), the read-out uniform with Glorot's limit, its bias 0.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        dtype : dtype
            float32 or float64.
        gain : float
            Of input and recurrent weights.

        Returns
        -------
        dict of str to ndarray
            As `parameter_shapes` says; trained constants start at those of `neuron`.

        Raises
        ------
        TypeError, ValueError
            For an `rng` that is no Generator, a dtype that is no float, a negative or infinite number.
        """
        parameters = super().initialise(rng, dtype, gain)
        kind = np.dtype(dtype)
        _, neurons, outputs = self.widths
        limit = np.sqrt(6 / (neurons + outputs))
        parameters["readout.weight"] = rng.uniform(-limit, limit, (outputs, neurons)).astype(kind)
        constants = self.neuron.of_each(neurons, kind)
        return parameters | {f"layer.1.{name}": constants[name].copy() for name in self.trained}

    def initial_state(self, parameters: Parameters, batch: int) -> State:
        """All zero, nobody refractory.

        Parameters
        ----------
        parameters : dict of str to ndarray
            For the dtype.
        batch : int
            B.

        Returns
        -------
        dict of str to ndarray
            As `state_shapes` says, and `loss.sum` (1,).
        """
        state = super().initial_state(parameters, batch)
        return state | {REFRACTORY: np.zeros(state[REFRACTORY].shape, COUNTER)}

    @property
    def uncut(self) -> frozenset[str]:
        """The sum of the losses, and trace and mean of the read-out: each step keeps its own error."""
        return self.accumulators | {TRACE, AVERAGE}

    @staticmethod
    def for_next_sequence(state: State) -> State:
        """A last state as the first one of another sequence, whose read-out starts anew.

        Not for the parts of one sequence: these go on from the last state as it is, and their gradients from
        `initial_gradients` of the part after them.

        Parameters
        ----------
        state : dict of str to ndarray
            After the last step: `final_state` of a result.

        Returns
        -------
        dict of str to ndarray
            The same with p = m = 0.

        Raises
        ------
        TypeError, ValueError
            If it is no state of such a network.
        """
        if not isinstance(state, Mapping) or not {TRACE, AVERAGE} <= state.keys():
            raise TypeError(f"state: expected the final_state of a result, got {state!r:.80}")
        return dict(state) | {name: np.zeros_like(state[name]) for name in (TRACE, AVERAGE)}

    # -- the door -------------------------------------------------------------------------------------

    def check(self, parameters: Any, inputs: Any, targets: Any) -> tuple[Parameters, Any, Any]:
        """Refuse at the door what would be wrong inside.

        Parameters
        ----------
        parameters : dict of str to array_like
            As `parameter_shapes` says, one dtype.
        inputs : array_like, (T, B, n_in), StaticInput, SpikeEvents or DrivenInput
            Network input, T >= 1, B >= 1.
        targets : WindowTargets, StepTargets or array_like
            Of windows, of each step, or of one step and the same at each.

        Returns
        -------
        tuple
            The parameters, the inputs with windows along, and these.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        if targets is None:
            raise TypeError(
                "targets: expected WindowTargets, StepTargets or an array, got None; only adaptive_bptt and "
                "adaptive_eprop take none, for losses that come by cotangents"
            )
        parameters, inputs = self.check_inputs(parameters, inputs)
        dtype = np.result_type(*parameters.values())
        windows = check_windows(
            self.loss_function, targets, len(inputs), inputs.batch, self.widths[-1], dtype
        )
        return parameters, WindowedSequence(inputs, windows), windows

    def check_inputs(self, parameters: Any, inputs: Any) -> tuple[Parameters, Any]:
        """The part of `check` that needs no targets.

        Parameters
        ----------
        parameters, inputs
            As in `check`.

        Returns
        -------
        tuple
            The two; inputs as a DrivenInput of events.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, what was expected and what came.
        """
        parameters = checks.parameters("parameters", parameters, self.parameter_shapes())
        for name in self.trained:
            values, highest = parameters[f"layer.1.{name}"].real, 1 if name in _DECAYS else np.inf
            above = values >= 0 if name == "adaptation_strength" else values > 0
            if not (above & (values < highest)).all():
                least = "at least" if name == "adaptation_strength" else "above"
                raise ValueError(
                    f"parameters['layer.1.{name}']: expected values {least} 0"
                    + (" and below 1" if highest == 1 else "")
                    + f", got {values.min()} to {values.max()}; `network.within_range(parameters)` after "
                    "each update keeps them there"
                )
        dtype = next(iter(parameters.values())).dtype
        return parameters, check_driven_input(inputs, self.widths[0], self.widths[1], dtype)

    def within_range(self, parameters: Parameters) -> Parameters:
        """Trained constants moved back to where they mean something; all else as it is.

        Parameters
        ----------
        parameters : dict of str to ndarray
            After an update; not changed.

        Returns
        -------
        dict of str to ndarray
            Leak and adaptation decay within (0, 1), strengths not below 0, baselines not below a hundredth of
            those of `neuron`.

        Examples
        --------
        >>> network = AdaptiveSpikingNetwork((4, 20, 2), trained=("leak",))
        >>> parameters = network.initialise(np.random.default_rng(0))
        >>> parameters["layer.1.leak"] += 0.2
        >>> network.within_range(parameters)["layer.1.leak"].max() < 1
        np.True_
        """
        found = dict(parameters)
        for name in self.trained:
            value = parameters[f"layer.1.{name}"]
            shortest = np.finfo(value.dtype).eps
            low, high = {
                "adaptation_strength": (0.0, np.inf),
                "baseline": (self.neuron.of_each(self.widths[1])["baseline"] / 100, np.inf),
            }.get(name, (shortest, 1 - shortest))
            found[f"layer.1.{name}"] = np.clip(value, low, high).astype(value.dtype)
        return found

    # -- the model contract ---------------------------------------------------------------------------

    def working_core(
        self,
        parameters: Parameters,
        inputs: Any,
        targets: CheckedWindows | None,
        *,
        backend: str = "cpu",
        input_gradients: bool = False,
    ) -> AdaptiveCore:
        """One step at a time in memory that is allocated once.

        Parameters
        ----------
        parameters, inputs, targets
            As `check` returned them; None for no loss.
        backend : {"plain", "cpu", "cuda"}
            Which kernels.
        input_gradients : bool
            Whether dL/dx is wanted.

        Returns
        -------
        AdaptiveCore
        """
        return AdaptiveCore(self, parameters, inputs, targets, backend, input_gradients)

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """The read-out of the last state, of the mean since its window began, (B, outputs)."""
        outputs = state[AVERAGE] @ parameters["readout.weight"].T
        return outputs + parameters["readout.bias"] if self.readout_bias else outputs

    def _core_of_one_step(self, parameters: Parameters, state: State, inputs: Any) -> AdaptiveCore:
        """A core with a sequence of one step, at the state before it."""
        driven, windows = _one_step(inputs)
        if not isinstance(inputs, DrivenStep):
            wanted = np.result_type(*parameters.values())
            driven = check_driven_input(driven, self.widths[0], self.widths[1], wanted)
        if windows is not None and windows.window[0] >= 0:
            here = windows.window
            windows = CheckedWindows(
                windows.keep, windows.share, np.zeros(1, int), windows.values[here], windows.weights[here]
            )
        backend = "plain" if np.iscomplexobj(state[LOSS_SUM]) else "cpu"
        core = self.working_core(parameters, driven, windows, backend=backend)
        core.place(state)
        return core

    def step_vjp(
        self, parameters: Parameters, state: State, inputs: Any, cotangent: State
    ) -> tuple[State, Parameters]:
        """Adjoint of `step`: the working core's, once."""
        driven, windows = _one_step(inputs)
        if windows is not None:
            weights = windows.weights * cotangent[LOSS_SUM]
            windows = CheckedWindows(windows.keep, windows.share, windows.window, windows.values, weights)
        core = self._core_of_one_step(parameters, state, DrivenStep(driven, windows))
        core.forward(1)
        core.adjoint.load({name: cotangent[name] for name in core.adjoint.arrays})
        core.backward(1)
        past = core.adjoint.copies() | {LOSS_SUM: cotangent[LOSS_SUM]}
        return zeros_like(state) | past, core.gradients

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: Any,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step`, apart from the kernels; tangents may have an axis in front (directions)."""
        driven, windows = _one_step(inputs)
        wiring = Wiring.of(self, parameters)
        numbers, equations = self.neuron.constants(wiring.dtype), self.neuron.equations
        late, new, to_threshold, by_threshold, attached, recurrent, _, slope, height, step, peak, one = (
            numbers
        )
        x = driven.inputs.as_array()[0]
        into, back = self._delayed(parameters)
        into_moved, back_moved = self._delayed(parameter_tangent)

        z, moved = state[SPIKES], tangent[SPIKES]
        queue = state[CURRENTS] + into(x) + back(z)
        queue_moved = tangent[CURRENTS] + into_moved(x) + back_moved(z) + recurrent * back(moved)
        current = queue[:, 0] + (0 if driven.noise is None else driven.noise[0])
        drift = [
            np.asarray(parameter_tangent[f"layer.1.{name}"])[..., None, :]
            if name in self.trained
            else 0 * one
            for name in NEURON_PARAMETERS
        ]
        point = z, state[POTENTIAL], state[ADAPTATION], current, *wiring.neurons
        switches = late, new, to_threshold, by_threshold
        adapted, threshold, charged, distance = before_the_spike(*point, *switches, step, one)
        adapted_moved, threshold_moved, charged_moved, distance_moved = tangent_before_the_spike(
            moved, tangent[POTENTIAL], tangent[ADAPTATION], queue_moved[..., 0, :],
            drift[0], drift[1], drift[2], drift[3], *point, *switches, attached, step, one,
        )  # fmt: skip
        closed = state[REFRACTORY] > 0 if driven.masks is None else driven.masks[0]
        fired = np.where(closed, 0 * one, equations.fire(distance, slope, height, one)) * peak
        psi = np.where(closed, 0 * one, equations.surrogate(distance, slope, height, one)) * peak
        fired_moved = psi * distance_moved
        after = {
            SPIKES: fired_moved,
            POTENTIAL: tangent_after_the_spike(
                charged_moved, fired_moved, threshold_moved, fired, threshold, late, attached, step
            ),
            ADAPTATION: adapted_moved,
            CURRENTS: np.concatenate([queue_moved[..., 1:, :], 0 * queue_moved[..., :1, :]], axis=-2),
        }
        averaging = wiring.averaging(windows, 1)
        after[TRACE] = leaky_mean(tangent[TRACE], fired_moved, averaging.decay, one)
        after[AVERAGE] = averaging.keep[0] * tangent[AVERAGE] + averaging.share[0] * after[TRACE]
        change = np.zeros(moved.shape[:-2], wiring.dtype)
        if windows is not None and windows.window[0] >= 0:
            trace = leaky_mean(state[TRACE], fired, averaging.decay, one)
            average = averaging.keep[0] * state[AVERAGE] + averaging.share[0] * trace
            change = self._loss_tangent(parameters, windows, average, after[AVERAGE], parameter_tangent)
        after[LOSS_SUM] = tangent[LOSS_SUM] + change[..., None]
        return zeros_like(state) | after

    def _loss_tangent(
        self,
        parameters: Parameters,
        windows: CheckedWindows,
        average: np.ndarray,
        moved: np.ndarray,
        drift: Parameters,
    ) -> np.ndarray:
        """Tangent of the loss of the window that ends here."""
        here = int(windows.window[0])
        outputs = self.outputs(parameters, {AVERAGE: average}, 1)
        gradient = (
            cross_entropy_gradient if self.loss_function == "cross_entropy" else mean_squared_error_gradient
        )
        errors = windows.weights[here][:, None] * gradient(outputs, windows.values[here])
        along = (
            average @ np.swapaxes(drift["readout.weight"], -1, -2) + moved @ parameters["readout.weight"].T
        )
        if self.readout_bias:
            along = along + drift["readout.bias"][..., None, :]
        return (errors * along).sum(axis=(-2, -1))

    def _delayed(self, weights: Parameters) -> tuple[Any, Any]:
        """Functions from what inputs and neurons send to what they add to each slot of the delay line."""
        slots = np.arange(self.delays.slots)

        def sent(weight: np.ndarray, delays: np.ndarray, hollow: bool) -> Any:
            mask = (delays == slots[:, None, None]) & ~(
                np.eye(len(delays), delays.shape[1], dtype=bool) & hollow
            )
            by_slot = np.where(mask, np.asarray(weight)[..., None, :, :], 0 * np.asarray(weight).flat[0])
            return lambda values: np.einsum("...dji,...bi->...bdj", by_slot, values)

        return (
            sent(weights["layer.1.input_weight"], self.delays.input, False),
            sent(weights["layer.1.recurrent_weight"], self.delays.recurrent, True),
        )


def _one_step(inputs: Any) -> tuple[DrivenInput, CheckedWindows | None]:
    """What a step hears, and its window; an array (B, n_in) is the input alone."""
    if isinstance(inputs, DrivenStep):
        return inputs.driven, inputs.windows
    return DrivenInput(np.asarray(inputs)[None]), None
