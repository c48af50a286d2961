"""The spikes of a run at one bit each, from which any part of it can be run again to the same bits.

Given the spikes, potentials and thresholds are linear in what came in.  Kept are the bits, and where segments
begin v, b, the refractory counter, and p and m of the read-out; the delay line there is what the D - 1 steps
before have sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn.models.adaptive.core import (
    ADAPTATION,
    AVERAGE,
    COUNTER,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
    TRACE,
    AdaptiveCore,
)
from refsnn.models.adaptive.run import Run, empty_states
from refsnn.models.contract import State

# what is kept as it is where a segment begins
_KEPT = POTENTIAL, ADAPTATION, TRACE, AVERAGE


@dataclass(frozen=True)
class RunResult:
    """What a run leaves for its result.

    Attributes
    ----------
    outputs : ndarray, (W, B, outputs)
        The mean read-out of each window.
    total : ndarray, (n,)
        Sum of z over steps and samples.
    margin : ndarray, (1,)
        Smallest |u| of a neuron that is not refractory.
    last_state : dict of str to ndarray
        After the last step.
    bytes_kept : int
        Of all arrays that were kept for the way back.
    """

    outputs: np.ndarray
    total: np.ndarray
    margin: np.ndarray
    last_state: State
    bytes_kept: int


class SpikeRaster:
    """A run that is kept as bits.

    Parameters
    ----------
    core : AdaptiveCore
        Network, parameters and inputs.
    state : dict of str to ndarray
        Before the first step.
    length : int
        Steps of a segment.

    Attributes
    ----------
    count : int
        Number of segments.
    """

    def __init__(self, core: AdaptiveCore, state: State, length: int) -> None:
        self.core, self.start, self.length = core, state, length
        self.count = -(-core.steps // length)
        n = core.wiring.network.widths[1]
        shape = length + 1, core.batch, n
        self._memory = empty_states(shape, core.dtype)
        self._bits = np.zeros((core.steps, core.batch, -(-n // 8)), np.uint8)
        self._begun = np.zeros((self.count, len(_KEPT), core.batch, n), core.dtype)
        self._counters = np.zeros((self.count, core.batch, n), COUNTER)

    def forward(self) -> RunResult:
        """The whole run, segment by segment.

        Returns
        -------
        RunResult
        """
        core, state = self.core, self.start
        n, largest = core.wiring.network.widths[1], 0
        counts, margin = np.zeros(n, np.int64), np.full(1, np.inf, core.margin.dtype)
        outputs = []
        for number in range(self.count):
            self._begun[number] = [state[name] for name in _KEPT]
            self._counters[number] = state[REFRACTORY]
            run = self._run(number)
            run.forward(state)
            fired = run.states.spikes[1:] > 0
            self._bits[run.first - 1 : run.first - 1 + run.steps] = np.packbits(fired, axis=-1)
            counts += np.count_nonzero(fired, axis=(0, 1))
            np.minimum(margin, run.margin, out=margin)
            outputs.append(run.outputs())
            largest = max(largest, run.nbytes)
            state = run.last_state()
        kept = largest + self._bits.nbytes + self._begun.nbytes + self._counters.nbytes
        total = counts * core.options[1].spike_height
        return RunResult(np.concatenate(outputs), total, margin, state, kept)

    def again(self, number: int) -> Run:
        """A segment as it was.

        Parameters
        ----------
        number : int
            Which, from 0.

        Returns
        -------
        Run
        """
        run = self._run(number)
        run.forward(self._state_before(number))
        return run

    def _run(self, number: int) -> Run:
        first = number * self.length + 1
        last = min(first + self.length - 1, self.core.steps)
        return Run(self.core, self.core.windows, first, last, self._memory)

    def _spikes(self, step: int) -> np.ndarray:
        """z after step k, counted from 1."""
        if step == 0:
            return self.start[SPIKES]
        n = self.core.wiring.network.widths[1]
        peak = self.core.options[1].spike_height
        return np.unpackbits(self._bits[step - 1], axis=-1, count=n) * peak

    def _state_before(self, number: int) -> State:
        """What a segment began with; the delay line from spikes and inputs before it."""
        if number == 0:
            return self.start
        before, core = number * self.length, self.core
        since = max(0, before - (self.start[CURRENTS].shape[1] - 1))
        currents = np.zeros_like(self.start[CURRENTS])
        if since == 0:
            currents[...] = self.start[CURRENTS]
        spikes = np.stack([self._spikes(step) for step in range(since, before + 1)])
        sent = core.heard_in(since + 1, before), core.wiring.into, core.wiring.back
        core.kernel.transmit(*sent, spikes[:-1], currents)
        kept = dict(zip(_KEPT, self._begun[number], strict=True))
        return kept | {SPIKES: spikes[-1], CURRENTS: currents, REFRACTORY: self._counters[number]}


def best_segment(steps: int, slots: int) -> int:
    """Where 4 T / length arrays at the beginnings of segments and 3 length within one are least together.

    Not below twice the delay line, which is filled anew for each segment.

    Parameters
    ----------
    steps, slots : int
        T and D.

    Returns
    -------
    int

    Examples
    --------
    >>> best_segment(2400, 10), best_segment(100, 10)
    (57, 20)
    """
    return max(2 * slots, round(np.sqrt(4 * steps / 3)))
