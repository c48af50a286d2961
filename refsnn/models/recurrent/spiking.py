"""A layer of recurrent LIF neurons with a leaky read-out.

    v_k = leak v_{k-1} + W_in x_k + W_rec z_{k-1} + b - threshold z_{k-1},    z_k = H(v_k - threshold),
    o_k = readout_leak o_{k-1} + W_o z_k + b_o,                               y_k = o_k.

The state is (v_k, o_k): z_k is a function of v_k, also at the start.  So dL/dv_k holds what all uses of z_k
say of v_k, through psi(v_k) = dz_k/dv_k, and one recursion goes back through time,

    g_o += e,  V = g_v + (g_o W_o) psi(v_k)                     e = dl_k/do_k,
    g_v <- leak V + (V W_rec - threshold V) psi(v_{k-1}),  g_o <- readout_leak g_o.

Where the reset is detached, - threshold V is left out.  At the end g_v is dL/dv_0, with psi(v_0) in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import recurrent_spiking_kernels
from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.recurrent.cell import LOSS_SUM, RecurrentModel, affine_tangent, last_names
from refsnn.models.recurrent.core import RecurrentCore
from refsnn.models.sequences import LabelledStep, StepTargets

POTENTIAL, READOUT = "layer.1.potential", "readout.potential"


class RecurrentSpikingCore(RecurrentCore):
    """The working core of a `RecurrentSpikingLayer`; the tape is the state after the step.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`; the parameters are real.
    """

    def __init__(
        self,
        model: RecurrentSpikingLayer,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        backend: str,
        input_gradients: bool,
    ) -> None:
        super().__init__(model, parameters, inputs, targets, backend, input_gradients)
        if self.dtype.kind == "c":
            raise TypeError("parameters: expected real ones, got complex; a spike has no complex derivative")
        self._spiking = recurrent_spiking_kernels(backend)
        self._neuron = model.neuron.equations, model.neuron.constants(self.dtype)
        self._readout_leak = self.dtype.type(model.readout_leak)
        own = self.parameters
        self._into, self._back = own["layer.1.input_weight"], own["layer.1.recurrent_weight"]
        self._out = own["readout.weight"]
        # on the way forward sources are looped over, so their weights stand in rows
        self._forward_weights = (
            self.scratch(np.ascontiguousarray(self._into.T)),
            self.scratch(np.ascontiguousarray(self._back.T)), own["layer.1.bias"],
            self.scratch(np.ascontiguousarray(self._out.T)), own["readout.bias"],
        )  # fmt: skip
        self._gradients = tuple(self.gradients[name] for name in model.parameter_shapes())
        inputs_width, neurons, outputs = model.widths
        widest = max(inputs_width, neurons, outputs)
        scratch = 4 * self.batch * neurons + neurons * widest + outputs
        self._scratch = self.scratch(np.zeros(scratch, self.dtype))
        self._unwanted = np.zeros((0, inputs_width), self.dtype)

    def read_out(self) -> np.ndarray:
        """o_k."""
        return self.after.arrays[READOUT]

    def advance(self, first: int, last: int) -> None:
        """See `WorkingCore.advance`; one call, and the tape is left as it is."""
        self._run(first, last, self.before.arrays)

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        np.copyto(self.after.memory, self.before.memory)
        self._run(step, step, self.after.arrays)
        np.copyto(self.tape.memory, self.after.memory)

    def _run(self, first: int, last: int, state: State) -> None:
        self._spiking.spiking_forward(
            *self._neuron, self.inputs, first, last, *self._forward_weights, self._readout_leak,
            state[POTENTIAL], state[READOUT], self._scratch,
        )  # fmt: skip

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        np.copyto(self.after.memory, self.tape.memory)

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        if self.targets is not None:
            self.loss += self.step_loss(step)
        wanted = self._unwanted if self.input_gradients is None else self.input_gradients[step - 1]
        adjoint = self.adjoint.arrays
        self._spiking.spiking_backward(
            *self._neuron, self.input_of(step), self.before.arrays[POTENTIAL], self.after.arrays[POTENTIAL],
            self.errors, self._into, self._back, self._out, self._readout_leak,
            adjoint[POTENTIAL], adjoint[READOUT], *self._gradients, wanted, self._scratch,
        )  # fmt: skip


def _default_neuron() -> SpikingNeuron:
    return SpikingNeuron(leak=0.9, detach_reset=False, surrogate=Surrogate("triangle", 1.0, 0.3))


@dataclass(frozen=True)
class RecurrentSpikingLayer(RecurrentModel):
    """Recurrent LIF neurons with a leaky read-out.

    Parameters
    ----------
    widths : tuple of int
        Inputs, neurons, outputs.
    loss_function : {"cross_entropy", "mean_squared_error"}
        Of the read-out at each step; the loss of a sequence is the sum over its steps.
    neuron : SpikingNeuron
        Leak, threshold, comparison, surrogate, and whether the reset is detached; the reset is soft.
    readout_leak : float in [0, 1]
        Share of o that survives a step.

    Raises
    ------
    TypeError, ValueError
        For values out of range, other numbers of widths than three, and a hard reset.

    Examples
    --------
    >>> network, rng = RecurrentSpikingLayer((4, 20, 2)), np.random.default_rng(0)
    >>> parameters = network.initialise(rng)
    >>> network.run(parameters, rng.random((5, 1, 4))).shape
    (5, 1, 2)
    """

    neuron: SpikingNeuron = field(default_factory=_default_neuron)
    readout_leak: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != 3:
            raise ValueError(f"widths: expected three (inputs, neurons, outputs), got {self.widths!r}")
        checks.instance("neuron", self.neuron, SpikingNeuron, "SpikingNeuron(leak=0.9)")
        if self.neuron.reset != "soft":
            raise ValueError(
                f"neuron: expected reset='soft', got {self.neuron.reset!r}; this layer subtracts the "
                "threshold at the step after a spike"
            )
        checks.number("readout_leak", self.readout_leak, 0, 1)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """`layer.1.input_weight`, `layer.1.recurrent_weight`, `layer.1.bias`, and of the read-out."""
        inputs, neurons, outputs = self.widths
        return {
            "layer.1.input_weight": (neurons, inputs),
            "layer.1.recurrent_weight": (neurons, neurons),
            "layer.1.bias": (neurons,),
            "readout.weight": (outputs, neurons),
            "readout.bias": (outputs,),
        }

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """`layer.1.potential` (B, n) and `readout.potential` (B, outputs)."""
        return {POTENTIAL: (batch, self.widths[1]), READOUT: (batch, self.widths[2])}

    def tape_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The same: spikes and psi follow from the potentials."""
        return self.state_shapes(batch)

    def working_core(
        self,
        parameters: Parameters,
        inputs: Any,
        targets: StepTargets | None,
        *,
        backend: str = "cpu",
        input_gradients: bool = False,
    ) -> RecurrentSpikingCore:
        """One step at a time, or many in one call, in memory that is allocated once.

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
        RecurrentSpikingCore
        """
        return RecurrentSpikingCore(self, parameters, inputs, targets, backend, input_gradients)

    def outputs(self, parameters: Parameters, state: State, steps: int) -> np.ndarray:
        """o of the last state, (B, outputs)."""
        return state[READOUT]

    def step_jvp(
        self,
        parameters: Parameters,
        state: State,
        inputs: np.ndarray | LabelledStep,
        tangent: State,
        parameter_tangent: Parameters,
    ) -> State:
        """Tangent of `step` with dz = psi dv; tangents may have an axis in front (directions)."""
        values: np.ndarray = inputs.value if isinstance(inputs, LabelledStep) else inputs
        reached = self.step(parameters, state, values)
        equations, constants = self.neuron.equations, self.neuron.constants(state[POTENTIAL].dtype)
        leak, threshold, _, attached, slope, height, one = constants
        weights, directions = last_names("layer.1", parameters), last_names("layer.1", parameter_tangent)
        readout, by_readout = parameters["readout.weight"], last_names("readout", parameter_tangent)

        spikes, spikes_after = (equations.fire(s[POTENTIAL], threshold, one) for s in (state, reached))
        psi, psi_after = (
            equations.surrogate(s[POTENTIAL] - threshold, slope, height, one) for s in (state, reached)
        )
        moved = tangent[POTENTIAL]
        fired = psi * moved
        through_weights = affine_tangent(
            values, np.zeros_like(values), weights["input_weight"], directions["input_weight"]
        ) + affine_tangent(spikes, fired, weights["recurrent_weight"], directions["recurrent_weight"])
        potential = leak * moved + through_weights - attached * threshold * fired
        potential = potential + directions["bias"][..., None, :]
        outputs = threshold.dtype.type(self.readout_leak) * tangent[READOUT]
        outputs = outputs + affine_tangent(spikes_after, psi_after * potential, readout, by_readout["weight"])
        outputs = outputs + by_readout["bias"][..., None, :]
        change = (self.step_errors(reached[READOUT], inputs) * outputs).sum(axis=(-2, -1))
        following = {POTENTIAL: potential, READOUT: outputs, LOSS_SUM: tangent[LOSS_SUM] + change[..., None]}
        return zeros_like(state) | following
