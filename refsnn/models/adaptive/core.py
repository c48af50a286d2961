"""The working core of an adaptive network, and the whole run in one call with the same kernels.

Both add in the same order, step by step from the last and sample by sample, so that what a core gets from
single steps under any schedule is what a run gets at once: the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refsnn.kernels import adaptive_kernels
from refsnn.kernels.adaptive import (
    Adjoints,
    Averaging,
    Cotangents,
    Gradients,
    Heard,
    Neurons,
    States,
    Synapses,
)
from refsnn.models.adaptive.delays import Delays, places
from refsnn.models.adaptive.inputs import DrivenInput, WindowedSequence
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron
from refsnn.models.adaptive.windows import CheckedWindows
from refsnn.models.contract import Parameters, State
from refsnn.models.recurrent.core import RecurrentCore, Shaped
from refsnn.models.working_core import Layout

SPIKES, POTENTIAL, ADAPTATION = "layer.1.spikes", "layer.1.potential", "layer.1.adaptation"
CURRENTS, REFRACTORY = "layer.1.currents", "layer.1.refractory"
TRACE, AVERAGE = "readout.trace", "readout.average"
ADJOINT_NAMES = SPIKES, POTENTIAL, ADAPTATION, CURRENTS, TRACE, AVERAGE
COUNTER = np.dtype(np.int16)


class Wired(Shaped, Protocol):
    """What a core asks of its network."""

    @property
    def neuron(self) -> AdaptiveNeuron:
        """Constants and options."""
        ...

    @property
    def delays(self) -> Delays:
        """Of all connections."""
        ...

    @property
    def readout_decay(self) -> float:
        """kappa."""
        ...

    @property
    def trained(self) -> tuple[str, ...]:
        """Which constants of the neurons are parameters."""
        ...


def synapses(weight: np.ndarray, delays: np.ndarray, recurrent: bool) -> Synapses:
    """Connections by their source; a neuron does not hear itself, and a weight of 0 is no connection.

    Parameters
    ----------
    weight, delays : ndarray, (n, sources)
        W and d, (post, pre).
    recurrent : bool
        Whether sources and targets are the same neurons.

    Returns
    -------
    Synapses
    """
    by_source, all_places = weight.T, places(delays, len(weight))
    there = by_source != 0
    if recurrent:
        np.fill_diagonal(there, False)
    starts = np.zeros(len(there) + 1, np.int64)
    np.cumsum(there.sum(axis=1), out=starts[1:])
    return Synapses(starts, all_places[there], by_source[there], all_places)


@dataclass(frozen=True, eq=False)
class Wiring:
    """What a run needs of the network and its parameters, in the form that kernels take.

    Attributes
    ----------
    network : Wired
        The model.
    dtype : dtype
        Of the parameters.
    neurons, into, back
        See `refsnn.kernels.adaptive`.
    """

    network: Wired
    dtype: np.dtype
    neurons: Neurons
    into: Synapses
    back: Synapses

    @classmethod
    def of(cls, network: Wired, parameters: Parameters) -> Wiring:
        """Of checked parameters."""
        dtype = np.result_type(*parameters.values())
        given = {name: parameters[f"layer.1.{name}"] for name in NEURON_PARAMETERS if name in network.trained}
        fixed = network.neuron.of_each(network.widths[1], dtype)
        return cls(
            network,
            dtype,
            Neurons(*(np.ascontiguousarray((fixed | given)[name], dtype) for name in NEURON_PARAMETERS)),
            synapses(parameters["layer.1.input_weight"], network.delays.input, False),
            synapses(parameters["layer.1.recurrent_weight"], network.delays.recurrent, True),
        )

    @property
    def memory(self) -> int:
        """Numbers that a kernel works in, for one sample."""
        return (2 * self.network.delays.slots + 4) * self.network.widths[1]

    def averaging(self, windows: CheckedWindows | None, steps: int) -> Averaging:
        """Of the read-out; without windows nothing is averaged."""
        real = np.empty(0, self.dtype).real.dtype
        decay = real.type(self.network.readout_decay)
        if windows is None:
            return Averaging(decay, np.zeros(steps, real), np.ones(steps, real), np.full(steps, -1))
        return Averaging(decay, windows.keep, windows.share, windows.window)


class AdaptiveCore(RecurrentCore):
    """One step at a time of an `AdaptiveSpikingNetwork`.

    Parameters
    ----------
    model, parameters, inputs, targets, backend, input_gradients
        As in `RecurrentCore`; inputs and targets as `model.check` returned them.
    """

    def __init__(
        self,
        model: Wired,
        parameters: Parameters,
        inputs: DrivenInput | WindowedSequence,
        targets: CheckedWindows | None,
        backend: str,
        input_gradients: bool,
    ) -> None:
        self._width = model.widths[0]
        super().__init__(model, parameters, inputs, None, backend, input_gradients)
        self.windows = targets
        self.kernel = adaptive_kernels(backend)
        self.options = model.neuron.equations, model.neuron.constants(self.dtype)
        self.wiring = Wiring.of(model, self.parameters)
        self.heard: Heard = self.inputs.heard(model.widths[1], self.dtype)
        for array in (*self.wiring.neurons, *self.wiring.into, *self.wiring.back):
            self.scratch(array)
        # gradients are added to by source; the view turns them to (post, pre)
        by_source = [np.zeros((width, model.widths[1]), self.dtype) for width in model.widths[:2]]
        self.gradients["layer.1.input_weight"] = by_source[0].T
        self.gradients["layer.1.recurrent_weight"] = by_source[1].T
        of_neurons = np.zeros((4 if model.trained else 0, model.widths[1]), self.dtype)
        for row, name in enumerate(NEURON_PARAMETERS):
            if name in model.trained:
                self.gradients[f"layer.1.{name}"] = of_neurons[row]
        no_inputs = np.zeros((0, self.batch, self._width), self.dtype)
        self.sums = Gradients(by_source[0], by_source[1], of_neurons, no_inputs)
        self.margin = np.full(1, np.inf, np.empty(0, self.dtype).real.dtype)
        n, windowless = model.widths[1], (0, self.batch, model.widths[1])
        self._outputs = self.scratch(np.zeros((self.batch, model.widths[-1]), self.dtype))
        self._by_average = self.scratch(np.zeros((1, self.batch, n), self.dtype))
        self._averages = self.scratch(np.zeros((1, self.batch, n), self.dtype))
        self.memory = self.scratch(np.zeros((self.batch, self.wiring.memory), self.dtype))
        self._no_rates = np.zeros(n, self.dtype)
        self._nothing = np.zeros(windowless, self.dtype)

    # -- memory ---------------------------------------------------------------------------------------

    def _layout(self, shapes: dict[str, tuple[int, ...]]) -> Layout:
        return {
            name: (shape, COUNTER if name == REFRACTORY else self.dtype) for name, shape in shapes.items()
        }

    def _take(self, inputs: Any) -> tuple[int, tuple[int, ...]]:
        if isinstance(inputs, WindowedSequence):
            inputs = inputs.inputs
        self.inputs = inputs
        return inputs.batch, (inputs.batch, self._width)

    def read_out(self) -> np.ndarray:
        """W m_k + c, m the mean since the window began."""
        return self.read(self.after.arrays[AVERAGE])

    def read(self, average: np.ndarray) -> np.ndarray:
        """W m + c, in memory that the next call uses again."""
        np.dot(average, self.parameters["readout.weight"].T, out=self._outputs)
        if "readout.bias" in self.parameters:
            self._outputs += self.parameters["readout.bias"]
        return self._outputs

    def start(self, state: State | None) -> None:
        """See `RecurrentCore.start`; spikes are 0 or 1 / time step, counters at most the refractory period.

        Parameters
        ----------
        state : dict of str to ndarray, or None
            As there.

        Raises
        ------
        TypeError, ValueError
            As there, and for other spikes and counters.
        """
        super().start(state)
        counter, refractory = self.before.arrays[REFRACTORY], self.options[1].refractory
        if ((counter < 0) | (counter > refractory)).any():
            raise ValueError(
                f"initial_state[{REFRACTORY!r}]: expected 0 to {refractory} steps, the refractory period of "
                f"this network, got {counter.min()} to {counter.max()}; the state of another network?"
            )
        spikes, peak = self.before.arrays[SPIKES], self.options[1].spike_height
        if not self.wiring.network.neuron.smooth and ((spikes != 0) & (spikes != peak)).any():
            other = spikes[(spikes != 0) & (spikes != peak)][0]
            raise ValueError(
                f"initial_state[{SPIKES!r}]: expected 0 or 1 / time step = {peak}, got {other}; the state of "
                "a network with another time step?"
            )

    # -- forward --------------------------------------------------------------------------------------

    def advance(self, first: int, last: int) -> None:
        """See `WorkingCore.advance`; the tape is left as it is."""
        arrived = self._nothing
        for step in range(first, last + 1):
            self._forward(step, arrived)
            np.copyto(self.before.memory, self.after.memory)

    def forward(self, step: int) -> None:
        """See `WorkingCore.forward`."""
        tape = self.tape.arrays
        self._forward(step, tape["arrived"][None] if "arrived" in tape else self._nothing)
        for name, array in self.after.arrays.items():
            np.copyto(tape[name], array)

    def _forward(self, step: int, arrived: np.ndarray) -> None:
        before, after = self.before.arrays, self.after.arrays
        for name in (CURRENTS, TRACE, AVERAGE):
            np.copyto(after[name], before[name])
        self.kernel.adaptive_forward(
            *self.options, self.wiring.neurons, self.heard_in(step, step), self.wiring.into,
            self.wiring.back, _states(before), _states(after), after[CURRENTS], arrived,
            self._averaging(step), after[TRACE], after[AVERAGE], self._averages, self.margin, self.memory,
        )  # fmt: skip

    def recover(self, step: int) -> None:
        """See `WorkingCore.recover`."""
        for name, array in self.after.arrays.items():
            np.copyto(array, self.tape.arrays[name])

    def heard_in(self, first: int, last: int) -> Heard:
        """What comes from outside in some steps, counted from 1.

        Parameters
        ----------
        first, last : int
            Both within.

        Returns
        -------
        Heard
        """
        starts, sources, values, noise, masks = self.heard
        cells = slice((first - 1) * self.batch, last * self.batch + 1)
        steps = slice(first - 1, last)
        return Heard(starts[cells], sources, values, noise[steps], masks[steps])

    def _averaging(self, step: int) -> Averaging:
        if self.windows is None:
            return self.wiring.averaging(None, 1)
        part = self.windows.part(step - 1, step)
        return self.wiring.averaging(part, 1)._replace(window=np.minimum(part.window, 0))

    # -- the loss -------------------------------------------------------------------------------------

    def step_loss(self, step: int) -> Any:
        """l of the window that ends at this step, 0 where none does; its gradient is then in `errors`."""
        window = -1 if self.windows is None else int(self.windows.window[step - 1])
        return self.window_loss(window, self.after.arrays[AVERAGE]) if window >= 0 else 0.0

    def window_loss(self, window: int, average: np.ndarray) -> Any:
        """l of one window with that mean; its gradient by the read-out is then in `errors`."""
        assert self.windows is not None
        np.copyto(self._weights, self.windows.weights[window])
        return self._loss(self.read(average), self.windows.values[window], self._weights, self.errors)

    def pull_readout(self, average: np.ndarray, out: np.ndarray) -> None:
        """Gradients of the read-out of one window, and dl/dm into `out`."""
        self._add_product("readout.weight", self.errors, average)
        if "readout.bias" in self.parameters:
            self._add_sum("readout.bias", self.errors)
        np.dot(self.errors, self.parameters["readout.weight"], out=out)

    # -- backward -------------------------------------------------------------------------------------

    def backward(self, step: int) -> None:
        """See `WorkingCore.backward`."""
        averaging = self._averaging(step)
        if averaging.window[0] >= 0:
            self.loss += self.step_loss(step)
            self.pull_readout(self.after.arrays[AVERAGE], self._by_average[0])
        tape, adjoint = self.tape.arrays, self.adjoint.arrays
        wanted = self.sums.inputs if self.input_gradients is None else self.input_gradients[step - 1 : step]
        self.kernel.adaptive_backward(
            *self.options, self.wiring.neurons, self.heard_in(step, step), self.wiring.into,
            self.wiring.back, _states(self.before.arrays), _states(self.after.arrays),
            tape["arrived"][None] if "arrived" in tape else self._nothing, averaging,
            Cotangents(self._nothing, self._nothing, self._nothing, self._by_average, self._no_rates),
            Adjoints(*(adjoint[name] for name in ADJOINT_NAMES)), self.sums._replace(inputs=wanted),
            self.memory,
        )  # fmt: skip


def _states(arrays: State) -> States:
    """One step's state with an axis of time."""
    return States(*(arrays[name][None] for name in (SPIKES, POTENTIAL, ADAPTATION, REFRACTORY)))
