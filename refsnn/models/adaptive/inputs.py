"""What adaptive neurons hear from outside: events, noise, and refractory masks where they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.adaptive import Heard
from refsnn.models.adaptive.windows import CheckedWindows
from refsnn.models.contract import StaticInput
from refsnn.models.sequences import as_sequence
from refsnn.models.spike_events import SpikeEvents


@dataclass(frozen=True, eq=False)
class DrivenInput(Sequence):
    """Inputs of T steps, with what else drives the neurons.

    Parameters
    ----------
    inputs : ndarray, (T, B, n_in), StaticInput or SpikeEvents
        Network input; any real numbers.
    noise : ndarray, (T, B, n), optional
        Added to the current as it arrives, neither delayed nor kept: draw it N(0, sigma^2).
    masks : ndarray of bool, (T, B, n), optional
        Where a neuron is refractory, in the place of its counter: for proofs with smooth spikes.

    Examples
    --------
    >>> drive = DrivenInput(np.zeros((5, 2, 3)), noise=np.zeros((5, 2, 4)))
    >>> len(drive), len(drive[0])
    (5, 2)
    """

    inputs: Any
    noise: Any = None
    masks: Any = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            parts = (None if array is None else array[index] for array in (self.noise, self.masks))
            return DrivenInput(self.inputs[index], *parts)
        first = _within(index, len(self))
        return DrivenStep(self[first : first + 1])

    @property
    def batch(self) -> int:
        """B."""
        inputs = self.inputs
        return inputs.batch if isinstance(inputs, SpikeEvents) else len(inputs[0])

    def heard(self, neurons: int, dtype: np.dtype) -> Heard:
        """The arrays that a kernel takes, of an object that went through `check_driven_input`.

        Parameters
        ----------
        neurons : int
            n.
        dtype : dtype
            Of the parameters.

        Returns
        -------
        Heard
        """
        events = self.inputs
        nothing = 0, events.batch, neurons
        noise = np.zeros(nothing, dtype) if self.noise is None else self.noise
        masks = np.zeros(nothing, bool) if self.masks is None else self.masks
        return Heard(events.starts, events.sources, events.values.astype(dtype, copy=False), noise, masks)


@dataclass(frozen=True, eq=False)
class DrivenStep:
    """One step of a `DrivenInput`, and of windows if it brings them.

    Attributes
    ----------
    driven : DrivenInput
        Of one step.
    windows : CheckedWindows or None
        Of that step.
    """

    driven: DrivenInput
    windows: CheckedWindows | None = None

    def __len__(self) -> int:
        return self.driven.batch


@dataclass(frozen=True, eq=False)
class WindowedSequence(Sequence):
    """Inputs that bring along the windows of the loss.

    Parameters
    ----------
    inputs : DrivenInput
        Checked.
    windows : CheckedWindows
        Of the same steps.
    """

    inputs: DrivenInput
    windows: CheckedWindows

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            return WindowedSequence(self.inputs[index], self.windows.part(first, last))
        first = _within(index, len(self))
        return DrivenStep(self.inputs[first : first + 1], self.windows.part(first, first + 1))


def _within(index: int, steps: int) -> int:
    """A step from 0."""
    if not -steps <= index < steps:
        raise IndexError(f"index: expected a step below {steps}, got {index}")
    return index % steps


def check_driven_input(inputs: Any, width: int, neurons: int, dtype: np.dtype) -> DrivenInput:
    """Any input as events, with noise and masks of fitting shapes.

    Parameters
    ----------
    inputs : DrivenInput, SpikeEvents, StaticInput or array_like, (T, B, n_in)
        What the user gave.
    width, neurons : int
        n_in and n.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    DrivenInput
        Of SpikeEvents.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.
    """
    given = inputs if isinstance(inputs, DrivenInput) else DrivenInput(inputs)
    real = np.empty(0, dtype).real.dtype
    events = given.inputs
    if isinstance(events, StaticInput):
        value = checks.float_array("inputs.value", events.value, ("B", width), real)
        events = as_sequence(StaticInput(value, events.steps))
    if isinstance(events, SpikeEvents):
        if events.width != width:
            raise ValueError(f"inputs: expected events of {width} sources, got {events.width}")
        if events.values.dtype != real:
            raise TypeError(
                f"inputs: expected events with values in {real} as the parameters, got "
                f"{events.values.dtype}; convert them with astype, nothing is promoted silently"
            )
    else:
        events = SpikeEvents.from_array(checks.float_array("inputs", events, ("T", "B", width), real))
    shape = len(events), events.batch, neurons
    noise, masks = given.noise, given.masks
    if noise is not None:
        noise = np.ascontiguousarray(checks.float_array("inputs.noise", noise, shape, real))
    if masks is not None:
        masks = checks.as_numpy("inputs.masks", masks)
        if masks.dtype != np.dtype(bool) or masks.shape != shape:
            raise ValueError(
                f"inputs.masks: expected True where a neuron is refractory, of shape {shape}, got "
                f"{masks.dtype} of shape {masks.shape}"
            )
        masks = np.ascontiguousarray(masks)
    return DrivenInput(events, noise, masks)
