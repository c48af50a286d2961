"""Dense connections: I = z W^T + b, optionally with standardised weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.models.operators.operator import LinearOperator, Shape, Weights
from refsnn.models.operators.standardisation import standardised, standardised_jvp, standardised_vjp
from refsnn.models.workspace import Empty


@dataclass(frozen=True)
class Dense(LinearOperator):
    """I = z W^T + b of flat inputs (n,).

    Parameters
    ----------
    width : int
        Number of outputs.
    with_bias : bool
        Whether there is a b.
    standardise : bool
        Whether the weight that is used is the standardised one, with a learnable gain (Xiao 2022, Eq. 13).

    Raises
    ------
    TypeError, ValueError
        For values that describe no dense map.

    Examples
    --------
    >>> Dense(3).parameter_shapes((4,))
    {'weight': (3, 4), 'bias': (3,)}
    """

    width: int
    with_bias: bool = True
    standardise: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", checks.count("width", self.width))
        checks.instance("with_bias", self.with_bias, bool, "True")
        checks.instance("standardise", self.standardise, bool, "False")

    def output_shape(self, shape: Shape) -> Shape:
        """(width,), of flat inputs.

        Raises
        ------
        ValueError
            If inputs are not flat, or one is too few to be standardised.
        """
        if len(shape) != 1:
            raise ValueError(
                f"width: expected flat inputs (n,) under a dense map, got {shape}; flatten first"
            )
        if self.standardise and shape[0] < 2:
            raise ValueError(f"standardise: expected a fan-in of at least 2, got {shape[0]}; take it off")
        return (self.width,)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """`weight` (width, n), then `gain` and `bias` (width,) where there are such."""
        shapes: dict[str, Shape] = {"weight": (self.width, shape[0])}
        if self.standardise:
            shapes["gain"] = (self.width,)
        if self.with_bias:
            shapes["bias"] = (self.width,)
        return shapes

    def fan(self, shape: Shape) -> tuple[int, int]:
        """n and width."""
        return shape[0], self.width

    def prepared(self, weights: Weights) -> Weights:
        """With the weight that acts under "used"."""
        return with_used_weight(self.standardise, weights)

    def linear(self, weights: Weights, inputs: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """z W^T."""
        return inputs @ weights["used"].T

    def transpose(
        self, weights: Weights, adjoint: np.ndarray, shape: Shape, empty: Empty = np.empty
    ) -> np.ndarray:
        """g W."""
        return adjoint @ weights["used"]

    def bias(self, weights: Weights) -> np.ndarray | None:
        """b, or None."""
        return weights["bias"] if self.with_bias else None

    def tangent(self, weights: Weights, weight_tangents: Weights, inputs: np.ndarray) -> np.ndarray:
        """z dW^T + db."""
        moved = inputs @ np.swapaxes(used_tangent(self.standardise, weights, weight_tangents), -1, -2)
        return moved + weight_tangents["bias"][..., None, :] if self.with_bias else moved

    def products(
        self, weights: Weights, adjoint: np.ndarray, inputs: np.ndarray, adjoint_total: np.ndarray
    ) -> Weights:
        """g^T z, through the standardisation if there is one, and the sum of `adjoint_total`."""
        gradients = through_standardisation(self.standardise, weights, adjoint.T @ inputs)
        if self.with_bias:
            gradients["bias"] = adjoint_total.sum(axis=0)
        return gradients


def with_used_weight(standardise: bool, weights: Weights) -> Weights:
    """The weights with the one that acts under "used": the parameter itself, or its standardised form.

    Examples
    --------
    >>> with_used_weight(False, {"weight": np.ones((1, 2))})["used"]
    array([[1., 1.]])
    """
    used = standardised(weights["weight"], weights["gain"]) if standardise else weights["weight"]
    return {**weights, "used": used}


def used_tangent(standardise: bool, weights: Weights, weight_tangents: Weights) -> np.ndarray:
    """Tangent of the weight that acts.

    Examples
    --------
    >>> used_tangent(False, {}, {"weight": np.ones((1, 2))})
    array([[1., 1.]])
    """
    if not standardise:
        return weight_tangents["weight"]
    return standardised_jvp(
        weights["weight"], weights["gain"], weight_tangents["weight"], weight_tangents["gain"]
    )


def through_standardisation(standardise: bool, weights: Weights, adjoint: np.ndarray) -> Weights:
    """Gradients of `weight`, and of `gain` where there is one, from dL/d(weight that acts).

    Examples
    --------
    >>> through_standardisation(False, {}, np.ones((1, 2)))
    {'weight': array([[1., 1.]])}
    """
    if not standardise:
        return {"weight": adjoint}
    by_weight, by_gain = standardised_vjp(weights["weight"], weights["gain"], adjoint)
    return {"weight": by_weight, "gain": by_gain}
