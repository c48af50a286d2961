"""The maps of geometry that a network is made of, each with its adjoint, for all factors at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refsnn.kernels import manifold_kernels
from refsnn.kernels.manifold import CODES
from refsnn.models.manifold.manifold import Manifold


class Maps(Protocol):
    """What a forward pass and its adjoint ask of geometry."""

    def step(self, points: np.ndarray, drive: np.ndarray) -> np.ndarray:
        """z' of each node."""
        ...

    def step_backward(
        self, points: np.ndarray, drive: np.ndarray, adjoint: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """dL/du and dL/dz from dL/dz'."""
        ...

    def origin_logarithm(self, points: np.ndarray) -> np.ndarray:
        """P_o Log_o(z)."""
        ...

    def origin_logarithm_backward(self, points: np.ndarray, adjoint: np.ndarray) -> np.ndarray:
        """dL/dz from the adjoint of the logarithm."""
        ...


@dataclass(frozen=True)
class ExactMaps:
    """The formulas for any curvature, of one backend.

    Attributes
    ----------
    manifold : Manifold
        Its factors.
    tangent : {"transport", "project", "ambient"}
        How a drive becomes a tangent vector.
    literal : bool
        Whether dL/dz is c0 dL/dz' in every mode, as the paper prints it.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.
    """

    manifold: Manifold
    tangent: str = "transport"
    literal: bool = False
    backend: str = "cpu"

    def step(self, points: np.ndarray, drive: np.ndarray) -> np.ndarray:
        """See `Maps.step`."""
        moved = np.empty_like(points)
        kernels, mode = manifold_kernels(self.backend), CODES[self.tangent]
        for factor in self.manifold.columns(points.dtype):
            kernels.step(factor, mode, points, drive, moved)
        return moved

    def step_backward(
        self, points: np.ndarray, drive: np.ndarray, adjoint: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Maps.step_backward`."""
        by_drive, by_point = np.empty_like(points), np.empty_like(points)
        kernels, mode = manifold_kernels(self.backend), CODES[self.tangent]
        for factor in self.manifold.columns(points.dtype):
            kernels.step_backward(factor, mode, self.literal, points, drive, adjoint, by_drive, by_point)
        return by_drive, by_point

    def origin_logarithm(self, points: np.ndarray) -> np.ndarray:
        """See `Maps.origin_logarithm`."""
        return self._each(manifold_kernels(self.backend).origin_logarithm, points)

    def origin_logarithm_backward(self, points: np.ndarray, adjoint: np.ndarray) -> np.ndarray:
        """See `Maps.origin_logarithm_backward`."""
        return self._each(manifold_kernels(self.backend).origin_logarithm_backward, points, adjoint)

    def _each(self, kernel: Callable[..., None], points: np.ndarray, *others: np.ndarray) -> np.ndarray:
        filled = np.empty_like(points)
        for factor in self.manifold.columns(points.dtype):
            kernel(factor, points, *others, filled)
        return filled
