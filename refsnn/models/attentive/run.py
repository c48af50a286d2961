"""An attentive network without its gradient: outputs, and what was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.attentive.core import AttentiveCore
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.contract import Parameters, State


@dataclass(frozen=True)
class Readings:
    """What each step has read: K memories at most, k_top of "paper" and "release", N where more may survive.

    Attributes
    ----------
    chosen : ndarray of int32, (T, B, K)
        Slots that survived, in ascending order; -1 where there were fewer.
    chosen_weights : ndarray, (T, B, K)
        Their weights; 0 there.
    threshold_slots : ndarray of int32, (T, B)
        Which slot's score was the threshold, -1 for none.
    slots : int
        N.
    """

    chosen: np.ndarray
    chosen_weights: np.ndarray
    threshold_slots: np.ndarray
    slots: int

    @classmethod
    def of(cls, core: AttentiveCore) -> Readings:
        """Nothing read yet.

        Parameters
        ----------
        core : AttentiveCore
            For the sizes.

        Returns
        -------
        Readings
        """
        shape = core.steps, core.batch, core.reading.chosen.shape[1]
        return cls(
            np.full(shape, -1, np.int32),
            np.zeros(shape, core.dtype),
            np.full(shape[:2], -1, np.int32),
            core.slots,
        )

    def note(self, step: int, core: AttentiveCore) -> None:
        """Write down what the step at hand has read.

        Parameters
        ----------
        step : int
            t, from 1.
        core : AttentiveCore
            After the step.
        """
        reading = core.reading
        there = np.arange(reading.chosen.shape[1]) < reading.survivors[:, None]
        self.chosen[step - 1] = np.where(there, reading.chosen, -1)
        self.chosen_weights[step - 1] = np.where(there, reading.weights, 0)
        self.threshold_slots[step - 1] = reading.threshold_slot

    def weights(self) -> np.ndarray:
        """w_tj of every slot, 0 for those that did not survive: grows with the square of T.

        Returns
        -------
        ndarray, (T, B, N)
        """
        dense = np.zeros((*self.chosen.shape[:2], self.slots), self.chosen_weights.dtype)
        step, sample, place = np.nonzero(self.chosen >= 0)
        dense[step, sample, self.chosen[step, sample, place]] = self.chosen_weights[step, sample, place]
        return dense


@dataclass(frozen=True)
class AttentiveRun:
    """What a network did with a sequence.

    Attributes
    ----------
    outputs : ndarray, (T, B, O)
        y_t.
    readings : Readings
        What each step has read.
    final_state : dict of str to ndarray
        (h_T, c_T).
    """

    outputs: np.ndarray
    readings: Readings
    final_state: State

    @property
    def weights(self) -> np.ndarray:
        """w_tj, (T, B, N), see `Readings.weights`."""
        return self.readings.weights()


def attentive_run(
    network: AttentiveNetwork,
    parameters: Parameters,
    inputs: Any,
    *,
    initial_state: State | None = None,
    backend: str = "cpu",
) -> AttentiveRun:
    """Run a sequence forward.

    Parameters
    ----------
    network : AttentiveNetwork
        The model.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : ndarray, (T, B, I), or StaticInput
        What each step sees.
    initial_state : dict of str to ndarray, optional
        "hidden" and "cell"; zeros by default.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    AttentiveRun

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a score or an output is not finite.

    Examples
    --------
    >>> network = AttentiveNetwork((3, 8, 4), top=2, store_every=2, truncate_every=5)
    >>> rng = np.random.default_rng(0)
    >>> attentive_run(network, network.initialise(rng), rng.standard_normal((20, 2, 3))).outputs.shape
    (20, 2, 4)
    """
    checks.instance("network", network, AttentiveNetwork, "AttentiveNetwork((3, 32, 4))")
    parameters, inputs = network.check_inputs(parameters, inputs)
    core = AttentiveCore(network, parameters, inputs, None, backend)
    core.start(initial_state)
    outputs = np.zeros((core.steps, *core.outputs.shape), core.dtype)
    readings = Readings.of(core)
    for step in range(1, core.steps + 1):
        core.forward(step)
        outputs[step - 1] = core.read_out()
        readings.note(step, core)
        np.copyto(core.before.memory, core.after.memory)
    finite = np.isfinite(outputs).all(axis=(1, 2))
    if not finite.all():
        raise FloatingPointError(
            f"outputs: expected finite numbers, got others from step {1 + np.argmin(finite)} on; raw scores "
            "are not bounded: take small_memory='softmax', or smaller weights"
        )
    return AttentiveRun(outputs, readings, core.after.copies())
