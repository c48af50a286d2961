"""Sequences of time steps, and products and sums over them, shared by spiking networks and the algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.models.contract import StaticInput


@dataclass(frozen=True)
class LabelledStep:
    """What one step sees where the loss is taken at each step.

    Attributes
    ----------
    value : ndarray, (B, ...)
        The input.
    targets : ndarray
        Labels (B,) or real targets.
    weights : ndarray, (B,) or (1,), or None
        What the loss of each sample counts at this step; None is 1.
    """

    value: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class StepTargets:
    """Targets and weights of the loss at each step, for models whose loss is a sum over steps.

    Parameters
    ----------
    values : array_like
        Labels (T, B) or real targets (T, B, outputs); without the axis of time, or with one of length 1, they
        are the same at each step.
    weights : array_like, optional
        What the loss counts at each step (T,), or at each step of each sample (T, B); 1 by default.  A mask
        of zeros and ones silences the loss where a sequence has ended.

    Examples
    --------
    >>> only_at_the_end = StepTargets(np.array([2, 0]), weights=np.array([0.0, 0.0, 1.0]))
    """

    values: Any
    weights: Any = None

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of one step, of an object that went through `check` of a model.

        Parameters
        ----------
        index : int
            The step, from 0.

        Returns
        -------
        values, weights : ndarray, (B,) or (B, outputs), and (B,) or (1,)

        Examples
        --------
        >>> StepTargets(np.array([[1], [2]]), np.ones((1, 1))).at(1)
        (array([2]), array([1.]))
        """
        row = self.values[index if len(self.values) > 1 else 0]
        return row, self.weights[index if len(self.weights) > 1 else 0]


@dataclass(frozen=True)
class LabelledSequence(Sequence):
    """Inputs that bring their targets along, the same at each step or some for each.

    Parameters
    ----------
    inputs : ndarray, (T, B, ...), or StaticInput
        Network input.
    targets : ndarray or StepTargets
        Labels (B,) or real targets, the same at each step; or checked ones for each step.

    Examples
    --------
    >>> drive = LabelledSequence(np.ones((3, 1, 2)), np.array([1]))
    >>> len(drive), len(drive[0]), drive[0].targets
    (3, 1, array([1]))
    """

    inputs: np.ndarray | StaticInput
    targets: np.ndarray | StepTargets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Any:
        targets = self.targets
        if isinstance(index, slice):
            if isinstance(targets, StepTargets):
                rows = (
                    array[index] if len(array) > 1 else array for array in (targets.values, targets.weights)
                )
                targets = StepTargets(*rows)
            return LabelledSequence(self.inputs[index], targets)
        if isinstance(targets, StepTargets):
            return LabelledStep(self.inputs[index], *targets.at(index))
        return LabelledStep(self.inputs[index], targets)


def unlabelled(inputs: np.ndarray | LabelledStep) -> tuple[np.ndarray, np.ndarray | None]:
    """What a step sees, and its targets if it brings them.

    Examples
    --------
    >>> unlabelled(np.ones(1))
    (array([1.]), None)
    """
    return (inputs.value, inputs.targets) if isinstance(inputs, LabelledStep) else (inputs, None)


def as_sequence(inputs: np.ndarray | StaticInput) -> np.ndarray:
    """The input as a contiguous array (T, B, N).

    Parameters
    ----------
    inputs : ndarray, (T, B, N), or StaticInput
        Network input.

    Returns
    -------
    ndarray, (T, B, N)
        A copy only where needed.

    Examples
    --------
    >>> as_sequence(StaticInput(np.ones((2, 3)), steps=4)).shape
    (4, 2, 3)
    """
    if isinstance(inputs, StaticInput):
        return np.repeat(inputs.value[None], inputs.steps, axis=0)
    return np.ascontiguousarray(inputs)


def linear(sequence: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """W s + b for every step and sample in one matrix product.

    Parameters
    ----------
    sequence : ndarray, (T, B, N)
        Row vectors s.
    weight : ndarray, (M, N)
        W.
    bias : ndarray, (M,), optional
        b.

    Returns
    -------
    ndarray, (T, B, M)
        Contiguous.

    Examples
    --------
    >>> linear(np.ones((1, 1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[[3.5]]])
    """
    product = sequence.reshape(-1, sequence.shape[-1]) @ weight.T
    if bias is not None:
        product += bias
    return product.reshape(*sequence.shape[:-1], -1)


def summed_outer(adjoint: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """sum over t and b of adjoint_tb sequence_tb^T: a weight gradient.

    Parameters
    ----------
    adjoint : ndarray, (T, B, M)
        dL/dI.
    sequence : ndarray, (T, B, N)
        What the weight was multiplied with.

    Returns
    -------
    ndarray, (M, N)
        dL/dW.

    Examples
    --------
    >>> summed_outer(np.ones((2, 1, 1)), np.ones((2, 1, 3)))
    array([[2., 2., 2.]])
    """
    return adjoint.reshape(-1, adjoint.shape[-1]).T @ sequence.reshape(-1, sequence.shape[-1])
