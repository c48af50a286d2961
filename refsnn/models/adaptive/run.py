"""A whole run of an adaptive network in one call of the kernels, and its adjoint.

The arrays are those of the equations: entry k of `spikes` is z_k, so that entry 0 is the state before the
first step.  `Run` keeps all of them; what keeps less is in the algorithms.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.adaptive import Adjoints, Cotangents, Heard, States
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
)
from refsnn.models.adaptive.windows import CheckedWindows
from refsnn.models.contract import State

# in the order of `States`
STATE_NAMES = SPIKES, POTENTIAL, ADAPTATION, REFRACTORY


def empty_states(shape: tuple[int, ...], dtype: np.dtype) -> States:
    """Memory for z, v, b and the refractory counter.

    Parameters
    ----------
    shape : tuple of int
        (T + 1, B, n).
    dtype : dtype
        Of the parameters.

    Returns
    -------
    States
    """
    spikes, potential, adaptation = (np.empty(shape, dtype) for _ in range(3))
    return States(spikes, potential, adaptation, np.empty(shape, COUNTER))


class Run:
    """Some steps of a network, from the state in `core.before`.

    Parameters
    ----------
    core : AdaptiveCore
        Network, parameters and inputs; its gradients are added to.
    windows : CheckedWindows or None
        Of the loss.
    first, last : int, optional
        Steps counted from 1; all by default.
    memory : States, optional
        Arrays to work in, one step longer than the run, as another run left them.

    Attributes
    ----------
    states : States
        z, v, b and the refractory counter, each (T + 1, B, n).
    averages : ndarray, (W, B, n)
        The mean p of each window that ends within these steps.
    first_window : int
        The number of the first of them.
    """

    def __init__(
        self,
        core: AdaptiveCore,
        windows: CheckedWindows | None,
        first: int = 1,
        last: int | None = None,
        memory: States | None = None,
    ) -> None:
        self.core, self.windows, self.first = core, windows, first
        self.steps = (core.steps if last is None else last) + 1 - first
        n, real = core.wiring.network.widths[1], core.margin.dtype
        shape = self.steps + 1, core.batch, n
        if memory is None:
            memory = empty_states(shape, core.dtype)
        self.states = States(*(array[: self.steps + 1] for array in memory))
        kept = shape if core.wiring.network.trained else (1, 0, 0)
        self.arrived = np.empty((kept[0] - 1, *kept[1:]), core.dtype)
        part, self.first_window = None, 0
        if windows is not None:
            part, self.first_window = windows.alone(first - 1, first - 1 + self.steps)
        self.averaging = core.wiring.averaging(part, self.steps)
        count = 0 if part is None else len(part.values)
        self.averages = np.zeros((count, core.batch, n), core.dtype)
        self.margin = np.full(1, np.inf, real)
        self.currents = np.empty((core.batch, core.wiring.network.delays.slots, n), core.dtype)
        self.trace, self.average = (np.empty((core.batch, n), core.dtype) for _ in range(2))

    @property
    def heard(self) -> Heard:
        """The input of these steps."""
        return self.core.heard_in(self.first, self.first + self.steps - 1)

    def forward(self, state: State) -> None:
        """Run from `state` to the end.

        Parameters
        ----------
        state : dict of str to ndarray
            As `network.state_shapes` says.
        """
        core, wiring = self.core, self.core.wiring
        for name, array in zip(STATE_NAMES, self.states, strict=True):
            array[0] = state[name]
        for array, name in ((self.currents, CURRENTS), (self.trace, TRACE), (self.average, AVERAGE)):
            np.copyto(array, state[name])
        core.kernel.adaptive_forward(
            *core.options, wiring.neurons, self.heard, wiring.into, wiring.back,
            States(*(array[:-1] for array in self.states)), States(*(array[1:] for array in self.states)),
            self.currents, self.arrived, self.averaging, self.trace, self.average,
            self.averages, self.margin, core.memory,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Bytes of what the way back needs."""
        return sum(array.nbytes for array in (*self.states, self.arrived, self.averages))

    def last_state(self) -> State:
        """The state after the last step.

        Returns
        -------
        dict of str to ndarray
        """
        last = dict(zip(STATE_NAMES, (array[-1].copy() for array in self.states), strict=True))
        return last | {
            CURRENTS: self.currents.copy(), TRACE: self.trace.copy(), AVERAGE: self.average.copy()
        }  # fmt: skip

    def backward(self, adjoint: State, cotangents: Cotangents, input_gradients: np.ndarray) -> None:
        """Pull `adjoint` from the last step to the first, in place; gradients are added to those of the core.

        Parameters
        ----------
        adjoint : dict of str to ndarray
            As `network.adjoint_shapes` says.
        cotangents : Cotangents
            Where the loss looks at these steps.
        input_gradients : ndarray, (T, B, n_in) or (0, B, n_in)
            Filled with dL/dx.
        """
        core, wiring = self.core, self.core.wiring
        core.kernel.adaptive_backward(
            *core.options, wiring.neurons, self.heard, wiring.into, wiring.back,
            States(*(array[:-1] for array in self.states)), States(*(array[1:] for array in self.states)),
            self.arrived, self.averaging, cotangents, Adjoints(*(adjoint[name] for name in ADJOINT_NAMES)),
            core.sums._replace(inputs=input_gradients), core.memory,
        )  # fmt: skip

    def pull_windows(self) -> np.ndarray:
        """Losses of the windows from the last, added to the core's; gradients of the read-out are added too.

        Returns
        -------
        ndarray, (W, B, n)
            The derivative of the loss by the means.
        """
        core, by_averages = self.core, np.empty_like(self.averages)
        for window in reversed(range(len(self.averages))):
            core.loss += core.window_loss(self.first_window + window, self.averages[window])
            core.pull_readout(self.averages[window], by_averages[window])
        return by_averages

    def outputs(self) -> np.ndarray:
        """The mean read-out of each window that ends within these steps.

        Returns
        -------
        ndarray, (W, B, outputs)
        """
        shape = len(self.averages), *self.core.errors.shape
        read = [self.core.read(average).copy() for average in self.averages]
        return np.array(read, self.core.dtype).reshape(shape)
