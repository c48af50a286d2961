"""Operators that compute next to nothing: flattening, scales, and nearest-neighbour upsampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.models.operators.images import image_shape
from refsnn.models.operators.operator import LinearOperator, Shape, Weights
from refsnn.models.workspace import Empty


@dataclass(frozen=True)
class Flatten(LinearOperator):
    """Images as flat vectors, in row-major order of (C, H, W).

    Examples
    --------
    >>> Flatten().output_shape((3, 4, 4))
    (48,)
    """

    def output_shape(self, shape: Shape) -> Shape:
        """(n,): as many entries as before."""
        return (int(np.prod(shape)),)

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """The same numbers, flat."""
        return inputs.reshape(len(inputs), -1)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """The same numbers, as before."""
        return adjoint.reshape(len(adjoint), *shape)


@dataclass(frozen=True)
class Scale(LinearOperator):
    """factor z, for a fixed factor: 2.74 behind spikes of standardised weights, 1 / beta of a residual block.

    Parameters
    ----------
    factor : float
        A finite number.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> Scale(2.5).linear({}, np.ones((1, 2)))
    array([[2.5, 2.5]])
    """

    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", checks.number("factor", self.factor))

    def output_shape(self, shape: Shape) -> Shape:
        """As before."""
        return shape

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """factor z."""
        return inputs * inputs.real.dtype.type(self.factor)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """factor g."""
        return self.linear(weights, adjoint)


@dataclass(frozen=True)
class LearnableScale(LinearOperator):
    """kappa z, for one learnable number: the gain of a residual branch, 0 at first (Xiao 2022, NF-ResNet).

    Examples
    --------
    >>> LearnableScale().parameter_shapes((3, 4, 4))
    {'scale': (1,)}
    """

    def output_shape(self, shape: Shape) -> Shape:
        """As before."""
        return shape

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """`scale`, one number."""
        return {"scale": (1,)}

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """kappa z."""
        return weights["scale"] * inputs

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """kappa g."""
        return weights["scale"] * adjoint

    def tangent(self, weights: Weights, weight_tangents: Weights, inputs: np.ndarray) -> np.ndarray:
        """dkappa z."""
        moved = weight_tangents["scale"]
        return moved.reshape(*moved.shape, *(1,) * (inputs.ndim - 1)) * inputs

    def products(
        self, weights: Weights, adjoint: np.ndarray, inputs: np.ndarray, adjoint_total: np.ndarray
    ) -> Weights:
        """The sum of g z over everything."""
        return {"scale": (adjoint * inputs).sum(keepdims=True).reshape(1)}


@dataclass(frozen=True)
class Upsample(LinearOperator):
    """Each pixel as a tile of factor x factor.

    Parameters
    ----------
    factor : int
        Side of a tile.

    Raises
    ------
    TypeError, ValueError
        For anything but a positive integer.

    Examples
    --------
    >>> Upsample(2).linear({}, np.array([[[[1.0, 2.0]]]]))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """

    factor: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", checks.count("factor", self.factor))

    def output_shape(self, shape: Shape) -> Shape:
        """(C, factor H, factor W), of images.

        Raises
        ------
        ValueError
            If inputs are no images.
        """
        channels, height, width = image_shape("factor", "upsampling", shape)
        return channels, self.factor * height, self.factor * width

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """Tiles."""
        return inputs.repeat(self.factor, axis=2).repeat(self.factor, axis=3)

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """The sum of each tile."""
        channels, height, width = shape
        tiles = adjoint.reshape(len(adjoint), channels, height, self.factor, width, self.factor)
        return tiles.sum(axis=(3, 5))
