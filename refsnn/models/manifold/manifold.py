"""Spaces of constant curvature and their products.

A factor of dimension d is stored in its ambient coordinates: d + 1 on the hyperboloid and the sphere, where
kappa <z, z> = 1, and d in Euclidean space.  The origin is (R, 0, ..., 0) on the hyperboloid, the south pole
(-R, 0, ..., 0) on the sphere, and 0 in flat space, with R = 1 / sqrt|kappa|.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import FactorColumns


@dataclass(frozen=True)
class Factor:
    """One space of constant curvature.

    Parameters
    ----------
    curvature : float
        kappa: negative for a hyperboloid, 0 for flat space, positive for a sphere.
    dimension : int
        d.

    Raises
    ------
    TypeError, ValueError
        For a curvature that is no finite number, and a dimension below 1.
    """

    curvature: float
    dimension: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "curvature", checks.number("curvature", self.curvature))
        object.__setattr__(self, "dimension", checks.count("dimension", self.dimension))

    @property
    def curved(self) -> bool:
        """Whether kappa is not 0."""
        return self.curvature != 0

    @property
    def width(self) -> int:
        """Coordinates that are stored."""
        return self.dimension + self.curved

    @property
    def radius(self) -> float:
        """R; infinite in flat space."""
        return 1 / np.sqrt(abs(self.curvature)) if self.curved else np.inf

    @property
    def polar_origin(self) -> float:
        """Coordinate 0 of the origin."""
        if not self.curved:
            return 0.0
        return self.radius if self.curvature < 0 else -self.radius

    def __str__(self) -> str:
        letter = "H" if self.curvature < 0 else "S" if self.curved else "E"
        unit = "" if abs(self.curvature) in (0, 1) else f"({self.curvature:g})"
        return f"{letter}{self.dimension}{unit}"


@dataclass(frozen=True)
class Manifold:
    """A product of spaces of constant curvature; of one factor, that space.

    Parameters
    ----------
    factors : tuple of Factor
        At least one.

    Raises
    ------
    TypeError, ValueError
        For something else than factors, and for none.

    Examples
    --------
    >>> manifold = hyperbolic(2) * spherical(3, curvature=0.25)
    >>> str(manifold), manifold.dimension, manifold.width
    ('H2 x S3(0.25)', 5, 7)
    >>> manifold.origin()
    array([ 1.,  0.,  0., -2.,  0.,  0.,  0.])
    """

    factors: tuple[Factor, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.factors, (tuple, list)) or not self.factors:
            raise TypeError(f"factors: expected at least one Factor, got {self.factors!r}")
        for factor in self.factors:
            checks.instance("factors", factor, Factor, "Factor(-1.0, 32)")
        object.__setattr__(self, "factors", tuple(self.factors))

    def __mul__(self, other: Manifold) -> Manifold:
        """The product with the factors of both."""
        if not isinstance(other, Manifold):
            return NotImplemented
        return Manifold(self.factors + other.factors)

    def __str__(self) -> str:
        return " x ".join(map(str, self.factors))

    @property
    def dimension(self) -> int:
        """Sum of the dimensions."""
        return sum(factor.dimension for factor in self.factors)

    @property
    def width(self) -> int:
        """D: coordinates that are stored."""
        return sum(factor.width for factor in self.factors)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Columns of each factor."""
        edges = np.cumsum([0, *(factor.width for factor in self.factors)]).tolist()
        return tuple(slice(first, last) for first, last in itertools.pairwise(edges))

    def columns(self, dtype: Any) -> tuple[FactorColumns, ...]:
        """The factors as kernels see them.

        Parameters
        ----------
        dtype : dtype
            Of the coordinates; for complex ones the numbers are real.

        Returns
        -------
        tuple of FactorColumns
        """
        number = np.empty(0, dtype).real.dtype.type
        return tuple(
            FactorColumns(
                own.start, own.stop, number(factor.curvature), number(factor.polar_origin), number(1)
            )
            for factor, own in zip(self.factors, self.slices, strict=True)
        )

    def origin(self, dtype: Any = np.float64) -> np.ndarray:
        """o.

        Parameters
        ----------
        dtype : dtype
            Of the coordinates.

        Returns
        -------
        ndarray, (D,)
        """
        point = np.zeros(self.width, dtype)
        for factor, own in zip(self.factors, self.slices, strict=True):
            point[own.start] = factor.polar_origin
        return point

    def signature(self, dtype: Any = np.float64) -> np.ndarray:
        """J: -1 for the first coordinate of a hyperboloid, 1 elsewhere.

        Parameters
        ----------
        dtype : dtype
            Of the coordinates.

        Returns
        -------
        ndarray, (D,)
        """
        signs = np.ones(self.width, dtype)
        for factor, own in zip(self.factors, self.slices, strict=True):
            if factor.curvature < 0:
                signs[own.start] = -1
        return signs

    def tangent_mask(self, dtype: Any = np.float64) -> np.ndarray:
        """P_o: 0 for the first coordinate of a curved factor, 1 elsewhere.

        Parameters
        ----------
        dtype : dtype
            Of the coordinates.

        Returns
        -------
        ndarray, (D,)
        """
        mask = np.ones(self.width, dtype)
        for factor, own in zip(self.factors, self.slices, strict=True):
            if factor.curved:
                mask[own.start] = 0
        return mask


def hyperbolic(dimension: int, curvature: float = -1.0) -> Manifold:
    """The hyperboloid of a negative curvature.

    Parameters
    ----------
    dimension : int
        d; d + 1 coordinates are stored.
    curvature : float
        Below 0.

    Returns
    -------
    Manifold

    Raises
    ------
    TypeError, ValueError
        For a curvature that is not negative.

    Examples
    --------
    >>> hyperbolic(2).origin()
    array([1., 0., 0.])
    """
    return Manifold((Factor(_of_sign("hyperbolic", dimension, curvature), dimension),))


def spherical(dimension: int, curvature: float = 1.0) -> Manifold:
    """The sphere of a positive curvature.

    Parameters
    ----------
    dimension : int
        d; d + 1 coordinates are stored.
    curvature : float
        Above 0.

    Returns
    -------
    Manifold

    Raises
    ------
    TypeError, ValueError
        For a curvature that is not positive.

    Examples
    --------
    >>> spherical(2).origin()
    array([-1.,  0.,  0.])
    """
    return Manifold((Factor(_of_sign("spherical", dimension, curvature), dimension),))


def _of_sign(kind: str, dimension: int, curvature: float) -> float:
    """A curvature of the sign that the kind of space has, or which call was meant."""
    sign, other = (-1, "spherical") if kind == "hyperbolic" else (1, "hyperbolic")
    curvature = checks.number("curvature", curvature)
    if curvature == 0:
        meant = f"did you mean euclidean({dimension})?"
    else:
        meant = f"did you mean {kind}({dimension}, {-curvature}) or {other}({dimension}, {curvature})?"
    if sign * curvature <= 0:
        side = "below" if sign < 0 else "above"
        raise ValueError(
            f"curvature: expected a number {side} 0 for a {kind} space, got {curvature}; {meant}"
        )
    return curvature


def euclidean(dimension: int) -> Manifold:
    """Flat space.

    Parameters
    ----------
    dimension : int
        d.

    Returns
    -------
    Manifold

    Examples
    --------
    >>> euclidean(2).origin()
    array([0., 0.])
    """
    return Manifold((Factor(0.0, dimension),))
