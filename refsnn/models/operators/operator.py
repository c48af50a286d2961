"""What stands between two populations of neurons: operators without time.

An operator maps arrays (N, *shape).  N counts samples, or time steps and samples together, or temporal modes
and samples: an operator without memory takes them all alike.  A linear one has

    forward    z -> A z + b
    linear     z -> A z                 what tangents, traces and temporal modes go through: they have no bias
    transpose  g -> A^T g               the error on its way down
    products   g, z -> d<g, A z>/dW     the gradient of the weight, summed over N

so that BPTT, rate-based backpropagation with any number of modes, and OTTT are the same four maps at work
on different arrays.  What is not linear (max pooling, batch normalisation) is no `LinearOperator`, and an
algorithm that needs one says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from refsnn.models.workspace import Empty

Shape = tuple[int, ...]
Weights = dict[str, np.ndarray]  # the parameters of one operator by their last name: weight, gain, bias


class Operator(ABC):
    """A map from (N, *shape) to (N, *output_shape)."""

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one output for inputs of `shape`.

        Raises
        ------
        ValueError
            If such inputs do not fit; the message begins with the hyper-parameter that does not.
        """

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Last names and shapes of the parameters; none by default."""
        return {}

    def fan(self, shape: Shape) -> tuple[int, int]:
        """Fan-in and fan-out of the weight, for its initialisation; (0, 0) without one."""
        return 0, 0


class LinearOperator(Operator):
    """An operator A z + b, with the adjoint written by hand.

    All methods but `prepared` take prepared weights.  `empty` makes the array of a large result, as
    `numpy.empty` does; an operator may do without it.
    """

    def prepared(self, weights: Weights) -> Weights:
        """The weights with what is made of them once a pass: a standardised weight under "used"."""
        return weights

    @abstractmethod
    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """A z: (N, *shape) to (N, *output_shape)."""

    @abstractmethod
    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """A^T g: (N, *output_shape) to (N, *shape)."""

    def bias(self, weights: Weights) -> np.ndarray | None:
        """b, broadcasting against outputs; None where there is none."""
        return None

    def tangent(self, weights: Weights, weight_tangents: Weights, inputs: np.ndarray) -> np.ndarray:
        """dA z + db for tangents of the parameters, (..., *shape of the parameter), and inputs (N, *shape).

        Returns
        -------
        ndarray, (..., N, *output_shape)
            0 for an operator without parameters.
        """
        return np.zeros((1,) * (inputs.ndim), inputs.dtype)

    def forward(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """A z + b."""
        outputs, bias = self.linear(weights, inputs, empty), self.bias(weights)
        return outputs if bias is None else outputs + bias

    def products(
        self, weights: Weights, adjoint: np.ndarray, inputs: np.ndarray, adjoint_total: np.ndarray
    ) -> Weights:
        """Gradients of the parameters.

        Parameters
        ----------
        weights : dict of ndarray
            The parameters.
        adjoint : ndarray, (N, *output_shape)
            dL/dI.
        inputs : ndarray, (N, *shape)
            What A saw; in OTTT its trace.
        adjoint_total : ndarray, (B, *output_shape)
            What the bias is multiplied with: the adjoints summed over time steps (or, in temporal modes,
            weighted with what each mode has of a constant).

        Returns
        -------
        dict of ndarray
            One array a parameter; empty by default.
        """
        return {}
