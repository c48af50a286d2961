"""The maps of the published code, clamps and all, to reproduce its numbers; curvature +-1 and 0, ambient.

Nothing here is what the paper means.  The drive is never made tangent, so that z leaves the manifold at the
first block; the hyperboloid clamps <u, u> at 1e-8 (a time-like drive has <u, u> < 0), its logarithm takes a
z_0 below 1 for 1 + 1e-7 (and passes no gradient to it), the sphere's exponential normalises z + u where
|u| <= 1e-7; 1e-7 is 1e-4 in float32.  The adjoint by way of the manifold is the closed form of the paper,
which is not the derivative of the clamped maps; over spikes the code differentiates the clamps themselves
(`by_spikes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refsnn.models.manifold.manifold import Manifold

LEAST_SQUARE = 1e-8
LEAST_RADIUS = 1e-8
LEAST_ANGLE = 0.01
MARGIN = {np.dtype(np.float64): 1e-7, np.dtype(np.float32): 1e-4}


@dataclass(frozen=True)
class OfficialMaps:
    """Steps and logarithms of the published code, in NumPy.

    Attributes
    ----------
    manifold : Manifold
        With curvatures of -1, 0 and 1.
    by_spikes : bool
        Whether the adjoint is that of the clamped maps.
    """

    manifold: Manifold
    by_spikes: bool = False

    def step(self, points: np.ndarray, drive: np.ndarray) -> np.ndarray:
        """See `Maps.step`."""
        moved = np.empty_like(points)
        for factor, own in zip(self.manifold.factors, self.manifold.slices, strict=True):
            z, u = points[:, own], drive[:, own]
            if factor.curvature < 0:
                norm, _ = _lorentz_norm(u)
                moved[:, own] = np.cosh(norm) * z + np.sinh(norm) / norm * u
            elif factor.curvature > 0:
                norm, far = _plain_norm(u)
                safe = np.where(far, norm, 1)
                near = z + u
                near = near / np.sqrt(_dot(near, near))
                moved[:, own] = np.where(far, np.cos(norm) * z + np.sin(safe) / safe * u, near)
            else:
                moved[:, own] = z + u
        return moved

    def step_backward(
        self, points: np.ndarray, drive: np.ndarray, adjoint: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Maps.step_backward`."""
        by_drive, by_point = np.empty_like(points), np.empty_like(points)
        for factor, own in zip(self.manifold.factors, self.manifold.slices, strict=True):
            z, u, g = points[:, own], drive[:, own], adjoint[:, own]
            if factor.curvature < 0:
                pulled = self._hyperbolic(z, u, g)
            elif factor.curvature > 0:
                pulled = self._spherical(z, u, g)
            else:
                pulled = g, g
            by_drive[:, own], by_point[:, own] = pulled
        return by_drive, by_point

    def _hyperbolic(self, z: np.ndarray, u: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        norm, clamped = _lorentz_norm(u)
        sine, cosine = np.sinh(norm) / norm, np.cosh(norm)
        slope = (cosine - sine) / (norm * norm)
        along = sine * _dot(z, g) + slope * _dot(u, g)
        if self.by_spikes:
            along = np.where(clamped, 0, along)
        signs = np.ones(z.shape[1], z.dtype)
        signs[0] = -1
        return sine * g + signs * u * along, cosine * g

    def _spherical(self, z: np.ndarray, u: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        norm, far = _plain_norm(u)
        safe = np.where(far, norm, 1)
        sine = np.where(far, np.sin(safe) / safe, 1)
        slope = np.where(far, (np.cos(safe) - np.sin(safe) / safe) / (safe * safe), -1 / 3)
        by_drive = sine * g + u * (-sine * _dot(z, g) + slope * _dot(u, g))
        if not self.by_spikes:
            return by_drive, np.cos(np.maximum(norm, LEAST_ANGLE)) * g
        near = z + u  # normalised: what is along it has no derivative
        square = _dot(near, near)
        across = (g - _dot(near, g) / square * near) / np.sqrt(square)
        return np.where(far, by_drive, across), np.where(far, np.cos(norm) * g, across)

    def origin_logarithm(self, points: np.ndarray) -> np.ndarray:
        """See `Maps.origin_logarithm`."""
        read = np.zeros_like(points)
        for factor, own in zip(self.manifold.factors, self.manifold.slices, strict=True):
            z = points[:, own]
            if factor.curvature == 0:
                read[:, own] = z
                continue
            length, floored, _, _ = _logarithm(z, factor.curvature)
            read[:, own.start + 1 : own.stop] = length / floored * z[:, 1:]
        return read

    def origin_logarithm_backward(self, points: np.ndarray, adjoint: np.ndarray) -> np.ndarray:
        """See `Maps.origin_logarithm_backward`."""
        by_point = np.zeros_like(points)
        for factor, own in zip(self.manifold.factors, self.manifold.slices, strict=True):
            z, g = points[:, own], adjoint[:, own]
            if factor.curvature == 0:
                by_point[:, own] = g
                continue
            y, gy = z[:, 1:], g[:, 1:]
            length, floored, above, polar_slope = _logarithm(z, factor.curvature)
            along = _dot(y, gy)
            by_point[:, own.start + 1 : own.stop] = length * (gy / floored - above * along * y / floored**3)
            by_point[:, own.start] = (along / floored * polar_slope)[:, 0]
        return by_point


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1, keepdims=True)


def _plain_norm(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|u|, and where it is not too short for the sphere's exponential."""
    norm = np.sqrt(_dot(u, u))
    return norm, norm > MARGIN[u.dtype]


def _lorentz_norm(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sqrt(max(<u, u>, 1e-8)), and where the clamp was at work."""
    square = _dot(u, u) - 2 * u[:, :1] * u[:, :1]
    return np.sqrt(np.maximum(square, u.dtype.type(LEAST_SQUARE))), square < LEAST_SQUARE


def _logarithm(z: np.ndarray, curvature: float) -> tuple[np.ndarray, ...]:
    """Arc length, floored |y|, whether it is above its floor, and the length's slope by z_0."""
    one = z.dtype.type(1)
    margin, polar = z.dtype.type(MARGIN[z.dtype]), z[:, :1]
    radius = np.sqrt(_dot(z[:, 1:], z[:, 1:]))
    if curvature < 0:
        least = z.dtype.type(LEAST_RADIUS)
        inside = polar >= one + margin
        bounded = np.maximum(polar, one + margin)
        length, slope = np.arccosh(bounded), 1 / np.sqrt(bounded * bounded - one)
    else:
        least = margin
        inside = (-polar > -one + margin) & (-polar < one - margin)
        bounded = np.clip(-polar, -one + margin, one - margin)
        length, slope = np.arccos(bounded), 1 / np.sqrt(one - bounded * bounded)
    return length, np.maximum(radius, least), radius >= least, np.where(inside, slope, 0)
