"""Dropout with one mask for all time steps: z -> m z, m in {0, 1 / (1 - p)}."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from refsnn import checks
from refsnn.models.operators.operator import LinearOperator, Shape, Weights
from refsnn.models.workspace import Empty


@dataclass(frozen=True)
class Dropout(LinearOperator):
    """m z, with one draw of m a sample and neuron, the same at each step (Xiao 2022, section 5).

    Without a mask it lets everything pass, as in evaluation.  `SpikingGraph.with_dropout` draws the masks
    of a whole network.

    Parameters
    ----------
    probability : float in [0, 1)
        p, of being dropped.
    mask : ndarray, (B, *shape), optional
        m; converted to the dtype of what it meets.

    Raises
    ------
    TypeError, ValueError
        For a probability out of its interval.

    Examples
    --------
    >>> mask = np.array([[0.0, 2.0]])
    >>> Dropout(0.5, mask).linear({}, np.ones((3, 2)))  # three steps of one sample
    array([[0., 2.],
           [0., 2.],
           [0., 2.]])
    """

    probability: float
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        checks.number("probability", self.probability, 0, 1, high_open=True)

    def output_shape(self, shape: Shape) -> Shape:
        """As before."""
        return shape

    def drawn(self, rng: np.random.Generator, batch: int, shape: Shape, dtype: np.dtype) -> Dropout:
        """The same with a mask of its own draw for each sample and neuron."""
        kept = rng.random((batch, *shape)) >= self.probability
        return replace(self, mask=(kept / (1 - self.probability)).astype(dtype))

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """m z; steps, or temporal modes, of the batch stand one behind the other.

        Raises
        ------
        ValueError
            If the mask was drawn for another batch.
        """
        if self.mask is None:
            return inputs
        if len(inputs) % len(self.mask) or inputs.shape[1:] != self.mask.shape[1:]:
            raise ValueError(
                f"mask: expected one for batches like {inputs.shape}, got {self.mask.shape}; draw it for "
                "the batch at hand"
            )
        mask = self.mask.astype(inputs.real.dtype, copy=False)  # drawn in whatever float, nothing is promoted
        return (inputs.reshape(-1, *mask.shape) * mask).reshape(inputs.shape)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """m g."""
        return self.linear(weights, adjoint)
