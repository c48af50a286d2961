"""Delayed XOR: two cues with a pause between them, an answer after a third (after Salaj 2021).

The first bit has to be kept over the pause, and neither bit alone says anything about the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.encoding import bernoulli_spikes
from refsnn.datasets.labelled import float_dtype
from refsnn.models.spike_events import SpikeEvents

GROUPS = 3  # a cue for 0, a cue for 1, the cue to answer


@dataclass(frozen=True, eq=False)
class DelayedXor:
    """A batch of the task.

    Attributes
    ----------
    inputs : SpikeEvents
        T = 3 cue_steps + 2 delay + answer_steps steps of B samples.
    bits : ndarray of int64, (2, B)
        What the two cues say.
    labels : ndarray of int64, (B,)
        Their XOR.
    answer : slice
        The steps after the cue to answer, over which the readout is meant to be averaged.
    """

    inputs: SpikeEvents
    bits: np.ndarray
    labels: np.ndarray
    answer: slice


def delayed_xor(
    rng: np.random.Generator,
    samples: int = 64,
    delay: int = 100,
    cue_steps: int = 30,
    answer_steps: int = 60,
    group: int = 20,
    rate: float = 0.1,
    background: float = 0.0,
    time_step: float = 1.0,
    dtype: Any = np.float64,
) -> DelayedXor:
    """Spikes of two bits and of a cue to answer; the label is whether the bits differ.

    Three groups of inputs: the first speaks for the bit 0, the second for the bit 1, the third says that it
    is time.  First cue, pause, second cue, pause, cue to answer, answer.  Cues of 30 steps, pauses of 100
    and answers of 60 are those of Salaj's code; sizes of groups and rates are ours.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws bits and spikes.
    samples : int
        B.
    delay : int
        Steps of each pause, from 0.
    cue_steps : int
        Steps of a cue.
    answer_steps : int
        Steps after the last cue.
    group : int
        Inputs in a group; there are three groups.
    rate : float
        Spikes per ms of a group during its cue.
    background : float
        Spikes per ms of all inputs otherwise.
    time_step : float
        In ms.
    dtype : dtype
        Of the spikes: float64 or float32.

    Returns
    -------
    DelayedXor

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> batch = delayed_xor(np.random.default_rng(0), samples=4, delay=50)
    >>> batch.inputs.steps, batch.inputs.width, batch.answer
    (250, 60, slice(190, 250, None))
    >>> bool((batch.labels == batch.bits[0] ^ batch.bits[1]).all())
    True
    """
    checks.generator("rng", rng)
    samples, delay = checks.count("samples", samples), checks.count("delay", delay, minimum=0)
    cue_steps, answer_steps = checks.count("cue_steps", cue_steps), checks.count("answer_steps", answer_steps)
    group, kind = checks.count("group", group), float_dtype(dtype)
    time_step = checks.number("time_step", time_step, 0, low_open=True)
    rate = checks.number("rate", rate, 0, 1 / time_step)
    background = checks.number("background", background, 0, 1 / time_step)

    bits = rng.integers(0, 2, (2, samples))
    pauses = [delay] if delay else []  # a block lasts at least one step
    durations = [cue_steps, *pauses, cue_steps, *pauses, cue_steps, answer_steps]
    cues = range(0, len(durations) - 1, 1 + len(pauses))
    speaking = np.zeros((len(durations), samples, GROUPS), bool)
    for block, which in zip(cues, [*bits, np.full(samples, 2)], strict=True):
        speaking[block, np.arange(samples), which] = True
    rates = np.where(np.repeat(speaking, group, axis=2), rate, background)
    spikes = bernoulli_spikes(rng, rates, durations, time_step, kind)
    return DelayedXor(spikes, bits, bits[0] ^ bits[1], slice(spikes.steps - answer_steps, spikes.steps))
